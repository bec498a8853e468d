//! What a verdict depends on in a model's record.

use std::fmt::{self, Write as _};

use super::evaluate::Records;
use super::rules::is_cosmos;
use crate::domain::license::{Expression, License, Measured, Term};
use crate::domain::model::{BaseRef, Component, Model};
use crate::domain::name::ModelName;

/// More ancestors than any model has; models beyond share nothing.
const ANCESTORS_MAX: usize = 64;

/// All that a verdict depends on in a model's record and in those of its ancestors, as text: two models with the same
/// basis get the same verdict for the same use, as long as
///
/// - it is not served by a vendor, where the publisher and who serves it count as well,
/// - the use asks nothing of the model itself (`requirements`; lists of licenses are no matter),
/// - no waiver is for one of them by name,
/// - and no gate of its license is measured at its release ([`is_measured_at_release`]).
///
/// A rule that looks at anything else in a record adds it here; a law of the evaluator holds the two together.
#[must_use]
pub fn basis(records: &dyn Records, model: &Model) -> String {
    let mut out = String::with_capacity(160);
    let mut met = vec![&model.name];
    // Writing to a string cannot fail.
    let _ = write_model(&mut out, model);
    let _ = write_bases(&mut out, records, model, &mut met);
    if met.len() > ANCESTORS_MAX {
        let _ = write!(out, "only {}", model.name);
    }
    out
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
        write!(out, "{:?}{:?}{}@{}|", period.from, period.until, period.expression.as_str(), period.commit)?;
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
        let same_owner = matches!(&base.model, BaseRef::Record(name) if name.publisher() == model.name.publisher());
        write!(out, "<{}{same_owner}", base.relation.carries_weights())?;
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
                    // Outputs of its publisher's service are under the service's terms, and a gate can be measured at its
                    // release.
                    write!(out, "{}{:?}", ancestor.name.publisher(), ancestor.release_date)?;
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
            license.is_some_and(|license| measures(records, license, 4))
        }
        Term::And(terms) | Term::Or(terms) => terms.iter().any(|term| any_measured(records, term)),
    }
}

/// A license, and those that it brings in.
fn measures(records: &dyn Records, license: &License, depth: u8) -> bool {
    license.scale_gates.iter().any(|gate| gate.measured == Measured::MonthBeforeRelease)
        || depth > 0
            && license
                .duties
                .iter()
                .flat_map(|duty| &duty.incorporates)
                .filter_map(|id| records.license(id))
                .any(|license| measures(records, license, depth - 1))
}
