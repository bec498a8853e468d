//! Which way to a model: a vendor's API, open weights that somebody else hosts, or open weights hosted by oneself.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::costs::{Filled, REQUESTS_FILLED, Way, offering_notes, price_at, requests_on, takes, told_of_costs, ways};
use super::hosting::machines;
use super::{Said, Sized, found, gives_no_text, sized, told_of_all, too_long};
use crate::catalog::fields::ModelField;
use crate::catalog::index::Order;
use crate::catalog::{Entry, Snapshot};
use crate::convert::advisor::{self, Means, RouteRequest, price_range, route_number, standing_number};
use crate::convert::{self, verdict_number};
use crate::domain::eligibility::{Activity, Hosting, Use, Verdict};
use crate::domain::hosting::{Assumption, Assumptions, Precision, Route, RouteReason, Shape, Standing, Topic, memory};
use crate::domain::model::Model;
use crate::domain::name::ProviderId;
use crate::domain::openness::Tier;
use crate::domain::tri::Tri;
use crate::domain::words::Grouped;
use crate::pb::weighbridge::v1 as pb;
use crate::registry::check::check_lists;
use crate::registry::eligible::Judge;
use crate::registry::list::ListRequest;
use crate::registry::models::selected;
use crate::registry::offerings::offering_message;
use crate::registry::{Registry, RegistryError, present, records};

/// Which models come first where the request does not say.
const ORDER_USUAL: &str = "release_date desc";
/// Most models of a route that are looked at on machines, on a device, and over an API.
const ON_MACHINES_MAX: usize = 200;
const ON_DEVICE_MAX: usize = 2_000;
const BY_API_MAX: usize = 1_000;
/// Most looks at a number of accelerators: some tenths of a second.
const LOOKS_MAX: u64 = 300_000;
/// Precisions that are tried where the request names none, widest first.
const PRECISIONS: [Precision; 3] = [Precision::Bf16, Precision::Fp8, Precision::Int4];
/// Requests at the same time that are tried where the request says none and it has to be fast: fewer are faster for each.
const REQUESTS_TRIED: [u32; 5] = [REQUESTS_FILLED, 64, 16, 4, 1];
/// Verdicts that make a candidate, best first.
const CANDIDATE_VERDICTS: [Verdict; 3] = [Verdict::Eligible, Verdict::EligibleWithConditions, Verdict::NeedsReview];

impl Registry {
    /// Ranks the routes to a model.
    ///
    /// # Errors
    /// Every violation at once, a model that is not known or ambiguous, or a filter that costs too much.
    pub fn recommend_route(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &RouteRequest,
        filter: &str,
        order_by: &str,
    ) -> Result<pb::RecommendRouteResponse, RegistryError> {
        self.check_complete()?;
        let order_by = if order_by.trim().is_empty() { ORDER_USUAL } else { order_by };
        let list = ListRequest { filter: filter.to_owned(), order_by: order_by.to_owned(), ..ListRequest::default() };
        let read = list.read::<ModelField>()?;
        check_lists(snapshot, &request.asked.use_)?;
        let mut rows = selected(snapshot, None, read.query.as_ref())?;
        if !request.models.is_empty() {
            rows &= named(snapshot, &request.models)?;
        } else if request.asked.use_.requirements.output_modalities.is_empty() {
            let index = snapshot.model_index();
            let silent = rows.iter().filter(|row| index.entry(*row).is_some_and(|entry| gives_no_text(&entry.record)));
            let silent: RoaringBitmap = silent.collect();
            rows -= silent;
        }
        let at = self.at(&request.asked);
        let adviser = Adviser { snapshot, request, rows, order: read.order, at, looks: Cell::new(0) };
        let mut routes = Route::ALL.iter().map(|route| adviser.route(*route)).collect::<Result<Vec<_>, _>>()?;
        routes.sort_by(rank);
        let hardware = &snapshot.reference().hardware;
        let means = &request.means;
        let mut told = told_of_all(hardware);
        told.extend(told_of_costs(&request.load));
        let assumed = advisor::assumptions(hardware, &means.assumptions, &means.overridden, told);
        Ok(pb::RecommendRouteResponse {
            routes,
            assumptions: assumed,
            revision: records::wire_revision(snapshot.revision()),
        })
    }
}

fn named(snapshot: &Snapshot, models: &[String]) -> Result<RoaringBitmap, RegistryError> {
    let mut rows = RoaringBitmap::new();
    for (i, id) in models.iter().enumerate() {
        let entry = found(snapshot, &format!("models[{i}]"), id)?;
        rows.extend(snapshot.model_index().row(entry.record.name.as_str()));
    }
    Ok(rows)
}

/// By standing, then by cost, where it is known.
fn rank(a: &pb::RankedRoute, b: &pb::RankedRoute) -> Ordering {
    let cost = |route: &pb::RankedRoute| route.usd_per_day.map_or(f64::INFINITY, |usd| usd.typical);
    let by_cost = || cost(a).total_cmp(&cost(b));
    a.standing.cmp(&b.standing).then_with(by_cost).then_with(|| a.route.cmp(&b.route))
}

/// One request, held against routes.
struct Adviser<'a> {
    snapshot: &'a Snapshot,
    request: &'a RouteRequest,
    /// The models that it is about.
    rows: RoaringBitmap,
    order: Order<ModelField>,
    at: i64,
    /// How often a number of accelerators was looked at.
    looks: Cell<u64>,
}

/// A model for a route, with whether it meets what is needed.
struct Candidate {
    message: pb::RouteCandidate,
    verdict: Verdict,
    /// Whether it is to be had: something holds it, somebody offers it.
    held: Tri,
    fast: Tri,
    within_budget: Tri,
}

impl Candidate {
    /// All of it together.
    fn meets(&self) -> Tri {
        self.held.and(self.fast).and(self.within_budget)
    }

    fn may_be_used(&self) -> bool {
        self.verdict <= Verdict::EligibleWithConditions
    }

    fn standing(&self) -> Standing {
        standing_of(self.verdict, self.meets())
    }

    /// The candidate as it is told, with what it fails.
    fn told(self) -> pb::RouteCandidate {
        let mut message = pb::RouteCandidate { standing: standing_number(self.standing()), ..self.message };
        if self.fast == Tri::False {
            message.notes.push("it is too slow even at the greatest speed that is estimated".into());
        }
        message.over_budget = self.within_budget == Tri::False;
        message
    }
}

fn standing_of(verdict: Verdict, meets: Tri) -> Standing {
    match (meets, verdict <= Verdict::EligibleWithConditions) {
        (Tri::False, _) => Standing::Closed,
        (Tri::True, true) => Standing::Open,
        (Tri::True, false) | (Tri::Unknown, _) => Standing::Review,
    }
}

/// The candidates of a route.
#[derive(Default)]
struct Gathered {
    /// By standing, then by verdict, up to the number asked for.
    candidates: Vec<Candidate>,
    /// Why there may be more.
    incomplete: Option<String>,
}

/// The offering by which a model is best used on a route.
struct Best {
    verdict: Verdict,
    held: Tri,
    within_budget: Tri,
    /// US dollars a day, where tokens a day were said.
    usd_per_day: Option<f64>,
    /// US dollars for a million tokens of both; infinite: not known.
    price: f64,
    provider: ProviderId,
    message: pb::Offering,
}

impl Best {
    fn is_better(&self, known: &Self) -> bool {
        let key = |best: &Self| {
            let standing = standing_of(best.verdict, best.held.and(best.within_budget));
            (standing, best.verdict, best.message.stage() == pb::offering::Stage::Deprecated)
        };
        let by_price = || self.price.total_cmp(&known.price);
        let by_name = || self.message.name.cmp(&known.message.name);
        key(self).cmp(&key(known)).then_with(by_price).then_with(by_name) == Ordering::Less
    }
}

/// A way of hosting a model, with what it comes to.
struct Plan {
    way: Way,
    precision: Precision,
    fast: Tri,
    within_budget: Tri,
}

/// The best there is.
fn best(all: impl IntoIterator<Item = Tri>) -> Tri {
    all.into_iter().fold(Tri::False, Tri::or)
}

fn rank_of(tri: Tri) -> u8 {
    match tri {
        Tri::False => 0,
        Tri::Unknown => 1,
        Tri::True => 2,
    }
}

impl Adviser<'_> {
    fn route(&self, route: Route) -> Result<pb::RankedRoute, RegistryError> {
        let mut reasons = self.request.needs.reasons(route);
        let mut message = pb::RankedRoute { route: route_number(route), ..pb::RankedRoute::default() };
        if let Some(provider) = self.kept_to().filter(|_| route == Route::SelfHosted) {
            let text = format!("the use keeps to `{provider}`, who is no way of hosting it oneself");
            reasons.push(RouteReason::new(Topic::Provider, Standing::Closed, text));
        }
        // What cannot be is not looked at further.
        if reasons.iter().all(|reason| reason.standing != Standing::Closed) {
            let gathered = match route {
                Route::SelfHosted => self.hosted_by_oneself(&mut message)?,
                Route::VendorApi | Route::HostedOpenWeights => self.by_api(route, &mut message)?,
            };
            self.weigh(route, &gathered, &mut message, &mut reasons);
            message.candidates = gathered.candidates.into_iter().map(Candidate::told).collect();
        }
        let standing = reasons.iter().map(|reason| reason.standing).max().unwrap_or(Standing::Open);
        message.standing = standing_number(standing);
        reasons.sort_by(|a, b| b.standing.cmp(&a.standing).then(a.topic.cmp(&b.topic)));
        message.reasons = reasons.into_iter().map(advisor::reason).collect();
        Ok(message)
    }

    fn kept_to(&self) -> Option<&ProviderId> {
        self.request.asked.use_.provider.as_ref()
    }

    /// What the models for a route make of it.
    fn weigh(&self, route: Route, gathered: &Gathered, message: &mut pb::RankedRoute, reasons: &mut Vec<RouteReason>) {
        let Gathered { candidates, incomplete } = gathered;
        let mut say = |topic, standing, text: String| reasons.push(RouteReason::new(topic, standing, text));
        let could = |candidate: &&Candidate| candidate.meets() != Tri::False;
        let usable: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.may_be_used()).collect();
        let others: Vec<&Candidate> = candidates.iter().filter(|candidate| !candidate.may_be_used()).collect();
        // Those that may be used decide, unless none of them can meet what is needed and one that is to be reviewed can.
        let is_usable = usable.iter().any(could) || (!usable.is_empty() && !others.iter().any(could));
        let pool = if is_usable { usable } else { others };
        let nothing = if incomplete.is_some() { Standing::Review } else { Standing::Closed };
        let standing = match (is_usable, pool.is_empty()) {
            (true, _) => Standing::Open,
            (false, false) => Standing::Review,
            (false, true) => nothing,
        };
        let pb::RankedRoute { eligible_models, review_models, ineligible_models, .. } = message;
        let text = match (*eligible_models, *review_models, *ineligible_models) {
            (0, 0, 0) => "no model that was asked about is to be had this way".to_owned(),
            (may, review, not) => {
                let found = match (pool.is_empty() && may + review > 0, is_usable, may > 0) {
                    (true, _, _) if incomplete.is_some() => {
                        ", and none that was looked at is known to meet what is needed"
                    }
                    (true, _, _) => ", and none of the former meets what is needed",
                    (false, false, true) => {
                        ", and none of those that may be used is known to meet what is needed as it is"
                    }
                    (false, _, _) => "",
                };
                format!("{may} models may be used so, {review} are to be reviewed, {not} may not{found}")
            }
        };
        let text = match incomplete {
            Some(why) => format!("{text}; {why}"),
            None => text,
        };
        say(Topic::Eligibility, standing, text);
        if pool.is_empty() {
            return;
        }
        let met = best(pool.iter().map(|candidate| candidate.meets()));
        let pool: Vec<&Candidate> = pool.into_iter().filter(|candidate| candidate.meets() == met).collect();
        let of = |part: fn(&Candidate) -> Tri| best(pool.iter().map(|candidate| part(candidate)));
        let mut parts = vec![Tri::True];
        let mut judge = |topic, found: Tri, [yes, perhaps, no]: [&str; 3]| {
            let (standing, text) = match found {
                Tri::True => (Standing::Open, yes),
                Tri::Unknown => (Standing::Review, perhaps),
                Tri::False => (nothing, no),
            };
            parts.push(found);
            say(topic, standing, text.to_owned());
        };
        let needs = &self.request.needs;
        let by_api = route != Route::SelfHosted;
        let held = of(|candidate| candidate.held);
        match (by_api, needs.on_device()) {
            (true, _) => judge(
                Topic::Provider,
                held,
                [
                    "offerings are known",
                    "no offering is known, or whether one takes that context is not",
                    "no offering takes that context",
                ],
            ),
            (false, true) => judge(
                Topic::DeviceMemory,
                held,
                ["the device holds it", "whether the device holds it is not known", "the device does not hold it"],
            ),
            (false, false) => judge(
                Topic::Hardware,
                held,
                [
                    "accelerators that are known hold it",
                    "whether accelerators hold it, or it takes that context, rests on what is not known",
                    "no accelerators that are known hold it as it may be used, or it takes less context",
                ],
            ),
        }
        // Of APIs the needs have said so already.
        if !by_api && (needs.first_token_seconds.is_some() || needs.request_tokens_per_second.is_some()) {
            let texts = [
                "it is fast enough at the least speed that is estimated",
                "whether it is fast enough is not known, or lies within the estimate",
                "what is shown is too slow even at the greatest speed that is estimated",
            ];
            judge(Topic::Latency, of(|candidate| candidate.fast), texts);
        }
        if let Some(budget) = needs.budget_per_day {
            let texts = [
                format!("within {budget} US dollars a day, also in the dearest case"),
                format!("whether it stays within {budget} US dollars a day is not known, or lies within the estimate"),
                format!("what is shown costs more than {budget} US dollars a day even in the cheapest case"),
            ];
            judge(Topic::Budget, of(|candidate| candidate.within_budget), [&texts[0], &texts[1], &texts[2]]);
        }
        // Each need is met by one of them, but not all by the same.
        let apart = match met {
            Tri::True => None,
            Tri::Unknown if parts.iter().all(|part| *part == Tri::True) => Some((Standing::Review, "surely meets")),
            Tri::Unknown => None,
            Tri::False if parts.iter().all(|part| *part != Tri::False) => Some((nothing, "meets")),
            Tri::False => None,
        };
        if let Some((standing, meets)) = apart {
            say(Topic::Eligibility, standing, format!("no single one of the models shown {meets} all that is needed"));
        }
        let priced = pool.iter().filter_map(|candidate| Some((candidate.message.usd_per_day?, candidate)));
        let cheapest = priced.min_by(|a, b| a.0.typical.total_cmp(&b.0.typical));
        message.usd_per_day = cheapest.as_ref().map(|(usd, _)| *usd);
        if let Some(tokens) = needs.tokens_per_day.filter(|_| !needs.on_device()) {
            let text = match cheapest {
                Some((usd, candidate)) => {
                    let what = if by_api { "tokens" } else { "machines" };
                    format!(
                        "at {} tokens a day the {what} of `{}` cost {:.2} US dollars, the least of those that best meet what is needed",
                        Grouped(advisor::whole(tokens)),
                        candidate.message.model,
                        usd.typical
                    )
                }
                None => "what it costs is not known".to_owned(),
            };
            say(Topic::Cost, Standing::Open, text);
        }
        let own = &self.request.means.usd_per_hour;
        let is_rented = |candidate: &&Candidate| {
            candidate.message.hosting.as_ref().is_some_and(|way| !own.contains_key(way.accelerator.as_str()))
        };
        if needs.on_premises && pool.iter().any(is_rented) {
            let text = "costs are those of rented accelerators: say your own as `accelerator_usd_per_hour`";
            say(Topic::Cost, Standing::Open, text.to_owned());
        }
    }

    /// The use on a route.
    fn use_of(&self, hosting: Hosting, provider: Option<ProviderId>) -> Use {
        let needs = &self.request.needs;
        let mut use_ = self.request.asked.use_.clone();
        use_.hosting = Some(hosting);
        use_.provider = provider;
        if needs.private_fine_tuning {
            use_.requirements.private_fine_tuning = true;
            use_.activities.insert(Activity::FineTune);
        }
        use_.requirements.offline |= needs.offline;
        use_
    }

    fn judge<'b>(&'b self, use_: &'b Use) -> Judge<'b> {
        let (snapshot, at) = (self.snapshot, self.at);
        Judge { snapshot, use_, profile: &self.request.asked.use_profile, present: present(snapshot, at), at }
    }

    /// Takes candidates, best verdicts first, until there are as many as were asked for that meet what is needed or may.
    fn gather(
        &self,
        judged: &BTreeMap<Verdict, RoaringBitmap>,
        look_at_most: usize,
        mut candidate: impl FnMut(&Arc<Entry<Model>>) -> Result<Option<Candidate>, RegistryError>,
    ) -> Result<Gathered, RegistryError> {
        let wanted = self.request.candidates;
        let mut out = Gathered::default();
        let (mut open, mut looked_at) = (0, 0);
        'looking: for verdict in CANDIDATE_VERDICTS {
            let Some(rows) = judged.get(&verdict) else { continue };
            let room = look_at_most.saturating_sub(looked_at).saturating_add(1);
            for entry in self.snapshot.ordered_models(rows, &self.order, None, room) {
                if open >= wanted {
                    break 'looking;
                }
                if looked_at >= look_at_most || self.looks.get() > LOOKS_MAX {
                    out.incomplete = Some(format!("only the first {looked_at} of them were looked at"));
                    break 'looking;
                }
                looked_at += 1;
                if let Some(candidate) = candidate(&entry)? {
                    open += usize::from(candidate.standing() == Standing::Open);
                    out.candidates.push(candidate);
                }
            }
        }
        // Stable: the order asked for stays within each.
        out.candidates.sort_by_key(|candidate| (candidate.standing(), candidate.verdict));
        out.candidates.truncate(wanted);
        Ok(out)
    }

    fn hosted_by_oneself(&self, message: &mut pb::RankedRoute) -> Result<Gathered, RegistryError> {
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
                    self.nothing_known_of_devices(&mut candidate);
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

    /// Holds a model's longest context against the one that is asked for.
    fn with_context(&self, mut candidate: Candidate, entry: &Entry<Model>) -> Candidate {
        let means = &self.request.means;
        let asked = means.workload(0, Precision::Bf16).context_tokens;
        let is_said = means.context_tokens.is_some();
        if let Some(note) = too_long(&entry.record, asked) {
            candidate.message.notes.push(note);
            if is_said {
                candidate.held = Tri::False;
            }
        } else if is_said && entry.record.context_tokens.is_none() {
            candidate.held = candidate.held.and(Tri::Unknown);
            candidate.message.notes.push("its longest context is not known".into());
        }
        candidate
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
        self.nothing_known_of_devices(candidate);
    }

    /// Neither how fast a device is nor what it costs is known.
    fn nothing_known_of_devices(&self, candidate: &mut Candidate) {
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
            self.nothing_known_of_devices(&mut candidate);
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
            self.nothing_known_of_devices(&mut candidate);
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

    /// The models of a route over an API, each by its best offering.
    fn by_api(&self, route: Route, message: &mut pb::RankedRoute) -> Result<Gathered, RegistryError> {
        let index = self.snapshot.model_index();
        let best = self.best_offerings(route)?;
        let mut judged: BTreeMap<Verdict, RoaringBitmap> = BTreeMap::new();
        for (row, found) in &best {
            judged.entry(found.verdict).or_default().insert(*row);
        }
        // What nobody else has is to be had of its publisher, if anywhere, also where no offering is known.
        let own = self.use_of(Hosting::VendorApi, self.kept_to().cloned());
        if route == Route::VendorApi {
            let offered = self.offered();
            let unsold = (&self.rows - offered).into_iter().filter(|row| {
                let model = index.entry(*row).map(|entry| &entry.record);
                let of = |model: &Model| self.kept_to().is_none_or(|kept| kept.as_str() == model.name.publisher());
                model.is_some_and(|model| is_closed(model) && of(model))
            });
            for (verdict, rows) in self.judge(&own).all(&unsold.collect()) {
                *judged.entry(verdict).or_default() |= rows;
            }
        }
        count(message, &judged);
        self.gather(&judged, BY_API_MAX, |entry| {
            let found = index.row(entry.record.name.as_str()).and_then(|row| best.get(&row));
            Ok(Some(match found {
                Some(found) => {
                    let use_ = self.use_of(Hosting::VendorApi, Some(found.provider.clone()));
                    self.by_offering(self.candidate(&self.judge(&use_), entry), found)
                }
                None => {
                    let mut candidate = self.candidate(&self.judge(&own), entry);
                    candidate.held = Tri::Unknown;
                    candidate.message.notes.push("no offering of it is known".into());
                    if self.request.needs.budget_per_day.is_some() {
                        candidate.within_budget = Tri::Unknown;
                    }
                    self.with_context(candidate, entry)
                }
            }))
        })
    }

    /// Models of the request that anybody offers whom the use lets one choose.
    fn offered(&self) -> RoaringBitmap {
        let index = self.snapshot.model_index();
        let kept = |provider: &ProviderId| self.kept_to().is_none_or(|kept| kept == provider);
        let offerings = self.snapshot.offerings().filter(|offering| kept(offering.record.name.provider()));
        let models = offerings.filter_map(|offering| offering.record.model.as_ref());
        models.filter_map(|model| index.row(model.as_str())).filter(|row| self.rows.contains(*row)).collect()
    }

    /// The best offering of each model on a route.
    fn best_offerings(&self, route: Route) -> Result<HashMap<u32, Best>, RegistryError> {
        let index = self.snapshot.model_index();
        let mut best: HashMap<u32, Best> = HashMap::new();
        let mut of_last: Option<(ProviderId, Use)> = None;
        // They come by provider.
        for offering in self.snapshot.offerings() {
            let model = offering.record.model.as_ref().and_then(|model| index.row(model.as_str()));
            let Some((row, entry)) = model.and_then(|row| Some((row, index.entry(row)?))) else { continue };
            let provider = offering.record.name.provider();
            let kept = self.kept_to().is_none_or(|kept| kept == provider);
            if !kept || !self.rows.contains(row) || self.route_of(&entry.record, provider) != route {
                continue;
            }
            let use_ = match of_last.take().filter(|(last, _)| last == provider) {
                Some((_, use_)) => use_,
                None => self.use_of(Hosting::VendorApi, Some(provider.clone())),
            };
            let verdict = self.judge(&use_).verdict(entry);
            of_last = Some((provider.clone(), use_));
            let message = offering_message(offering)?;
            let found = self.offer(verdict, entry, provider, message);
            if best.get(&row).is_none_or(|known| found.is_better(known)) {
                best.insert(row, found);
            }
        }
        Ok(best)
    }

    /// Which way an offering of a model is. Where it is not known whether the weights are public, it is taken as the vendor's.
    fn route_of(&self, model: &Model, provider: &ProviderId) -> Route {
        let publisher = model.name.publisher();
        let is_own = provider.as_str() == publisher
            || provider.as_str().strip_prefix(publisher).is_some_and(|rest| rest.starts_with('-'))
            || self.snapshot.reference().publishers.by_organization(provider.as_str()) == Some(publisher);
        if is_own || is_closed(model) { Route::VendorApi } else { Route::HostedOpenWeights }
    }

    /// An offering, held against what is needed.
    fn offer(&self, verdict: Verdict, entry: &Entry<Model>, provider: &ProviderId, message: pb::Offering) -> Best {
        let (means, needs, load) = (&self.request.means, &self.request.needs, &self.request.load);
        let context = means.workload(0, Precision::Bf16).context_tokens;
        let price = price_at(&message, context).map_or(f64::INFINITY, |price| price.blended(load.input_output_ratio));
        let usd_per_day = needs.tokens_per_day.map(|tokens| price * tokens / 1e6).filter(|usd| usd.is_finite());
        let held = match means.context_tokens {
            Some(_) => takes(&message, entry.record.context_tokens, context, load.input_output_ratio),
            None => Tri::True,
        };
        let within_budget = match (needs.budget_per_day, usd_per_day) {
            (None, _) => Tri::True,
            (Some(_), None) => Tri::Unknown,
            (Some(budget), Some(usd)) => (usd <= budget).into(),
        };
        Best { verdict, held, within_budget, usd_per_day, price, provider: provider.clone(), message }
    }

    /// By which offering a candidate is to be had, and what that costs.
    fn by_offering(&self, mut candidate: Candidate, found: &Best) -> Candidate {
        let context = self.request.means.workload(0, Precision::Bf16).context_tokens;
        candidate.message.offering.clone_from(&found.message.name);
        candidate.message.notes.extend(offering_notes(&found.message, context));
        candidate.message.notes.extend(price_at(&found.message, context).err().map(str::to_owned));
        candidate.message.usd_per_day = found.usd_per_day.map(|usd| price_range([usd; 3]));
        (candidate.held, candidate.within_budget) = (found.held, found.within_budget);
        candidate
    }

    fn candidate(&self, judge: &Judge<'_>, entry: &Entry<Model>) -> Candidate {
        let revision = self.snapshot.revision();
        let name = entry.record.name.as_str();
        let (verdict, decision) =
            judge.evaluated(entry, |decision| (decision.verdict, convert::decision(decision, name, revision)));
        let mut duties: Vec<String> = decision.duties.into_iter().map(|duty| duty.kind).collect();
        duties.sort_unstable();
        duties.dedup();
        let message = pb::RouteCandidate {
            model: name.to_owned(),
            verdict: verdict_number(verdict),
            summary: decision.summary,
            missing_facts: decision.missing_facts,
            duties,
            ..pb::RouteCandidate::default()
        };
        Candidate { message, verdict, held: Tri::True, fast: Tri::True, within_budget: Tri::True }
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

/// Whether it is not known that others have the weights.
fn is_closed(model: &Model) -> bool {
    model.tier.is_none_or(|tier| tier == Tier::Proprietary)
}

fn count(message: &mut pb::RankedRoute, judged: &BTreeMap<Verdict, RoaringBitmap>) {
    let of = |verdicts: &[Verdict]| {
        let rows: u64 = verdicts.iter().filter_map(|verdict| judged.get(verdict)).map(RoaringBitmap::len).sum();
        i32::try_from(rows).unwrap_or(i32::MAX)
    };
    message.eligible_models = of(&[Verdict::Eligible, Verdict::EligibleWithConditions]);
    message.review_models = of(&[Verdict::NeedsReview]);
    message.ineligible_models = of(&[Verdict::Ineligible]);
}
