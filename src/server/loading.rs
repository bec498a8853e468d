//! Who comes before the catalog is loaded: told so at once, by health and by every call, instead of waiting for an answer.
//! Reflection is there: what there is to call does not depend on the catalog.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::transport::Server;
use tower::{Layer, Service};

use super::access::{Access, Admitted};
use super::answer::{Answer, Held};
use super::clients::Clients;
use super::connection::{self, Peer, Times};
use super::front::{Ids, admit, call_id, late, refuse, with_id};
use super::{Condition, HEALTH_SERVICES, ServerOptions, set_health, with_common, with_limits};
use crate::convert::refusal::loading;

/// When to come again.
const RETRY: Duration = Duration::from_secs(1);
/// How long an answer may still take once the catalog is loaded.
const DRAIN: Duration = Duration::from_secs(1);

/// Answers on the listeners until the catalog is loaded.
#[derive(Debug)]
pub struct Loading {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Loading {
    /// Answers from now on, on a thread of its own: loading keeps the others busy.
    ///
    /// # Errors
    /// A listener cannot be used, or no thread can be started.
    pub fn start(listeners: &[TcpListener], options: &ServerOptions) -> io::Result<Loading> {
        let listeners: Vec<TcpListener> = listeners.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let options = options.clone();
        let thread = thread::Builder::new().name("weighbridge-loading".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(serve(listeners, options, stopped)) {
                tracing::warn!(%error, "who comes before the catalog is loaded has to wait");
            }
        })?;
        Ok(Loading { stop, thread })
    }

    /// Ends. Nobody is accepted any more when it returns, and connections are closed: their clients come again.
    pub fn end(self) {
        self.stop.send_replace(true);
        // It has ended either way.
        let _ = self.thread.join();
    }
}

async fn serve(listeners: Vec<TcpListener>, options: ServerOptions, stopped: watch::Receiver<bool>) -> io::Result<()> {
    let (mut health, health_server) = tonic_health::server::health_reporter();
    set_health(&health, Condition::Down).await;
    let clients = Clients::new(options.limits.clone());
    let (access, call_time) = (options.access.clone(), options.limits.call_time);
    let layer = LoadingLayer { access, ids: Arc::new(Ids::new()), call_time };
    let mut servers = JoinSet::new();
    for listener in listeners {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let times = Times::of(&options.limits);
        let incoming = connection::incoming(listener, options.tls.clone(), clients.clone(), times, stopped.clone());
        let server = with_limits(Server::builder()).layer(layer.clone());
        let server = with_common(server, &options.access, health_server.clone())?;
        let mut stopped = stopped.clone();
        servers.spawn(server.serve_with_incoming_shutdown(incoming, async move {
            // An error means that the sender is gone, which ends it as well.
            let _ = stopped.wait_for(|stop| *stop).await;
        }));
    }
    let mut stopped = stopped;
    let _ = stopped.wait_for(|stop| *stop).await;
    // Who watches the health comes again as well.
    for service in HEALTH_SERVICES {
        health.clear_service_status(service).await;
    }
    let _ = timeout(DRAIN, servers.join_all()).await;
    Ok(())
}

#[derive(Clone)]
struct LoadingLayer {
    access: Arc<Access>,
    ids: Arc<Ids>,
    call_time: Duration,
}

impl<S> Layer<S> for LoadingLayer {
    type Service = NotYet<S>;

    fn layer(&self, inner: S) -> NotYet<S> {
        NotYet { inner, layer: self.clone() }
    }
}

/// Lets nobody through but to what is no method of ours.
#[derive(Clone)]
struct NotYet<S> {
    inner: S,
    layer: LoadingLayer,
}

impl<S> Service<Request<Body>> for NotYet<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let LoadingLayer { access, ids, call_time } = &self.layer;
        let id = call_id(request.headers()).map_or_else(|| ids.next(), Arc::from);
        let (refused, method) = match admit(access, &request) {
            // Health and reflection are there already, or are not served at all.
            Ok((Admitted { method: None, .. }, permit)) => {
                let peer = request.extensions().get::<Arc<Peer>>().cloned();
                let (limit, answering) = (*call_time, self.inner.call(request));
                return Box::pin(async move {
                    let response = match timeout(limit, answering).await {
                        Ok(Ok(response)) => response,
                        Err(_) => late().into_http(),
                    };
                    let held = Held::Call { _permit: permit };
                    Ok(with_id(response, &id).map(|body| Body::new(Answer::new(body, peer, held))))
                });
            }
            Ok((Admitted { method, .. }, _)) => (loading(RETRY), method),
            Err(status) => (status, None),
        };
        let (method, code) = (method.map(|method| method.path), refused.code());
        tracing::debug!(call.id = %id, method, ?code, "refused: the catalog is being loaded");
        Box::pin(std::future::ready(Ok(refuse(request, refused, &id))))
    }
}
