//! What the project is about, pure: names, models, licenses and their terms, openness, eligibility.
//!
//! No clock, disk, network or async: same input, same answer. Nothing here is serialised; `convert` does that.

pub mod alias;
pub mod date;
pub mod eligibility;
pub mod hosting;
pub mod license;
pub mod model;
pub mod name;
pub mod notice;
pub mod offering;
pub mod openness;
pub mod place;
pub mod publisher;
pub mod shared;
pub mod tri;
pub mod vocabulary;
pub(crate) mod words;
