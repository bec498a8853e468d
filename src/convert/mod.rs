//! Between protobuf and the domain, one file a message family. A conversion has no lookups, no defaults with meaning and no
//! policy: it reads a message into types that cannot be wrong, reporting every violation at once, or writes one.

pub mod advisor;
mod as_of;
mod commit_note;
mod coverage;
mod deployment;
mod eligibility;
mod encoded;
mod enums;
mod explained;
mod hosting;
mod license;
mod mask;
mod merged;
mod model;
mod offering;
mod packed;
mod policy;
mod read_mask;
mod record;
mod recorded;
pub mod refusal;
mod schema;
mod source_record;
pub mod status;
pub mod text;
mod use_profile;
mod violations;
mod waiver;

pub use as_of::{AsOf, as_of};
pub use commit_note::{decode_note, encode_note};
pub use coverage::coverage;
pub use deployment::check_deployment;
pub use eligibility::{
    EligibleRequest, RequestRefused, UseRequest, check_request, decision, eligible_model, eligible_request, moment,
    verdict_count, verdict_number,
};
pub use encoded::{encode_decision, encode_result};
pub use explained::{lineage_step, remedy};
pub use hosting::recorded_architecture;
pub use license::{compared_licenses, license, listed_license, restrictions};
pub use mask::merge;
pub use merged::{doubted_model, merge_base, merged_model};
pub use model::{assessment, derive, model};
pub use offering::{
    add_entries, alias_match, import_report, link_offering, offering, offering_message, provider, provider_message,
};
pub use policy::{compile, policy, stored_policy};
pub use read_mask::{ReadMask, read_mask};
pub use record::{RecordError, decode, decode_decision, decode_first, encode};
pub use recorded::{Asked, complete, decision_digest, use_message};
pub use schema::{license_schema, model_schema};
pub use source_record::{source_record, source_record_message};
pub use use_profile::{check_use_profile, join_use};
pub use violations::Violation;
pub use waiver::waiver;

use std::sync::LazyLock;

use crate::domain::name::shown;

/// Longest name, id, clause or URL, in characters.
const SHORT_CHARS_MAX: usize = 1_000;
/// Longest note, in characters.
const NOTE_CHARS_MAX: usize = 4_000;

/// `: did you mean `a` or `b`?`, or nothing.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    did_you_mean(&text::nearest(&shown(name), known))
}

/// `providers/{id}`, the id cut to a readable length.
#[must_use]
pub fn provider_name(id: &str) -> String {
    format!("providers/{}", shown(id))
}

/// Descriptor of a message by its full name.
#[must_use]
pub fn descriptor(message: &str) -> Option<prost_reflect::MessageDescriptor> {
    static POOL: LazyLock<prost_reflect::DescriptorPool> =
        LazyLock::new(|| prost_reflect::DescriptorPool::decode(crate::pb::DESCRIPTORS).unwrap_or_default());
    POOL.get_message_by_name(message)
}

/// The nearest SPDX ids.
fn nearest_license(part: &str) -> String {
    nearest(part, spdx::identifiers::LICENSES.iter().map(|license| license.name))
}

/// The same from names that were found already.
#[must_use]
pub fn did_you_mean(names: &[impl AsRef<str>]) -> String {
    match names {
        [] => String::new(),
        [one] => format!(": did you mean `{}`?", one.as_ref()),
        [rest @ .., last] => {
            let rest: Vec<String> = rest.iter().map(|name| format!("`{}`", name.as_ref())).collect();
            format!(": did you mean {} or `{}`?", rest.join(", "), last.as_ref())
        }
    }
}
