//! Models that one hosts oneself: on machines, or on a device.

use super::{Adviser, Candidate, Gathered, count};
use crate::convert::advisor::{self, Means, price_range};
use crate::domain::eligibility::{Activity, Hosting, Verdict};
use crate::domain::hosting::{Assumption, Assumptions, Precision, Shape, memory};
use crate::domain::tri::Tri;
use crate::pb::weighbridge::v1 as pb;
use crate::registry::RegistryError;
use crate::registry::advisor::costs::{Filled, REQUESTS_FILLED, Way, requests_on, ways};
use crate::registry::advisor::hosting::machines;
use crate::registry::advisor::{Said, Sized, sized};

/// Most models that are looked at on machines, and on a device.
const ON_MACHINES_MAX: usize = 200;
const ON_DEVICE_MAX: usize = 2_000;
/// Precisions that are tried where the request names none, widest first.
const PRECISIONS: [Precision; 3] = [Precision::Bf16, Precision::Fp8, Precision::Int4];
/// Requests at the same time that are tried where the request says none and it has to be fast: fewer are faster for each.
const REQUESTS_TRIED: [u32; 5] = [REQUESTS_FILLED, 64, 16, 4, 1];

/// A way of hosting a model, with what it comes to.
struct Plan {
    way: Way,
    precision: Precision,
    fast: Tri,
    within_budget: Tri,
}

fn rank_of(tri: Tri) -> u8 {
    match tri {
        Tri::False => 0,
        Tri::Unknown => 1,
        Tri::True => 2,
    }
}

impl Adviser<'_> {
    /// The models that one hosts oneself, each with what holds it.
    pub(super) fn hosted_by_oneself(&self, message: &mut pb::RankedRoute) -> Result<Gathered, RegistryError> {
        let needs = &self.request.needs;
        let hosting = match (needs.on_device(), needs.on_premises) {
            (true, _) => Hosting::EdgeOffline,
            (false, true) => Hosting::OnPremises,
            (false, false) => Hosting::SelfHosted,
        };
        let use_ = self.use_of(hosting, None);
        // Weights in fewer bits are changed weights.
        let mut changed = use_.clone();
        changed.activities.insert(Activity::Modify);
        let (judge, judge_changed) = (self.judge(&use_), self.judge(&changed));
        let judged = judge.all(&self.rows);
        count(message, &judged);
        let look_at_most = if needs.on_device() { ON_DEVICE_MAX } else { ON_MACHINES_MAX };
        let mut left_out = 0;
        let mut gathered = self.gather(&judged, look_at_most, |entry| {
            let sized = sized(self.snapshot, Some(entry), Said::default())?;
            let may_change = judge_changed.verdict(entry) <= Verdict::NeedsReview;
            let made = |precision: Precision| {
                let judge = if precision < Precision::Fp8 { &judge } else { &judge_changed };
                let mut candidate = self.candidate(judge, entry);
                candidate.message.precision = advisor::precision_number(precision);
                if precision >= Precision::Fp8 {
                    candidate.message.notes.push("its weights are changed: checked with MODIFY besides".into());
                }
                candidate
            };
            let candidate = match (needs.device_memory, needs.offline) {
                (Some(device), _) => match self.device_precision(&sized, device, may_change) {
                    Ok(precision) => {
                        let mut candidate = made(precision);
                        self.on_device(&sized, device, precision, &mut candidate);
                        Some(candidate)
                    }
                    Err(Tri::Unknown) => {
                        left_out += 1;
                        None
                    }
                    Err(Tri::True | Tri::False) => None,
                },
                (None, true) => {
                    let mut candidate = self.candidate(&judge, entry);
                    // Nothing is said of the devices.
                    candidate.held = Tri::Unknown;
                    self.speed_and_cost_unknown(&mut candidate);
                    Some(candidate)
                }
                (None, false) => Some(self.on_machines(&sized, may_change, made, || self.candidate(&judge, entry))),
            };
            Ok(candidate.map(|mut candidate| {
                candidate.message.notes.extend(sized.taken);
                self.with_context(candidate, entry)
            }))
        })?;
        if left_out > 0 {
            let why = format!("{left_out} are left out of which it is not known what they take");
            gathered.incomplete =
                Some(gathered.incomplete.map_or_else(|| why.clone(), |other| format!("{other}; {why}")));
        }
        Ok(gathered)
    }

    fn precisions(&self, may_change: bool) -> impl Iterator<Item = Precision> {
        let asked = self.request.means.precision;
        let all = asked.map_or_else(|| PRECISIONS.to_vec(), |precision| vec![precision]);
        all.into_iter().filter(move |precision| may_change || *precision < Precision::Fp8)
    }

    /// The widest precision in which a device holds a model.
    ///
    /// # Errors
    /// Unknown: what it takes is not known; false: none.
    fn device_precision(&self, sized: &Sized, device: f64, may_change: bool) -> Result<Precision, Tri> {
        let shape = sized.shape.as_ref().ok_or(Tri::Unknown)?;
        let usable = self.usable(device);
        let means = &self.request.means;
        let fits = |precision: &Precision| self.memory_on_device(shape, *precision, &means.assumptions) <= usable;
        let might = |precision: Precision| self.memory_on_device(shape, precision, &weights_alone(means)) <= usable;
        let perhaps = sized.memory_rests_on().is_some() && self.precisions(may_change).any(might);
        self.precisions(may_change).find(fits).ok_or(if perhaps { Tri::Unknown } else { Tri::False })
    }

    fn usable(&self, device: f64) -> f64 {
        device * self.request.means.assumptions.get(Assumption::UsableMemoryFraction)
    }

    fn memory_on_device(&self, shape: &Shape, precision: Precision, assumptions: &Assumptions) -> f64 {
        let means = &self.request.means;
        memory(shape, &means.workload(means.requests.unwrap_or(1), precision), assumptions, 1).total()
    }

    fn on_device(&self, sized: &Sized, device: f64, precision: Precision, candidate: &mut Candidate) {
        let Some(shape) = &sized.shape else { return };
        candidate.message.notes.push(format!(
            "takes {:.1} of {:.1} GB that can be filled, with {} tokens of context",
            self.memory_on_device(shape, precision, &self.request.means.assumptions) / 1e9,
            self.usable(device) / 1e9,
            self.request.means.workload(0, precision).context_tokens
        ));
        if let Some(note) = sized.memory_rests_on() {
            candidate.held = Tri::Unknown;
            candidate.message.notes.push(note);
        }
        self.speed_and_cost_unknown(candidate);
    }

    /// Neither how fast it is nor what it costs is known, where that is needed.
    fn speed_and_cost_unknown(&self, candidate: &mut Candidate) {
        let needs = &self.request.needs;
        if needs.first_token_seconds.is_some() || needs.request_tokens_per_second.is_some() {
            candidate.fast = Tri::Unknown;
        }
        if needs.budget_per_day.is_some() {
            candidate.within_budget = Tri::Unknown;
        }
    }

    /// On which machines a model is best hosted, in the widest precision that meets what is needed.
    fn on_machines(
        &self,
        sized: &Sized,
        may_change: bool,
        made: impl Fn(Precision) -> Candidate,
        plain: impl Fn() -> Candidate,
    ) -> Candidate {
        let needs = &self.request.needs;
        let undecided = |mut candidate: Candidate, held: Tri, note: &str| {
            candidate.held = held;
            self.speed_and_cost_unknown(&mut candidate);
            candidate.message.notes.push(note.to_owned());
            candidate
        };
        let Some(shape) = &sized.shape else {
            return undecided(plain(), Tri::Unknown, "its size is not known, and so neither is what it takes");
        };
        let Some(Plan { way, precision, fast, within_budget }) = self.plan(shape, may_change) else {
            let means = &self.request.means;
            if let Some(precision) = self.held_in(shape, means, may_change) {
                let held = if sized.memory_rests_on().is_some() { Tri::Unknown } else { Tri::True };
                return undecided(made(precision), held, "what the accelerators cost that hold it is not known");
            }
            let weights = Means { assumptions: weights_alone(means), ..means.clone() };
            if let Some(note) = sized.memory_rests_on().filter(|_| self.held_in(shape, &weights, may_change).is_some())
            {
                return undecided(plain(), Tri::Unknown, &note);
            }
            let barred = !may_change && self.held_in(shape, means, true).is_some();
            let note = match barred {
                true => "nothing holds it but in fewer bits, and the check does not let its weights be changed",
                false => "none of the accelerators that are known hold it",
            };
            return undecided(plain(), Tri::False, note);
        };
        let mut candidate = made(precision);
        (candidate.fast, candidate.within_budget) = (fast, within_budget);
        if sized.memory_rests_on().is_some() {
            candidate.held = Tri::Unknown;
        }
        // What rests on nothing known is neither surely fast nor surely slow, and so with what it costs.
        if let Some(note) = sized.speed_rests_on() {
            self.speed_and_cost_unknown(&mut candidate);
            candidate.message.notes.push(note);
        }
        let mut told = way.message(&self.request.load);
        match needs.tokens_per_day {
            Some(tokens) => {
                candidate.message.usd_per_day = Some(price_range(way.usd_per_day(tokens)));
            }
            None => (told.machines, told.usd_per_day, told.usd_per_million_tokens) = (0, None, None),
        }
        candidate.message.hosting = Some(told);
        candidate
    }

    /// The widest precision in which any machines hold a model, whatever they cost.
    fn held_in(&self, shape: &Shape, means: &Means, may_change: bool) -> Option<Precision> {
        let hardware = &self.snapshot.reference().hardware;
        self.precisions(may_change).find(|precision| {
            let filled = Filled { workload: means.workload(0, *precision), most: 1 };
            machines(hardware, means).any(|machine| requests_on(shape, &machine, means, filled).is_some())
        })
    }

    /// The way of hosting that best meets what is needed: the widest precision first, and the cheapest machines.
    fn plan(&self, shape: &Shape, may_change: bool) -> Option<Plan> {
        let (means, needs) = (&self.request.means, &self.request.needs);
        let hardware = &self.snapshot.reference().hardware;
        let is_timed = needs.request_tokens_per_second.is_some();
        let tried = if is_timed && means.requests.is_none() { &REQUESTS_TRIED[..] } else { &REQUESTS_TRIED[..1] };
        let mut found: Option<Plan> = None;
        for precision in self.precisions(may_change) {
            for most in tried {
                let filled = Filled { workload: means.workload(0, precision), most: *most };
                let looks = u64::try_from(machines(hardware, means).count()).unwrap_or(u64::MAX);
                self.looks.set(self.looks.get().saturating_add(looks));
                for way in ways(shape, hardware, means, &self.request.load, filled) {
                    let fast = self.fast_enough(&way, filled);
                    let within_budget = self.within_budget(&way);
                    let meets = |plan: &Plan| rank_of(plan.fast.and(plan.within_budget));
                    let plan = Plan { way, precision, fast, within_budget };
                    let better = found.as_ref().is_none_or(|known| meets(&plan) > meets(known));
                    if better {
                        found = Some(plan);
                    }
                }
                if found.as_ref().is_some_and(|plan| plan.fast.and(plan.within_budget) == Tri::True) {
                    return found;
                }
            }
        }
        found
    }

    /// Whether machines are as fast as is needed: at the least speed, or only at the greatest.
    fn fast_enough(&self, way: &Way, filled: Filled) -> Tri {
        let needs = &self.request.needs;
        let first = needs.first_token_seconds.map_or(Tri::True, |most| {
            let seconds = way.speed.first_token_seconds(f64::from(filled.workload.context_tokens));
            within(seconds.high <= most, seconds.low <= most)
        });
        let each = needs.request_tokens_per_second.map_or(Tri::True, |least| {
            let each = way.speed.decode.map(|all| all / f64::from(way.requests.max(1)));
            within(each.low >= least, each.high >= least)
        });
        first.and(each)
    }

    /// Whether machines stay within the budget: in the dearest case, or only in the cheapest. What one's own cost is known only where
    /// it is said.
    fn within_budget(&self, way: &Way) -> Tri {
        let needs = &self.request.needs;
        let (Some(budget), Some(tokens)) = (needs.budget_per_day, needs.tokens_per_day) else { return Tri::True };
        if needs.on_premises && !self.request.means.usd_per_hour.contains_key(way.accelerator.as_str()) {
            return Tri::Unknown;
        }
        let [low, _, high] = way.usd_per_day(tokens);
        within(high <= budget, low <= budget)
    }
}

/// Assumptions with which a model takes its weights and no more.
fn weights_alone(means: &Means) -> Assumptions {
    let none = [Assumption::FallbackKeyValues, Assumption::ActivationFraction, Assumption::FrameworkGb];
    none.into_iter().fold(means.assumptions.clone(), |assumptions, assumption| assumptions.with(assumption, 0.0))
}

/// What holds in the worst case, or only in the best.
fn within(surely: bool, perhaps: bool) -> Tri {
    match (surely, perhaps) {
        (true, _) => Tri::True,
        (false, true) => Tri::Unknown,
        (false, false) => Tri::False,
    }
}
