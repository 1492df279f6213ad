//! What may stand between AstraDesk and a server that it asks over HTTP.

use crate::PATIENCE;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It is passed on, and so is its answer.
    Through,
    /// It is passed on, and never answered.
    Deaf,
    /// It is not passed on, and never answered.
    Lost,
    /// It is not passed on: 503.
    Refuse,
}

/// Decides by method, path and body.
type Rule = dyn Fn(&Method, &str, &str) -> Pass + Send + Sync;

/// Something between AstraDesk and a server, until this value ends.
pub struct Between {
    /// Its address.
    pub url: String,
    withheld: Arc<Notify>,
    _serving: AbortOnDropHandle<()>,
}

struct Inner {
    behind: String,
    http: reqwest::Client,
    rule: Box<Rule>,
    withheld: Arc<Notify>,
}

impl Inner {
    async fn withhold(&self) {
        self.withheld.notify_one();
        std::future::pending::<()>().await;
    }
}

impl Between {
    /// Starts it before the server at this address.
    pub async fn start(
        behind: &str,
        rule: impl Fn(&Method, &str, &str) -> Pass + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let withheld = Arc::new(Notify::new());
        let inner = Arc::new(Inner {
            behind: behind.trim_end_matches('/').to_owned(),
            http: reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap(),
            rule: Box::new(rule),
            withheld: withheld.clone(),
        });
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = inner.clone();
                let service = service_fn(move |request| pass(request, inner.clone()));
                let server = hyper::server::conn::http1::Builder::new();
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, withheld, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Waits for a request whose answer is withheld; if it was to be passed on, it was.
    pub async fn withheld(&self) {
        let withheld = tokio::time::timeout(PATIENCE, self.withheld.notified()).await;
        withheld.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for a request whose answer is withheld"));
    }
}

async fn pass(request: Request<Incoming>, inner: Arc<Inner>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = parts.uri.path_and_query().unwrap().as_str();
    let verdict = (inner.rule)(&parts.method, path, &String::from_utf8_lossy(&body));
    if verdict == Pass::Lost {
        inner.withhold().await;
    }
    if verdict == Pass::Refuse {
        return Ok(response(StatusCode::SERVICE_UNAVAILABLE, Bytes::new()));
    }
    let passed = inner.http.request(parts.method, format!("{}{path}", inner.behind));
    let answer = passed.headers(passed_on(parts.headers)).body(body).send().await.unwrap();
    let (status, body) = (answer.status(), answer.bytes().await.unwrap());
    if verdict == Pass::Deaf {
        inner.withhold().await;
    }
    Ok(response(status, body))
}

/// What is about the connection is not passed on.
fn passed_on(mut headers: HeaderMap) -> HeaderMap {
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::ACCEPT_ENCODING] {
        headers.remove(name);
    }
    headers
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
}
