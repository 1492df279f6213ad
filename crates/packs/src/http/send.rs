//! Sending a request: what its answer means for the effect.

use super::{Answer, Http, Request};
use crate::declared::{Filling, unclear};
use crate::secret::Secrets;
use astradesk_core::text::shown;
use astradesk_core::{Code, Effect, Error, Result};
use astradesk_runtime::port::Fault;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// How often a request that may be repeated is sent.
const TRIES: u32 = 3;
/// The pause before it is sent again.
const PAUSE: Duration = Duration::from_millis(500);
/// The most characters of an answer that an error shows.
const EXCERPT: usize = 300;

/// How a request ended.
pub(super) enum Sent {
    /// With a status and what could be read of the body.
    Answered(StatusCode, Result<Vec<u8>, String>),
    /// Nothing was sent.
    Never(String),
    /// It may have arrived.
    Unanswered(String),
}

/// Sends it once, and reads at most `most` bytes, until `deadline`.
pub(super) async fn send(client: &reqwest::Client, request: Request, most: usize, deadline: Instant) -> Sent {
    let Request { method, url, headers, body } = request;
    let mut builder = client.request(method, url).headers(headers);
    if let Some(body) = &body {
        builder = builder.json(body);
    }
    let Ok(answered) = timeout_at(deadline, builder.send()).await else {
        return Sent::Unanswered("it did not answer in time".to_owned());
    };
    match answered {
        Ok(response) => {
            let status = response.status();
            let body = timeout_at(deadline, read(response, most)).await;
            Sent::Answered(status, body.unwrap_or_else(|_| Err("its answer did not end in time".to_owned())))
        }
        Err(error) if error.is_builder() => Sent::Never("the request cannot be built".to_owned()),
        Err(error) if error.is_connect() => Sent::Never("no connection could be made".to_owned()),
        Err(_) => Sent::Unanswered("the connection broke before it answered".to_owned()),
    }
}

async fn read(mut response: Response, most: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| "its answer broke off".to_owned())? {
        if body.len() + chunk.len() > most {
            return Err(format!("its answer is larger than {most} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

impl Http {
    /// Sends the request until the effect is clear, as far as it may be repeated.
    pub(super) async fn exchange(&self, filling: &Filling<'_>) -> Result<Value, Fault> {
        let deadline = filling.step.deadline;
        let mut secrets = Secrets::default();
        let mut tries = 0;
        let mut pause = PAUSE;
        // Whether an earlier one may have arrived.
        let mut arrived = filling.step.repeated;
        loop {
            tries += 1;
            let request = self.request(&mut filling.values(&mut secrets), filling.step)?;
            let host = request.url.host_str().unwrap_or_default().to_owned();
            let sent = send(self.client.get()?, request, self.max_answer, deadline).await;
            let (why, sent) = match sent {
                Sent::Answered(status, body) if !self.is_unclear(status) => {
                    return self.receipt(filling, status, body, arrived, &secrets);
                }
                Sent::Answered(status, _) => (format!("`{host}` answered {status}"), true),
                Sent::Unanswered(why) => (format!("`{host}`: {why}"), true),
                Sent::Never(why) => (format!("`{host}`: {why}"), false),
            };
            arrived |= sent;
            let again = Instant::now() + pause;
            if self.is_repeatable() && tries < TRIES && again < deadline {
                tracing::debug!(tool = %filling.step.call.tool, why, "sent again");
                sleep_until(again).await;
                pause *= 3;
                continue;
            }
            return self.given_up(filling, &why, arrived);
        }
    }

    /// Nobody knows what became of it, unless it only reads, never arrived, or can be verified.
    fn given_up(&self, filling: &Filling<'_>, why: &str, arrived: bool) -> Result<Value, Fault> {
        if self.effect == Effect::Read || !arrived {
            return Err(Fault::Failed(Error::new(Code::UpstreamUnreachable, why)));
        }
        if self.is_repeatable() && self.verification.is_some() {
            return Ok(json!({"unanswered": why}));
        }
        Err(unclear(filling.step, why))
    }

    /// Whether such a status leaves open what became of the request.
    fn is_unclear(&self, status: StatusCode) -> bool {
        let known = self.success.contains(&status.as_u16()) || self.statuses.contains_key(&status.as_u16());
        !known
            && (status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT || !self.is_refusal(status))
    }

    /// A redirect may be how a server says that it is done, so it refuses a read only.
    fn is_refusal(&self, status: StatusCode) -> bool {
        status.is_client_error() || self.effect == Effect::Read
    }

    fn receipt(
        &self,
        filling: &Filling<'_>,
        status: StatusCode,
        body: Result<Vec<u8>, String>,
        arrived: bool,
        secrets: &Secrets,
    ) -> Result<Value, Fault> {
        if !self.success.contains(&status.as_u16()) {
            let error = self.refusal(status, body.as_deref().ok(), secrets);
            // What was refused now may have been done by what was sent before.
            let unknown = arrived && self.effect != Effect::Read;
            return Err(if unknown { unclear(filling.step, &error.message) } else { Fault::Failed(error) });
        }
        match self.output(body, secrets) {
            Ok(answer) => {
                let output = match &self.output {
                    Some(pointer) => pointer.of(&answer).cloned().unwrap_or(Value::Null),
                    None => answer.clone(),
                };
                let receipt = json!({"status": status.as_u16(), "output": output});
                let Some(expect) = &self.expect else { return Ok(receipt) };
                let expected = expect.with(&mut filling.preview_values())?;
                if expected.is_met(&answer) {
                    return Ok(receipt);
                }
                let message = format!("the answer has {}", expected.instead(&answer));
                filling.unmet(receipt, Error::new(Code::UpstreamNotVerified, message))
            }
            // The status says that it was done, whatever the answer is.
            Err(why) if self.effect != Effect::Read && self.expect.is_none() => {
                Ok(json!({"status": status.as_u16(), "output": null, "note": why}))
            }
            Err(why) => {
                let receipt = json!({"status": status.as_u16()});
                filling.unmet(receipt, Error::new(Code::UpstreamAnswerInvalid, why))
            }
        }
    }

    /// The answer as its kind says.
    fn output(&self, body: Result<Vec<u8>, String>, secrets: &Secrets) -> Result<Value, String> {
        if self.answer == Answer::None {
            return Ok(Value::Null);
        }
        let text = String::from_utf8(body?).map_err(|_| "its answer is not UTF-8 text".to_owned())?;
        let text = secrets.hide(&text);
        if self.answer == Answer::Text {
            return Ok(text.into());
        }
        if text.trim().is_empty() && self.effect != Effect::Read {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text)
            .map_err(|_| format!("its answer is not JSON: `{}`", shown(&text, EXCERPT.min(80))))
    }

    fn refusal(&self, status: StatusCode, body: Option<&[u8]>, secrets: &Secrets) -> Error {
        let code = self.statuses.get(&status.as_u16()).copied().unwrap_or(match status.as_u16() {
            401 | 403 => Code::UpstreamForbidden,
            404 | 410 => Code::UpstreamNotFound,
            409 | 412 => Code::UpstreamConflict,
            429 => Code::UpstreamUnreachable,
            300..=399 => Code::UpstreamAnswerInvalid,
            500..=599 => Code::UpstreamFailed,
            _ => Code::UpstreamRejected,
        });
        let host = self.address.host();
        let redirected = if status.is_redirection() { ", a redirect, which is not followed" } else { "" };
        let error = Error::new(code, format!("`{host}` answered {status}{redirected}"));
        let said = body.map(|body| secrets.hide(&String::from_utf8_lossy(body))).unwrap_or_default();
        let error = error.with_detail("status", status.as_u16());
        if said.trim().is_empty() { error } else { error.with_detail("answer", shown(said.trim(), EXCERPT)) }
    }
}
