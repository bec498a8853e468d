//! Weighbridge: a gRPC model registry that says whether an AI model may be used, and what must then be done.

pub mod domain;
pub mod store;
pub mod pb;
