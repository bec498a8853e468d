//! Organisation policies: filters with an effect.
//!
//! The condition of a policy is a filter of the query language, over the model and its terms, the use, and the decision before
//! policies. So the filter that lists the offenders is the policy that stops them. It is compiled when it is written, and asked
//! of every check; three-valued like everything, so that a condition on a fact that is not known is never skipped.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `fields.rs` | what a condition can name |
//! | `condition.rs` | a condition read, checked and compiled |
//! | `guard.rs` | what settles most conditions at once |
//! | `row.rs` | a check as a row that a condition is asked of |
//! | `set.rs` | the policies of a registry, held against a check |

mod condition;
mod fields;
mod guard;
mod row;
mod set;
#[cfg(test)]
mod tests;

pub use condition::{Condition, Mistake};
pub use fields::{DecisionField, LABEL_KEY_MAX, LabelKey, PolicyField, UseField};
pub use set::{Alternatives, Compiled, PolicySet};
