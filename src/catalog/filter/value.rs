//! What a field of a row holds, in a form that can be compared with what a filter asks for.

use std::borrow::Cow;
use std::fmt;

use crate::domain::date::Date;

/// One value of a field. Values of one field are of one kind, and in that kind's order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value<'a> {
    /// Yes or no.
    Flag(bool),
    /// A word of a closed list, by its place in the list.
    Word(u8),
    /// A whole number.
    Integer(i64),
    /// An amount of money, in billionths of a US dollar.
    Amount(i64),
    /// A date of day, month or year precision.
    Date(Date),
    /// Text as it stands.
    Text(Cow<'a, str>),
}

/// Billionths in one.
pub(super) const NANO: i64 = 1_000_000_000;

impl<'a> Value<'a> {
    /// Text.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// The same, which borrows nothing.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Flag(flag) => Value::Flag(flag),
            Self::Word(word) => Value::Word(word),
            Self::Integer(number) => Value::Integer(number),
            Self::Amount(amount) => Value::Amount(amount),
            Self::Date(date) => Value::Date(date),
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
        }
    }

    /// As a filter writes it.
    #[must_use]
    pub fn shown(&self, kind: Kind) -> String {
        match (self, kind) {
            (Self::Word(index), Kind::Word { words, .. }) => {
                words.get(usize::from(*index)).copied().unwrap_or_default().to_owned()
            }
            (Self::Flag(flag), _) => flag.to_string(),
            (Self::Word(number), _) => number.to_string(),
            (Self::Integer(number), _) => number.to_string(),
            (Self::Amount(amount), _) => shown_amount(*amount),
            (Self::Date(date), _) => date.to_string(),
            (Self::Text(text), _) => text.to_string(),
        }
    }
}

fn shown_amount(amount: i64) -> String {
    let (whole, part) = (amount / NANO, amount.unsigned_abs() % NANO.unsigned_abs());
    let sign = if amount < 0 && whole == 0 { "-" } else { "" };
    let text = format!("{sign}{whole}.{part:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A list of values, most often of one or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum List<'a> {
    /// None.
    #[default]
    None,
    /// One.
    One(Value<'a>),
    /// Several.
    Several(Vec<Value<'a>>),
}

impl<'a> std::ops::Deref for List<'a> {
    type Target = [Value<'a>];

    fn deref(&self) -> &[Value<'a>] {
        match self {
            Self::None => &[],
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values,
        }
    }
}

impl<'a> FromIterator<Value<'a>> for List<'a> {
    fn from_iter<I: IntoIterator<Item = Value<'a>>>(values: I) -> Self {
        let mut values = values.into_iter();
        match (values.next(), values.next()) {
            (None, _) => Self::None,
            (Some(one), None) => Self::One(one),
            (Some(first), Some(second)) => Self::Several([first, second].into_iter().chain(values).collect()),
        }
    }
}

impl<'a> IntoIterator for List<'a> {
    type Item = Value<'a>;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Value<'a>>, std::vec::IntoIter<Value<'a>>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, several) = match self {
            Self::None => (None, Vec::new()),
            Self::One(value) => (Some(value), Vec::new()),
            Self::Several(values) => (None, values),
        };
        one.into_iter().chain(several)
    }
}

/// The values of a field in one row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Values<'a> {
    /// Those that are known.
    pub list: List<'a>,
    /// Whether there may be others: a single value that is not known, or a list that may be longer.
    pub open: bool,
}

impl<'a> Values<'a> {
    /// One value, or one that is not known.
    #[must_use]
    pub fn one(value: Option<Value<'a>>) -> Self {
        Self { open: value.is_none(), list: value.into_iter().collect() }
    }

    /// A list that is all there is.
    #[must_use]
    pub fn all(values: impl IntoIterator<Item = Value<'a>>) -> Self {
        Self { list: values.into_iter().collect(), open: false }
    }

    /// A list of what is known: what it does not hold is not known.
    #[must_use]
    pub fn known(values: impl IntoIterator<Item = Value<'a>>) -> Self {
        Self { list: values.into_iter().collect(), open: true }
    }

    /// The same, which borrow nothing.
    #[must_use]
    pub fn into_owned(self) -> Values<'static> {
        Values { list: self.list.into_iter().map(Value::into_owned).collect(), open: self.open }
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A word of a closed list, in an order that `<` and `>` follow.
    Word {
        /// The words.
        words: &'static [&'static str],
        /// The prefix of their long form, for example `TIER` of `TIER_OPEN_WEIGHT`.
        prefix: &'static str,
    },
    /// A whole number.
    Integer,
    /// US dollars.
    Amount,
    /// A date.
    Date,
    /// Text, compared without regard to ASCII case.
    Text,
}

/// Words of a closed list that are told in full.
const SHOWN_MAX: usize = 12;

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("`true` or `false`"),
            Self::Word { words, .. } if words.len() > SHOWN_MAX => {
                let first: Vec<String> = words.iter().take(3).map(|word| format!("`{word}`")).collect();
                write!(f, "one of {} words, for example {}", words.len(), first.join(", "))
            }
            Self::Word { words, .. } => {
                f.write_str("one of ")?;
                for (i, word) in words.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}`{word}`")?;
                }
                Ok(())
            }
            Self::Integer => f.write_str("a whole number, for example `128000`, `128k` or `7.5B`"),
            Self::Amount => f.write_str("an amount in US dollars, for example `0.59`"),
            Self::Date => f.write_str("a date: `YYYY`, `YYYY-MM`, `YYYY-MM-DD`, or a timestamp"),
            Self::Text => f.write_str("text, with `*` for any characters"),
        }
    }
}
