//! Stores in etcd for the servers of tests, all in one cluster of three, each below a prefix of its own.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use weighbridge::store::{EtcdOptions, EtcdStore, Store};

use crate::cluster::Cluster;

/// The one of all tests of this process, with which it ends.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start(3))
}

pub fn open(options: &EtcdOptions) -> Arc<dyn Store> {
    Arc::new(EtcdStore::open(options).unwrap())
}

/// A store of that cluster, below a prefix that nobody has.
pub fn anew() -> EtcdOptions {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    EtcdOptions::new(cluster().endpoints(), format!("new/{}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// Below a prefix that stands for a path.
fn at(path: &Path) -> EtcdOptions {
    EtcdOptions::new(cluster().endpoints(), format!("at{}", path.to_str().unwrap()))
}

pub(super) fn new_store() -> Arc<dyn Store> {
    open(&anew())
}

pub(super) fn new_log() -> Arc<dyn Store> {
    open(&anew().log("decisions"))
}

pub(super) fn store_at(path: &Path) -> Arc<dyn Store> {
    open(&at(path))
}

pub(super) fn log_at(path: &Path) -> Arc<dyn Store> {
    open(&at(path).log("decisions"))
}

/// History that is let go of is that of a whole cluster.
pub(super) fn new_cluster() -> (Arc<dyn Store>, Cluster) {
    let cluster = Cluster::start(1);
    (open(&EtcdOptions::new(cluster.endpoints(), "alone")), cluster)
}
