//! Models over an API, each by its best offering.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use roaring::RoaringBitmap;

use super::{Adviser, Candidate, Gathered, count, standing_of};
use crate::catalog::Entry;
use crate::convert::advisor::price_range;
use crate::domain::eligibility::{Hosting, Use, Verdict};
use crate::domain::hosting::{Precision, Route};
use crate::domain::model::Model;
use crate::domain::name::ProviderId;
use crate::domain::openness::Tier;
use crate::domain::tri::Tri;
use crate::pb::weighbridge::v1 as pb;
use crate::registry::RegistryError;
use crate::registry::advisor::costs::{offering_notes, price_at, takes};
use crate::registry::offerings::offering_message;

/// Most models that are looked at.
const BY_API_MAX: usize = 1_000;

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

impl Adviser<'_> {
    /// The models of a route over an API, each by its best offering.
    pub(super) fn by_api(&self, route: Route, message: &mut pb::RankedRoute) -> Result<Gathered, RegistryError> {
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
}

/// Whether it is not known that others have the weights.
fn is_closed(model: &Model) -> bool {
    model.tier.is_none_or(|tier| tier == Tier::Proprietary)
}
