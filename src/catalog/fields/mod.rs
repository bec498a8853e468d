//! The fields that filters, orders and counts can name: one table a kind of row.

mod model;
mod offering;
mod terms;

pub use model::{ModelField, OwnField};
pub use offering::OfferingField;
pub use terms::{LicenseField, TermsField};

pub(super) use model::{license_of_part, of_layer, of_mof_class, of_part, of_record};
