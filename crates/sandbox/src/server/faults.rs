//! Faults on demand: what goes wrong with requests, and with which. The rules can be read and changed while the
//! cluster runs, at `/sandbox/faults`, by whoever may do everything.

mod rule;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Call;
use super::access::{Attributes, Identity};
use super::cut::Scissors;
use super::status::Status;
use crate::controllers::Random;
use crate::yaml;

pub use rule::Rule;
pub(crate) use rule::settle;
use rule::{End, Ending, RULES, Refusal, When};

/// Where the rules are.
pub(crate) const PATH: &str = "/sandbox/faults";

/// What happens to one request.
pub(crate) struct Strike {
    latency: Duration,
    effect: Effect,
}

enum Effect {
    Delay,
    Refuse(Refusal),
    Cut(When),
    End(Ending),
}

impl Effect {
    fn of(rule: &Rule) -> Effect {
        let refuse = rule.error.clone().map(Effect::Refuse);
        let end = || rule.watch.clone().map(Effect::End);
        refuse.or_else(|| rule.cut.map(Effect::Cut)).or_else(end).unwrap_or(Effect::Delay)
    }
}

/// The rules that hold.
pub(crate) struct Faults(Mutex<State>);

struct State {
    rules: Vec<Rule>,
    random: Random,
}

/// As they are read and written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules<R> {
    faults: Vec<R>,
}

impl Faults {
    pub(crate) fn new(rules: Vec<Rule>, seed: u64) -> Faults {
        Faults(Mutex::new(State { rules, random: Random::new(seed) }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more rule, in the place of the one that has its name.
    pub(crate) fn add(&self, rule: Rule) -> Result<(), String> {
        let mut state = self.lock();
        state.rules.retain(|other| other.name != rule.name);
        if state.rules.len() == RULES {
            return Err(format!("there are {RULES} faults already"));
        }
        state.rules.push(rule);
        Ok(())
    }

    /// Removes the rule of this name.
    pub(crate) fn remove(&self, name: &str) -> Result<(), String> {
        let mut state = self.lock();
        let place = state.rules.iter().position(|rule| rule.name == name);
        let place = place.ok_or_else(|| format!("there is no fault `{name}`"))?;
        state.rules.remove(place);
        Ok(())
    }

    /// Removes all rules.
    pub(crate) fn clear(&self) {
        self.lock().rules.clear();
    }

    /// What happens to a request.
    pub(crate) fn strike(&self, who: &Identity, about: &Attributes, agent: &str) -> Option<Strike> {
        let mut state = self.lock();
        let State { rules, random } = &mut *state;
        for rule in rules.iter_mut().filter(|rule| rule.fits(who, about, agent)) {
            if rule.share.is_some_and(|share| random.unit() >= share) {
                continue;
            }
            rule.fired += 1;
            let latency = match rule.latency.as_ref().map(|latency| latency.0.as_slice()) {
                Some([least, most]) => least.0 + most.0.saturating_sub(least.0).mul_f64(random.unit()),
                Some([one]) => one.0,
                _ => Duration::ZERO,
            };
            tracing::debug!(
                fault = rule.name,
                verb = about.verb,
                resource = about.resource,
                "a fault happens"
            );
            return Some(Strike { latency, effect: Effect::of(rule) });
        }
        None
    }

    /// Answers at the rules' own address.
    pub(super) fn answer(&self, name: &str, call: &Call) -> Result<Response, Status> {
        match (&call.method, name) {
            (&Method::GET, "") => {}
            (&Method::PUT, "") => {
                let text = std::str::from_utf8(&call.body)
                    .map_err(|_| Status::bad_request("the body is no text"))?;
                let wrong = |error: yaml::Error| Status::bad_request(error.to_string());
                let mut read = yaml::read::<Rules<Spanned<Rule>>>(text).map_err(wrong)?;
                let rules = read.pop().ok_or_else(|| Status::bad_request("the body has no `faults`"))?;
                self.lock().rules = settle(rules.faults).map_err(wrong)?;
            }
            (&Method::DELETE, "") => self.clear(),
            (&Method::DELETE, name) => {
                self.remove(name).map_err(|why| Status::custom(404, "NotFound", why))?;
            }
            _ => return Err(Status::method_not_allowed()),
        }
        Ok(Json(Rules { faults: self.lock().rules.clone() }).into_response())
    }
}

impl Strike {
    /// Lets it happen to a request that would be answered so.
    pub(crate) async fn befall(
        self,
        scissors: &Scissors,
        stop: &CancellationToken,
        answer: impl Future<Output = Result<Response, Status>>,
    ) -> Result<Response, Status> {
        if !self.latency.is_zero() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(self.latency) => {}
            }
        }
        match self.effect {
            Effect::Delay => answer.await,
            Effect::Refuse(refusal) => {
                if refusal.when == When::After {
                    _ = answer.await;
                }
                Ok(refusal.into_response())
            }
            Effect::Cut(when) => {
                if when == When::After {
                    _ = answer.await;
                }
                scissors.cut();
                // It never arrives.
                Ok(Response::default())
            }
            Effect::End(ending) => answer.await.map(|response| ending.shorten(response)),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (reason, message) = match self.code {
            400 => ("BadRequest", "the server rejected our request for an unknown reason"),
            401 => ("Unauthorized", "Unauthorized"),
            403 => ("Forbidden", "forbidden"),
            404 => ("NotFound", "the server could not find the requested resource"),
            409 => ("Conflict", "the server reported a conflict"),
            410 => ("Expired", "The provided resource version is too old"),
            429 => ("TooManyRequests", "Too many requests, please try again later."),
            503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
            504 => ("Timeout", "Timeout: request did not complete within the allotted timeout"),
            _ => ("InternalError", "Internal error occurred: the sandbox was told to fail"),
        };
        let reason = self.reason.unwrap_or_else(|| reason.to_owned());
        let message = self.message.unwrap_or_else(|| message.to_owned());
        let status = Status::custom(self.code, reason, message);
        let Some(seconds) = self.retry_after else { return status.into_response() };
        let mut response = status.retry_after(seconds).into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        response
    }
}

impl Ending {
    /// Ends a watch's stream.
    fn shorten(self, response: Response) -> Response {
        let (parts, body) = response.into_parts();
        let at_once = self.events.is_none() && self.after.is_none();
        let left = if at_once { 0 } else { self.events.unwrap_or(u64::MAX) };
        let ends_at = Instant::now() + self.after.map_or(Duration::from_hours(24), |span| span.0);
        let watched = Some((body.into_data_stream(), left));
        let lines = futures::stream::unfold(watched, move |watched| async move {
            let (mut stream, left) = watched?;
            if left == 0 {
                // An error takes with it what has not been sent: the pause lets the events before it go.
                tokio::task::yield_now().await;
                return Some((self.end.last_words(), None));
            }
            match timeout_at(ends_at, stream.next()).await {
                Err(_) => Some((self.end.last_words(), None)),
                Ok(None) => None,
                Ok(Some(Err(error))) => Some((Err(std::io::Error::other(error)), None)),
                Ok(Some(Ok(chunk))) => {
                    let (chunk, count) = first_lines(chunk, left);
                    Some((Ok(chunk), Some((stream, left - count))))
                }
            }
        });
        Response::from_parts(parts, Body::from_stream(lines))
    }
}

impl End {
    fn last_words(self) -> std::io::Result<Bytes> {
        match self {
            End::Cut => Err(std::io::ErrorKind::ConnectionReset.into()),
            End::Gone => {
                let status = Status::custom(410, "Expired", "too old resource version".to_owned()).to_value();
                Ok(format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n").into())
            }
        }
    }
}

/// The lines of a chunk, of which every one is an event, up to a number; and how many they are.
fn first_lines(chunk: Bytes, most: u64) -> (Bytes, u64) {
    let mut count = 0;
    for (place, byte) in chunk.iter().enumerate() {
        if *byte == b'\n' {
            count += 1;
            if count == most {
                return (chunk.slice(..=place), count);
            }
        }
    }
    (chunk, count)
}
