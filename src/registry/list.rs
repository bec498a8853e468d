//! What the lists share: filters, orders, field masks, and pages that stay with one revision.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::page::{PageRequest, token};
use super::{Registry, RegistryError, View, violation};
use crate::catalog::Snapshot;
use crate::catalog::filter::{self, Query, Row, Schema, Value, character};
use crate::catalog::index::{Direction, Order, compare};
use crate::convert::{self, Violation};
use crate::domain::name::shown;
use crate::domain::tri::Tri;

/// Longest `order_by`, in bytes.
const ORDER_BYTES_MAX: usize = 1_000;
/// Most fields in it.
const ORDER_FIELDS_MAX: usize = 8;

/// What a caller asks of a list.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// AIP-160 filter.
    pub filter: String,
    /// Fields to order by, each with ` desc` perhaps.
    pub order_by: String,
    /// Fields to answer with; empty: all.
    pub read_mask: Vec<String>,
    /// The page.
    pub page: PageRequest,
    /// The past that it is of; `None`: it is of the present.
    pub view: Option<View>,
}

/// A checked request.
pub(super) struct Asked<F> {
    pub(super) query: Option<Query<F>>,
    pub(super) order: Order<F>,
    pub(super) size: usize,
}

/// Snapshots that pages of a list under way stay with, and when one was last asked for. They share what did not change.
#[derive(Default)]
pub(super) struct Pinned(Mutex<VecDeque<(Instant, Arc<Snapshot>)>>);

/// Most revisions that lists under way stay with; those that nobody asked for longest go first.
const PINNED_MAX: usize = 16;
/// How long a list waits for its next page to be asked for.
const PINNED_FOR: Duration = Duration::from_secs(300);

impl Pinned {
    fn keep(&self, snapshot: &Arc<Snapshot>) {
        let Ok(mut kept) = self.0.lock() else { return };
        kept.retain(|(_, other)| other.revision() != snapshot.revision());
        kept.push_back((Instant::now(), snapshot.clone()));
        while kept.len() > PINNED_MAX {
            kept.pop_front();
        }
    }

    fn find(&self, revision: u64) -> Option<Arc<Snapshot>> {
        let kept = self.0.lock().ok()?;
        kept.iter().map(|(_, snapshot)| snapshot).find(|snapshot| snapshot.revision() == revision).cloned()
    }

    /// Lets go of what nobody has asked for in a while.
    pub(super) fn sweep(&self) {
        let Ok(mut kept) = self.0.lock() else { return };
        kept.retain(|(used, _)| used.elapsed() < PINNED_FOR);
    }
}

/// Where a page starts: in which snapshot, and after which name.
pub(super) struct Start {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) after: Option<String>,
    pub(super) list: String,
}

impl Registry {
    /// The snapshot and the place of a page. `list` says which list and what was asked of it.
    pub(super) fn start(&self, list: String, asked: &ListRequest) -> Result<Start, RegistryError> {
        self.pinned.sweep();
        self.past.sweep();
        let current = asked.view.as_ref().map_or_else(|| self.snapshot(), |view| view.snapshot.clone());
        let Some(last) = asked.page.after(&list)? else { return Ok(Start { snapshot: current, after: None, list }) };
        let (revision, name) = last.split_once(' ').ok_or(RegistryError::PageToken)?;
        let revision: u64 = revision.parse().map_err(|_| RegistryError::PageToken)?;
        let snapshot = match revision == current.revision() {
            true => Some(current),
            false => self.pinned.find(revision),
        };
        let snapshot = snapshot.ok_or(RegistryError::PageTokenExpired { revision })?;
        Ok(Start { snapshot, after: Some(name.to_owned()), list })
    }

    /// The token of the next page, where more follows `last`. Pages to come stay with this one's revision.
    pub(super) fn next_page(&self, start: &Start, last: Option<String>, more: bool) -> String {
        if more {
            self.pinned.keep(&start.snapshot);
        }
        let last = last.map(|name| format!("{} {name}", start.snapshot.revision()));
        token(&start.list, last, more)
    }
}

impl ListRequest {
    /// What a page token of it is bound to.
    pub(super) fn bound(&self, list: &str) -> String {
        let bound = format!("{list}\n{:?}\n{:?}", self.filter, self.order_by);
        match &self.view {
            // As it was asked for: a time that is given again may lead elsewhere, the pages do not.
            Some(view) => format!("{bound}\n{:?}", view.as_of),
            None => bound,
        }
    }

    /// Checks all of it at once.
    pub(super) fn read<S: Schema>(&self) -> Result<Asked<S::Field>, RegistryError> {
        let mut violations = Vec::new();
        let query = read_filter::<S>(&self.filter).unwrap_or_else(|found| {
            violations.extend(found);
            None
        });
        let order = read_order::<S>(&self.order_by).unwrap_or_else(|found| {
            violations.extend(found);
            Order { by: Vec::new() }
        });
        match (self.page.size(), violations.is_empty()) {
            (Ok(size), true) => Ok(Asked { query, order, size }),
            (Err(RegistryError::Invalid(found)), _) => {
                violations.extend(found);
                Err(RegistryError::Invalid(violations))
            }
            (Err(other), _) => Err(other),
            (Ok(_), false) => Err(RegistryError::Invalid(violations)),
        }
    }
}

/// Reads a filter; `None` for an empty one.
pub(super) fn read_filter<S: Schema>(text: &str) -> Result<Option<Query<S::Field>>, Vec<Violation>> {
    let at = |character: usize, message: &str| violation("filter", format!("at character {character}: {message}"));
    let node = match filter::parse(text) {
        Ok(Some(node)) => node,
        Ok(None) => return Ok(None),
        Err(error) => return Err(vec![at(error.character, &error.message)]),
    };
    let near = |name: &str, known: &[&str]| convert::nearest(name, known.iter().copied());
    filter::check::<S>(&node, &near).map(Some).map_err(|problems| {
        problems.iter().map(|problem| at(character(text, problem.span.start), &problem.message)).collect()
    })
}

/// Reads an order: `release_date desc, name`.
fn read_order<S: Schema>(text: &str) -> Result<Order<S::Field>, Vec<Violation>> {
    let refuse = |description: String| violation("order_by", description);
    if text.trim().is_empty() {
        return Ok(Order { by: Vec::new() });
    }
    let parts: Vec<&str> = text.split(',').collect();
    if text.len() > ORDER_BYTES_MAX || parts.len() > ORDER_FIELDS_MAX {
        return Err(vec![refuse(format!("at most {ORDER_FIELDS_MAX} fields and {ORDER_BYTES_MAX} bytes are allowed"))]);
    }
    let (mut by, mut violations) = (Vec::new(), Vec::new());
    for part in parts {
        let mut words = part.split_whitespace();
        let (path, direction, rest) = (words.next().unwrap_or_default(), words.next(), words.next());
        let direction = match direction {
            None | Some("asc") => Some(Direction::Ascending),
            Some("desc") => Some(Direction::Descending),
            Some(_) => None,
        };
        match (S::find(path), direction.filter(|_| rest.is_none())) {
            (Some(field), _) if S::repeated(field) => {
                violations.push(refuse(format!("`{}` holds a list and has no order", shown(path))));
            }
            (Some(field), Some(direction)) => by.push((field, direction)),
            (Some(_), None) => {
                violations
                    .push(refuse(format!("`{}` is no order: write `{path} desc` or `{path}`", shown(part.trim()))));
            }
            (None, _) => {
                let paths = S::paths();
                let near = convert::nearest(path, paths.iter().map(String::as_str));
                violations.push(refuse(format!("there is no field `{}`{near}", shown(path))));
            }
        }
    }
    if violations.is_empty() { Ok(Order { by }) } else { Err(violations) }
}

/// How many times a list that is looked through may be held against a term of a filter: some seconds.
const TESTS_MAX: usize = 10_000_000;

/// A list that is short enough to be looked through.
pub(super) struct Scan<T> {
    /// The page.
    pub(super) page: Vec<T>,
    pub(super) more: bool,
    pub(super) total: usize,
}

/// The page of some records, for which a filter holds, in an order, after a name. `row` shows a record as a row, and `name`
/// is what it is called in page tokens.
pub(super) fn scan<T: Copy, F: Copy, R: Row<F>>(
    records: impl Iterator<Item = T>,
    asked: &Asked<F>,
    after: Option<&str>,
    row: impl Fn(T) -> R,
    name: impl Fn(T) -> String,
) -> Result<Scan<T>, RegistryError> {
    let holds = |record: &T| asked.query.as_ref().is_none_or(|query| query.holds(&row(*record)) == Tri::True);
    let records: Vec<T> = records.collect();
    let tests = asked.query.as_ref().map_or(0, Query::tests).saturating_mul(records.len());
    if tests > TESTS_MAX {
        return Err(RegistryError::FilterTooCostly);
    }
    let mut found: Vec<(Vec<Option<Value<'static>>>, String, T)> = records
        .into_iter()
        .filter(holds)
        .map(|record| {
            let row = row(record);
            let key = |field: F| row.values(field).list.first().cloned().map(Value::into_owned);
            (asked.order.by.iter().map(|(field, _)| key(*field)).collect(), name(record), record)
        })
        .collect();
    found.sort_by(|(a, left, _), (b, right, _)| {
        let fields = asked.order.by.iter().zip(a.iter().zip(b));
        let found = fields.map(|((_, direction), (a, b))| compare(a.as_ref(), b.as_ref(), *direction));
        found.fold(Ordering::Equal, Ordering::then).then_with(|| left.cmp(right))
    });
    let skipped = match after {
        None => 0,
        Some(after) => 1 + found.iter().position(|(_, name, _)| name == after).ok_or(RegistryError::PageToken)?,
    };
    let total = found.len();
    let rest = found.into_iter().skip(skipped).map(|(.., record)| record);
    let mut page: Vec<T> = rest.take(asked.size.saturating_add(1)).collect();
    let more = page.len() > asked.size;
    page.truncate(asked.size);
    Ok(Scan { page, more, total })
}
