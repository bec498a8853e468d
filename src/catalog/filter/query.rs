//! Filters held against a table of fields: types are checked once, all mistakes at once, and what is left can be asked of a
//! row or of an index.

use std::borrow::Borrow;

use super::parse::{Comparison, Field as Path, Literal, Node, Operator, Span};
use super::pattern::Pattern;
use super::value::{Kind, NANO, Value, Values};
use crate::domain::alias::fold;
use crate::domain::date::Date;
use crate::domain::name::shown;
use crate::domain::tri::Tri;

/// The fields of one kind of row.
pub trait Schema {
    /// One field.
    type Field: Copy + Eq + std::fmt::Debug;

    /// The field of a path as a filter writes it.
    fn find(path: &str) -> Option<Self::Field>;
    /// Every path, in the order in which they are documented.
    fn paths() -> Vec<String>;
    /// What a field holds.
    fn kind(field: Self::Field) -> Kind;
    /// Whether a field holds a list.
    fn repeated(field: Self::Field) -> bool;
    /// Whether a field is of license terms, which a choice between licenses may change.
    fn is_of_terms(_field: Self::Field) -> bool {
        false
    }
}

/// What a filter can be asked of.
pub trait Subject<F> {
    /// Whether a field holds what is wanted.
    fn meets(&self, field: &F, wanted: &Wanted) -> Tri;
    /// Whether a word stands in what it is called.
    fn is_called(&self, word: &Word) -> bool;
}

impl<F: Copy, R: Row<F>> Subject<F> for R {
    fn meets(&self, field: &F, wanted: &Wanted) -> Tri {
        Row::meets(self, *field, wanted)
    }

    fn is_called(&self, word: &Word) -> bool {
        Row::is_called(self, word)
    }
}

/// A row that can be asked for its fields.
pub trait Row<F> {
    /// The values of a field.
    fn values(&self, field: F) -> Values<'_>;
    /// Whether a field holds what is wanted.
    fn meets(&self, field: F, wanted: &Wanted) -> Tri {
        wanted.is_met_by(&self.values(field))
    }
    /// Whether a word stands in what the row is called.
    fn is_called(&self, word: &Word) -> bool;
}

/// A checked filter.
#[derive(Clone, Debug, PartialEq)]
pub enum Query<F> {
    /// All of them.
    And(Vec<Query<F>>),
    /// Any of them.
    Or(Vec<Query<F>>),
    /// Not this.
    Not(Box<Query<F>>),
    /// This cannot be told.
    Unknown(Box<Query<F>>),
    /// What the row is called.
    Word(Word),
    /// What a field holds.
    Test(Test<F>),
}

/// A bare word: beginnings of words that must all stand in what a row is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(pub Vec<Box<str>>);

/// One test of a field.
#[derive(Clone, Debug, PartialEq)]
pub struct Test<F> {
    /// The field.
    pub field: F,
    /// What it must hold.
    pub wanted: Wanted,
}

/// What a field must hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// Anything: whether it is known.
    Present,
    /// Anything in a list: not known where there may be something.
    Any,
    /// A value.
    Equal(Value<'static>),
    /// One less than, or up to, a value.
    Below {
        /// The bound.
        bound: Value<'static>,
        /// Whether it is inside.
        inclusive: bool,
    },
    /// One greater than, or from, a value.
    Above {
        /// The bound.
        bound: Value<'static>,
        /// Whether it is inside.
        inclusive: bool,
    },
    /// Text of a form, lower case.
    Like(Pattern),
}

impl Wanted {
    /// Whether a value is what is wanted.
    #[must_use]
    pub fn is_met(&self, value: &Value<'_>) -> Tri {
        match (self, value) {
            (Self::Present | Self::Any, _) => Tri::True,
            (Self::Equal(Value::Date(wanted)), Value::Date(date)) => {
                let inside = date.first_day() >= wanted.first_day() && date.last_day() <= wanted.last_day();
                let apart = date.last_day() < wanted.first_day() || date.first_day() > wanted.last_day();
                if inside { Tri::True } else { if apart { Tri::False } else { Tri::Unknown } }
            }
            (Self::Equal(Value::Text(wanted)), Value::Text(text)) => wanted.eq_ignore_ascii_case(text).into(),
            (Self::Equal(wanted), value) => (wanted == value).into(),
            (Self::Below { bound: Value::Date(bound), inclusive }, Value::Date(date)) => {
                before(*date, *bound, *inclusive)
            }
            (Self::Above { bound: Value::Date(bound), inclusive }, Value::Date(date)) => {
                before(*date, *bound, !*inclusive).negated()
            }
            (Self::Below { bound, inclusive }, value) => (value < bound || *inclusive && value == bound).into(),
            (Self::Above { bound, inclusive }, value) => (value > bound || *inclusive && value == bound).into(),
            (Self::Like(pattern), Value::Text(text)) => pattern.matches(&text.to_ascii_lowercase()).into(),
            (Self::Like(_), _) => Tri::False,
        }
    }

    /// Whether the values of a field are what is wanted. Any one of a list is enough.
    #[must_use]
    pub fn is_met_by(&self, values: &Values<'_>) -> Tri {
        self.is_met_among(values.list.iter(), values.open)
    }

    /// The same of values that are not gathered first.
    pub fn is_met_among<'a, V: Borrow<Value<'a>>>(&self, values: impl IntoIterator<Item = V>, open: bool) -> Tri {
        let mut values = values.into_iter();
        if matches!(self, Self::Present) {
            // What is there is known, also where there may be more.
            return values.next().is_some().into();
        }
        let none = if open { Tri::Unknown } else { Tri::False };
        values.fold(none, |met, value| met.or(self.is_met(value.borrow())))
    }
}

/// Whether a date lies before another, or at it where `inclusive`; not known where the less precise one spans it.
fn before(date: Date, bound: Date, inclusive: bool) -> Tri {
    let (last, first) = if inclusive {
        (date.last_day() <= bound.last_day(), date.first_day() > bound.last_day())
    } else {
        (date.last_day() < bound.first_day(), date.first_day() >= bound.first_day())
    };
    if last { Tri::True } else { if first { Tri::False } else { Tri::Unknown } }
}

impl<F> Query<F> {
    /// Number of its terms.
    #[must_use]
    pub fn tests(&self) -> usize {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::tests).sum(),
            Self::Not(part) | Self::Unknown(part) => part.tests(),
            Self::Word(_) | Self::Test(_) => 1,
        }
    }
}

impl<F: Copy> Query<F> {
    /// Asks a row, or something like one.
    pub fn holds(&self, row: &impl Subject<F>) -> Tri {
        match self {
            Self::And(parts) => {
                parts.iter().fold(Tri::True, |all, part| if all == Tri::False { all } else { all.and(part.holds(row)) })
            }
            Self::Or(parts) => {
                parts.iter().fold(Tri::False, |any, part| if any == Tri::True { any } else { any.or(part.holds(row)) })
            }
            Self::Not(part) => part.holds(row).negated(),
            Self::Unknown(part) => (part.holds(row) == Tri::Unknown).into(),
            Self::Word(word) => row.is_called(word).into(),
            Self::Test(test) => row.meets(&test.field, &test.wanted),
        }
    }
}

/// Something in a filter that cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, in bytes.
    pub span: Span,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Finds the end of a message about an unknown name among known ones: ", did you mean …?", or nothing.
pub type Near<'a> = &'a dyn Fn(&str, &[&str]) -> String;

/// How many problems are told with near names: finding them is the most that a filter can cost, and nobody reads as many.
const NEAR_MAX: usize = 20;

/// Checks a filter against the fields of a table.
///
/// # Errors
/// Every problem at once, in the order of the text.
pub fn check<S: Schema>(node: &Node, near: Near<'_>) -> Result<Query<S::Field>, Vec<Problem>> {
    let mut problems = Vec::new();
    match checked::<S>(node, near, &mut problems) {
        Some(query) if problems.is_empty() => Ok(query),
        _ => Err(problems),
    }
}

fn checked<S: Schema>(node: &Node, near: Near<'_>, problems: &mut Vec<Problem>) -> Option<Query<S::Field>> {
    let near: Near<'_> = if problems.len() < NEAR_MAX { near } else { &|_, _| String::new() };
    let mut each = |parts: &[Node]| -> Option<Vec<Query<S::Field>>> {
        // Every part is looked at, so that every problem is told.
        let parts: Vec<Option<_>> = parts.iter().map(|part| checked::<S>(part, near, problems)).collect();
        parts.into_iter().collect()
    };
    match node {
        Node::And(parts) => each(parts).map(Query::And),
        Node::Or(parts) => each(parts).map(Query::Or),
        Node::Not(part) => checked::<S>(part, near, problems).map(|part| Query::Not(Box::new(part))),
        Node::Unknown(part) => checked::<S>(part, near, problems).map(|part| Query::Unknown(Box::new(part))),
        Node::Word(literal) => noted(word(literal).map(Query::Word), problems),
        Node::Compare(comparison) => noted(test::<S>(comparison, near), problems),
    }
}

fn noted<T>(result: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

fn problem<T>(span: Span, message: String) -> Result<T, Problem> {
    Err(Problem { span, message })
}

/// A bare word looks for beginnings of words, so that a `*` at its end says what holds anyway.
fn word(literal: &Literal) -> Result<Word, Problem> {
    let text = literal.text.strip_suffix('*').unwrap_or(&literal.text);
    let words = words_of(text);
    if text.contains('*') && literal.pattern.is_some() {
        let form = literal.text.replace('"', "\\\"");
        let message = format!("a bare word finds beginnings of words; for other forms write `name = \"{form}\"`");
        return problem(literal.span, message);
    }
    if words.is_empty() {
        let message = format!("`{}` has no letter or digit to look for", shown(&literal.text));
        return problem(literal.span, message);
    }
    Ok(Word(words))
}

/// The words of a text, without regard to case: runs of letters and digits.
#[must_use]
pub fn words_of(text: &str) -> Vec<Box<str>> {
    let mut words: Vec<Box<str>> = folded_words(&fold(text)).map(Box::from).collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// The words of a text that is folded.
pub(in crate::catalog) fn folded_words(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn test<S: Schema>(comparison: &Comparison, near: Near<'_>) -> Result<Query<S::Field>, Problem> {
    let Comparison { field: path, operator, value } = comparison;
    let field = find::<S>(path, near)?;
    let (kind, repeated) = (S::kind(field), S::repeated(field));
    let test = |wanted| Query::Test(Test { field, wanted });
    let is_any = value.pattern.as_ref().is_some_and(Pattern::is_any);
    match operator {
        Operator::Has if is_any && repeated => Ok(test(Wanted::Any)),
        Operator::Has if is_any => Ok(test(Wanted::Present)),
        Operator::Equal | Operator::NotEqual if repeated => {
            let (no, path) = (if *operator == Operator::NotEqual { "NOT " } else { "" }, &path.path);
            let message = format!("`{path}` holds a list: ask for one of its values with `{no}{path}:{}`", value.text);
            problem(path_span(comparison), message)
        }
        Operator::Has | Operator::Equal => equal(kind, value, near).map(test),
        Operator::NotEqual => Ok(Query::Not(Box::new(test(equal(kind, value, near)?)))),
        _ if matches!(kind, Kind::Text | Kind::Flag) => {
            let path = &path.path;
            problem(path_span(comparison), format!("`{path}` has no order: compare it with `=`, `!=` or `:`"))
        }
        Operator::Less => Ok(test(Wanted::Below { bound: read(kind, value, near)?, inclusive: false })),
        Operator::LessOrEqual => Ok(test(Wanted::Below { bound: read(kind, value, near)?, inclusive: true })),
        Operator::Greater => Ok(test(Wanted::Above { bound: read(kind, value, near)?, inclusive: false })),
        Operator::GreaterOrEqual => Ok(test(Wanted::Above { bound: read(kind, value, near)?, inclusive: true })),
    }
}

fn path_span(comparison: &Comparison) -> Span {
    Span { start: comparison.field.span.start, end: comparison.value.span.end }
}

fn find<S: Schema>(path: &Path, near: Near<'_>) -> Result<S::Field, Problem> {
    let written: &str = &path.path;
    if let Some(field) = S::find(written) {
        return Ok(field);
    }
    let paths = S::paths();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let message = format!("there is no field `{}`{}", shown(written), near(written, &paths));
    problem(path.span, message)
}

fn equal(kind: Kind, literal: &Literal, near: Near<'_>) -> Result<Wanted, Problem> {
    match (&literal.pattern, kind) {
        (Some(pattern), Kind::Text) => Ok(Wanted::Like(pattern.map(str::to_ascii_lowercase))),
        _ => read(kind, literal, near).map(Wanted::Equal),
    }
}

/// Reads a value of a kind.
fn read(kind: Kind, literal: &Literal, near: Near<'_>) -> Result<Value<'static>, Problem> {
    let text: &str = &literal.text;
    let value = match kind {
        Kind::Flag => match () {
            () if text.eq_ignore_ascii_case("true") => Some(Value::Flag(true)),
            () if text.eq_ignore_ascii_case("false") => Some(Value::Flag(false)),
            () => None,
        },
        Kind::Word { words, prefix } => read_word(text, words, prefix).map(Value::Word),
        Kind::Integer => read_decimal(text, 1).map(Value::Integer),
        Kind::Amount => read_decimal(text, NANO).map(Value::Amount),
        Kind::Date => read_date(text).map(Value::Date),
        Kind::Text => Some(Value::Text(text.to_owned().into())),
    };
    match value {
        Some(value) => Ok(value),
        None => {
            let near = match kind {
                Kind::Word { words, .. } => near(text, words),
                _ => String::new(),
            };
            problem(literal.span, format!("`{}` is not {kind}{near}", shown(text)))
        }
    }
}

/// A word in any case, with `-` for `_`, short or with the prefix of its type.
fn read_word(text: &str, words: &[&str], prefix: &str) -> Option<u8> {
    let fold = |text: &str| text.to_ascii_uppercase().replace('-', "_");
    let written = fold(text);
    let short = written.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
    let at = words.iter().position(|word| {
        let word = fold(word);
        word == written || short.is_some_and(|short| word == short)
    });
    at.and_then(|at| u8::try_from(at).ok())
}

/// A decimal number times `unit`, with `_` between digits and `k`, `M`, `B` or `T` behind it. Exact, or none.
fn read_decimal(text: &str, unit: i64) -> Option<i64> {
    let (digits, factor) = match text.chars().last()? {
        'k' | 'K' => (text.get(..text.len() - 1)?, 1_000),
        'M' | 'm' => (text.get(..text.len() - 1)?, 1_000_000),
        'B' | 'b' | 'G' => (text.get(..text.len() - 1)?, 1_000_000_000),
        'T' => (text.get(..text.len() - 1)?, 1_000_000_000_000),
        _ => (text, 1_i64),
    };
    let (negative, digits) = digits.strip_prefix('-').map_or((false, digits), |rest| (true, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let well_formed = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    if !whole.starts_with(|c: char| c.is_ascii_digit()) || !well_formed(whole) || !well_formed(part) {
        return None;
    }
    let mut number: i128 = 0;
    let mut below: i128 = 1;
    for digit in whole.chars().chain(part.chars()).filter_map(|c| c.to_digit(10)) {
        number = number.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    for _ in part.chars().filter(char::is_ascii_digit) {
        below = below.checked_mul(10)?;
    }
    let scaled = number.checked_mul(i128::from(unit))?.checked_mul(i128::from(factor))?;
    if scaled % below != 0 {
        return None;
    }
    let scaled = scaled / below;
    i64::try_from(if negative { -scaled } else { scaled }).ok()
}

/// A date; of a timestamp (RFC 3339) its day in UTC.
fn read_date(text: &str) -> Option<Date> {
    if !text.contains('T') {
        return Date::parse(text).ok();
    }
    let day = text.parse::<jiff::Timestamp>().ok()?.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
    let part = |number: i8| u8::try_from(number).ok();
    Date::from_day(u16::try_from(day.year()).ok()?, part(day.month())?, part(day.day())?)
}
