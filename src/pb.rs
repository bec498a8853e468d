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

impl self::weighbridge::v1::Finding {
    /// Whether it acts on the verdict: it blocks, wants a review or asks for a duty, and no waiver silences it.
    #[must_use]
    pub fn acts(&self) -> bool {
        use self::weighbridge::v1::Effect;
        self.waived_by.is_empty() && matches!(self.effect(), Effect::Blocks | Effect::Review | Effect::Duty)
    }
}
