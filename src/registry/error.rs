//! What can keep a use case from being answered. An ineligible model is an answer, not an error.

use crate::convert::{RecordError, RequestRefused, Violation};
use crate::ingest::ImportError;
use crate::store::{Staleness, StoreError};

/// Why a use case has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Fields that are not as they must be.
    #[error("{} field(s) are not valid", .0.len())]
    Invalid(Vec<Violation>),
    /// Fields whose feature does not exist yet.
    #[error("{} field(s) are not built yet", .0.len())]
    Unimplemented(Vec<Violation>),
    /// No such record.
    #[error("{kind} `{name}` is not known")]
    NotFound {
        /// What was looked for, for example "model".
        kind: &'static str,
        /// As given, cut to a readable length.
        name: String,
        /// The nearest known names.
        near: Vec<String>,
    },
    /// Several records are missing.
    #[error("{} {kind}(s) are not known: {}", .names.len(), .names.join(", "))]
    NotFoundMany {
        /// What was looked for.
        kind: &'static str,
        /// All of them.
        names: Vec<String>,
    },
    /// An alias stands for several models.
    #[error("`{alias}` stands for several models: {}", .candidates.join(", "))]
    AmbiguousAlias {
        /// As given, cut to a readable length.
        alias: String,
        /// Their names.
        candidates: Vec<String>,
    },
    /// A record of that name exists.
    #[error("`{name}` exists already: update it instead")]
    AlreadyExists {
        /// Its name.
        name: String,
    },
    /// An alias of the record names another model.
    #[error("the alias `{alias}` already stands for `{model}`")]
    AliasTaken {
        /// The alias.
        alias: String,
        /// The model that has it.
        model: String,
    },
    /// Somebody changed the record in between.
    #[error("`{name}` was changed in between: read it again and repeat the change")]
    EtagMismatch {
        /// Its name.
        name: String,
        /// Etag it has now; empty when it is gone.
        current: String,
    },
    /// A record that no operator wrote cannot be deleted.
    #[error("`{name}` is built in or comes from an import, and cannot be deleted: overlay it with an update instead")]
    BuiltIn {
        /// Its name.
        name: String,
    },
    /// A license is still used.
    #[error("license `{name}` is used by {} model(s), for example {}", .models, .example)]
    LicenseInUse {
        /// Its name.
        name: String,
        /// Number of models.
        models: usize,
        /// One of them.
        example: String,
    },
    /// A license has a name and no terms.
    #[error("`{name}` is listed by SPDX, but its terms are not modelled: there is nothing to compare")]
    NotModelled {
        /// Its name.
        name: String,
    },
    /// A use profile is still named.
    #[error("use profile `{name}` is named by `{by}`: change that first")]
    UseProfileInUse {
        /// Its name.
        name: String,
        /// A waiver or deployment that names it.
        by: String,
    },
    /// A policy is still named.
    #[error("policy `{name}` is named by `{waiver}`: change that first")]
    PolicyInUse {
        /// Its name.
        name: String,
        /// A waiver that names it.
        waiver: String,
    },
    /// A model would be its own ancestor.
    #[error("the lineage would go in a circle: {}", .path.join(" → "))]
    LineageCycle {
        /// From the model back to itself.
        path: Vec<String>,
    },
    /// The registry has not come so far yet.
    #[error("the registry stands at revision {current} and has not reached {asked}")]
    RevisionNotReached {
        /// The revision asked for.
        asked: u64,
        /// Where it stands.
        current: u64,
    },
    /// A page token of another list, or none at all.
    #[error("the page token is not one of this list: start again without it")]
    PageToken,
    /// The revision that a list under way stays with is no longer at hand.
    #[error("the list began at revision {revision}, which is no longer at hand: start again without the page token")]
    PageTokenExpired {
        /// The revision.
        revision: u64,
    },
    /// A filter would look into more records than it may.
    #[error(
        "the filter would look into too many records one by one: add a term on an indexed field, for example `publisher` or `tier`"
    )]
    FilterTooCostly,
    /// A document could not be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A stored record could not be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The built-in catalog is not valid.
    #[error("the built-in catalog has {} problem(s), first: {}", .0.len(), .0.first().map_or("", |p| p.as_str()))]
    BuiltInCatalog(Vec<String>),
    /// Another record is made from this model.
    #[error("`{name}` is what `{example}` was made from: change that record first")]
    ModelInUse {
        /// Its name.
        name: String,
        /// A model that names it as a base.
        example: String,
    },
    /// The document holds nothing to import.
    #[error("the document holds nothing to import{detail}: an import of it would remove what came from this source")]
    NothingToImport {
        /// The first thing that was rejected, if any.
        detail: String,
    },
    /// What is known may be too old.
    #[error(
        "this replica knows nothing of the last {} s, and {} s are allowed: ask another one, or try again in a moment",
        .staleness.age.as_secs(), .staleness.allowed.as_secs()
    )]
    Stale {
        /// How old it may be.
        staleness: Staleness,
    },
    /// Records are missing from the store.
    #[error("records are missing from the store, so no check is answered: restore it from a backup")]
    Incomplete,
    /// No decision log is kept.
    #[error(
        "this registry keeps no decision log: start the server with one (`--decision-log`), or do not ask to record"
    )]
    NoDecisionLog,
    /// A reader of a stream takes nothing.
    #[error("the stream was not read for too long: read it faster, or begin again")]
    SlowReader,
    /// More backups are asked for than are made at once.
    #[error("{most} backups are under way already: try again when one of them is done")]
    TooManyBackups {
        /// How many are made at once.
        most: usize,
    },
    /// A backup is to be restored where something would be lost.
    #[error(
        "the registry holds records that are not built in, or decisions: restore into a new one, or `weighbridge restore` into an empty directory"
    )]
    NotPristine,
    /// A backup is being restored.
    #[error("a backup is being restored: nothing is written meanwhile")]
    Superseded,
    /// The registry is shutting down.
    #[error("the registry is shutting down")]
    Closed,
    /// No further watch is taken.
    #[error("there are {most} watches, the most that are kept at once: end one, or try again later")]
    TooManyWatches {
        /// How many there may be.
        most: usize,
    },
    /// The reader of a watch does not keep up.
    #[error("the watch was ended, since its messages were taken too slowly: go on from revision {resume_revision}")]
    WatchTooSlow {
        /// The last revision that was told to its end.
        resume_revision: u64,
    },
    /// Nothing further comes from a watch.
    #[error("the registry follows no changes any more: go on from revision {resume_revision} once it is started again")]
    WatchClosed {
        /// The last revision that was told to its end.
        resume_revision: u64,
    },
    /// Something that a watch was to tell could not be read.
    #[error("{error}; the watch was told up to revision {resume_revision}")]
    WatchFailed {
        /// The last revision that was told to its end.
        resume_revision: u64,
        /// Why.
        #[source]
        error: Box<RegistryError>,
    },
    /// A watch lasts only so long, so that a credential that was taken back ends what it began.
    #[error("a watch lasts only so long: go on from revision {resume_revision}")]
    WatchTooOld {
        /// The last revision that was told to its end.
        resume_revision: u64,
    },
    /// The server stops, and its watches with it.
    #[error("the server is stopping: go on from revision {resume_revision}")]
    Stopping {
        /// The last revision that was told to its end.
        resume_revision: u64,
    },
}

impl From<RequestRefused> for RegistryError {
    fn from(refused: RequestRefused) -> Self {
        match refused {
            RequestRefused::Invalid(violations) => Self::Invalid(violations),
            RequestRefused::Unimplemented(violations) => Self::Unimplemented(violations),
        }
    }
}
