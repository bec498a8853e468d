//! The laws of the evaluator, as properties of generated records and uses.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use super::{
    NOW, World, a_use, base, case, closed, countries, date, duty, gate, license, measure, model, restriction,
    territory, world,
};
use crate::domain::eligibility::decision::{Decision, Effect, Verdict};
use crate::domain::eligibility::{
    Activities, Activity, BusinessTypes, Change, Detail, Fact, Hosting, Measure, OrganizationType, Purpose, Reason,
    Records as _, Requirements, Role, Use, Waiver, Waivers, basis, is_measured_at_release, outline, remedies,
};
use crate::domain::license::{
    Approval, AtThreshold, BarredTraining, Binding, Comparison, Confidence, Coverage, Duty, DutyKind, ExcludedPurpose,
    Expression, GateEffect, GateSubject, License, LicensePeriod, Measured, Permission, PermissionStatus, Predicate,
    PurposeLimit, PurposeStatus, ScaleGate, Term, TerritoryTest, Trigger,
};
use crate::domain::model::{Availability, BaseModel, BaseRef, Evidence, Modality, Model, Relation};
use crate::domain::name::{LicenseId, ModelName, ProviderId};
use crate::domain::place::Country;
use crate::domain::vocabulary::UseCategory;

const METRICS: &[&str] = &[
    "monthly_active_users",
    "annual_revenue_usd",
    "monthly_revenue_usd",
    "daily_active_users",
    "monthly_service_visits",
];
const CATEGORIES: &[&str] = &["law", "weapons", "biological-weapons"];
const LICENSES: &[&str] = &["LicenseRef-A", "LicenseRef-B", "LicenseRef-C"];
const EXPRESSIONS: &[&str] = &[
    "LicenseRef-A",
    "LicenseRef-B",
    "LicenseRef-C",
    "LicenseRef-A AND LicenseRef-B",
    "LicenseRef-A OR LicenseRef-B",
    "LicenseRef-A OR (LicenseRef-B AND LicenseRef-C)",
    "LicenseRef-B OR LicenseRef-C OR LicenseRef-Unknown",
];
const NAMES: &[&str] = &["acme/one", "acme/two", "meta/b", "lab/c", "shut/d", "gone/e"];
const FIGURES: &[i64] = &[1, 99, 100, 101, 500];

/// Reasons that are often found and can be waived.
const WAIVED: &[Reason] = &[
    Reason::ScaleGateExceeded,
    Reason::CommercialUseProhibited,
    Reason::PurposeProhibited,
    Reason::PurposeUnclear,
    Reason::TerritoryExcluded,
    Reason::TerritoryUnclear,
    Reason::PublisherConsentNeeded,
    Reason::DistillationBarred,
    Reason::LineageUnknown,
    Reason::ProviderTermsUnknown,
    Reason::LicenseEvidenceWeak,
];

/// Draws from a string of bytes; an exhausted one draws the plainest answer, towards which cases shrink.
pub(super) struct Dice<'a>(pub(super) &'a [u8]);

impl Dice<'_> {
    fn roll(&mut self) -> usize {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        usize::from(*first)
    }

    /// True once in so many.
    fn once_in(&mut self, n: usize) -> bool {
        self.roll() % n == n - 1
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.roll() % from.len()].clone()
    }

    /// Each of up to two, once in so many.
    fn few<T>(&mut self, n: usize, mut draw: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut out = Vec::new();
        for _ in 0..2 {
            if self.once_in(n) {
                out.push(draw(self));
            }
        }
        out
    }

    fn maybe<T>(&mut self, n: usize, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.once_in(n).then(|| draw(self))
    }
}

fn draw_predicates(dice: &mut Dice<'_>, n: usize) -> Vec<Predicate> {
    dice.few(n, |d| d.pick(Predicate::ALL))
}

fn draw_gate(dice: &mut Dice<'_>) -> ScaleGate {
    let by_type = dice.once_in(5);
    let metric = if by_type { ScaleGate::BUSINESS_TYPE } else { dice.pick(METRICS) };
    let group = if dice.once_in(3) { "g" } else { "" };
    let effect = dice.pick(GateEffect::ALL);
    // On a threshold whose side the text leaves open stands a review, beyond it a mere duty where that is all a gate starts:
    // there a larger figure is the lesser evil by design, so such gates are not drawn.
    let starts_duty = matches!(effect, GateEffect::DisplayBranding | GateEffect::Royalty) || !group.is_empty();
    let sides = [AtThreshold::AsCompared, AtThreshold::Inside, AtThreshold::Unsettled];
    let at_threshold = dice.pick(if starts_duty { &sides[..2] } else { &sides });
    ScaleGate {
        metric: metric.into(),
        threshold: (!by_type).then_some(100),
        comparison: dice.pick(&[Comparison::GreaterThan, Comparison::AtLeast]),
        at_threshold,
        subject: dice.pick(GateSubject::ALL),
        measured: dice.pick(&[
            Measured::AnyTime,
            Measured::Fixed(date("2024-11")),
            Measured::MonthBeforeRelease,
            Measured::AtApplication,
        ]),
        effect,
        only_if: draw_predicates(dice, 4),
        unless: draw_predicates(dice, 4),
        unsettled_if: draw_predicates(dice, 6),
        business_types: vec!["maas".into()],
        group: group.into(),
        ..gate()
    }
}

fn draw_duty(dice: &mut Dice<'_>) -> Duty {
    let not_business = |d: &mut Dice<'_>| {
        let drawn = draw_predicates(d, 5);
        drawn.into_iter().filter(|p| *p != Predicate::BusinessType).collect()
    };
    let plain = [DutyKind::AttributionNotice, DutyKind::Registration, DutyKind::DisplayBranding];
    let kind = if dice.once_in(2) { dice.pick(&plain) } else { dice.pick(DutyKind::ALL) };
    let when = if dice.once_in(2) { [Trigger::Any; 2] } else { [dice.pick(Trigger::ALL), dice.pick(Trigger::ALL)] };
    Duty {
        not_when: dice.few(6, |d| d.pick(Trigger::ALL)),
        only_if: not_business(dice),
        binding: if dice.once_in(5) {
            dice.pick(&[Binding::Encouraged, Binding::OutsideText])
        } else {
            Binding::Required
        },
        approval: if dice.once_in(6) {
            dice.pick(&[Approval::PublisherDecides, Approval::UnreadAgreement])
        } else {
            Approval::SelfService
        },
        not_open_to: dice.few(8, |_| "natural_persons".into()),
        incorporates: dice.few(12, |d| LicenseId::new(d.pick(LICENSES)).unwrap()),
        ..duty(kind, &when)
    }
}

fn draw_license(dice: &mut Dice<'_>, id: &str) -> License {
    let mut out = license(id);
    out.confidence = if dice.once_in(6) { Confidence::SecondarySource } else { Confidence::ReadFullText };
    let statuses = {
        use PermissionStatus::{Allowed, Conditional, Prohibited, Unclear, Unspecified};
        [Allowed, Conditional, Allowed, Unspecified, Allowed, Unspecified, Allowed, Unclear, Allowed, Prohibited]
    };
    let p = &mut out.permissions;
    for permission in [
        &mut p.commercial_use,
        &mut p.modify,
        &mut p.fine_tune,
        &mut p.redistribute,
        &mut p.offer_as_service,
        &mut p.train_other_models,
    ] {
        permission.status = dice.pick(&statuses);
    }
    (p.use_.status, p.use_outputs.status) = (PermissionStatus::Allowed, PermissionStatus::Allowed);
    p.redistribute_derivative = dice.maybe(4, |d| Permission { status: d.pick(&statuses), ..Permission::default() });
    let purposes = [PurposeStatus::Allowed, PurposeStatus::Prohibited, PurposeStatus::Unclear];
    if p.commercial_use.status == PermissionStatus::Prohibited || dice.once_in(12) {
        let list = &mut out.purposes;
        let all = [
            &mut list.internal_business,
            &mut list.research,
            &mut list.evaluation,
            &mut list.education,
            &mut list.personal,
            &mut list.company,
            &mut list.institution,
        ];
        for purpose in all {
            *purpose = dice.maybe(2, |d| d.pick(&purposes));
        }
    }
    out.purpose_limits = dice.few(10, |d| {
        let condition = if d.once_in(3) { "in part" } else { "" };
        PurposeLimit { purpose: d.pick(ExcludedPurpose::ALL), clause: "".into(), condition: condition.into() }
    });
    out.scale_gates = dice.few(5, draw_gate);
    out.duties = dice.few(2, draw_duty);
    // A duty of a group without a gate, and a gate that starts nothing, are mistakes that no record may hold.
    if out.scale_gates.iter().any(|g| &*g.group == "g") {
        out.duties.push(Duty { gate_group: "g".into(), ..draw_duty(dice) });
    }
    out.territory = dice.maybe(5, |d| {
        let excluded = d.pick(&[["EU", "KR"].as_slice(), &["EU"], &["BR", "UA-43"], &[]]);
        let mut drawn = territory(d.pick(TerritoryTest::ALL), excluded);
        drawn.multimodal_only = d.once_in(3);
        drawn.unless = draw_predicates(d, 3);
        drawn
    });
    out.use_restrictions = dice.few(4, |d| restriction(d.pick(CATEGORIES), d.once_in(2)));
    out.use_policy.coverage =
        if dice.once_in(5) { dice.pick(&[Coverage::Partial, Coverage::NotRead]) } else { Coverage::Complete };
    out.outputs.training_barred = dice.few(6, |d| d.pick(BarredTraining::ALL));
    out.outputs.training_barred_only_if = draw_predicates(dice, 5);
    out.outputs.trained_model_is_derivative = dice.once_in(6);
    out
}

fn draw_model(dice: &mut Dice<'_>, name: &str) -> Model {
    let mut out = if name.starts_with("shut") { closed(name) } else { model(name, dice.pick(EXPRESSIONS)) };
    let evidence = if dice.once_in(16) { dice.pick(Evidence::ALL) } else { Evidence::TextRead };
    out.components[0].evidence = evidence;
    out.input_modalities =
        dice.pick(&[vec![Modality::Text].into(), vec![Modality::Text, Modality::Image].into(), vec![].into()]);
    out.output_modalities = dice.pick(&[vec![Modality::Text].into(), vec![Modality::Image].into(), vec![].into()]);
    out.release_date = (!dice.once_in(6)).then(|| date("2024-12-06"));
    out.base_models = dice.few(4, |d| base(d.pick(NAMES), d.pick(Relation::ALL))).into();
    out
}

pub(super) fn draw_waiver(dice: &mut Dice<'_>) -> Waiver {
    let by_license = !dice.once_in(3);
    let reason = if dice.once_in(2) { dice.pick(Reason::ALL) } else { dice.pick(WAIVED) };
    Waiver {
        name: "waivers/w".into(),
        reason,
        license: by_license.then(|| LicenseId::new(dice.pick(LICENSES)).unwrap()),
        model: (!by_license).then(|| ModelName::new("acme", "one").unwrap()),
        use_profile: None,
        duty_kind: dice.maybe(2, |d| d.pick(DutyKind::ALL)),
        category: dice.maybe(2, |d| d.pick(CATEGORIES).into()),
        policy: None,
        expires: if dice.once_in(6) { NOW } else { NOW + 1 },
    }
}

pub(super) fn draw_world(bytes: &[u8]) -> World {
    let dice = &mut Dice(bytes);
    let mut world = World { licenses: LICENSES.iter().map(|id| draw_license(dice, id)).collect(), ..World::default() };
    // One more under a name that must not help.
    world.licenses.push(license(LicenseId::UNKNOWN));
    world.services = dice.few(2, |d| (d.pick(&["cloud", "acme", "shut"]), draw_license(d, "LicenseRef-S")));
    for name in NAMES.iter().filter(|name| !name.starts_with("gone")) {
        world.models.push(draw_model(dice, name));
    }
    if dice.once_in(8) {
        world.models[0].components[0].availability = dice.pick(&[None, Some(Availability::Unavailable)]);
        world.models[0].tier = crate::domain::openness::tier(&world.models[0].components);
    }
    for (slug, broader) in [("biological-weapons", vec!["weapons".into()]), ("weapons", vec![]), ("law", vec![])] {
        world.vocabulary.use_categories.insert(slug.into(), UseCategory { sentence: "".into(), broader });
    }
    world
}

/// A use of which every fact is known. Its exact figures are never above the organization's, which are the highest.
pub(super) fn draw_use(bytes: &[u8]) -> Use {
    let dice = &mut Dice(bytes);
    let mut out = a_use();
    out.purpose = Some(dice.pick(Purpose::ALL));
    out.role = if dice.once_in(6) { Role::EndUserOfProduct } else { Role::Licensee };
    let place = |d: &mut Dice<'_>| d.pick(&["US", "US", "DE", "KR", "BR", "UA"]);
    out.organization.country = Country::parse(place(dice));
    out.organization.kind = Some(dice.pick(OrganizationType::ALL));
    out.organization.business_types = BusinessTypes::Known(dice.few(3, |_| "maas".into()));
    let figures = [dice.pick(FIGURES), dice.pick(FIGURES), dice.pick(FIGURES), dice.pick(FIGURES)];
    set_figures(&mut out, figures.map(Some));
    for (metric, highest) in METRICS.iter().zip(figures) {
        if dice.once_in(3) {
            let (subject, period) = (dice.pick(GateSubject::ALL), dice.pick(&["", "2024-11"]));
            out.measures.push(measure(metric, subject, period, dice.pick(FIGURES).min(highest)));
        }
    }
    out.deployment_countries = Some(countries(place(dice)));
    out.end_user_countries = Some(countries(place(dice)));
    out.hosting = Some(dice.pick(Hosting::ALL));
    if out.hosting == Some(Hosting::VendorApi) {
        out.provider = Some(ProviderId::new(dice.pick(&["acme", "cloud", "nobody"])).unwrap());
    }
    out.activities = dice.few(3, |d| d.pick(Activity::ALL)).into_iter().collect();
    out.categories = dice.few(5, |d| d.pick(CATEGORIES).into());
    dice.few(4, |d| d.pick(DutyKind::ALL)).into_iter().for_each(|kind| out.fulfilled_duties.insert(kind));
    out.requirements.license_allow = dice.few(30, |d| LicenseId::new(d.pick(LICENSES)).unwrap());
    out.requirements.license_deny = dice.few(30, |d| LicenseId::new(d.pick(LICENSES)).unwrap());
    out.requirements.offline = dice.once_in(8);
    out
}

/// In the order of the metrics.
fn set_figures(use_: &mut Use, [users, yearly, monthly, daily]: [Option<i64>; 4]) {
    let o = &mut use_.organization;
    (o.monthly_active_users, o.annual_revenue_usd) = (users, yearly);
    (o.monthly_revenue_usd, o.daily_active_users) = (monthly, daily);
}

fn figures(use_: &Use) -> [Option<i64>; 4] {
    let o = &use_.organization;
    [o.monthly_active_users, o.annual_revenue_usd, o.monthly_revenue_usd, o.daily_active_users]
}

/// A fact of a use that can be not known.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    Purpose,
    Country,
    Type,
    BusinessTypes,
    Deployment,
    EndUsers,
    Hosting,
    Provider,
    Figure(usize),
    Measures,
}

const KNOWN: &[Known] = &[
    Known::Purpose,
    Known::Country,
    Known::Type,
    Known::BusinessTypes,
    Known::Deployment,
    Known::EndUsers,
    Known::Hosting,
    Known::Provider,
    Known::Figure(0),
    Known::Figure(1),
    Known::Figure(2),
    Known::Figure(3),
    Known::Measures,
];

fn forget(use_: &mut Use, fact: Known) {
    match fact {
        Known::Purpose => use_.purpose = None,
        Known::Country => use_.organization.country = None,
        Known::Type => use_.organization.kind = None,
        Known::BusinessTypes => use_.organization.business_types = BusinessTypes::Unknown,
        Known::Deployment => use_.deployment_countries = None,
        Known::EndUsers => use_.end_user_countries = None,
        Known::Hosting => use_.hosting = None,
        Known::Provider => use_.provider = None,
        Known::Figure(i) => {
            let mut left = figures(use_);
            left[i] = None;
            set_figures(use_, left);
        }
        Known::Measures => use_.measures.clear(),
    }
}

/// An absent provider means the publisher's own service where its terms are at hand: that is known, not unknown.
fn absence_says_something(world: &World, fact: Known) -> bool {
    fact == Known::Provider && world.service_terms(world.models[0].name.publisher()).is_some()
}

/// What is left of a use once some facts are not known. A figure for which the organization's would stand in stays.
pub(super) fn forgetting(world: &World, full: &Use, mask: u16) -> Use {
    let mut out = full.clone();
    for (i, fact) in KNOWN.iter().enumerate() {
        if mask & (1 << i) != 0 && *fact != Known::Measures && !absence_says_something(world, *fact) {
            forget(&mut out, *fact);
        }
    }
    let left = figures(&out);
    let stands_in = |metric: &str| METRICS.iter().zip(left).any(|(m, figure)| *m == metric && figure.is_some());
    if mask & (1 << (KNOWN.len() - 1)) != 0 {
        out.measures.retain(|m| stands_in(&m.metric));
    }
    out
}

/// Fills in the facts that a decision misses, from a use that knows them all. A figure nobody drew is a low one.
fn fill_in(decision: &Decision<'_>, known: &Use, full: &Use) -> Use {
    let mut out = known.clone();
    for finding in decision.findings.iter().filter(|f| f.effect == Effect::Review) {
        for fact in finding.missing.iter() {
            fill(&mut out, fact, full);
        }
        for key in finding.missing_measures.iter() {
            let same =
                |m: &&Measure| *m.metric == *key.metric() && m.subject == key.subject() && m.period == key.period;
            let drawn = full.measures.iter().find(same).cloned();
            let value = drawn.map_or(1, |m| m.value);
            let period = key.period.map(|p| p.to_string()).unwrap_or_default();
            if !out.measures.iter().any(|m| same(&m)) {
                out.measures.push(measure(key.metric(), key.subject(), &period, value));
            }
        }
    }
    out
}

fn fill(out: &mut Use, fact: Fact, full: &Use) {
    let (to, from) = (&mut out.organization, &full.organization);
    match fact {
        Fact::Purpose => out.purpose = full.purpose,
        Fact::OrganizationCountry => to.country = from.country,
        Fact::OrganizationType => to.kind = from.kind,
        Fact::BusinessTypes => to.business_types = from.business_types.clone(),
        Fact::MonthlyActiveUsers => to.monthly_active_users = from.monthly_active_users,
        Fact::DailyActiveUsers => to.daily_active_users = from.daily_active_users,
        Fact::AnnualRevenueUsd => to.annual_revenue_usd = from.annual_revenue_usd,
        Fact::MonthlyRevenueUsd => to.monthly_revenue_usd = from.monthly_revenue_usd,
        Fact::DeploymentCountries => out.deployment_countries = full.deployment_countries,
        Fact::EndUserCountries => out.end_user_countries = full.end_user_countries,
        Fact::Hosting => out.hosting = full.hosting,
        Fact::Provider => out.provider = full.provider.clone(),
        other => panic!("{other} is never missing: its absence has a meaning"),
    }
}

fn worlds() -> impl Strategy<Value = World> {
    prop::collection::vec(any::<u8>(), 600).prop_map(|bytes| draw_world(&bytes))
}

/// With up to three waivers.
fn waived_worlds() -> impl Strategy<Value = World> {
    (worlds(), prop::collection::vec(prop::collection::vec(any::<u8>(), 8), 1..4)).prop_map(|(mut world, drawn)| {
        world.waivers = drawn.iter().map(|bytes| draw_waiver(&mut Dice(bytes))).collect();
        world
    })
}

fn uses() -> impl Strategy<Value = Use> {
    prop::collection::vec(any::<u8>(), 80).prop_map(|bytes| draw_use(&bytes))
}

/// Which facts are not known: a few of them.
fn masks() -> impl Strategy<Value = u16> {
    (any::<u16>(), any::<u16>(), any::<u16>()).prop_map(|(a, b, c)| a & b & c)
}

fn verdict(world: &World, use_: &Use) -> Verdict {
    world.decide(use_).verdict
}

fn is_yes(verdict: Verdict) -> bool {
    verdict <= Verdict::EligibleWithConditions
}

fn offers_a_choice(term: &Term) -> bool {
    match term {
        Term::License { .. } => false,
        Term::And(terms) => terms.iter().any(offers_a_choice),
        Term::Or(_) => true,
    }
}

fn has_choice(world: &World) -> bool {
    let expressions = world.models.iter().filter_map(|m| m.components[0].expression.as_ref());
    expressions.into_iter().any(|e| offers_a_choice(e.root()))
}

/// Everything a decision says, in an order that does not depend on that of the records. What a statement rests on quotes
/// the expression as it was written.
fn said(decision: &Decision<'_>) -> Vec<String> {
    let mut out: Vec<String> = decision
        .findings
        .iter()
        .map(|f| {
            let message = if matches!(f.detail, Detail::Evidence { .. }) { String::new() } else { f.message() };
            let model = f.origin.model.map(|m| m.name.as_str());
            let license = f.origin.license.map(|l| l.id.as_str());
            format!("{} {} {model:?} {license:?} {} {message}", f.effect, f.reason, f.origin.clause)
        })
        .collect();
    out.sort();
    out.push(decision.verdict.to_string());
    let mut missing = decision.missing_facts();
    missing.sort();
    out.extend(missing);
    out
}

/// Adding terms can give a bare "conditional" something to point at, which settles what nobody read; the law is on the
/// others.
fn conditions_are_settled(license: &License) -> bool {
    license.is_read() || !license.duties.is_empty() || !license.scale_gates.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A verdict other than a review stays, however the facts that are not known turn out.
    ///
    /// With a choice of licenses a yes with duties can become a plain one: another branch, in review so far, may turn out
    /// free. The best branch as far as is known was taken; were it held back for that, adding a branch could worsen.
    #[test]
    fn refinement(world in worlds(), full in uses(), mask in masks()) {
        let before = verdict(&world, &forgetting(&world, &full, mask));
        let after = verdict(&world, &full);
        let freed = before == Verdict::EligibleWithConditions && after == Verdict::Eligible && has_choice(&world);
        prop_assert!(before == Verdict::NeedsReview || before == after || freed, "{before} became {after}");
    }

    /// Knowing less never makes a yes of what was none.
    #[test]
    fn no_wrong_yes(world in worlds(), full in uses(), mask in masks()) {
        let use_ = forgetting(&world, &full, mask);
        let before = verdict(&world, &use_);
        for fact in KNOWN.iter().filter(|fact| !absence_says_something(&world, **fact)) {
            let mut less = use_.clone();
            forget(&mut less, *fact);
            let after = verdict(&world, &less);
            prop_assert!(is_yes(before) || !is_yes(after), "without {fact:?} {before} became {after}");
        }
    }

    /// Not even where exceptions are recorded.
    #[test]
    fn no_wrong_yes_under_waivers(world in waived_worlds(), full in uses(), mask in masks()) {
        let use_ = forgetting(&world, &full, mask);
        let before = verdict(&world, &use_);
        for fact in KNOWN.iter().filter(|fact| !absence_says_something(&world, **fact)) {
            let mut less = use_.clone();
            forget(&mut less, *fact);
            let after = verdict(&world, &less);
            prop_assert!(is_yes(before) || !is_yes(after), "without {fact:?} {before} became {after}");
        }
    }

    /// An exception never worsens a verdict, and is named where it improves one.
    #[test]
    fn adding_a_waiver_never_worsens(world in waived_worlds(), full in uses(), mask in masks()) {
        let use_ = forgetting(&world, &full, mask);
        let with = world.decide(&use_);
        let without = World { waivers: Vec::new(), ..world.clone() };
        let before = verdict(&without, &use_);
        prop_assert!(with.verdict <= before, "{before} became {}", with.verdict);
        let named = with.findings.iter().any(|f| f.waived_by.is_some());
        prop_assert!(with.verdict == before || named, "{before} became {} and no waiver is named", with.verdict);
    }

    /// A model whose weights can be had needs a license that is mapped.
    #[test]
    fn a_model_without_a_mapped_license_is_never_a_yes(mut world in waived_worlds(), use_ in uses(), which in 0..4_usize) {
        let expressions = ["", "LicenseRef-Unknown", "LicenseRef-Nobody", "Zed AND LicenseRef-A"];
        world.models[0] = Model { base_models: world.models[0].base_models.clone(), ..model(NAMES[0], expressions[which]) };
        prop_assert!(!is_yes(verdict(&world, &use_)));
    }

    /// More restrictions never improve a verdict.
    #[test]
    fn adding_terms_never_improves(
        world in worlds(), full in uses(), mask in masks(), bytes in prop::collection::vec(any::<u8>(), 60),
        which in 0..3_usize,
    ) {
        if !conditions_are_settled(&world.licenses[which]) {
            return Ok(());
        }
        let use_ = forgetting(&world, &full, mask);
        let before = verdict(&world, &use_);
        let more = |add: &dyn Fn(&mut License, &mut Dice<'_>)| {
            let mut more = world.clone();
            add(&mut more.licenses[which], &mut Dice(&bytes));
            verdict(&more, &use_)
        };
        let after = [
            ("restriction", more(&|l, d| l.use_restrictions.push(restriction(d.pick(CATEGORIES), d.once_in(2))))),
            ("gate", more(&|l, d| {
                let mut gate = draw_gate(d);
                // One more of a group can settle that the group's duty starts, which was a review.
                if l.duties.iter().any(|duty| duty.gate_group == gate.group) {
                    gate.group = "".into();
                }
                l.scale_gates.push(gate);
            })),
            ("duty", more(&|l, d| l.duties.push(draw_duty(d)))),
            ("bar on training", more(&|l, d| {
                // The first named kind narrows a plain no, and says what a bare condition is; a further one adds to it.
                let says = [PermissionStatus::Prohibited, PermissionStatus::Conditional];
                if !l.outputs.training_barred.is_empty() || !says.contains(&l.permissions.train_other_models.status) {
                    l.outputs.training_barred.push(d.pick(BarredTraining::ALL));
                }
            })),
        ];
        for (what, after) in after {
            prop_assert!(after >= before, "with one more {what} {before} became {after}");
        }
    }

    /// One more ancestor of another publisher never improves a verdict, wherever it joins.
    #[test]
    fn adding_an_ancestor_never_improves(
        world in worlds(), full in uses(), mask in masks(), child in 0..5_usize, name in 2..6_usize,
        relation in prop::sample::select(Relation::ALL),
    ) {
        let use_ = forgetting(&world, &full, mask);
        let before = verdict(&world, &use_);
        let mut more = world;
        more.models[child].base_models.push(base(NAMES[name], relation));
        let after = verdict(&more, &use_);
        prop_assert!(after >= before, "{before} became {after}");
    }

    /// A larger figure never improves a verdict.
    #[test]
    fn growing_never_improves(world in worlds(), full in uses(), mask in masks(), which in 0..4_usize, by in 1..500_i64) {
        let use_ = forgetting(&world, &full, mask);
        let before = verdict(&world, &use_);
        // Where it starts the duty of a group of gates, that is certain from then on.
        let of_group = world.licenses.iter().flat_map(|l| &l.duties).any(|duty| !duty.gate_group.is_empty());
        let settles = |before, after| {
            of_group && before == Verdict::NeedsReview && after == Verdict::EligibleWithConditions
        };
        let mut grown = use_.clone();
        let mut figures = figures(&use_);
        figures[which] = figures[which].map(|figure| figure + by);
        set_figures(&mut grown, figures);
        let after = verdict(&world, &grown);
        prop_assert!(after >= before || settles(before, after), "{before} became {after}");
        for measure in &mut grown.measures {
            measure.value += by;
        }
        let measured = verdict(&world, &grown);
        prop_assert!(measured >= after || settles(after, measured), "{after} became {measured}");
    }

    /// One more license to choose from never worsens a verdict, for the model or an ancestor.
    #[test]
    fn adding_a_choice_never_worsens(
        world in worlds(), full in uses(), mask in masks(), which in 0..4_usize, branch in 0..7_usize,
    ) {
        let use_ = forgetting(&world, &full, mask);
        let before = verdict(&world, &use_);
        let mut more = world;
        let weights = &mut more.models[which].components[0];
        let choice = weights.expression.as_ref().map(|e| format!("({e}) OR ({})", EXPRESSIONS[branch]));
        weights.expression = choice.map(|text| Expression::parse(&text).unwrap());
        let after = verdict(&more, &use_);
        prop_assert!(after <= before, "{before} became {after}");
    }

    /// The note on unlisted activities names those that would worsen the verdict, and no other: the rules ask for every
    /// activity that matters.
    #[test]
    fn what_is_assumed_not_done_is_what_would_worsen_the_verdict(
        world in waived_worlds(), full in uses(), mask in masks(),
    ) {
        let use_ = forgetting(&world, &full, mask);
        let decision = world.decide(&use_);
        let worsens = |activity: &&Activity| {
            let more = Use { activities: use_.activities.with(**activity), ..use_.clone() };
            verdict(&world, &more) > decision.verdict
        };
        let expected: Activities = Activity::ALL.iter().filter(worsens).copied().collect();
        let said = decision.findings.iter().find_map(|finding| match finding.detail {
            Detail::Assumed(activities) => Some(activities),
            _ => None,
        });
        prop_assert_eq!(said.unwrap_or_default(), expected);
    }

    /// The order in which records hold things does not matter.
    #[test]
    fn determinism(world in worlds(), full in uses(), mask in masks()) {
        let use_ = forgetting(&world, &full, mask);
        let mut turned = world.clone();
        for license in &mut turned.licenses {
            license.duties.reverse();
            license.scale_gates.reverse();
        }
        for model in &mut turned.models {
            model.components.reverse();
            model.base_models.reverse();
            let weights = model.components.last_mut().unwrap();
            let written = weights.expression.as_ref().map(|e| {
                let branches: Vec<&str> = e.as_str().split(" OR ").collect();
                branches.into_iter().rev().collect::<Vec<_>>().join(" OR ")
            });
            weights.expression = written.map(|text| Expression::parse(&text).unwrap());
        }
        let (straight, turned) = (said(&world.decide(&use_)), said(&turned.decide(&use_)));
        prop_assert_eq!(straight, turned);
    }

    /// A verdict has its finding, with an origin; missing facts are named where they matter, and settle what they should.
    #[test]
    fn explainability(world in worlds(), full in uses(), mask in masks()) {
        let use_ = forgetting(&world, &full, mask);
        let decision = world.decide(&use_);
        let verdict_of = |d: &Decision<'_>| d.findings.iter().map(|f| f.effect.verdict()).max();
        prop_assert_eq!(verdict_of(&decision).unwrap_or(Verdict::Eligible), decision.verdict);
        prop_assert!(decision.findings.iter().all(|f| f.origin.model.is_some() && !f.message().is_empty()));

        let missing = decision.missing_facts();
        let filled = fill_in(&decision, &use_, &full);
        let after = world.decide(&filled);
        // What was asked for and given is asked for no more.
        let again: Vec<String> = after.missing_facts().into_iter().filter(|path| missing.contains(path)).collect();
        prop_assert!(again.is_empty(), "{again:?} is still missing");
        // Where no missing fact is named, none would settle it.
        if decision.verdict == Verdict::NeedsReview && missing.is_empty() {
            let complete = verdict(&world, &full);
            prop_assert!(!is_yes(complete), "nothing was missing, and yet it became {complete}");
        }
        // Where one is named, a fact is in fact not known.
        prop_assert!(missing.is_empty() || filled != use_, "{missing:?} is at hand");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each remedy, applied, leads to the verdict that it promises, which is better than the one at hand.
    #[test]
    fn remedies_keep_their_promise(world in waived_worlds(), full in uses(), mask in masks()) {
        let use_ = forgetting(&world, &full, mask);
        let decision = world.decide(&use_);
        let list: Vec<&Waiver> = world.waivers.iter().collect();
        let waivers = Waivers { list: &list, at: NOW };
        let others = world.models.iter().map(|other| (other, Vec::new()));
        for remedy in remedies(&world, &decision, case(&use_, waivers), others) {
            prop_assert!(remedy.verdict < decision.verdict, "{:?}", remedy.sentence());
            let after = match &remedy.change {
                Change::Use(edits) => {
                    let mut changed = use_.clone();
                    edits.iter().for_each(|edit| edit.apply(&mut changed));
                    prop_assert!(changed != use_, "{:?} changes nothing", remedy.sentence());
                    verdict(&world, &changed)
                }
                Change::Waivers(more) => {
                    let mut waived = world.clone();
                    waived.waivers.extend(more.iter().cloned());
                    verdict(&waived, &use_)
                }
                Change::Model(other) => {
                    let mut instead = World { waivers: Vec::new(), ..world.clone() };
                    instead.models.insert(0, (*other).clone());
                    verdict(&instead, &use_)
                }
            };
            prop_assert_eq!(after, remedy.verdict, "{}", remedy.sentence());
        }
    }
}

/// The laws would say nothing on verdicts that are never drawn.
#[test]
fn every_verdict_is_drawn() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = [0_u32; 4];
    for _ in 0..1_200 {
        let world = worlds().new_tree(&mut runner).unwrap().current();
        let full = uses().new_tree(&mut runner).unwrap().current();
        seen[verdict(&world, &full) as usize] += 1;
    }
    assert!(seen.iter().all(|count| *count >= 40), "{seen:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Models that share what a verdict is said to depend on get one verdict. The second differs in one respect, and in all
    /// that is said not to count.
    #[test]
    fn one_basis_is_one_verdict(world in worlds(), others in worlds(), full in uses(), differs in 0..8_usize) {
        let first = world.models[0].clone();
        let other = others.models[0].clone();
        let name = if differs == 1 { ("meta", "twin") } else { ("acme", "twin") };
        let mut twin = Model {
            name: ModelName::new(name.0, name.1).unwrap(),
            aliases: vec!["twin".into()],
            release_date: Some(date("2020-02-02")),
            context_tokens: Some(1),
            ..first.clone()
        };
        match differs {
            2 => twin.base_models = other.base_models,
            3 => twin.input_modalities = other.input_modalities,
            4 => twin.output_modalities = other.output_modalities,
            5 => twin.components[0].evidence = others.models[1].components[0].evidence,
            6 => {
                twin.components = other.components;
                twin.tier = other.tier;
            }
            7 => twin.family = "cosmos".into(),
            _ => {}
        }
        let mut use_ = full;
        use_.requirements = Requirements::default();
        if use_.hosting == Some(Hosting::VendorApi) {
            use_.hosting = Some(Hosting::SelfHosted);
        }
        let same = basis(&world, &first) == basis(&world, &twin);
        let bases = world.models.iter().flat_map(|model| model.base_models.iter());
        let is_base = |model: &Model| bases.clone().any(|base| base.model.as_str() == model.name.as_str());
        if outline(&first) == outline(&twin) && !is_base(&first) && !is_base(&twin) {
            prop_assert!(same);
        }
        if same && !is_measured_at_release(&world, &first) {
            let mut alone = world.clone();
            alone.models.insert(0, twin);
            prop_assert_eq!(verdict(&world, &use_), verdict(&alone, &use_));
        }
    }
}

/// Terms of a closed ancestor's service can be measured at its release, and what people wrote is quoted.
#[test]
fn a_basis_tells_closed_ancestors_and_what_was_written_apart() {
    let mut world = world(|_| {});
    let (first, mut second) = (closed("shut/first"), closed("shut/second"));
    second.release_date = Some(date("2020-02-02"));
    world.models.extend([first.clone(), second.clone()]);
    let taught_by = |teacher: &Model| Model {
        base_models: vec![BaseModel {
            model: BaseRef::Record(teacher.name.clone()),
            relation: Relation::TrainedOnOutputs,
            expression: None,
        }]
        .into(),
        ..model("acme/pupil", "MIT")
    };
    assert_ne!(basis(&world, &taught_by(&first)), basis(&world, &taught_by(&second)));
    let period = |expression: &str, commit: &str| LicensePeriod {
        from: None,
        until: None,
        expression: Expression::parse(expression).unwrap(),
        commit: commit.into(),
    };
    let with = |periods: Vec<LicensePeriod>| {
        let mut model = model("acme/dated", "MIT");
        model.components[0].license_periods = periods;
        basis(&world, &model)
    };
    let two = with(vec![period("MIT", "a"), period("Apache-2.0", "b")]);
    assert_ne!(with(vec![period("MIT", "a|NoneNoneApache-2.0@b")]), two);
    assert_ne!(with(vec![period("MIT", "a\"|NoneNoneApache-2.0@\"b")]), two);
}
