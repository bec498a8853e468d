//! What can be shown to others later: receipts of decisions, and bills of materials of models.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `keys.rs` | Ed25519 keys in PEM files |
//! | `dsse.rs` | the envelope around what is signed |
//! | `receipt.rs` | a decision as an in-toto statement with SLSA's verification summary |
//! | `bom.rs` | a model as a CycloneDX bill of materials |

mod bom;
mod dsse;
mod keys;
mod receipt;

pub use bom::bill;
pub use dsse::{DsseError, PAYLOAD_TYPE, sign, verify};
pub use keys::{KeyError, PublicKey, Signer};
pub use receipt::{Receipt, ReceiptError, read, statement};
