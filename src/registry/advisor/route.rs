//! Which way to a model: a vendor's API, open weights that somebody else hosts, or open weights hosted by oneself.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::costs::{Way, price_at, ways};
use super::{Sized, found, gives_no_text, sized, told_of_all};
use crate::catalog::fields::ModelField;
use crate::catalog::index::Order;
use crate::catalog::{Entry, Snapshot};
use crate::convert::advisor::{self, HostingRequest, Means, RouteRequest, price_range, route_number, standing_number};
use crate::convert::{self, verdict_number};
use crate::domain::eligibility::{Activity, Hosting, Use, Verdict};
use crate::domain::hosting::{
    Assumption, Precision, Route, RouteReason, Standing, TokenPrice, Topic, Workload, memory,
};
use crate::domain::model::Model;
use crate::domain::name::ProviderId;
use crate::domain::offering::Offering;
use crate::domain::openness::Tier;
use crate::domain::tri::Tri;
use crate::pb::weighbridge::v1 as pb;
use crate::registry::check::check_lists;
use crate::registry::eligible::Judge;
use crate::registry::list::ListRequest;
use crate::registry::models::selected;
use crate::registry::offerings::offering_message;
use crate::registry::{Registry, RegistryError, present, records};

/// Which models come first where the request does not say.
const ORDER_USUAL: &str = "release_date desc";
/// Most models of a route whose size and cost are looked at.
const LOOKED_AT_MAX: usize = 1_000;
/// Precisions that are tried where the request names none, widest first.
const PRECISIONS: [Precision; 3] = [Precision::Bf16, Precision::Fp8, Precision::Int4];
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
        let adviser = Adviser { snapshot, request, rows, order: read.order, at };
        let mut routes = Route::ALL.iter().map(|route| adviser.route(*route)).collect::<Result<Vec<_>, _>>()?;
        routes.sort_by(rank);
        let hardware = &snapshot.reference().hardware;
        let means = &request.means;
        let assumed = advisor::assumptions(hardware, &means.assumptions, &means.overridden, told_of_all(hardware));
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

/// By standing, then within the budget before over it, then by cost, where it is known.
fn rank(a: &pb::RankedRoute, b: &pb::RankedRoute) -> Ordering {
    let over = |route: &pb::RankedRoute| !route.candidates.is_empty() && route.candidates.iter().all(|c| c.over_budget);
    let cost = |route: &pb::RankedRoute| route.usd_per_day.map_or(f64::INFINITY, |usd| usd.typical);
    (a.standing, over(a))
        .cmp(&(b.standing, over(b)))
        .then_with(|| cost(a).total_cmp(&cost(b)))
        .then_with(|| a.route.cmp(&b.route))
}

/// One request, held against routes.
struct Adviser<'a> {
    snapshot: &'a Snapshot,
    request: &'a RouteRequest,
    /// The models that it is about.
    rows: RoaringBitmap,
    order: Order<ModelField>,
    at: i64,
}

/// A model for a route, with whether it meets what is needed.
struct Candidate {
    message: pb::RouteCandidate,
    verdict: Verdict,
    /// Of speed and memory.
    meets: Tri,
    within_budget: Tri,
}

/// The offering by which a model is best used on a route.
struct Best<'a> {
    verdict: Verdict,
    /// US dollars for a million tokens of both; infinite: not known.
    price: f64,
    offering: &'a Arc<Entry<Offering>>,
}

impl Adviser<'_> {
    fn route(&self, route: Route) -> Result<pb::RankedRoute, RegistryError> {
        let needs = &self.request.needs;
        let mut reasons = needs.reasons(route);
        let mut message = pb::RankedRoute { route: route_number(route), ..pb::RankedRoute::default() };
        let kept_to = self.request.asked.use_.provider.as_ref();
        if let Some(provider) = kept_to.filter(|_| route == Route::SelfHosted) {
            let text = format!("the use keeps to `{provider}`, who is no way of hosting it oneself");
            reasons.push(RouteReason::new(Topic::Provider, Standing::Closed, text));
        }
        // What cannot be is not looked at further.
        if reasons.iter().all(|reason| reason.standing != Standing::Closed) {
            let candidates = match route {
                Route::SelfHosted => self.hosted_by_oneself(&mut message, &mut reasons)?,
                Route::VendorApi | Route::HostedOpenWeights => self.by_api(route, &mut message)?,
            };
            self.weigh(&candidates, &message, &mut reasons);
            let may = |candidate: &&Candidate| candidate.verdict <= Verdict::EligibleWithConditions;
            let priced = |pool: Vec<&Candidate>| {
                let prices = pool.into_iter().filter_map(|candidate| candidate.message.usd_per_day);
                prices.min_by(|a, b| a.typical.total_cmp(&b.typical))
            };
            let usable: Vec<&Candidate> = candidates.iter().filter(may).collect();
            let pool = if usable.is_empty() { candidates.iter().collect() } else { usable };
            message.usd_per_day = priced(pool);
            message.candidates = candidates.into_iter().map(|candidate| candidate.message).collect();
        }
        let standing = reasons.iter().map(|reason| reason.standing).max().unwrap_or(Standing::Open);
        message.standing = standing_number(standing);
        reasons.sort_by(|a, b| b.standing.cmp(&a.standing).then(a.topic.cmp(&b.topic)));
        message.reasons = reasons.into_iter().map(advisor::reason).collect();
        Ok(message)
    }

    /// What the models for a route make of it.
    fn weigh(&self, candidates: &[Candidate], message: &pb::RankedRoute, reasons: &mut Vec<RouteReason>) {
        let pb::RankedRoute { eligible_models, review_models, ineligible_models, .. } = message;
        let may = candidates.iter().filter(|candidate| candidate.verdict <= Verdict::EligibleWithConditions);
        let standing = match (*eligible_models, *review_models) {
            (1.., _) if may.clone().next().is_some() => Standing::Open,
            _ if !candidates.is_empty() => Standing::Review,
            _ => Standing::Closed,
        };
        let text = match (*eligible_models, *review_models, *ineligible_models) {
            (0, 0, 0) => "no model that was asked about is to be had this way".to_owned(),
            (may, review, not) => format!("{may} models may be used so, {review} are to be reviewed, {not} may not"),
        };
        reasons.push(RouteReason::new(Topic::Eligibility, standing, text));
        // The best of those that may be used decides, else of the others.
        let pool: Vec<&Candidate> = match standing {
            Standing::Open => may.collect(),
            Standing::Review | Standing::Closed => candidates.iter().collect(),
        };
        if pool.is_empty() {
            return;
        }
        let needs = &self.request.needs;
        let best = |of: fn(&Candidate) -> Tri| match () {
            () if pool.iter().any(|candidate| of(candidate) == Tri::True) => Tri::True,
            () if pool.iter().any(|candidate| of(candidate) == Tri::Unknown) => Tri::Unknown,
            () => Tri::False,
        };
        let by_api = message.route != route_number(Route::SelfHosted);
        // Of APIs the needs have said so already.
        if !by_api && (needs.first_token_seconds.is_some() || needs.request_tokens_per_second.is_some()) {
            let (standing, text) = match best(|candidate| candidate.meets) {
                Tri::True => (Standing::Open, "it is fast enough at the least speed that is estimated"),
                Tri::Unknown => {
                    (Standing::Review, "whether it is fast enough is not known, or lies within the estimate")
                }
                Tri::False => (Standing::Closed, "it is too slow even at the greatest speed that is estimated"),
            };
            reasons.push(RouteReason::new(Topic::Latency, standing, text));
        }
        if let Some(budget) = needs.budget_per_day {
            let (standing, text) = match best(|candidate| candidate.within_budget) {
                Tri::True => (Standing::Open, format!("within {budget} US dollars a day")),
                Tri::Unknown => {
                    (Standing::Review, format!("whether it stays within {budget} US dollars a day is not known"))
                }
                Tri::False => (
                    Standing::Review,
                    format!("each of the models shown costs more than {budget} US dollars a day in the usual case"),
                ),
            };
            reasons.push(RouteReason::new(Topic::Budget, standing, text));
        }
        if let Some(tokens) = needs.tokens_per_day.filter(|_| !needs.on_device()) {
            let costs = pool.iter().filter_map(|candidate| {
                candidate.message.usd_per_day.map(|usd| (usd.typical, &candidate.message.model))
            });
            let text = match costs.min_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((usd, model)) => {
                    let what = if by_api { "tokens" } else { "machines" };
                    format!(
                        "at {tokens} tokens a day the {what} of `{model}` cost {usd:.2} US dollars, the least of those shown"
                    )
                }
                None => "what it costs is not known".to_owned(),
            };
            reasons.push(RouteReason::new(Topic::Cost, Standing::Open, text));
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

    fn hosted_by_oneself(
        &self,
        message: &mut pb::RankedRoute,
        reasons: &mut Vec<RouteReason>,
    ) -> Result<Vec<Candidate>, RegistryError> {
        let needs = &self.request.needs;
        let hosting = match (needs.on_device(), needs.on_premises) {
            (true, _) => Hosting::EdgeOffline,
            (false, true) => Hosting::OnPremises,
            (false, false) => Hosting::SelfHosted,
        };
        let use_ = self.use_of(hosting, None);
        let judge = self.judge(&use_);
        let judged = judge.all(&self.rows);
        count(message, &judged);
        let mut out: Vec<Candidate> = Vec::new();
        let (mut unsized_, mut looked_at) = (0, 0);
        for verdict in CANDIDATE_VERDICTS {
            let Some(rows) = judged.get(&verdict) else { continue };
            for entry in self.snapshot.ordered_models(rows, &self.order, None, LOOKED_AT_MAX) {
                if out.len() >= self.request.candidates || looked_at >= LOOKED_AT_MAX {
                    break;
                }
                looked_at += 1;
                let mut candidate = self.candidate(&judge, &entry);
                let request = self.size_of(&entry);
                let sized = sized(self.snapshot, Some(&entry), &request)?;
                match needs.device_memory {
                    Some(device) => match self.on_device(&sized, device, &mut candidate) {
                        Tri::True => out.push(candidate),
                        Tri::Unknown => unsized_ += 1,
                        Tri::False => {}
                    },
                    None => {
                        if needs.on_device() {
                            (candidate.meets, candidate.within_budget) = (Tri::Unknown, Tri::Unknown);
                        } else {
                            self.on_machines(&sized, &mut candidate);
                        }
                        out.push(candidate);
                    }
                }
            }
        }
        if let Some(device) = needs.device_memory {
            let left_out =
                if unsized_ > 0 { format!("; {unsized_} of unknown size are left out") } else { String::new() };
            let (standing, text) = match out.is_empty() {
                true => (Standing::Closed, "no model that may be used so fits"),
                false => (Standing::Open, "there are models that fit"),
            };
            // A size that is not known is no reason to say that nothing fits.
            let standing = if standing == Standing::Closed && unsized_ > 0 { Standing::Review } else { standing };
            let text = format!("{text} into {} GB{left_out}", device / 1e9);
            reasons.push(RouteReason::new(Topic::DeviceMemory, standing, text));
        }
        if needs.on_premises && !needs.on_device() {
            let text = "costs are those of rented accelerators: say your own as `accelerator_usd_per_hour`";
            reasons.push(RouteReason::new(Topic::Cost, Standing::Open, text));
        }
        Ok(out)
    }

    /// How large a model is, with what the request says of hosting.
    fn size_of(&self, entry: &Entry<Model>) -> HostingRequest {
        HostingRequest {
            model: entry.record.name.to_string(),
            parameters: None,
            architecture: None,
            means: self.request.means.clone(),
            min_revision: 0,
        }
    }

    fn precisions(&self) -> Vec<Precision> {
        self.request.means.precision.map_or_else(|| PRECISIONS.to_vec(), |precision| vec![precision])
    }

    /// Whether a device holds a model, in the widest precision that it does.
    fn on_device(&self, sized: &Sized, device: f64, candidate: &mut Candidate) -> Tri {
        let Some(shape) = &sized.shape else { return Tri::Unknown };
        let means = &self.request.means;
        let usable = device * means.assumptions.get(Assumption::UsableMemoryFraction);
        for precision in self.precisions() {
            let workload = Workload { precision, ..means.workload_of(means.requests.unwrap_or(1)) };
            let total = memory(shape, &workload, &means.assumptions, 1).total();
            if total <= usable {
                candidate.message.precision = advisor::precision_number(precision);
                // Nothing is known of what the device costs, nor of how fast it is.
                (candidate.meets, candidate.within_budget) = (Tri::Unknown, Tri::Unknown);
                candidate.message.notes.push(format!(
                    "takes {:.1} of {:.1} GB that can be filled, with {} tokens of context",
                    total / 1e9,
                    usable / 1e9,
                    workload.context_tokens
                ));
                return Tri::True;
            }
        }
        Tri::False
    }

    /// On which machines a model is best hosted, in the widest precision that any hold.
    fn on_machines(&self, sized: &Sized, candidate: &mut Candidate) {
        let needs = &self.request.needs;
        let Some(shape) = &sized.shape else {
            candidate.message.notes.push("its size is not known, and so neither is what it takes".into());
            (candidate.meets, candidate.within_budget) = (Tri::Unknown, Tri::Unknown);
            return;
        };
        let hardware = &self.snapshot.reference().hardware;
        let load = &self.request.load;
        for precision in self.precisions() {
            let means = &self.request.means;
            let means = Means { workload: Workload { precision, ..means.workload }, ..means.clone() };
            let found = ways(shape, hardware, &means, load);
            let fast = |way: &&Way| self.fast_enough(way, &means.workload) == Tri::True;
            let perhaps = |way: &&Way| self.fast_enough(way, &means.workload) == Tri::Unknown;
            let best = found.iter().find(fast).or_else(|| found.iter().find(perhaps)).or_else(|| found.first());
            let Some(way) = best else { continue };
            candidate.meets = self.fast_enough(way, &means.workload);
            candidate.message.precision = advisor::precision_number(precision);
            let mut told = way.message(load);
            match needs.tokens_per_day {
                Some(tokens) => self.price(candidate, way.usd_per_day(tokens)),
                None => (told.usd_per_day, told.usd_per_million_tokens) = (None, None),
            }
            candidate.message.hosting = Some(told);
            return;
        }
        let text = "none of the accelerators that are known hold it, or nothing is known of what they cost";
        candidate.message.notes.push(text.into());
        (candidate.meets, candidate.within_budget) = (Tri::Unknown, Tri::Unknown);
    }

    /// Whether machines are as fast as is needed: at the least speed, or only at the greatest.
    fn fast_enough(&self, way: &Way, workload: &Workload) -> Tri {
        let needs = &self.request.needs;
        let between = |surely: bool, perhaps: bool| match (surely, perhaps) {
            (true, _) => Tri::True,
            (false, true) => Tri::Unknown,
            (false, false) => Tri::False,
        };
        let first = needs.first_token_seconds.map_or(Tri::True, |most| {
            let seconds = way.speed.first_token_seconds(f64::from(workload.context_tokens));
            between(seconds.high <= most, seconds.low <= most)
        });
        let each = needs.request_tokens_per_second.map_or(Tri::True, |least| {
            let each = way.speed.decode.map(|all| all / f64::from(way.requests.max(1)));
            between(each.low >= least, each.high >= least)
        });
        first.and(each)
    }

    /// The models of a route over an API, each by the offering with the best verdict, then the lowest price.
    fn by_api(&self, route: Route, message: &mut pb::RankedRoute) -> Result<Vec<Candidate>, RegistryError> {
        let index = self.snapshot.model_index();
        let kept_to = self.request.asked.use_.provider.as_ref();
        let mut by_provider: BTreeMap<&ProviderId, Vec<(u32, &Arc<Entry<Offering>>)>> = BTreeMap::new();
        let mut offered = RoaringBitmap::new();
        for offering in self.snapshot.offerings() {
            let name = &offering.record;
            let row = name.model.as_ref().and_then(|model| index.row(model.as_str()));
            let Some(row) = row.filter(|row| self.rows.contains(*row)) else { continue };
            let provider = name.name.provider();
            let Some(entry) = index.entry(row) else { continue };
            offered.insert(row);
            if self.route_of(&entry.record, provider) == route && kept_to.is_none_or(|kept| kept == provider) {
                by_provider.entry(provider).or_default().push((row, offering));
            }
        }
        let mut best: HashMap<u32, Best<'_>> = HashMap::new();
        for (provider, offerings) in by_provider {
            let use_ = self.use_of(Hosting::VendorApi, Some(provider.clone()));
            let judge = self.judge(&use_);
            for (row, offering) in offerings {
                let Some(entry) = index.entry(row) else { continue };
                let found = Best { verdict: judge.verdict(entry), price: self.price_of(&offering.record), offering };
                match best.get(&row) {
                    Some(known) if !is_better(&found, known) => {}
                    _ => {
                        best.insert(row, found);
                    }
                }
            }
        }
        let mut judged: BTreeMap<Verdict, RoaringBitmap> = BTreeMap::new();
        for (row, found) in &best {
            judged.entry(found.verdict).or_default().insert(*row);
        }
        // What nobody else has is to be had of its publisher, also where no offering is known.
        let own = self.use_of(Hosting::VendorApi, None);
        if route == Route::VendorApi && kept_to.is_none() {
            let closed = (&self.rows - &offered).into_iter();
            let closed = closed.filter(|row| index.entry(*row).is_some_and(|entry| is_closed(&entry.record)));
            for (verdict, rows) in self.judge(&own).all(&closed.collect()) {
                *judged.entry(verdict).or_default() |= rows;
            }
        }
        count(message, &judged);
        let mut out = Vec::new();
        for verdict in CANDIDATE_VERDICTS {
            let Some(rows) = judged.get(&verdict) else { continue };
            let room = self.request.candidates.saturating_sub(out.len());
            for entry in self.snapshot.ordered_models(rows, &self.order, None, room) {
                let found = index.row(entry.record.name.as_str()).and_then(|row| best.get(&row));
                let provider = found.map(|found| found.offering.record.name.provider().clone());
                let use_ = self.use_of(Hosting::VendorApi, provider);
                let mut candidate = self.candidate(&self.judge(&use_), &entry);
                match found {
                    Some(found) => self.offered(&mut candidate, found.offering)?,
                    None => candidate.within_budget = Tri::Unknown,
                }
                out.push(candidate);
            }
        }
        Ok(out)
    }

    /// Which way an offering of a model is. Where it is not known whether the weights are public, it is taken as the vendor's.
    fn route_of(&self, model: &Model, provider: &ProviderId) -> Route {
        let publisher = model.name.publisher();
        let is_own = provider.as_str() == publisher
            || provider.as_str().strip_prefix(publisher).is_some_and(|rest| rest.starts_with('-'))
            || self.snapshot.reference().publishers.by_organization(provider.as_str()) == Some(publisher);
        if is_own || is_closed(model) { Route::VendorApi } else { Route::HostedOpenWeights }
    }

    /// US dollars for a million tokens of both; infinite: not known.
    fn price_of(&self, offering: &Offering) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "prices are far below where it would matter")]
        let dollars = |nano: Option<i64>| nano.map(|nano| nano as f64 / 1e9);
        let price = TokenPrice::of(dollars(offering.input_price), dollars(offering.output_price));
        price.map_or(f64::INFINITY, |price| price.blended(self.request.load.input_output_ratio))
    }

    /// By which offering a candidate is to be had, and what that costs.
    fn offered(&self, candidate: &mut Candidate, offering: &Entry<Offering>) -> Result<(), RegistryError> {
        let message = offering_message(offering)?;
        let context = self.request.means.workload.context_tokens;
        let (price, notes) = price_at(&message, context);
        candidate.message.notes.extend(notes);
        if message.stage() == pb::offering::Stage::Deprecated {
            candidate.message.notes.push("its offering is deprecated".into());
        }
        let takes = message.context_tokens;
        if takes > 0 && takes < i64::from(context) {
            candidate.message.notes.push(format!("it takes {takes} tokens of context, fewer than asked for"));
        }
        candidate.message.offering = message.name;
        match (price, self.request.needs.tokens_per_day) {
            (Some(price), Some(tokens)) => {
                let usd = price.blended(self.request.load.input_output_ratio) * tokens / 1e6;
                self.price(candidate, [usd; 3]);
            }
            (None, _) => {
                candidate.message.notes.push("its price is not known".into());
                candidate.within_budget = Tri::Unknown;
            }
            (Some(_), None) => {}
        }
        Ok(())
    }

    fn price(&self, candidate: &mut Candidate, usd_per_day: [f64; 3]) {
        let [_, typical, _] = usd_per_day;
        candidate.message.usd_per_day = Some(price_range(usd_per_day));
        if let Some(budget) = self.request.needs.budget_per_day {
            candidate.within_budget = (typical <= budget).into();
            candidate.message.over_budget = typical > budget;
        }
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
        Candidate { message, verdict, meets: Tri::True, within_budget: Tri::True }
    }
}

/// Whether it is not known that others have the weights.
fn is_closed(model: &Model) -> bool {
    model.tier.is_none_or(|tier| tier == Tier::Proprietary)
}

fn is_better(new: &Best<'_>, known: &Best<'_>) -> bool {
    let by_name = || new.offering.record.name.cmp(&known.offering.record.name);
    let order = new.verdict.cmp(&known.verdict).then_with(|| new.price.total_cmp(&known.price)).then_with(by_name);
    order == Ordering::Less
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
