//! No wrong yes: every license of the catalog against a grid of uses, of which facts are then forgotten one by one.

use std::collections::BTreeSet;
use std::sync::Arc;

use weighbridge::catalog::Snapshot;
use weighbridge::domain::date::Date;
use weighbridge::domain::eligibility::{
    Activity, BusinessTypes, Hosting, Measure, OrganizationType, Purpose, Records, Use, Verdict, Waivers, evaluate,
    verdict,
};
use weighbridge::domain::license::{Expression, License};
use weighbridge::domain::model::{Availability, Component, ComponentKind, Evidence, Modality, Model};
use weighbridge::domain::name::{LicenseId, ModelName, ProviderId};
use weighbridge::domain::openness::tier;
use weighbridge::domain::place::{Country, CountrySet};
use weighbridge::domain::vocabulary::Vocabulary;
use weighbridge::registry::Registry;
use weighbridge::store::MemoryStore;

/// Uses drawn for each license, each with many facts left out.
const USES: usize = 250;

/// The catalog, with one model more and nothing else changed.
struct World<'a> {
    catalog: &'a Snapshot,
    model: Model,
}

impl Records for World<'_> {
    fn model(&self, name: &ModelName) -> Option<&Model> {
        if *name == self.model.name { Some(&self.model) } else { Records::model(self.catalog, name) }
    }

    fn license(&self, id: &LicenseId) -> Option<&License> {
        Records::license(self.catalog, id)
    }

    fn service_terms(&self, provider: &str) -> Option<&License> {
        self.catalog.service_terms(provider)
    }

    fn is_served(&self, provider: &str, model: &ModelName) -> bool {
        *model == self.model.name || self.catalog.is_served(provider, model)
    }

    fn vocabulary(&self) -> &Vocabulary {
        self.catalog.vocabulary()
    }
}

/// Draws that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())].clone()
    }
}

/// Facts that can be forgotten.
const FACTS: &[fn(&mut Use)] = &[
    |u| u.purpose = None,
    |u| u.hosting = None,
    |u| u.organization.country = None,
    |u| u.organization.kind = None,
    |u| u.organization.business_types = BusinessTypes::Unknown,
    |u| u.organization.monthly_active_users = None,
    |u| u.organization.daily_active_users = None,
    |u| u.organization.annual_revenue_usd = None,
    |u| u.organization.monthly_revenue_usd = None,
    |u| u.deployment_countries = None,
    |u| u.end_user_countries = None,
    // Nothing stands in for these.
    |u| u.measures.clear(),
];

const OF_THE_ORGANIZATION: &[&str] =
    &["monthly_active_users", "daily_active_users", "annual_revenue_usd", "monthly_revenue_usd"];

/// Places that some license treats apart, and two that none does.
const PLACES: &[&str] = &["US", "JP", "DE", "KR", "GB", "CN", "RU", "CH"];

fn countries(code: &str) -> CountrySet {
    let mut set = CountrySet::default();
    set.insert(Country::parse(code).unwrap());
    set
}

/// A use of which everything is known; figures lie around the thresholds of the license.
fn draw(dice: &mut Dice, license: &License) -> Use {
    let edges = |metric: &str| -> Vec<i64> {
        let gates = license.scale_gates.iter().filter(|gate| *gate.metric == *metric);
        let around = gates.filter_map(|gate| gate.threshold).flat_map(|t| [t - 1, t, t + 1, t * 10]);
        [0, 1_000].into_iter().chain(around).collect()
    };
    let mut out = Use { purpose: Some(dice.pick(Purpose::ALL)), ..Use::default() };
    let hosting = if license.providers.is_empty() { &Hosting::ALL[1..] } else { Hosting::ALL };
    out.hosting = Some(dice.pick(hosting));
    if out.hosting == Some(Hosting::VendorApi) {
        out.provider = license.providers.first().and_then(|id| ProviderId::new(id).ok());
    }
    let organization = &mut out.organization;
    organization.country = Country::parse(dice.pick(PLACES));
    organization.kind = Some(dice.pick(OrganizationType::ALL));
    let kinds: BTreeSet<Box<str>> = license.scale_gates.iter().flat_map(|gate| &gate.business_types).cloned().collect();
    let kinds: Vec<Box<str>> = kinds.into_iter().collect();
    organization.business_types = BusinessTypes::Known(match kinds.len() {
        0 => Vec::new(),
        _ if dice.roll(2) == 0 => Vec::new(),
        _ => vec![dice.pick(&kinds)],
    });
    organization.monthly_active_users = Some(dice.pick(&edges("monthly_active_users")));
    organization.daily_active_users = Some(dice.pick(&edges("daily_active_users")));
    organization.annual_revenue_usd = Some(dice.pick(&edges("annual_revenue_usd")));
    organization.monthly_revenue_usd = Some(dice.pick(&edges("monthly_revenue_usd")));
    for gate in license.scale_gates.iter().filter(|gate| !OF_THE_ORGANIZATION.contains(&&*gate.metric)) {
        let value = dice.pick(&edges(&gate.metric));
        out.measures.push(Measure { metric: gate.metric.clone(), subject: gate.subject, period: None, value });
    }
    out.deployment_countries = Some(countries(dice.pick(PLACES)));
    out.end_user_countries = Some(countries(dice.pick(PLACES)));
    let activities = (0..dice.roll(3)).map(|_| dice.pick(Activity::ALL));
    out.activities = activities.collect();
    out
}

fn of_catalog() -> Arc<Snapshot> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let registry = Registry::open(Arc::new(MemoryStore::new()), Arc::new(jiff::Timestamp::now));
    runtime.block_on(registry).unwrap().snapshot()
}

/// A model under a license: with public weights, or reached through the service alone.
fn model(license: Option<&License>, multimodal: bool) -> Model {
    let is_service = license.is_some_and(|license| !license.providers.is_empty());
    let expression = license.filter(|_| !is_service).map(|license| Expression::parse(license.id.as_str()).unwrap());
    let weights = Component {
        kind: ComponentKind::ModelWeights,
        availability: Some(if is_service { Availability::Unavailable } else { Availability::Available }),
        expression,
        declared_license: "".into(),
        evidence: Evidence::TextRead,
        license_periods: Vec::new(),
        conclusion: None,
    };
    let components = vec![weights];
    let input_modalities = if multimodal { vec![Modality::Text, Modality::Image] } else { vec![Modality::Text] };
    Model {
        name: ModelName::new("grid", "model").unwrap(),
        display_name: "Grid".into(),
        aliases: Vec::new(),
        tier: tier(&components),
        components: components.into(),
        base_models: Vec::new().into(),
        input_modalities: input_modalities.into(),
        output_modalities: vec![Modality::Text].into(),
        capabilities: Vec::new().into(),
        context_tokens: None,
        max_output_tokens: None,
        parameters: Default::default(),
        release_date: Some(Date::parse("2025-01-10").unwrap()),
        knowledge_cutoff: None,
        family: "".into(),
        conflicts: Vec::new().into(),
        sources: Vec::new().into(),
    }
}

fn is_yes(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Eligible | Verdict::EligibleWithConditions)
}

fn now() -> Date {
    Date::parse("2026-06-01").unwrap()
}

#[test]
fn knowing_less_never_makes_a_yes_of_any_license() {
    let catalog = of_catalog();
    let mut seen = [0_usize; 4];
    let mut licenses = 0;
    let mut wrong = Vec::new();
    let ids: Vec<LicenseId> = catalog.licenses().map(|entry| entry.record.id.clone()).collect();
    for (i, id) in ids.iter().enumerate() {
        let license = Records::license(&*catalog, id).unwrap();
        licenses += 1;
        let mut dice = Dice(i as u64);
        for round in 0..USES {
            let world = World { catalog: &catalog, model: model(Some(license), round % 2 == 1) };
            let decide = |use_: &Use| verdict(&world, &world.model, use_, now(), Waivers::default());
            let mut use_ = draw(&mut dice, license);
            let mut before = decide(&use_);
            seen[before as usize] += 1;
            // In any order, until nothing is known: each step is one fact less than the one before.
            let mut left: Vec<usize> = (0..FACTS.len()).collect();
            while !left.is_empty() {
                let fact = left.swap_remove(dice.roll(left.len()));
                let mut less = use_.clone();
                FACTS[fact](&mut less);
                let after = decide(&less);
                if is_yes(after) && !is_yes(before) {
                    wrong.push(format!("{id}: {before} became {after} without fact {fact} of {use_:?}"));
                }
                (use_, before) = (less, after);
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert!(licenses > 150 && seen.iter().all(|count| *count > 500), "{licenses} licenses, {seen:?} of each verdict");
}

#[test]
fn a_model_without_a_mapped_license_is_never_better_than_a_review() {
    let catalog = of_catalog();
    let any = Records::license(&*catalog, &LicenseId::new("MIT").unwrap()).unwrap();
    let mut dice = Dice(7);
    for expression in ["", "LicenseRef-Unknown", "LicenseRef-Nobody", "Zed", "MIT AND LicenseRef-Unknown"] {
        for _ in 0..400 {
            let mut model = model(None, false);
            model.components[0].expression = Expression::parse(expression).ok();
            let world = World { catalog: &catalog, model };
            let use_ = draw(&mut dice, any);
            let decision = evaluate(&world, &world.model, &use_, now(), Waivers::default());
            assert!(!is_yes(decision.verdict), "`{expression}`: {} for {use_:?}", decision.verdict);
        }
    }
}
