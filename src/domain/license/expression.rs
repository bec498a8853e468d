//! License expressions in SPDX syntax, as a tree.

use std::fmt;

use spdx::expression::{ExprNode, Operator};
use spdx::{LicenseItem, ParseMode};

use super::Text;
use crate::domain::name::{LicenseId, shown};

/// Longest expression, in bytes.
const BYTES_MAX: usize = 2_000;
/// Deepest nesting, so that walking a tree is safe.
const DEPTH_MAX: usize = 32;

/// A parsed license expression: what was written and its tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Expression {
    text: Text,
    root: Term,
}

/// A node of an expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Term {
    /// One license.
    License {
        /// Its id; `-or-later` and `+` forms keep their spelling.
        id: LicenseId,
        /// The id without `-or-later` or `+`, when it has one: the terms of the named version are one of those that a user
        /// may choose from.
        base: Option<LicenseId>,
        /// An exception, which adds permissions that we do not model.
        exception: Option<Text>,
    },
    /// All of them hold.
    And(Vec<Term>),
    /// Any one of them may be chosen.
    Or(Vec<Term>),
}

/// A text is no license expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no SPDX license expression: {reason}")]
pub struct ExpressionError {
    /// The text, cut to a readable length.
    pub given: String,
    /// What is wrong, with the position.
    pub reason: String,
    /// The part that is wrong, for near names.
    pub part: String,
}

impl Expression {
    /// Parses an expression. Ids are those of the SPDX list, deprecated ones included, and `LicenseRef-…`.
    ///
    /// # Errors
    /// [`ExpressionError`] with the position and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let error = |reason: String, part: &str| ExpressionError { given: shown(text), reason, part: shown(part) };
        if text.len() > BYTES_MAX {
            return Err(error(format!("it has {} bytes and {BYTES_MAX} are allowed", text.len()), ""));
        }
        let mode = ParseMode { allow_deprecated: true, ..ParseMode::STRICT };
        let parsed = spdx::Expression::parse_mode(text, mode).map_err(|e| {
            let part = text.get(e.span.clone()).unwrap_or_default();
            error(format!("{} at position {}", e.reason, e.span.start + 1), part)
        })?;
        let mut stack: Vec<Term> = Vec::new();
        for node in parsed.iter() {
            let term = match node {
                ExprNode::Req(req) => leaf(&req.req).ok_or_else(|| error("an id is not allowed".into(), ""))?,
                ExprNode::Op(op) => {
                    let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else {
                        return Err(error("an operand is missing".into(), ""));
                    };
                    join(*op, left, right)
                }
            };
            stack.push(term);
        }
        match (stack.pop(), stack.is_empty()) {
            (Some(root), true) if root.depth() <= DEPTH_MAX => Ok(Self { text: text.trim().into(), root }),
            (Some(_), true) => Err(error(format!("it is nested deeper than {DEPTH_MAX}"), "")),
            _ => Err(error("it is empty".into(), "")),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The tree.
    #[must_use]
    pub fn root(&self) -> &Term {
        &self.root
    }

    /// Every license in it, in order, repeated ones included.
    #[must_use]
    pub fn licenses(&self) -> Vec<&LicenseId> {
        self.leaves().into_iter().map(|(id, _)| id).collect()
    }

    /// Every license in it by which its terms may be known: each id, and the id without `-or-later` or `+`.
    #[must_use]
    pub fn named(&self) -> Vec<LicenseId> {
        self.leaves().into_iter().flat_map(|(id, base)| [Some(id), base]).flatten().cloned().collect()
    }

    /// Every license in it, in order, repeated ones included, with the id without `-or-later` or `+` where it has one.
    #[must_use]
    pub fn leaves(&self) -> Vec<(&LicenseId, Option<&LicenseId>)> {
        let mut out = Vec::new();
        self.root.leaves(&mut out);
        out
    }

    /// Whether some license in it meets a test, for `OR`, and all of them, for `AND`.
    pub fn satisfied_by(&self, test: &impl Fn(&LicenseId) -> bool) -> bool {
        self.root.satisfied_by(test)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Term {
    fn depth(&self) -> usize {
        match self {
            Self::License { .. } => 1,
            Self::And(terms) | Self::Or(terms) => 1 + terms.iter().map(Self::depth).max().unwrap_or(0),
        }
    }

    fn leaves<'a>(&'a self, out: &mut Vec<(&'a LicenseId, Option<&'a LicenseId>)>) {
        match self {
            Self::License { id, base, .. } => out.push((id, base.as_ref())),
            Self::And(terms) | Self::Or(terms) => terms.iter().for_each(|t| t.leaves(out)),
        }
    }

    fn satisfied_by(&self, test: &impl Fn(&LicenseId) -> bool) -> bool {
        match self {
            Self::License { id, base, .. } => test(id) || base.as_ref().is_some_and(test),
            Self::And(terms) => terms.iter().all(|t| t.satisfied_by(test)),
            Self::Or(terms) => terms.iter().any(|t| t.satisfied_by(test)),
        }
    }
}

fn leaf(req: &spdx::LicenseReq) -> Option<Term> {
    let (id, base) = match &req.license {
        LicenseItem::Spdx { id, or_later } => {
            let plus = if *or_later && !id.name.ends_with("-or-later") { "+" } else { "" };
            let named = LicenseId::new(&format!("{}{plus}", id.name)).ok()?;
            let base = match id.name.strip_suffix("-or-later") {
                Some(stem) => LicenseId::new(&format!("{stem}-only")).ok(),
                None if *or_later => LicenseId::new(id.name).ok(),
                None => None,
            };
            (named, base)
        }
        // A reference without a name is none.
        LicenseItem::Other(other) if other.lic_ref.is_empty() => return None,
        LicenseItem::Other(other) => (LicenseId::new(&other.to_string().replace(':', "-")).ok()?, None),
    };
    let exception = req.addition.as_ref().map(|a| a.to_string().into());
    Some(Term::License { id, base, exception })
}

// `A AND B AND C` becomes one node of three, so that order and grouping do not matter.
fn join(op: Operator, left: Term, right: Term) -> Term {
    let mut terms = Vec::new();
    for side in [left, right] {
        match (op, side) {
            (Operator::And, Term::And(inner)) | (Operator::Or, Term::Or(inner)) => terms.extend(inner),
            (_, other) => terms.push(other),
        }
    }
    match op {
        Operator::And => Term::And(terms),
        Operator::Or => Term::Or(terms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<String> {
        Expression::parse(text).unwrap().licenses().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn expressions_become_trees() {
        assert_eq!(ids("Apache-2.0 OR LicenseRef-X"), ["Apache-2.0", "LicenseRef-X"]);
        let tree = Expression::parse("MIT AND (Apache-2.0 OR BSD-3-Clause) AND ISC").unwrap();
        let Term::And(terms) = tree.root() else { panic!("{tree:?}") };
        assert_eq!(terms.len(), 3);
    }

    #[test]
    fn later_versions_fall_back_to_the_named_one() {
        let base = |text: &str| match Expression::parse(text).unwrap().root() {
            Term::License { base, .. } => base.as_ref().map(ToString::to_string),
            other => panic!("{other:?}"),
        };
        assert_eq!(base("GPL-2.0-or-later").as_deref(), Some("GPL-2.0-only"));
        assert_eq!(base("EPL-2.0+").as_deref(), Some("EPL-2.0"));
        assert_eq!(base("MIT"), None);
    }

    #[test]
    fn bad_expressions_say_where() {
        for bad in ["", "   ", "Apache 2.0", "apache-2.0 or", "NOPE-1.0", "MIT AND", "(MIT", "MIT)", "LicenseRef-", "é"]
        {
            let error = Expression::parse(bad).unwrap_err();
            assert!(!error.reason.is_empty(), "{bad}");
        }
        assert!(Expression::parse(&"(".repeat(100_000)).is_err());
        assert!(Expression::parse(&format!("{}MIT{}", "(".repeat(900), ")".repeat(900))).is_ok());
    }

    #[test]
    fn a_test_holds_for_one_branch_or_for_all_parts() {
        let osi = |id: &LicenseId| id.as_str() == "MIT";
        assert!(Expression::parse("MIT OR LicenseRef-X").unwrap().satisfied_by(&osi));
        assert!(!Expression::parse("MIT AND LicenseRef-X").unwrap().satisfied_by(&osi));
    }
}
