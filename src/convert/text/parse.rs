//! From bytes to a tree: the checks every syntax shares, and JSON.

use std::cell::Cell;

use serde_json::Value;

use super::problem::Problem;
use super::tree::Builder;
use super::{Limits, Syntax, toml_tree, yaml};

/// Nesting no document may exceed whatever its limits say, because the parsers recurse.
const DEEPEST: usize = 128;

/// Parses text into a JSON-like tree.
///
/// Refuses, without panicking and within bounded memory: syntax errors, text that is not UTF-8,
/// keys given twice in one object, and documents beyond `limits`, also after YAML aliases are expanded.
/// Date and time literals arrive as text, and numbers JSON cannot hold as `"NaN"`, `"Infinity"` and `"-Infinity"`.
pub fn parse(bytes: &[u8], syntax: Syntax, limits: &Limits) -> Result<Value, Vec<Problem>> {
    if bytes.len() > limits.max_bytes {
        return Err(vec![Problem::whole(format!(
            "document has {} bytes, the limit is {}",
            bytes.len(),
            limits.max_bytes
        ))]);
    }
    let limits = Limits { max_depth: limits.max_depth.min(DEEPEST), ..*limits };
    let text = utf8(bytes).map_err(|problem| vec![problem])?;
    match syntax {
        Syntax::Json => json(text, &limits).map_err(|problem| vec![problem]),
        Syntax::Yaml => with_room(|| yaml::parse(text, &limits).map_err(|problem| vec![problem])),
        Syntax::Toml => with_room(|| toml_tree::parse(text, &limits)),
    }
}

/// What is said of a document on which a parser panicked.
const PANICKED: &str = "document makes the parser fail";
/// Stack of a thread on which parsers recurse.
const STACK_BYTES: usize = 32 * 1024 * 1024;

thread_local! {
    /// Whether this thread has such a stack.
    static IS_DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Runs what parses many documents, so that they share one thread: each for itself would begin one of its own.
///
/// # Errors
/// The thread could not be started, or what ran on it has panicked.
pub fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, &'static str> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let work = || {
            IS_DEEP.set(true);
            work()
        };
        match thread.spawn_scoped(scope, work).map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(done)) => Ok(done),
            // A panic of a parser is a bug of its library; the document is refused all the same.
            Ok(Err(_)) => Err(PANICKED),
            Err(_) => Err("out of threads to parse the document"),
        }
    })
}

/// Runs a parser where its recursion has room.
///
/// The TOML parser bounds the nesting of tables and the parts of a dotted key to 80 each, but not their product:
/// 6400 levels reach us before any count of ours, and need more stack than threads usually have.
/// Unoptimized YAML parsing takes more than a megabyte too.
fn with_room<T: Send>(parser: impl FnOnce() -> Result<T, Vec<Problem>> + Send) -> Result<T, Vec<Problem>> {
    if IS_DEEP.get() {
        // As below: what panics is given up as a whole, and the others of its thread are not.
        let parsed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(parser));
        return parsed.unwrap_or_else(|_| Err(vec![Problem::whole(PANICKED)]));
    }
    on_deep_stack(parser).unwrap_or_else(|why| Err(vec![Problem::whole(why)]))
}

/// Line and column, from 1 and in characters, of a byte offset.
pub(super) fn position(text: &str, offset: usize) -> (Option<u32>, Option<u32>) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let last = before.rsplit('\n').next().unwrap_or_default();
    let column = last.chars().count() + 1;
    (u32::try_from(line).ok(), u32::try_from(column).ok())
}

/// A parser's message in our form: one line, a lowercase start unless it is a name, no final period.
pub(super) fn tidied(message: &str) -> String {
    let line: Vec<&str> = message.split_whitespace().collect();
    let line = line.join(" ");
    let line = line.trim_end_matches('.');
    // The parsers' own bounds, for which they have several phrases.
    if line.contains("recursion limit") || line.contains("recursion depth") {
        return "nested too deeply".to_owned();
    }
    let mut chars = line.chars();
    match chars.next() {
        Some(first) if chars.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => line.to_owned(),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    match std::str::from_utf8(bytes) {
        // Editors on some systems begin UTF-8 files with a byte order mark.
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let good = String::from_utf8_lossy(good);
            let (line, column) = position(&good, good.len());
            Err(Problem::whole("text is not UTF-8").at(line, column))
        }
    }
}

fn json(text: &str, limits: &Limits) -> Result<Value, Problem> {
    let mut builder = Builder::new(limits);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = builder.build(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| {
        let message = error.to_string();
        // The position goes into its own fields.
        let message = match message.rsplit_once(" at line ") {
            Some((before, _)) => before,
            None => &message,
        };
        let message = message.replace("EOF", "end of document");
        let line = u32::try_from(error.line()).ok().filter(|line| *line > 0);
        let column = line.and_then(|_| u32::try_from(error.column()).ok()).filter(|column| *column > 0);
        builder.failure().unwrap_or_else(|| Problem::whole(tidied(&message))).at(line, column)
    })
}
