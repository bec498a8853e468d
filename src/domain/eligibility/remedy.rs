//! Remedies: the smallest changes that lead to a better verdict. Each is tried by the evaluator before it is offered.

use std::fmt::Write as _;

use super::decision::{Decision, Effect, Finding, Verdict};
use super::evaluate::{Present, Records, verdict};
use super::intended_use::{Activity, Hosting, Purpose, Use};
use super::message::Detail;
use super::reason::{Reason, Waiving};
use super::waiver::{Waiver, Waivers};
use crate::domain::license::DutyKind;
use crate::domain::model::Model;
use crate::domain::name::ProviderId;
use crate::domain::place::CountrySet;

/// One change of a use.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// A duty is done, or what only the publisher can give is at hand.
    Fulfil(DutyKind),
    /// An activity is left out.
    LeaveActivity(Activity),
    /// A use category is left out.
    LeaveCategory(Box<str>),
    /// Countries are left out, wherever the use names them.
    LeaveCountries(CountrySet),
    /// It is hosted in another way; by whom, where the id that was asked for says so.
    Host(Hosting, Option<ProviderId>),
    /// It is for something else.
    Pursue(Purpose),
}

impl Edit {
    /// Changes a use.
    pub fn apply(&self, use_: &mut Use) {
        match self {
            Self::Fulfil(kind) => use_.fulfilled_duties.insert(*kind),
            Self::LeaveActivity(activity) => {
                use_.activities =
                    Activity::ALL.iter().copied().filter(|a| a != activity && use_.activities.has(*a)).collect();
            }
            Self::LeaveCategory(category) => use_.categories.retain(|known| known != category),
            Self::LeaveCountries(countries) => {
                for places in [&mut use_.deployment_countries, &mut use_.end_user_countries] {
                    let left = places.as_ref().map(|places| without(places, countries));
                    *places = left;
                }
            }
            Self::Host(hosting, provider) => {
                use_.hosting = Some(*hosting);
                use_.provider.clone_from(provider);
            }
            Self::Pursue(purpose) => use_.purpose = Some(*purpose),
        }
    }

    fn write(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Fulfil(kind) => write!(out, "do or obtain `{kind}` and name it in `fulfilled_duties`"),
            Self::LeaveActivity(activity) => write!(out, "leave out the activity {activity}"),
            Self::LeaveCategory(category) => write!(out, "leave out the use category {category}"),
            Self::LeaveCountries(countries) => {
                let names: Vec<String> = countries.iter().map(|c| c.as_str().to_owned()).collect();
                write!(out, "leave out {}", names.join(", "))
            }
            Self::Host(hosting, _) => write!(out, "host it as {hosting}"),
            Self::Pursue(purpose) => write!(out, "use it for {purpose} only"),
        };
    }
}

fn without(places: &CountrySet, left_out: &CountrySet) -> CountrySet {
    let mut out = CountrySet::default();
    places.iter().filter(|country| !left_out.contains(*country)).for_each(|country| out.insert(country));
    out
}

/// What a remedy changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<'a> {
    /// The use.
    Use(Vec<Edit>),
    /// Exceptions to obtain; their names and ends are placeholders.
    Waivers(Vec<Waiver>),
    /// Another model for the same use.
    Model(&'a Model),
}

/// A change that leads to a better verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Remedy<'a> {
    /// The change.
    pub change: Change<'a>,
    /// The verdict that it leads to.
    pub verdict: Verdict,
}

impl Remedy<'_> {
    /// What to do, one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut out = String::new();
        match &self.change {
            Change::Use(edits) => {
                for (i, edit) in edits.iter().enumerate() {
                    out.push_str(if i > 0 { ", and " } else { "" });
                    edit.write(&mut out);
                }
            }
            Change::Waivers(waivers) => {
                for (i, waiver) in waivers.iter().enumerate() {
                    out.push_str(if i > 0 { ", and " } else { "obtain " });
                    let license = waiver.license.as_ref().map(|id| format!("licenses/{id}"));
                    let model = waiver.model.as_ref().map(ToString::to_string);
                    let scope = license.or(model).unwrap_or_default();
                    // Writing to a string cannot fail.
                    let _ = write!(out, "a waiver of {} for `{scope}`", waiver.reason);
                    if let Some(kind) = waiver.duty_kind {
                        let _ = write!(out, " and the duty `{kind}`");
                    }
                    if let Some(policy) = &waiver.policy {
                        let _ = write!(out, " and the policy `{policy}`");
                    }
                    if let Some(category) = &waiver.category {
                        let _ = write!(out, " and the category `{category}`");
                    }
                }
            }
            Change::Model(model) => {
                let _ = write!(out, "use `{}` instead", model.name);
            }
        }
        let mut chars = out.chars();
        let first = chars.next().map(|c| c.to_uppercase().collect::<String>()).unwrap_or_default();
        format!("{first}{}.", chars.as_str())
    }
}

/// Other models that are offered at most, and that are tried at most.
const MODELS_MAX: usize = 3;
const MODELS_TRIED_MAX: usize = 2_000;
/// Waivers that one remedy asks for at most.
const WAIVERS_MAX: usize = 5;

/// What a decision was asked with.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The use.
    pub use_: &'a Use,
    /// The present.
    pub present: Present,
    /// The waivers that concern it.
    pub waivers: Waivers<'a>,
    /// Who serves the model by the id that was asked for: whoever hosts it with a vendor by that id has it from there.
    pub served_by: Option<&'a ProviderId>,
}

/// The smallest changes of a use that improve a decision on it, exceptions to obtain, and other models.
///
/// `others` are the models to choose from, the most similar first, each with the waivers that concern a check of it.
#[must_use]
pub fn remedies<'a>(
    records: &dyn Records,
    decision: &Decision<'_>,
    case: Case<'_>,
    others: impl Iterator<Item = (&'a Model, Vec<&'a Waiver>)>,
) -> Vec<Remedy<'a>> {
    let Some(model) = decision.model else { return Vec::new() };
    let Case { use_, present, waivers, served_by } = case;
    let mut out = Vec::new();
    if decision.verdict <= Verdict::EligibleWithConditions {
        return out;
    }
    let tried = |edits: &[&Edit]| {
        let mut changed = use_.clone();
        edits.iter().for_each(|edit| edit.apply(&mut changed));
        verdict(records, model, &changed, present, waivers)
    };
    let edits = candidates(decision, use_, served_by);
    let single: Vec<(&Edit, Verdict)> = edits.iter().map(|edit| (edit, tried(&[edit]))).collect();
    let is_yes = |verdict: Verdict| verdict <= Verdict::EligibleWithConditions;
    let mut found: Vec<(Vec<&Edit>, Verdict)> =
        single.iter().filter(|(_, v)| is_yes(*v)).map(|(edit, v)| (vec![*edit], *v)).collect();
    if found.is_empty() {
        for (i, first) in edits.iter().enumerate() {
            for second in edits.iter().skip(i + 1) {
                let verdict = tried(&[first, second]);
                if is_yes(verdict) {
                    found.push((vec![first, second], verdict));
                }
            }
        }
    }
    if found.is_empty() {
        // Nothing small makes it a yes: what at least turns a no into a review is still worth knowing.
        found = single.iter().filter(|(_, v)| *v < decision.verdict).map(|(edit, v)| (vec![*edit], *v)).collect();
    }
    for (edits, verdict) in found {
        out.push(Remedy { change: Change::Use(edits.into_iter().cloned().collect()), verdict });
    }
    out.extend(by_waivers(records, decision, model, case));
    let mut offered = 0;
    for (other, list) in others.filter(|(other, _)| other.name != model.name).take(MODELS_TRIED_MAX) {
        let concerning = Waivers { list: &list, at: waivers.at };
        let found = verdict(records, other, use_, present, concerning);
        if is_yes(found) {
            out.push(Remedy { change: Change::Model(other), verdict: found });
            offered += 1;
        }
        if offered == MODELS_MAX {
            break;
        }
    }
    out.sort_by_key(|remedy| remedy.verdict);
    out
}

fn acting<'d, 'a>(decision: &'d Decision<'a>) -> impl Iterator<Item = &'d Finding<'a>> {
    decision.findings.iter().filter(|f| matches!(f.acts(), Some(Effect::Blocks | Effect::Review)))
}

/// The changes that could help, judged by what stands in the way.
fn candidates(decision: &Decision<'_>, use_: &Use, served_by: Option<&ProviderId>) -> Vec<Edit> {
    let mut out = Vec::new();
    let mut add = |edit: Edit| {
        if !out.contains(&edit) {
            out.push(edit);
        }
    };
    let mut countries = CountrySet::default();
    for finding in acting(decision) {
        match finding.detail {
            Detail::Duty { duty, .. } => add(Edit::Fulfil(duty.kind)),
            Detail::Gate { .. } | Detail::Permission { .. } => {
                [DutyKind::SeparateAgreement, DutyKind::PublisherReview, DutyKind::PaidPlan]
                    .into_iter()
                    .for_each(|kind| add(Edit::Fulfil(kind)));
            }
            Detail::Territory { territory, places, which } => countries.extend(&places.of(territory, which)),
            _ => {}
        }
        let of_purpose = matches!(
            finding.reason,
            Reason::CommercialUseProhibited
                | Reason::PurposeProhibited
                | Reason::PurposeUnclear
                | Reason::ScaleGateExceeded
                | Reason::PolicyBlocks
                | Reason::PolicyReview
        );
        if of_purpose && use_.purpose.is_some() {
            let others = Purpose::ALL.iter().copied().filter(|purpose| Some(*purpose) != use_.purpose);
            others.for_each(|purpose| add(Edit::Pursue(purpose)));
        }
    }
    if !countries.is_empty() {
        // A place that is left with nothing would be a place that is not known.
        let stays = |places: &Option<CountrySet>| places.as_ref().is_none_or(|p| !without(p, &countries).is_empty());
        if stays(&use_.deployment_countries) && stays(&use_.end_user_countries) {
            add(Edit::LeaveCountries(countries));
        }
    }
    Activity::ALL.iter().filter(|a| use_.activities.has(**a)).for_each(|a| add(Edit::LeaveActivity(*a)));
    use_.categories.iter().for_each(|category| add(Edit::LeaveCategory(category.clone())));
    if use_.hosting.is_some() {
        let others = Hosting::ALL.iter().copied().filter(|hosting| Some(*hosting) != use_.hosting);
        others.for_each(|hosting| {
            let provider = served_by.filter(|_| hosting == Hosting::VendorApi).cloned();
            add(Edit::Host(hosting, provider));
        });
    }
    out
}

/// The exceptions that would silence all that stands in the way, if there are such.
fn by_waivers<'a>(records: &dyn Records, decision: &Decision<'_>, model: &Model, case: Case<'_>) -> Option<Remedy<'a>> {
    let Case { use_, present, waivers, .. } = case;
    let mut needed: Vec<Waiver> = Vec::new();
    for finding in acting(decision) {
        let waiver = waiver_for(finding, model)?;
        if !needed.contains(&waiver) {
            needed.push(waiver);
        }
    }
    if needed.is_empty() || needed.len() > WAIVERS_MAX {
        return None;
    }
    let list: Vec<&Waiver> = waivers.list.iter().copied().chain(&needed).collect();
    let found = verdict(records, model, use_, present, Waivers { list: &list, at: waivers.at });
    let is_yes = found <= Verdict::EligibleWithConditions;
    is_yes.then_some(Remedy { change: Change::Waivers(needed), verdict: found })
}

fn waiver_for(finding: &Finding<'_>, model: &Model) -> Option<Waiver> {
    let license = finding.origin.license.map(|license| license.id.clone());
    let waiver = Waiver {
        name: "waivers/-".into(),
        reason: finding.reason,
        model: license.is_none().then(|| model.name.clone()),
        license,
        use_profile: None,
        duty_kind: None,
        category: None,
        policy: None,
        expires: i64::MAX,
    };
    match (finding.reason.waiving(), finding.detail) {
        (Waiving::Whole, _) => Some(waiver),
        (Waiving::ByDuty, Detail::Duty { duty, .. }) => Some(Waiver { duty_kind: Some(duty.kind), ..waiver }),
        (Waiving::ByCategory, Detail::Restriction { asked, .. } | Detail::Text(asked)) => {
            Some(Waiver { category: Some(asked.into()), ..waiver })
        }
        (Waiving::ByPolicy, Detail::Policy { policy, .. }) if !policy.is_unwaivable => {
            Some(Waiver { policy: Some(policy.name.clone()), ..waiver })
        }
        (Waiving::No | Waiving::ByDuty | Waiving::ByCategory | Waiving::ByPolicy, _) => None,
    }
}
