//! What stands between AstraDesk and the API server, and does to requests what its rules say.

use crate::fault::{Answer, Fault, Rule, Verb};
use crate::{PATIENCE, Place};
use futures::{StreamExt as _, TryStreamExt as _};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use serde_json::json;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Reply = Response<UnsyncBoxBody<Bytes, Failure>>;

/// A proxy in front of a place's API server: HTTP on loopback, everything forwarded as the administrator.
pub struct Proxy {
    /// A kubeconfig that leads through it.
    pub kubeconfig: PathBuf,
    state: Arc<State>,
    _serving: AbortOnDropHandle<()>,
}

struct State {
    client: kube::Client,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    /// Raised to end every watch that streams.
    cut: watch::Sender<u64>,
    /// While it is set nothing comes out.
    silent: watch::Sender<bool>,
    /// How often a fault happened.
    faults: watch::Sender<usize>,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// What it asked.
    pub verb: Verb,
    /// Of what.
    pub path: String,
    /// What happened to it.
    pub fault: Option<Fault>,
    /// What the API server said, if it was forwarded.
    pub status: Option<u16>,
}

impl Proxy {
    /// Starts one that breaks these rules.
    pub async fn start(place: &Place, rules: Vec<Rule>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let kubeconfig = place.folder(&format!("proxy-{}", address.port())).join("kubeconfig");
        write_kubeconfig(&kubeconfig, &format!("http://{address}"), place.cluster());
        let state = Arc::new(State {
            client: place.client.clone(),
            rules: Mutex::new(rules),
            seen: Mutex::default(),
            cut: watch::Sender::new(0),
            silent: watch::Sender::new(false),
            faults: watch::Sender::new(0),
        });
        let serving = AbortOnDropHandle::new(tokio::spawn(serve(listener, state.clone())));
        Self { kubeconfig, state, _serving: serving }
    }

    /// From now on these rules, and no others.
    pub fn rules(&self, rules: Vec<Rule>) {
        *self.state.rules.lock().unwrap() = rules;
    }

    /// One more rule.
    pub fn add(&self, rule: Rule) {
        self.state.rules.lock().unwrap().push(rule);
    }

    /// Ends every watch that streams, as the API server does it.
    pub fn cut(&self) {
        self.state.cut.send_modify(|cut| *cut += 1);
    }

    /// Nothing comes out any more, though connections stay and new ones are taken; or everything again.
    pub fn silence(&self, silent: bool) {
        self.state.silent.send_replace(silent);
    }

    /// Waits until every request that was delayed has arrived.
    pub async fn arrived(&self) {
        let begun = Instant::now();
        let waits = |one: &Seen| matches!(one.fault, Some(Fault::Delay(_))) && one.status.is_none();
        while self.seen().iter().any(waits) {
            assert!(begun.elapsed() < PATIENCE, "a delayed request does not arrive");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Every request until now.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// What the API server said to each patch that came through, dry runs aside.
    pub fn patches(&self) -> Vec<u16> {
        let seen = self.state.seen.lock().unwrap();
        seen.iter().filter(|one| one.verb == Verb::Patch).filter_map(|one| one.status).collect()
    }

    /// How often a fault happened.
    pub fn faults(&self) -> usize {
        *self.state.faults.borrow()
    }

    /// Waits until so many faults have happened.
    pub async fn struck(&self, times: usize) {
        let mut faults = self.state.faults.subscribe();
        let struck = tokio::time::timeout(PATIENCE, faults.wait_for(|count| *count >= times)).await;
        assert!(struck.is_ok(), "{} faults happened to {} requests", self.faults(), self.seen().len());
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
        let (state, socket) = (state.clone(), stream.as_fd().try_clone_to_owned().unwrap());
        tokio::spawn(async move {
            let socket = Arc::new(socket);
            let service = service_fn(|request| answer(state.clone(), socket.clone(), request));
            // It ends with an error each time that a connection is cut: that is what it is for.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Answers a request. An error cuts the connection.
async fn answer(
    state: Arc<State>,
    socket: Arc<OwnedFd>,
    request: Request<Incoming>,
) -> Result<Reply, Failure> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let verb = Verb::of(&parts.method, &parts.uri);
    let path = parts.uri.path().to_owned();
    let struck = *state.faults.borrow() > 0;
    let fault = state.rules.lock().unwrap().iter_mut().find_map(|rule| rule.strike(verb, &path, struck));
    let number = {
        let mut seen = state.seen.lock().unwrap();
        seen.push(Seen { at: Instant::now(), verb, path, fault, status: None });
        seen.len() - 1
    };
    state.faults.send_modify(|count| *count += usize::from(fault.is_some()));
    let mut silent = state.silent.subscribe();
    let _ = silent.wait_for(|silent| !silent).await;
    let mut onward = Request::builder().method(parts.method).uri(parts.uri);
    for name in ["accept", "content-type"] {
        if let Some(value) = parts.headers.get(name) {
            onward = onward.header(name, value);
        }
    }
    let forward = forward(state, number, onward.body(Body::from(body.to_vec()))?);
    // What was forwarded is counted, also if nobody waits for the answer any more.
    let forward = async { tokio::spawn(forward).await? };
    match fault {
        None => forward.await,
        Some(Fault::Refuse(answer)) => Ok(refusal(answer)),
        Some(Fault::Disown(answer)) => forward.await.map(|_| refusal(answer)),
        Some(Fault::Reset) => reset(&socket),
        Some(Fault::Lose) => {
            whole(forward.await?).await?;
            reset(&socket)
        }
        Some(Fault::Ignore) => std::future::pending().await,
        Some(Fault::Mute) => {
            whole(forward.await?).await?;
            std::future::pending().await
        }
        Some(Fault::Delay(time)) => {
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                forward.await.map(drop)
            });
            std::future::pending().await
        }
        Some(Fault::Truncate) if verb == Verb::Watch => {
            let (head, body) = forward.await?.into_parts();
            // An event is a frame, or begins with one.
            let event = body.into_data_stream().take(1).map_ok(|event| event.slice(..event.len() / 2));
            let lost = futures::stream::iter([Err(Failure::from("the rest is lost"))]);
            Ok(Response::from_parts(head, boxed(event.map_ok(Frame::data).chain(lost))))
        }
        Some(Fault::Truncate) => {
            let (head, body) = whole(forward.await?).await?;
            let half = body.slice(..body.len() / 2);
            let frames = [Ok(Frame::data(half)), Err("the rest is lost".into())];
            let mut reply = Response::from_parts(head, boxed(futures::stream::iter(frames)));
            reply.headers_mut().insert("content-length", body.len().into());
            Ok(reply)
        }
        Some(Fault::Halve) => {
            let (head, body) = whole(forward.await?).await?;
            let half = Full::new(body.slice(..body.len() / 2)).map_err(|never| match never {});
            Ok(Response::from_parts(head, half.boxed_unsync()))
        }
        Some(Fault::Close) => Ok(json_reply(StatusCode::OK, Bytes::new())),
        Some(Fault::Expire) => {
            let event = json!({"type": "ERROR", "object": status_object(410)});
            Ok(json_reply(StatusCode::OK, format!("{event}\n").into()))
        }
    }
}

/// Forwards a request; what comes back is streamed.
async fn forward(state: Arc<State>, number: usize, request: Request<Body>) -> Result<Reply, Failure> {
    let answer = state.client.send(request).await?;
    let watch = {
        let seen = &mut state.seen.lock().unwrap()[number];
        seen.status = Some(answer.status().as_u16());
        seen.verb == Verb::Watch
    };
    let (mut head, body) = answer.into_parts();
    for name in ["content-length", "transfer-encoding", "connection"] {
        head.headers.remove(name);
    }
    let silent = state.silent.subscribe();
    let frames = body.into_data_stream().map_ok(Frame::data).map_err(Failure::from).then(move |frame| {
        let mut silent = silent.clone();
        async move {
            let _ = silent.wait_for(|silent| !silent).await;
            frame
        }
    });
    if !watch {
        return Ok(Response::from_parts(head, boxed(frames)));
    }
    let mut cut = state.cut.subscribe();
    let cut = async move {
        let _ = cut.changed().await;
    };
    Ok(Response::from_parts(head, boxed(frames.take_until(Box::pin(cut)))))
}

fn boxed(
    frames: impl futures::Stream<Item = Result<Frame<Bytes>, Failure>> + Send + 'static,
) -> UnsyncBoxBody<Bytes, Failure> {
    StreamBody::new(frames).boxed_unsync()
}

/// Reads an answer to its end.
async fn whole(reply: Reply) -> Result<(http::response::Parts, Bytes), Failure> {
    let (head, body) = reply.into_parts();
    Ok((head, body.collect().await?.to_bytes()))
}

/// The connection ends with a reset, and not in order.
fn reset(socket: &OwnedFd) -> Result<Reply, Failure> {
    rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO))?;
    Err("the connection is reset".into())
}

fn refusal(answer: Answer) -> Reply {
    let status = StatusCode::from_u16(answer.status).unwrap();
    let mut reply = if answer.plain {
        let text = "upstream connect error or disconnect/reset before headers";
        let mut reply = json_reply(status, Bytes::from_static(text.as_bytes()));
        reply.headers_mut().insert("content-type", "text/plain".parse().unwrap());
        reply
    } else {
        json_reply(status, status_object(answer.status).to_string().into())
    };
    if let Some(seconds) = answer.retry_after {
        reply.headers_mut().insert("retry-after", seconds.into());
    }
    reply
}

fn status_object(code: u16) -> serde_json::Value {
    let (reason, message) = match code {
        410 => ("Expired", "too old resource version: 1 (2)"),
        429 => (
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later",
        ),
        500 => ("InternalError", "etcdserver: request timed out"),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => ("Timeout", "request did not complete within the allotted timeout"),
        _ => ("Unknown", "unknown"),
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

fn json_reply(status: StatusCode, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    *reply.status_mut() = status;
    reply.headers_mut().insert("content-type", "application/json".parse().unwrap());
    reply
}
