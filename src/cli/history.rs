//! `weighbridge models history`, `weighbridge licenses history`.

use jiff::Timestamp;
use prost::Message;
use serde_json::{Map, Value};

use super::Failure;
use super::output::{Output, Style, to_json};
use crate::pb::weighbridge::v1 as pb;

/// Fields that change with every revision, or with the layer.
const OUTPUT_ONLY: [&str; 5] = ["revision", "etag", "origin", "createTime", "updateTime"];

/// One revision of a record.
pub(super) struct Entry<'a, M> {
    pub(super) revision: i64,
    pub(super) time: Option<&'a prost_types::Timestamp>,
    pub(super) actor: &'a str,
    pub(super) origin: pb::Origin,
    pub(super) change: pb::RevisionChange,
    /// As it showed after it.
    pub(super) record: Option<&'a M>,
}

/// Prints a history, newest first, a line a revision. `message` is the full name of the record's.
pub(super) fn print<M: Message>(
    out: &Output,
    message: &str,
    entries: &[Entry<'_, M>],
    oldest: i64,
) -> Result<(), Failure> {
    let shown = |entry: &Entry<'_, M>| entry.record.map(|record| to_json(message, record)).transpose();
    let records = entries.iter().map(shown).collect::<Result<Vec<_>, _>>()?;
    for (at, entry) in entries.iter().enumerate() {
        let time = entry.time.and_then(|time| Timestamp::new(time.seconds, 0).ok());
        let time = time.map_or_else(|| "-".to_owned(), |time| time.to_string());
        let change = entry.change.as_str_name().trim_start_matches("REVISION_CHANGE_");
        let style = match entry.change {
            pb::RevisionChange::Created => Style::Good,
            pb::RevisionChange::Deleted => Style::Bad,
            pb::RevisionChange::Updated => Style::Warn,
            pb::RevisionChange::Hidden | pb::RevisionChange::Unspecified => Style::Dim,
        };
        let origin = entry.origin.as_str_name().trim_start_matches("ORIGIN_");
        let actor = if entry.actor.is_empty() { "-" } else { entry.actor };
        let before = records.get(at + 1).and_then(Option::as_ref);
        let fields = match (entry.change, records.get(at).and_then(Option::as_ref), before) {
            (pb::RevisionChange::Updated, Some(now), Some(before)) => differing(now, before).join(", "),
            (pb::RevisionChange::Hidden, ..) => "below the record that shows".to_owned(),
            _ => String::new(),
        };
        let change = out.styled(style, &format!("{change:<8}"));
        let line = format!("{:>8}  {time:<20}  {change} {origin:<9} {actor:<24} {fields}", entry.revision);
        out.line(line.trim_end())?;
    }
    if oldest > 0 {
        let told = format!("{} revisions; what came before revision {oldest} is not kept", entries.len());
        return out.line(&out.styled(Style::Dim, &told));
    }
    out.line(&out.styled(Style::Dim, &format!("{} revisions", entries.len())))
}

/// Fields in which two records differ.
fn differing(now: &Value, before: &Value) -> Vec<String> {
    let empty = Map::new();
    let (now, before) = (now.as_object().unwrap_or(&empty), before.as_object().unwrap_or(&empty));
    let mut fields: Vec<String> = now.keys().chain(before.keys()).cloned().collect();
    fields.sort_unstable();
    fields.dedup();
    fields.retain(|field| now.get(field) != before.get(field) && !OUTPUT_ONLY.contains(&field.as_str()));
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_only_the_registry_says_is_no_change() {
        let before = json!({ "name": "a", "family": "x", "etag": "o1", "revision": "1" });
        let now = json!({ "name": "a", "aliases": ["b"], "etag": "o2", "revision": "2" });
        assert_eq!(differing(&now, &before), ["aliases", "family"]);
    }
}
