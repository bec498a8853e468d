//! The limits of the server; `docs/limits.md` lists them all.

use std::time::Duration;

use crate::auth::Role;
use crate::auth::methods::{Form, Method};

/// How much is taken, from each client and in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections.
    pub connections: usize,
    /// Connections of one address.
    pub connections_per_client: usize,
    /// Calls with one answer that are under way.
    pub calls: usize,
    /// The same of one address.
    pub calls_per_client: usize,
    /// Streams to listeners: watches and backups.
    pub streams: usize,
    /// The same of one address.
    pub streams_per_client: usize,
    /// Longest time for one call; a client's own deadline ends it before.
    pub call_time: Duration,
    /// How long a connection may take for TLS, and then for the first bytes of HTTP/2.
    pub opening_time: Duration,
    /// How long a piece of an answer may wait for a client to take it; after twice this its connection is ended at the
    /// latest.
    pub reading_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_client: 1_024,
            calls: 2_048,
            calls_per_client: 1_024,
            streams: 512,
            streams_per_client: 128,
            call_time: Duration::from_secs(30),
            opening_time: OPENING_TIME,
            reading_time: Duration::from_secs(60),
        }
    }
}

/// Largest request message; the chunks of an import stay below it.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Calls at once on one connection.
pub(super) const CALLS_PER_CONNECTION_MAX: u32 = 256;
/// Largest header list of a call, as HTTP/2 counts it.
pub(super) const HEADER_BYTES_MAX: u32 = 16 << 10;
/// Resets by the client that wait to be dealt with on one connection; more of them end it (rapid reset).
pub(super) const RESETS_PENDING_MAX: usize = 20;
/// Calls that one connection may make the server reset by errors of its own; more of them end it.
pub(super) const FAULTS_MAX: usize = 256;
/// Largest request of a method that only reads: a use with many labels has a few KiB, and what is large takes long to read.
pub(super) const READER_BYTES_MAX: usize = 256 << 10;
/// The same of a method that reads for many things at once.
pub(super) const BATCH_BYTES_MAX: usize = 1 << 20;
/// Bytes of large requests that are being read, in all and of one address: as many calls as may be under way could hold
/// gigabytes that never become a message. The documents of imports count until they are imported; one address may send one of
/// the largest beside smaller ones.
pub(super) const REQUEST_BYTES_MAX: usize = 256 << 20;
pub(super) const REQUEST_BYTES_PER_CLIENT_MAX: usize = 80 << 20;
/// Streams of health and reflection: in all, and of one address.
pub(super) const BESIDE_MAX: usize = 512;
pub(super) const BESIDE_PER_CLIENT_MAX: usize = 128;
/// Health checks of one address that are under way. There is no limit in all: nobody's are refused because of others.
pub(super) const PROBES_PER_CLIENT_MAX: usize = 64;
/// Largest request of health and reflection, which name a service or a symbol.
pub(super) const BESIDE_BYTES_MAX: usize = 4 << 10;
/// How much of a request that was refused is taken, so that its client is not reset in the middle of it.
pub(super) const REST_BYTES_MAX: usize = 64 << 10;
/// How long it may take to come.
pub(super) const REST_TIME: Duration = Duration::from_secs(1);
/// How long a connection may take for its first bytes, and for TLS, unless it is said otherwise.
pub(super) const OPENING_TIME: Duration = Duration::from_secs(10);
/// How often a quiet connection is asked whether it is still there.
pub(super) const KEEPALIVE_EVERY: Duration = Duration::from_secs(60);
/// How long it may take to say so.
pub(super) const KEEPALIVE_TIME: Duration = Duration::from_secs(20);
/// Refusals that are logged in a second.
pub(super) const REFUSALS_LOGGED_MAX: u32 = 50;
/// Calls that take in more than fits into the usual time.
pub(super) const LONG_CALLS: &[&str] = &["/weighbridge.v1.AdminService/Restore"];
/// How long these may take.
pub(super) const LONG_TIME: Duration = Duration::from_secs(6 * 3_600);

/// Largest request of a method. What is uploaded in many messages has bounds of its own.
pub(super) fn request_bytes_max(method: Option<&Method>, form: Form) -> usize {
    match method {
        // Of reflection many may come in one stream, each with the decoder's bound.
        None if form == Form::Unary => BESIDE_BYTES_MAX,
        None => usize::MAX,
        Some(Method { form: Form::Upload, .. }) => usize::MAX,
        // A gateway sends the body of its own caller along.
        Some(method) if method.path.starts_with("/envoy.") => MESSAGE_BYTES_MAX,
        Some(method) if method.role > Role::Reader => MESSAGE_BYTES_MAX,
        Some(method) if method.path.contains("/Batch") => BATCH_BYTES_MAX,
        Some(_) => READER_BYTES_MAX,
    }
}
