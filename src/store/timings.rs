//! How long something took, counted by size.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds, in microseconds.
const BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000, 10_000_000];

/// Counts durations.
#[derive(Debug, Default)]
pub(super) struct Timings {
    buckets: [AtomicU64; BOUNDS_US.len()],
    count: AtomicU64,
    total_us: AtomicU64,
}

/// Durations by size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timed {
    /// How many took at most so long, and longer than the bound before.
    pub buckets: Vec<(Duration, u64)>,
    /// All of them, those longer than the last bound too.
    pub count: u64,
    /// How long all of them took together.
    pub total: Duration,
}

impl Timings {
    pub(super) fn add(&self, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < took_us);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(took_us, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Timed {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        Timed {
            buckets: BOUNDS_US.iter().map(|bound| Duration::from_micros(*bound)).zip(counts).collect(),
            count: self.count.load(Ordering::Relaxed),
            total: Duration::from_micros(self.total_us.load(Ordering::Relaxed)),
        }
    }
}
