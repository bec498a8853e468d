//! The longest time for a call: a client's deadline is tonic's affair, this is the server's own.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

/// Calls that take in more than fits into the usual time.
const LONG_CALLS: &[&str] = &["/weighbridge.v1.AdminService/Restore"];
/// How long these may take.
const LONG_TIME: Duration = Duration::from_secs(6 * 3_600);

/// Ends calls that take too long with DEADLINE_EXCEEDED.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadlineLayer(pub(super) Duration);

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner, limit: self.0 }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Deadline<S> {
    inner: S,
    limit: Duration,
}

impl<S, A, B> Service<Request<A>> for Deadline<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Default,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Limited<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Limited<S::Future> {
        let long = LONG_CALLS.contains(&request.uri().path());
        let limit = if long { self.limit.max(LONG_TIME) } else { self.limit };
        Limited { inner: self.inner.call(request), limit: sleep(limit) }
    }
}

pin_project! {
    pub(super) struct Limited<F> {
        #[pin]
        inner: F,
        #[pin]
        limit: Sleep,
    }
}

impl<F, B, E> Future for Limited<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(answered) = this.inner.poll(context) {
            return Poll::Ready(answered);
        }
        ready!(this.limit.poll(context));
        Poll::Ready(Ok(Status::deadline_exceeded("the call took longer than the server allows").into_http()))
    }
}
