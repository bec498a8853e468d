//! TOML. The parser keeps the whole document, so every problem it finds can be reported at once,
//! and so documents must be smaller than in the other syntaxes.

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue, Error};

use super::Limits;
use super::parse::{position, tidied};
use super::problem::{Problem, quoted};
use super::tree::{Builder, float};

/// The parser keeps every token and event, up to seventy bytes of memory for one of the document.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Documents up to this size are parsed again for all their syntax errors; the parser keeps every one.
const MOST_BYTES_RECOVERED: usize = 256 * 1024;

/// More syntax errors than this are not worth reading; later ones follow from earlier ones.
const MOST_ERRORS: usize = 20;

pub(super) fn parse(text: &str, limits: &Limits) -> Result<Value, Vec<Problem>> {
    if text.len() > MOST_BYTES {
        let message = format!("TOML document has {} bytes, the limit is {MOST_BYTES}", text.len());
        return Err(vec![Problem::whole(message)]);
    }
    too_many_marks(text, limits)?;
    let table = DeTable::parse(text).map_err(|first| syntax_errors(text, &first))?;
    let mut builder = Builder::new(limits);
    tree_of_table(&mut builder, table.get_ref(), table.span().start).map_err(|Stopped(offset)| {
        let (line, column) = position(text, offset);
        let problem = builder.failure();
        let problem = problem.unwrap_or_else(|| Problem::whole("document cannot be read"));
        vec![problem.at(line, column)]
    })
}

fn syntax_errors(text: &str, first: &Error) -> Vec<Problem> {
    if text.len() > MOST_BYTES_RECOVERED {
        return vec![syntax(text, first)];
    }
    let (_, errors) = DeTable::parse_recoverable(text);
    let shown = errors.iter().take(MOST_ERRORS);
    let mut problems: Vec<Problem> = shown.map(|error| syntax(text, error)).collect();
    if problems.is_empty() {
        problems.push(syntax(text, first));
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems
}

/// The byte at which a value was refused; the builder holds the reason.
struct Stopped(usize);

/// Refuses documents far beyond the limit before the parser, which does not stream, spends memory on them.
///
/// Every value but the first needs a `,`, a `=` or a `[`. Text may hold such marks too, hence the factor:
/// only a document that is mostly marks is refused here, and the exact count follows.
fn too_many_marks(text: &str, limits: &Limits) -> Result<(), Vec<Problem>> {
    const FACTOR: usize = 2;
    let marks = text.bytes().filter(|b| matches!(b, b',' | b'=' | b'[')).count();
    if marks <= limits.max_nodes.saturating_mul(FACTOR) {
        return Ok(());
    }
    let message = format!("document has more than {} values", limits.max_nodes);
    Err(vec![Problem::whole(message)])
}

fn tree_of_table(builder: &mut Builder, table: &DeTable<'_>, at: usize) -> Result<Value, Stopped> {
    builder.node().map_err(|()| Stopped(at))?;
    builder.enter().map_err(|()| Stopped(at))?;
    let mut map = Map::new();
    for (key, value) in table {
        let name = key.get_ref();
        let value = tree_of(builder, value).inspect_err(|_| builder.failed_in_key(name))?;
        map.insert(name.to_string(), value);
    }
    builder.leave();
    Ok(Value::Object(map))
}

fn tree_of(builder: &mut Builder, value: &Spanned<DeValue<'_>>) -> Result<Value, Stopped> {
    let at = value.span().start;
    let value = value.get_ref();
    if let DeValue::Table(table) = value {
        return tree_of_table(builder, table, at);
    }
    builder.node().map_err(|()| Stopped(at))?;
    match value {
        DeValue::String(text) => Ok(Value::from(text.as_ref())),
        DeValue::Boolean(value) => Ok(Value::Bool(*value)),
        DeValue::Datetime(value) => Ok(Value::String(value.to_string())),
        DeValue::Integer(digits) => integer(builder, digits).map_err(|()| Stopped(at)),
        DeValue::Float(digits) => match digits.as_str().parse() {
            Ok(number) => Ok(float(number)),
            Err(_) => refused_number(builder, digits.as_str()).map_err(|()| Stopped(at)),
        },
        DeValue::Array(array) => {
            builder.enter().map_err(|()| Stopped(at))?;
            let mut list = Vec::with_capacity(array.len());
            for value in array {
                let value = tree_of(builder, value).inspect_err(|_| builder.failed_in_element(list.len()))?;
                list.push(value);
            }
            builder.leave();
            Ok(Value::Array(list))
        }
        DeValue::Table(table) => tree_of_table(builder, table, at),
    }
}

/// The parser checks the form of a number only; here it gets its value.
fn integer(builder: &mut Builder, digits: &DeInteger<'_>) -> Result<Value, ()> {
    let text = digits.as_str();
    if let Ok(number) = i64::from_str_radix(text, digits.radix()) {
        return Ok(Value::from(number));
    }
    match u64::from_str_radix(text, digits.radix()) {
        Ok(number) => Ok(Value::from(number)),
        Err(_) => refused_number(builder, text),
    }
}

fn refused_number(builder: &mut Builder, text: &str) -> Result<Value, ()> {
    builder.fail(format!("number {} is out of range", quoted(text)))?;
    Ok(Value::Null)
}

fn syntax(text: &str, error: &Error) -> Problem {
    let span = error.span();
    let (line, column) = match &span {
        Some(span) => position(text, span.start),
        None => (None, None),
    };
    let key = span.and_then(|span| text.get(span)).filter(|key| !key.is_empty());
    let message = match (error.message(), key) {
        ("duplicate key", Some(key)) => format!("key {} is given twice", quoted(key)),
        (message, _) => tidied(message),
    };
    Problem::whole(message).at(line, column)
}
