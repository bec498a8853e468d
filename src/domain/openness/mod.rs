//! How open a model is: tier, strict reading and class of the Model Openness Framework, each with its reasons.

mod mof;
mod rules;

pub use mof::{Mof, MofClass, MofFramework, MofLicenses, Requirement};
pub use rules::{ContentType, content_type, is_open_data, is_open_software, is_open_weights, is_osi_approved};

use super::license::Expression;
use super::model::{Availability, Component, ComponentKind, Evidence, Model};
use super::words::words;

words! {
    /// Openness tier, least open first. Derived, never typed in.
    pub enum Tier {
        /// The weights cannot be downloaded.
        Proprietary = "PROPRIETARY",
        /// The weights can be downloaded.
        OpenWeight = "OPEN_WEIGHT",
        /// Weights, training data and training code, each under an open license.
        OpenSource = "OPEN_SOURCE",
    }
}

/// The whole assessment.
#[derive(Clone, Debug, PartialEq)]
pub struct Openness {
    /// The tier; `None`: the availability of the weights is not known.
    pub tier: Option<Tier>,
    /// Everything that is available is OSI-approved.
    pub strict: bool,
    /// Class of the Model Openness Framework.
    pub mof: Mof,
    /// Part by part.
    pub components: Vec<ComponentOpenness>,
    /// Why the tier is what it is.
    pub reasons: Vec<String>,
}

/// One part.
#[derive(Clone, Debug, PartialEq)]
pub struct ComponentOpenness {
    /// Which.
    pub kind: ComponentKind,
    /// Whether it counts as released under an open license, by the rule of the tier.
    pub open: bool,
    /// Whether it counts for the Model Openness Framework.
    pub mof_open: bool,
    /// Why.
    pub reason: String,
}

/// The tier of a model by its components.
#[must_use]
pub fn tier(components: &[Component]) -> Option<Tier> {
    let find = |kind| components.iter().find(|c: &&Component| c.kind == kind);
    let weights = find(ComponentKind::ModelWeights)?;
    match weights.availability? {
        Availability::Unavailable => return Some(Tier::Proprietary),
        Availability::Available | Availability::Gated | Availability::Partial | Availability::Withdrawn => {}
    }
    let open = |kind| find(kind).is_some_and(|c| counts(c).is_ok());
    let all = [ComponentKind::ModelWeights, ComponentKind::TrainingData, ComponentKind::TrainingCode];
    Some(if all.into_iter().all(open) { Tier::OpenSource } else { Tier::OpenWeight })
}

/// Assesses a model, for its class by a version of the Model Openness Framework.
#[must_use]
pub fn assess(model: &Model, framework: &MofFramework) -> Openness {
    let components = model.components.iter().map(|c| assess_component(c, framework)).collect();
    let available = |c: &&Component| matches!(c.availability, Some(Availability::Available | Availability::Gated));
    let strict_parts = [ComponentKind::ModelWeights, ComponentKind::TrainingData, ComponentKind::TrainingCode];
    let osi = |c: &Component| c.expression.as_ref().is_some_and(|e| e.satisfied_by(&is_osi_approved));
    let strict = strict_parts.into_iter().all(|kind| model.component(kind).filter(available).is_some())
        && model.components.iter().filter(available).all(osi);
    let tier = tier(&model.components);
    Openness { tier, strict, mof: framework.classify(&model.components), reasons: reasons(model, tier), components }
}

fn assess_component(component: &Component, framework: &MofFramework) -> ComponentOpenness {
    let counted = counts(component);
    ComponentOpenness {
        kind: component.kind,
        open: counted.is_ok(),
        mof_open: framework.is_open(component),
        reason: counted.unwrap_or_else(|why| why),
    }
}

/// Whether a part counts as released under an open license by the rule of the tier, and why.
fn counts(component: &Component) -> Result<String, String> {
    let mixed_allowed = component.kind == ComponentKind::TrainingData;
    match component.availability {
        None => return Err("its availability is not known".into()),
        Some(Availability::Unavailable) => return Err("it was not released".into()),
        Some(Availability::Partial) => return Err("only part of it was released".into()),
        Some(Availability::Withdrawn) if component.kind != ComponentKind::ModelWeights => {
            return Err("it was withdrawn".into());
        }
        Some(Availability::Available | Availability::Gated | Availability::Withdrawn) => {}
    }
    if component.evidence == Evidence::Conflict {
        return Err("it is available, and sources contradict each other about its license".into());
    }
    let Some(expression) = &component.expression else {
        // A mix of public data sets may carry mixed or unnamed licenses.
        if mixed_allowed && component.declared_license.is_empty() {
            return Ok("it is available; its licenses are mixed or not named".into());
        }
        if mixed_allowed && component.declared_license.to_ascii_lowercase().starts_with("mixed") {
            return Ok(format!("it is available under `{}`", component.declared_license));
        }
        return Err("it is available, but under no license that is known".into());
    };
    judge(component.kind, expression)
}

fn judge(kind: ComponentKind, expression: &Expression) -> Result<String, String> {
    let (open, rule): (fn(&super::name::LicenseId) -> bool, &str) = match content_type(kind) {
        _ if matches!(kind, ComponentKind::ModelWeights | ComponentKind::IntermediateWeights) => {
            (is_open_weights, "OSI-approved or OpenMDW")
        }
        ContentType::Code => (is_open_software, "OSI-approved"),
        ContentType::Data | ContentType::Document => (is_open_data, "an open data or content license, or OSI-approved"),
    };
    if expression.satisfied_by(&open) {
        Ok(format!("it is available under `{expression}`, which is {rule}"))
    } else {
        Err(format!("it is available under `{expression}`, which is not {rule}"))
    }
}

fn reasons(model: &Model, tier: Option<Tier>) -> Vec<String> {
    let say = |kind: ComponentKind| {
        let what = match kind {
            ComponentKind::ModelWeights => "weights",
            ComponentKind::TrainingData => "training data",
            _ => "training code",
        };
        match model.component(kind).map(counts) {
            None => format!("{what}: nothing is known of them"),
            Some(Ok(why) | Err(why)) => format!("{what}: {why}"),
        }
    };
    let weights = say(ComponentKind::ModelWeights);
    match tier {
        None | Some(Tier::Proprietary) => vec![weights],
        Some(Tier::OpenWeight | Tier::OpenSource) => {
            vec![weights, say(ComponentKind::TrainingData), say(ComponentKind::TrainingCode)]
        }
    }
}
