//! Makes a dictionary for packing stored records out of the built-in catalog's: `cargo run --example dictionary FILE`.
//!
//! The one in use never changes, since the values in stores were packed with it. This is how it was made, and how another
//! one for a later format would be.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a tool for developers stops at the first problem")]

use std::sync::Arc;

use prost::Message as _;
use weighbridge::convert;
use weighbridge::registry::Registry;
use weighbridge::store::MemoryStore;

/// What stays in the caches of a processor beside what is worked on.
const BYTES_MAX: usize = 16 << 10;

fn main() {
    let path = std::env::args().nth(1).expect("the file to write");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Arc::new(MemoryStore::new());
    let registry = runtime.block_on(Registry::open(store, Arc::new(jiff::Timestamp::now))).unwrap();
    let snapshot = registry.snapshot();
    let payloads = snapshot.models().map(|entry| &entry.payload);
    let samples: Vec<Vec<u8>> = payloads.map(|payload| convert::decode(payload).unwrap().encode_to_vec()).collect();
    let dictionary = zstd::dict::from_samples(&samples, BYTES_MAX).unwrap();
    std::fs::write(path, dictionary).unwrap();
}
