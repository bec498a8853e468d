//! `CheckEligibility` and its batches as they come and go on the wire: answers are written as bytes, without the messages in
//! between.

use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes};
use tonic::body::Body;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::{ProstCodec, ProstDecoder};

use super::{Services, check};
use crate::pb::weighbridge::v1 as pb;
use crate::pb::weighbridge::v1::eligibility_service_server::EligibilityServiceServer;
use crate::registry::Registry;

/// What stands before the methods of the service.
const SERVICE: &str = "/weighbridge.v1.EligibilityService/";
const CHECK: &str = "/weighbridge.v1.EligibilityService/CheckEligibility";
const BATCH: &str = "/weighbridge.v1.EligibilityService/BatchCheckEligibility";

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
        let (registry, bytes_max) = (self.registry.clone(), self.message_bytes_max);
        match request.uri().path() {
            CHECK => Box::pin(async move { Ok(grpc(bytes_max).unary(Check(registry), request).await) }),
            BATCH => Box::pin(async move { Ok(grpc(bytes_max).unary(Batch(registry), request).await) }),
            _ => self.others.call(request),
        }
    }
}

fn grpc<Q>(message_bytes_max: usize) -> Grpc<BytesCodec<Q>>
where
    Q: prost::Message + Default + 'static,
{
    Grpc::new(BytesCodec(PhantomData)).apply_max_message_size_config(Some(message_bytes_max), None)
}

struct Check(Arc<Registry>);

impl UnaryService<pb::CheckEligibilityRequest> for Check {
    type Response = Bytes;
    type Future = check::Answer;

    fn call(&mut self, request: Request<pb::CheckEligibilityRequest>) -> Self::Future {
        check::answer(&self.0, request.into_inner())
    }
}

struct Batch(Arc<Registry>);

impl UnaryService<pb::BatchCheckEligibilityRequest> for Batch {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<pb::BatchCheckEligibilityRequest>) -> Self::Future {
        let registry = self.0.clone();
        Box::pin(async move { check::batch(registry, request.into_inner()).await.map(Response::new) })
    }
}

/// Reads requests of one kind, and writes answers that are bytes already.
struct BytesCodec<Q>(PhantomData<fn() -> Q>);

impl<Q: prost::Message + Default + 'static> Codec for BytesCodec<Q> {
    type Encode = Bytes;
    type Decode = Q;
    type Encoder = Written;
    type Decoder = ProstDecoder<Q>;

    fn encoder(&mut self) -> Written {
        Written
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<Q, Q>::default().decoder()
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
