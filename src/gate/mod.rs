//! Gates: what stands before something that uses models, and asks the one check.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `settings.rs` | what a gate is told: where the model stands, the profile, what passes |
//! | `named.rs` | the models that a request names |
//! | `outcome.rs` | what comes of asking for a model |
//! | `envoy.rs` | Envoy's external authorization |
//! | `rules.rs` | what names a model in an object of a cluster, and what holds in which namespace |
//! | `workload.rs` | the models that such an object names |
//! | `admission.rs` | Kubernetes' validating admission |

mod admission;
mod envoy;
mod named;
mod outcome;
mod rules;
mod settings;
mod workload;

pub use admission::{AdmissionGate, Admitted, Reviewed};
pub use envoy::EnvoyGate;
pub use rules::AdmissionRules;
pub use settings::{GateSettings, profile_name};
