//! The body of a request, on its way in: how large it may be, and how much of large ones is held at once, of each address and
//! in all.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Status;
use tonic::body::Body;

use super::clients::Client;
use crate::convert::refusal::too_large;

/// As much of a message counts for nothing: nearly all are smaller, and the number of calls bounds them.
const FREE_BYTES: usize = 64 << 10;
/// What stands before a message: whether it is compressed, and its size.
const PREFIX_BYTES: usize = 5;

pin_project! {
    /// A request whose bytes count until it was read, or let go of.
    pub(super) struct Incoming {
        #[pin]
        body: Body,
        client: Arc<Client>,
        most: usize,
        came: usize,
        counted: usize,
    }

    impl PinnedDrop for Incoming {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.client.let_go(*this.counted);
        }
    }
}

impl Incoming {
    /// A request of at most so many bytes.
    pub(super) fn new(body: Body, client: Arc<Client>, most: usize) -> Self {
        Self { body, client, most, came: 0, counted: 0 }
    }
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        let Some(frame) = ready!(this.body.poll_frame(context)?) else { return Poll::Ready(None) };
        *this.came = this.came.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        if this.came.saturating_sub(PREFIX_BYTES) > *this.most {
            return Poll::Ready(Some(Err(too_large(*this.most))));
        }
        let more = this.came.saturating_sub(FREE_BYTES).saturating_sub(*this.counted);
        if more > 0 {
            this.client.hold(more)?;
            *this.counted += more;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
