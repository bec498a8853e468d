//! How much is under way, for each client and in all, and what is let in beside it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tonic::Status;

use crate::convert::refusal::too_many;
use crate::server::limits::{
    BESIDE_MAX, BESIDE_PER_CLIENT_MAX, Limits, PROBES_PER_CLIENT_MAX, REQUEST_BYTES_MAX, REQUEST_BYTES_PER_CLIENT_MAX,
};

/// When to try again; the calls before take less.
const RETRY: Duration = Duration::from_millis(200);
/// The same for streams, which last.
const RETRY_STREAM: Duration = Duration::from_secs(5);

/// Everybody who is connected. A client is an address: what it says of itself costs nothing to make up.
#[derive(Debug, Default)]
pub(super) struct Clients {
    limits: Limits,
    by_address: Mutex<HashMap<IpAddr, Weak<Client>>>,
    all: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    calls: AtomicUsize,
    streams: AtomicUsize,
    beside: AtomicUsize,
    probes: AtomicUsize,
    /// Of large requests that are being read.
    bytes: AtomicUsize,
}

/// Where a call counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pool {
    /// Calls with one answer.
    Calls,
    /// Watches and backups.
    Streams,
    /// Streams of health and reflection, which strangers may open.
    Beside,
    /// Health checks.
    Probes,
}

impl Counts {
    fn of(&self, pool: Pool) -> &AtomicUsize {
        match pool {
            Pool::Calls => &self.calls,
            Pool::Streams => &self.streams,
            Pool::Beside => &self.beside,
            Pool::Probes => &self.probes,
        }
    }
}

/// One of them.
#[derive(Debug)]
pub(super) struct Client {
    counts: Counts,
    clients: Arc<Clients>,
}

/// A connection that counts as long as this is held.
#[derive(Debug)]
pub(super) struct Connected(pub(super) Arc<Client>);

/// A call that counts as long as this is held.
#[derive(Debug)]
pub(super) struct Permit {
    client: Arc<Client>,
    pool: Pool,
}

impl Clients {
    pub(super) fn new(limits: Limits) -> Arc<Clients> {
        Arc::new(Clients { limits, ..Clients::default() })
    }

    /// Lets a connection in; `None` where there are too many.
    pub(super) fn connect(self: &Arc<Self>, address: IpAddr) -> Option<Connected> {
        let address = one_client(address);
        let client = {
            let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
            // Those who are gone leave a name behind; a full table is looked through.
            if by_address.len() >= 2 * self.limits.connections {
                by_address.retain(|_, client| client.strong_count() > 0);
            }
            let known = by_address.get(&address).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let client = Arc::new(Client { counts: Counts::default(), clients: self.clone() });
                by_address.insert(address, Arc::downgrade(&client));
                client
            })
        };
        take(&self.all.connections, self.limits.connections)?;
        if take(&client.counts.connections, self.limits.connections_per_client).is_none() {
            self.all.connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Connected(client))
    }

    /// Connections, calls and streams that are under way.
    pub(super) fn counts(&self) -> [usize; 3] {
        let Counts { connections, calls, streams, .. } = &self.all;
        [connections, calls, streams].map(|count| count.load(Ordering::Relaxed))
    }
}

impl Client {
    /// Lets a call in, unless too many are under way.
    pub(super) fn call(self: &Arc<Self>, pool: Pool) -> Result<Permit, Status> {
        let Clients { limits, all, .. } = &*self.clients;
        let (what, mine_max, total_max, retry) = match pool {
            Pool::Calls => ("calls", limits.calls_per_client, limits.calls, RETRY),
            Pool::Streams => ("streams", limits.streams_per_client, limits.streams, RETRY_STREAM),
            Pool::Beside => ("streams of health and reflection", BESIDE_PER_CLIENT_MAX, BESIDE_MAX, RETRY_STREAM),
            Pool::Probes => ("health checks", PROBES_PER_CLIENT_MAX, usize::MAX, RETRY),
        };
        let (mine, total) = (self.counts.of(pool), all.of(pool));
        take(total, total_max).ok_or_else(|| too_many(what, total_max, retry))?;
        if take(mine, mine_max).is_none() {
            total.fetch_sub(1, Ordering::Relaxed);
            return Err(too_many(&format!("{what} of this client"), mine_max, retry));
        }
        Ok(Permit { client: self.clone(), pool })
    }

    /// Counts bytes of a large request.
    pub(super) fn hold(&self, bytes: usize) -> Result<(), Status> {
        let all = &self.clients.all.bytes;
        let limits = [(all, REQUEST_BYTES_MAX), (&self.counts.bytes, REQUEST_BYTES_PER_CLIENT_MAX)];
        for (at, (count, most)) in limits.iter().enumerate() {
            if count.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > *most {
                limits.iter().take(at + 1).for_each(|(count, _)| {
                    count.fetch_sub(bytes, Ordering::Relaxed);
                });
                return Err(too_many("bytes of requests", *most, RETRY));
            }
        }
        Ok(())
    }

    /// They were read, or let go of.
    pub(super) fn let_go(&self, bytes: usize) {
        if bytes > 0 {
            self.clients.all.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.counts.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// Who has an address of IPv6 has, as a rule, all that begin with the same 64 bits.
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

fn take(count: &AtomicUsize, most: usize) -> Option<()> {
    if count.fetch_add(1, Ordering::Relaxed) >= most {
        count.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    Some(())
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.counts.connections.fetch_sub(1, Ordering::Relaxed);
        self.0.clients.all.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let count = |counts: &Counts| counts.of(self.pool).fetch_sub(1, Ordering::Relaxed);
        count(&self.client.counts);
        count(&self.client.clients.all);
    }
}
