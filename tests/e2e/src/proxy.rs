//! What stands between AstraDesk and the API server, and loses things.

use crate::Place;
use futures::TryStreamExt as _;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A proxy in front of a place's API server: HTTP on loopback, everything forwarded as the administrator.
pub struct Proxy {
    /// A kubeconfig that leads through it.
    pub kubeconfig: PathBuf,
    state: Arc<State>,
    _serving: AbortOnDropHandle<()>,
}

struct State {
    client: kube::Client,
    /// Replies to a PATCH that are still to be lost.
    lose: AtomicU32,
    patches: AtomicU32,
    lost: AtomicU32,
}

impl Proxy {
    /// Starts one that will forward the next `lose` patches and lose their replies.
    pub async fn start(place: &Place, lose: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kubeconfig = place.folder("proxy").join("kubeconfig");
        write_kubeconfig(&kubeconfig, &url, place.cluster());
        let state = Arc::new(State {
            client: place.client.clone(),
            lose: AtomicU32::new(lose),
            patches: AtomicU32::new(0),
            lost: AtomicU32::new(0),
        });
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(listener, state.clone())));
        Self { kubeconfig, state, _serving: serving }
    }

    /// How many patches came through, dry runs aside.
    pub fn patches(&self) -> u32 {
        self.state.patches.load(Ordering::SeqCst)
    }

    /// How many replies were lost.
    pub fn lost(&self) -> u32 {
        self.state.lost.load(Ordering::SeqCst)
    }
}

/// A kubeconfig for an API server that asks for no credentials.
pub fn write_kubeconfig(path: &Path, url: &str, context: &str) {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {context}\nclusters:\n- name: c\n  cluster:\n    server: {url}\n\
         contexts:\n- name: {context}\n  context:\n    cluster: c\n    user: u\nusers:\n- name: u\n  user: {{}}\n"
    );
    std::fs::write(path, text).unwrap();
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| forward(state.clone(), request));
            // It ends with an error each time that a reply is lost: that is what it is for.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Forwards a request. An error cuts the connection, and so loses the reply.
async fn forward(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<UnsyncBoxBody<Bytes, Failure>>, Failure> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let changes = parts.method == Method::PATCH && !path.contains("dryRun");
    let mut onward = Request::builder().method(parts.method.clone()).uri(path);
    for name in ["accept", "content-type"] {
        if let Some(value) = parts.headers.get(name) {
            onward = onward.header(name, value);
        }
    }
    let answer = state.client.send(onward.body(Body::from(body.to_vec()))?).await?;
    if changes {
        state.patches.fetch_add(1, Ordering::SeqCst);
        let lose = state.lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if lose.is_ok() {
            state.lost.fetch_add(1, Ordering::SeqCst);
            return Err("the reply is lost".into());
        }
    }
    let (mut head, body) = answer.into_parts();
    for name in ["content-length", "transfer-encoding", "connection"] {
        head.headers.remove(name);
    }
    let stream = body.into_data_stream().map_ok(Frame::data).map_err(Failure::from);
    Ok(Response::from_parts(head, StreamBody::new(stream).boxed_unsync()))
}
