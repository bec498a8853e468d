//! The catalog against the facts it was converted from, record by record.

use std::collections::BTreeMap;

use serde_json::Value;
use weighbridge::domain::eligibility::Records;
use weighbridge::domain::license::{Expression, License};
use weighbridge::domain::name::LicenseId;
use weighbridge::pb::weighbridge::v1 as pb;
use weighbridge::registry::Registry;

use super::{registry, root, tree};

/// Records of the sources that are no licenses of ours, and why.
const LEFT_OUT: &[(&str, &str)] =
    &[("LicenseRef-unknown", "has no terms: what nobody knows is LicenseRef-Unknown, which is no record")];

/// Barred uses that the texts have and the source leaves out: read in the text that the record names. The same item that
/// bars harassment bars defamation.
const ADDED_USES: &[(&str, &[&str])] = &[
    ("LicenseRef-BigScience-BLOOM-RAIL-1.0", &["defamation"]),
    ("LicenseRef-BigScience-OpenRAIL-M", &["defamation"]),
    ("LicenseRef-BigCode-OpenRAIL-M-v1", &["defamation"]),
    ("LicenseRef-CreativeML-OpenRAIL-M", &["defamation"]),
    ("LicenseRef-CreativeML-OpenRAIL-PP-M", &["defamation"]),
    ("LicenseRef-Fair-AI-Public-1.0-SD", &["defamation"]),
    ("LicenseRef-ChatGLM-Model", PUBLIC_AND_PEOPLE),
    ("LicenseRef-CogVLM", PUBLIC_AND_PEOPLE),
    ("LicenseRef-CogVideoX", PUBLIC_AND_PEOPLE),
    ("LicenseRef-GLM-130B", PUBLIC_AND_PEOPLE),
    ("LicenseRef-Apple-AMLR", &["illegal-activity"]),
    ("LicenseRef-Chameleon-Research", &["illegal-activity", "safety-circumvention", "biological-chemical-weapons"]),
    ("LicenseRef-EXAONE-1.1-NC", &["personal-rights-infringement", "impersonation", "safety-circumvention"]),
    ("LicenseRef-EXAONE-1.2-NC", &["personal-rights-infringement", "impersonation", "safety-circumvention"]),
    ("LicenseRef-FLUX-1-dev-NC-1.1.1", FLUX),
    ("LicenseRef-FLUX-dev-NC-2.0", FLUX),
    ("LicenseRef-Gemma-Terms-2024-04-01", &["personal-rights-infringement"]),
    ("LicenseRef-Gemma-Terms-2025-03-24", &["personal-rights-infringement"]),
    ("LicenseRef-Google-Gemini-API-Terms", &["safety-circumvention"]),
    ("LicenseRef-LLaMA-1-Research", &["personal-rights-infringement", "defamation", "impersonation", "pii-processing"]),
    (
        "LicenseRef-SDXL-0.9-Research",
        &[
            "illegal-activity",
            "safety-circumvention",
            "defamation",
            "impersonation",
            "pii-processing",
            "biological-chemical-weapons",
            "weapons",
        ],
    ),
    ("LicenseRef-DeepFloyd-IF", &["illegal-activity", "biological-chemical-weapons"]),
    ("LicenseRef-OPT-175B", &["illegal-activity"]),
    (
        "LicenseRef-FLUX-1-dev-NC-1.0",
        &[
            "illegal-activity",
            "personal-rights-infringement",
            "biological-chemical-weapons",
            "defamation",
            "impersonation",
            "pii-processing",
            "safety-circumvention",
            "nuclear",
            "weapons",
        ],
    ),
    (
        "LicenseRef-AI2-Tulu-V1",
        &[
            "illegal-activity",
            "biological-chemical-weapons",
            "csam",
            "disinformation",
            "pii-processing",
            "deceptive-generation",
            "harassment",
            "defamation",
            "impersonation",
            "automated-decision-legal-rights",
            "social-scoring",
            "exploitation-of-vulnerable",
            "discrimination",
            "medical-advice",
            "law-enforcement",
            "administration-of-justice",
            "immigration-asylum",
        ],
    ),
];

/// One clause bars what harms the public interest or infringes the rights of people.
const PUBLIC_AND_PEOPLE: &[&str] = &[
    "public-order-harm",
    "defamation",
    "discrimination",
    "harassment",
    "impersonation",
    "pii-processing",
    "surveillance",
    "exploitation-of-vulnerable",
    "self-harm",
];

const FLUX: &[&str] = &[
    "defamation",
    "personal-rights-infringement",
    "impersonation",
    "pii-processing",
    "deceptive-generation",
    "safety-circumvention",
    "biological-chemical-weapons",
    "nuclear",
    "weapons",
];

/// What the texts have and the source has otherwise or leaves out, as the comparison calls it: read in the text that the
/// record names, or open where the source says that a part was not read.
const READ_OTHERWISE: &[(&str, &[&str])] = &[
    ("LicenseRef-Chameleon-Research", &["confidence", "train_other_models_on_outputs", "purposes", "number of duties"]),
    ("LicenseRef-EXAONE-1.1-NC", &["redistribute"]),
    ("LicenseRef-EXAONE-1.2-NC", &["redistribute"]),
    ("LicenseRef-FLUX-1-dev-NC-1.0", &["purposes"]),
    ("LicenseRef-FLUX-1-dev-NC-1.1.1", &["purposes"]),
    ("LicenseRef-FLUX-dev-NC-2.0", &["purposes"]),
    ("LicenseRef-Gemma-Terms-2024-04-01", &["when: state_changes"]),
    ("LicenseRef-Gemma-Terms-2025-03-24", &["when: state_changes"]),
    ("LicenseRef-Google-Gemini-API-Terms", &["purpose limits", "barred uses"]),
    ("LicenseRef-Grok-2-Community", &["commercial_use", "redistribute"]),
    ("LicenseRef-Kimi-K2-Modified-MIT", &["when: display_branding"]),
    ("LicenseRef-Kimi-K2.5-Modified-MIT", &["when: display_branding"]),
    ("LicenseRef-Kimi-K3", &["when: display_branding"]),
    ("LicenseRef-LFM-Open-1.0", &["number of gates"]),
    ("LicenseRef-LTX-2-Community", &["number of gates"]),
    ("LicenseRef-NVIDIA-Open-Model-2025-04", &["when: display_branding"]),
    ("LicenseRef-NVIDIA-Open-Model-2025-10", &["when: display_branding"]),
    ("LicenseRef-Stability-AI-Community-2024", &["number of duties"]),
    ("LicenseRef-Stable-Video-Diffusion-NC", &["host_as_service"]),
    ("LicenseRef-xAI-Community", &["commercial_use", "redistribute"]),
];

/// Parts of a country have ISO codes in our records.
const PLACES: &[(&str, &str)] = &[("UA-Crimea", "UA-43"), ("UA-Donetsk", "UA-14"), ("UA-Luhansk", "UA-09")];

fn source(file: &str, list: &str) -> Vec<Value> {
    tree(&root("../shared/data/licenses").join(file))[list].as_array().unwrap().clone()
}

fn licenses() -> Vec<Value> {
    [source("bespoke.yaml", "licenses"), source("standard.yaml", "licenses")].concat()
}

fn models() -> Vec<Value> {
    [source("model-licenses-bespoke.yaml", "models"), source("model-licenses-standard.yaml", "models")].concat()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn strings(value: &Value, key: &str) -> Vec<String> {
    list(value, key).iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// The name of an enum's value: the source's words are ours, but for case, prefix and the pairs given.
fn enum_name(prefix: &str, word: &str, renamed: &[(&str, &str)]) -> String {
    let word = renamed.iter().find(|(from, _)| *from == word).map_or(word, |(_, to)| to);
    format!("{prefix}_{}", word.to_uppercase().replace('-', "_"))
}

/// Collects what is not as in the source.
#[derive(Default)]
struct Diff {
    at: String,
    found: Vec<String>,
    /// What may differ here; what does is taken out.
    otherwise: Vec<&'static str>,
}

impl Diff {
    #[expect(clippy::needless_pass_by_value, reason = "lists are put together where they are compared")]
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, ours: T, theirs: T) {
        if ours == theirs {
            return;
        }
        let before = self.otherwise.len();
        self.otherwise.retain(|known| *known != what);
        if self.otherwise.len() == before {
            self.found.push(format!("{}: {what}: {ours:?} here, {theirs:?} in the source", self.at));
        }
    }
}

#[tokio::test]
async fn every_license_is_as_in_its_source() {
    let registry = registry().await;
    let snapshot = registry.snapshot();
    let all = licenses();
    assert_eq!(all.len(), 173);
    let mut diff = Diff::default();
    let mut seen = 0;
    for source in &all {
        let id = text(source, "id");
        if LEFT_OUT.iter().any(|(left_out, _)| *left_out == id) {
            assert!(registry.license(&format!("licenses/{id}")).is_err());
            continue;
        }
        let ours = registry.license(&format!("licenses/{id}")).unwrap();
        assert!(!ours.etag.is_empty(), "{id} is known by name only");
        seen += 1;
        id.clone_into(&mut diff.at);
        let otherwise = READ_OTHERWISE.iter().find(|(at, _)| *at == id).map_or(&[][..], |(_, what)| *what);
        diff.otherwise.extend_from_slice(otherwise);
        flags(&mut diff, &ours, source);
        permissions(&mut diff, &ours, source);
        gates(&mut diff, &ours, source);
        duties(&mut diff, &ours, source);
        territory(&mut diff, &ours, source);
        restrictions(&mut diff, Records::license(&*snapshot, &LicenseId::new(id).unwrap()).unwrap(), source);
        outputs(&mut diff, &ours, source);
        let alike =
            diff.otherwise.drain(..).map(|what| format!("{id}: {what}: as in the source, whatever the list says"));
        diff.found.extend(alike);
    }
    assert_eq!(seen, all.len() - LEFT_OUT.len());
    assert!(diff.found.is_empty(), "{}", diff.found.join("\n"));
}

fn flags(diff: &mut Diff, ours: &pb::License, source: &Value) {
    let confidence = enum_name("CONFIDENCE", text(source, "confidence"), &[]);
    diff.same("confidence", ours.confidence().as_str_name(), &confidence);
    let service = if ours.providers.is_empty() { "proprietary" } else { "service_terms" };
    let category = enum_name("CATEGORY", text(source, "category"), &[("proprietary-terms", service)]);
    diff.same("category", ours.category().as_str_name(), &category);
    diff.same("spdx_listed", ours.spdx_listed, source["spdx_listed"] == true);
    // A policy beside an approved license is not the approved text, whatever the source says of the pair.
    let companion = !ours.companion_of.is_empty();
    diff.same("osi_approved", ours.osi_approved, source["osi_approved"] == true && !companion);
    diff.same("providers", ours.providers.clone(), strings(source, "providers"));
    let spelled = |title: &str| title.replace("icence", "icense");
    diff.same("title", spelled(&ours.display_name), spelled(text(source, "name")));
}

fn permissions(diff: &mut Diff, ours: &pb::License, source: &Value) {
    let all = ours.permissions.as_ref().unwrap();
    let acts = [
        ("use", &all.r#use),
        ("commercial_use", &all.commercial_use),
        ("modify", &all.modify),
        ("fine_tune", &all.fine_tune),
        ("redistribute", &all.redistribute),
        ("redistribute_derivative", &all.redistribute_derivative),
        ("host_as_service", &all.offer_as_service),
        ("use_outputs", &all.use_outputs),
        ("train_other_models_on_outputs", &all.train_other_models),
    ];
    for (act, permission) in acts {
        let theirs = &source["permissions"][act];
        diff.same(
            &format!("{act} is given"),
            permission.is_some() || text(theirs, "status") == "unspecified",
            !theirs.is_null(),
        );
        let ours = permission.as_ref().map_or(pb::permission::Status::Unspecified, pb::Permission::status);
        let theirs = theirs["status"].as_str().unwrap_or("unspecified");
        diff.same(act, ours.as_str_name(), &enum_name("STATUS", theirs, &[]));
    }
    let purposes: BTreeMap<String, String> = ours
        .purposes
        .iter()
        .map(|grant| (grant.purpose().as_str_name().to_owned(), grant.status().as_str_name().to_owned()))
        .collect();
    let given = source["purposes"].as_object().into_iter().flatten();
    let theirs = given.map(|(purpose, status)| {
        (enum_name("SUBJECT", purpose, &[]), enum_name("STATUS", status.as_str().unwrap(), &[]))
    });
    diff.same("purposes", purposes, theirs.collect());
    let limits: Vec<String> = ours.purpose_limits.iter().map(|l| l.purpose().as_str_name().to_owned()).collect();
    let theirs = list(source, "purpose_limits").iter().map(|l| enum_name("EXCLUDED", text(l, "purpose"), &[]));
    diff.same("purpose limits", limits, theirs.collect());
}

fn gates(diff: &mut Diff, ours: &pb::License, source: &Value) {
    let theirs = list(source, "limits");
    diff.same("number of gates", ours.scale_gates.len(), theirs.len());
    for (gate, limit) in ours.scale_gates.iter().zip(theirs) {
        diff.same("metric", gate.metric.as_str(), text(limit, "metric"));
        diff.same("threshold", gate.threshold, limit["threshold"].as_i64());
        let comparison = enum_name("COMPARISON", text(limit, "comparison"), &[]);
        diff.same("comparison", gate.comparison().as_str_name(), &comparison);
        let at = enum_name("AT_THRESHOLD", limit["at_threshold"].as_str().unwrap_or("unspecified"), &[]);
        diff.same("at_threshold", gate.at_threshold().as_str_name(), &at);
        let whose = [("licensee_and_affiliates", "group"), ("unclear", "unspecified")];
        let subject = enum_name("SUBJECT", text(limit, "subject"), &whose);
        diff.same("subject", gate.subject().as_str_name(), &subject);
        let renamed = [
            ("needs_separate_licence", "separate_license"),
            ("must_display_branding", "display_branding"),
            ("needs_publisher_security_review", "publisher_review"),
            ("royalty_10_percent", "royalty"),
        ];
        let effect = enum_name("EFFECT", text(limit, "effect"), &renamed);
        diff.same("effect", gate.effect().as_str_name(), &effect);
        predicates(diff, "only_if", &gate.only_if, limit);
        predicates(diff, "unless", &gate.unless, limit);
        predicates(diff, "unsettled_if", &gate.unsettled_if, limit);
        diff.same("business_types", gate.business_types.clone(), strings(limit, "business_types"));
        diff.same("group", gate.group.as_str(), text(limit, "any_of_group"));
        diff.same("unverified", gate.unverified, limit["verified"] == false);
        measured(diff, gate, &limit["measured"]);
    }
}

fn measured(diff: &mut Diff, gate: &pb::ScaleGate, source: &Value) {
    let ours = gate.measured.as_ref().unwrap();
    let kind = enum_name("KIND", text(source, "kind"), &[("fixed_date", "fixed_period")]);
    diff.same("measured", ours.kind().as_str_name(), &kind);
    let day = text(source, "date");
    diff.same("date", ours.date.as_str(), day);
    // The period is the source's where it gives one, else the calendar month before its date.
    let month_before = || {
        let (year, month): (i32, i32) = (day[..4].parse().unwrap(), day[5..7].parse().unwrap());
        if month == 1 { format!("{}-12", year - 1) } else { format!("{year}-{:02}", month - 1) }
    };
    let period = match (text(source, "reference_period"), day) {
        ("", "") => String::new(),
        ("", _) => month_before(),
        (period, _) => period.to_owned(),
    };
    diff.same("period", ours.period.as_str(), &period);
    diff.same("by release", ours.month_before_release, !source["date_from"].is_null());
}

fn predicates(diff: &mut Diff, field: &str, ours: &[i32], source: &Value) {
    let ours = ours.iter().map(|n| pb::Predicate::try_from(*n).unwrap().as_str_name().to_owned());
    let theirs = strings(source, field);
    let theirs: Vec<String> = theirs.iter().map(|word| enum_name("PREDICATE", word, &[])).collect();
    diff.same(field, ours.collect::<Vec<_>>(), theirs);
}

fn duties(diff: &mut Diff, ours: &pb::License, source: &Value) {
    let theirs = list(source, "conditions");
    diff.same("number of duties", ours.duties.len(), theirs.len());
    for (duty, condition) in ours.duties.iter().zip(theirs) {
        diff.same("duty", duty.kind.as_str(), text(condition, "kind"));
        let wording = condition["exact_string"].as_str().map(str::to_owned);
        let mut wordings: Vec<String> = wording.into_iter().collect();
        // The source repeats the first wording among its alternatives.
        let others = strings(condition, "exact_string_alternatives").into_iter();
        wordings.extend(others.filter(|other| condition["exact_string"] != **other));
        diff.same(&duty.kind, duty.exact_strings.clone(), wordings);
        let when = |words: Vec<String>| -> Vec<String> {
            let renamed = [("outputs_used_to_train_distributed_model", "trained_model")];
            words.iter().map(|word| enum_name("TRIGGER", word, &renamed)).collect()
        };
        let mut triggers = vec![text(condition, "applies_when").to_owned()];
        triggers.extend(strings(condition, "also_applies_when"));
        diff.same(
            &format!("when: {}", duty.kind),
            duty.when().map(|t| t.as_str_name().to_owned()).collect(),
            when(triggers),
        );
        let not_when = strings(condition, "not_applicable_when");
        diff.same("not_when", duty.not_when().map(|t| t.as_str_name().to_owned()).collect(), when(not_when));
        predicates(diff, "only_if", &duty.only_if, condition);
        let approval = enum_name("APPROVAL", condition["approval"].as_str().unwrap_or("unspecified"), &[]);
        diff.same("approval", duty.approval().as_str_name(), &approval);
    }
}

fn territory(diff: &mut Diff, ours: &pb::License, source: &Value) {
    let theirs = &source["territory"];
    let Some(ours) = &ours.territory else {
        diff.same("territory", None, Some(theirs).filter(|t| !t.is_null()));
        return;
    };
    let named =
        |place: String| PLACES.iter().find(|(from, _)| *from == place).map_or(place, |(_, to)| (*to).to_owned());
    let excluded = strings(theirs, "excluded").into_iter().map(named).collect();
    diff.same("excluded", ours.excluded.clone(), excluded);
    let renamed = [
        ("licensee_domicile_or_principal_place_of_business", "domicile"),
        ("place_of_use_and_distribution_including_outputs", "place_of_use"),
        ("location_or_incorporation_of_customer_and_personnel", "customer_and_personnel"),
        ("publisher_supported_list", "publisher_list"),
        ("unknown", "unspecified"),
    ];
    diff.same("territory test", ours.test().as_str_name(), &enum_name("TEST", text(theirs, "test"), &renamed));
    let multimodal = text(theirs, "applies_to") == "multimodal models of the release only";
    diff.same("multimodal only", ours.applies_to() == pb::territory::AppliesTo::MultimodalModels, multimodal);
    predicates(diff, "unless", &ours.unless, theirs);
}

/// As a check sees them, shared lists merged in: the source writes those out for every license.
fn restrictions(diff: &mut Diff, license: &License, source: &Value) {
    let strength = |absolute| if absolute { "absolute" } else { "conditional" };
    let added = ADDED_USES.iter().find(|(id, _)| *id == license.id.as_str()).map_or(&[][..], |(_, added)| *added);
    for category in added {
        assert!(license.restricts(category), "{}: {category}", license.id);
    }
    let read = license.use_restrictions.iter().filter(|r| !added.contains(&&*r.category));
    let mut barred: Vec<String> = read.map(|r| format!("{} {}", r.category, strength(r.absolute))).collect();
    let theirs = list(&source["field_of_use"], "restrictions").iter();
    let mut theirs: Vec<String> = theirs.map(|r| format!("{} {}", text(r, "category"), text(r, "strength"))).collect();
    barred.sort();
    theirs.sort();
    diff.same("barred uses", barred, theirs);
}

fn outputs(diff: &mut Diff, ours: &pb::License, source: &Value) {
    let theirs = &source["outputs"];
    let ours = ours.outputs.clone().unwrap_or_default();
    let barred = ours.training_barred().map(|b| b.as_str_name().to_owned()).collect();
    let expected = strings(theirs, "training_barred");
    diff.same(
        "training barred",
        barred,
        expected.iter().map(|word| enum_name("BARRED", word, &[])).collect::<Vec<_>>(),
    );
    predicates(diff, "training_barred_only_if", &ours.training_barred_only_if, theirs);
    let derivative = theirs["trained_model_is_derivative"] == true;
    diff.same("trained model is derivative", ours.trained_model_is_derivative, derivative);
}

/// The source's words for weights that cannot be had any more are in its notes.
const WITHDRAWN: &[&str] = &["Dolly v2 12B", "MPT-30B"];

#[tokio::test]
async fn every_model_is_as_in_its_source() {
    let registry = registry().await;
    let all = models();
    assert_eq!(all.len(), 292);
    let mut diff = Diff::default();
    let mut names = std::collections::BTreeSet::new();
    for source in &all {
        let written = text(source, "model");
        written.clone_into(&mut diff.at);
        let model = found(&registry, source);
        assert!(names.insert(model.name.clone()), "{} stands for two models of the source", model.name);
        let weights = model.components.iter().find(|c| c.kind() == pb::component::Kind::ModelWeights).unwrap();
        license(&mut diff, weights, source);
        let levels = [("read", "text_read")];
        let evidence = enum_name("EVIDENCE", text(source, "license_evidence"), &levels);
        diff.same("evidence", weights.evidence().as_str_name(), &evidence);
        use pb::component::Availability::{Available, Gated, Unavailable, Withdrawn};
        let had = match (&source["weights_public"], weights.availability()) {
            (Value::Bool(true), Available | Gated) => true,
            (Value::Bool(false), Withdrawn) => WITHDRAWN.contains(&written),
            (Value::Bool(false), Unavailable) => !WITHDRAWN.contains(&written),
            (Value::String(how), Gated) => how == "on request",
            _ => false,
        };
        diff.same("weights can be had as the source says", had, true);
        // A gate that the source names is never lost.
        let gate = !source["access"].is_null();
        diff.same("gated", gate && weights.availability() != Gated, false);
    }
    assert_eq!(names.len(), 292);
    assert!(diff.found.is_empty(), "{}", diff.found.join("\n"));
}

/// A model of the source by its hub repository, which is an alias of ours; else by its name there.
fn found(registry: &Registry, source: &Value) -> pb::Model {
    let id = source["hf_repo"].as_str().unwrap_or(text(source, "model"));
    let response = registry.resolve(id).unwrap_or_else(|error| panic!("{id}: {error}"));
    response.model.unwrap()
}

/// The license of the source comes first; what else is in the expression comes from its stack.
fn license(diff: &mut Diff, weights: &pb::Component, source: &Value) {
    let stack = list(source, "license_stack").iter();
    let stack: Vec<&str> = stack.map(|part| part.as_str().unwrap_or(text(part, "license"))).collect();
    let expression = Expression::parse(&weights.license_expression).ok();
    let ids: Vec<&str> = expression.iter().flat_map(|e| e.licenses()).map(|id| id.as_str()).collect();
    diff.same("license", ids.first().copied(), source["license"].as_str());
    diff.same("licenses besides", ids.iter().skip(1).all(|id| stack.contains(id)), true);
    let periods = list(source, "license_by_revision");
    diff.same("periods", weights.license_periods.len(), periods.len());
    for (ours, theirs) in weights.license_periods.iter().zip(periods) {
        diff.same("license of a period", ours.license_expression.as_str(), text(theirs, "license"));
        if let Some(from) = theirs["from"].as_str() {
            diff.same("start of a period", ours.from.as_str(), from);
        }
        if let Some(until) = theirs["to"].as_str() {
            diff.same("end of a period", ours.until.as_str(), until);
        }
        diff.same("commit of a period", ours.commit.as_str(), text(theirs, "commit"));
    }
}
