//! A bare tonic server, to hold ours against: it answers every call with the same bytes.

use std::marker::PhantomData;

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Response, Status};

/// Answers every call of the service `S` with the same bytes.
pub(crate) struct Echo<S> {
    answer: Bytes,
    service: PhantomData<fn() -> S>,
}

impl<S> Echo<S> {
    pub(crate) fn new(answer: Bytes) -> Self {
        Self { answer, service: PhantomData }
    }
}

impl<S> Clone for Echo<S> {
    fn clone(&self) -> Self {
        Self::new(self.answer.clone())
    }
}

impl<S: tonic::server::NamedService> tonic::server::NamedService for Echo<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> tonic::server::UnaryService<Bytes> for Echo<S> {
    type Response = Bytes;
    type Future = std::future::Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, _request: Request<Bytes>) -> Self::Future {
        std::future::ready(Ok(Response::new(self.answer.clone())))
    }
}

impl<S: 'static> tower::Service<tonic::codegen::http::Request<tonic::body::Body>> for Echo<S> {
    type Response = tonic::codegen::http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = tonic::codegen::BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::codegen::http::Request<tonic::body::Body>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move { Ok(tonic::server::Grpc::new(Raw).unary(echo, request).await) })
    }
}

/// Bytes as they are.
#[derive(Clone, Copy, Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
