//! Reads a version of the Model Openness Framework from its data file.
//!
//! The file is walked as a tree rather than deserialized, so that one reading reports every problem.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::domain::date::Date;
use crate::domain::license::{Expression, Term};
use crate::domain::model::ComponentKind;
use crate::domain::name::{LicenseId, shown};
use crate::domain::openness::{ContentType, MofClass, MofFramework, MofLicenses, Requirement};

/// Reads a framework from TOML.
///
/// # Errors
/// Every problem of the text, each with its place.
pub fn read_mof(text: &str) -> Result<MofFramework, Vec<String>> {
    let root: Table = text.parse().map_err(|e: toml::de::Error| vec![syntax(text, &e)])?;
    let mut reader = Reader::default();
    reader.known_keys("", &root, &["version", "date", "source", "content", "classes", "licenses"]);
    let version = reader.text(&root, "version");
    let source = reader.text(&root, "source");
    let date = reader.date(&root);
    let content = reader.content(&root);
    let classes = reader.classes(&root);
    let licenses = reader.licenses(&root);
    match date {
        Some(date) if reader.problems.is_empty() => {
            Ok(MofFramework { version: version.into(), date, source: source.into(), content, classes, licenses })
        }
        _ => Err(reader.problems),
    }
}

fn syntax(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let message = error.message().replace('\n', ", ");
    format!("line {}: {message}", before.matches('\n').count() + 1)
}

/// Collects problems while the parts are read; what is wrong is left out.
#[derive(Default)]
struct Reader {
    problems: Vec<String>,
}

impl Reader {
    fn problem(&mut self, path: &str, message: impl std::fmt::Display) {
        self.problems.push(format!("{path}: {message}"));
    }

    fn known_keys(&mut self, path: &str, table: &Table, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            self.problem(&join(path, key), format!("unknown key: write one of {}", quoted(known)));
        }
    }

    fn text<'a>(&mut self, table: &'a Table, key: &str) -> &'a str {
        match table.get(key).map(Value::as_str) {
            Some(Some(text)) if !text.trim().is_empty() => return text,
            Some(Some(_)) => self.problem(key, "it is empty"),
            Some(None) => self.problem(key, "write a string"),
            None => self.problem(key, "it is missing"),
        }
        ""
    }

    fn date(&mut self, root: &Table) -> Option<Date> {
        let text = self.text(root, "date");
        if text.is_empty() {
            return None;
        }
        Date::parse(text).map_err(|e| self.problem("date", e)).ok()
    }

    fn table<'a>(&mut self, root: &'a Table, key: &str) -> Option<&'a Table> {
        match root.get(key).map(Value::as_table) {
            Some(Some(table)) => return Some(table),
            Some(None) => self.problem(key, "write a table"),
            None => self.problem(key, "it is missing"),
        }
        None
    }

    // A missing list is an empty one.
    fn list<'a>(&mut self, path: &str, value: Option<&'a Value>) -> &'a [Value] {
        match value.map(Value::as_array) {
            Some(Some(list)) => return list,
            Some(None) => self.problem(path, "write a list"),
            None => {}
        }
        &[]
    }

    fn content(&mut self, root: &Table) -> BTreeMap<ComponentKind, ContentType> {
        let Some(table) = self.table(root, "content") else {
            return BTreeMap::new();
        };
        let mut content = BTreeMap::new();
        for (key, value) in table {
            let path = join("content", key);
            let kind = self.kind(&path, key);
            let content_type = value.as_str().and_then(content_type);
            if content_type.is_none() {
                self.problem(&path, format!("write one of {}", quoted(&CONTENT_TYPES.map(|(word, _)| word))));
            }
            content.extend(kind.zip(content_type));
        }
        for kind in ComponentKind::ALL.iter().filter(|kind| !table.contains_key(kind.as_str())) {
            self.problem(&join("content", kind.as_str()), "it is missing");
        }
        content
    }

    fn classes(&mut self, root: &Table) -> BTreeMap<MofClass, Vec<Requirement>> {
        let Some(table) = self.table(root, "classes") else {
            return BTreeMap::new();
        };
        let words: Vec<_> = MofClass::ALL.iter().map(|class| class.as_str()).collect();
        self.known_keys("classes", table, &words);
        let mut seen = BTreeSet::new();
        let mut classes = BTreeMap::new();
        for &class in MofClass::ALL {
            let path = join("classes", class.as_str());
            let value = table.get(class.as_str());
            let entries = self.list(&path, value);
            if entries.is_empty() && value.is_none_or(Value::is_array) {
                self.problem(&path, "a class requires at least one component");
            }
            let mut requirements = Vec::new();
            for (index, entry) in entries.iter().enumerate() {
                let path = format!("{path}[{index}]");
                let Some(requirement) = self.requirement(&path, entry) else { continue };
                // Classes build on each other: a second mention would count one component twice.
                if !seen.insert(requirement.kind) {
                    self.problem(&path, format!("`{}` is required twice", requirement.kind));
                }
                requirements.push(requirement);
            }
            classes.insert(class, requirements);
        }
        classes
    }

    fn requirement(&mut self, path: &str, entry: &Value) -> Option<Requirement> {
        let words = match entry {
            Value::Array(words) => words.as_slice(),
            word => std::slice::from_ref(word),
        };
        if words.is_empty() {
            self.problem(path, "it is empty");
        }
        let mut kinds = Vec::new();
        for word in words {
            let Some(word) = word.as_str() else {
                self.problem(path, "write a component, or a list of components of which one is enough");
                continue;
            };
            let Some(kind) = self.kind(path, word) else { continue };
            if kinds.contains(&kind) {
                self.problem(path, format!("`{kind}` is its own alternative"));
            }
            kinds.push(kind);
        }
        let mut kinds = kinds.into_iter();
        Some(Requirement { kind: kinds.next()?, alternatives: kinds.collect() })
    }

    fn licenses(&mut self, root: &Table) -> MofLicenses {
        let Some(table) = self.table(root, "licenses") else {
            return MofLicenses::default();
        };
        let [code, data, document] = CONTENT_TYPES.map(|(word, _)| word);
        self.known_keys("licenses", table, &["osi_approved", "fsf_libre", code, data, document]);
        let mut licenses = MofLicenses {
            osi_approved: self.flag(table, "osi_approved"),
            fsf_libre: self.flag(table, "fsf_libre"),
            named: BTreeMap::new(),
        };
        for (word, content_type) in CONTENT_TYPES {
            let path = join("licenses", word);
            for (index, entry) in self.list(&path, table.get(word)).iter().enumerate() {
                let path = format!("{path}[{index}]");
                let Some(id) = self.license_id(&path, entry) else { continue };
                let suits = licenses.named.entry(id).or_default();
                if suits.contains(&content_type) {
                    self.problem(&path, "it is listed twice");
                } else {
                    suits.push(content_type);
                }
            }
        }
        licenses
    }

    fn flag(&mut self, table: &Table, key: &str) -> bool {
        match table.get(key).map(Value::as_bool) {
            Some(Some(flag)) => return flag,
            Some(None) => self.problem(&join("licenses", key), "write true or false"),
            None => self.problem(&join("licenses", key), "it is missing"),
        }
        false
    }

    fn kind(&mut self, path: &str, word: &str) -> Option<ComponentKind> {
        let kind = ComponentKind::parse(word);
        if kind.is_none() {
            self.problem(path, format!("`{}` is no component", shown(word)));
        }
        kind
    }

    // An id of the right form may still be misspelled, and would then silently accept nothing. As an expression it is
    // looked up in the SPDX list.
    fn license_id(&mut self, path: &str, entry: &Value) -> Option<LicenseId> {
        let Some(text) = entry.as_str() else {
            self.problem(path, "write a license id");
            return None;
        };
        let expression = Expression::parse(text).map_err(|e| self.problem(path, e)).ok()?;
        match expression.root() {
            Term::License { id, exception: None, .. } if id.as_str() == text => Some(id.clone()),
            _ => {
                self.problem(path, format!("`{}` is more than one license id", shown(text)));
                None
            }
        }
    }
}

const CONTENT_TYPES: [(&str, ContentType); 3] =
    [("code", ContentType::Code), ("data", ContentType::Data), ("document", ContentType::Document)];

fn content_type(word: &str) -> Option<ContentType> {
    CONTENT_TYPES.iter().find(|(known, _)| *known == word).map(|(_, content_type)| *content_type)
}

fn join(path: &str, key: &str) -> String {
    let key = shown(key);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::{Availability, Component, Evidence};
    use crate::domain::openness::Mof;

    const BUNDLED: &str = include_str!("../../data/openness/mof-1.0.toml");

    /// Class III with Apache-2.0 code, CC-BY-4.0 documents and weights under ODbL.
    const CLASS_III: &[(&str, &str)] = &[
        ("MODEL_ARCHITECTURE", "Apache-2.0"),
        ("MODEL_WEIGHTS", "ODbL-1.0"),
        ("MODEL_CARD", "CC-BY-4.0"),
        ("DATA_CARD", "CC0-1.0"),
        ("RESEARCH_PAPER", "CC-BY-4.0"),
        ("EVALUATION_RESULTS", "CC-BY-4.0"),
    ];

    fn classify(parts: &[&[(&str, &str)]]) -> Mof {
        let component = |(kind, license): &(&str, &str)| Component {
            kind: ComponentKind::parse(kind).unwrap(),
            availability: Some(Availability::Available),
            expression: Expression::parse(license).ok(),
            declared_license: (*license).into(),
            evidence: Evidence::GeneralKnowledge,
            license_periods: Vec::new(),
            conclusion: None,
        };
        let components: Vec<_> = parts.iter().copied().flatten().map(component).collect();
        read_mof(BUNDLED).unwrap().classify(&components)
    }

    /// Reads the bundled text with one place changed, and finds exactly these problems.
    fn check(from: &str, to: &str, problems: &[&str]) {
        assert!(BUNDLED.contains(from), "{from}");
        let found = read_mof(&BUNDLED.replacen(from, to, 1)).map_or_else(|problems| problems, |_| Vec::new());
        assert_eq!(found, problems, "{from} -> {to}");
    }

    #[test]
    fn the_bundled_framework_is_valid() {
        let framework = read_mof(BUNDLED).unwrap();
        assert_eq!(&*framework.version, "1.0");
        assert_eq!(framework.classes.values().flatten().count(), 14);
        let suits = |id: &str| framework.licenses.named.get(&LicenseId::new(id).unwrap()).cloned();
        assert_eq!(suits("CC0-1.0"), Some(vec![ContentType::Data, ContentType::Document]));
        assert_eq!(suits("BSD-3-Clause"), None);
        let accepted = |id: &str| framework.licenses.accept(&LicenseId::new(id).unwrap());
        assert!(accepted("BSD-3-Clause") && accepted("Apache-1.0") && accepted("OpenMDW-1.0"));
        assert!(!accepted("CC-BY-NC-4.0") && !accepted("C-UDA-1.0") && !accepted("LicenseRef-X"));
    }

    #[test]
    fn a_model_without_components_has_no_class() {
        let none = classify(&[]);
        assert_eq!((none.class, none.next_class), (None, Some(MofClass::III)));
        assert_eq!(none.missing_for_next.len(), 6);
        assert_eq!(none.progress, [(MofClass::I, 0.0), (MofClass::II, 0.0), (MofClass::III, 0.0)]);
    }

    #[test]
    fn a_research_paper_stands_in_for_the_technical_report() {
        let third = classify(&[CLASS_III]);
        assert_eq!((third.class, third.next_class), (Some(MofClass::III), Some(MofClass::II)));
        assert_eq!(third.progress, [(MofClass::I, 0.0), (MofClass::II, 60.0), (MofClass::III, 100.0)]);
        assert_eq!(third.missing_for_next.len(), 4);
    }

    #[test]
    fn training_data_without_code_does_not_reach_class_two() {
        let third = classify(&[CLASS_III, &[("TRAINING_DATA", "CC0-1.0"), ("TRAINING_CODE", "LicenseRef-X")]]);
        assert_eq!(third.class, Some(MofClass::III));
    }

    #[test]
    fn all_fourteen_or_thirteen_components_reach_class_one() {
        let second: &[_] = &[
            ("TRAINING_CODE", "MIT"),
            ("INFERENCE_CODE", "MIT"),
            ("EVALUATION_CODE", "MIT"),
            ("EVALUATION_DATA", "CC-BY-4.0"),
        ];
        let data: &[_] = &[
            ("DATA_PREPROCESSING_CODE", "MIT"),
            ("INTERMEDIATE_WEIGHTS", "OpenMDW-1.0"),
            ("TRAINING_DATA", "CDLA-Sharing-1.0"),
        ];
        let paper_only = classify(&[CLASS_III, second, data]);
        assert_eq!((paper_only.class, paper_only.next_class), (Some(MofClass::I), None));
        assert_eq!(classify(&[CLASS_III, second]).progress.first(), Some(&(MofClass::I, 10.0 / 13.0 * 100.0)));
        let both = classify(&[CLASS_III, &[("TECHNICAL_REPORT", "CC-BY-4.0")], second, data]);
        assert_eq!(both.class, Some(MofClass::I));
    }

    #[test]
    fn unknown_components_are_reported() {
        check("\"MODEL_CARD\",", "\"MODEL_CART\",", &["classes.CLASS_III[2]: `MODEL_CART` is no component"]);
        check(
            "MODEL_CARD =",
            "MODEL_CART =",
            &["content.MODEL_CART: `MODEL_CART` is no component", "content.MODEL_CARD: it is missing"],
        );
    }

    #[test]
    fn classes_that_require_nothing_or_something_twice_are_reported() {
        const CLASS_II: &str = r#"["TRAINING_CODE", "INFERENCE_CODE", "EVALUATION_CODE", "EVALUATION_DATA"]"#;
        check(CLASS_II, "[]", &["classes.CLASS_II: a class requires at least one component"]);
        check(CLASS_II, "7", &["classes.CLASS_II: write a list"]);
        check(CLASS_II, "[[]]", &["classes.CLASS_II[0]: it is empty"]);
        check(CLASS_II, r#"["RESEARCH_PAPER"]"#, &["classes.CLASS_II[0]: `RESEARCH_PAPER` is required twice"]);
        check(
            r#"["TECHNICAL_REPORT", "RESEARCH_PAPER"]"#,
            r#"["TECHNICAL_REPORT", "TECHNICAL_REPORT"]"#,
            &["classes.CLASS_III[4]: `TECHNICAL_REPORT` is its own alternative"],
        );
    }

    #[test]
    fn license_ids_outside_the_spdx_list_are_reported() {
        let problems = read_mof(&BUNDLED.replacen("\"PDDL-1.0\"", "\"ODC-PDDL-1.0\"", 1)).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].starts_with("licenses.data[31]: `ODC-PDDL-1.0` is no SPDX license expression"),
            "{problems:?}"
        );
        check("\"ISC\"", "\"ISC OR MIT\"", &["licenses.code[11]: `ISC OR MIT` is more than one license id"]);
        check("\"ISC\"", "\"0BSD\"", &["licenses.code[11]: it is listed twice"]);
    }

    #[test]
    fn unknown_keys_are_reported() {
        check(
            "[content]",
            "color = 1\n[content]",
            &["color: unknown key: write one of `version`, `date`, `source`, `content`, `classes`, `licenses`"],
        );
        check(
            "fsf_libre",
            "fsf_free",
            &[
                "licenses.fsf_free: unknown key: write one of `osi_approved`, `fsf_libre`, `code`, `data`, `document`",
                "licenses.fsf_libre: it is missing",
            ],
        );
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let text =
            "version = 1\ndate = '2024-13-01'\ncontent = 1\n[classes]\nCLASS_IV = []\n[licenses]\ncode = 'MIT'\n";
        assert_eq!(read_mof(text).unwrap_err().len(), 11);
        assert_eq!(read_mof("version = 'a'\nversion = 'b'\n").unwrap_err(), ["line 2: duplicate key"]);
    }
}
