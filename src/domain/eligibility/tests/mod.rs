//! One line a case: a use of a small world, and the verdict with the codes and the missing facts it must lead to.

mod acts;
mod decisions;
mod exact;
mod gates;
mod laws;
mod licenses;
mod lineage;
mod places;
mod told;
mod waivers;

use super::decision::{Decision, Effect, Finding, Verdict};
use super::{
    Activity, BusinessTypes, Case, Detail, Hosting, Measure, OrganizationType, Present, Purpose, Reason, Records,
    Requirements, Role, Use, Waiver, Waivers, evaluate, unresolved,
};
use crate::domain::date::Date;
use crate::domain::license::{
    Approval, AtThreshold, BarredTraining, Binding, Category, Comparison, Confidence, Coverage, Duty, DutyKind,
    ExcludedPurpose, Expression, GateEffect, GateSubject, License, LicensePeriod, Measured, OutputTerms, Permission,
    PermissionStatus, Permissions, Predicate, PurposeLimit, PurposeStatus, Purposes, ScaleGate, Term, Territory,
    TerritoryTest, Trigger, UsePolicy, UseRestriction,
};
use crate::domain::model::{
    Availability, BaseModel, BaseRef, Capability, Component, ComponentKind, Evidence, Modality, Model, Relation,
};
use crate::domain::name::{LicenseId, ModelName, ProviderId};
use crate::domain::openness::{Tier, tier};
use crate::domain::place::{Country, CountrySet, Places};
use crate::domain::vocabulary::{UseCategory, Vocabulary};

/// 1 June 2026, in seconds since 1970.
const NOW: i64 = 1_780_272_000;

/// Records in memory. The first model is the one that is asked for.
#[derive(Clone, Debug, Default)]
struct World {
    models: Vec<Model>,
    licenses: Vec<License>,
    /// Service terms by provider.
    services: Vec<(&'static str, License)>,
    vocabulary: Vocabulary,
    waivers: Vec<Waiver>,
}

impl Records for World {
    fn is_served(&self, provider: &str, _model: &ModelName) -> bool {
        provider != "not-its-server"
    }

    fn model(&self, name: &ModelName) -> Option<&Model> {
        self.models.iter().find(|m| m.name == *name)
    }

    fn license(&self, id: &LicenseId) -> Option<&License> {
        self.licenses.iter().find(|l| l.id == *id)
    }

    fn service_terms(&self, provider: &str) -> Option<&License> {
        self.services.iter().find(|(id, _)| *id == provider).map(|(_, license)| license)
    }

    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }
}

impl World {
    fn decide<'a>(&'a self, use_: &'a Use) -> Decision<'a> {
        // A decision borrows the list, and a test ends soon.
        let list = Vec::leak(self.waivers.iter().collect());
        evaluate(self, &self.models[0], use_, date("2026-06-01"), Waivers { list, at: NOW })
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn model_with(self, change: impl FnOnce(&mut Model)) -> Self {
        self.with(|world| {
            change(&mut world.models[0]);
            world.models[0].tier = tier(&world.models[0].components);
        })
    }
}

fn date(text: &str) -> Date {
    Date::parse(text).unwrap()
}

fn countries(codes: &str) -> CountrySet {
    let mut set = CountrySet::default();
    codes.split_whitespace().for_each(|code| set.insert(Country::parse(code).unwrap()));
    set
}

fn places(written: &[&str]) -> Places {
    let (places, unknown) = Places::read(written.iter().copied());
    assert!(unknown.is_empty(), "{unknown:?}");
    places
}

/// A license that was read and limits nothing.
fn license(id: &str) -> License {
    License {
        id: LicenseId::new(id).unwrap(),
        resource_name: format!("licenses/{id}").into(),
        display_name: id.into(),
        url: "".into(),
        category: Category::OpenWeightCommunity,
        osi_approved: false,
        confidence: Confidence::ReadFullText,
        providers: Vec::new(),
        permissions: Permissions::default(),
        purposes: Purposes::default(),
        purpose_limits: Vec::new(),
        duties: Vec::new(),
        use_restrictions: Vec::new(),
        use_policy: UsePolicy::default(),
        limits: None,
        scale_gates: Vec::new(),
        territory: None,
        outputs: OutputTerms::default(),
        revocable: false,
    }
}

fn license_with(id: &str, change: impl FnOnce(&mut License)) -> License {
    let mut license = license(id);
    change(&mut license);
    license
}

fn duty(kind: DutyKind, when: &[Trigger]) -> Duty {
    Duty {
        kind,
        text: kind.as_str().into(),
        when: when.to_vec(),
        not_when: Vec::new(),
        only_if: Vec::new(),
        clause: "duty".into(),
        exact_strings: Vec::new(),
        binding: Binding::Required,
        approval: Approval::SelfService,
        gate_group: "".into(),
        not_open_to: Vec::new(),
        incorporates: Vec::new(),
    }
}

/// More than 100 monthly active users of the group, at any time: a separate license.
fn gate() -> ScaleGate {
    ScaleGate {
        metric: "monthly_active_users".into(),
        threshold: Some(100),
        comparison: Comparison::GreaterThan,
        at_threshold: AtThreshold::AsCompared,
        subject: GateSubject::Group,
        measured: Measured::AnyTime,
        effect: GateEffect::SeparateLicense,
        only_if: Vec::new(),
        unless: Vec::new(),
        unsettled_if: Vec::new(),
        business_types: Vec::new(),
        group: "".into(),
        clause: "gate".into(),
        discretion: "".into(),
        unverified: false,
    }
}

fn is_one_of(kind: &str) -> ScaleGate {
    ScaleGate {
        metric: ScaleGate::BUSINESS_TYPE.into(),
        threshold: None,
        comparison: Comparison::IsOneOf,
        business_types: vec![kind.into()],
        ..gate()
    }
}

fn territory(test: TerritoryTest, excluded: &[&str]) -> Territory {
    Territory {
        excluded: places(excluded),
        test,
        multimodal_only: false,
        unless: Vec::new(),
        clause: "territory".into(),
        note: "".into(),
    }
}

fn restriction(category: &str, absolute: bool) -> UseRestriction {
    UseRestriction { category: category.into(), absolute, clause: "use".into(), condition: "".into() }
}

fn status(status: PermissionStatus) -> Permission {
    Permission { status, ..Permission::default() }
}

fn weights(expression: &str) -> Component {
    Component {
        kind: ComponentKind::ModelWeights,
        availability: Some(Availability::Available),
        expression: (!expression.is_empty()).then(|| Expression::parse(expression).unwrap()),
        declared_license: "".into(),
        evidence: Evidence::TextRead,
        license_periods: Vec::new(),
        conclusion: None,
    }
}

/// A text model with open weights.
fn model(name: &str, expression: &str) -> Model {
    let (publisher, id) = name.split_once('/').unwrap();
    let components = vec![weights(expression)];
    Model {
        name: ModelName::new(publisher, id).unwrap(),
        display_name: id.into(),
        aliases: Vec::new(),
        tier: tier(&components),
        components: components.into(),
        base_models: Vec::new().into(),
        input_modalities: vec![Modality::Text].into(),
        output_modalities: vec![Modality::Text].into(),
        capabilities: Vec::new().into(),
        context_tokens: None,
        max_output_tokens: None,
        parameters: crate::domain::model::Parameters::default(),
        release_date: Some(date("2024-12-06")),
        knowledge_cutoff: None,
        family: "".into(),
        conflicts: Vec::new().into(),
        sources: Vec::new().into(),
    }
}

/// A model that is reached through a service only.
fn closed(name: &str) -> Model {
    let mut model = model(name, "");
    model.components[0].availability = Some(Availability::Unavailable);
    model.tier = tier(&model.components);
    model
}

fn base(name: &str, relation: Relation) -> BaseModel {
    let model = match name.split_once('/') {
        Some((publisher, id)) => BaseRef::Record(ModelName::new(publisher, id).unwrap()),
        None => BaseRef::Written(name.into()),
    };
    BaseModel { model, relation, expression: None }
}

fn measure(metric: &str, subject: GateSubject, period: &str, value: i64) -> Measure {
    let period = (!period.is_empty()).then(|| date(period));
    Measure { metric: metric.into(), subject, period, value }
}

/// A company's commercial use on its own machines in the United States; every fact is known but the figures.
fn a_use() -> Use {
    let mut use_ = Use {
        purpose: Some(Purpose::Commercial),
        hosting: Some(Hosting::SelfHosted),
        deployment_countries: Some(countries("US")),
        end_user_countries: Some(countries("US")),
        ..Use::default()
    };
    use_.organization.country = Country::parse("US");
    use_.organization.kind = Some(OrganizationType::Company);
    use_.organization.business_types = BusinessTypes::Known(Vec::new());
    use_
}

fn used(change: impl FnOnce(&mut Use)) -> Use {
    let mut use_ = a_use();
    change(&mut use_);
    use_
}

fn doing(activities: &[Activity]) -> Use {
    used(|u| u.activities = activities.iter().copied().collect())
}

fn for_(purpose: Purpose) -> Use {
    used(|u| u.purpose = Some(purpose))
}

fn by(purpose: Purpose, kind: Option<OrganizationType>) -> Use {
    used(|u| {
        u.purpose = Some(purpose);
        u.organization.kind = kind;
    })
}

fn listing(categories: &[&str]) -> Use {
    used(|u| u.categories = categories.iter().map(|c| (*c).into()).collect())
}

fn users(number: i64) -> Use {
    used(|u| u.organization.monthly_active_users = Some(number))
}

fn measured(metric: &str, subject: GateSubject, period: &str, value: i64) -> Use {
    used(|u| u.measures = vec![measure(metric, subject, period, value)])
}

fn done(mut use_: Use, kind: DutyKind) -> Use {
    use_.fulfilled_duties.insert(kind);
    use_
}

/// One model of one license.
fn world(change: impl FnOnce(&mut License)) -> World {
    World {
        models: vec![model("acme/one", "LicenseRef-A")],
        licenses: vec![license_with("LicenseRef-A", change)],
        ..World::default()
    }
}

/// A model under an expression of licenses.
fn under(expression: &str, licenses: Vec<License>) -> World {
    World { models: vec![model("acme/one", expression)], licenses, ..World::default() }
}

/// A model made from others, each with its license.
fn family(own: &str, bases: Vec<BaseModel>, ancestors: Vec<Model>, licenses: Vec<License>) -> World {
    let mut first = model("acme/one", own);
    first.base_models = bases.into();
    let models = std::iter::once(first).chain(ancestors).collect();
    World { models, licenses, ..World::default() }
}

fn owing(id: &str) -> License {
    license_with(id, |l| l.duties.push(duty(DutyKind::AttributionNotice, &[Trigger::Any])))
}

/// "verdict: codes, gravest first ? missing facts". Left out: what a license rests on, and activities taken as not done.
fn shown(decision: &Decision<'_>) -> String {
    let verdict = match decision.verdict {
        Verdict::Eligible => "yes",
        Verdict::EligibleWithConditions => "duties",
        Verdict::NeedsReview => "review",
        Verdict::Ineligible => "no",
    };
    let noise = [Reason::LicenseEvidence, Reason::AssumedNotDone];
    let mut codes: Vec<&str> = Vec::new();
    for finding in decision.findings.iter().filter(|f| !noise.contains(&f.reason)) {
        codes.push(finding.reason.as_str());
    }
    let mut out = verdict.to_owned();
    if !codes.is_empty() {
        out = format!("{out}: {}", codes.join(" "));
    }
    let missing = decision.missing_facts();
    if missing.is_empty() { out } else { format!("{out} ? {}", missing.join(" ")) }
}

#[track_caller]
fn check(world: &World, use_: &Use, expected: &str) {
    let decision = world.decide(use_);
    assert_eq!(shown(&decision), expected, "{:#?}", messages(&decision));
    for finding in decision.findings.iter() {
        assert!(finding.origin.model.is_some(), "{} names no model", finding.reason);
    }
}

fn case<'a>(use_: &'a Use, waivers: Waivers<'a>) -> Case<'a> {
    Case { use_, present: date("2026-06-01").into(), waivers, served_by: None }
}

fn messages(decision: &Decision<'_>) -> Vec<String> {
    decision.findings.iter().map(|f| format!("{} {}: {}", f.effect, f.reason, f.message())).collect()
}

fn assumed(world: &World, use_: &Use) -> Vec<Activity> {
    let decision = world.decide(use_);
    let found = decision.findings.iter().find_map(|f| match f.detail {
        Detail::Assumed(activities) => Some(activities),
        _ => None,
    });
    Activity::ALL.iter().copied().filter(|a| found.is_some_and(|f| f.has(*a))).collect()
}
