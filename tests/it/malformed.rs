//! Malformed catalogs, one kind a file of `tests/cases/malformed`: every problem is named with file, key and what was
//! expected, and nothing panics.

use std::path::Path;

use serde::Deserialize;
use weighbridge::registry::builtin;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// `file: path: part of the message`, one for each problem, in any order.
    problems: Vec<String>,
    /// What is put beside a sound catalog.
    files: Vec<CaseFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    path: String,
    content: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a problem is the expected one: it starts with file and path, and says the rest somewhere.
fn is(problem: &str, expected: &str) -> bool {
    let (start, part) = match expected.splitn(3, ": ").collect::<Vec<_>>()[..] {
        [file, path, part] => (format!("{file}: {path}: "), part),
        [file, part] => (format!("{file}: "), part),
        _ => panic!("`{expected}` is no `file: path: part of the message`"),
    };
    problem.strip_prefix(&start).is_some_and(|message| message.contains(part))
}

#[test]
fn every_problem_is_named_with_file_key_and_what_was_expected() {
    let sound: Vec<(&str, Vec<u8>)> = ["vocabulary.toml", "openness/mof-1.0.toml", "hardware/assumptions.toml"]
        .into_iter()
        .map(|path| (path, std::fs::read(root().join("data").join(path)).unwrap()))
        .collect();
    let mut cases = 0;
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(root().join("tests/cases/malformed")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let case: Case =
            toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let sound = sound.iter().map(|(path, content)| (Path::new(*path), &content[..]));
        let added = case.files.iter().map(|file| (Path::new(&file.path), file.content.as_bytes()));
        let found = match builtin::read(&sound.chain(added).collect()) {
            Ok(_) => Vec::new(),
            Err(found) => found,
        };
        cases += 1;
        let missing = case.problems.iter().filter(|expected| !found.iter().any(|problem| is(problem, expected)));
        wrong.extend(missing.map(|expected| format!("{name}: not said: {expected}")));
        let more = found.iter().filter(|problem| !case.problems.iter().any(|expected| is(problem, expected)));
        wrong.extend(more.map(|problem| format!("{name}: said besides: {problem}")));
        if found.iter().any(|problem| problem.contains('\n')) {
            wrong.push(format!("{name}: a problem has a line break"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases >= 60, "only {cases} cases were found");
}

#[test]
fn an_empty_catalog_says_what_is_missing() {
    let found = builtin::read(&Vec::new()).unwrap_err();
    assert!(found.iter().any(|problem| problem.starts_with("vocabulary.toml: ")), "{found:?}");
    assert!(found.iter().any(|problem| problem.starts_with("openness/: ")), "{found:?}");
}
