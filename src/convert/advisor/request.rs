//! Requests of the advisor.

use std::collections::BTreeMap;

use crate::convert::as_of::revision_from;
use crate::convert::eligibility::{RequestRefused, UseRequest, eligible_request};
use crate::convert::enums::optional;
use crate::convert::hosting::architecture;
use crate::convert::nearest;
use crate::convert::violations::{Violation, Violations};
use crate::domain::hosting::{Architecture, Assumption, Assumptions, ComplianceRule, Hardware, Needs, Precision};
use crate::domain::name::shown;
use crate::domain::vocabulary::Vocabulary;
use crate::domain::words::Grouped;
use crate::pb::weighbridge::v1 as pb;

const CONTEXT_TOKENS_MAX: u32 = 100_000_000;
const CONCURRENT_REQUESTS_MAX: u32 = 65_536;
const COUNT_MAX: u32 = 64;
const TOKENS_PER_DAY_USUAL: i64 = 10_000_000;
const TOKENS_PER_DAY_MAX: i64 = 1_000_000_000_000_000;
const INPUT_OUTPUT_RATIO_USUAL: f64 = 3.0;
const INPUT_OUTPUT_RATIO_MAX: f64 = 1_000.0;
const UTILIZATION_USUAL: f64 = 0.5;
const USD_PER_HOUR_MAX: f64 = 100_000.0;
const CANDIDATES_USUAL: usize = 5;
const CANDIDATES_MAX: usize = 50;
const MODELS_MAX: usize = 100;
const LIST_MAX: usize = 300;
const ID_CHARS_MAX: usize = 512;
/// More than any model has.
const PARAMETERS_MAX: i64 = 1_000_000_000_000_000;

/// With what a model is to be hosted, and what it is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Means {
    /// Tokens of one request; `None`: not said.
    pub context_tokens: Option<u32>,
    /// Requests at the same time; `None`: not said.
    pub requests: Option<u32>,
    /// In which precision the weights are; `None`: not said.
    pub precision: Option<Precision>,
    /// In which precision the key-value cache is.
    pub key_value_precision: Precision,
    /// Only these kinds of accelerators; empty: all.
    pub accelerators: Vec<Box<str>>,
    /// Only these numbers of them; empty: the usual ones.
    pub counts: Vec<u32>,
    /// US dollars for an hour of one, by kind, instead of the catalog's.
    pub usd_per_hour: BTreeMap<Box<str>, f64>,
    /// What is assumed.
    pub assumptions: Assumptions,
    /// Which of it the request said.
    pub overridden: Vec<Assumption>,
}

/// Which model, and how large it is where the request says so.
#[derive(Clone, Debug, PartialEq)]
pub struct HostingRequest {
    /// Resource name or alias; empty: none.
    pub model: String,
    /// Parameters, in all and active, instead of the record's.
    pub parameters: Option<(i64, Option<i64>)>,
    /// Layers and attention, instead of the record's, with the message they were read from.
    pub architecture: Option<(Architecture, pb::Architecture)>,
    /// With what.
    pub means: Means,
}

/// How much machines have to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Tokens a day.
    pub tokens_per_day: i64,
    /// Tokens of prompts for each of an answer.
    pub input_output_ratio: f64,
    /// Share of what machines can do.
    pub utilization: f64,
}

/// A request for a route, read.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteRequest {
    /// The facts; its model is empty.
    pub asked: UseRequest,
    /// What is needed.
    pub needs: Needs,
    /// Only these models; none longer than an id is.
    pub models: Vec<String>,
    /// At most this many a route.
    pub candidates: usize,
    /// With what.
    pub means: Means,
    /// How much machines have to do; its tokens a day are 0 where the request says none.
    pub load: Load,
}

/// Reads a request for an estimate.
///
/// # Errors
/// Every violation at once.
pub fn hosting_request(
    message: pb::EstimateHostingRequest,
    hardware: &Hardware,
) -> Result<HostingRequest, Vec<Violation>> {
    let pb::EstimateHostingRequest {
        model,
        workload,
        parameters,
        architecture,
        accelerators,
        counts,
        accelerator_usd_per_hour,
        assumptions,
        min_revision,
    } = message;
    let mut v = Violations::at("");
    if model.trim().is_empty() && parameters.is_none() {
        v.add("model", "it must be set, or `parameters` must say how large the model is");
    }
    v.length("model", &model, ID_CHARS_MAX);
    let asked = Asked { workload, accelerators, counts, accelerator_usd_per_hour, assumptions };
    let means = read_means(&mut v, asked, hardware);
    let parameters = read_parameters(&mut v, parameters);
    let architecture = read_architecture(&mut v, architecture);
    revision_from(&mut v, min_revision);
    v.finish(means.map(|means| HostingRequest { model, parameters, architecture, means }))
}

/// Reads a request for a comparison of costs.
///
/// # Errors
/// Every violation at once.
pub fn costs_request(
    message: pb::CompareCostsRequest,
    hardware: &Hardware,
) -> Result<(HostingRequest, Load), Vec<Violation>> {
    let pb::CompareCostsRequest {
        model,
        workload,
        tokens_per_day,
        input_output_ratio,
        utilization,
        accelerators,
        counts,
        accelerator_usd_per_hour,
        assumptions,
        parameters,
        architecture,
        min_revision,
    } = message;
    let mut v = Violations::at("");
    if model.trim().is_empty() {
        v.add("model", "it must be set: a resource name, or any id the model is known by");
    }
    v.length("model", &model, ID_CHARS_MAX);
    let load = Load {
        tokens_per_day: match read_tokens_per_day(&mut v, "tokens_per_day", tokens_per_day) {
            0 => TOKENS_PER_DAY_USUAL,
            tokens => tokens,
        },
        input_output_ratio: read_ratio(&mut v, input_output_ratio),
        utilization: read_utilization(&mut v, utilization),
    };
    let asked = Asked { workload, accelerators, counts, accelerator_usd_per_hour, assumptions };
    let means = read_means(&mut v, asked, hardware);
    let parameters = read_parameters(&mut v, parameters);
    let architecture = read_architecture(&mut v, architecture);
    revision_from(&mut v, min_revision);
    let read = means.map(|means| HostingRequest { model, parameters, architecture, means });
    v.finish(read.map(|read| (read, load)))
}

/// Reads a request for a route. `profile` holds the facts of the profile that it names. Its filter and order are read where models
/// are selected.
///
/// # Errors
/// Every violation at once; fields whose feature does not exist yet are refused, never ignored.
pub fn route_request(
    message: pb::RecommendRouteRequest,
    profile: Option<pb::Use>,
    vocabulary: &Vocabulary,
    hardware: &Hardware,
) -> Result<RouteRequest, RequestRefused> {
    let pb::RecommendRouteRequest {
        r#use,
        use_profile,
        needs,
        models,
        filter: _,
        order_by: _,
        max_candidates,
        workload,
        input_output_ratio,
        utilization,
        accelerator_usd_per_hour,
        assumptions,
        min_revision,
        accelerators,
        counts,
    } = message;
    let mut v = Violations::at("");
    let facts = pb::ListEligibleModelsRequest { r#use, use_profile, min_revision, ..Default::default() };
    let facts = match eligible_request(facts, profile, vocabulary) {
        Ok(read) => Some(read.asked),
        Err(RequestRefused::Invalid(found)) => {
            found.into_iter().for_each(|violation| v.add(&violation.field, violation.description));
            None
        }
        Err(refused @ RequestRefused::Unimplemented(_)) => return Err(refused),
    };
    let pb::Needs { tokens_per_day, .. } = needs.clone().unwrap_or_default();
    let needs = v.within("needs", |v| read_needs(v, needs.unwrap_or_default(), hardware));
    if models.len() > MODELS_MAX {
        v.add("models", format_args!("it has {} entries; at most {MODELS_MAX} are allowed", models.len()));
    }
    for (i, model) in models.iter().take(MODELS_MAX).enumerate() {
        v.length(&format!("models[{i}]"), model, ID_CHARS_MAX);
    }
    let candidates = match usize::try_from(max_candidates) {
        Ok(0) => CANDIDATES_USUAL,
        Ok(n) if n <= CANDIDATES_MAX => n,
        _ => {
            v.add("max_candidates", format_args!("{max_candidates} is not from 1 to {CANDIDATES_MAX}; 0 means 5"));
            0
        }
    };
    let load = Load {
        tokens_per_day,
        input_output_ratio: read_ratio(&mut v, input_output_ratio),
        utilization: read_utilization(&mut v, utilization),
    };
    let asked = Asked { workload, accelerators, counts, accelerator_usd_per_hour, assumptions };
    let means = read_means(&mut v, asked, hardware);
    let read = facts.zip(means).map(|(asked, means)| {
        let mut needs = needs;
        needs.private_fine_tuning |= asked.use_.requirements.private_fine_tuning;
        needs.offline |= asked.use_.requirements.offline;
        RouteRequest { asked, needs, models, candidates, means, load }
    });
    v.finish(read).map_err(RequestRefused::Invalid)
}

/// The fields that requests share.
struct Asked {
    workload: Option<pb::Workload>,
    accelerators: Vec<String>,
    counts: Vec<i32>,
    accelerator_usd_per_hour: BTreeMap<String, f64>,
    assumptions: BTreeMap<String, f64>,
}

fn read_means(v: &mut Violations, asked: Asked, hardware: &Hardware) -> Option<Means> {
    let Asked { workload, accelerators, counts, accelerator_usd_per_hour, assumptions } = asked;
    let pb::Workload { context_tokens, concurrent_requests, precision, key_value_precision } =
        workload.unwrap_or_default();
    let (context_tokens, requests, precision, key_value_precision) = v.within("workload", |v| {
        let context_tokens = count(v, "context_tokens", context_tokens, CONTEXT_TOKENS_MAX);
        let requests = count(v, "concurrent_requests", concurrent_requests, CONCURRENT_REQUESTS_MAX);
        let precision = optional(v, "precision", precision);
        let key_value_precision = optional(v, "key_value_precision", key_value_precision);
        (context_tokens, requests, precision, key_value_precision.unwrap_or(Precision::Bf16))
    });
    if accelerators.len() > LIST_MAX || counts.len() > LIST_MAX {
        v.add("accelerators", format_args!("at most {LIST_MAX} kinds and numbers are allowed"));
        return None;
    }
    let accelerators =
        v.each("accelerators", accelerators, |v, id| known_accelerator(v, "", &id, hardware).then(|| id.into()));
    let mut counts = v.each("counts", counts, |v, n| count(v, "", n, COUNT_MAX).or_else(|| missing(v, n, COUNT_MAX)));
    counts.sort_unstable();
    counts.dedup();
    let mut usd_per_hour = BTreeMap::new();
    if accelerator_usd_per_hour.len() > LIST_MAX || assumptions.len() > LIST_MAX {
        v.add("assumptions", format_args!("at most {LIST_MAX} prices and assumptions are allowed"));
        return None;
    }
    for (id, usd) in accelerator_usd_per_hour {
        let field = format!("accelerator_usd_per_hour[{}]", shown(&id));
        if !known_accelerator(v, &field, &id, hardware) {
            continue;
        }
        if usd > 0.0 && usd <= USD_PER_HOUR_MAX {
            usd_per_hour.insert(id.into(), usd);
        } else {
            v.add(&field, format_args!("{usd} is no price: write more than 0 and at most {USD_PER_HOUR_MAX}"));
        }
    }
    let (assumptions, overridden) = read_assumptions(v, assumptions, hardware)?;
    Some(Means {
        context_tokens,
        requests,
        precision,
        key_value_precision,
        accelerators,
        counts,
        usd_per_hour,
        assumptions,
        overridden,
    })
}

/// A number from 1 up; `None` for 0, which stands for what is usual.
fn count(v: &mut Violations, field: &str, n: i32, most: u32) -> Option<u32> {
    match u32::try_from(n) {
        Ok(n) if n <= most => (n > 0).then_some(n),
        _ => {
            v.add(field, format_args!("{n} is not from 1 to {}", Grouped(i64::from(most))));
            None
        }
    }
}

/// Notes a 0 where it stands for nothing.
fn missing(v: &mut Violations, n: i32, most: u32) -> Option<u32> {
    if n == 0 {
        v.add("", format_args!("0 is not from 1 to {most}"));
    }
    None
}

fn known_accelerator(v: &mut Violations, field: &str, id: &str, hardware: &Hardware) -> bool {
    let known = hardware.accelerators.iter().any(|kind| *kind.id == *id);
    if !known {
        let near = nearest(id, hardware.accelerators.iter().map(|kind| &*kind.id));
        v.add(field, format_args!("`{}` is no kind of accelerator{near}", shown(id)));
    }
    known
}

fn read_assumptions(
    v: &mut Violations,
    asked: BTreeMap<String, f64>,
    hardware: &Hardware,
) -> Option<(Assumptions, Vec<Assumption>)> {
    // INVARIANT: the catalog was read with all of them.
    let mut assumptions = Assumptions::of(&hardware.assumed)?;
    let mut overridden = Vec::new();
    for (name, value) in asked {
        let field = format!("assumptions[{}]", shown(&name));
        let Some(row) = hardware.assumed.iter().find(|row| row.assumption.as_str() == name) else {
            let near = nearest(&name, Assumption::WORDS.iter().copied());
            v.add(&field, format_args!("`{}` is no assumption{near}", shown(&name)));
            continue;
        };
        if value >= row.least && value <= row.most {
            assumptions = assumptions.with(row.assumption, value);
            overridden.push(row.assumption);
        } else {
            v.add(&field, format_args!("{value} is not from {} to {}", row.least, row.most));
        }
    }
    for (low, high) in [
        (Assumption::BandwidthEfficiencyLow, Assumption::BandwidthEfficiencyHigh),
        (Assumption::ComputeEfficiencyLow, Assumption::ComputeEfficiencyHigh),
    ] {
        if assumptions.get(low) > assumptions.get(high) {
            v.add("assumptions", format_args!("{low} is more than {high}: say both"));
        }
    }
    Some((assumptions, overridden))
}

fn read_parameters(v: &mut Violations, parameters: Option<pb::Parameters>) -> Option<(i64, Option<i64>)> {
    let pb::Parameters { total, active } = parameters?;
    if !(1..=PARAMETERS_MAX).contains(&total) {
        v.add("parameters.total", format_args!("{total} is not from 1 to {}", Grouped(PARAMETERS_MAX)));
    }
    if active < 0 || active > total {
        v.add("parameters.active", format_args!("{active} is not from 1 to the total of {total}; 0: not known"));
    }
    Some((total, (active > 0).then_some(active)))
}

fn read_architecture(
    v: &mut Violations,
    message: Option<pb::Architecture>,
) -> Option<(Architecture, pb::Architecture)> {
    let message = message?;
    v.within("architecture", |v| {
        let read = architecture(v, &message);
        if read.is_none() {
            v.add("", "it must say `layers`, and `key_value_heads` with `head_dimension`, or `latent_dimension`");
        }
        read
    })
    .map(|read| (read, message))
}

fn read_tokens_per_day(v: &mut Violations, field: &str, tokens: i64) -> i64 {
    if !(0..=TOKENS_PER_DAY_MAX).contains(&tokens) {
        v.add(field, format_args!("{tokens} is not from 1 to {}", Grouped(TOKENS_PER_DAY_MAX)));
    }
    tokens
}

fn read_ratio(v: &mut Violations, ratio: Option<f64>) -> f64 {
    let ratio = ratio.unwrap_or(INPUT_OUTPUT_RATIO_USUAL);
    if !(0.0..=INPUT_OUTPUT_RATIO_MAX).contains(&ratio) {
        v.add("input_output_ratio", format_args!("{ratio} is not from 0 to {INPUT_OUTPUT_RATIO_MAX}"));
    }
    ratio
}

fn read_utilization(v: &mut Violations, utilization: Option<f64>) -> f64 {
    let utilization = utilization.unwrap_or(UTILIZATION_USUAL);
    if !(0.001..=1.0).contains(&utilization) {
        v.add("utilization", format_args!("{utilization} is not from 0.001 to 1: a share of the day"));
    }
    utilization
}

fn read_needs(v: &mut Violations, message: pb::Needs, hardware: &Hardware) -> Needs {
    let pb::Needs {
        on_premises,
        compliance,
        private_fine_tuning,
        offline,
        device_memory_gb,
        tokens_per_day,
        budget_usd_per_day,
        first_token_seconds,
        request_tokens_per_second,
    } = message;
    let mut amount = |field: &str, value: f64| {
        if !(0.0..=1e12).contains(&value) {
            v.add(field, format_args!("{value} is no amount: write more than 0, or leave it out"));
        }
        (value > 0.0).then_some(value)
    };
    let device_memory = amount("device_memory_gb", device_memory_gb).map(|gb| gb * 1e9);
    let budget_per_day = amount("budget_usd_per_day", budget_usd_per_day);
    let first_token_seconds = amount("first_token_seconds", first_token_seconds);
    let request_tokens_per_second = amount("request_tokens_per_second", request_tokens_per_second);
    let tokens = read_tokens_per_day(v, "tokens_per_day", tokens_per_day);
    if budget_per_day.is_some() && tokens == 0 {
        v.add("tokens_per_day", "it must be set with `budget_usd_per_day`: what a day costs depends on it");
    }
    if compliance.len() > LIST_MAX {
        v.add("compliance", format_args!("it has {} entries; at most {LIST_MAX} are allowed", compliance.len()));
    }
    let mut compliance =
        v.each("compliance", compliance.into_iter().take(LIST_MAX), |v, id| known_rule(v, &id, hardware));
    compliance.sort_by(|a, b| a.id.cmp(&b.id));
    compliance.dedup_by(|a, b| a.id == b.id);
    Needs {
        on_premises,
        compliance,
        private_fine_tuning,
        offline,
        device_memory,
        #[expect(clippy::cast_precision_loss, reason = "far below where it would matter")]
        tokens_per_day: (tokens > 0).then_some(tokens as f64),
        budget_per_day,
        first_token_seconds,
        request_tokens_per_second,
    }
}

fn known_rule(v: &mut Violations, id: &str, hardware: &Hardware) -> Option<ComplianceRule> {
    let slug = id.to_ascii_lowercase().replace('_', "-");
    let rule = hardware.compliance.iter().find(|rule| *rule.id == *slug);
    if rule.is_none() {
        let known: Vec<&str> = hardware.compliance.iter().map(|rule| &*rule.id).collect();
        v.add("", format_args!("`{}` is no rule of compliance: known are {}", shown(id), known.join(", ")));
    }
    rule.cloned()
}
