//! One question and its answer: the only code that speaks to a model's server.

use crate::Settings;
use crate::answer::MAX_ANSWER;
use astradesk_core::{Code, Error, Result, redact};
use astradesk_runtime::address::{is_loopback, under};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect};
use std::error::Error as _;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The pause before a question is sent again; it doubles each time.
const PAUSE: Duration = Duration::from_millis(250);
/// The most characters of a refusal that are shown.
const EXCERPT: usize = 200;

/// A model's server.
pub(crate) struct Server {
    client: Client,
    url: Url,
    models: Url,
}

/// What became of a question.
pub(crate) struct Exchanged {
    /// How often it was sent.
    pub(crate) attempts: u32,
    /// The bytes of a successful answer.
    pub(crate) answer: Result<Vec<u8>>,
}

/// What became of one attempt.
enum Attempt {
    Answered(Vec<u8>),
    /// It may be sent again, after the pause that the server asks for.
    Again(Error, Option<Duration>),
    Failed(Error),
}

impl Server {
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let mut builder = Client::builder()
            // What is said must not be sent elsewhere.
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .user_agent(concat!("astradesk/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&settings.base_url) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            Error::new(Code::ConfigInvalid, format!("no HTTP client can be made: {error}"))
        })?;
        Ok(Self {
            client,
            url: under(&settings.base_url, "chat/completions")?,
            models: under(&settings.base_url, "models")?,
        })
    }

    /// Sends a question until it is answered, at most `retries` times more, and not beyond `deadline`.
    pub(crate) async fn ask(&self, settings: &Settings, body: &[u8], deadline: Instant) -> Exchanged {
        let mut pause = PAUSE;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
            let sent = match with_key(settings, request.body(body.to_vec())) {
                Ok((request, key)) => attempt(request, key.as_deref(), deadline).await,
                Err(error) => Attempt::Failed(error),
            };
            let (error, asked) = match sent {
                Attempt::Answered(answer) => return Exchanged { attempts, answer: Ok(answer) },
                Attempt::Failed(error) => return Exchanged { attempts, answer: Err(error) },
                Attempt::Again(error, asked) => (error, asked),
            };
            let again = Instant::now() + asked.unwrap_or(pause);
            if attempts > settings.retries || again >= deadline {
                return Exchanged { attempts, answer: Err(error) };
            }
            tracing::debug!(%error, attempts, "the language model is asked again");
            sleep_until(again).await;
            pause *= 2;
        }
    }

    /// The models that the server has, as it says; nothing is asked of any of them.
    pub(crate) async fn models(&self, settings: &Settings, deadline: Instant) -> Result<Vec<String>> {
        let (request, key) = with_key(settings, self.client.get(self.models.clone()))?;
        let body = match attempt(request, key.as_deref(), deadline).await {
            Attempt::Answered(body) => body,
            Attempt::Again(error, _) | Attempt::Failed(error) => return Err(error),
        };
        let listed: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let models = listed.as_ref().and_then(|listed| listed.get("data")?.as_array());
        let models = models.ok_or_else(|| {
            Error::new(
                Code::LlmAnswerInvalid,
                "the language model's server does not list its models as the protocol has it",
            )
        })?;
        let ids = models.iter().filter_map(|model| model.get("id")?.as_str());
        Ok(ids.map(|id| redact::line(id, 100)).collect())
    }
}

/// The request with the key in its header, and the key, to be taken out of whatever comes back.
fn with_key(settings: &Settings, request: RequestBuilder) -> Result<(RequestBuilder, Option<String>)> {
    let Some(place) = &settings.key else { return Ok((request, None)) };
    let key = place.look_up()?;
    let mut value = HeaderValue::try_from(format!("Bearer {key}"))
        .map_err(|_| Error::new(Code::LlmKeyMissing, format!("the key `{place}` is none")))?;
    value.set_sensitive(true);
    Ok((request.header(AUTHORIZATION, value), Some(key)))
}

/// Sends it once.
async fn attempt(request: RequestBuilder, key: Option<&str>, deadline: Instant) -> Attempt {
    let late = || unreachable("did not answer in time");
    let response = match timeout_at(deadline, request.send()).await {
        Err(_) => return Attempt::Failed(late()),
        Ok(Err(error)) if error.is_builder() => return Attempt::Failed(unreachable("cannot be asked")),
        Ok(Err(error)) => return Attempt::Again(unreachable(&why(error)), None),
        Ok(Ok(response)) => response,
    };
    let status = response.status();
    let pause = retry_after(response.headers());
    let Ok(body) = timeout_at(deadline, body(response)).await else { return Attempt::Failed(late()) };
    if status == StatusCode::OK {
        return match body {
            Ok(body) => Attempt::Answered(body),
            Err(Broken::TooLarge) => Attempt::Failed(Error::new(
                Code::LlmAnswerInvalid,
                format!("the language model's answer is larger than {MAX_ANSWER} bytes"),
            )),
            Err(Broken::Off) => Attempt::Again(unreachable("broke off its answer"), None),
        };
    }
    refused(status, &body.unwrap_or_default(), key, pause)
}

fn refused(status: StatusCode, body: &[u8], key: Option<&str>, pause: Option<Duration>) -> Attempt {
    if status == StatusCode::TOO_MANY_REQUESTS
        || status.is_server_error()
        || status == StatusCode::REQUEST_TIMEOUT
    {
        let mut error = unreachable(&format!("answered {status}"));
        if let Some(pause) = pause {
            error = error.with_detail("retry_after", pause.as_secs());
        }
        return Attempt::Again(error, pause);
    }
    let mut said = String::from_utf8_lossy(body).into_owned();
    if let Some(key) = key {
        said = said.replace(key, "[secret]");
    }
    let what = match status.as_u16() {
        401 | 403 => ": it does not accept the key",
        300..=399 => ": a redirect, which is not followed",
        _ => "",
    };
    let error = Error::new(Code::LlmRejected, format!("the language model's server answered {status}{what}"));
    let said = redact::line(&said, EXCERPT);
    Attempt::Failed(if said.is_empty() { error } else { error.with_detail("answer", said) })
}

enum Broken {
    TooLarge,
    Off,
}

async fn body(mut response: Response) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| Broken::Off)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Broken::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreachable(what: &str) -> Error {
    Error::new(Code::LlmUnreachable, format!("the language model's server {what}"))
}

/// The innermost reason, which says most.
fn why(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut inner = error.source();
    while let Some(next) = inner.and_then(std::error::Error::source) {
        inner = Some(next);
    }
    let kind = if error.is_connect() { "cannot be reached" } else { "broke the connection" };
    inner.map_or_else(
        || kind.to_owned(),
        |inner| format!("{kind}: {}", redact::line(&inner.to_string(), EXCERPT)),
    )
}

/// The pause that the server asks for, in seconds; a date is left to the usual pause, since clocks differ.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
