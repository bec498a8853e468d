//! YAML. The parser streams, so the tree builder's limits hold while aliases are expanded.

use serde_json::Value;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, NonFiniteFloatPolicy, Options};

use super::Limits;
use super::parse::tidied;
use super::problem::{Problem, quoted};
use super::tree::Builder;

pub(super) fn parse(text: &str, limits: &Limits) -> Result<Value, Problem> {
    let mut builder = Builder::new(limits);
    let options = options(limits);
    let parsed = serde_saphyr::with_deserializer_from_str_with_options(text, options, |from| builder.build(from));
    parsed.map_err(|error| {
        let place = error.location();
        let line = place.and_then(|place| u32::try_from(place.line()).ok());
        let column = place.and_then(|place| u32::try_from(place.column()).ok());
        builder.failure().unwrap_or_else(|| problem(&mut builder, limits, &error)).at(line, column)
    })
}

/// The builder counts values itself; the parser's own budget covers what it holds before the builder sees it.
fn options(limits: &Limits) -> Options {
    let budget = serde_saphyr::budget! {
        max_depth: limits.max_depth,
        max_nodes: limits.max_nodes,
        max_events: limits.max_nodes.saturating_mul(3),
        max_documents: 1,
        max_total_scalar_bytes: limits.max_bytes.saturating_mul(2),
        max_recorded_anchor_bytes: limits.max_bytes.saturating_mul(2),
    };
    serde_saphyr::options! {
        budget: budget,
        // `no` is a country and `on` a switch position: only `true` and `false` are booleans.
        strict_booleans: true,
        null_as_string: true,
        // `007` and `1_000` are as likely identifiers; a number field that meets such text says so.
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
    }
}

/// What the parser objected to. Where it speaks about its options or its limits, in our words.
fn problem(builder: &mut Builder, limits: &Limits, error: &Error) -> Problem {
    match error.without_snippet() {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("?");
            builder.problem_at_key(key, &format!("key {} is given twice", quoted(key)))
        }
        Error::Budget { breach, .. } => Problem::whole(match breach {
            BudgetBreach::Depth { .. } => {
                format!("nested deeper than {} levels", limits.max_depth)
            }
            BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => {
                format!("document has more than {} values", limits.max_nodes)
            }
            BudgetBreach::Documents { .. } => "expected one document, found another".to_owned(),
            _ => "anchors, aliases or merge keys are used too much".to_owned(),
        }),
        error => {
            let message = error.to_string();
            // Also inside other errors, where aliases are involved.
            if message.contains("budget breached: Depth") {
                return Problem::whole(format!("nested deeper than {} levels", limits.max_depth));
            }
            // The position goes into its own fields.
            let message = message.split(" at line ").next().unwrap_or(&message);
            Problem::whole(tidied(message))
        }
    }
}
