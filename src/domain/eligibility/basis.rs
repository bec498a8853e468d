//! What a verdict depends on in a model's record.

use std::fmt::{self, Write as _};

use super::evaluate::Records;
use super::rules::is_cosmos;
use crate::domain::license::{Expression, License, Measured, Term};
use crate::domain::model::{BaseModel, BaseRef, Component, Model};
use crate::domain::name::ModelName;
use crate::domain::openness::Tier;
use crate::domain::shared::Shared;

/// More ancestors than any model has; models beyond share nothing.
const ANCESTORS_MAX: usize = 64;

/// All that a verdict depends on in a model's record and in those of its ancestors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    /// As text.
    pub text: String,
    /// Whether other models may have the same.
    pub is_shared: bool,
}

/// The basis of a model: two models with the same one get the same verdict for the same use, as long as
///
/// - it is not served by a vendor, where the publisher, who serves it and its date of release count as well,
/// - the use asks nothing of the model itself (`requirements`; lists of licenses are no matter),
/// - no waiver is for one of them by name,
/// - and no gate of its license is measured at its release ([`is_measured_at_release`]).
///
/// A rule that looks at anything else in a record adds it here; a law of the evaluator holds the two together.
#[must_use]
pub fn basis(records: &dyn Records, model: &Model) -> Basis {
    let mut text = String::with_capacity(160);
    let mut met = vec![&model.name];
    // Writing to a string cannot fail.
    let _ = write_model(&mut text, model);
    let _ = write_bases(&mut text, records, model, &mut met);
    let is_shared = met.len() <= ANCESTORS_MAX;
    if !is_shared {
        let _ = write!(text, "only {}", model.name);
    }
    Basis { text, is_shared }
}

/// What a basis is made of in the record itself, by where its lists are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outline {
    lists: [usize; 4],
    tier: Option<Tier>,
    is_cosmos: bool,
    /// Bit by bit, whether a base is of the same publisher.
    own_bases: u64,
}

/// The outline of a model: among records that are all there at once, those with the same one share their basis, where nothing
/// is made from them. It costs a fraction of the basis. `None`: it has too many bases for one.
#[must_use]
pub fn outline(model: &Model) -> Option<Outline> {
    fn at<T>(list: &Shared<T>) -> usize {
        if list.is_empty() { 0 } else { list.as_ptr().addr() }
    }
    let own = |base: &BaseModel| is_of_the_same_owner(model, base);
    let own_bases = model.base_models.iter().map(own).fold(0, |bits, own| bits << 1 | u64::from(own));
    let Model { components, base_models, input_modalities, output_modalities, .. } = model;
    let lists = [at(components), at(base_models), at(input_modalities), at(output_modalities)];
    let outline = Outline { lists, tier: model.tier, is_cosmos: is_cosmos(model), own_bases };
    (base_models.len() <= 64).then_some(outline)
}

fn is_of_the_same_owner(model: &Model, base: &BaseModel) -> bool {
    matches!(&base.model, BaseRef::Record(name) if name.publisher() == model.name.publisher())
}

fn write_model(out: &mut String, model: &Model) -> fmt::Result {
    let Model { tier, input_modalities, output_modalities, .. } = model;
    write!(out, "{tier:?}{input_modalities:?}{output_modalities:?}")?;
    if is_cosmos(model) {
        out.push_str("cosmos");
    }
    model.weights().map_or(Ok(()), |weights| write_weights(out, weights))
}

fn write_weights(out: &mut String, weights: &Component) -> fmt::Result {
    let Component { availability, expression, evidence, license_periods, .. } = weights;
    let expression = expression.as_ref().map_or("", Expression::as_str);
    write!(out, "|{availability:?}{evidence:?}{expression}|")?;
    for period in license_periods {
        // What people wrote is quoted, so that it cannot read as something else.
        write!(out, "{:?}{:?}{}@{:?}|", period.from, period.until, period.expression.as_str(), period.commit)?;
    }
    Ok(())
}

fn write_bases<'a>(
    out: &mut String,
    records: &'a dyn Records,
    model: &'a Model,
    met: &mut Vec<&'a ModelName>,
) -> fmt::Result {
    for base in &model.base_models {
        if met.len() > ANCESTORS_MAX {
            return Ok(());
        }
        write!(out, "<{}{}", base.relation.carries_weights(), is_of_the_same_owner(model, base))?;
        let ancestor = match &base.model {
            BaseRef::Record(name) => records.model(name),
            BaseRef::Written(_) => None,
        };
        match ancestor {
            None => write!(out, "{}", base.expression.as_ref().map_or("", Expression::as_str))?,
            Some(ancestor) => match met.iter().position(|name| **name == ancestor.name) {
                Some(at) => write!(out, "^{at}")?,
                None => {
                    met.push(&ancestor.name);
                    // Outputs of its publisher's service are under the service's terms, which can be measured at a
                    // release as well.
                    if ancestor.tier == Some(Tier::Proprietary) {
                        write!(out, "{}{:?}", ancestor.name.publisher(), ancestor.release_date)?;
                    } else if is_measured_at_release(records, ancestor) {
                        write!(out, "{:?}", ancestor.release_date)?;
                    }
                    write_model(out, ancestor)?;
                    write_bases(out, records, ancestor, met)?;
                }
            },
        }
        out.push('>');
    }
    Ok(())
}

/// Whether a gate of a license of the model's weights is measured at the model's release, so that its date counts.
#[must_use]
pub fn is_measured_at_release(records: &dyn Records, model: &Model) -> bool {
    let Some(weights) = model.weights() else { return false };
    let periods = weights.license_periods.iter().map(|period| &period.expression);
    weights.expression.iter().chain(periods).any(|expression| any_measured(records, expression.root()))
}

fn any_measured(records: &dyn Records, term: &Term) -> bool {
    match term {
        Term::License { id, base, .. } => {
            let license = records.license(id).or_else(|| records.license(base.as_ref()?));
            license.is_some_and(|license| measures_at_release(records, license))
        }
        Term::And(terms) | Term::Or(terms) => terms.iter().any(|term| any_measured(records, term)),
    }
}

/// Whether a gate of a license, or of one that it brings in, is measured at the release of a model.
#[must_use]
pub fn measures_at_release(records: &dyn Records, license: &License) -> bool {
    let mut met = vec![license];
    let mut next = 0;
    while let Some(license) = met.get(next).copied() {
        next += 1;
        if license.scale_gates.iter().any(|gate| gate.measured == Measured::MonthBeforeRelease) {
            return true;
        }
        for id in license.duties.iter().flat_map(|duty| &duty.incorporates) {
            met.extend(records.license(id).filter(|found| met.iter().all(|known| known.id != found.id)));
        }
    }
    false
}
