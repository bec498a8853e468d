//! What hosting costs, against every priced offering.

use std::sync::Arc;

use super::hosting::{Machine, machines, workload_message};
use super::{Said, Sized, found, sized, told_of_all, too_long};
use crate::catalog::Snapshot;
use crate::convert::advisor::{self, HostingRequest, Load, Means, Told, break_even, price_range, whole};
use crate::domain::hosting::{
    Assumption, Cases, Hardware, Machine as Costed, Precision, Shape, Speed, TokenPrice, Workload, first_break_even,
    requests_held, speed,
};
use crate::domain::name::ModelName;
use crate::domain::tri::Tri;
use crate::pb::weighbridge::v1 as pb;
use crate::registry::offerings::offering_message;
use crate::registry::{Registry, RegistryError, records};

/// Requests at the same time that machines are filled with where a request does not say how many.
pub(super) const REQUESTS_FILLED: u32 = 256;
/// Ways of hosting that are told beside the cheapest.
const ALTERNATIVES_MAX: usize = 20;
/// Where the curve begins and ends, in tokens a day as powers of ten, with so many points for each.
const CURVE_FROM: i32 = 5;
const CURVE_TO: i32 = 11;
const POINTS_A_POWER: i32 = 24;

impl Registry {
    /// Compares what hosting a model costs with every priced offering of it.
    ///
    /// # Errors
    /// The model is not known or ambiguous, or a stored record cannot be read.
    pub fn compare_costs(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &HostingRequest,
        load: &Load,
    ) -> Result<pb::CompareCostsResponse, RegistryError> {
        let hardware = &snapshot.reference().hardware;
        let entry = found(snapshot, "model", &request.model)?;
        let Sized { shape, mut told, mut unknown, .. } = sized(snapshot, Some(&entry), Said::by(request))?;
        told.extend(told_of_all(hardware));
        told.extend(told_of_costs(load));
        let means = &request.means;
        let workload = means.workload(0, Precision::Bf16);
        unknown.extend(too_long(&entry.record, workload.context_tokens).map(|text| format!("context_tokens: {text}")));
        let filled = Filled { workload, most: REQUESTS_FILLED };
        let mut ways = shape.as_ref().map_or_else(Vec::new, |shape| ways(shape, hardware, means, load, filled));
        if shape.is_some() && ways.is_empty() {
            unknown.push(
                "accelerators: none of those that were tried holds it, or nothing is known of what they cost: try a narrower \
                 precision, a shorter context, more of them, or say a price"
                    .into(),
            );
        }
        let (offerings, unpriced) = offerings(snapshot, &entry.record.name, workload.context_tokens, load, &ways)?;
        let points = points(&ways);
        let best = if ways.is_empty() { None } else { Some(ways.remove(0)) };
        let requests = best.as_ref().map_or(means.requests.unwrap_or_default(), |way| way.requests);
        Ok(pb::CompareCostsResponse {
            model: entry.record.name.to_string(),
            workload: Some(workload_message(&Workload { concurrent_requests: requests, ..workload })),
            tokens_per_day: load.tokens_per_day,
            input_output_ratio: load.input_output_ratio,
            utilization: load.utilization,
            hosting: best.as_ref().map(|way| way.message(load)),
            alternatives: ways.iter().take(ALTERNATIVES_MAX).map(|way| way.message(load)).collect(),
            offerings,
            unpriced,
            points,
            assumptions: advisor::assumptions(hardware, &means.assumptions, &means.overridden, told),
            unknown,
            revision: records::wire_revision(snapshot.revision()),
        })
    }
}

pub(super) fn told_of_costs(load: &Load) -> Vec<Told> {
    let text = |text: String| Told { text, source: String::new() };
    vec![
        text(format!(
            "machines are kept busy with {} of what they can do, and are paid for all day; the cheapest case has the least price \
             and the greatest speed, the dearest the greatest price and the least speed",
            load.utilization
        )),
        text("prompts are not cached, neither by a provider nor on a machine".into()),
        text("a price of 0 is none: it stands for a free tier, a plan, or nothing known".into()),
    ]
}

/// A way of hosting, with what it costs.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) accelerator: String,
    count: u32,
    /// Requests at the same time.
    pub(super) requests: u32,
    note: String,
    /// How fast one machine is.
    pub(super) speed: Speed,
    cases: Cases,
}

impl Way {
    fn cases(&self) -> [&Costed; 3] {
        let Cases { low, typical, high } = &self.cases;
        [low, typical, high]
    }

    /// US dollars a day, in each case.
    pub(super) fn usd_per_day(&self, tokens_per_day: f64) -> [f64; 3] {
        self.cases().map(|case| case.cost_per_day(tokens_per_day))
    }

    pub(super) fn message(&self, load: &Load) -> pb::HostingCost {
        let tokens = tokens_of(load);
        let used = [&self.cases.high, &self.cases.low].map(Costed::used_tokens_per_day);
        let [least, most] = used;
        pb::HostingCost {
            accelerator: self.accelerator.clone(),
            count: number(self.count),
            concurrent_requests: number(self.requests),
            machine_usd_per_day: Some(price_range(self.cases().map(Costed::usd_per_day))),
            machine_tokens_per_day: Some(pb::Range { low: least, high: most }),
            machines: i32::try_from(whole(self.cases.typical.needed(tokens))).unwrap_or(i32::MAX),
            usd_per_day: Some(price_range(self.usd_per_day(tokens))),
            usd_per_million_tokens: Some(price_range(self.cases().map(|case| case.cost_per_million(tokens)))),
            least_usd_per_million_tokens: Some(price_range(self.cases().map(Costed::least_per_million))),
            note: self.note.clone(),
        }
    }
}

/// Tokens a day; one at least, so that a cost for a million of them is a number.
#[expect(clippy::cast_precision_loss, reason = "a request's number, far below where it would matter")]
fn tokens_of(load: &Load) -> f64 {
    load.tokens_per_day.max(1) as f64
}

/// How machines are filled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filled {
    /// What is asked of them, but for the number of requests.
    pub(super) workload: Workload,
    /// At most so many requests at the same time, where the request does not say how many.
    pub(super) most: u32,
}

/// Every way of hosting whose cost is known, cheapest first at the tokens a day that are asked for.
pub(super) fn ways(shape: &Shape, hardware: &Hardware, means: &Means, load: &Load, filled: Filled) -> Vec<Way> {
    let mut out: Vec<Way> =
        machines(hardware, means).filter_map(|machine| way(shape, &machine, means, load, filled)).collect();
    let tokens = tokens_of(load);
    let usual = |way: &Way| way.cases.typical.cost_per_day(tokens);
    out.sort_by(|a, b| {
        let by_id = || (&a.accelerator, a.count).cmp(&(&b.accelerator, b.count));
        usual(a).total_cmp(&usual(b)).then_with(by_id)
    });
    out
}

fn way(shape: &Shape, machine: &Machine<'_>, means: &Means, load: &Load, filled: Filled) -> Option<Way> {
    let Machine { kind, count, .. } = *machine;
    let usd = machine.usd()?;
    let requests = requests_on(shape, machine, means, filled)?;
    let workload = Workload { concurrent_requests: requests, ..filled.workload };
    let speed = speed(shape, &workload, &means.assumptions, kind, count);
    let per_day = speed.tokens_per_day(load.input_output_ratio);
    let operations = means.assumptions.get(Assumption::OperationsUsdPerDay);
    let cases = Cases::of(usd, per_day, load.utilization, operations);
    let note = machine.apart().unwrap_or_default();
    Some(Way { accelerator: kind.id.to_string(), count, requests, note, speed, cases })
}

/// With how many requests at the same time a machine is reckoned: those that were asked for, else as many as it holds.
pub(super) fn requests_on(shape: &Shape, machine: &Machine<'_>, means: &Means, filled: Filled) -> Option<u32> {
    let most = means.requests.unwrap_or(filled.most);
    let held = requests_held(shape, &filled.workload, &means.assumptions, machine.kind, machine.count, most);
    let enough = if means.requests.is_some() { held == most } else { held > 0 };
    enough.then_some(held)
}

/// The priced offerings of a model, cheapest first, and those without a price.
fn offerings(
    snapshot: &Snapshot,
    model: &ModelName,
    context_tokens: u32,
    load: &Load,
    ways: &[Way],
) -> Result<(Vec<pb::OfferingCost>, Vec<pb::UnpricedOffering>), RegistryError> {
    let (mut priced, mut unpriced) = (Vec::new(), Vec::new());
    for entry in snapshot.offerings().filter(|entry| entry.record.model.as_ref() == Some(model)) {
        let message = offering_message(entry)?;
        match price_at(&message, context_tokens) {
            Ok(price) => {
                let notes = offering_notes(&message, context_tokens);
                priced.push(cost(message.name, price, notes, load, ways));
            }
            Err(reason) => {
                unpriced.push(pb::UnpricedOffering { offering: message.name, reason: reason.to_owned() });
            }
        }
    }
    priced.sort_by(|a, b| {
        let by_name = || a.offering.cmp(&b.offering);
        a.usd_per_million_tokens.total_cmp(&b.usd_per_million_tokens).then_with(by_name)
    });
    unpriced.sort_by(|a, b| a.offering.cmp(&b.offering));
    Ok((priced, unpriced))
}

/// The price that holds for requests of a context.
///
/// # Errors
/// Why there is none.
pub(super) fn price_at(message: &pb::Offering, context_tokens: u32) -> Result<TokenPrice, &'static str> {
    let price = tier_at(message, context_tokens).map_or(message.price, |tier| tier.price).unwrap_or_default();
    TokenPrice::of(price.input, price.output).ok_or(match (price.input, price.output) {
        (None, None) => "its price is not known",
        (Some(_), None) | (None, Some(_)) => "only one of its prices is known",
        (Some(_), Some(_)) => "its price is 0, which stands for a free tier, a plan, or nothing known",
    })
}

/// The price tier that requests of a context fall into.
fn tier_at(message: &pb::Offering, context_tokens: u32) -> Option<&pb::PriceTier> {
    let tiers = message.price_tiers.iter().filter(|tier| tier.context_tokens <= i64::from(context_tokens));
    tiers.max_by_key(|tier| tier.context_tokens)
}

/// Whether an offering takes a context, of which prompts are a share. Where it does not say, it takes no more than the model, but it
/// may take less.
pub(super) fn takes(
    message: &pb::Offering,
    of_model: Option<i64>,
    context_tokens: u32,
    input_output_ratio: f64,
) -> Tri {
    let enough = |most: i64| most >= i64::from(context_tokens);
    let whole = match message.context_tokens {
        1.. => enough(message.context_tokens).into(),
        _ if of_model.is_some_and(|most| !enough(most)) => Tri::False,
        _ => Tri::Unknown,
    };
    let prompts = f64::from(context_tokens) * input_output_ratio / (1.0 + input_output_ratio);
    let input = message.max_input_tokens;
    // Where it says nothing of prompts alone they are as long as the whole.
    let input = if input > 0 { (whole_f64(input) >= prompts).into() } else { Tri::True };
    whole.and(input)
}

#[expect(clippy::cast_precision_loss, reason = "tokens of a prompt")]
fn whole_f64(tokens: i64) -> f64 {
    tokens as f64
}

/// What to know of an offering that is asked for a context.
pub(super) fn offering_notes(message: &pb::Offering, context_tokens: u32) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(tier) = tier_at(message, context_tokens) {
        notes.push(format!("its price for contexts from {} tokens up", tier.context_tokens));
    }
    if message.stage() == pb::offering::Stage::Deprecated {
        notes.push("it is deprecated".into());
    }
    for (most, of) in [(message.context_tokens, "context"), (message.max_input_tokens, "input")] {
        if most > 0 && most < i64::from(context_tokens) {
            notes.push(format!("it takes {most} tokens of {of}, and {context_tokens} of context are reckoned with"));
        }
    }
    notes
}

fn cost(offering: String, price: TokenPrice, notes: Vec<String>, load: &Load, ways: &[Way]) -> pb::OfferingCost {
    let tokens = tokens_of(load);
    let blended = price.blended(load.input_output_ratio);
    let usd_per_day = blended * tokens / 1e6;
    // They come cheapest first.
    let cheapest = ways.first().map(|way| way.cases.typical.cost_per_day(tokens));
    pb::OfferingCost {
        offering,
        input_usd_per_million_tokens: price.input,
        output_usd_per_million_tokens: price.output,
        usd_per_million_tokens: blended,
        usd_per_day,
        cheaper_than_hosting: cheapest.map(|hosting| usd_per_day < hosting),
        break_even: first_of(ways, blended, |cases| cases.typical),
        break_even_low: first_of(ways, blended, |cases| cases.low),
        break_even_high: first_of(ways, blended, |cases| cases.high),
        notes,
    }
}

/// When hosting first costs no more than a price for a million tokens; `None`: there is no way of hosting at all.
fn first_of(ways: &[Way], usd_per_million: f64, case: fn(&Cases) -> Costed) -> Option<pb::BreakEven> {
    let machines: Vec<Costed> = ways.iter().map(|way| case(&way.cases)).collect();
    let (first, at) = first_break_even(&machines, usd_per_million)?;
    let mut message = break_even(at);
    if let Some(way) = ways.get(first).filter(|_| !message.never) {
        message.accelerator.clone_from(&way.accelerator);
        message.count = number(way.count);
    }
    Some(message)
}

/// At each number of tokens a day, the cheapest way in each case.
fn points(ways: &[Way]) -> Vec<pb::CostPoint> {
    let steps = (CURVE_FROM * POINTS_A_POWER)..=(CURVE_TO * POINTS_A_POWER);
    let point = |step: i32| {
        let tokens_per_day = 10f64.powf(f64::from(step) / f64::from(POINTS_A_POWER));
        let of = |case: fn(&Cases) -> Costed| {
            let all = ways.iter().map(|way| (case(&way.cases).cost_per_million(tokens_per_day), way));
            all.min_by(|a, b| a.0.total_cmp(&b.0))
        };
        let (low, typical, high) = (of(|cases| cases.low)?, of(|cases| cases.typical)?, of(|cases| cases.high)?);
        Some(pb::CostPoint {
            tokens_per_day,
            hosting_usd_per_million_tokens: Some(price_range([low.0, typical.0, high.0])),
            accelerator: typical.1.accelerator.clone(),
            count: number(typical.1.count),
        })
    };
    steps.filter_map(point).collect()
}

fn number(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offering_that_does_not_say_takes_no_context_for_sure() {
        let offering = |context_tokens: i64, max_input_tokens: i64| pb::Offering {
            context_tokens,
            max_input_tokens,
            ..pb::Offering::default()
        };
        let takes =
            |context: i64, input: i64, of_model: Option<i64>| takes(&offering(context, input), of_model, 100, 3.0);
        assert_eq!(takes(100, 0, None), Tri::True);
        assert_eq!(takes(99, 0, Some(1_000)), Tri::False);
        assert_eq!(takes(0, 0, Some(1_000)), Tri::Unknown);
        assert_eq!(takes(0, 0, Some(99)), Tri::False);
        assert_eq!(takes(0, 0, None), Tri::Unknown);
        // Of 100 tokens 75 are of the prompt.
        assert_eq!((takes(100, 75, None), takes(100, 74, None)), (Tri::True, Tri::False));
    }
}
