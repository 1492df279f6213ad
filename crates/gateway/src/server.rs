//! Connections: accepted, bounded, drained at the end.

use crate::address;
use crate::api;
use crate::auth::Auth;
use crate::config::{Config, Limits};
use crate::http::App;
use crate::http::caller::Peer;
use crate::mcp::Allowed;
use crate::webhook::Webhooks;
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::Engine;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

/// Connections that the operating system keeps for us until they are accepted.
const BACKLOG: u32 = 4096;
/// After an accept that failed for lack of something, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a client may still send after its answer, so that it can read the answer.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
/// And for how long.
const LINGER: Duration = Duration::from_secs(2);

/// The gateway, bound to its address.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    app: App,
}

impl Gateway {
    /// Binds the address, within a Tokio runtime. Nobody is served until [`Gateway::serve`].
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`] when the address cannot be bound, a limit is no limit, or the development
    /// issuer would be reachable from outside this machine.
    pub fn bind(config: Config, engine: Engine, auth: Auth) -> Result<Self> {
        let Config { listen, limits, webhooks, public_url, allowed_hosts, allowed_origins } = config;
        check(&limits)?;
        if auth.is_development() && !listen.ip().is_loopback() {
            return Err(Error::new(
                Code::ConfigInvalid,
                format!("development tokens are for loopback only, and the gateway is to listen on {listen}"),
            )
            .with_remedy("listen on 127.0.0.1, or configure an issuer under `[auth]`"));
        }
        let unbound = |error: std::io::Error| {
            Error::new(Code::ConfigInvalid, format!("cannot listen on {listen}: {error}"))
                .with_remedy("choose another address, or stop what listens there")
        };
        let listener = listen_on(listen).map_err(unbound)?;
        let address = listener.local_addr().map_err(unbound)?;
        let public = public_url.unwrap_or_else(|| format!("http://{address}"));
        let public = address::public_url(&public)?;
        let allowed = Allowed::new(address, &public, &allowed_hosts, &allowed_origins)?;
        let door = (public.as_str().trim_end_matches('/').to_owned(), allowed);
        let webhooks = Arc::new(Webhooks::new(webhooks)?);
        let document = api::document();
        let text =
            serde_json::to_vec(&document).map_err(|error| Error::internal(format!("OpenAPI: {error}")))?;
        let app = App::new(engine, auth, limits, webhooks, door, &api::paths(&document), Bytes::from(text));
        Ok(Self { listener, address, app })
    }

    /// The address, with the port that was given when 0 was asked for.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is cancelled: then stops accepting, answers waits, ends event streams, and
    /// lets requests in flight finish within the limit. Returns whether all of them did.
    pub async fn serve(self, shutdown: CancellationToken) -> bool {
        let Self { listener, app, address } = self;
        tracing::info!(%address, "listening");
        let router = api::router(app.clone());
        let room = Arc::new(Semaphore::new(app.limits.connections));
        let connections = TaskTracker::new();
        let prefetch = connections.spawn({
            let app = app.clone();
            async move { app.auth.prefetch().await }
        });
        connections.spawn(app.webhooks.clone().run(app.engine.clone(), app.stopping.clone()));
        while let Some((stream, peer, permit)) = accept(&listener, &room, &shutdown).await {
            let connection =
                Connection { app: app.clone(), router: router.clone(), peer: peer.ip(), _room: permit };
            connections.spawn(connection.serve(stream));
        }
        drop(listener);
        prefetch.abort();
        app.stopping.cancel();
        connections.close();
        let patience = Duration::from_secs(app.limits.shutdown_seconds);
        let drained = tokio::time::timeout(patience, connections.wait()).await.is_ok();
        app.drained.cancel();
        tracing::info!(drained, "stopped");
        drained
    }
}

fn listen_on(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A limit of zero is a gateway that answers nobody.
fn check(limits: &Limits) -> Result<()> {
    /// The least that an HTTP head may have, by the parser's own limit.
    const MIN_HEADER_BYTES: usize = 8192;
    let zero = [
        ("max_body_bytes", limits.max_body_bytes == 0),
        ("header_seconds", limits.header_seconds == 0),
        ("body_seconds", limits.body_seconds == 0),
        ("request_seconds", limits.request_seconds == 0),
        ("concurrent_requests", limits.concurrent_requests == 0),
        ("connections", limits.connections == 0),
        ("mcp_session_seconds", limits.mcp_session_seconds == 0),
    ];
    let invalid = |what: String| Err(Error::new(Code::ConfigInvalid, what));
    if let Some((name, _)) = zero.into_iter().find(|(_, zero)| *zero) {
        return invalid(format!("`server.{name}` must be at least 1"));
    }
    if limits.max_header_bytes < MIN_HEADER_BYTES {
        return invalid(format!("`server.max_header_bytes` must be at least {MIN_HEADER_BYTES}"));
    }
    Ok(())
}

/// The next connection, once there is room for it; none when the gateway is to stop.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    loop {
        let accepted = async {
            let permit = room.clone().acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            () = shutdown.cancelled() => return None,
            accepted = accepted => accepted,
        };
        match (accepted, permit) {
            (Ok((stream, peer)), Ok(permit)) => return Some((stream, peer, permit)),
            (Ok(_), Err(_)) => return None,
            (Err(error), _) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connection {
    app: App,
    router: Router,
    peer: IpAddr,
    _room: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let _open = Counted::new(&self.app);
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection without TCP_NODELAY");
        }
        let (router, peer) = (self.router.clone(), Peer(self.peer));
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            router.clone().call(request.map(Body::new))
        });
        let limits = &self.app.limits;
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout())
            .max_buf_size(limits.max_header_bytes)
            .serve_connection(TokioIo::new(stream), service);
        let served = {
            let mut served = std::pin::pin!(poll_fn(|cx| connection.poll_without_shutdown(cx)));
            tokio::select! {
                served = &mut served => Some(served),
                () = self.app.stopping.cancelled() => None,
            }
        };
        let served = if let Some(served) = served {
            served
        } else {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended");
        }
        linger(connection.into_parts().io.into_inner()).await;
    }
}

/// Closes the connection so that the client can read its answer, also when it is still sending: a socket
/// that is closed with unread input takes the answer with it.
async fn linger(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let drain = async {
        let mut buffer = [0; 4096];
        let mut left = LINGER_BYTES;
        while let Ok(read) = stream.read(&mut buffer).await {
            left = left.saturating_sub(read);
            if read == 0 || left == 0 {
                break;
            }
        }
    };
    // Whether the client has finished in time makes no difference any more.
    let _ = tokio::time::timeout(LINGER, drain).await;
}

/// Counts an open connection for as long as it lives.
struct Counted<'a>(&'a App);

impl<'a> Counted<'a> {
    fn new(app: &'a App) -> Self {
        app.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Self(app)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
