//! Reading every row at start, and judging the sum of them by the witness.

use super::Revision;
use super::plan::Totals;
use super::rows::{self, Digest, Version};

/// Collects what all rows amount to; feed it rows in key order.
#[derive(Debug, Default)]
pub(super) struct Audit {
    findings: Findings,
    /// The key being read, and whether its newest version so far is live:
    /// in all versions, and in those before the newest group.
    key: Vec<u8>,
    key_live: bool,
    key_live_before: bool,
}

/// What the rows amount to, as a whole and without the newest commit group.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// All rows.
    pub(super) all: Totals,
    /// The rows before the newest group.
    before: Totals,
    /// The first revision of the newest group.
    group_first: Revision,
    /// The totals that the newest log entry claims.
    claimed: Totals,
    /// The newest revision of any row, of a version without a log entry too.
    pub(super) newest: Revision,
    row_count: u64,
    damaged_rows: u64,
    first_damaged: Option<String>,
    /// Why the rows could not be read to the end.
    pub(super) unreadable: Option<String>,
}

/// How the data relates to its witness.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They agree.
    Sound,
    /// The data has one more group, written but never acknowledged.
    Ahead,
    /// Something is missing or changed.
    Loss {
        /// What, for people.
        detail: String,
        /// How many live records are missing.
        missing_records: Option<u64>,
    },
}

impl Audit {
    /// Takes in one row; gives back the version that it is, where it is one.
    pub(super) fn row<'a>(&mut self, row_key: &'a [u8], row: &'a [u8]) -> Option<Version<'a>> {
        self.findings.row_count += 1;
        let (read, version) = match row_key.first() {
            Some(&rows::LOG) => (self.log_row(row_key, row).is_some(), None),
            _ => {
                let version = self.version_row(row_key, row);
                (version.is_some(), version)
            }
        };
        if !read {
            self.findings.damaged_rows += 1;
            let name = || row_key.escape_ascii().to_string();
            self.findings.first_damaged.get_or_insert_with(name);
        }
        version
    }

    /// What all rows taken in amount to.
    pub(super) fn finish(mut self) -> Findings {
        self.close_key();
        self.findings
    }

    fn log_row(&mut self, row_key: &[u8], row: &[u8]) -> Option<()> {
        let entry = rows::decode_log(row_key, row)?;
        let found = &mut self.findings;
        if entry.group_first != found.group_first {
            found.before = found.all;
            found.group_first = entry.group_first;
        }
        found.all.digest.add(row_key, row);
        found.all.revision = entry.revision;
        found.newest = found.newest.max(entry.revision);
        let mut digest = entry.digest;
        digest.add(row_key, row);
        found.claimed = Totals { revision: entry.revision, live: entry.live, digest };
        Some(())
    }

    fn version_row<'a>(&mut self, row_key: &'a [u8], row: &'a [u8]) -> Option<Version<'a>> {
        let version = rows::decode_version(row_key, row)?;
        if version.key != self.key.as_slice() {
            self.close_key();
            self.key.clear();
            self.key.extend_from_slice(version.key);
        }
        self.key_live = version.value.is_some();
        let mut digest = Digest::default();
        digest.add(row_key, row);
        let found = &mut self.findings;
        found.newest = found.newest.max(version.revision);
        found.all.digest = found.all.digest.plus(digest);
        // Log rows sort first, so the newest group is known by now.
        if version.revision < found.group_first {
            found.before.digest = found.before.digest.plus(digest);
            self.key_live_before = version.value.is_some();
        }
        Some(version)
    }

    fn close_key(&mut self) {
        self.findings.all.live += u64::from(std::mem::take(&mut self.key_live));
        self.findings.before.live += u64::from(std::mem::take(&mut self.key_live_before));
    }
}

impl Findings {
    /// Whether there is nothing at all, as in a store just created.
    pub(super) fn is_empty(&self) -> bool {
        self.row_count == 0 && self.unreadable.is_none()
    }

    /// Compares the data with what the witness says it must amount to.
    pub(super) fn judge(&self, witness: Totals) -> Verdict {
        let readable = self.unreadable.is_none() && self.damaged_rows == 0;
        if readable && self.all == witness {
            return Verdict::Sound;
        }
        // The rows up to the witness are all there, and the newest log entry,
        // written in one piece with the rest of its group, vouches for the rest.
        if readable && self.before == witness && self.all == self.claimed {
            return Verdict::Ahead;
        }
        let missing = witness.live.checked_sub(self.all.live).filter(|missing| *missing > 0);
        Verdict::Loss { detail: self.describe(witness), missing_records: missing }
    }

    /// Says what is wrong with the rows by themselves, if anything is.
    pub(super) fn describe_rows(&self) -> Option<String> {
        let unreadable = self.unreadable.as_ref();
        let mut parts: Vec<_> =
            unreadable.map(|reason| format!("some rows cannot be read ({reason})")).into_iter().collect();
        if let Some(first) = &self.first_damaged {
            let count = self.damaged_rows;
            parts.push(format!("rows with a wrong checksum: {count}, the first is `{first}`"));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    fn describe(&self, witness: Totals) -> String {
        let (found, head) = (self.all.revision, witness.revision);
        let compared = if found < head {
            format!("the data ends at revision {found}, but revision {head} was acknowledged")
        } else if found == head {
            format!("the data does not match the witness at revision {head}")
        } else {
            format!(
                "the data goes on to revision {found}, but the witness says {head}: \
                 HEAD belongs to another store or to an older copy"
            )
        };
        let counted = format!("{} of {} records are left", self.all.live, witness.live);
        let parts = [Some(compared), Some(counted), self.describe_rows()];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Plan;
    use super::super::{Batch, Write};
    use super::*;

    type Rows = Vec<(Vec<u8>, Vec<u8>)>;

    /// Three groups: one commit, two commits, two commits.
    fn three_groups() -> (Rows, Vec<Totals>) {
        let put = |key: &str| Write { key: key.to_owned().into(), value: Some("v".into()) };
        let delete = |key: &str| Write { key: key.to_owned().into(), value: None };
        let groups = [
            vec![vec![put("a"), put("b")]],
            vec![vec![put("c")], vec![delete("a")]],
            vec![vec![put("a"), delete("b")], vec![put("d")]],
        ];
        let (mut all, mut totals) = (Rows::new(), vec![Totals::default()]);
        let mut last = std::collections::HashMap::new();
        for group in groups {
            let mut plan = Plan::new(*totals.last().unwrap());
            for writes in group {
                let batch = Batch { expect: vec![], writes: writes.clone() };
                let revision = plan.add(batch, &mut |key| Ok(last.get(key).copied())).unwrap();
                for write in writes {
                    let live = write.value.is_some();
                    let change = super::super::plan::Last { revision, live };
                    last.insert(write.key.to_vec(), change);
                }
            }
            all.extend(plan.rows);
            totals.push(plan.totals);
        }
        all.sort();
        (all, totals)
    }

    fn judge(rows: &Rows, witness: Totals) -> Verdict {
        let mut audit = Audit::default();
        for (key, row) in rows {
            audit.row(key, row);
        }
        audit.finish().judge(witness)
    }

    #[test]
    fn only_the_last_two_witnesses_fit() {
        let (rows, totals) = three_groups();
        assert_eq!(judge(&rows, totals[3]), Verdict::Sound);
        assert_eq!(judge(&rows, totals[2]), Verdict::Ahead);
        for older in &totals[..2] {
            assert!(matches!(judge(&rows, *older), Verdict::Loss { .. }));
        }
        assert_eq!(judge(&Rows::new(), totals[0]), Verdict::Sound);
    }

    #[test]
    fn any_missing_or_changed_row_is_a_loss() {
        let (rows, totals) = three_groups();
        for at in 0..rows.len() {
            let mut fewer = rows.clone();
            fewer.remove(at);
            let mut changed = rows.clone();
            changed[at].1[0] ^= 1;
            for witness in &totals[1..] {
                assert!(matches!(judge(&fewer, *witness), Verdict::Loss { .. }), "without {at}");
                assert!(matches!(judge(&changed, *witness), Verdict::Loss { .. }), "changed {at}");
            }
        }
    }
}
