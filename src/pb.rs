//! Messages and services generated from `proto/`. The protos are the API reference.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    rustdoc::all,
    reason = "generated code follows the generator's style"
)]

include!(concat!(env!("OUT_DIR"), "/pb.rs"));

/// Every descriptor, imports and comments included: what reflection serves.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
