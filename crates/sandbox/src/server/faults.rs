//! Faults on demand: what goes wrong with requests, and with which. The rules can be read and changed while the
//! cluster runs, at `/sandbox/faults`, by whoever may do everything.

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
use crate::yaml::{self, Many, Span};

/// Where the rules are.
pub(crate) const PATH: &str = "/sandbox/faults";
/// How many rules there may be.
const RULES: usize = 100;
/// How long a request may be held up.
const LATENCY: Duration = Duration::from_mins(1);
/// How long a client may be told to wait, in seconds.
const RETRY_AFTER: u32 = 3_600;
/// How long a text of a rule may be, in bytes.
const TEXT: usize = 1_024;

/// A fault, and which requests it happens to. Of several that fit a request, the first happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// By which it can be removed.
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default, rename = "match")]
    fits: Fits,
    /// The share of the requests that fit; all, where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
    /// How often it happens; without end, where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latency: Option<Latency>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Refusal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<When>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watch: Option<Ending>,
    /// How often it has happened. What is given is not counted.
    #[serde(default)]
    fired: u64,
}

/// Which requests; what says nothing fits all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fits {
    #[serde(skip_serializing_if = "Many::is_empty")]
    verb: Many<Verb>,
    /// `deployments`, `deployments.apps`, `pods/log`.
    #[serde(skip_serializing_if = "Many::is_empty")]
    resource: Many<String>,
    #[serde(skip_serializing_if = "Many::is_empty")]
    namespace: Many<String>,
    /// The object's name.
    #[serde(skip_serializing_if = "Many::is_empty")]
    name: Many<String>,
    #[serde(skip_serializing_if = "Many::is_empty")]
    user: Many<String>,
    /// What the user agent begins with.
    #[serde(skip_serializing_if = "Many::is_empty")]
    agent: Many<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    fn is(self, verb: &str) -> bool {
        let name = match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
        };
        name == verb
    }
}

/// How long a request is held up: one time, or the least and the most.
type Latency = Many<Span>;

/// Whether the request has had its effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum When {
    #[default]
    Before,
    After,
}

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    code: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// In seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    #[serde(default)]
    when: When,
}

/// How a watch ends, and when: at once, where nothing is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ending {
    /// After so many events, of which the state at the beginning is a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    events: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Span>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum End {
    /// The connection is cut.
    Cut,
    /// The version is too old.
    Gone,
}

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

impl Rule {
    /// Says what makes no sense about it.
    pub(crate) fn check(&self) -> Result<(), String> {
        let effects = [self.error.is_some(), self.cut.is_some(), self.watch.is_some()];
        let effects = effects.into_iter().filter(|set| *set).count();
        let latency = self.latency.as_ref().map_or(&[][..], |latency| &latency.0);
        let least_first = !matches!(latency, [least, most] if least > most);
        let in_range = latency.iter().all(|span| span.0 <= LATENCY);
        let code = self.error.as_ref().map_or(500, |error| error.code);
        let retry_after = self.error.as_ref().and_then(|error| error.retry_after).unwrap_or(0);
        let texts = self.error.iter().flat_map(|error| error.reason.iter().chain(&error.message));
        let problems = [
            (effects > 1, "has more than one of `error`, `cut` and `watch`: write a rule for each"),
            (effects == 0 && latency.is_empty(), "does nothing: give `latency`, `error`, `cut` or `watch`"),
            (
                self.share.is_some_and(|share| !(0.0..=1.0).contains(&share)),
                "has a `share` that is not from 0 to 1",
            ),
            (self.count == Some(0), "has a `count` of 0: leave the rule out"),
            (
                latency.len() > 2 || !least_first,
                "has a `latency` that is neither a time nor the least and the most",
            ),
            (!in_range, "has a `latency` of more than 60s"),
            (!(400..600).contains(&code), "has a `code` that is not from 400 to 599"),
            (retry_after > RETRY_AFTER, "has a `retry_after` of more than 3600 seconds"),
            (
                self.name.len() > TEXT || texts.into_iter().any(|text| text.len() > TEXT),
                "has a text of more than 1024 bytes",
            ),
        ];
        match problems.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, what)) => Err(format!("the fault `{}` {what}", self.name)),
            None => Ok(()),
        }
    }

    fn fits(&self, who: &Identity, about: &Attributes, agent: &str) -> bool {
        let Fits { verb, resource, namespace, name, user, agent: agents } = &self.fits;
        let among =
            |wanted: &Many<String>, is: &str| wanted.is_empty() || wanted.0.iter().any(|one| one == is);
        let combined = about.combined();
        let qualified = match combined.split_once('/') {
            Some((plural, subresource)) => format!("{plural}.{}/{subresource}", about.group),
            None => format!("{combined}.{}", about.group),
        };
        self.count.is_none_or(|count| self.fired < count)
            && (self.watch.is_none() || about.verb == "watch")
            && (verb.is_empty() || verb.0.iter().any(|verb| verb.is(&about.verb)))
            && (among(resource, &combined) || among(resource, &qualified))
            && among(namespace, &about.namespace)
            && among(name, &about.name)
            && among(user, &who.name)
            && (agents.is_empty() || agents.0.iter().any(|start| agent.starts_with(start.as_str())))
    }

    fn effect(&self) -> Effect {
        let refuse = self.error.clone().map(Effect::Refuse);
        let end = || self.watch.clone().map(Effect::End);
        refuse.or_else(|| self.cut.map(Effect::Cut)).or_else(end).unwrap_or(Effect::Delay)
    }
}

/// Gives every rule a name of its own, and refuses what makes no sense, with its line.
pub(crate) fn settle(rules: Vec<Spanned<Rule>>) -> Result<Vec<Rule>, yaml::Error> {
    let mut settled: Vec<Rule> = Vec::new();
    for (number, mut rule) in (1..).zip(rules) {
        if rule.value.name.is_empty() {
            rule.value.name = format!("fault-{number}");
        }
        rule.value.fired = 0;
        rule.value.check().map_err(|what| yaml::at(&rule, what))?;
        if settled.iter().any(|other| other.name == rule.value.name) {
            return Err(yaml::at(&rule, format!("two faults have the name `{}`", rule.value.name)));
        }
        if number > RULES {
            return Err(yaml::at(&rule, format!("more than {RULES} faults")));
        }
        settled.push(rule.value);
    }
    Ok(settled)
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
            return Some(Strike { latency, effect: rule.effect() });
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
