//! What a model takes: memory, accelerators that hold it, what they cost, how fast they answer.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Said, Sized, found, sized, told_of_all, too_long};
use crate::catalog::Snapshot;
use crate::convert::advisor::{self, HostingRequest, Means, hosting_memory, price_range, range, whole};
use crate::domain::hosting::{
    Accelerator, Fit, Hardware, Precision, Shape, Span, Workload, fit, memory, requests_held, speed,
};
use crate::pb::weighbridge::v1 as pb;
use crate::registry::{Registry, RegistryError, records};

/// Requests at the same time where a request does not say how many.
const REQUESTS_USUAL: u32 = 8;
/// Most requests at the same time that are looked for.
const REQUESTS_MAX: u32 = 65_536;
/// Numbers of accelerators that are tried where a request does not say which, as far as one machine has so many.
const COUNTS: [u32; 4] = [1, 2, 4, 8];

impl Registry {
    /// Estimates what it takes to host a model.
    ///
    /// # Errors
    /// The model is not known or ambiguous.
    pub fn estimate_hosting(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &HostingRequest,
    ) -> Result<pb::EstimateHostingResponse, RegistryError> {
        let hardware = &snapshot.reference().hardware;
        let entry = if request.model.is_empty() { None } else { Some(found(snapshot, "model", &request.model)?) };
        let means = &request.means;
        let workload = means.workload(means.requests.unwrap_or(REQUESTS_USUAL), Precision::Bf16);
        let sized = sized(snapshot, entry.as_ref(), Said::by(request))?;
        let rests_on = sized.memory_rests_on();
        let Sized { shape, parameters, architecture, mut told, mut unknown, taken: _ } = sized;
        unknown.extend(
            entry
                .as_ref()
                .and_then(|entry| too_long(&entry.record, workload.context_tokens))
                .map(|text| format!("context_tokens: {text}")),
        );
        told.extend(told_of_all(hardware));
        let mut options = Vec::new();
        let mut response = pb::EstimateHostingResponse {
            model: entry.as_ref().map_or_else(String::new, |entry| entry.record.name.to_string()),
            workload: Some(workload_message(&workload)),
            parameters,
            architecture,
            assumptions: advisor::assumptions(hardware, &means.assumptions, &means.overridden, told),
            unknown,
            revision: records::wire_revision(snapshot.revision()),
            ..pb::EstimateHostingResponse::default()
        };
        if let Some(shape) = &shape {
            let alone = memory(shape, &workload, &means.assumptions, 1);
            response.memory = Some(hosting_memory(&alone));
            // With layers that keep a window the cache grows more slowly than the context: this is the mean.
            response.key_value_bytes_per_token = alone.key_value_cache / workload.tokens();
            for machine in machines(hardware, means) {
                options.push(option(shape, &workload, means, &machine, rests_on.as_deref()));
            }
        }
        options.sort_by(by_cost);
        response.options = options;
        Ok(response)
    }
}

/// A number of accelerators of one kind that share a model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine<'a> {
    /// The kind.
    pub(super) kind: &'a Accelerator,
    /// How many.
    pub(super) count: u32,
    /// US dollars for an hour of one: least, usual, greatest.
    pub(super) usd_per_hour: Option<[f64; 3]>,
}

impl Machine<'_> {
    /// That there are more than one machine has.
    pub(super) fn apart(&self) -> Option<String> {
        let most = self.kind.per_machine;
        (self.count > most).then(|| {
            format!("one machine has at most {most}: more are joined by a slower network, which is not reckoned with")
        })
    }

    /// US dollars for an hour of all of them.
    pub(super) fn usd(&self) -> Option<[f64; 3]> {
        self.usd_per_hour.map(|prices| prices.map(|price| price * f64::from(self.count)))
    }
}

/// Every kind with every number of them that is to be tried.
pub(super) fn machines<'a>(hardware: &'a Hardware, means: &'a Means) -> impl Iterator<Item = Machine<'a>> {
    let Means { accelerators, counts, usd_per_hour, .. } = means;
    let wanted = hardware.accelerators.iter().filter(|kind| accelerators.is_empty() || accelerators.contains(&kind.id));
    wanted.flat_map(move |kind| {
        let own = usd_per_hour.get(&kind.id).map(|price| [*price; 3]);
        let usd_per_hour = own.or_else(|| kind.prices.as_ref().map(|prices| [prices.low, prices.typical, prices.high]));
        let counts: &[u32] = if counts.is_empty() { &COUNTS } else { counts };
        let all = !means.counts.is_empty();
        let counts = counts.iter().filter(move |count| all || **count <= kind.per_machine);
        counts.map(move |count| Machine { kind, count: *count, usd_per_hour })
    })
}

pub(super) fn workload_message(workload: &Workload) -> pb::Workload {
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    pb::Workload {
        context_tokens: number(workload.context_tokens),
        concurrent_requests: number(workload.concurrent_requests),
        precision: advisor::precision_number(workload.precision),
        key_value_precision: advisor::precision_number(workload.key_value_precision),
    }
}

fn option(
    shape: &Shape,
    workload: &Workload,
    means: &Means,
    machine: &Machine<'_>,
    rests_on: Option<&str>,
) -> pb::HostingOption {
    let Machine { kind, count, .. } = *machine;
    let assumptions = &means.assumptions;
    let held: Fit = fit(shape, workload, assumptions, kind, count);
    let most = requests_held(shape, workload, assumptions, kind, count, REQUESTS_MAX);
    let mut message = pb::HostingOption {
        accelerator: kind.id.to_string(),
        count: i32::try_from(count).unwrap_or(i32::MAX),
        holds: held.holds(),
        note: [note(&held, machine, most), rests_on.unwrap_or_default().to_owned()]
            .into_iter()
            .filter(|note| !note.is_empty())
            .collect::<Vec<_>>()
            .join("; "),
        memory: Some(hosting_memory(&held.memory)),
        usable_bytes: whole(held.usable),
        max_concurrent_requests: i32::try_from(most).unwrap_or(i32::MAX),
        usd_per_hour: machine.usd().map(price_range),
        usd_per_day: machine.usd().map(|usd| price_range(usd.map(|usd| usd * 24.0))),
        ..pb::HostingOption::default()
    };
    if held.holds() {
        let speed = speed(shape, workload, assumptions, kind, count);
        let requests = f64::from(workload.concurrent_requests);
        message.decode_tokens_per_second = Some(range(speed.decode));
        message.request_tokens_per_second = Some(range(speed.decode.map(|all| all / requests)));
        message.prefill_tokens_per_second = Some(range(speed.prefill));
        let first: Span = speed.first_token_seconds(f64::from(workload.context_tokens));
        message.first_token_seconds = Some(range(first));
    }
    message
}

fn note(held: &Fit, machine: &Machine<'_>, most: u32) -> String {
    if !held.divides {
        return format!("its attention heads cannot be shared out evenly to {}", machine.count);
    }
    let short = held.memory.total() - held.usable;
    if short > 0.0 {
        let rest = if most > 0 { format!("; they hold {most} requests at the same time") } else { String::new() };
        return format!("{:.1} GB too much for each of them{rest}", short / 1e9);
    }
    machine.apart().unwrap_or_default()
}

/// Those that hold it first, then by cost, where it is known, then by number and id.
fn by_cost(a: &pb::HostingOption, b: &pb::HostingOption) -> Ordering {
    let usual = |option: &pb::HostingOption| option.usd_per_hour.map_or(f64::INFINITY, |usd| usd.typical);
    b.holds
        .cmp(&a.holds)
        .then_with(|| usual(a).total_cmp(&usual(b)))
        .then_with(|| (a.count, &a.accelerator).cmp(&(b.count, &b.accelerator)))
}
