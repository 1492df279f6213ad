//! The Alertmanager that `cargo xtask test` starts, and what may stand between it and AstraDesk.

use crate::PATIENCE;
use crate::place::skipped;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// The variable that names its address.
pub const TEST_ALERTMANAGER: &str = "ASTRADESK_TEST_ALERTMANAGER";

/// A real Alertmanager, asked by the test itself. Tests share it, each with alerts of a namespace of its own.
#[derive(Clone)]
pub struct Alerting {
    /// Its address.
    pub url: String,
    http: reqwest::Client,
}

impl Alerting {
    /// The one that there is. Says loudly when there is none, and fails where `CI` is set.
    pub fn find() -> Option<Self> {
        let url = std::env::var(TEST_ALERTMANAGER).ok().filter(|url| !url.is_empty());
        if url.is_none() {
            skipped(&format!("no Alertmanager at `{TEST_ALERTMANAGER}`; use `cargo xtask test`"));
        }
        let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap();
        url.map(|url| Self { url, http })
    }

    /// Lets an alert fire with these labels.
    pub async fn fire(&self, labels: &Value) {
        let alerts = json!([{"labels": labels, "annotations": {"summary": "it is slow"}}]);
        let sent = self.http.post(format!("{}/api/v2/alerts", self.url)).json(&alerts).send().await.unwrap();
        assert_eq!(sent.status(), 200);
    }

    async fn get(&self, path: &str) -> Vec<Value> {
        let answer = self.http.get(format!("{}/api/v2/{path}", self.url)).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// Ends a silence, as somebody else.
    pub async fn end(&self, id: &str) {
        let sent = self.http.delete(format!("{}/api/v2/silence/{id}", self.url)).send().await.unwrap();
        assert_eq!(sent.status(), 200);
    }

    /// The silences, in whatever state, with a matcher on this namespace.
    pub async fn silences(&self, namespace: &str) -> Vec<Value> {
        let mut all = self.get("silences").await;
        all.retain(|silence| silence["matchers"].as_array().unwrap().iter().any(|m| m["value"] == namespace));
        all
    }

    /// Waits until somebody is notified of an alert of this namespace.
    pub async fn until_loud(&self, namespace: &str) {
        let loud = async {
            while self.loud(namespace).await.is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, loud).await;
        seen.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for an alert of {namespace}"));
    }

    /// The names of the alerts of this namespace of which somebody is notified.
    pub async fn loud(&self, namespace: &str) -> Vec<String> {
        let alerts = self.get("alerts?active=true&silenced=false&inhibited=false").await;
        let of = alerts.iter().filter(|alert| alert["labels"]["namespace"] == namespace);
        let mut names: Vec<_> =
            of.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }
}

/// Something between AstraDesk and an Alertmanager which lets the first silence through and its answer not.
pub struct Deafened {
    /// Its address.
    pub url: String,
    arrived: Arc<Notify>,
    _serving: AbortOnDropHandle<()>,
}

impl Deafened {
    /// Starts it.
    pub async fn start(behind: &Alerting) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let arrived = Arc::new(Notify::new());
        let (behind, tell, first) = (behind.clone(), arrived.clone(), Arc::new(AtomicBool::new(true)));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (behind, tell, first) = (behind.clone(), tell.clone(), first.clone());
                let service =
                    service_fn(move |request| pass(request, behind.clone(), tell.clone(), first.clone()));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { url, arrived, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Waits until the first silence has been made.
    pub async fn made(&self) {
        let arrived = tokio::time::timeout(PATIENCE, self.arrived.notified()).await;
        arrived.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for a silence"));
    }
}

async fn pass(
    request: Request<Incoming>,
    behind: Alerting,
    tell: Arc<Notify>,
    first: Arc<AtomicBool>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().unwrap().as_str();
    let passed = behind.http.request(parts.method.clone(), format!("{}{path}", behind.url));
    let passed = passed.header("content-type", "application/json").body(body.collect().await?.to_bytes());
    let answer = passed.send().await.unwrap();
    if parts.method == Method::POST && first.swap(false, Ordering::SeqCst) {
        tell.notify_one();
        std::future::pending::<()>().await;
    }
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
    let mut response = Response::new(Full::from(answer.bytes().await.unwrap()));
    *response.status_mut() = status;
    Ok(response)
}
