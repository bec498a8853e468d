//! The suite on stores in a cluster.

use super::super::cluster::Cluster;
use super::super::{EtcdOptions, EtcdStore};
use super::*;

/// A cluster for one test: history that one lets go of is gone for all.
pub(in crate::store) fn start() -> Cluster {
    Cluster::start(3)
}

pub(in crate::store) fn open(cluster: &Cluster, prefix: &str) -> EtcdStore {
    // Few commits are at hand, so that the others are read.
    let options = EtcdOptions { recent_max: 3, ..EtcdOptions::new(cluster.endpoints(), prefix) };
    EtcdStore::open(&options).unwrap()
}

/// The store in a cluster.
struct InCluster<'a> {
    cluster: &'a Cluster,
    prefix: String,
    store: Option<AnyStore>,
}

impl Bench for InCluster<'_> {
    fn store(&self) -> AnyStore {
        self.store.clone().unwrap()
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(Arc::new(open(self.cluster, &self.prefix)));
    }

    fn restore(&mut self) {
        let directory = tempfile::tempdir().unwrap();
        let store = restored(&backup(&*self.store()), directory.path()).unwrap();
        assert_eq!(block_on(store.load()).unwrap(), block_on(self.store().load()).unwrap());
    }

    fn rewrite(&mut self, _: Revision) -> Option<Revision> {
        None
    }
}

#[test]
fn any_history_in_a_cluster_matches_the_model() {
    let cluster = start();
    let config = ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let case = std::cell::Cell::new(0);
    let run = |steps: Vec<Step>| {
        case.set(case.get() + 1);
        let prefix = format!("case-{}", case.get());
        let store: AnyStore = Arc::new(open(&cluster, &prefix));
        run_history(&steps, &mut InCluster { cluster: &cluster, prefix, store: Some(store) });
        Ok(())
    };
    runner.run(&steps(), run).unwrap();
}

#[test]
fn the_past_is_read_on_from_where_it_was_left() {
    /// More than etcd tells of at once.
    const COMMITS: usize = 1_500;
    let cluster = start();
    let store = open(&cluster, "past");
    let put = |i: usize| Write { key: format!("k{}", i % 40).into(), value: Some(i.to_string().into()) };
    for i in 0..COMMITS {
        // One is staged.
        let rows = if i == 60 { 150 } else { 1 };
        block_on(store.commit(Batch::of((i..i + rows).map(put)))).unwrap();
    }
    let store = open(&cluster, "past");
    let since = |after: Revision, limit: usize| block_on(store.changes_since(after, limit));
    let all = since(0, usize::MAX).unwrap();
    assert_eq!(all.len(), COMMITS);
    assert_eq!(all[60].writes.len(), 40);

    // Two readers, one behind the other, that read one by one, and one that reads some at a time.
    let begun = std::time::Instant::now();
    let mut readers = [(0, 7), (all[1_320].revision, 1), (all[3].revision, 11)];
    let mut found = [Vec::new(), all[..1_321].to_vec(), all[..4].to_vec()];
    while found.iter().any(|found| found.len() < all.len()) {
        for ((after, limit), found) in readers.iter_mut().zip(&mut found) {
            found.extend(since(*after, *limit).unwrap());
            *after = found.last().unwrap().revision;
        }
    }
    for found in &found {
        assert!(*found == all);
    }
    // Each watch that begins in the past takes 100 ms.
    assert!(begun.elapsed() < std::time::Duration::from_secs(15), "{:?}", begun.elapsed());

    // A connection that broke meanwhile is made anew, where what it had brought ends.
    assert_eq!(since(all[9].revision, 500).unwrap()[..], all[10..510]);
    (0..3).for_each(|node| cluster.restart(node));
    cluster.wait_healthy(std::time::Duration::from_secs(30));
    assert!(since(all[509].revision, usize::MAX).unwrap()[..] == all[510..]);
    // What was let go of meanwhile is not read on.
    let oldest = all[100].revision;
    assert_eq!(block_on(store.compact(oldest)).unwrap(), oldest);
    assert!(matches!(since(all[11].revision, 1), Err(StoreError::Compacted { .. })));
    assert_eq!(since(oldest, 1).unwrap()[..], all[101..102]);
}
