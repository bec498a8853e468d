//! Answers of the advisor.

use crate::convert::enums::Wire as _;
use crate::domain::hosting::{
    Accelerator, Assumption, Assumptions, BreakEven, ComplianceRule, Hardware, Memory, Precision, Route, RouteReason,
    Span, Stance, Standing,
};
use crate::pb::weighbridge::v1 as pb;

/// Something that is taken for granted and told in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// A sentence.
    pub text: String,
    /// Where it was read; empty: nowhere.
    pub source: String,
}

/// Bytes or a count as a whole number.
#[must_use]
pub fn whole(value: f64) -> i64 {
    // A float becomes the nearest whole number that there is, and never wraps.
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
    let whole = value.round() as i64;
    whole
}

/// Memory on one device.
#[must_use]
pub fn hosting_memory(memory: &Memory) -> pb::HostingMemory {
    let Memory { weights, quantization, key_value_cache, recurrent_state, activations, framework } = *memory;
    pb::HostingMemory {
        weights_bytes: whole(weights),
        quantization_bytes: whole(quantization),
        key_value_cache_bytes: whole(key_value_cache),
        recurrent_state_bytes: whole(recurrent_state),
        activation_bytes: whole(activations),
        framework_bytes: whole(framework),
        total_bytes: whole(memory.total()),
    }
}

/// From the least to the greatest.
#[must_use]
pub fn range(span: Span) -> pb::Range {
    pb::Range { low: span.low, high: span.high }
}

/// US dollars: least, usual, greatest.
#[must_use]
pub fn price_range([low, typical, high]: [f64; 3]) -> pb::PriceRange {
    pb::PriceRange { low, typical, high }
}

/// When hosting costs no more.
#[must_use]
pub fn break_even(at: BreakEven) -> pb::BreakEven {
    match at {
        BreakEven::Never => pb::BreakEven { never: true, ..pb::BreakEven::default() },
        BreakEven::At { tokens_per_day, always_above } => pb::BreakEven {
            never: false,
            tokens_per_day,
            always_above_tokens_per_day: if always_above.is_finite() { always_above } else { 0.0 },
            ..pb::BreakEven::default()
        },
    }
}

/// A kind of accelerator.
#[must_use]
pub fn accelerator(kind: &Accelerator) -> pb::Accelerator {
    let Accelerator {
        id,
        display_name,
        vendor,
        label_gb,
        memory_bytes,
        bandwidth,
        bf16_flops,
        fp8_flops,
        per_machine,
        interconnect,
        link,
        url,
        prices,
    } = kind;
    pb::Accelerator {
        id: id.to_string(),
        display_name: display_name.to_string(),
        vendor: vendor.to_string(),
        memory_gb: *label_gb,
        memory_bytes: whole(*memory_bytes),
        bandwidth_gb_per_s: bandwidth / 1e9,
        bf16_tflops: bf16_flops / 1e12,
        fp8_tflops: fp8_flops.map_or(0.0, |flops| flops / 1e12),
        per_machine: i32::try_from(*per_machine).unwrap_or(i32::MAX),
        interconnect: interconnect.to_string(),
        link_gb_per_s: link / 1e9,
        url: url.to_string(),
        usd_per_hour: prices.as_ref().map(|prices| price_range([prices.low, prices.typical, prices.high])),
        price_date: prices.as_ref().map_or_else(String::new, |prices| prices.date.to_string()),
        price_source: prices.as_ref().map_or_else(String::new, |prices| prices.source.to_string()),
    }
}

/// What was taken for granted: the table, with what a request said instead, and what is told in words.
#[must_use]
pub fn assumptions(
    hardware: &Hardware,
    values: &Assumptions,
    overridden: &[Assumption],
    told: Vec<Told>,
) -> Vec<pb::Assumption> {
    let of_table = hardware.assumed.iter().map(|row| {
        let overridden = overridden.contains(&row.assumption);
        pb::Assumption {
            name: row.assumption.as_str().to_owned(),
            value: values.get(row.assumption),
            unit: row.unit.to_string(),
            text: row.text.to_string(),
            source: if overridden { String::new() } else { row.source.to_string() },
            overridden,
            least: row.least,
            most: row.most,
        }
    });
    let told = told.into_iter().map(|Told { text, source }| pb::Assumption { text, source, ..Default::default() });
    of_table.chain(told).collect()
}

/// Rules for data.
#[must_use]
pub fn compliance_rule(rule: &ComplianceRule) -> pb::ComplianceRule {
    let stance = |Stance { route, on_premises, standing, text, clause }: &Stance| pb::ComplianceStance {
        route: route.number(),
        on_premises: *on_premises,
        standing: standing.number(),
        text: text.to_string(),
        clause: clause.to_string(),
    };
    pb::ComplianceRule {
        id: rule.id.to_string(),
        display_name: rule.display_name.to_string(),
        url: rule.url.to_string(),
        stances: rule.stances.iter().map(stance).collect(),
    }
}

/// Why a route stands where it stands.
#[must_use]
pub fn reason(reason: RouteReason) -> pb::RouteReason {
    let RouteReason { topic, standing, text, source } = reason;
    pb::RouteReason { topic: topic.as_str().to_owned(), standing: standing.number(), text, source }
}

/// The number of a precision on the wire.
#[must_use]
pub fn precision_number(precision: Precision) -> i32 {
    precision.number()
}

/// The number of a route on the wire.
#[must_use]
pub fn route_number(route: Route) -> i32 {
    route.number()
}

/// The number of a standing on the wire.
#[must_use]
pub fn standing_number(standing: Standing) -> i32 {
    standing.number()
}
