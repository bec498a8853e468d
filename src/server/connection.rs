//! Connections: accepted within the limits, with TLS where it is set up, and with the names of the other side.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected as TonicConnected;

use super::answer::Waiting;
use super::clients::{Clients, Connected};
use super::gather::Gather;
use super::limits::Limits;
use super::tls::Tls;
use crate::auth::{Shown, shown_by};

/// Connections that are open and not yet served.
const WAITING_MAX: usize = 64;
/// What a client of HTTP/2 says first; until then nothing else bounds how long it takes.
const PREFACE_BYTES: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
/// How long to wait after none could be accepted, for example because too many files are open.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Who is on the other side.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// What its certificate says, which was verified.
    pub(super) shown: Option<Shown>,
    pub(super) connected: Connected,
    /// What it has not taken of its answers.
    pub(super) waiting: Waiting,
}

/// How long a connection may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    opening: Duration,
    reading: Duration,
}

impl Times {
    pub(super) fn of(limits: &Limits) -> Self {
        Self { opening: limits.opening_time, reading: limits.reading_time }
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection.
pub(super) struct Connection {
    stream: Gather<Stream>,
    peer: Arc<Peer>,
    /// How much is still to come of the preface of HTTP/2; from there on the keepalive watches over the other side.
    unopened: usize,
    /// When it has to be open; then, at what interval its answers have to be taken.
    clock: Pin<Box<Sleep>>,
    reading_time: Duration,
    /// What it had taken at the last tick of the clock, if it took no more then.
    blocked_at: Option<u64>,
}

/// Accepts until the end; who comes while there are too many is turned away at once.
pub(super) fn incoming(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    clients: Arc<Clients>,
    times: Times,
    stopped: watch::Receiver<bool>,
) -> ReceiverStream<io::Result<Connection>> {
    let (accepted, connections) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        let mut stopped = stopped;
        loop {
            let come = tokio::select! {
                come = listener.accept() => come,
                _ = stopped.wait_for(|stop| *stop) => return,
            };
            let (stream, address) = match come {
                Ok(come) => come,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            // One that is gone already is no concern of ours.
            let _ = stream.set_nodelay(true);
            let Some(connected) = clients.connect(address.ip()) else {
                tracing::debug!(%address, "a connection was turned away: there are too many");
                continue;
            };
            match &tls {
                None => {
                    let peer = Peer { address, shown: None, connected, waiting: Waiting::default() };
                    if accepted.send(Ok(Connection::new(Stream::Plain(stream), peer, times))).await.is_err() {
                        return;
                    }
                }
                Some(tls) => {
                    let (acceptor, accepted) = (TlsAcceptor::from(tls.config()), accepted.clone());
                    tokio::spawn(async move {
                        match timeout(times.opening, acceptor.accept(stream)).await {
                            Ok(Ok(stream)) => {
                                let peer =
                                    Peer { address, shown: shown(&stream), connected, waiting: Waiting::default() };
                                // The server has ended.
                                let stream = Stream::Tls(Box::new(stream));
                                let _ = accepted.send(Ok(Connection::new(stream, peer, times))).await;
                            }
                            Ok(Err(error)) => {
                                tracing::debug!(%address, %error, "a connection has no TLS as it must be");
                            }
                            Err(_) => tracing::debug!(%address, "a connection took too long for TLS"),
                        }
                    });
                }
            }
        }
    });
    ReceiverStream::new(connections)
}

fn shown(stream: &TlsStream<TcpStream>) -> Option<Shown> {
    let (_, session) = stream.get_ref();
    session.peer_certificates().and_then(|chain| chain.first()).map(|certificate| shown_by(certificate))
}

impl Connection {
    fn new(stream: Stream, peer: Peer, times: Times) -> Self {
        let clock = Box::pin(sleep(times.opening));
        Self {
            stream: Gather::new(stream),
            peer: Arc::new(peer),
            unopened: PREFACE_BYTES,
            clock,
            reading_time: times.reading,
            blocked_at: None,
        }
    }

    /// Ends what has to wait, if it has waited too long.
    fn waits<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        while self.clock.as_mut().poll(context).is_ready() {
            // Answers that were let go of are waited for by nobody, but their bytes may still be.
            let blocked_at = self.stream.blocked_at();
            let is_stuck = blocked_at.is_some() && blocked_at == self.blocked_at;
            self.blocked_at = blocked_at;
            if self.unopened > 0 || self.peer.waiting.tick() || is_stuck {
                tracing::debug!(address = %self.peer.address, "a connection was ended: it took too long");
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.clock.as_mut().reset(Instant::now() + self.reading_time);
        }
        Poll::Pending
    }
}

impl TonicConnected for Connection {
    type ConnectInfo = Arc<Peer>;

    fn connect_info(&self) -> Arc<Peer> {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if read.is_pending() {
            return this.waits(context);
        }
        if this.unopened > 0 {
            this.unopened = this.unopened.saturating_sub(buffer.filled().len().saturating_sub(before));
            if this.unopened == 0 {
                this.clock.as_mut().reset(Instant::now() + this.reading_time);
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        if written.is_pending() { this.waits(context) } else { written }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_flush(context);
        if written.is_pending() { this.waits(context) } else { written }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(context);
        if shut.is_pending() { this.waits(context) } else { shut }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, parts);
        if written.is_pending() { this.waits(context) } else { written }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
