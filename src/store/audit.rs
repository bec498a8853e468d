//! Reading every row at start, and judging the sum of them by the witness.

use super::plan::Totals;
use super::rows::{self, Fate, Sieve, Version};
use super::{GROUP_BATCHES_MAX, Revision};

/// Damaged rows that are named; the others are counted.
const NAMED_MAX: usize = 100;

/// Collects what all rows amount to; feed it rows in key order.
#[derive(Debug)]
pub(super) struct Audit<R> {
    sieve: Sieve<R>,
    findings: Findings,
    key: Key,
}

/// The key that is being read.
#[derive(Debug, Default)]
struct Key {
    bytes: Vec<u8>,
    /// Whether its newest version so far is live: of those that were acknowledged, and of all.
    live: bool,
    live_beyond: bool,
}

/// What the rows amount to.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The revision that was acknowledged last, as far as the witness says.
    acknowledged: Revision,
    /// The rows that count, up to there.
    pub(super) totals: Totals,
    /// The same with the rows beyond it.
    all: Totals,
    /// The rows beyond it: a group that was not acknowledged, or more than can be.
    pub(super) beyond: Beyond,
    /// Rows that only history before the floor needed.
    pub(super) spent: Vec<Vec<u8>>,
    damaged_rows: u64,
    /// The first of them, by key.
    damaged: Vec<String>,
    /// Why the rows could not be read to the end.
    pub(super) unreadable: Option<String>,
}

/// Rows of revisions that the witness does not know.
#[derive(Debug, Default)]
pub(super) struct Beyond {
    /// Their keys.
    pub(super) rows: Vec<Vec<u8>>,
    newest: Revision,
    /// How many have a log entry, and whether all of these are of one group.
    commits: u64,
    several_groups: bool,
    damaged: bool,
    /// What the newest log entry says that all rows amount to.
    claimed: Totals,
}

/// How the data relates to its witness.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They agree.
    Sound,
    /// The data has one more group, all of it, which was never acknowledged.
    Ahead(Totals),
    /// The data has a part of one more group, which was never acknowledged.
    Begun,
    /// Something is missing or changed.
    Loss {
        /// What, for people.
        detail: String,
        /// How many live records are missing.
        missing_records: Option<u64>,
    },
}

impl<R: AsRef<[u8]>> Audit<R> {
    /// An audit of rows of which a witness says what they amount to; without one all of them count.
    pub(super) fn new(witness: Option<Totals>) -> Self {
        let (acknowledged, floor) = witness.map_or((Revision::MAX, 0), |totals| (totals.revision, totals.floor));
        let floor_time_ms = witness.map_or(0, |totals| totals.floor_time_ms);
        let start = Totals { revision: floor, floor, time_ms: floor_time_ms, floor_time_ms, ..Totals::default() };
        let findings = Findings { acknowledged, totals: start, all: start, ..Findings::default() };
        Self { sieve: Sieve::new(floor), findings, key: Key::default() }
    }

    /// Takes in one row; `count` is told each version that counts and was acknowledged.
    pub(super) fn row(&mut self, row_key: R, row: R, mut count: impl FnMut(Version<'_>)) {
        let Self { sieve, findings, key } = self;
        sieve.row(row_key, row, |fate, row_key, row| take(findings, key, fate, &row_key, &row, &mut count));
    }

    /// What all rows taken in amount to.
    pub(super) fn finish(self, mut count: impl FnMut(Version<'_>)) -> Findings {
        let Self { sieve, mut findings, mut key } = self;
        sieve.finish(|fate, row_key, row| take(&mut findings, &mut key, fate, &row_key, &row, &mut count));
        key.close(&mut findings);
        findings
    }
}

fn take<R: AsRef<[u8]>>(
    findings: &mut Findings,
    key: &mut Key,
    fate: Fate,
    row_key: &R,
    row: &R,
    count: &mut impl FnMut(Version<'_>),
) {
    let (row_key, row) = (row_key.as_ref(), row.as_ref());
    if fate == Fate::Spent {
        findings.spent.push(row_key.to_vec());
        return;
    }
    let read = match row_key.first() {
        Some(&rows::LOG) => findings.log_row(row_key, row).is_some(),
        _ => match rows::decode_version(row_key, row) {
            Some(version) => {
                findings.version_row(key, row_key, row, &version);
                if version.revision <= findings.acknowledged {
                    count(version);
                }
                true
            }
            None => false,
        },
    };
    if !read {
        findings.damaged_row(row_key);
    }
}

impl Key {
    fn close(&mut self, findings: &mut Findings) {
        findings.totals.live += u64::from(std::mem::take(&mut self.live));
        findings.all.live += u64::from(std::mem::take(&mut self.live_beyond));
    }
}

impl Findings {
    fn log_row(&mut self, row_key: &[u8], row: &[u8]) -> Option<()> {
        let entry = rows::decode_log(row_key, row)?;
        let rows::LogEntry { revision, group_first, time_ms, live, bytes, digest, .. } = entry;
        self.all.add(row_key, row);
        (self.all.revision, self.all.time_ms) = (revision, time_ms);
        if revision <= self.acknowledged {
            self.totals.add(row_key, row);
            (self.totals.revision, self.totals.time_ms) = (revision, time_ms);
            return Some(());
        }
        let beyond = &mut self.beyond;
        beyond.rows.push(row_key.to_vec());
        beyond.newest = beyond.newest.max(revision);
        beyond.commits += 1;
        beyond.several_groups |= Some(group_first) != self.acknowledged.checked_add(1);
        beyond.claimed = Totals { revision, time_ms, live, bytes, digest, ..self.totals };
        beyond.claimed.add(row_key, row);
        Some(())
    }

    fn version_row(&mut self, key: &mut Key, row_key: &[u8], row: &[u8], version: &Version<'_>) {
        if version.key != key.bytes.as_slice() {
            key.close(self);
            key.bytes.clear();
            key.bytes.extend_from_slice(version.key);
        }
        self.all.add(row_key, row);
        key.live_beyond = version.value.is_some();
        if version.revision <= self.acknowledged {
            self.totals.add(row_key, row);
            key.live = version.value.is_some();
        } else {
            self.beyond.rows.push(row_key.to_vec());
            self.beyond.newest = self.beyond.newest.max(version.revision);
        }
    }

    fn damaged_row(&mut self, row_key: &[u8]) {
        let revision = rows::split_log_key(row_key).or_else(|| Some(rows::split_version_key(row_key)?.1));
        match revision {
            Some(revision) if revision > self.acknowledged => {
                self.beyond.rows.push(row_key.to_vec());
                self.beyond.newest = self.beyond.newest.max(revision);
                self.beyond.damaged = true;
            }
            _ => {
                self.damaged_rows += 1;
                if self.damaged.len() < NAMED_MAX {
                    self.damaged.push(rows::shown(row_key));
                }
            }
        }
    }

    /// Compares the data with what the witness says it must amount to. With one slot `torn`, the other may be older than what
    /// was acknowledged last.
    pub(super) fn judge(&self, witness: Totals, torn: bool) -> Verdict {
        let beyond = &self.beyond;
        let readable = self.unreadable.is_none() && self.damaged_rows == 0;
        if !readable || !self.totals.agrees(&witness) || beyond.several_groups {
            return self.loss(witness);
        }
        if beyond.rows.is_empty() {
            return Verdict::Sound;
        }
        // The newest log entry, written last of its group, vouches for all of it.
        let numbered = witness.revision.checked_add(beyond.commits) == Some(beyond.newest);
        if !beyond.damaged && numbered && self.all.agrees(&beyond.claimed) {
            return Verdict::Ahead(self.all);
        }
        let one_group = beyond.newest - witness.revision <= GROUP_BATCHES_MAX as u64;
        // A slot is written after all of its group is durable: where one is torn, no part may be missing.
        if torn || !one_group { self.loss(witness) } else { Verdict::Begun }
    }

    fn loss(&self, witness: Totals) -> Verdict {
        let missing = witness.live.checked_sub(self.totals.live).filter(|missing| *missing > 0);
        Verdict::Loss { detail: self.describe(witness), missing_records: missing }
    }

    /// The newest revision of any row.
    pub(super) fn newest(&self) -> Revision {
        self.all.revision.max(self.beyond.newest)
    }

    /// The damaged rows that are named, and how many there are.
    pub(super) fn damaged(&self) -> (&[String], u64) {
        (&self.damaged, self.damaged_rows)
    }

    /// Says what is wrong with the rows by themselves, if anything is.
    pub(super) fn describe_rows(&self) -> Option<String> {
        let unreadable = self.unreadable.as_ref();
        let mut parts: Vec<_> =
            unreadable.map(|reason| format!("some rows cannot be read ({reason})")).into_iter().collect();
        if let Some(first) = self.damaged.first() {
            let count = self.damaged_rows;
            parts.push(format!("rows with a wrong checksum: {count}, the first is {first}"));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    fn describe(&self, witness: Totals) -> String {
        let (found, head) = (self.totals.revision, witness.revision);
        let beyond = &self.beyond;
        let compared = if found < head {
            format!("the data ends at revision {found}, but revision {head} was acknowledged")
        } else if beyond.rows.is_empty() {
            format!("the data does not match the witness at revision {head}")
        } else {
            let newest = beyond.newest;
            format!(
                "the data goes on to revision {newest}, but the witness says {head}: \
                 HEAD is damaged, or belongs to another store or to an older copy"
            )
        };
        let counted = format!("{} of {} records are left", self.totals.live, witness.live);
        let parts = [Some(compared), Some(counted), self.describe_rows()];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Last, Plan};
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
                let batch = Batch::of(writes.clone());
                let revision = plan.add(batch, &mut |key| Ok(last.get(key).copied())).unwrap();
                for write in writes {
                    last.insert(write.key.to_vec(), Last { revision, live: write.value.is_some() });
                }
            }
            all.extend(plan.rows);
            totals.push(plan.totals);
        }
        all.sort();
        (all, totals)
    }

    fn judge(rows: &Rows, witness: Totals, torn: bool) -> Verdict {
        let mut audit = Audit::new(Some(witness));
        for (key, row) in rows {
            audit.row(key.as_slice(), row.as_slice(), |_| ());
        }
        audit.finish(|_| ()).judge(witness, torn)
    }

    #[test]
    fn only_the_last_two_witnesses_fit() {
        let (rows, totals) = three_groups();
        assert_eq!(judge(&rows, totals[3], false), Verdict::Sound);
        assert_eq!(judge(&rows, totals[2], false), Verdict::Ahead(totals[3]));
        assert_eq!(judge(&rows, totals[2], true), Verdict::Ahead(totals[3]));
        for older in &totals[..2] {
            assert!(matches!(judge(&rows, *older, false), Verdict::Loss { .. }));
        }
        assert_eq!(judge(&Rows::new(), totals[0], false), Verdict::Sound);
    }

    #[test]
    fn any_missing_or_changed_row_is_a_loss() {
        let (rows, totals) = three_groups();
        for at in 0..rows.len() {
            let mut fewer = rows.clone();
            fewer.remove(at);
            let mut changed = rows.clone();
            changed[at].1[0] ^= 1;
            for (tampered, what) in [(fewer, "without"), (changed, "changed")] {
                assert!(matches!(judge(&tampered, totals[3], false), Verdict::Loss { .. }), "{what} {at}");
                assert!(matches!(judge(&tampered, totals[2], true), Verdict::Loss { .. }), "{what} {at}");
                assert!(matches!(judge(&tampered, totals[1], false), Verdict::Loss { .. }), "{what} {at}");
            }
        }
    }

    #[test]
    fn any_part_of_a_group_that_was_not_acknowledged_is_one_that_was_begun() {
        let (rows, totals) = three_groups();
        let revision = |row_key: &[u8]| {
            rows::split_log_key(row_key).unwrap_or_else(|| rows::split_version_key(row_key).unwrap().1)
        };
        let (mut kept, last): (Rows, Rows) = rows.into_iter().partition(|(key, _)| revision(key) <= totals[2].revision);
        for chosen in 1_u32..(1 << last.len()) - 1 {
            let before = kept.len();
            kept.extend(last.iter().enumerate().filter(|(at, _)| chosen >> at & 1 == 1).map(|(_, row)| row.clone()));
            kept.sort();
            match judge(&kept, totals[2], false) {
                Verdict::Begun => assert!(matches!(judge(&kept, totals[2], true), Verdict::Loss { .. }), "{chosen:b}"),
                // All of the first commit, and nothing of the second.
                Verdict::Ahead(all) => assert_eq!((all.revision, kept.len() - before), (4, 3), "{chosen:b}"),
                other => panic!("{chosen:b}: {other:?}"),
            }
            kept.retain(|(key, _)| revision(key) <= totals[2].revision);
            assert_eq!(kept.len(), before);
        }
    }
}
