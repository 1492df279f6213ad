//! A gateway, over HTTP.

mod govern;
mod stream;

use super::{Answer, Ask};
use astradesk_core::run::OnFailure;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result, Run, RunId};
use astradesk_runtime::engine::Request;
use astradesk_runtime::port::{RunEvent, RunFilter, RunPage};
use reqwest::header::RETRY_AFTER;
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The largest reply that is read, in bytes.
const MAX_REPLY: usize = 16 << 20;

/// A gateway and the token for it.
pub struct Remote {
    client: reqwest::Client,
    base: Url,
    token: Option<String>,
}

impl Remote {
    /// The gateway at `server`, an `http://` or `https://` address.
    pub fn new(server: &str, token: Option<String>) -> Result<Self> {
        let base =
            Url::parse(server).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let base = base.ok_or_else(|| {
            let message =
                format!("`{}` is not an address such as `https://astradesk.example`", shown(server, 80));
            Error::new(Code::ConfigInvalid, message)
        })?;
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none());
        // A proxy has another loopback, and the token is not for it.
        let client = if is_loopback(&base) { client.no_proxy() } else { client };
        let client = client.build().map_err(|error| Error::internal(error.to_string()))?;
        Ok(Self { client, base, token })
    }

    pub(super) async fn submit(&self, ask: Ask) -> Result<Answer> {
        let Ask { request, dry_run, idempotency_key, reason, break_glass } = ask;
        let (path, mut body) = match request {
            Request::Say { agent, input } => {
                ("v1/run".to_owned(), json!({"agent": agent, "input": input, "dry_run": dry_run}))
            }
            Request::Call(call) => (
                format!("v1/tools/{}/runs", call.tool),
                json!({"arguments": call.arguments, "dry_run": dry_run}),
            ),
        };
        if let Value::Object(body) = &mut body {
            body.extend(reason.map(|reason| ("reason".to_owned(), reason.into())));
            body.extend(break_glass.then(|| ("break_glass".to_owned(), true.into())));
        }
        let mut request = self.request(Method::POST, &path)?.json(&body).timeout(Duration::from_mins(1));
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let response = self.send(request).await?;
        let replayed = response.headers().contains_key("idempotency-replayed");
        let mut reply: Map<String, Value> = read(response).await?;
        if let Some(preview) = reply.remove("preview") {
            return Ok(Answer::Preview(preview));
        }
        let run = reply.remove("run").ok_or_else(|| foreign("its reply has no `run`"))?;
        let run = serde_json::from_value(run).map_err(|error| foreign(&error.to_string()))?;
        Ok(Answer::Run { run: Box::new(run), replayed })
    }

    pub(super) async fn run(&self, id: RunId) -> Result<Run> {
        self.get(&format!("v1/runs/{id}"), &[]).await
    }

    pub(super) async fn runs(&self, filter: &RunFilter) -> Result<RunPage> {
        #[derive(Deserialize)]
        struct Page {
            runs: Vec<Run>,
            next: Option<RunId>,
        }
        let mut query = vec![("limit", filter.limit.to_string())];
        query.extend(filter.state.clone().map(|state| ("state", state)));
        let page: Page = self.get("v1/runs", &query).await?;
        Ok(RunPage { runs: page.runs, next: page.next })
    }

    pub(super) async fn cancel(&self, id: RunId, on_effect: OnFailure) -> Result<Run> {
        let request = self.request(Method::POST, &format!("v1/runs/{id}/cancel"))?;
        let request = request.json(&json!({"on_effect": on_effect})).timeout(Duration::from_secs(30));
        read(self.send(request).await?).await
    }

    pub(super) async fn tools(&self) -> Result<Vec<Value>> {
        #[derive(Deserialize)]
        struct Tools {
            tools: Vec<Value>,
        }
        Ok(self.get::<Tools>("v1/tools", &[]).await?.tools)
    }

    /// Reads the run's events as they come; a broken connection is taken up where it broke.
    pub(super) async fn watch(&self, id: RunId, mut on_event: impl FnMut(RunEvent)) -> Result<()> {
        let mut after = 0;
        let mut broken = 0;
        loop {
            let request = self.request(Method::GET, &format!("v1/runs/{id}/events"))?;
            let begun = Instant::now();
            let response = self.send(request.header("last-event-id", after.to_string())).await;
            let mut response = match response {
                Ok(response) => response,
                Err(error) if error.code == Code::ServerUnreachable && broken < PATIENCE => {
                    broken += 1;
                    tokio::time::sleep(Duration::from_millis(200) * broken).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut stream = stream::Stream::default();
            let clean = loop {
                let chunk = match response.chunk().await {
                    Ok(Some(chunk)) => chunk,
                    Ok(None) => break true,
                    Err(_) => break false,
                };
                for frame in stream.push(&chunk)? {
                    if frame.event == "end" {
                        return Ok(());
                    }
                    broken = 0;
                    if let Some(event) = frame.into_event() {
                        after = after.max(event.seq);
                        on_event(event);
                    }
                }
            };
            broken += u32::from(is_break(clean, begun.elapsed()));
            if broken > PATIENCE {
                return Err(Error::new(
                    Code::ServerUnreachable,
                    format!("the events of run {id} keep breaking off"),
                )
                .with_remedy(format!("the run goes on; look at it with `astradesk runs show {id}`")));
            }
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T> {
        let mut request = self.request(Method::GET, path)?.timeout(Duration::from_secs(30));
        if !query.is_empty() {
            request = request.query(query);
        }
        read(self.send(request).await?).await
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder> {
        let url = self.base.join(path).map_err(|error| Error::internal(error.to_string()))?;
        let request = self.client.request(method, url);
        Ok(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|error| {
            let why = if error.is_timeout() { "it did not answer in time" } else { "no connection" };
            Error::new(
                Code::ServerUnreachable,
                format!("the gateway at `{}` cannot be reached: {why}", self.base),
            )
        })?;
        if response.status().is_success() { Ok(response) } else { Err(problem(response).await) }
    }
}

/// Connections in a row that may break without bringing anything.
const PATIENCE: u32 = 10;

/// Whether the end of a stream of events that lasted so long counts as a break: a gateway ends a stream of its own
/// accord after a while, also when nothing has happened.
fn is_break(clean: bool, lasted: Duration) -> bool {
    !clean || lasted < Duration::from_secs(1)
}

/// Whether the address is of this machine.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn bytes(mut response: Response) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| foreign("its reply broke off"))? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_REPLY {
            return Err(foreign("its reply is larger than 16 MiB"));
        }
    }
    Ok(body)
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T> {
    let body = bytes(response).await?;
    serde_json::from_slice(&body)
        .map_err(|error| foreign(&format!("its reply is not what was expected: {error}")))
}

/// The error that a problem document tells.
async fn problem(response: Response) -> Error {
    let status = response.status();
    let later =
        response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let Ok(Value::Object(mut problem)) = read(response).await else {
        return foreign(&format!("it answered {status}"));
    };
    let mut text = |key: &str| match problem.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let Some(code) = text("code").and_then(|code| Code::parse(&code)) else {
        return foreign(&format!("it answered {status}"));
    };
    let mut error = Error::new(code, text("detail").unwrap_or_default());
    if let Some(remedy) = text("remedy") {
        error = error.with_remedy(remedy);
    }
    if let Some(Value::Object(details)) = problem.remove("details") {
        error.details = details;
    }
    match later {
        Some(seconds) => error.with_detail("retry_after", seconds),
        None => error,
    }
}

fn foreign(what: &str) -> Error {
    Error::new(Code::ServerUnreachable, format!("the server does not speak as an AstraDesk gateway: {what}"))
        .with_remedy("check `--server` and the versions of both sides")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_not_between_programs_of_one_machine() {
        for (address, is) in [
            ("http://127.0.0.1:8787", true),
            ("http://127.8.0.1", true),
            ("https://[::1]:8787/x", true),
            ("http://LOCALHOST", true),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
            ("https://astradesk.example", false),
        ] {
            assert_eq!(is_loopback(&Url::parse(address).unwrap()), is, "{address}");
        }
    }

    #[test]
    fn a_quiet_stream_that_ends_is_no_break() {
        assert!(!is_break(true, Duration::from_secs(30)));
        assert!(is_break(true, Duration::from_millis(10)), "it would be asked for again and again at once");
        assert!(is_break(false, Duration::from_secs(30)));
    }

    #[test]
    fn only_a_web_address_is_a_server() {
        for bad in ["", "localhost:8787", "ftp://x", "file:///etc", "http://"] {
            assert_eq!(Remote::new(bad, None).err().map(|e| e.code), Some(Code::ConfigInvalid), "{bad}");
        }
    }
}
