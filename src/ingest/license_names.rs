//! What a declared license stands for: hub tags and the spellings of other sources → license expressions.
//!
//! Nothing is guessed. A family of texts, a name that several texts bear, and a spelling that no row has are *unmapped*:
//! they become `LicenseRef-Unknown`, with what was declared kept beside it, and eligibility reviews them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::source::DataSource;
use super::statement::DeclaredLicense;
use crate::domain::license::Expression;
use crate::domain::model::Evidence;

/// What a declared license stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Mapped {
    /// A license.
    License {
        /// The expression.
        expression: Expression,
        /// What it rests on.
        evidence: Evidence,
    },
    /// Nothing is said about a license.
    Silent,
    /// The part was not released after all.
    Absent,
    /// A license is declared, and which text it is is not certain.
    Unmapped {
        /// Why, and what to do.
        reason: String,
    },
}

/// The tables.
#[derive(Debug, Default)]
pub struct LicenseNames {
    tags: BTreeMap<Box<str>, Row>,
    /// Names beside the tag `other`.
    names_of_other: BTreeMap<Box<str>, Row>,
    /// Spellings of the sources that have no tags.
    spellings: BTreeMap<Box<str>, Row>,
}

#[derive(Clone, Debug)]
enum Row {
    License(Expression),
    Silent,
    Absent,
    Unmapped(Box<str>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HubTagsFile {
    #[serde(default)]
    tags: Vec<TagRow>,
    #[serde(default)]
    license_names: Vec<NameRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TagRow {
    tag: String,
    kind: TagKind,
    license: Option<String>,
    #[serde(default)]
    candidates: Vec<String>,
    #[serde(default)]
    note: String,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum TagKind {
    /// One text.
    Single,
    /// One text, perhaps with the choice of later versions: the named version is the cautious reading.
    OrLaterOpen,
    /// Several texts.
    Family,
    /// Several texts, one after the other.
    Dated,
    /// Says that no tag fits.
    Special,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NameRow {
    license_name: String,
    license: Option<String>,
    #[serde(default)]
    candidates: Vec<String>,
    #[serde(default)]
    note: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpellingsFile {
    #[serde(default)]
    names: Vec<SpellingRow>,
    #[serde(default)]
    silent: Vec<SpellingRow>,
    #[serde(default)]
    absent: Vec<SpellingRow>,
    #[serde(default)]
    unmapped: Vec<SpellingRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpellingRow {
    spellings: Vec<String>,
    license: Option<String>,
    #[serde(default)]
    note: String,
    /// Where it was seen; for the reader of the file.
    #[serde(default, rename = "seen_in")]
    _seen_in: Vec<String>,
}

impl LicenseNames {
    /// Reads the tables of hub tags and of other spellings (TOML).
    ///
    /// # Errors
    /// Every problem of both.
    pub fn read(hub_tags: &str, spellings: &str) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut names = Self::default();
        match toml::from_str::<HubTagsFile>(hub_tags) {
            Ok(file) => names.read_tags(file, &mut problems),
            Err(error) => problems.push(format!("hub-tags.toml: {}", error.message())),
        }
        match toml::from_str::<SpellingsFile>(spellings) {
            Ok(file) => names.read_spellings(file, &mut problems),
            Err(error) => problems.push(format!("license-names.toml: {}", error.message())),
        }
        if problems.is_empty() { Ok(names) } else { Err(problems) }
    }

    fn read_tags(&mut self, file: HubTagsFile, problems: &mut Vec<String>) {
        for TagRow { tag, kind, license, candidates, note } in file.tags {
            let one = matches!(kind, TagKind::Single | TagKind::OrLaterOpen);
            let row = match (one, license) {
                (true, Some(license)) => expression(&format!("hub-tags.toml: {tag}"), &license, problems),
                (true, None) => {
                    problems.push(format!("hub-tags.toml: {tag}: it stands for one text, so it needs a `license`"));
                    continue;
                }
                (false, _) => Row::Unmapped(several(&candidates, &note)),
            };
            insert(&mut self.tags, "hub-tags.toml", &tag, row, problems);
        }
        for NameRow { license_name, license, candidates, note } in file.license_names {
            let row = match license {
                Some(license) => expression(&format!("hub-tags.toml: {license_name}"), &license, problems),
                None => Row::Unmapped(several(&candidates, &note)),
            };
            insert(&mut self.names_of_other, "hub-tags.toml", &license_name, row, problems);
        }
    }

    fn read_spellings(&mut self, file: SpellingsFile, problems: &mut Vec<String>) {
        const FILE: &str = "license-names.toml";
        let SpellingsFile { names, silent, absent, unmapped } = file;
        for row in names {
            let Some(license) = &row.license else {
                problems.push(format!("{FILE}: names: {:?} have no `license`", row.spellings));
                continue;
            };
            let mapped = expression(FILE, license, problems);
            self.spell(&row, &mapped, problems);
        }
        for row in silent {
            self.spell(&row, &Row::Silent, problems);
        }
        for row in absent {
            self.spell(&row, &Row::Absent, problems);
        }
        for row in unmapped {
            let reason = if row.note.is_empty() { "which text it is is not certain" } else { &row.note };
            self.spell(&row, &Row::Unmapped(reason.into()), problems);
        }
    }

    fn spell(&mut self, row: &SpellingRow, mapped: &Row, problems: &mut Vec<String>) {
        for spelling in &row.spellings {
            insert(&mut self.spellings, "license-names.toml", spelling, mapped.clone(), problems);
        }
    }

    /// Every license that a row stands for, for checking that the catalog knows it.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let rows = self.tags.values().chain(self.names_of_other.values()).chain(self.spellings.values());
        rows.filter_map(|row| if let Row::License(expression) = row { Some(expression) } else { None })
    }

    /// What a license stands for, as a source declares it.
    #[must_use]
    pub fn map(&self, source: DataSource, declared: &DeclaredLicense) -> Mapped {
        if source == DataSource::ModelCard { self.map_tag(declared) } else { self.map_spelling(&declared.text) }
    }

    fn map_tag(&self, declared: &DeclaredLicense) -> Mapped {
        let tag = key(&declared.text);
        if &*tag == "other" {
            return self.map_other(declared);
        }
        // A name beside a tag that is one already speaks of another text, or of more than the tag.
        if !declared.name.is_empty() && key(&declared.name) != tag {
            return unmapped("the card names another license beside its tag");
        }
        match self.tags.get(&tag) {
            Some(row) => mapped(row, Evidence::Tag),
            None if tag.is_empty() => Mapped::Silent,
            None => unmapped("no row of `hub-tags.toml` has this tag"),
        }
    }

    /// A name alone is never enough: makers choose it freely, and one name stands for several texts.
    fn map_other(&self, declared: &DeclaredLicense) -> Mapped {
        match self.names_of_other.get(&key(&declared.name)) {
            Some(row @ Row::License(_)) if !declared.link.is_empty() => mapped(row, Evidence::Named),
            Some(Row::License(_)) => unmapped("the card names a license and links to no text"),
            Some(row) => mapped(row, Evidence::Named),
            None => unmapped("the card says `other`, and no row of `hub-tags.toml` has the name it gives"),
        }
    }

    fn map_spelling(&self, spelling: &str) -> Mapped {
        let key = key(spelling);
        if let Some(row) = self.spellings.get(&key) {
            return mapped(row, Evidence::Secondary);
        }
        if key.is_empty() {
            return Mapped::Silent;
        }
        // An id of the SPDX list needs no row. A `LicenseRef-` may mean another text to whoever wrote it.
        match Expression::parse(spelling.trim()) {
            Ok(expression) if expression.licenses().iter().all(|id| !id.as_str().contains("Ref-")) => {
                Mapped::License { expression, evidence: Evidence::Secondary }
            }
            _ => unmapped("no row of `license-names.toml` has this spelling"),
        }
    }
}

fn mapped(row: &Row, evidence: Evidence) -> Mapped {
    match row {
        Row::License(expression) => Mapped::License { expression: expression.clone(), evidence },
        Row::Silent => Mapped::Silent,
        Row::Absent => Mapped::Absent,
        Row::Unmapped(reason) => unmapped(reason),
    }
}

fn unmapped(reason: &str) -> Mapped {
    Mapped::Unmapped { reason: reason.to_owned() }
}

fn several(candidates: &[String], note: &str) -> Box<str> {
    match (candidates, note) {
        ([], "") => "it names no text".into(),
        ([], note) => note.into(),
        (candidates, _) => format!("it stands for several texts: {}", candidates.join(", ")).into(),
    }
}

fn expression(at: &str, text: &str, problems: &mut Vec<String>) -> Row {
    match Expression::parse(text) {
        Ok(expression) => Row::License(expression),
        Err(error) => {
            problems.push(format!("{at}: {error}"));
            Row::Unmapped("its row is broken".into())
        }
    }
}

fn insert(rows: &mut BTreeMap<Box<str>, Row>, file: &str, spelling: &str, row: Row, problems: &mut Vec<String>) {
    if rows.insert(key(spelling), row).is_some() {
        problems.push(format!("{file}: `{spelling}` is there twice"));
    }
}

/// Blanks and case of a spelling mean nothing; everything else does.
fn key(spelling: &str) -> Box<str> {
    spelling.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAGS: &str = r#"
        [[tags]]
        tag = "mit"
        kind = "single"
        license = "MIT"
        [[tags]]
        tag = "openrail"
        kind = "family"
        candidates = ["LicenseRef-A", "LicenseRef-B"]
        [[tags]]
        tag = "other"
        kind = "special"
        [[license_names]]
        license_name = "mrl"
        license = "LicenseRef-MRL"
        [[license_names]]
        license_name = "modified-mit"
        candidates = ["LicenseRef-C", "LicenseRef-D"]
    "#;
    const SPELLINGS: &str = r#"
        [[names]]
        license = "Apache-2.0"
        spellings = ["Apache 2.0"]
        [[silent]]
        spellings = ["Undisclosed"]
        [[absent]]
        spellings = ["Component not include"]
        [[unmapped]]
        spellings = ["BSD"]
    "#;

    fn names() -> LicenseNames {
        LicenseNames::read(TAGS, SPELLINGS).unwrap()
    }

    #[track_caller]
    fn check(source: DataSource, text: &str, name: &str, link: &str, expected: &str) {
        let declared = DeclaredLicense { text: text.into(), name: name.into(), link: link.into() };
        let found = match names().map(source, &declared) {
            Mapped::License { expression, evidence } => format!("{expression} {evidence}"),
            Mapped::Silent => "silent".into(),
            Mapped::Absent => "absent".into(),
            Mapped::Unmapped { .. } => "unmapped".into(),
        };
        assert_eq!(found, expected, "{text} {name} {link}");
    }

    #[test]
    fn a_tag_is_a_license_only_where_it_stands_for_one_text() {
        let card = DataSource::ModelCard;
        check(card, "MIT", "", "", "MIT TAG");
        check(card, "openrail", "", "", "unmapped");
        check(card, "other", "mrl", "https://x", "LicenseRef-MRL NAMED");
        check(card, "other", "mrl", "", "unmapped");
        check(card, "other", "modified-mit", "https://x", "unmapped");
        check(card, "other", "", "https://x", "unmapped");
        check(card, "apache 2.0", "", "", "unmapped");
        check(card, "mit", "modified-mit", "https://x", "unmapped");
        check(card, "mit", "MIT", "https://x", "MIT TAG");
        check(card, "", "", "", "silent");
    }

    #[test]
    fn a_spelling_is_a_license_only_where_a_row_or_the_spdx_list_says_so() {
        let mot = DataSource::Mot;
        check(mot, "  apache  2.0 ", "", "", "Apache-2.0 SECONDARY");
        check(mot, "CC-BY-SA-4.0", "", "", "CC-BY-SA-4.0 SECONDARY");
        check(mot, "MIT OR Apache-2.0", "", "", "MIT OR Apache-2.0 SECONDARY");
        check(mot, "undisclosed", "", "", "silent");
        check(mot, "Component not include", "", "", "absent");
        check(mot, "BSD", "", "", "unmapped");
        check(mot, "LicenseRef-MRL", "", "", "unmapped");
        check(mot, "DocumentRef-x:LicenseRef-MRL", "", "", "unmapped");
        check(mot, "Apache 2.0 with changes", "", "", "unmapped");
    }

    #[test]
    fn a_table_that_contradicts_itself_is_refused() {
        let twice = format!("{SPELLINGS}[[silent]]\nspellings = [\"apache  2.0\"]");
        assert_eq!(LicenseNames::read(TAGS, &twice).unwrap_err().len(), 1);
        let broken = SPELLINGS.replace("Apache-2.0", "Apache 2");
        assert_eq!(LicenseNames::read(TAGS, &broken).unwrap_err().len(), 1);
        assert_eq!(LicenseNames::read("tags = 1", "x").unwrap_err().len(), 2);
    }
}
