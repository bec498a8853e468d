//! Writes of one turn of a connection, gathered into one.
//!
//! HTTP/2 writes each answer above 256 bytes by itself, and a write to the kernel costs more than deciding. What is written here
//! waits until the task of the connection gets its next turn, which it asks for: by then the calls that came together are
//! answered, and their answers leave together. A call that is alone waits for the tasks that are ready before it, no longer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// As much is gathered of one connection; more waits until this was taken.
const GATHERED_BYTES_MAX: usize = 32 << 10;

/// A stream that gathers what is written to it.
#[derive(Debug)]
pub(super) struct Gather<S> {
    stream: S,
    /// Empty while nothing waits, without memory of its own: most connections are quiet.
    gathered: Vec<u8>,
    /// How much of it was taken.
    taken: usize,
    /// How much was ever taken.
    taken_in_all: u64,
    /// The other side takes no more for now; who is woken then was said.
    is_blocked: bool,
}

impl<S> Gather<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, gathered: Vec::new(), taken: 0, taken_in_all: 0, is_blocked: false }
    }
}

impl<S> Gather<S> {
    /// How many bytes the other side has taken in all, while it takes no more.
    pub(super) fn blocked_at(&self) -> Option<u64> {
        self.is_blocked.then_some(self.taken_in_all)
    }
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    /// Writes what was gathered, until nothing of it is left.
    fn write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_blocked = true;
        while let Some(rest @ [_, ..]) = self.gathered.get(self.taken..) {
            match ready!(Pin::new(&mut self.stream).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.taken += count;
                    self.taken_in_all = self.taken_in_all.wrapping_add(count as u64);
                }
            }
        }
        (self.gathered, self.taken, self.is_blocked) = (Vec::new(), 0, false);
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn has_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.gathered.len() >= GATHERED_BYTES_MAX {
            ready!(self.write_out(context))?;
        }
        if self.gathered.capacity() == 0 {
            self.gathered.reserve_exact(GATHERED_BYTES_MAX);
        }
        Poll::Ready(Ok(GATHERED_BYTES_MAX.saturating_sub(self.gathered.len())))
    }

    fn gather(&mut self, part: &[u8], room: usize) -> usize {
        let part = part.get(..room).unwrap_or(part);
        self.gathered.extend_from_slice(part);
        part.len()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gather<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // HTTP/2 reads at the beginning of each turn. What cannot be written now has asked to be woken for it.
        if !this.gathered.is_empty()
            && let Poll::Ready(Err(error)) = this.write_out(context)
        {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let room = ready!(this.has_room(context))?;
        Poll::Ready(Ok(this.gather(bytes, room)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut room = ready!(this.has_room(context))?;
        let mut count = 0;
        for part in parts {
            let written = this.gather(part, room);
            (count, room) = (count + written, room - written);
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.gathered.is_empty() {
            return Pin::new(&mut this.stream).poll_flush(context);
        }
        // Asked for a turn while nothing can be written, it would have turn after turn.
        if this.is_blocked {
            return this.write_out(context);
        }
        context.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.gathered.is_empty() {
            ready!(this.write_out(context))?;
        }
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use proptest::prelude::*;

    use super::*;

    /// The other side: takes so many bytes of each write, and none where a number is 0.
    #[derive(Default)]
    struct Other {
        takes: Vec<usize>,
        writes: Vec<Vec<u8>>,
        is_shut: bool,
    }

    impl Other {
        fn taken(&self) -> Vec<u8> {
            self.writes.concat()
        }
    }

    impl AsyncRead for Other {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Other {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let most = self.takes.pop().unwrap_or(usize::MAX).min(bytes.len());
            if most == 0 {
                return Poll::Pending;
            }
            self.writes.push(bytes[..most].to_vec());
            Poll::Ready(Ok(most))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.is_shut = true;
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct Turns(AtomicUsize);

    impl Wake for Turns {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Bench {
        gather: Gather<Other>,
        turns: Arc<Turns>,
    }

    impl Bench {
        fn new(takes: Vec<usize>) -> Self {
            let other = Other { takes, ..Other::default() };
            Self { gather: Gather::new(other), turns: Arc::default() }
        }

        fn with<T>(&mut self, work: impl FnOnce(Pin<&mut Gather<Other>>, &mut Context<'_>) -> T) -> T {
            let waker = Waker::from(self.turns.clone());
            work(Pin::new(&mut self.gather), &mut Context::from_waker(&waker))
        }

        fn write(&mut self, bytes: &[u8]) -> Poll<usize> {
            self.with(|gather, context| gather.poll_write(context, bytes)).map(Result::unwrap)
        }

        fn flush(&mut self) -> bool {
            self.with(|gather, context| gather.poll_flush(context)).is_ready()
        }

        fn turn(&mut self) {
            let mut room = [0; 8];
            let read = self.with(|gather, context| gather.poll_read(context, &mut ReadBuf::new(&mut room)));
            assert!(read.is_pending());
        }

        fn asked_for(&self) -> usize {
            self.turns.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn what_is_written_in_one_turn_leaves_as_one_in_the_next() {
        let mut bench = Bench::new(Vec::new());
        for part in [&b"one"[..], b"two", b"three"] {
            assert_eq!(bench.write(part), Poll::Ready(part.len()));
            assert!(bench.flush());
        }
        assert!(bench.gather.stream.writes.is_empty());
        assert!(bench.asked_for() > 0, "nobody would come back to write it");
        bench.turn();
        assert_eq!(bench.gather.stream.writes, [b"onetwothree".to_vec()]);
        assert_eq!(bench.gather.gathered.capacity(), 0, "a quiet connection needs no memory");
        let asked_for = bench.asked_for();
        assert!(bench.flush());
        assert_eq!(bench.asked_for(), asked_for, "there is nothing to come back for");
    }

    #[test]
    fn who_takes_nothing_is_waited_for_without_turns() {
        let mut bench = Bench::new(vec![0; 4]);
        assert_eq!(bench.write(b"answer"), Poll::Ready(6));
        assert!(bench.flush());
        let asked_for = bench.asked_for();
        assert_eq!(bench.gather.blocked_at(), None);
        bench.turn();
        assert_eq!(bench.gather.blocked_at(), Some(0));
        assert!(!bench.flush());
        bench.turn();
        assert!(!bench.flush());
        assert_eq!(bench.asked_for(), asked_for);
        assert!(bench.flush());
        assert_eq!(bench.gather.blocked_at(), None);
        assert_eq!(bench.gather.stream.taken(), b"answer");
    }

    #[test]
    fn no_more_is_gathered_than_the_limit() {
        let mut bench = Bench::new(vec![0; 3]);
        let large = vec![7; 3 * GATHERED_BYTES_MAX];
        assert_eq!(bench.write(&large), Poll::Ready(GATHERED_BYTES_MAX));
        assert_eq!(bench.write(&large), Poll::Pending);
        let parts = [io::IoSlice::new(&large), io::IoSlice::new(&large)];
        assert!(bench.with(|gather, context| gather.poll_write_vectored(context, &parts)).is_pending());
        assert_eq!(bench.gather.gathered.len(), GATHERED_BYTES_MAX);
    }

    #[test]
    fn what_was_gathered_leaves_before_the_end() {
        let mut bench = Bench::new(vec![2, 0]);
        assert_eq!(bench.write(b"goodbye"), Poll::Ready(7));
        assert!(bench.with(|gather, context| gather.poll_shutdown(context)).is_pending());
        assert!(!bench.gather.stream.is_shut);
        assert!(bench.with(|gather, context| gather.poll_shutdown(context)).is_ready());
        assert!(bench.gather.stream.is_shut);
        assert_eq!(bench.gather.stream.taken(), b"goodbye");
    }

    proptest! {
        #[test]
        fn everything_arrives_once_and_in_order(
            takes in prop::collection::vec(0_usize..40_000, 0..20),
            parts in prop::collection::vec((0_usize..50_000, any::<bool>(), any::<bool>()), 1..20),
        ) {
            let mut bench = Bench::new(takes);
            let (mut written, mut next) = (Vec::new(), 0_u8);
            for (length, is_flushed, is_turn) in parts {
                let part: Vec<u8> = (0..length).map(|_| { next = next.wrapping_add(1); next }).collect();
                let mut rest = &part[..];
                while !rest.is_empty() {
                    if let Poll::Ready(count) = bench.write(rest) {
                        rest = &rest[count..];
                    }
                }
                written.extend(part);
                if is_flushed {
                    let _ = bench.flush();
                }
                if is_turn {
                    bench.turn();
                }
            }
            while bench.with(|gather, context| gather.poll_shutdown(context)).is_pending() {}
            prop_assert_eq!(bench.gather.stream.taken(), written);
        }
    }
}
