//! What the registry holds and how its store is.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::{Registry, RegistryError, builtin};
use crate::catalog::coverage;
use crate::convert;
use crate::pb::weighbridge::v1 as pb;
use crate::store::{Staleness, StoreStatus};

/// The registry's state.
#[derive(Clone, Debug)]
pub struct Status {
    /// Version of the built-in catalog.
    pub catalog_version: &'static str,
    /// Revision of the snapshot.
    pub revision: u64,
    /// Models.
    pub models: usize,
    /// Licenses.
    pub licenses: usize,
    /// Providers.
    pub providers: usize,
    /// Offerings.
    pub offerings: usize,
    /// Offerings whose model is known.
    pub resolved_offerings: usize,
    /// Aliases.
    pub aliases: usize,
    /// The store.
    pub store: StoreStatus,
    /// Records were missing when the store was opened.
    pub incomplete: bool,
    /// Why the catalog is not fed any more; `None`: it is.
    pub feed_problem: Option<String>,
    /// When it was opened.
    pub started: Timestamp,
    /// Sources that ask for credit.
    pub attributions: Vec<String>,
}

impl Registry {
    /// How much is known of licenses. Walks over everything.
    #[must_use]
    pub fn coverage(&self) -> pb::Coverage {
        convert::coverage(&coverage::coverage(&self.snapshot()))
    }

    /// Refuses what would be answered from a catalog that may be too old.
    ///
    /// # Errors
    /// [`RegistryError::Stale`].
    pub fn check_fresh(&self) -> Result<(), RegistryError> {
        match self.staleness() {
            Some(staleness) if staleness.is_too_old() => Err(RegistryError::Stale { staleness }),
            _ => Ok(()),
        }
    }

    /// How old the snapshot may be; `None`: nobody else writes the store.
    fn staleness(&self) -> Option<Staleness> {
        if !self.is_shared {
            return None;
        }
        // Before it is asked: what passes between the two makes it older, not younger.
        let now = self.opened.elapsed();
        let staleness = self.store.staleness()?;
        if self.snapshot.load().revision() >= staleness.revision {
            let Some(fresh) = now.checked_sub(staleness.age) else { return Some(staleness) };
            let fresh = u64::try_from(fresh.as_micros()).unwrap_or(u64::MAX);
            // Looked at first: every call of every thread comes by here.
            if fresh > self.fresh_us.load(Ordering::Relaxed) {
                self.fresh_us.fetch_max(fresh, Ordering::Relaxed);
            }
        }
        // What was delivered and is not in the snapshot yet does not count.
        let fresh = Duration::from_micros(self.fresh_us.load(Ordering::Relaxed));
        Some(Staleness { age: now.saturating_sub(fresh), ..staleness })
    }

    /// The registry's state.
    #[must_use]
    pub fn status(&self) -> Status {
        let snapshot = self.snapshot();
        // Who follows the store says so when it ends, unless it cannot.
        let ended =
            self.published.has_changed().is_err().then(|| "changes of the store are followed no more".to_owned());
        let (offerings, resolved_offerings) = snapshot.offering_counts();
        Status {
            catalog_version: builtin::CATALOG_VERSION,
            revision: snapshot.revision(),
            models: snapshot.model_count(),
            licenses: snapshot.license_count(),
            providers: snapshot.provider_count(),
            offerings,
            resolved_offerings,
            aliases: snapshot.aliases().len(),
            store: StoreStatus { staleness: self.staleness(), ..self.store.status() },
            incomplete: self.incomplete,
            feed_problem: self.published.borrow().failed.clone().or(ended),
            started: self.started,
            attributions: self.builtin.attributions.clone(),
        }
    }
}
