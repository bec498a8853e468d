//! `weighbridge notice`.

use std::collections::HashMap;

use clap::Args;
use serde_json::{Value, json};
use tonic::Code;

use super::Failure;
use super::client::{ServerArguments, failed};
use super::output::Output;
use super::records::{Served, built_in};
use crate::convert::{self, status::status};
use crate::domain::license::{Expression, License};
use crate::domain::model::{BaseRef, Model};
use crate::domain::name::{LicenseId, ModelName};
use crate::domain::notice::{self, DutyNotice, LicenseNotice, ModelNotice, Notice, NoticeRecords, Unlicensed};
use crate::pb::weighbridge::v1 as pb;

/// Which models.
#[derive(Debug, Args)]
pub(super) struct NoticeArguments {
    /// Models: resource names, or any id they are known by.
    #[arg(required = true)]
    models: Vec<String>,
    /// Answer from the built-in catalog in this process, without a server.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) async fn run(arguments: NoticeArguments, out: &Output) -> Result<u8, Failure> {
    let NoticeArguments { models, offline, server } = arguments;
    let notice = if offline {
        built_in().await?.notice(&models).map_err(|error| failed(&status(&error)))?
    } else {
        served(&Served::connect(&server).await?, &models).await?
    };
    if out.is_json() {
        return out.value(&notice_json(&notice)).map(|()| 0);
    }
    out.line(notice.to_string().trim_end()).map(|()| 0)
}

/// The records that a notice needs, as a server gave them.
#[derive(Default)]
struct Fetched {
    models: HashMap<String, Model>,
    licenses: HashMap<String, License>,
}

impl NoticeRecords for Fetched {
    fn model(&self, name: &ModelName) -> Option<&Model> {
        self.models.get(name.as_str())
    }

    fn license(&self, id: &LicenseId) -> Option<&License> {
        self.licenses.get(id.as_str())
    }
}

async fn served(served: &Served, ids: &[String]) -> Result<Notice, Failure> {
    let mut fetched = Fetched::default();
    let mut asked = Vec::new();
    for id in ids {
        let found = served.resolve(id.clone()).await.map_err(|s| failed(&s))?;
        let Some(message) = found.model else {
            return Err(Failure::usage(format!("`{id}` is an offering whose model is not known")));
        };
        let model = read_model(message)?;
        asked.push(model.name.clone());
        fetched.models.insert(model.name.to_string(), model);
    }
    fetched.ancestors(served, &asked).await?;
    fetched.licenses(served).await?;
    let models: Vec<&Model> = asked.iter().filter_map(|name| fetched.model(name)).collect();
    Ok(notice::notice(&fetched, &models))
}

impl Fetched {
    /// Every record up the lineages; which of them count is not decided here.
    async fn ancestors(&mut self, served: &Served, asked: &[ModelName]) -> Result<(), Failure> {
        let mut open: Vec<ModelName> = asked.to_vec();
        while let Some(name) = open.pop() {
            let Some(model) = self.models.get(name.as_str()) else { continue };
            let bases = model.base_models.iter().filter_map(|base| match &base.model {
                BaseRef::Record(name) => Some(name.clone()),
                BaseRef::Written(_) => None,
            });
            let missing: Vec<ModelName> = bases.filter(|name| !self.models.contains_key(name.as_str())).collect();
            for name in missing {
                match served.model(name.to_string()).await {
                    Ok(message) => {
                        self.models.insert(name.to_string(), read_model(message)?);
                        open.push(name);
                    }
                    Err(status) if status.code() == Code::NotFound => {}
                    Err(status) => return Err(failed(&status)),
                }
            }
        }
        Ok(())
    }

    /// Every license that one of the models or of their bases names.
    async fn licenses(&mut self, served: &Served) -> Result<(), Failure> {
        let mut ids: Vec<LicenseId> = Vec::new();
        for model in self.models.values() {
            let weights = model.weights().and_then(|w| w.expression.as_ref());
            let bases = model.base_models.iter().filter_map(|base| base.expression.as_ref());
            ids.extend(weights.into_iter().chain(bases).flat_map(Expression::named));
        }
        ids.sort();
        ids.dedup();
        for id in ids.into_iter().filter(|id| !id.is_unknown()) {
            match served.license(id.resource_name()).await {
                // Listed by SPDX without terms: as good as no record, and the list is at hand here, too.
                Ok(message) if message.permissions.is_none() => {}
                Ok(message) => {
                    let license = convert::license(message, "").map_err(|v| unreadable(id.as_str(), &v))?;
                    self.licenses.insert(id.to_string(), license);
                }
                Err(status) if status.code() == Code::NotFound => {}
                Err(status) => return Err(failed(&status)),
            }
        }
        Ok(())
    }
}

fn read_model(message: pb::Model) -> Result<Model, Failure> {
    let name = message.name.clone();
    convert::model(message, "").map_err(|violations| unreadable(&name, &violations))
}

fn unreadable(name: &str, violations: &[convert::Violation]) -> Failure {
    let lines: Vec<String> = violations.iter().map(|v| format!("{name}: {}: {}", v.field, v.description)).collect();
    Failure::new(lines.join("\n"))
}

fn notice_json(notice: &Notice) -> Value {
    let unlicensed = notice.unlicensed.iter().map(|Unlicensed { model, why }| {
        let mut value = model_json(model);
        value.as_object_mut().map(|object| object.insert("why".into(), why.clone().into()));
        value
    });
    let licenses = notice.licenses.iter().map(|license| {
        let LicenseNotice { id, title, url, caveat, models, duties } = license;
        json!({
            "license": id.resource_name(),
            "title": title,
            "url": url,
            "caveat": caveat,
            "models": models.iter().map(model_json).collect::<Vec<_>>(),
            "duties": duties.iter().map(duty_json).collect::<Vec<_>>(),
        })
    });
    json!({ "unlicensed": unlicensed.collect::<Vec<_>>(), "licenses": licenses.collect::<Vec<_>>() })
}

fn model_json(model: &ModelNotice) -> Value {
    let ModelNotice { name, title, expression, inside, caveat } = model;
    json!({ "name": name, "title": title, "license_expression": expression, "inside": inside, "caveat": caveat })
}

fn duty_json(duty: &DutyNotice) -> Value {
    let DutyNotice { kind, text, when, exact_strings, clause } = duty;
    json!({ "kind": kind.as_str(), "text": text, "when": when, "exact_strings": exact_strings, "clause": clause })
}
