//! The catalog: an immutable in-memory view of the registry at one revision.
//!
//! ```text
//! models ──base_models──▶ models        offerings ──model──▶ models
//!   │ components                             │ provider
//!   ▼ license expressions                    ▼
//! licenses ──use_policy──▶ use policies  providers ◀──providers── licenses (service terms)
//! ```
//!
//! A [`Snapshot`] is changed by applying commits in order and then never again: readers hold it by `Arc`. Each record comes
//! in layers, an operator's over the built-in one. A payload, the stored bytes, travels with each record unread.

mod aliases;
pub mod coverage;
pub mod fields;
pub mod filter;
pub mod hardware;
pub mod index;
pub mod mof;
mod policies;
mod pool;
mod row;
mod snapshot;

pub use aliases::{AliasHit, Aliases, Folded};
pub use policies::{ModelPolicy, PolicySet};
pub use pool::Pool;
pub use row::{LicenseRow, ModelRow, OfferingRow};
pub use snapshot::{Change, Entry, Layer, Page, Payload, Pending, Put, Reference, Snapshot, SourceId, UsePolicyList};
