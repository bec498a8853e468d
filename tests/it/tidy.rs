//! House rules that the compiler does not check: which room of `src/` may import which, the size of a file, reasons for
//! lint exceptions, leftovers.
//!
//! One crate has no walls between its modules, so [`ROOMS`] draws them: for each room, what it may name inside the crate
//! and what it never names outside. A new arrow between rooms is a change of that table, in a commit that says why.
//!
//! The check reads tokens, not syntax: `use` trees and every path written out in code, `super::` included; comments and
//! string literals do not count. It cannot see what a macro of another crate expands to.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// How many lines of code, without blank lines, comments and tests, one file may hold.
const CODE_LINES_MAX: usize = 800;

/// The only file that knows sled, so that another storage engine costs one file.
const SLED_FILE: &str = "src/store/sled.rs";

/// The only folder that knows etcd's client.
const ETCD_FOLDER: &str = "src/store/etcd/";

/// What a room that only wires may name: every other room.
const EVERY_ROOM: &[&str] = &["*"];

const STANDARD_CRATES: &[&str] = &["std", "core", "alloc"];

/// What makes a function impure: it would see the disk, the network, the environment or the time.
const IMPURE: &[&str] = &["std::fs", "std::net", "std::env", "std::time::Instant", "std::time::SystemTime", "jiff"];

/// One row of the table: a room of `src/` (a directory or a file) and the paths its code names.
struct Room {
    name: &'static str,
    /// Paths inside the crate that the room may name beside its own.
    may: &'static [&'static str],
    /// Rooms of which it may name the error types, and nothing else.
    errors_of: &'static [&'static str],
    /// When given, the only crates it may name. In tests it may name the crates that exist for tests, too.
    only_crates: Option<&'static [&'static str]>,
    /// Paths it never names. A crate stands for its family: `tonic` is `tonic_types`, too.
    never: &'static [&'static str],
}

/// A row without entries, to be filled in.
const fn room(name: &'static str) -> Room {
    Room { name, may: &[], errors_of: &[], only_crates: None, never: &[] }
}

const ROOMS: &[Room] = &[
    // Pure: the same facts give the same answer. Serde is out, so that renaming a field never changes the disk or the
    // wire; the list of crates is closed, so that a new one is a decision.
    Room {
        only_crates: Some(&[
            "std",
            "core",
            "alloc",
            "spdx",
            "thiserror",
            "strsim",
            "smallvec",
            "foldhash",
            "percent_encoding",
        ]),
        never: IMPURE,
        ..room("domain")
    },
    // A view in memory: it knows neither how records are kept nor how they travel.
    // The compiled policies are part of a snapshot, so that a check sees those of its revision.
    Room { may: &["domain", "policy"], never: &["sled", "prost", "tonic"], ..room("catalog") },
    // Pure as well; of the catalog it sees the filter language only.
    Room {
        may: &["domain", "catalog::filter"],
        never: &[
            "sled",
            "prost",
            "tonic",
            "tokio",
            "std::fs",
            "std::net",
            "std::env",
            "std::time::Instant",
            "std::time::SystemTime",
        ],
        ..room("policy")
    },
    // Known models come in through a trait of the domain.
    Room { may: &["domain"], never: &["sled", "prost", "tonic"], ..room("ingest") },
    // Opaque bytes by key and revision.
    Room { never: &["prost", "tonic"], ..room("store") },
    // The use cases: the one room that joins the others; messages are the persisted form. The CLI calls it without a server, so it knows no transport.
    Room {
        may: &["domain", "catalog", "policy", "ingest", "store", "convert", "pb"],
        never: &["tonic", "sled"],
        ..room("registry")
    },
    // What is shown to others later: it reads and writes messages, and neither asks nor keeps anything.
    Room {
        may: &["convert", "pb"],
        never: &["sled", "tonic", "tokio", "std::fs", "std::net", "std::env"],
        ..room("attest")
    },
    // Who may call what: it knows no transport, and nothing of what is asked for.
    Room { never: &["tonic", "prost", "sled", "tokio", "std::fs", "std::net", "std::env"], ..room("auth") },
    // Translates and has no opinion: of the rooms that decide or keep something it knows how they fail.
    Room {
        may: &["domain", "catalog", "policy", "ingest", "auth", "pb"],
        errors_of: &["store", "registry"],
        never: &["tokio", "sled"],
        ..room("convert")
    },
    // Convert in, call the registry, convert out.
    Room {
        may: &["domain", "catalog", "registry", "convert", "attest", "pb", "telemetry"],
        never: &["sled", "crate::catalog::index"],
        ..room("service")
    },
    // What asks the one check from outside: it speaks its callers' protocols, and holds no rule of its own.
    Room { may: &["registry", "service", "pb"], never: &["sled", "std::fs", "std::env"], ..room("gate") },
    Room { may: &["domain"], ..room("config") },
    Room { may: &["domain", "config"], ..room("telemetry") },
    // The types generated from the protos.
    room("pb"),
    // What a program elsewhere asks with: it comes without the rest.
    Room { may: &["pb"], never: &["sled", "std::fs", "std::env"], ..room("client") },
    // These wire the others together; that they hold no logic of their own is for the reviewer to see.
    Room { may: EVERY_ROOM, ..room("server") },
    Room { may: EVERY_ROOM, ..room("cli") },
    Room { may: EVERY_ROOM, ..room("main") },
    Room { may: EVERY_ROOM, ..room("lib") },
];

#[test]
fn the_house_keeps_its_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml is readable");
    let crates = Crates::from_manifest(&manifest).expect("Cargo.toml is TOML");
    let files = read_sources(root).expect("src is readable");
    assert!(files.iter().any(|(path, _)| path == "src/lib.rs"), "the sources were not found, so nothing was checked");

    let offences: Vec<String> = files
        .iter()
        .flat_map(|(path, source)| check_file(path, source, &crates))
        .map(|offence| offence.to_string())
        .collect();

    assert!(
        offences.is_empty(),
        "{} offences against the house rules (see the table in tests/it/tidy.rs):\n{}",
        offences.len(),
        offences.join("\n")
    );
}

/// A broken rule, where, and how.
struct Offence {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// The names of the crates that code can name, as code spells them.
struct Crates {
    normal: BTreeSet<String>,
    dev_only: BTreeSet<String>,
}

impl Crates {
    fn from_manifest(manifest: &str) -> Result<Self, toml::de::Error> {
        let manifest: toml::Table = manifest.parse()?;
        let mut tables = vec![&manifest];
        if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
            tables.extend(targets.values().filter_map(toml::Value::as_table));
        }
        let names = |key: &str| -> BTreeSet<String> {
            tables
                .iter()
                .filter_map(|table| table.get(key)?.as_table())
                .flat_map(toml::Table::keys)
                .map(|name| name.replace('-', "_"))
                .collect()
        };
        let normal = names("dependencies");
        let dev_only = names("dev-dependencies").difference(&normal).cloned().collect();
        Ok(Self { normal, dev_only })
    }

    fn contains(&self, name: &str) -> bool {
        STANDARD_CRATES.contains(&name) || self.normal.contains(name) || self.dev_only.contains(name)
    }
}

/// Every Rust file below `src/`, with its path relative to the repository, in a fixed order.
fn read_sources(root: &Path) -> io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let mut directories = vec![root.join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root).unwrap_or(&path);
                let name = relative.to_string_lossy().replace('\\', "/");
                files.push((name, fs::read_to_string(&path)?));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// All offences of one file, in the order of its lines.
fn check_file(path: &str, source: &str, crates: &Crates) -> Vec<Offence> {
    let tokens = lex(source);
    let tests_from = trailing_tests(&tokens);
    let mut found = Vec::new();
    check_imports(path, &tokens, tests_from, crates, &mut found);
    check_leftovers(&tokens, &mut found);
    check_lint_reasons(&tokens, &mut found);
    check_size(tokens.get(..tests_from).unwrap_or(&tokens), &mut found);
    found.sort();
    found.into_iter().map(|(line, what)| Offence { path: path.to_owned(), line, what }).collect()
}

type Found = Vec<(usize, String)>;

fn check_imports(path: &str, tokens: &[Token<'_>], tests_from: usize, crates: &Crates, found: &mut Found) {
    let module = module_of(path);
    let name = module.first().map_or_else(|| path.trim_start_matches("src/").trim_end_matches(".rs"), String::as_str);
    let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
        found.push((1, format!("`{name}` is a room without a row in the table of tests/it/tidy.rs")));
        return;
    };
    let is_test_file = path.ends_with("/tests.rs") || path.contains("/tests/");
    for named in named_paths(tokens) {
        let in_tests = is_test_file || named.token >= tests_from;
        if let Some(absolute) = named.resolve(&module, crates)
            && let Some(what) = judge(path, room, &absolute, in_tests, crates)
        {
            found.push((named.line, what));
        }
    }
}

/// What is wrong with `room` naming the path, if anything.
fn judge(file: &str, room: &Room, path: &[String], in_tests: bool, crates: &Crates) -> Option<String> {
    let (head, inner) = path.split_first()?;
    let written = path.join("::");
    if head == "sled" && file != SLED_FILE {
        return Some(format!("`{written}`: sled is named in {SLED_FILE} only"));
    }
    if head == "etcd_client" && !file.starts_with(ETCD_FOLDER) {
        return Some(format!("`{written}`: etcd's client is named in {ETCD_FOLDER} only"));
    }
    if room.never.iter().any(|pattern| covers(pattern, path)) {
        return Some(format!("`{}` never names `{written}`", room.name));
    }
    if head == "crate" {
        let first = inner.first()?;
        let own = first == room.name;
        let allowed =
            room.may.iter().any(|may| *may == "*" || may.split("::").eq(inner.iter().take(may.split("::").count())));
        let error = room.errors_of.contains(&first.as_str()) && inner.iter().any(|segment| segment.ends_with("Error"));
        return (!own && !allowed && !error).then(|| format!("`{}` may not name `{written}`", room.name));
    }
    let only = room.only_crates?;
    let allowed = only.contains(&head.as_str()) || (in_tests && crates.dev_only.contains(head));
    (!allowed)
        .then(|| format!("`{}` names the crate `{head}` in `{written}`, and its list of crates is closed", room.name))
}

/// Whether the path lies at or below the pattern, or is a glob import from above it.
fn covers(pattern: &str, path: &[String]) -> bool {
    let pattern: Vec<&str> = pattern.split("::").collect();
    if let ([family], Some(head)) = (pattern.as_slice(), path.first()) {
        return head.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    }
    pattern
        .iter()
        .zip(path)
        .enumerate()
        .all(|(index, (wanted, segment))| segment == wanted || (segment == "*" && index + 1 == path.len()))
        && (path.len() >= pattern.len() || path.last().is_some_and(|last| last == "*"))
}

fn check_leftovers(tokens: &[Token<'_>], found: &mut Found) {
    for window in tokens.windows(3) {
        if let [name, mark, next] = window
            && matches!(name.text, "todo" | "unimplemented" | "dbg")
            && mark.text == "!"
            && next.text != "="
        {
            found.push((name.line, format!("`{}!` was left behind", name.text)));
        }
    }
}

fn check_lint_reasons(tokens: &[Token<'_>], found: &mut Found) {
    for (index, token) in tokens.iter().enumerate() {
        let is_attribute = token.text == "#"
            && matches!(text_at(tokens, index + 1), "[" | "!")
            && (text_at(tokens, index + 1) == "[" || text_at(tokens, index + 2) == "[");
        if !is_attribute {
            continue;
        }
        let attribute = group(tokens.get(index..).unwrap_or_default(), "[", "]");
        for (at, word) in attribute.iter().enumerate() {
            if matches!(word.text, "allow" | "expect") && text_at(attribute, at + 1) == "(" {
                let arguments = group(attribute.get(at..).unwrap_or_default(), "(", ")");
                if !arguments.iter().any(|argument| argument.text == "reason") {
                    found.push((word.line, format!("`{}` of a lint without a reason", word.text)));
                }
            }
        }
    }
}

fn check_size(production: &[Token<'_>], found: &mut Found) {
    let lines: BTreeSet<usize> =
        production.iter().flat_map(|token| token.line..=token.line + token.text.matches('\n').count()).collect();
    if lines.len() > CODE_LINES_MAX {
        found.push((1, format!("{} lines of code in one file, more than {CODE_LINES_MAX}; split it", lines.len())));
    }
}

/// The module path of a file: `src/a/b.rs` and `src/a/b/mod.rs` are `a::b`; the roots of the crates are empty.
fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
    let last = module.last().map(String::as_str);
    if last == Some("mod") || (module.len() == 1 && matches!(last, Some("lib" | "main"))) {
        module.pop();
    }
    module
}

/// A path as it stands in the code.
struct NamedPath {
    segments: Vec<String>,
    /// It started with `::`, so its first segment is a crate.
    global: bool,
    line: usize,
    token: usize,
    /// The inline modules of the file around it.
    inline: Vec<String>,
    /// Its first segment is a module declared in the same file.
    local: bool,
}

impl NamedPath {
    /// The path from the crate's root (`crate::…`) or from another crate; none for names of the file's own.
    fn resolve(&self, module: &[String], crates: &Crates) -> Option<Vec<String>> {
        let head = self.segments.first()?;
        let mut here: Vec<String> = module.iter().chain(&self.inline).cloned().collect();
        let rest = match head.as_str() {
            _ if self.global => return Some(self.segments.clone()),
            "crate" => return Some(self.segments.clone()),
            "self" => self.segments.get(1..)?,
            "super" => {
                let ups = self.segments.iter().take_while(|s| *s == "super").count();
                here.truncate(here.len().saturating_sub(ups));
                self.segments.get(ups..)?
            }
            _ if self.local => self.segments.as_slice(),
            // What `use std::time;` leaves to write. The same import of `std::fs` is an offence by itself.
            "time" => {
                return Some([&["std".to_owned()], self.segments.as_slice()].concat());
            }
            name if crates.contains(name) => return Some(self.segments.clone()),
            _ => return None,
        };
        let root = ["crate".to_owned()];
        Some([&root, here.as_slice(), rest].concat())
    }
}

/// Every path of the file: the leaves of `use` trees, and paths with `::` anywhere else.
fn named_paths(tokens: &[Token<'_>]) -> Vec<NamedPath> {
    let modules: BTreeSet<&str> = tokens
        .windows(2)
        .filter_map(|pair| match pair {
            [keyword, name] if keyword.text == "mod" => Some(name.text),
            _ => None,
        })
        .collect();
    let mut paths = Vec::new();
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0_usize;
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let mut push = |segments: Vec<String>, global: bool, at: usize, line: usize| {
            paths.push(NamedPath {
                local: segments.first().is_some_and(|s| modules.contains(s.as_str())),
                segments,
                global,
                line,
                token: at,
                inline: inline.iter().map(|(name, _)| name.clone()).collect(),
            });
        };
        match token.text {
            "use" if text_at(tokens, index + 1) != "<" => {
                let tree = tokens.get(index + 1..).unwrap_or_default();
                let tree: Vec<Token<'_>> = tree.iter().take_while(|token| token.text != ";").copied().collect();
                let global = tree.first().is_some_and(|token| token.text == "::");
                for (segments, line) in use_leaves(&tree) {
                    push(segments, global, index, line);
                }
                index += tree.len();
            }
            "crate" if index > 0 && text_at(tokens, index - 1) == "extern" => {
                let name = text_at(tokens, index + 1).to_owned();
                push(vec![name], true, index, token.line);
            }
            "mod" if text_at(tokens, index + 2) == "{" => {
                inline.push((text_at(tokens, index + 1).to_owned(), depth));
            }
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                inline.retain(|(_, opened_at)| *opened_at < depth);
            }
            word if token.is_word() && text_at(tokens, index + 1) == "::" => {
                let before = index.checked_sub(1).and_then(|i| tokens.get(i));
                let second = index.checked_sub(2).and_then(|i| tokens.get(i));
                let global = before.is_some_and(|b| b.text == "::");
                let continues = global && second.is_some_and(|s| (s.is_word() && !s.is_keyword()) || s.text == ">");
                if !continues {
                    let at = index;
                    let mut segments = vec![word.to_owned()];
                    while text_at(tokens, index + 1) == "::"
                        && let Some(next) = tokens.get(index + 2).filter(|next| next.is_word())
                    {
                        segments.push(next.text.to_owned());
                        index += 2;
                    }
                    // One segment is a call with its type written out: `parse::<u8>()`.
                    if segments.len() > 1 {
                        push(segments, global, at, token.line);
                    }
                }
            }
            _ => {}
        }
        index += 1;
    }
    paths
}

/// The leaves of one `use` tree, each with its whole path; `self` names its parent, an alias does not count.
fn use_leaves(tree: &[Token<'_>]) -> Vec<(Vec<String>, usize)> {
    let mut leaves = Vec::new();
    let mut outer: Vec<Vec<String>> = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut line = None;
    let mut tokens = tree.iter();
    while let Some(token) = tokens.next() {
        match token.text {
            "::" => {}
            "{" => outer.push(path.clone()),
            "," | "}" => {
                if let Some(line) = line.take() {
                    leaves.push((path.clone(), line));
                }
                if token.text == "}" {
                    outer.pop();
                }
                path = outer.last().cloned().unwrap_or_default();
            }
            "as" => {
                tokens.next();
            }
            "self" if !path.is_empty() => line = Some(token.line),
            word => {
                path.push(word.to_owned());
                line = Some(token.line);
            }
        }
    }
    if let Some(line) = line {
        leaves.push((path, line));
    }
    leaves
}

/// The index of the first token of a `#[cfg(test)]` module that closes the file; past the end when there is none.
fn trailing_tests(tokens: &[Token<'_>]) -> usize {
    let opening = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    tokens
        .windows(opening.len())
        .enumerate()
        .filter(|(_, window)| window.iter().map(|token| token.text).eq(opening))
        .map(|(start, _)| start)
        .find(|start| {
            let module = tokens.get(start + opening.len()..).unwrap_or_default();
            text_at(module, 1) == "{" && group(module, "{", "}").len() == module.len()
        })
        .unwrap_or(tokens.len())
}

/// The tokens up to the one that closes the first group of this kind.
fn group<'t, 's>(tokens: &'t [Token<'s>], open: &str, close: &str) -> &'t [Token<'s>] {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        if token.text == open {
            depth += 1;
        } else if token.text == close {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return tokens.get(..=index).unwrap_or(tokens);
            }
        }
    }
    tokens
}

fn text_at<'s>(tokens: &[Token<'s>], index: usize) -> &'s str {
    tokens.get(index).map_or("", |token| token.text)
}

/// A piece of code and the line it starts on; comments and blanks are gone, `::` is one piece.
#[derive(Clone, Copy)]
struct Token<'s> {
    text: &'s str,
    line: usize,
}

impl Token<'_> {
    fn is_word(&self) -> bool {
        let mut chars = self.text.chars();
        chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(|c| c.is_alphanumeric() || c == '_')
    }

    /// Whether it is a word after which `::` starts a path instead of continuing one.
    fn is_keyword(&self) -> bool {
        matches!(
            self.text,
            "as" | "dyn" | "else" | "for" | "if" | "impl" | "in" | "match" | "mut" | "return" | "where" | "while"
        )
    }
}

fn lex(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let blank = if first.is_whitespace() { Some(first.len_utf8()) } else { comment_length(rest) };
        let length = blank.unwrap_or_else(|| {
            literal_length(rest).unwrap_or_else(|| match first {
                c if c.is_alphanumeric() || c == '_' => word_length(rest),
                _ if rest.starts_with("::") => 2,
                c => c.len_utf8(),
            })
        });
        let (text, tail) = rest.split_at(length);
        if blank.is_none() {
            tokens.push(Token { text, line });
        }
        line += text.matches('\n').count();
        rest = tail;
    }
    tokens
}

fn word_length(rest: &str) -> usize {
    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
}

fn comment_length(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    rest.starts_with("/*").then(|| {
        let mut depth = 0_usize;
        let mut previous = ' ';
        for (index, c) in rest.char_indices() {
            // A mark belongs to one delimiter only: `/*/` opens and does not close.
            previous = match (previous, c) {
                ('/', '*') => {
                    depth += 1;
                    ' '
                }
                ('*', '/') if depth == 1 => return index + 1,
                ('*', '/') => {
                    depth = depth.saturating_sub(1);
                    ' '
                }
                _ => c,
            };
        }
        rest.len()
    })
}

/// The length of a string, character or lifetime at the start of the text.
fn literal_length(rest: &str) -> Option<usize> {
    for prefix in ["r", "br", "cr"] {
        if let Some(after) = rest.strip_prefix(prefix) {
            let body = after.trim_start_matches('#');
            let hashes = after.len() - body.len();
            if let Some(body) = body.strip_prefix('"') {
                let start = rest.len() - body.len();
                let end = format!("\"{}", "#".repeat(hashes));
                return Some(body.find(&end).map_or(rest.len(), |at| start + at + end.len()));
            }
        }
    }
    let body = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
    let start = rest.len() - body.len();
    if body.starts_with('"') {
        return Some(start + quoted_length(body, '"'));
    }
    let after = body.strip_prefix('\'')?;
    let mut chars = after.chars();
    let is_char = chars.next().is_some_and(|c| c == '\\') || chars.next() == Some('\'');
    Some(if is_char { start + quoted_length(body, '\'') } else { start + 1 + word_length(after) })
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return index + 1;
        }
    }
    text.len()
}

mod checker {
    //! The checker itself, on sources in memory: a rule that cannot fail protects nothing.

    use super::{CODE_LINES_MAX, Crates, check_file};

    fn crates() -> Crates {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Crates {
            normal: set(&[
                "jiff",
                "prost",
                "serde",
                "sled",
                "smallvec",
                "spdx",
                "tokio",
                "tokio_stream",
                "tonic",
                "tonic_types",
                "tracing",
            ]),
            dev_only: set(&["proptest"]),
        }
    }

    fn offences(path: &str, source: &str) -> Vec<String> {
        check_file(path, source, &crates()).iter().map(ToString::to_string).collect()
    }

    /// Expects one offence for each `//~` mark, on its line, that contains the text of the mark; the marks of one line
    /// stand in the order of the sorted messages.
    #[track_caller]
    fn check(path: &str, source: &str) {
        let mut wanted = Vec::new();
        for (index, line) in source.lines().enumerate() {
            for mark in line.split("//~").skip(1) {
                wanted.push((format!("{path}:{}: ", index + 1), mark.trim()));
            }
        }
        let found = offences(path, source);
        assert_eq!(found.len(), wanted.len(), "wanted {wanted:?}, found {found:#?}");
        for ((place, text), offence) in wanted.iter().zip(&found) {
            assert!(offence.starts_with(place) && offence.contains(text), "wanted {place}{text}, found {offence}");
        }
    }

    #[test]
    fn the_manifest_gives_the_names_of_crates_as_code_spells_them() {
        let crates = Crates::from_manifest(
            "dependencies = { tokio-stream = '1', tokio = { version = '1' } }\n\
             target.'cfg(unix)'.dependencies.libc = '0.2'\n\
             dev-dependencies = { tokio = '1', proptest = '1' }\n",
        )
        .unwrap();
        assert!(crates.normal.iter().eq(["libc", "tokio", "tokio_stream"]));
        assert!(crates.dev_only.iter().eq(["proptest"]));
        assert!(crates.contains("std") && !crates.contains("tonic"));
    }

    #[test]
    fn a_wrong_import_is_reported_with_its_line() {
        check(
            "src/domain/name.rs",
            "use crate::store::Store; //~ `domain` may not name `crate::store::Store`\n\
             use std::fmt;\n\
             use tonic::Status; //~ names the crate `tonic`\n",
        );
    }

    #[test]
    fn every_leaf_of_a_use_tree_is_read() {
        check(
            "src/domain/license/mod.rs",
            "use std::{\n    collections::BTreeMap,\n    fs::{self, File}, //~ std::fs::File` //~ std::fs`\n    \
             time::{Duration, Instant as Now}, //~ std::time::Instant\n};\n",
        );
    }

    #[test]
    fn a_path_in_the_middle_of_code_is_read() {
        check(
            "src/registry/get_model.rs",
            "fn f() -> Result<(), tonic::Status> { //~ tonic::Status\n    \
             let x = Some(1).map::<crate::service::Id, _>(g); //~ crate::service::Id\n    \
             match x { ::sled::Event => a.tonic::<B>(), } //~ sled is named in src/store/sled.rs only\n}\n",
        );
    }

    #[test]
    fn super_does_not_lead_out_of_the_room_unseen() {
        check(
            "src/domain/eligibility/evaluate.rs",
            "use super::super::license::Terms;\n\
             use super::super::super::catalog::Snapshot; //~ crate::catalog::Snapshot\n\
             mod inner { use super::super::decision::Decision; use super::super::super::super::policy::P; } //~ policy\n\
             use super::decision::Verdict;\n",
        );
    }

    #[test]
    fn a_glob_from_above_covers_what_lies_below() {
        check(
            "src/domain/name.rs",
            "use std::*; //~ std::*\nuse crate::*; //~ crate::*\nuse std::time::*; //~ std::time::*\nuse super::model::*;\n",
        );
    }

    #[test]
    fn a_clock_in_the_domain_is_reported() {
        check(
            "src/domain/model.rs",
            "use std::time;\n\
             fn f() { time::Instant::now(); } //~ std::time::Instant\n\
             fn g() { std::time::SystemTime::now(); } //~ std::time::SystemTime\n\
             fn h() { jiff::Timestamp::now(); } //~ jiff\n\
             fn i(limit: time::Duration) {}\n",
        );
    }

    #[test]
    fn a_crate_stands_for_its_family() {
        check("src/catalog/mod.rs", "use tonic_types::ErrorDetails; //~ tonic_types\n");
        check("src/policy/mod.rs", "use tokio_stream::Stream; //~ tokio_stream\n");
        check("src/convert/mod.rs", "#[tokio::main] //~ tokio::main\nasync fn f() {}\n");
    }

    #[test]
    fn derives_and_attributes_are_code() {
        check(
            "src/domain/model.rs",
            "#[derive(Clone, serde::Serialize)] //~ serde\nstruct A;\n#[tracing::instrument] //~ tracing\nfn f() {}\n",
        );
    }

    #[test]
    fn each_room_has_its_wall() {
        check("src/catalog/page.rs", "use crate::store::Revision; //~ catalog\n");
        check(
            "src/policy/compile.rs",
            "use crate::catalog::filter::Filter;\nuse crate::catalog::index::Index; //~ policy\nuse std::env; //~ std::env\n",
        );
        check("src/ingest/mot.rs", "use crate::catalog::Snapshot; //~ ingest\n");
        check("src/store/mod.rs", "use crate::domain::Name; //~ store\nuse prost::Message; //~ prost\n");
        check("src/registry/mod.rs", "use crate::server; //~ registry\nuse crate::pb::Model;\n");
        check("src/service/mod.rs", "use crate::catalog::index::Index; //~ service\nuse crate::catalog::Page;\n");
        check("src/config.rs", "use crate::store::Store; //~ config\n");
        check("src/telemetry.rs", "use crate::service::Service; //~ telemetry\n");
        check("src/cli/serve.rs", "use sled::Db; //~ sled is named\n");
    }

    #[test]
    fn convert_knows_how_the_store_fails_and_no_more() {
        check(
            "src/convert/status.rs",
            "use crate::store::StoreError;\n\
             use crate::registry::{GetModelError, GetModel}; //~ crate::registry::GetModel`\n\
             fn f(store: &dyn crate::store::Store) {} //~ crate::store::Store`\n",
        );
    }

    #[test]
    fn what_the_table_allows_is_not_reported() {
        check("src/store/sled.rs", "use sled::Db;\nuse super::{Store, StoreError};\nuse std::fs::File;\n");
        check(
            "src/store/mod.rs",
            "mod sled;\nmod memory;\npub use self::memory::MemoryStore;\npub use sled::SledStore;\n",
        );
        check("src/domain/mod.rs", "mod tests { use super::*; }\nuse spdx::Expression;\nuse smallvec::SmallVec;\n");
        check("src/server.rs", "use crate::{catalog, service, store};\nuse tonic::transport::Server;\n");
        check("src/main.rs", "use weighbridge::cli;\nfn main() { cli::run(); }\n");
        check("src/lib.rs", "pub mod domain;\npub mod store;\n");
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        check(
            "src/domain/name.rs",
            "//! Unlike [`tonic::Status`].\n/* use sled::Db; /* todo!() */ dbg!(1) */\n\
             const A: &str = \"use tonic::Status; \\\" sled::Db\";\n\
             const B: &str = r#\"use \"tokio::spawn\"\"#;\nconst C: [char; 3] = ['\"', '\\'', 'a'];\n\
             fn f<'a>(x: &'a str) -> &'a str { x }\n\
             const D: &[u8] = b\"serde::Serialize\"; fn g() { tokio::spawn(()) } //~ tokio\n",
        );
    }

    #[test]
    fn tests_of_a_pure_room_may_use_test_crates_and_nothing_else() {
        check(
            "src/domain/tri.rs",
            "use proptest::prelude::*; //~ proptest\n\
             #[cfg(test)]\nmod tests {\n    use super::*;\n    use proptest::prelude::*;\n    use tokio::time; //~ tokio\n    \
             use crate::catalog::Snapshot; //~ crate::catalog\n}\n",
        );
        check(
            "src/domain/tri.rs",
            "#[cfg(test)]\nmod tests { use proptest::prelude::*; } //~ proptest\nfn production() {}\n",
        );
        check("src/domain/eligibility/tests.rs", "use proptest::prelude::*;\n");
    }

    #[test]
    fn a_room_outside_the_table_is_reported() {
        check("src/utils.rs", "//~ `utils` is a room without a row\n");
        check("src/helper/mod.rs", "//~ `helper` is a room without a row\n");
    }

    #[test]
    fn a_leftover_is_reported() {
        check(
            "src/server.rs",
            "fn f() { todo!() } //~ `todo!`\nfn g() { unimplemented!(\"x\") } //~ `unimplemented!`\n\
             fn h() { if todo != 1 { dbg!(todo); } } //~ `dbg!`\n",
        );
    }

    #[test]
    fn a_lint_exception_without_a_reason_is_reported() {
        check(
            "src/server.rs",
            "#![allow(dead_code)] //~ `allow`\n\
             #[expect(clippy::unwrap_used, reason = \"the regex is a constant\")]\nfn f() { x.expect(\"y\"); allow(1); }\n\
             #[cfg_attr(test, expect(unused))] //~ `expect`\nfn g() {}\n",
        );
    }

    #[test]
    fn size_counts_production_code_only() {
        let code = "fn f() {}\n".repeat(CODE_LINES_MAX);
        let filler = "// A comment.\n\n".repeat(20);
        let tests = "#[cfg(test)]\nmod tests {\n    fn g() {}\n}\n";
        assert_eq!(offences("src/server.rs", &format!("{code}{filler}{tests}")), [""; 0]);

        let found = offences("src/server.rs", &format!("{code}fn g() {{}}\n{tests}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found.iter().all(|offence| offence.contains("801 lines of code")), "{found:?}");
    }
}
