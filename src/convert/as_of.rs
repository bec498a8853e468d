//! Which revision of the registry a request is to be answered from.

use jiff::Timestamp;

use super::violations::{Violation, Violations};

/// The moment of the registry that a request is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AsOf {
    /// The current one.
    #[default]
    Now,
    /// That of a revision.
    Revision(u64),
    /// What stood at a time, in milliseconds since 1970.
    Time(i64),
}

/// Reads `as_of_revision` and `as_of_time`.
///
/// # Errors
/// Every violation at once.
pub fn as_of(revision: i64, time: Option<prost_types::Timestamp>) -> Result<AsOf, Vec<Violation>> {
    let mut v = Violations::at("");
    let read = read_as_of(&mut v, revision, time);
    v.finish(Some(read))
}

/// Reads the least revision to answer from.
pub(super) fn revision_from(v: &mut Violations, min_revision: i64) -> u64 {
    u64::try_from(min_revision).unwrap_or_else(|_| {
        v.add("min_revision", format_args!("{min_revision} is negative"));
        0
    })
}

pub(super) fn read_as_of(v: &mut Violations, revision: i64, time: Option<prost_types::Timestamp>) -> AsOf {
    let of_revision = match u64::try_from(revision) {
        Ok(0) => None,
        Ok(revision) => Some(AsOf::Revision(revision)),
        Err(_) => {
            v.add("as_of_revision", format_args!("{revision} is negative"));
            None
        }
    };
    let of_time = time.and_then(|time| match Timestamp::new(time.seconds, time.nanos) {
        // Rounded down: what was committed later in that millisecond counts as well.
        Ok(time) => Some(AsOf::Time(time.as_millisecond())),
        Err(_) => {
            v.add("as_of_time", "it is no time: seconds and nanoseconds are out of range");
            None
        }
    });
    if revision != 0 && time.is_some() {
        v.add("as_of_time", "it excludes `as_of_revision`: set one of them");
    }
    of_revision.or(of_time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_revision_or_a_time() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 1_999_999 });
        assert_eq!(as_of(0, None), Ok(AsOf::Now));
        assert_eq!(as_of(7, None), Ok(AsOf::Revision(7)));
        assert_eq!(as_of(0, at(5)), Ok(AsOf::Time(5_001)));
        let refused = |revision, time| {
            let found = as_of(revision, time).unwrap_err();
            found.into_iter().map(|violation| violation.field).collect::<Vec<_>>()
        };
        assert_eq!(refused(-1, None), ["as_of_revision"]);
        assert_eq!(refused(1, at(5)), ["as_of_time"]);
        assert_eq!(refused(-1, at(i64::MAX)), ["as_of_revision", "as_of_time", "as_of_time"]);
    }
}
