//! The attribution text of a set of models: the wording that their licenses want kept or shown.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use super::license::{Binding, Duty, DutyKind, Expression, License, Listed};
use super::model::{BaseRef, Evidence, Model};
use super::name::{LicenseId, ModelName};
use super::openness::Tier;

/// The duties that are about what recipients and users get to read, in the order shown.
const KINDS: [DutyKind; 7] = [
    DutyKind::AttributionNotice,
    DutyKind::DisplayBranding,
    DutyKind::NamePrefix,
    DutyKind::IncludeLicenseCopy,
    DutyKind::StateChanges,
    DutyKind::PassThroughUseRestrictions,
    DutyKind::PublicationAttribution,
];

/// More ancestors than any model has; the rest is said to be left out.
const ANCESTORS_MAX: usize = 256;

/// The records that a notice is made from.
pub trait NoticeRecords {
    /// A model by name.
    fn model(&self, name: &ModelName) -> Option<&Model>;
    /// A license by id.
    fn license(&self, id: &LicenseId) -> Option<&License>;
}

/// What must be kept or shown for a set of models, by license.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// Models for which nothing can be said.
    pub unlicensed: Vec<Unlicensed>,
    /// One entry a license, by id.
    pub licenses: Vec<LicenseNotice>,
}

/// A model without a known license.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlicensed {
    /// The model.
    pub model: ModelNotice,
    /// Why nothing is known.
    pub why: String,
}

/// What one license wants kept or shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseNotice {
    /// Its id.
    pub id: LicenseId,
    /// Its title; empty when it is not known.
    pub title: String,
    /// Where the text can be read; empty when that is not known.
    pub url: String,
    /// What a reader has to know before relying on the list; empty when it is complete.
    pub caveat: &'static str,
    /// The models under it.
    pub models: Vec<ModelNotice>,
    /// What must be kept or shown.
    pub duties: Vec<DutyNotice>,
}

/// A model of a notice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelNotice {
    /// Resource name, or the name of a base without a record, as written.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// Its license expression; empty when there is none.
    pub expression: String,
    /// Name of the model that contains its weights; empty for a model that was asked for.
    pub inside: String,
    /// What weakens the statement of its license; empty when nothing does.
    pub caveat: &'static str,
}

/// One duty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DutyNotice {
    /// Its kind.
    pub kind: DutyKind,
    /// What must be done.
    pub text: String,
    /// When, in words.
    pub when: String,
    /// Wording that is demanded; any one is enough.
    pub exact_strings: Vec<String>,
    /// Clause.
    pub clause: String,
}

/// Makes the notice of some models, and of the models of other publishers whose weights they contain.
#[must_use]
pub fn notice(records: &dyn NoticeRecords, models: &[&Model]) -> Notice {
    let mut gathered = Gathered { records, unlicensed: Vec::new(), licenses: BTreeMap::new() };
    let mut asked: Vec<&Model> = Vec::new();
    for model in models {
        if !asked.iter().any(|earlier| earlier.name == model.name) {
            asked.push(model);
        }
    }
    for model in asked {
        gathered.model(model, "");
        gathered.ancestors(model);
    }
    gathered.finish()
}

struct Gathered<'a> {
    records: &'a dyn NoticeRecords,
    unlicensed: Vec<Unlicensed>,
    licenses: BTreeMap<LicenseId, (Option<LicenseId>, Vec<ModelNotice>)>,
}

impl<'a> Gathered<'a> {
    fn model(&mut self, model: &Model, inside: &str) {
        let weights = model.weights();
        let expression = weights.and_then(|w| w.expression.as_ref());
        let caveat = match weights.map(|w| w.evidence) {
            Some(Evidence::Conflict) => "sources contradict each other on this license",
            Some(Evidence::GeneralKnowledge) => "this license was not looked up",
            _ => "",
        };
        let title = if model.display_name.is_empty() { model.name.model() } else { &model.display_name };
        let notice = ModelNotice {
            name: model.name.to_string(),
            title: title.to_owned(),
            expression: expression.map_or_else(String::new, ToString::to_string),
            inside: inside.to_owned(),
            caveat,
        };
        let declared = weights.map_or("", |w| &w.declared_license);
        let why = match (model.tier, declared) {
            (Some(Tier::Proprietary), _) => "its weights are not released; the terms of the service hold".to_owned(),
            (_, "") => "no license of its weights is known".to_owned(),
            (_, declared) => format!("its weights are declared `{declared}`, which could not be mapped to a license"),
        };
        self.file(notice, expression, why);
    }

    /// The models of other publishers whose weights are inside, however far up: an owner may relicense its own work.
    fn ancestors(&mut self, model: &'a Model) {
        let mut seen: Vec<&ModelName> = vec![&model.name];
        let mut open: VecDeque<&Model> = VecDeque::from([model]);
        while let Some(child) = open.pop_front() {
            let stated = child.weights().is_some_and(|w| w.expression.is_some());
            for base in child.base_models.iter().filter(|base| base.relation.carries_weights()) {
                let record = match &base.model {
                    BaseRef::Record(name) if seen.contains(&name) || seen.len() >= ANCESTORS_MAX => continue,
                    BaseRef::Record(name) => {
                        seen.push(name);
                        self.records.model(name)
                    }
                    BaseRef::Written(_) => None,
                };
                let own = match &base.model {
                    BaseRef::Record(name) => name.publisher() == child.name.publisher(),
                    BaseRef::Written(_) => false,
                };
                match record {
                    Some(ancestor) => {
                        if !(own && stated) {
                            self.model(ancestor, child.name.as_str());
                        }
                        open.push_back(ancestor);
                    }
                    None if own && stated => {}
                    None => {
                        let written = base.model.as_str().to_owned();
                        let notice = ModelNotice {
                            title: written.clone(),
                            name: written,
                            expression: base.expression.as_ref().map_or_else(String::new, ToString::to_string),
                            inside: child.name.to_string(),
                            caveat: "",
                        };
                        self.file(notice, base.expression.as_ref(), "it is no record, and no license is stated".into());
                    }
                }
            }
        }
    }

    /// Puts a model under each license of its expression.
    fn file(&mut self, model: ModelNotice, expression: Option<&Expression>, why: String) {
        let Some(expression) = expression else {
            self.unlicensed.push(Unlicensed { model, why });
            return;
        };
        let terms = expression.leaves();
        if terms.iter().any(|(id, _)| id.is_unknown()) {
            self.unlicensed.push(Unlicensed { model: model.clone(), why });
        }
        for (id, base) in terms.into_iter().filter(|(id, _)| !id.is_unknown()) {
            let (_, models) = self.licenses.entry(id.clone()).or_insert_with(|| (base.cloned(), Vec::new()));
            models.push(model.clone());
        }
    }

    fn finish(self) -> Notice {
        let Self { records, mut unlicensed, licenses } = self;
        unlicensed.sort_by(|a, b| a.model.cmp(&b.model));
        unlicensed.dedup();
        let licenses = licenses.into_iter().map(|(id, (base, mut models))| {
            models.sort();
            models.dedup();
            // The terms of the named version are one of those that `-or-later` lets a user choose from.
            let known = records.license(&id).or_else(|| records.license(&base?));
            license_notice(id, known, models)
        });
        Notice { licenses: licenses.collect(), unlicensed }
    }
}

fn license_notice(id: LicenseId, known: Option<&License>, models: Vec<ModelNotice>) -> LicenseNotice {
    let Some(license) = known else {
        let listed = Listed::find(id.as_str());
        return LicenseNotice {
            title: listed.map_or_else(String::new, |listed| listed.full_name.to_owned()),
            url: listed.map_or_else(String::new, |listed| listed.url()),
            caveat: "its terms are not modelled: read the text for what must be kept or shown",
            models,
            duties: Vec::new(),
            id,
        };
    };
    let duties = KINDS.into_iter().flat_map(|kind| license.duties.iter().filter(move |duty| duty.kind == kind));
    LicenseNotice {
        title: license.display_name.to_string(),
        url: license.url.to_string(),
        caveat: if license.is_read() { "" } else { "its text was not read: the list below may lack something" },
        models,
        duties: duties.map(duty_notice).collect(),
        id,
    }
}

fn duty_notice(duty: &Duty) -> DutyNotice {
    let triggers: Vec<&str> = duty.when.iter().map(|trigger| trigger.in_words()).collect();
    let mut when = triggers.join(", ");
    if !duty.only_if.is_empty() {
        let conditions: Vec<&str> = duty.only_if.iter().map(|predicate| predicate.as_str()).collect();
        when.push_str(", only for ");
        when.push_str(&conditions.join(" and "));
    }
    if !duty.gate_group.is_empty() {
        when.push_str(", only beyond a threshold of the license");
    }
    when.push_str(match duty.binding {
        Binding::Required => "",
        Binding::Encouraged => " (asked for, not demanded)",
        Binding::OutsideText => " (asked for outside the text)",
    });
    DutyNotice {
        kind: duty.kind,
        text: duty.text.to_string(),
        when,
        exact_strings: duty.exact_strings.iter().map(ToString::to_string).collect(),
        clause: duty.clause.to_string(),
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notices for the AI models in use\n")?;
        if !self.unlicensed.is_empty() {
            f.write_str("\nModels without a known license. Nothing below covers them:\n")?;
            for Unlicensed { model, why } in &self.unlicensed {
                writeln!(f, "  - {model}: {why}")?;
            }
        }
        self.licenses.iter().try_for_each(|license| write!(f, "\n{license}"))
    }
}

impl fmt::Display for ModelNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, title, expression: _, inside, caveat: _ } = self;
        match name.strip_prefix("publishers/").and_then(|rest| rest.split_once('/')) {
            Some((publisher, _)) => write!(f, "{title}, by {publisher} ({name})")?,
            None => f.write_str(title)?,
        }
        if inside.is_empty() { Ok(()) } else { write!(f, ", whose weights are inside {inside}") }
    }
}

impl fmt::Display for LicenseNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, title, url, caveat, models, duties } = self;
        writeln!(f, "{}", "=".repeat(78))?;
        writeln!(f, "{}", if title.is_empty() { id.as_str() } else { title })?;
        writeln!(f, "{id}{}{url}", if url.is_empty() { "" } else { ", " })?;
        f.write_str("\nModels:\n")?;
        for model in models {
            writeln!(f, "  - {model}")?;
            // One license says nothing new; a choice or a sum of several does.
            if model.expression != id.as_str() {
                writeln!(f, "    license expression: {}", model.expression)?;
            }
            if !model.caveat.is_empty() {
                writeln!(f, "    note: {}", model.caveat)?;
            }
        }
        if !caveat.is_empty() {
            writeln!(f, "\nNote: {caveat}.")?;
        }
        if duties.is_empty() {
            return if caveat.is_empty() { f.write_str("\nNothing must be kept or shown.\n") } else { Ok(()) };
        }
        f.write_str("\nWhat must be kept or shown:\n")?;
        duties.iter().try_for_each(|duty| write!(f, "{duty}"))
    }
}

impl fmt::Display for DutyNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, text, when, exact_strings, clause } = self;
        write!(f, "  - {kind}, {when}")?;
        if !clause.is_empty() {
            write!(f, " (clause {clause})")?;
        }
        writeln!(f, ":\n    {text}")?;
        for (i, wording) in exact_strings.iter().enumerate() {
            if i > 0 {
                f.write_str("    or\n")?;
            }
            wording.lines().try_for_each(|line| writeln!(f, "        {line}"))?;
        }
        Ok(())
    }
}
