//! Gates: what stands before something that uses models, and asks the one check.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `settings.rs` | what a gate is told: where the model stands, the profile, what passes |
//! | `named.rs` | the models that a request names |
//! | `envoy.rs` | Envoy's external authorization |

mod envoy;
mod named;
mod settings;

pub use envoy::EnvoyGate;
pub use settings::GateSettings;
