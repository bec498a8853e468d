//! The body of an answer, on its way to a client that may be slow to take it.
//!
//! HTTP/2 takes a whole piece as soon as the client lets it send a single byte, and keeps it for as long as the client
//! likes. So an answer is handed over in small pieces, counts as a call until its last one was taken, and a connection on
//! which a piece waits too long is ended.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use pin_project_lite::pin_project;
use tonic::body::Body;
use tonic::codegen::http::HeaderMap;
use tonic::{Code, Status};

use super::clients::Permit;
use super::connection::Peer;
use super::front::Counted;

/// Largest piece; a frame of HTTP/2 takes as much.
const PIECE_BYTES_MAX: usize = 16 << 10;
/// Largest last piece: from then on only HTTP/2 knows of the answer.
const LAST_BYTES_MAX: usize = 4 << 10;

/// How many pieces of answers wait for the reader of a connection, by the tick of its clock at which they were given.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    tick: AtomicUsize,
    /// Of this tick, the one before and the one before that.
    pieces: [AtomicUsize; 3],
}

impl Waiting {
    fn count(&self, tick: usize) -> Option<&AtomicUsize> {
        self.pieces.get(tick % self.pieces.len())
    }

    fn given(&self) -> usize {
        let tick = self.tick.load(Ordering::Relaxed);
        self.count(tick).map(|count| count.fetch_add(1, Ordering::Relaxed));
        tick
    }

    fn taken(&self, tick: usize) {
        self.count(tick).map(|count| count.fetch_sub(1, Ordering::Relaxed));
    }

    /// Goes on by a tick; whether a piece has waited for a whole one.
    pub(super) fn tick(&self) -> bool {
        let tick = self.tick.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        // The oldest of three is the next one as well.
        self.count(tick.wrapping_add(1)).is_some_and(|count| count.load(Ordering::Relaxed) > 0)
    }
}

pin_project! {
    /// An answer that counts as a call until it was taken.
    pub(super) struct Answer {
        #[pin]
        body: Body,
        // What was not given yet of the last frame.
        rest: Bytes,
        // When the piece was given that was not taken yet.
        given: Option<usize>,
        peer: Option<Arc<Peer>>,
        held: Held,
        // As long as no end has come, the client has gone away.
        code: Code,
    }

    impl PinnedDrop for Answer {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let (Some(peer), Some(tick)) = (this.peer, this.given.take()) {
                peer.waiting.taken(tick);
            }
            if let Held::Stream(counted) = std::mem::replace(this.held, Held::Call { _permit: None }) {
                counted.done(*this.code);
            }
        }
    }
}

/// What ends with an answer.
pub(super) enum Held {
    /// The place of a call whose code was told.
    Call { _permit: Option<Arc<Permit>> },
    /// A stream, whose code comes at its end.
    Stream(Counted),
}

impl Answer {
    pub(super) fn new(body: Body, peer: Option<Arc<Peer>>, held: Held) -> Self {
        Self { body, rest: Bytes::new(), given: None, peer, held, code: Code::Cancelled }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        // Who asks for more has passed on what it had.
        if let (Some(peer), Some(tick)) = (&this.peer, this.given.take()) {
            peer.waiting.taken(tick);
        }
        if this.rest.is_empty() {
            let frame = match ready!(this.body.poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => *this.rest = data,
                Err(frame) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        *this.code = code_of(trailers).unwrap_or(Code::Ok);
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
            }
        }
        let piece = this.rest.split_to(piece_bytes(this.rest.len()));
        *this.given = this.peer.as_ref().map(|peer| peer.waiting.given());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }
}

/// The code that headers or trailers tell, where they tell one; made into a status they would be copied.
pub(super) fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

/// How much of so many bytes is given at once.
fn piece_bytes(rest: usize) -> usize {
    if rest <= LAST_BYTES_MAX { rest } else { (rest - LAST_BYTES_MAX).min(PIECE_BYTES_MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_whole_tick_is_seen() {
        let waiting = Waiting::default();
        for _ in 0..10 {
            let given = waiting.given();
            assert!(!waiting.tick());
            waiting.taken(given);
        }
        let given = waiting.given();
        assert!(!waiting.tick());
        assert!(waiting.tick());
        waiting.taken(given);
        assert!((0..10).all(|_| !waiting.tick()));
    }

    #[test]
    fn pieces_are_small_and_the_last_one_smaller() {
        for mut rest in [1, LAST_BYTES_MAX, LAST_BYTES_MAX + 1, PIECE_BYTES_MAX, 1 << 20] {
            let mut last = 0;
            while rest > 0 {
                last = piece_bytes(rest);
                assert!((1..=PIECE_BYTES_MAX).contains(&last));
                rest -= last;
            }
            assert!(last <= LAST_BYTES_MAX);
        }
    }
}
