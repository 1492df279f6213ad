//! A silence, made once.
//!
//! Nothing in the API makes a silence only if there is none yet, and the Alertmanager chooses its id. So each carries a
//! mark, at the end of its comment: `astradesk.dev/run=RUN/STEP`, by which it is [found again](once). When it ends is in
//! the intent: whatever arrives late ends with the others.
//!
//! Should one arrive even later than is waited for, there are two which do the same. [`verify`] ends all but one.

use super::matcher::{Matcher, told};
use super::{Alert, Alertmanager, Job, Silence, alerts};
use crate::upstream::Failure;
use crate::upstream::once::{self, Change, Pauses};
use astradesk_core::{Code, Error, Result, Timestamp};
use astradesk_runtime::port::Fault;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

/// The silence as it is to be. Its fields are in the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) ends_at: Timestamp,
    pub(crate) created_by: String,
    /// What people wrote; the mark comes behind it.
    pub(crate) comment: String,
}

/// The silence as it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    pub(crate) silence: String,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) ends_at: Timestamp,
}

impl Intent {
    /// The request.
    pub(crate) fn request(&self, now: Timestamp, mark: &str) -> Value {
        json!({
            "matchers": self.matchers,
            "startsAt": now.to_string(),
            "endsAt": self.ends_at.to_string(),
            "createdBy": self.created_by,
            "comment": format!("{} {mark}", self.comment),
        })
    }

    fn receipt(&self, silence: String) -> Receipt {
        Receipt { silence, matchers: self.matchers.clone(), ends_at: self.ends_at }
    }
}

/// Whether this step made the silence.
fn is_marked(silence: &Silence, mark: &str) -> bool {
    silence.comment.strip_suffix(mark).is_some_and(|before| before.ends_with(' '))
}

/// The silence that a step makes.
struct Making<'a> {
    alertmanager: &'a Alertmanager,
    mark: &'a str,
    intent: &'a Intent,
}

#[async_trait]
impl Change for Making<'_> {
    type Done = Receipt;

    fn check(&self) -> Result<()> {
        if self.alertmanager.now() < self.intent.ends_at {
            return Ok(());
        }
        let message = "the time for which it was to be silent has passed before the silence was made";
        Err(Error::new(Code::ToolTimedOut, message))
    }

    async fn find(&self, until: Instant) -> Result<Option<Receipt>, Failure> {
        let silences = self.alertmanager.silences(until).await?;
        Ok(marked(&silences, self.mark, self.intent).map(|id| self.intent.receipt(id)))
    }

    async fn send(&self, until: Instant) -> Result<Receipt, Failure> {
        let request = self.intent.request(self.alertmanager.now(), self.mark);
        self.alertmanager.create(&request, until).await.map(|id| self.intent.receipt(id))
    }

    fn told(&self) -> (String, String) {
        let look = format!("look among the silences for one whose comment ends with `{}`", self.mark);
        ("the silence was made".to_owned(), look)
    }
}

/// Makes the silence, unless it is found to be made already.
pub(crate) async fn perform(
    alertmanager: &Alertmanager,
    job: &Job,
    intent: &Intent,
) -> Result<Receipt, Fault> {
    once::perform(job, &Making { alertmanager, mark: &job.mark, intent }).await
}

/// The silence with the mark: one that is in force rather than one that has ended, the same one each time.
fn marked(silences: &[Silence], mark: &str, intent: &Intent) -> Option<String> {
    let marked = silences.iter().filter(|silence| is_marked(silence, mark));
    let best = marked.min_by_key(|silence| {
        (silence.has_expired(), !is_same(silence, &intent.matchers, intent.ends_at), silence.id.clone())
    });
    best.map(|silence| silence.id.clone())
}

/// Whether a silence is as it was made: nobody has edited it.
fn is_same(silence: &Silence, matchers: &[Matcher], ends_at: Timestamp) -> bool {
    let sorted = |matchers: &[Matcher]| {
        let mut sorted = matchers.to_vec();
        sorted.sort();
        sorted
    };
    // The Alertmanager keeps milliseconds.
    let apart = silence.ends_at.duration_since(ends_at).as_millis();
    apart.abs() <= 1 && sorted(&silence.matchers) == sorted(matchers)
}

/// Watches until the silence is in force, and every alert that it matches is suppressed by it.
pub(crate) async fn verify(
    alertmanager: &Alertmanager,
    job: &Job,
    receipt: &Receipt,
) -> Result<Value, Fault> {
    let mut pauses = Pauses::new();
    loop {
        let error = match look(alertmanager, job, receipt).await {
            Ok(Seen::Silent(alerts)) => return Ok(output(receipt, &alerts)),
            Ok(Seen::Ended(error)) => return Err(Fault::Failed(error)),
            Ok(Seen::NotYet(error)) => Fault::Failed(error),
            // The silence was made; whether it holds is not known.
            Err(failure) => unseen(receipt, &failure.error),
        };
        if job.is_late() {
            return Err(error);
        }
        pauses.rest(job.deadline).await;
    }
}

/// What became of a silence.
enum Seen {
    Silent(Vec<Alert>),
    NotYet(Error),
    Ended(Error),
}

async fn look(alertmanager: &Alertmanager, job: &Job, receipt: &Receipt) -> Result<Seen, Failure> {
    let until = job.last_look();
    let silences = alertmanager.silences(until).await?;
    let id = &receipt.silence;
    let Some(silence) = silences.iter().find(|silence| silence.id == *id) else {
        let message = format!("the silence `{id}` was made, and the Alertmanager does not list it");
        return Ok(Seen::NotYet(Error::new(Code::UpstreamNotVerified, message)));
    };
    end_others(alertmanager, job, receipt, &silences).await?;
    if silence.has_expired() {
        if alertmanager.now() >= receipt.ends_at {
            return Ok(Seen::Silent(Vec::new()));
        }
        let message = format!("somebody ended the silence `{id}`, or replaced it by another, meanwhile");
        return Ok(Seen::Ended(Error::new(Code::UpstreamConflict, message)));
    }
    if !silence.is_active() {
        let message = format!("the silence `{id}` was made, and is not in force yet");
        return Ok(Seen::NotYet(Error::new(Code::UpstreamNotVerified, message)));
    }
    let alerts = alertmanager.alerts(&receipt.matchers, until).await?;
    let loud: Vec<&Alert> = alerts.iter().filter(|alert| !alert.status.silenced_by.contains(id)).collect();
    if loud.is_empty() {
        return Ok(Seen::Silent(alerts));
    }
    let names = alerts::names(loud.iter().copied()).join(", ");
    let message = format!("the silence `{id}` is in force, and does not silence {names}");
    job.progress.report(message.clone(), json!({"silence": id}));
    Ok(Seen::NotYet(Error::new(Code::UpstreamNotVerified, message)))
}

/// Ends what a request made that arrived late: the same silence once more.
async fn end_others(
    alertmanager: &Alertmanager,
    job: &Job,
    receipt: &Receipt,
    silences: &[Silence],
) -> Result<(), Failure> {
    let others = silences.iter().filter(|silence| {
        silence.id != receipt.silence
            && !silence.has_expired()
            && is_marked(silence, &job.mark)
            && is_same(silence, &receipt.matchers, receipt.ends_at)
    });
    for other in others {
        tracing::warn!(silence = other.id, mark = job.mark, "the same silence was made twice; it is ended");
        alertmanager.expire(&other.id, job.last_look()).await?;
    }
    Ok(())
}

fn unseen(receipt: &Receipt, error: &Error) -> Fault {
    let id = &receipt.silence;
    let message =
        format!("the silence `{id}` was made, and whether it holds could not be seen: {}", error.message);
    let unknown = Error::new(Code::RunOutcomeUnknown, message)
        .with_remedy(format!("look at the silence `{id}` in the Alertmanager"))
        .with_detail("seen", error.code.as_str())
        .with_detail("silence", id.as_str());
    Fault::Unknown(unknown)
}

fn output(receipt: &Receipt, alerts: &[Alert]) -> Value {
    let (id, until) = (&receipt.silence, receipt.ends_at.strftime("%Y-%m-%d %H:%M:%S UTC"));
    let matchers = told(&receipt.matchers);
    let now = match alerts.len() {
        0 => "no alert that it matches fires now".to_owned(),
        some => format!("it silences {}: {}", alerts::count(some), alerts::names(alerts).join(", ")),
    };
    json!({
        "summary": format!("{matchers} is silent until {until} by silence {id}; {now}"),
        "silence": id,
        "matchers": receipt.matchers.iter().map(ToString::to_string).collect::<Value>(),
        "ends_at": receipt.ends_at.to_string(),
        "silenced": alerts::names(alerts),
    })
}

#[cfg(test)]
#[path = "silence_tests.rs"]
mod tests;
