//! One attempt: a request, and what its answer means.

use super::Webhook;
use crate::address::Clients;
use astradesk_core::{Result, Timestamp};
use astradesk_runtime::port::Announcement;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use std::error::Error as _;
use std::time::Duration;

/// For one attempt, from the connection to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Of an answer, so much is read, for the connection's sake; what it says makes no difference.
const MAX_ANSWER: usize = 64 * 1024;

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Answer {
    /// They know.
    Told,
    /// They never want to be told again, and this is what they said.
    Gone(String),
    /// They do not know yet.
    Failed(Failure),
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// A sentence, without the receiver's address.
    pub(super) error: String,
    /// How long the receiver wants to be left alone.
    pub(super) asked: Option<Duration>,
}

/// Clients that follow no redirect: an answer must not send a signed message elsewhere.
pub(super) fn clients() -> Result<Clients> {
    Clients::new(|| {
        Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(TIMEOUT)
            .user_agent(concat!("astradesk/", env!("CARGO_PKG_VERSION")))
    })
}

/// Tells the webhook, once.
pub(super) async fn post(
    clients: &Clients,
    webhook: &Webhook,
    announcement: &Announcement,
    now: Timestamp,
) -> Answer {
    let Announcement { id, body, .. } = announcement;
    let timestamp = now.as_second();
    let request = clients
        .of(&webhook.url)
        .post(webhook.url.clone())
        .header(CONTENT_TYPE, "application/cloudevents+json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", webhook.secrets.sign(id, timestamp, body))
        .body(body.clone());
    match request.send().await {
        Ok(response) => answered(response, now).await,
        Err(error) => Answer::Failed(Failure { error: unsent(error), asked: None }),
    }
}

async fn answered(response: Response, now: Timestamp) -> Answer {
    let status = response.status();
    let asked = retry_after(response.headers(), now);
    drain(response).await;
    if status.is_success() {
        return Answer::Told;
    }
    let error = format!("it answered {status}");
    if status == StatusCode::GONE { Answer::Gone(error) } else { Answer::Failed(Failure { error, asked }) }
}

/// Reads the answer, so that the connection can be used again, unless it is too long for that.
async fn drain(mut response: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > MAX_ANSWER {
            break;
        }
    }
}

/// The pause that the receiver asks for: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a `u64` holds is still a number, and a long pause.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let until = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Duration::try_from(until.duration_since(now)).ok()
}

/// Why a request got no answer: the innermost reason, which says most.
fn unsent(error: reqwest::Error) -> String {
    let error = error.without_url();
    if error.is_timeout() {
        return format!("there was no answer within {} s", TIMEOUT.as_secs());
    }
    let mut inner = error.source();
    while let Some(next) = inner.and_then(|error| error.source()) {
        inner = Some(next);
    }
    let kind = if error.is_connect() { "it cannot be reached" } else { "the request failed" };
    inner.map_or_else(|| format!("{kind}: {error}"), |inner| format!("{kind}: {inner}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_by_a_date() {
        let now: Timestamp = "2026-11-23T08:00:00Z".parse().unwrap();
        for (header, seconds) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Mon, 23 Nov 2026 08:02:00 GMT", Some(120)),
            ("Mon, 23 Nov 2026 07:00:00 GMT", None),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            let headers = [(RETRY_AFTER, header.parse().unwrap())].into_iter().collect();
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{header:?}");
        }
    }
}
