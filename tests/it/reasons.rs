//! The pages of `docs/reasons/`: one a reason code, an index in the order of the codes, and examples that give what they say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use weighbridge::domain::eligibility::{Effect, Reason, Verdict};

use crate::cli::{Serving, weighbridge};

const INDEX: &str = "README.md";

/// What every page says, in this order.
const POINTS: &[&str] = &["Effect", "Said when", "Facts", "What to do"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reasons")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("docs/reasons/{name}: {error}"))
}

fn page_name(reason: Reason) -> String {
    format!("{}.md", reason.as_str().to_ascii_lowercase().replace('_', "-"))
}

/// One line of text, however it was broken.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_short(line: &str) -> bool {
    line.chars().count() <= 130
}

/// What stands between backticks.
fn code_words(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A page, taken apart.
struct Page {
    reason: Reason,
    text: String,
}

/// A block of code: its language, the name of the file that it is, if any, and what it holds.
struct Block {
    language: String,
    file: String,
    text: String,
}

impl Page {
    fn of(reason: Reason) -> Self {
        Self { reason, text: read(&page_name(reason)) }
    }

    fn all() -> Vec<Self> {
        Reason::ALL.iter().map(|reason| Self::of(*reason)).collect()
    }

    /// A point of the list, on one line; empty where it is not there.
    fn point(&self, title: &str) -> String {
        let start = format!("- **{title}:** ");
        let Some((_, rest)) = self.text.split_once(&start) else { return String::new() };
        let end = rest.find("\n- ").into_iter().chain(rest.find("\n\n")).min();
        flat(&rest[..end.unwrap_or(rest.len())])
    }

    /// The effects named; a verdict after one must be that to which it leads.
    fn effects(&self) -> Vec<&'static str> {
        let mut out: Vec<Effect> = Vec::new();
        for word in code_words(&self.point("Effect")) {
            match (Effect::parse(word), Verdict::parse(word)) {
                (Some(effect), _) => out.push(effect),
                (None, Some(verdict)) => assert_eq!(out.last().map(|e| e.verdict()), Some(verdict), "{}", self.reason),
                (None, None) => panic!("{}: `{word}` is neither an effect nor a verdict", self.reason),
            }
        }
        out.into_iter().map(Effect::as_str).collect()
    }

    fn blocks(&self) -> Vec<Block> {
        let mut out = Vec::new();
        for (i, part) in self.text.split("```").enumerate().filter(|(i, _)| i % 2 == 1) {
            let (head, text) = part.split_once('\n').unwrap_or_else(|| panic!("{}: block {i}", self.reason));
            let (language, file) = head.split_once(" file=").unwrap_or((head, ""));
            out.push(Block { language: language.to_owned(), file: file.to_owned(), text: text.to_owned() });
        }
        out
    }

    /// The commands of the example, without the name of the program.
    fn commands(&self) -> Vec<Vec<String>> {
        let shell = self.blocks().into_iter().filter(|block| block.language == "sh");
        let text: String = shell.map(|block| block.text.replace("\\\n", " ")).collect();
        let words = |line: &str| line.split_whitespace().skip(1).map(ToOwned::to_owned).collect();
        text.lines().inspect(|line| assert!(line.starts_with("weighbridge "), "{line}")).map(words).collect()
    }

    /// The message of the finding as the page quotes it.
    fn message(&self) -> String {
        let quoted = self.text.lines().filter_map(|line| line.strip_prefix("> "));
        flat(&quoted.collect::<Vec<_>>().join(" "))
    }

    /// Whether its example needs records of its own, so that it runs on a server.
    fn brings_records(&self) -> bool {
        self.blocks().iter().any(|block| !block.file.is_empty())
    }
}

#[test]
fn the_index_holds_every_code_in_order() {
    let index = read(INDEX);
    let rows: Vec<Vec<&str>> = index
        .lines()
        .filter(|line| line.starts_with("| ["))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let codes: Vec<String> = rows.iter().map(|row| row[0].to_owned()).collect();
    let link = |reason: &Reason| format!("[{reason}]({})", page_name(*reason));
    let expected: Vec<String> = Reason::ALL.iter().map(link).collect();
    assert_eq!(codes, expected, "the table of docs/reasons/README.md");
    assert!(index.lines().all(is_short), "docs/reasons/README.md: a line is too long");
    for (row, page) in rows.iter().zip(Page::all()) {
        assert_eq!(code_words(row[1]).collect::<Vec<_>>(), page.effects(), "the effects of {}", page.reason);
        assert!(row[2].ends_with('.'), "{} has its sentence", page.reason);
    }
}

#[test]
fn every_code_has_its_page_and_every_page_its_code() {
    for page in Page::all() {
        assert_eq!(page.text.lines().next(), Some(&*format!("# {}", page.reason)));
        for title in POINTS {
            assert!(!page.point(title).is_empty(), "{}: `{title}` is not there", page.reason);
        }
        assert!(!page.effects().is_empty(), "{}: no effect is named", page.reason);
        assert!(page.text.lines().all(is_short), "{}: a line is too long", page.reason);
    }
    let known: BTreeSet<String> =
        Reason::ALL.iter().map(|reason| page_name(*reason)).chain([INDEX.to_owned()]).collect();
    let files = std::fs::read_dir(folder()).unwrap();
    let found: BTreeSet<String> = files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(
        found.symmetric_difference(&known).collect::<Vec<_>>(),
        [""; 0],
        "a page without a code, or a code without one"
    );
}

/// Runs an example and answers with what is wrong with it. Where it says `--offline` the server, which holds nothing but
/// the built-in catalog then, answers all the same: it gives one answer with the command, and starts once.
fn try_example(page: &Page, server: &str) -> Result<(), String> {
    let folder = TempDir::new().unwrap();
    for block in page.blocks().iter().filter(|block| !block.file.is_empty()) {
        std::fs::write(folder.path().join(&block.file), &block.text).unwrap();
    }
    let mut answer = Value::Null;
    for command in page.commands() {
        let is_check = command.first().is_some_and(|word| word == "check");
        if is_check && !page.brings_records() && !command.iter().any(|word| word == "--offline") {
            return Err("it does not run on the built-in catalog alone".to_owned());
        }
        let words = command.iter().filter(|word| *word != "--offline");
        let form: &[&str] = if is_check { &["--format", "json"] } else { &[] };
        let mut program = weighbridge();
        program.current_dir(folder.path()).env("WEIGHBRIDGE_SERVER", server).args(words).args(form);
        let output = program.output().unwrap();
        let code = output.status.code();
        if !matches!(code, Some(0 | 4 | 5)) {
            return Err(format!("{code:?}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        if is_check {
            answer = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        }
    }
    let findings = answer["decision"]["findings"].as_array().ok_or("it does not end with a check")?;
    let said: Vec<&Value> = findings.iter().filter(|f| f["reason"] == page.reason.as_str()).collect();
    for finding in &said {
        let effect = finding["effect"].as_str().unwrap_or_default().trim_start_matches("EFFECT_");
        if !page.effects().contains(&effect) {
            return Err(format!("the effect {effect} is not named"));
        }
    }
    let messages: Vec<String> = said.iter().filter_map(|f| f["message"].as_str()).map(flat).collect();
    if messages.contains(&page.message()) {
        return Ok(());
    }
    let others = findings.iter().filter_map(|f| f["reason"].as_str()).collect::<Vec<_>>().join(", ");
    Err(format!("`{}` is not said, but {messages:?}; reasons: {others}", page.message()))
}

#[test]
fn every_example_gives_its_reason() {
    let folder = TempDir::new().unwrap();
    let serving = Serving::start(folder.path(), &["--store", "memory"]);
    // Examples that bring records come last, so that the others see the built-in catalog alone.
    let mut pages = Page::all();
    pages.sort_by_key(Page::brings_records);
    let failures: Vec<String> = pages
        .iter()
        .filter_map(|page| try_example(page, serving.address()).err().map(|why| format!("{}: {why}", page.reason)))
        .collect();
    assert!(failures.is_empty(), "examples that do not hold:\n{}", failures.join("\n"));
}
