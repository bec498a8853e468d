//! Which way to a model: a vendor's API, open weights that somebody else hosts, or open weights hosted by oneself.

mod by_api;
mod hosted;

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::costs::told_of_costs;
use super::{found, gives_no_text, told_of_all, too_long};
use crate::catalog::fields::ModelField;
use crate::catalog::index::Order;
use crate::catalog::{Entry, Snapshot};
use crate::convert::advisor::{self, RouteRequest, route_number, standing_number};
use crate::convert::{self, verdict_number};
use crate::domain::eligibility::{Activity, Hosting, Use, Verdict};
use crate::domain::hosting::{Precision, Route, RouteReason, Standing, Topic};
use crate::domain::model::Model;
use crate::domain::name::ProviderId;
use crate::domain::tri::Tri;
use crate::domain::words::Grouped;
use crate::pb::weighbridge::v1 as pb;
use crate::registry::check::check_lists;
use crate::registry::eligible::Judge;
use crate::registry::list::ListRequest;
use crate::registry::models::selected;
use crate::registry::{Registry, RegistryError, present, records};

/// Which models come first where the request does not say.
const ORDER_USUAL: &str = "release_date desc";
/// Most looks at a number of accelerators: some tenths of a second.
const LOOKS_MAX: u64 = 300_000;
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

/// The best there is.
fn best(all: impl IntoIterator<Item = Tri>) -> Tri {
    all.into_iter().fold(Tri::False, Tri::or)
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

fn count(message: &mut pb::RankedRoute, judged: &BTreeMap<Verdict, RoaringBitmap>) {
    let of = |verdicts: &[Verdict]| {
        let rows: u64 = verdicts.iter().filter_map(|verdict| judged.get(verdict)).map(RoaringBitmap::len).sum();
        i32::try_from(rows).unwrap_or(i32::MAX)
    };
    message.eligible_models = of(&[Verdict::Eligible, Verdict::EligibleWithConditions]);
    message.review_models = of(&[Verdict::NeedsReview]);
    message.ineligible_models = of(&[Verdict::Ineligible]);
}
