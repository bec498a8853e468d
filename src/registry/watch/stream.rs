//! What the caller of a watch reads.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_stream::Stream;

use crate::registry::RegistryError;
use crate::store::Revision;

/// Why a watch ended.
#[derive(Debug)]
pub(super) enum End {
    /// Nobody reads it any more.
    Unread,
    /// The server stops.
    Stopping,
    /// It has lasted for as long as one may.
    Old,
    /// The reader cannot keep up.
    TooSlow,
    /// There are no further changes: the feed has failed or is closed.
    Closed,
    /// Something could not be read.
    Failed(RegistryError),
}

impl<E: Into<RegistryError>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A message on its way, with the revision that it brings to its end, if it does.
pub(super) struct Message<R> {
    pub(super) complete: Option<Revision>,
    pub(super) response: R,
}

/// The messages of a watch. What ends it is told before messages that wait, since it says from where to go on.
pub struct Watching<R> {
    messages: mpsc::Receiver<Message<R>>,
    /// `None` once the end was told.
    ended: Option<oneshot::Receiver<End>>,
    /// The last revision that was handed over to its end.
    resume: Revision,
    /// Messages wait here even when the task has ended, so that a slot is taken until they are gone.
    _slot: Arc<OwnedSemaphorePermit>,
}

impl<R> Watching<R> {
    pub(super) fn new(
        messages: mpsc::Receiver<Message<R>>,
        ended: oneshot::Receiver<End>,
        start: Revision,
        slot: Arc<OwnedSemaphorePermit>,
    ) -> Self {
        Self { messages, ended: Some(ended), resume: start, _slot: slot }
    }

    fn end(&mut self, end: End) -> Option<Result<R, RegistryError>> {
        self.ended = None;
        self.messages.close();
        let resume_revision = self.resume;
        match end {
            End::Unread => None,
            End::Stopping => Some(Err(RegistryError::Stopping { resume_revision })),
            End::Old => Some(Err(RegistryError::WatchTooOld { resume_revision })),
            End::TooSlow => Some(Err(RegistryError::WatchTooSlow { resume_revision })),
            End::Closed => Some(Err(RegistryError::WatchClosed { resume_revision })),
            End::Failed(error) => Some(Err(RegistryError::WatchFailed { resume_revision, error: Box::new(error) })),
        }
    }
}

impl<R> Stream for Watching<R> {
    type Item = Result<R, RegistryError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(ended) = &mut this.ended else { return Poll::Ready(None) };
        if let Poll::Ready(end) = Pin::new(ended).poll(cx) {
            // A task that is gone without a word was stopped with the runtime.
            return Poll::Ready(this.end(end.unwrap_or(End::Closed)));
        }
        match this.messages.poll_recv(cx) {
            Poll::Ready(Some(Message { complete, response })) => {
                this.resume = complete.unwrap_or(this.resume);
                Poll::Ready(Some(Ok(response)))
            }
            // Its end is told next.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
