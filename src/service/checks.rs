//! `CheckEligibility` as it comes and goes on the wire: its answer is written as bytes, without the messages in between.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes};
use tonic::body::Body;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Status};
use tonic_prost::{ProstCodec, ProstDecoder};

use super::{Services, check};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::eligibility_service_server::EligibilityServiceServer;
use crate::registry::Registry;

/// What stands before the methods of the service.
const SERVICE: &str = "/weighbridge.v1.EligibilityService/";
const CHECK: &str = "/weighbridge.v1.EligibilityService/CheckEligibility";

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
        if request.uri().path() != CHECK {
            return self.others.call(request);
        }
        let (method, bytes_max) = (Check(self.registry.clone()), self.message_bytes_max);
        Box::pin(async move {
            let mut grpc = Grpc::new(CheckCodec).apply_max_message_size_config(Some(bytes_max), None);
            Ok(grpc.unary(method, request).await)
        })
    }
}

struct Check(Arc<Registry>);

impl UnaryService<pb::CheckEligibilityRequest> for Check {
    type Response = Bytes;
    type Future = check::Answer;

    fn call(&mut self, request: Request<pb::CheckEligibilityRequest>) -> Self::Future {
        check::answer(&self.0, request.into_inner())
    }
}

/// Reads a request, and writes an answer that is bytes already.
struct CheckCodec;

impl Codec for CheckCodec {
    type Encode = Bytes;
    type Decode = pb::CheckEligibilityRequest;
    type Encoder = Written;
    type Decoder = ProstDecoder<pb::CheckEligibilityRequest>;

    fn encoder(&mut self) -> Written {
        Written
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<pb::CheckEligibilityRequest, pb::CheckEligibilityRequest>::default().decoder()
    }
}

struct Written;

impl Encoder for Written {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}
