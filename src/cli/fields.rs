//! The fields of filters and orders.

use super::Failure;
use super::output::Output;
use crate::catalog::filter::Schema;

/// Prints every field of a table with what it holds.
pub(super) fn print<S: Schema>(out: &Output) -> Result<(), Failure> {
    for path in S::paths() {
        let Some(field) = S::find(&path) else { continue };
        let list = if S::repeated(field) { "a list (ask with `:`) of " } else { "" };
        out.line(&format!("{path:<48} {list}{}", S::kind(field)))?;
    }
    Ok(())
}
