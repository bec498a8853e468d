//! Integration tests: one binary. What runs here is real: servers, stores, the command's own process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    missing_docs,
    reason = "a test stops at the first thing that is not as it expects"
)]

mod access;
mod admission;
mod advisor;
mod allocations;
mod as_of;
mod attest;
mod cases;
mod catalog;
mod cli;
mod client;
#[cfg(feature = "etcd")]
#[path = "../etcd/cluster.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod cluster;
mod crash;
mod deployments;
mod durability;
mod eligibility;
mod encoded;
mod fuzz;
mod gate;
mod grid;
mod harness;
mod hostile;
mod import;
mod malformed;
mod manifests;
mod normalise;
mod once;
mod policies;
mod query;
mod reasons;
mod records;
#[cfg(feature = "etcd")]
mod replicas;
mod revisions;
mod service;
mod settings;
#[cfg(feature = "etcd")]
mod shared;
mod tidy;
mod traces;
mod watch;
