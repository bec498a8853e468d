//! Field masks of update requests: which top-level fields of a record change.

use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::nearest;
use super::violations::{Violation, Violations};
use crate::domain::name::shown;

/// Merges the fields that `paths` name from `update` into `current`. No paths: those that are set; `*`: all of them.
///
/// # Errors
/// Every path that is not a top-level field.
pub fn merge<M: Message + Default>(
    descriptor: &MessageDescriptor,
    current: &M,
    update: &M,
    paths: &[String],
) -> Result<M, Vec<Violation>> {
    let mut v = Violations::at("");
    let read = |message: &M| DynamicMessage::decode(descriptor.clone(), message.encode_to_vec().as_slice());
    let (Ok(mut merged), Ok(update)) = (read(current), read(update)) else {
        v.add("", "the record could not be read");
        return v.finish(None);
    };
    let all = paths.iter().any(|path| path == "*");
    if all && paths.len() > 1 {
        v.add("update_mask", "`*` stands alone");
    }
    for field in descriptor.fields() {
        let named = paths.iter().any(|path| path == field.name() || path == field.json_name());
        let taken = all || named || paths.is_empty() && update.has_field(&field);
        if !taken {
            continue;
        }
        if update.has_field(&field) {
            merged.set_field(&field, update.get_field(&field).into_owned());
        } else {
            merged.clear_field(&field);
        }
    }
    for path in paths.iter().filter(|path| *path != "*") {
        let known = descriptor.fields().any(|f| path == f.name() || path == f.json_name());
        if !known {
            let names: Vec<String> = descriptor.fields().map(|f| f.name().to_owned()).collect();
            let near = nearest(path, names.iter().map(String::as_str));
            let description = format!("`{}` is no top-level field{near}", shown(path));
            v.add("update_mask", description);
        }
    }
    let merged = M::decode(merged.encode_to_vec().as_slice()).ok();
    v.finish(merged)
}
