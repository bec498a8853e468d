//! A decision straight into the bytes of its message.
//!
//! A check is asked on every request of others, and making the message first costs an allocation a text: some eighty for a license
//! with five duties, more than the decision itself. A law holds the bytes against those of the message (`tests/it/encoded.rs`).

use prost::encoding::{WireType, encode_varint, encoded_len_varint};

use super::eligibility::{POLICY_DUTY, expression};
use super::enums::Wire as _;
use crate::domain::eligibility::{Decision, Detail, Finding};
use crate::domain::license::{DutyKind, License, Trigger};
use crate::domain::model::Source;

/// Writes a decision as a `CheckEligibilityResponse`.
pub fn encode_decision(decision: &Decision<'_>, model: &str, revision: u64, out: &mut Vec<u8>) {
    nested(out, 1, Room::Two, |out| fields(decision, model, revision, out));
}

/// Writes a decision as one of the results of a `BatchCheckEligibilityResponse`.
pub fn encode_result(decision: &Decision<'_>, model: &str, revision: u64, out: &mut Vec<u8>) {
    nested(out, 1, Room::Two, |out| encode_decision(decision, model, revision, out));
}

fn fields(decision: &Decision<'_>, model: &str, revision: u64, out: &mut Vec<u8>) {
    // Reused by every message that is put together; nearly all are shorter.
    let mut scratch = String::with_capacity(512);
    number(out, 2, decision.verdict.number());
    text(out, 3, &decision.summary());
    text(out, 4, model);
    number(out, 5, decision.tier.map_or(0, super::enums::Wire::number));
    if decision.expression.is_some() {
        text(out, 6, &expression(decision));
    }
    for found in decision.findings.iter() {
        nested(out, 7, Room::Two, |out| finding(out, found, model, &mut scratch));
    }
    for found in decision.duties() {
        nested(out, 8, Room::Two, |out| duty(out, found, &mut scratch));
    }
    for path in decision.missing_facts() {
        repeated(out, 9, &path);
    }
    let revision = i64::try_from(revision).unwrap_or(i64::MAX);
    if revision != 0 {
        key(out, 11, WireType::Varint);
        varint(out, revision.unsigned_abs());
    }
    for license in decision.licenses() {
        nested(out, 12, Room::One, |out| {
            text(out, 1, &license.display_name);
            text(out, 2, &license.url);
        });
    }
    for Source { title, url, date, license } in decision.model.into_iter().flat_map(|model| &model.sources) {
        nested(out, 12, Room::One, |out| {
            text(out, 1, title);
            text(out, 2, url);
            text(out, 3, date);
            text(out, 4, license);
        });
    }
    let acting = decision.findings.iter().filter(|finding| finding.acts().is_some());
    for policy in acting.filter_map(Finding::policy) {
        nested(out, 12, Room::One, |out| text(out, 1, &policy.name));
    }
}

fn finding(out: &mut Vec<u8>, found: &Finding<'_>, asked: &str, scratch: &mut String) {
    text(out, 1, found.reason.as_str());
    number(out, 2, found.effect.number());
    text(out, 3, told(found, scratch));
    nested(out, 4, Room::Two, |out| origin(out, found, asked));
    for fact in found.facts.iter() {
        repeated(out, 5, fact.as_str());
    }
    text(out, 6, found.waived_by.map_or("", |waiver| &waiver.name));
}

fn origin(out: &mut Vec<u8>, found: &Finding<'_>, asked: &str) {
    let origin = found.origin;
    let license = |part: fn(&License) -> &str| origin.license.map_or("", part);
    let model = origin.model.map_or("", |model| model.name.as_str());
    text(out, 1, if model.is_empty() { asked } else { model });
    text(out, 2, license(|license| &license.resource_name));
    text(out, 3, found.policy().map_or("", |policy| &policy.name));
    text(out, 4, found.requirement().unwrap_or_default());
    text(out, 5, origin.clause);
    text(out, 6, license(|license| &license.url));
}

fn duty(out: &mut Vec<u8>, found: &Finding<'_>, scratch: &mut String) {
    match found.detail {
        Detail::Duty { duty, started } => {
            text(out, 1, duty.kind.as_str());
            text(out, 2, &duty.text);
            for exact in &duty.exact_strings {
                repeated(out, 3, exact);
            }
            text(out, 4, started.as_str());
        }
        Detail::Policy { policy, .. } => {
            text(out, 1, POLICY_DUTY);
            text(out, 2, &policy.message);
            text(out, 4, Trigger::Any.as_str());
        }
        // As in the message: a royalty starts at a gate, and the publisher's list of places needs no entry among the duties.
        Detail::Gate { .. } => {
            text(out, 1, DutyKind::Royalty.as_str());
            text(out, 2, told(found, scratch));
            text(out, 4, Trigger::Any.as_str());
        }
        _ => {
            text(out, 1, DutyKind::SupportedTerritory.as_str());
            text(out, 2, told(found, scratch));
            text(out, 4, Trigger::Any.as_str());
        }
    }
    nested(out, 5, Room::Two, |out| origin(out, found, ""));
}

fn told<'s>(found: &Finding<'_>, scratch: &'s mut String) -> &'s str {
    scratch.clear();
    found.tell(scratch);
    scratch
}

/// A text that is left out where it is empty.
fn text(out: &mut Vec<u8>, tag: u32, value: &str) {
    if !value.is_empty() {
        repeated(out, tag, value);
    }
}

fn repeated(out: &mut Vec<u8>, tag: u32, value: &str) {
    key(out, tag, WireType::LengthDelimited);
    varint(out, value.len() as u64);
    out.extend_from_slice(value.as_bytes());
}

/// A key of a field below 16, which is one byte: all are.
fn key(out: &mut Vec<u8>, tag: u32, wire: WireType) {
    varint(out, u64::from(tag) << 3 | wire as u64);
}

/// Most numbers are one byte.
fn varint(out: &mut Vec<u8>, value: u64) {
    match u8::try_from(value) {
        Ok(byte) if byte < 0x80 => out.push(byte),
        _ => encode_varint(value, out),
    }
}

fn number(out: &mut Vec<u8>, tag: u32, value: i32) {
    if value != 0 {
        key(out, tag, WireType::Varint);
        varint(out, i64::from(value).cast_unsigned());
    }
}

/// How many bytes the length of a message is expected to take: one up to 127, two up to 16,383.
#[derive(Clone, Copy)]
enum Room {
    One = 1,
    Two = 2,
}

/// A message within a message. Room is left for its length, and what was written is moved where it takes more or less.
fn nested(out: &mut Vec<u8>, tag: u32, room: Room, write: impl FnOnce(&mut Vec<u8>)) {
    key(out, tag, WireType::LengthDelimited);
    let (at, room) = (out.len(), room as usize);
    out.resize(at + room, 0);
    let from = at + room;
    write(out);
    let length = out.len() - from;
    let needed = encoded_len_varint(length as u64);
    if needed > room {
        out.resize(out.len() + needed - room, 0);
    }
    if needed != room {
        out.copy_within(from..from + length, at + needed);
        out.truncate(at + needed + length);
    }
    if let Some(mut place) = out.get_mut(at..at + needed) {
        encode_varint(length as u64, &mut place);
    }
}
