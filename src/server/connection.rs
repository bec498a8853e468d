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
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected as TonicConnected;

use super::clients::{Clients, Connected};
use super::limits::OPENING_TIME;
use super::tls::Tls;
use crate::auth::certificate_names;

/// Connections that are open and not yet served.
const WAITING_MAX: usize = 64;
/// How long to wait after none could be accepted, for example because too many files are open.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Who is on the other side.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// The names in its certificate, which was verified; none without one.
    pub(super) names: Vec<String>,
    pub(super) connected: Connected,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection.
pub(super) struct Connection {
    stream: Stream,
    peer: Arc<Peer>,
    /// Until something was read: when it has to be.
    opening: Option<Pin<Box<Sleep>>>,
}

/// Accepts until the end; who comes while there are too many is turned away at once.
pub(super) fn incoming(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    clients: Arc<Clients>,
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
                    let peer = Peer { address, names: Vec::new(), connected };
                    if accepted.send(Ok(Connection::new(Stream::Plain(stream), peer))).await.is_err() {
                        return;
                    }
                }
                Some(tls) => {
                    let (acceptor, accepted) = (TlsAcceptor::from(tls.config()), accepted.clone());
                    tokio::spawn(async move {
                        match timeout(OPENING_TIME, acceptor.accept(stream)).await {
                            Ok(Ok(stream)) => {
                                let peer = Peer { address, names: names(&stream), connected };
                                // The server has ended.
                                let _ = accepted.send(Ok(Connection::new(Stream::Tls(Box::new(stream)), peer))).await;
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

fn names(stream: &TlsStream<TcpStream>) -> Vec<String> {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    certificate.map(|certificate| certificate_names(certificate)).unwrap_or_default()
}

impl Connection {
    fn new(stream: Stream, peer: Peer) -> Self {
        Self { stream, peer: Arc::new(peer), opening: Some(Box::pin(sleep(OPENING_TIME))) }
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
        let read = match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if let Some(opening) = &mut this.opening {
            if buffer.filled().len() > before {
                this.opening = None;
            } else if read.is_pending() && opening.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
