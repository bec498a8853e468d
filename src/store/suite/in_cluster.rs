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
