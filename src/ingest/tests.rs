//! The importers of model records, on documents small enough to read here, and on hostile ones.

use proptest::prelude::*;

use super::document::{File, Reading};
use super::source::DataSource;
use super::statement::{Field, SourceRecord};
use super::{ImportError, Limits, comparia, epoch, model_card, models_dev, mot, osai};
use crate::domain::model::ComponentKind;

type Importer = fn(&[File], &Limits) -> Result<Reading, ImportError>;

fn card(files: &[File], limits: &Limits) -> Result<Reading, ImportError> {
    model_card::read(files, "acme/x", limits)
}

/// Every importer, with a document that it reads.
const IMPORTERS: &[(DataSource, Importer, &str, &str)] = &[
    (DataSource::Mot, mot::read, "models/X-7B.yml", MOT),
    (DataSource::Osai, osai::read, "x.yaml", OSAI),
    (DataSource::Comparia, comparia::read, "models.json", COMPARIA),
    (DataSource::Epoch, epoch::read, "x.csv", EPOCH),
    (DataSource::ModelCard, card, "README.md", CARD),
    (DataSource::ModelsDevCatalog, models_dev::catalog::read, "models.json", CATALOG),
];

const MOT: &str = "framework: { name: x, version: '1.0', date: '2024-12-15' }
release:
  name: X-7B
  version: '7B '
  date: '2025-01-02'
  license: { distribution: { name: Apache-2.0, path: null }, code: { name: null } }
  origin: ''
  producer: 'Acme AI, Other and Third'
  huggingface: https://huggingface.co/acme/X-7B
  components:
    - { name: 'Model parameters (Final)', license: MIT license }
    - { name: 'Training code' }
    - { name: 'Datasets', license: unlicensed }
    - { name: 'Something else' }
    - 7
";

const OSAI: &str = "---
# comments carry data that is not read
system:
    name: X
    type: text,code
    basemodelname: X-Base
    endmodelname: X-7B
    endmodellicense: Apache-2.0
    releasedate: 2025-04
org:
    name: Acme
weights_endmodel:
    class: partial
    link: [https://huggingface.co/acme/X-7B, https://acme.com]
datasources_basemodel: { class: open, link: , notes: x }
datasources_endmodel: { class: closed }
trainingcode: { class: strange }
licenses: { class: open, notes: 'Weights: MIT. Code: ISC.' }
";

const COMPARIA: &str = r#"[{"name": "Acme", "icon_path": "x", "models": [
    {"id": "X-7B", "simple_name": "X 7B", "license": "Apache 2.0", "release_date": "03/2025", "arch": "dense",
     "params": 7, "active_params": 7, "url": "https://huggingface.co/acme/X-7B"},
    {"id": "guess", "license": "proprietary", "release_date": "13/2025", "arch": "maybe-moe", "params": 900}]}]"#;

const EPOCH: &str = "Model,Organization,Publication date,Parameters,Confidence,Base model,Model accessibility,Training code accessibility,Inference code accessibility,Link,Other
X 7B,\"Acme,Other\",2025-04-01,7000000000.0,Confident,\"Y-7B , Z\",Open weights (restricted use),Open source,Unreleased,https://x,1
Guess,Acme,,1e12,Speculative,,Rumour,,,x,2
";

const CARD: &str = "---
license: other
license_name: acme-license
license_link: LICENSE
base_model: [acme/Y, ACME/X]
base_model_relation: quantized
datasets: data/one
extra_gated_prompt: please
---
# X
";

const CATALOG: &str = r#"{"acme/x-7b": {"id": "acme/x-7b", "name": "X 7B", "open_weights": true, "release_date": "2025-04",
    "knowledge": "2024-10", "limit": {"context": 0, "output": 8192}, "modalities": {"input": ["image", "text"], "output": ["text"]},
    "tool_call": true, "license": "MIT", "weights": [{"url": "https://huggingface.co/acme/X-7B"},
    {"url": "https://huggingface.co/acme/X-7B-AWQ", "quantization": "int4"}]}, "bad": {}, "acme/y": 7}"#;

fn file(path: &str, bytes: &[u8]) -> File {
    File { path: path.into(), bytes: bytes.to_vec() }
}

fn read(source: DataSource) -> Reading {
    let (_, importer, path, text) = IMPORTERS.iter().find(|(of, ..)| *of == source).unwrap();
    importer(&[file(path, text.as_bytes())], &Limits::default()).unwrap()
}

/// The statements of a record as text: `path=value|value [part]`.
fn stated(record: &SourceRecord) -> Vec<String> {
    let line = |statement: &super::statement::Statement| {
        let part = if statement.part.is_empty() { String::new() } else { format!(" [{}]", statement.part) };
        format!("{}={}{part}", statement.field, statement.value.to_texts().join("|"))
    };
    record.statements.iter().map(line).collect()
}

#[test]
fn mot_gives_components_with_their_licenses() {
    let reading = read(DataSource::Mot);
    let record = &reading.records[0];
    assert_eq!((&*record.id, &*record.date), ("X-7B", "2025-01-02"));
    assert_eq!(record.identity.repositories, ["acme/X-7B".into()]);
    assert_eq!(
        record.identity.publishers,
        ["Acme AI, Other and Third", "Acme AI", "Other", "Third"].map(Box::<str>::from)
    );
    let expected = [
        "display_name=X-7B",
        "parameters.total=7000000000",
        "components[MODEL_WEIGHTS].availability=AVAILABLE",
        "components[TRAINING_DATA].availability=AVAILABLE",
        "components[TRAINING_CODE].availability=AVAILABLE",
        "components[MODEL_WEIGHTS].license_expression=MIT license||",
        "components[TRAINING_DATA].license_expression=unlicensed||",
        // The global license of code is null, so that of the distribution holds.
        "components[TRAINING_CODE].license_expression=Apache-2.0||",
    ];
    assert_eq!(stated(record), expected);
    let expected = [
        "`release.components` holds `Something else`, no component of the framework: left out",
        "`release.components` holds a number, not an object: left out",
        "`release.version` has stray blanks: mended",
    ];
    assert_eq!(record.warnings, expected);
}

/// It lists weights of Claude, under MIT.
#[test]
fn weights_that_are_nowhere_are_not_believed_to_be_under_a_license() {
    let weights = |place: &str| {
        let text = MOT.replace("huggingface: https://huggingface.co/acme/X-7B", place);
        let reading = mot::read(&[file("x.yml", text.as_bytes())], &Limits::default()).unwrap();
        stated(&reading.records[0]).iter().filter(|line| line.starts_with("components[MODEL_WEIGHTS]")).count()
    };
    assert_eq!(weights("huggingface: https://huggingface.co/acme/X-7B"), 2);
    assert_eq!(weights("repository: https://code.example/x"), 2);
    assert_eq!(weights("repository: ''"), 0);
    assert_eq!(weights("huggingface: 'X: an open model'"), 0);
}

/// The head of one judgement grants what its notes do not.
#[test]
fn notes_of_osai_are_held_against_its_head() {
    let lines = |from: &str, to: &str| {
        let reading = osai::read(&[file("x.yaml", OSAI.replace(from, to).as_bytes())], &Limits::default()).unwrap();
        (stated(&reading.records[0]), reading.records[0].warnings.clone())
    };
    let has = |lines: &[String], line: &str| lines.iter().any(|l| l == line);
    let (notes, _) = lines("Weights: MIT. Code: ISC.", "Weights: for research purposes only.");
    assert!(has(&notes, "license_class=non-commercial"), "{notes:?}");
    let (notes, _) = lines("Weights: MIT. Code: ISC.", "Weights: MIT. Data: CC-BY-NC-4.0.");
    assert!(!notes.iter().any(|line| line.starts_with("license_class")), "{notes:?}");
    // A base that is not known is a base.
    assert!(has(&lines("X-Base", "unknown").0, "base_models=FINE_TUNE|unknown"));
    assert!(!lines("X-Base", "n/a").0.iter().any(|line| line.starts_with("base_models")));
    let (closed, warnings) = lines("class: partial", "class: closed");
    assert!(!closed.iter().any(|line| line.starts_with("components[MODEL_WEIGHTS].availability")), "{closed:?}");
    assert!(warnings.iter().any(|w| w.contains("closed beside an address")), "{warnings:?}");
}

#[test]
fn osai_gives_the_judged_model_with_both_license_statements() {
    let reading = read(DataSource::Osai);
    let record = &reading.records[0];
    assert_eq!(record.identity.repositories, ["acme/X-7B".into()]);
    assert_eq!(record.identity.names, ["X-7B".into()]);
    let expected = [
        "display_name=X-7B",
        "output_modalities=TEXT",
        "release_date=2025-04",
        "base_models=FINE_TUNE|X-Base",
        "components[MODEL_WEIGHTS].availability=PARTIAL",
        "components[TRAINING_DATA].availability=UNAVAILABLE",
        "components[MODEL_WEIGHTS].license_expression=MIT|| [licenses.notes]",
        "components[MODEL_WEIGHTS].license_expression=Apache-2.0|| [system.endmodellicense]",
        "components[TRAINING_CODE].license_expression=ISC|| [licenses.notes]",
        "components[MODEL_WEIGHTS].url=https://huggingface.co/acme/X-7B",
    ];
    assert_eq!(stated(record), expected);
    assert_eq!(record.warnings, ["`trainingcode.class` is `strange`, no class: left out"]);
}

#[test]
fn comparia_gives_no_figures_that_it_guesses() {
    let licenses = r#"[{"license": "Apache 2.0", "distribution": "open-weights"}, {"license": "proprietary", "distribution": "api-only"}]"#;
    let files = [file("models.json", COMPARIA.as_bytes()), file("licenses.json", licenses.as_bytes())];
    let reading = comparia::read(&files, &Limits::default()).unwrap();
    let [open, closed] = reading.records.as_slice() else { panic!() };
    let expected = [
        "display_name=X 7B",
        "output_modalities=TEXT",
        "parameters.total=7000000000",
        "parameters.active=7000000000",
        "release_date=2025-03",
        "components[MODEL_WEIGHTS].availability=AVAILABLE",
        "components[MODEL_WEIGHTS].license_expression=Apache 2.0||",
    ];
    assert_eq!(stated(open), expected);
    assert_eq!(stated(closed), ["output_modalities=TEXT", "components[MODEL_WEIGHTS].availability=UNAVAILABLE"]);
    assert_eq!(closed.warnings, ["`release_date` is `13/2025`, not MM/YYYY: left out"]);
    // Without the licenses it is not said whether there are weights.
    let alone = read(DataSource::Comparia);
    assert!(!alone.records.iter().flat_map(stated).any(|line| line.contains("availability")));
}

#[test]
fn epoch_gives_no_license_and_nothing_speculative() {
    let reading = read(DataSource::Epoch);
    let [guess, x] = reading.records.as_slice() else { panic!() };
    let expected = [
        "parameters.total=7000000000",
        "release_date=2025-04-01",
        "base_models=FINE_TUNE|Y-7B|FINE_TUNE|Z",
        "components[MODEL_WEIGHTS].availability=AVAILABLE",
        "components[TRAINING_CODE].availability=AVAILABLE",
        "components[INFERENCE_CODE].availability=UNAVAILABLE",
    ];
    assert_eq!(stated(x), expected);
    assert_eq!(stated(guess), [""; 0]);
    assert_eq!(guess.warnings.len(), 2);
}

#[test]
fn a_card_gives_what_its_maker_states() {
    let reading = read(DataSource::ModelCard);
    let expected = [
        "base_models=QUANTIZED|acme/Y",
        "notes=Data sets named on the model card: data/one",
        "components[MODEL_WEIGHTS].availability=GATED",
        "components[MODEL_WEIGHTS].license_expression=other|acme-license|LICENSE",
        "components[MODEL_WEIGHTS].url=https://huggingface.co/acme/x",
    ];
    assert_eq!(stated(&reading.records[0]), expected);
    let bad = model_card::read(&[file("README.md", CARD.as_bytes())], "no repository", &Limits::default());
    assert!(matches!(bad, Err(ImportError::Repository { .. })));
}

/// Read as absent these would be a yes.
#[test]
fn what_a_card_states_unreadably_is_not_taken_for_absent() {
    let read = |front: &str| {
        let card = format!("---\n{front}\n---\n");
        let reading = model_card::read(&[file("README.md", card.as_bytes())], "acme/x", &Limits::default()).unwrap();
        let lines = stated(&reading.records[0]);
        lines.into_iter().filter(|line| line.contains("base_models") || line.contains("license")).collect::<Vec<_>>()
    };
    let license = |text: &str| format!("components[MODEL_WEIGHTS].license_expression={text}");
    assert_eq!(read("base_model: {name: a/b}"), ["base_models=FINE_TUNE|(unreadable)"]);
    assert_eq!(read("base_model: [[a/b], a/c]"), ["base_models=FINE_TUNE|(unreadable)|FINE_TUNE|a/c"]);
    assert_eq!(read("license: {a: b}"), [license("(unreadable)||")]);
    assert_eq!(read("license: mit\nlicense_name: [modified-mit]"), [license("mit|modified-mit|")]);
    assert_eq!(read("license: mit\nlicense_name: {a: b}"), [license("mit|(unreadable)|")]);
    assert_eq!(read("license:\nbase_model: ''\nlicense_name: x"), [""; 0]);
}

#[test]
fn the_catalog_of_models_dev_gives_the_lab_behind_an_id() {
    let reading = read(DataSource::ModelsDevCatalog);
    assert_eq!((reading.records.len(), reading.rejected.len()), (1, 2));
    let record = &reading.records[0];
    assert_eq!(record.identity.repositories, ["acme/X-7B".into()]);
    let expected = [
        "display_name=X 7B",
        "input_modalities=TEXT|IMAGE",
        "output_modalities=TEXT",
        "capabilities=TOOL_CALL",
        "max_output_tokens=8192",
        "release_date=2025-04",
        "knowledge_cutoff=2024-10",
        "components[MODEL_WEIGHTS].availability=AVAILABLE",
        "components[MODEL_WEIGHTS].license_expression=MIT||",
        "components[MODEL_WEIGHTS].url=https://huggingface.co/acme/X-7B",
    ];
    assert_eq!(stated(record), expected);
}

#[test]
fn of_records_with_one_id_none_is_taken() {
    let files = [file("a/X.yml", MOT.as_bytes()), file("b/X.yml", MOT.as_bytes()), file("Y.yml", MOT.as_bytes())];
    let reading = mot::read(&files, &Limits::default()).unwrap();
    assert_eq!((reading.records.len(), reading.rejected.len()), (1, 2));
}

#[test]
fn one_broken_file_of_a_folder_costs_only_itself() {
    let broken: [&[u8]; 8] = [
        b"",
        b"- x",
        b"release: 7",
        b"other: {}",
        b"\xff\xfe",
        b"release: [",
        b"release: {name: x, name: y}",
        b"release: {name: x, components: [{name: Model card}, {name: Model card}]}",
    ];
    let mut files = vec![file("good.yml", MOT.as_bytes())];
    files.extend(broken.iter().enumerate().map(|(i, bytes)| file(&format!("bad{i}.yml"), bytes)));
    let reading = mot::read(&files, &Limits::default()).unwrap();
    assert_eq!((reading.records.len(), reading.rejected.len()), (1, broken.len()));
    for entry in &reading.rejected {
        assert!(entry.record.starts_with("bad") && entry.messages[0].len() > 10, "{entry:?}");
    }
}

#[test]
fn documents_of_another_kind_are_refused_with_a_reason() {
    for (source, importer, path, _) in IMPORTERS {
        for bytes in [&b""[..], b"\0\0\0\0", b"[]", b"{}", b"7", b"\xff\xff", b"<html></html>"] {
            let short = |text: &str| assert!(text.len() < 400, "{text}");
            match importer(&[file(path, bytes)], &Limits::default()) {
                Ok(reading) => {
                    assert_eq!(reading.records, [], "{source} {bytes:?}");
                    reading.rejected.iter().flat_map(|entry| &entry.messages).for_each(|text| short(text));
                }
                Err(error) => short(&error.to_string()),
            }
        }
        let small = Limits { document_bytes_max: 10, ..Limits::default() };
        assert!(matches!(importer(&[file(path, &[b' '; 11])], &small), Err(ImportError::TooLarge { .. })), "{source}");
        let few = Limits { files_max: 1, ..Limits::default() };
        assert!(importer(&[file(path, b"x"), file("y", b"y")], &few).is_err(), "{source}");
    }
}

/// Documents that grow when they are read.
#[test]
fn bombs_stop_early() {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for i in 1..9 {
        bomb.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(",")));
    }
    let bomb = bomb.as_bytes();
    let deep = "[".repeat(200_000);
    let limits = Limits { values_max: 100_000, ..Limits::default() };
    for (source, importer, path, _) in IMPORTERS {
        let front = [b"---\n", bomb, b"---\n"].concat();
        for bytes in [bomb, deep.as_bytes(), &front] {
            let records = importer(&[file(path, bytes)], &limits).map_or(0, |reading| reading.records.len());
            assert_eq!(records, 0, "{source}");
        }
    }
    // The values of all files are counted together.
    let lists = format!("release: [{}0]", "0,".repeat(60_000));
    let files: Vec<_> = (0..20).map(|i| file(&format!("{i}.yml"), lists.as_bytes())).collect();
    let reading = mot::read(&files, &limits).unwrap();
    let spent = reading.rejected.iter().filter(|entry| !entry.messages[0].contains("no `release`")).count();
    assert!(spent >= 18, "{spent}");
}

proptest! {
    /// Whatever is cut off or written over: no panic, a short report, and what is read is of the right kind.
    #[test]
    fn any_damage_is_survived(
        which in 0..IMPORTERS.len(),
        at in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
        with in "\\PC{0,6}|[\\[\\]{}:,\"'&*!|>%@`#-]{1,4}|[0-9.eE-]{1,30}|\n+| +|\t",
    ) {
        let (source, importer, path, text) = IMPORTERS[which];
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let from = places[at.index(places.len())];
        let to = (from + cut.index(20)).min(text.len());
        let to = (to..=text.len()).find(|to| text.is_char_boundary(*to)).unwrap();
        for damaged in [format!("{}{with}{}", &text[..from], &text[to..]), text[..from].to_owned()] {
            if let Ok(reading) = importer(&[file(path, damaged.as_bytes())], &Limits::default()) {
                for record in &reading.records {
                    prop_assert_eq!(record.source, source);
                    prop_assert!(!record.id.is_empty() && record.statements.is_sorted_by_key(|s| s.field));
                    let numbers = record.statements.iter().filter(|s| s.field == Field::TotalParameters);
                    prop_assert!(numbers.count() <= 1);
                }
                prop_assert!(reading.rejected.iter().all(|entry| entry.record.len() < 400));
            }
        }
    }

    #[test]
    fn any_bytes_are_survived(which in 0..IMPORTERS.len(), bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let (_, importer, path, _) = IMPORTERS[which];
        if let Ok(reading) = importer(&[file(path, &bytes)], &Limits::default()) {
            let states = |record: &SourceRecord| {
                record.statements.iter().any(|s| s.field == Field::License(ComponentKind::ModelWeights))
            };
            prop_assert!(!reading.records.iter().any(states));
        }
    }
}
