//! A silence, ended once. Ending one that has ended changes nothing, so that a request of which nothing is known may be
//! sent again.

use super::matcher::told;
use super::{Alertmanager, Job, Silence, alerts};
use crate::upstream::once::Pauses;
use crate::upstream::{Applied, Failure};
use astradesk_core::{Code, Error, Result, Timestamp};
use astradesk_runtime::port::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The silence that is to end, as it was when that was decided. It is the receipt as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ending {
    /// The silence.
    pub(crate) silence: String,
    /// When it was last changed.
    pub(crate) updated_at: Timestamp,
    /// Whether it had ended already.
    pub(crate) had_expired: bool,
    /// What it is about, as text.
    pub(crate) matchers: String,
    /// Who made it.
    pub(crate) by: String,
}

impl Ending {
    pub(crate) fn of(silence: &Silence) -> Self {
        Self {
            silence: silence.id.clone(),
            updated_at: silence.updated_at,
            had_expired: silence.has_expired(),
            matchers: told(&silence.matchers),
            by: silence.by(),
        }
    }
}

/// Ends it, unless it has ended, or was changed since.
pub(crate) async fn perform(
    alertmanager: &Alertmanager,
    job: &Job,
    ending: &Ending,
) -> Result<Ending, Fault> {
    let id = &ending.silence;
    let mut applied = if job.repeated { Applied::Maybe } else { Applied::No };
    let mut pauses = Pauses::new();
    loop {
        let error = match alertmanager.silence(id, job.last_look()).await {
            Ok(silence) if silence.has_expired() => return Ok(ending.clone()),
            Ok(silence) if silence.updated_at != ending.updated_at && !job.repeated => {
                let message = format!("the silence `{id}` was changed in between");
                return Err(Fault::Moved(Error::new(Code::UpstreamConflict, message)));
            }
            Ok(_) => match alertmanager.expire(id, job.last_look()).await {
                Ok(()) => return Ok(ending.clone()),
                Err(failure) => {
                    if failure.applied == Applied::Maybe {
                        applied = Applied::Maybe;
                    }
                    failure
                }
            },
            Err(failure) => failure,
        };
        if job.is_late() || !error.is_transient {
            return Err(given_up(id, applied, error));
        }
        pauses.rest(job.deadline).await;
    }
}

fn given_up(id: &str, applied: Applied, failure: Failure) -> Fault {
    if applied == Applied::No {
        return Fault::Failed(failure.error);
    }
    let seen = failure.error;
    let message = format!("whether the silence `{id}` has ended could not be established: {}", seen.message);
    let unknown = Error::new(Code::RunOutcomeUnknown, message)
        .with_remedy(format!("look at the silence `{id}` in the Alertmanager"))
        .with_detail("seen", seen.code.as_str());
    Fault::Unknown(unknown)
}

/// Watches until the silence has ended; tells which alerts are heard again, and what still silences the same.
pub(crate) async fn verify(alertmanager: &Alertmanager, job: &Job, ending: &Ending) -> Result<Value, Fault> {
    let mut pauses = Pauses::new();
    loop {
        let failure = match look(alertmanager, job, ending).await {
            Ok(Some(output)) => return Ok(output),
            Ok(None) => {
                let message = format!("the silence `{}` was ended, and is still in force", ending.silence);
                Fault::Failed(Error::new(Code::UpstreamNotVerified, message))
            }
            Err(failure) => given_up(&ending.silence, Applied::Maybe, failure),
        };
        if job.is_late() {
            return Err(failure);
        }
        pauses.rest(job.deadline).await;
    }
}

async fn look(alertmanager: &Alertmanager, job: &Job, ending: &Ending) -> Result<Option<Value>, Failure> {
    let until = job.last_look();
    let silences = alertmanager.silences(until).await?;
    let found = silences.iter().find(|silence| silence.id == ending.silence);
    let Some(silence) = found.filter(|silence| silence.has_expired()) else {
        // One that has ended may be forgotten by now.
        return Ok(found.is_none().then(|| output(ending, &[], &[])));
    };
    let alerts = alertmanager.alerts(&silence.matchers, until).await?;
    let heard = alerts.iter().filter(|alert| !alert.is_suppressed());
    let same = silences.iter().filter(|other| !other.has_expired() && other.matchers == silence.matchers);
    let same: Vec<String> = same.map(|other| other.id.clone()).collect();
    Ok(Some(output(ending, &alerts::names(heard), &same)))
}

fn output(ending: &Ending, heard: &[String], same: &[String]) -> Value {
    let Ending { silence, matchers, .. } = ending;
    let done = if ending.had_expired { "had ended already" } else { "has ended" };
    let heard_now = if heard.is_empty() {
        "no alert of it fires now".to_owned()
    } else {
        format!("heard again: {}", heard.join(", "))
    };
    let still = if same.is_empty() {
        String::new()
    } else {
        format!("; the same is silenced still by {}", same.join(", "))
    };
    json!({
        "summary": format!("silence {silence} of {matchers} {done}; {heard_now}{still}"),
        "silence": silence,
        "heard": heard,
        "still_silenced_by": same,
    })
}

#[cfg(test)]
#[path = "expire_tests.rs"]
mod tests;
