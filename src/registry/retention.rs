//! How much history is kept.

use std::time::Duration;

use super::{Registry, RegistryError};
use crate::store::{Revision, StoreError};

/// What is kept beside the current records; without a bound all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// What was current within this time can be read.
    pub age: Option<Duration>,
    /// Records and history together, as they are written, are let to grow to this; the oldest history goes first.
    pub size_bytes: Option<u64>,
}

impl Registry {
    /// Lets go of history that is not to be kept any more. Answers the oldest revision that can be read.
    ///
    /// # Errors
    /// The store's.
    pub async fn retain(&self, retention: &Retention) -> Result<Revision, RegistryError> {
        let mut oldest = self.store.status().oldest_revision;
        if let Some(age) = retention.age {
            let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            let time_ms = (self.clock)().as_millisecond().saturating_sub(age_ms);
            match self.store.revision_at(time_ms).await {
                Ok(revision) if revision > oldest => oldest = self.store.compact(revision).await?,
                // No longer kept: nothing to let go of.
                Ok(_) | Err(StoreError::Compacted { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(size_bytes) = retention.size_bytes {
            loop {
                let status = self.store.status();
                let left = status.revision.saturating_sub(status.oldest_revision);
                if status.data_size_bytes <= size_bytes || left == 0 {
                    break;
                }
                // A part at a time: how much a revision holds is not known beforehand.
                oldest = self.store.compact(status.oldest_revision + left.div_ceil(8)).await?;
            }
        }
        Ok(oldest)
    }
}
