//! `CheckEligibility` and its batches as they come and go on the wire: answers are written as bytes, without the messages in
//! between.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{Codec as _, Streaming};
use tonic::codegen::{BoxFuture, Service, http};
use tonic_prost::ProstCodec;

use super::{Services, check};
use crate::pb::weighbridge::v1::eligibility_service_server::EligibilityServiceServer;
use crate::registry::Registry;

/// What stands before the methods of the service.
const SERVICE: &str = "/weighbridge.v1.EligibilityService/";
const CHECK: &str = "/weighbridge.v1.EligibilityService/CheckEligibility";
const BATCH: &str = "/weighbridge.v1.EligibilityService/BatchCheckEligibility";

/// How the messages of a call are compressed.
const ENCODING: &str = "grpc-encoding";

/// The service of the check, asked without a router in between.
#[derive(Clone)]
pub struct Checks {
    registry: Arc<Registry>,
    others: EligibilityServiceServer<Services>,
    message_bytes_max: usize,
}

impl Checks {
    /// Serves the methods of the service; requests have at most so many bytes.
    #[must_use]
    pub fn new(services: Services, message_bytes_max: usize) -> Self {
        let registry = services.registry.clone();
        let others = EligibilityServiceServer::new(services).max_decoding_message_size(message_bytes_max);
        Self { registry, others, message_bytes_max }
    }

    /// Whether a path is one of its methods.
    #[must_use]
    pub fn serves(path: &str) -> bool {
        path.starts_with(SERVICE)
    }

    /// The service as a router takes it.
    #[must_use]
    pub fn service(&self) -> EligibilityServiceServer<Services> {
        self.others.clone()
    }
}

impl Service<http::Request<Body>> for Checks {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // What is compressed is refused there.
        let is_plain = request.headers().get(ENCODING).is_none_or(|encoding| encoding == "identity");
        let (registry, bytes_max) = (self.registry.clone(), self.message_bytes_max);
        match request.uri().path() {
            CHECK if is_plain => {
                Box::pin(
                    async move { Ok(unary(request, bytes_max, |request| check::answer(&registry, request)).await) },
                )
            }
            BATCH if is_plain => {
                Box::pin(async move { Ok(unary(request, bytes_max, |request| check::batch(registry, request)).await) })
            }
            _ => self.others.call(request),
        }
    }
}

/// Reads the one message of a call, and answers with bytes that are written already: tonic's own way copies them once more.
async fn unary<Q, F>(
    request: http::Request<Body>,
    bytes_max: usize,
    answer: impl FnOnce(Q) -> F,
) -> http::Response<Body>
where
    Q: prost::Message + Default + 'static,
    F: Future<Output = Result<Bytes, Status>>,
{
    let decoder = ProstCodec::<Q, Q>::default().decoder();
    let mut messages = Streaming::new_request(decoder, request.into_body(), None, Some(bytes_max));
    let answered = async {
        let message = messages.message().await?.ok_or_else(|| Status::internal("the request has no message"))?;
        // Up to its end, so that the stream need not be reset.
        messages.trailers().await?;
        answer(message).await
    };
    match answered.await {
        Ok(message) => {
            let mut response = http::Response::new(Body::new(Reply { message, is_done: false }));
            response.headers_mut().insert(http::header::CONTENT_TYPE, tonic::metadata::GRPC_CONTENT_TYPE);
            response
        }
        Err(status) => status.into_http(),
    }
}

/// One message, as it goes on the wire, and that the call is done.
struct Reply {
    message: Bytes,
    is_done: bool,
}

impl HttpBody for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.message.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.message)))));
        }
        if std::mem::replace(&mut self.is_done, true) {
            return Poll::Ready(None);
        }
        let mut trailers = http::HeaderMap::with_capacity(1);
        trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_done
    }
}
