//! The advisor: where to run a model, on what, and at which cost.

mod costs;
mod hosting;
mod route;

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::resolve::{Resolved, resolve};
use super::{Registry, RegistryError, models, violation};
use crate::catalog::{Entry, Snapshot};
use crate::convert::advisor::{self, HostingRequest, Means, Told};
use crate::convert::recorded_architecture;
use crate::domain::hosting::{Architecture, Assumptions, Hardware, Precision, Shape, Workload};
use crate::domain::model::{BaseRef, Modality, Model, Relation};
use crate::domain::name::shown;
use crate::domain::openness::Tier;
use crate::pb::weighbridge::v1 as pb;

/// How many requests are worked on at once; others wait for their turn.
pub(super) const AT_ONCE: usize = 2;
/// How many steps of the lineage are followed for what a record does not say.
const STEPS_MAX: usize = 8;

impl Registry {
    /// Waits for a turn, which lasts until what is returned is dropped.
    ///
    /// # Errors
    /// The registry is closed.
    pub async fn advice_turn(&self) -> Result<OwnedSemaphorePermit, RegistryError> {
        self.advice.clone().acquire_owned().await.map_err(|_| RegistryError::Closed)
    }

    /// Lists the kinds of accelerators that the advisor knows, what it assumes, and the rules for data that it knows.
    #[must_use]
    pub fn accelerators(&self) -> pb::ListAcceleratorsResponse {
        let snapshot = self.snapshot();
        let hardware = &snapshot.reference().hardware;
        let values = Assumptions::of(&hardware.assumed);
        pb::ListAcceleratorsResponse {
            accelerators: hardware.accelerators.iter().map(advisor::accelerator).collect(),
            // INVARIANT: the catalog was read with all assumptions.
            assumptions: values
                .map_or_else(Vec::new, |values| advisor::assumptions(hardware, &values, &[], Vec::new())),
            compliance: hardware.compliance.iter().map(advisor::compliance_rule).collect(),
        }
    }
}

/// How large a model is, with what is not known of it, and what was taken for granted.
#[derive(Clone, Debug, Default)]
struct Sized {
    /// `None`: the number of parameters is not known, or nobody else has the weights.
    shape: Option<Shape>,
    parameters: Option<pb::Parameters>,
    architecture: Option<pb::Architecture>,
    told: Vec<Told>,
    unknown: Vec<String>,
    /// What was taken from a record that it was made from.
    taken: Vec<String>,
}

/// The record of a model by any id.
fn found(snapshot: &Snapshot, field: &str, id: &str) -> Result<Arc<Entry<Model>>, RegistryError> {
    match resolve(snapshot, id)? {
        Resolved::Model { entry, .. } => Ok(entry),
        Resolved::Unresolved(_) => {
            let description = format!("`{}` is an offering whose model is not known", shown(id));
            Err(RegistryError::Invalid(vec![violation(field, description)]))
        }
    }
}

/// Whether it is known that a model gives out no text.
fn gives_no_text(model: &Model) -> bool {
    !model.output_modalities.is_empty() && !model.output_modalities.contains(&Modality::Text)
}

/// How large a model is: what the request says, else its record, else the record of the weights that it was made from.
fn sized(snapshot: &Snapshot, entry: Option<&Arc<Entry<Model>>>, said: Said<'_>) -> Result<Sized, RegistryError> {
    let mut out = Sized::default();
    if let Some(entry) = entry {
        of_record(snapshot, entry, &mut out)?;
        if gives_no_text(&entry.record) {
            let text = "it gives out no text: what holds for language models is taken to hold for it";
            out.told.push(Told { text: text.into(), source: String::new() });
        }
    }
    if let Some((total, active)) = said.parameters {
        out.parameters = Some(pb::Parameters { total, active: active.unwrap_or_default() });
    } else if entry.is_some_and(|entry| entry.record.tier == Some(Tier::Proprietary)) {
        out.unknown
            .push("components[MODEL_WEIGHTS]: the weights are not released, so nobody else can host them".into());
        return Ok(Sized { unknown: out.unknown, ..Sized::default() });
    }
    let mut architecture = out.architecture.as_ref().and_then(recorded_architecture);
    if let Some((read, message)) = said.architecture {
        (architecture, out.architecture) = (Some(*read), Some(message.clone()));
    }
    if entry.is_some_and(|entry| entry.record.tier.is_none()) {
        out.unknown.push("components[MODEL_WEIGHTS]: whether the weights are to be had is not known".into());
    }
    out.finish(architecture);
    Ok(out)
}

/// What a request says of the size of a model, instead of its record.
#[derive(Clone, Copy, Default)]
struct Said<'a> {
    parameters: Option<(i64, Option<i64>)>,
    architecture: Option<&'a (Architecture, pb::Architecture)>,
}

impl<'a> Said<'a> {
    fn by(request: &'a HostingRequest) -> Self {
        Self { parameters: request.parameters, architecture: request.architecture.as_ref() }
    }
}

/// Tokens of one request where nothing is said.
const CONTEXT_TOKENS_USUAL: u32 = 8_192;

impl Means {
    /// What is asked of a model, with a number of requests at the same time, in a precision where none was said.
    fn workload(&self, concurrent_requests: u32, precision: Precision) -> Workload {
        Workload {
            context_tokens: self.context_tokens.unwrap_or(CONTEXT_TOKENS_USUAL),
            concurrent_requests,
            precision: self.precision.unwrap_or(precision),
            key_value_precision: self.key_value_precision,
        }
    }
}

/// That a model takes less context than is asked for.
fn too_long(record: &Model, context_tokens: u32) -> Option<String> {
    let most = record.context_tokens.filter(|most| *most < i64::from(context_tokens))?;
    Some(format!("its longest context is {most} tokens, fewer than the {context_tokens} that are reckoned with"))
}

/// What the record of a model says, and for what it does not say that of the weights it was made from.
fn of_record(snapshot: &Snapshot, entry: &Arc<Entry<Model>>, out: &mut Sized) -> Result<(), RegistryError> {
    let mut entry = entry.clone();
    for step in 0..STEPS_MAX {
        let message = models::message(&entry)?;
        let stated = message.parameters.filter(|parameters| parameters.total > 0);
        let own = out.parameters;
        // A base of another size is no twin, nor is one of unknown size.
        let is_twin = match (own, stated) {
            (Some(own), Some(stated)) => own.total.abs_diff(stated.total) <= stated.total.unsigned_abs() / 10,
            (Some(_), None) => step == 0,
            (None, _) => true,
        };
        let mut taken = own.is_none() && stated.is_some();
        out.parameters = own.or(stated);
        if is_twin && message.architecture.as_ref().is_some_and(|stated| recorded_architecture(stated).is_some()) {
            out.architecture = message.architecture;
            taken = true;
        }
        if taken && step > 0 {
            let text = format!(
                "what the record does not say of its size is taken from `{}`, whose weights it has",
                entry.record.name
            );
            out.told.push(Told { text: text.clone(), source: String::new() });
            out.taken.push(text);
        }
        if out.parameters.is_some() && out.architecture.is_some() {
            return Ok(());
        }
        let same_shape = |relation| matches!(relation, Relation::FineTune | Relation::Quantized);
        let base = entry.record.base_models.iter().find_map(|base| match &base.model {
            BaseRef::Record(name) if same_shape(base.relation) => snapshot.model_entry(name),
            BaseRef::Record(_) | BaseRef::Written(_) => None,
        });
        let Some(base) = base else { return Ok(()) };
        entry = base.clone();
    }
    Ok(())
}

impl Sized {
    fn finish(&mut self, architecture: Option<Architecture>) {
        let Some(pb::Parameters { total, active }) = self.parameters.filter(|parameters| parameters.total > 0) else {
            self.parameters = None;
            self.unknown.push("parameters.total".into());
            return;
        };
        #[expect(clippy::cast_precision_loss, reason = "memory is estimated, not counted")]
        let (parameters, stated) = (total as f64, (active > 0).then_some(active as f64));
        if stated.is_none() {
            let text = "how many parameters a token is computed with is not known: all are taken, which is slowest";
            // Where there are no experts that is what it is.
            if architecture.is_none_or(|architecture| architecture.experts.is_some()) {
                self.told.push(Told { text: text.into(), source: String::new() });
                self.unknown.push("parameters.active".into());
            }
        }
        match &architecture {
            None => {
                self.architecture = None;
                self.unknown.push("architecture".into());
                let text = "layers and attention are not known: the key-value cache rests on `fallback_key_values`, and \
                            activations on `activation_fraction`";
                self.told.push(Told { text: text.into(), source: String::new() });
            }
            Some(architecture) => {
                let source = self.architecture.as_ref().map_or_else(String::new, |message| message.url.clone());
                self.told.push(Told { text: "layers and attention as stated in the source".into(), source });
                // Whether heads are shared out evenly, and what attention takes, is not known without them.
                if architecture.attention_heads.is_none() && architecture.full_layers() > 0 {
                    self.unknown.push("architecture.attention_heads".into());
                }
                if architecture.hidden_size.is_none() {
                    self.unknown.push("architecture.hidden_size".into());
                }
                if architecture.recurrent.is_some_and(|recurrent| recurrent.state_values.is_none()) {
                    self.unknown.push("architecture.recurrent_state_values".into());
                    let text = "the state of layers that keep no tokens is not known, and not counted";
                    self.told.push(Told { text: text.into(), source: String::new() });
                }
            }
        }
        self.shape = Some(Shape { parameters, active: stated.unwrap_or(parameters), architecture });
    }
}

impl Sized {
    /// What an estimate of memory rests on that is not known; `None`: nothing.
    fn memory_rests_on(&self) -> Option<String> {
        self.rests_on(&["components", "parameters.total", "architecture"])
    }

    /// What an estimate of speed rests on that is not known; `None`: nothing.
    fn speed_rests_on(&self) -> Option<String> {
        self.rests_on(&["components", "parameters", "architecture"])
    }

    fn rests_on(&self, fields: &[&str]) -> Option<String> {
        let paths = self.unknown.iter().map(|what| what.split(':').next().unwrap_or(what));
        let unknown: Vec<&str> = paths.filter(|path| fields.iter().any(|field| path.starts_with(field))).collect();
        (!unknown.is_empty()).then(|| format!("it rests on assumptions: {} not known", unknown.join(", ")))
    }
}

/// What is taken for granted of every estimate, in words.
fn told_of_all(hardware: &Hardware) -> Vec<Told> {
    let dates = hardware.accelerators.iter().filter_map(|kind| kind.prices.as_ref()).map(|prices| &*prices.date);
    let (first, last) = (dates.clone().min().unwrap_or_default(), dates.max().unwrap_or_default());
    let text = |text: String| Told { text, source: String::new() };
    vec![
        text(format!(
            "prices of accelerators are on demand, read between {first} and {last}: a reservation or one's own machines cost less \
             an hour"
        )),
        text(
            "accelerators share a model by splitting every layer (tensor parallel); a token costs two operations for each active \
             parameter, and those of attention"
                .into(),
        ),
        text("every request fills its context".into()),
    ]
}
