//! The Model Openness Tool's own test cases and model files, classified by our rules.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use weighbridge::catalog::mof::read_mof;
use weighbridge::domain::license::Expression;
use weighbridge::domain::model::{Availability, Component, ComponentKind, Evidence};
use weighbridge::domain::openness::{ContentType, Mof, MofClass, MofFramework};

/// The tool's names of the components.
const NAMES: &[(&str, ComponentKind)] = &[
    ("Model architecture", ComponentKind::ModelArchitecture),
    ("Data preprocessing code", ComponentKind::DataPreprocessingCode),
    ("Training code", ComponentKind::TrainingCode),
    ("Inference code", ComponentKind::InferenceCode),
    ("Evaluation code", ComponentKind::EvaluationCode),
    ("Supporting libraries and tools", ComponentKind::SupportingLibraries),
    ("Model parameters (Final)", ComponentKind::ModelWeights),
    ("Model parameters (Intermediate)", ComponentKind::IntermediateWeights),
    ("Datasets", ComponentKind::TrainingData),
    ("Evaluation data", ComponentKind::EvaluationData),
    ("Model metadata", ComponentKind::ModelMetadata),
    ("Sample model outputs", ComponentKind::SampleOutputs),
    ("Model card", ComponentKind::ModelCard),
    ("Data card", ComponentKind::DataCard),
    ("Technical report", ComponentKind::TechnicalReport),
    ("Research paper", ComponentKind::ResearchPaper),
    ("Evaluation results", ComponentKind::EvaluationResults),
];

fn framework() -> MofFramework {
    read_mof(include_str!("../../data/openness/mof-1.0.toml")).unwrap()
}

fn shared(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/mot").join(path)
}

/// The `release` of every YAML file of a folder.
fn releases(folder: &str) -> Vec<Value> {
    let paths = fs::read_dir(shared(folder)).unwrap().map(|entry| entry.unwrap().path());
    let yaml = paths.filter(|path| path.extension().is_some_and(|extension| extension == "yml"));
    let read = |path: PathBuf| {
        let file: Value = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file["release"].clone()
    };
    yaml.map(read).collect()
}

/// The tool's rule: a license of the component itself, if only `unlicensed`; else the global license of its kind of
/// content; else the one of the distribution.
fn license<'a>(release: &'a Value, component: &'a Value, content: ContentType) -> Option<&'a str> {
    let own = &component["license"];
    if !own.is_null() {
        return own.as_str();
    }
    let kind = match content {
        ContentType::Code => "code",
        ContentType::Data => "data",
        ContentType::Document => "document",
    };
    let global = |key: &str| release["license"][key]["name"].as_str().filter(|name| !name.is_empty());
    global(kind).or_else(|| global("distribution"))
}

/// A listed component is available; one that is not listed does not exist. Spellings are taken as they are.
fn classify(framework: &MofFramework, release: &Value) -> Mof {
    let component = |listed: &Value| {
        let name = listed["name"].as_str().unwrap();
        let (_, kind) = NAMES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}"));
        let license = license(release, listed, framework.content[kind]).unwrap_or_default();
        Component {
            kind: *kind,
            availability: Some(Availability::Available),
            expression: Expression::parse(license).ok(),
            declared_license: license.into(),
            evidence: Evidence::GeneralKnowledge,
            license_periods: Vec::new(),
        }
    };
    let components: Vec<_> = release["components"].as_array().unwrap().iter().map(component).collect();
    framework.classify(&components)
}

#[test]
fn every_fixture_has_the_class_and_progress_of_the_tool() {
    let text = fs::read_to_string(shared("fixtures/expected_results.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let models = expected["models"].as_array().unwrap();
    let by_name: BTreeMap<_, _> =
        models.iter().map(|m| (m["release"]["name"].as_str().unwrap(), &m["classification"])).collect();
    assert_eq!(by_name.len(), 27);

    let framework = framework();
    let fixtures = releases("fixtures");
    assert_eq!(fixtures.len(), 27);
    for release in &fixtures {
        let name = release["name"].as_str().unwrap();
        let classification = by_name[name];
        let class = match classification["class"].as_u64().unwrap() {
            0 => None,
            1 => Some(MofClass::I),
            2 => Some(MofClass::II),
            3 => Some(MofClass::III),
            other => panic!("{name}: class {other}"),
        };
        let percent = |key: &str| classification["progress"][key].as_f64().unwrap();
        let mof = classify(&framework, release);
        assert_eq!(mof.class, class, "{name}");
        let progress = [(MofClass::I, percent("1")), (MofClass::II, percent("2")), (MofClass::III, percent("3"))];
        assert_eq!(mof.progress, progress, "{name}");
    }
}

#[test]
fn few_of_the_model_files_reach_a_class() {
    let framework = framework();
    let models = releases("models");
    assert_eq!(models.len(), 273);
    let mut classes = BTreeMap::new();
    for release in &models {
        *classes.entry(classify(&framework, release).class).or_insert(0) += 1;
    }
    let expected = [(None, 242), (Some(MofClass::I), 14), (Some(MofClass::II), 1), (Some(MofClass::III), 16)];
    assert_eq!(classes, BTreeMap::from(expected));
}
