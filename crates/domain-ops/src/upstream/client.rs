//! The client.

use super::Settings;
use astradesk_core::{Code, Error, Result, redact};
use astradesk_runtime::address::{is_loopback, under};
use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use reqwest::{Client, Response, redirect, retry};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The longest that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How often a read is sent.
const READS: u32 = 3;
/// The pause before it is sent again; it doubles each time.
const PAUSE: Duration = Duration::from_millis(250);
/// The most characters of what a system says that an error shows.
const EXCERPT: usize = 300;

/// A system that is asked over HTTP. Cheap to clone.
#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

struct Inner {
    client: Client,
    settings: Settings,
}

/// Whether a write that failed may have been applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It was refused, or never sent.
    No,
    /// Nobody can tell without looking.
    Maybe,
}

/// How a request ended that did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// For who asked.
    pub(crate) error: Error,
    /// What it means for a write.
    pub(crate) applied: Applied,
    /// Whether asking again may help.
    pub(crate) is_transient: bool,
}

impl Failure {
    fn refused(error: Error) -> Self {
        Self { error, applied: Applied::No, is_transient: false }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl Upstream {
    /// The system that these settings lead to. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`]: the file with the certificates cannot be used.
    pub fn new(settings: Settings) -> Result<Self> {
        let name = settings.name;
        let wrong = |why: String| Error::new(Code::ConfigInvalid, format!("the client for {name}: {why}"));
        let mut builder = Client::builder()
            .connect_timeout(CONNECT)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .pool_max_idle_per_host(4)
            .user_agent(concat!("astradesk/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&settings.url) {
            builder = builder.no_proxy();
        }
        if let Some(path) = &settings.ca_file {
            let path_shown = path.display();
            let pem = std::fs::read(path)
                .map_err(|error| wrong(format!("`{path_shown}` cannot be read: {error}")))?;
            let found = reqwest::Certificate::from_pem_bundle(&pem).ok().filter(|found| !found.is_empty());
            let found = found.ok_or_else(|| wrong(format!("`{path_shown}` has no certificate in PEM")))?;
            builder = builder.tls_certs_merge(found);
        }
        let client = builder.build().map_err(|error| wrong(error.to_string()))?;
        Ok(Self(Arc::new(Inner { client, settings })))
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.0.settings.name
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        self.0.settings.url.as_str()
    }

    /// Asks for what is at `path`, a few times if need be, until `deadline`.
    pub(crate) async fn get(
        &self,
        path: &str,
        query: &[(&str, String)],
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let (mut sent, mut pause) = (0, PAUSE);
        loop {
            sent += 1;
            let failure = match self.send(Method::GET, path, query, None, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let again = Instant::now() + pause;
            if !failure.is_transient || sent == READS || again >= deadline {
                return Err(failure);
            }
            tracing::debug!(system = self.name(), path, error = %failure.error, "asked again");
            sleep_until(again).await;
            pause *= 2;
        }
    }

    /// Sends a request once. An empty answer is null.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let Inner { client, settings } = &*self.0;
        let mut request =
            client.request(method, under(&settings.url, path).map_err(Failure::refused)?).query(query);
        if let Some(credentials) = &settings.credentials {
            request = request.header(AUTHORIZATION, credentials.header().map_err(Failure::refused)?);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let until = deadline.min(Instant::now() + settings.timeout);
        let response = match timeout_at(until, request.send()).await {
            Err(_) => return Err(self.unreachable("did not answer in time", Applied::Maybe)),
            Ok(Err(error)) if error.is_builder() => {
                return Err(Failure::refused(Error::internal(format!("no request: {error}"))));
            }
            Ok(Err(error)) if error.is_connect() => {
                return Err(self.unreachable("cannot be reached: no connection could be made", Applied::No));
            }
            Ok(Err(_)) => {
                return Err(self.unreachable("broke the connection off before it answered", Applied::Maybe));
            }
            Ok(Ok(response)) => response,
        };
        let status = response.status();
        let body = timeout_at(until, read(response, settings.max_answer)).await;
        let body = body.unwrap_or_else(|_| Err("did not end its answer in time".to_owned()));
        if !status.is_success() {
            return Err(self.refusal(status, &body.unwrap_or_default()));
        }
        let body = body.map_err(|why| self.unreadable(&why))?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body)
            .map_err(|_| self.unreadable(&format!("did not answer with JSON: `{}`", excerpt(&body, 80))))
    }

    fn unreachable(&self, why: &str, applied: Applied) -> Failure {
        let error = Error::new(Code::UpstreamUnreachable, format!("{} {why}", self.name()));
        Failure { error, applied, is_transient: true }
    }

    /// It answered, and with something else than it should.
    pub(crate) fn unreadable(&self, why: &str) -> Failure {
        let error = Error::new(Code::UpstreamAnswerInvalid, format!("{} {why}", self.name()))
            .with_remedy("check that the configured address is that of the system's own API");
        Failure { error, applied: Applied::Maybe, is_transient: false }
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> Failure {
        let code = match status.as_u16() {
            401 | 403 => Code::UpstreamForbidden,
            404 | 410 => Code::UpstreamNotFound,
            409 | 412 => Code::UpstreamConflict,
            429 => Code::UpstreamUnreachable,
            300..=399 => Code::UpstreamAnswerInvalid,
            500..=599 => Code::UpstreamFailed,
            _ => Code::UpstreamRejected,
        };
        let redirected = if status.is_redirection() { ", a redirect, which is not followed" } else { "" };
        let said = excerpt(body, EXCERPT);
        let why = if said.is_empty() { String::new() } else { format!(": {said}") };
        let message = format!("{} answered {}{redirected}{why}", self.name(), status.as_u16());
        let mut error = Error::new(code, message).with_detail("status", status.as_u16());
        if code == Code::UpstreamForbidden {
            error = error.with_remedy("give the configured credentials the permission");
        }
        // By whom it was refused that it takes no more is not known, nor what a server did before it failed.
        let is_transient = matches!(status.as_u16(), 408 | 429 | 500..=599);
        let clear = status.is_client_error() && !is_transient;
        Failure { error, applied: if clear { Applied::No } else { Applied::Maybe }, is_transient }
    }
}

/// What a system says, in one line: the text of a JSON string, or a `message` in an object, without its braces.
fn excerpt(body: &[u8], limit: usize) -> String {
    let text = String::from_utf8_lossy(body);
    let said = match serde_json::from_str::<Value>(&text) {
        Ok(Value::String(said)) => said,
        Ok(Value::Object(fields)) => {
            let message = ["message", "error"].iter().find_map(|key| fields.get(*key)?.as_str());
            message.map_or_else(|| text.clone().into_owned(), str::to_owned)
        }
        _ => text.into_owned(),
    };
    redact::line(&said, limit)
}

async fn read(mut response: Response, most: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    let broken = |_| "broke its answer off".to_owned();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > most {
            return Err(format!("answered with more than {most} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
