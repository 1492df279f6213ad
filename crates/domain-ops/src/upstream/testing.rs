//! A server that answers as a test says.

use super::Settings;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// What was asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// The method and the path: `GET /api/v2/status`.
    pub(crate) what: String,
    pub(crate) query: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Value,
    /// As whom it was asked.
    pub(crate) agent: String,
    /// What AWS calls the operation.
    pub(crate) target: String,
    /// The body as it came.
    pub(crate) text: String,
}

/// What becomes of it.
pub(crate) enum Answer {
    Json(u16, Value),
    Text(u16, String),
    Redirect(&'static str),
    /// The connection breaks.
    Break,
    /// Nothing comes.
    Silence,
}

/// A server on loopback, which ends with this value.
pub(crate) struct Scripted {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _serving: AbortOnDropHandle<()>,
}

type Script = Arc<Mutex<dyn FnMut(&Asked) -> Answer + Send>>;

impl Scripted {
    pub(crate) async fn start(script: impl FnMut(&Asked) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (script, log): (Script, _) = (Arc::new(Mutex::new(script)), asked.clone());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, log) = (script.clone(), log.clone());
                let service = service_fn(move |request| answer(request, script.clone(), log.clone()));
                let server = hyper::server::conn::http1::Builder::new();
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, asked, _serving: AbortOnDropHandle::new(serving) }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How a client gets there.
    pub(crate) fn settings(&self, name: &'static str) -> Settings {
        Settings {
            name,
            url: self.url.parse().unwrap(),
            credentials: None,
            ca_file: None,
            timeout: Duration::from_secs(5),
            max_answer: 64 << 10,
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    script: Script,
    log: Arc<Mutex<Vec<Asked>>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let asked = Asked {
        what: format!("{} {}", parts.method, parts.uri.path()),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        authorization: header("authorization"),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        agent: header("user-agent").unwrap_or_default(),
        target: header("x-amz-target").unwrap_or_default(),
        text: String::from_utf8_lossy(&body).into_owned(),
    };
    log.lock().unwrap().push(asked.clone());
    let answer = (script.lock().unwrap())(&asked);
    let with = |status: u16, text: String| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    };
    match answer {
        Answer::Json(status, value) => Ok(with(status, value.to_string())),
        Answer::Text(status, text) => Ok(with(status, text)),
        Answer::Redirect(to) => {
            let mut response = with(302, String::new());
            response.headers_mut().insert("location", to.parse().unwrap());
            Ok(response)
        }
        Answer::Break => Err(std::io::Error::other("the connection breaks")),
        Answer::Silence => std::future::pending().await,
    }
}
