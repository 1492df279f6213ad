//! A Deployment's rollout paused, or resumed: once, and verified when its controller has taken it up.
//!
//! Only a Deployment can be paused: `spec.paused` (`kubectl rollout pause`). While it is, changes of its pod template
//! start no rollout. The controller has taken a change up once it has observed the generation that the change made.

use super::cluster::{Cluster, operation};
use super::once::{self, Bound, Change, Job};
use super::restart::LAG;
use super::rollout::stage;
use super::scope::PATIENCE;
use super::workload::Workload;
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error, Result, Timestamp};
use astradesk_runtime::port::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

/// What is bound to the Deployment as it is. Its fields are in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The object as it is.
    #[serde(flatten)]
    pub(crate) bound: Bound,
    /// Whether it is to be paused.
    pub(crate) paused: bool,
    /// Whether it was before.
    pub(crate) before: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// The target, as text.
    pub(crate) target: String,
    /// The id of the object that was changed.
    pub(crate) uid: String,
    /// The object's generation when the change was seen.
    pub(crate) generation: i64,
    /// Whether it is to be paused.
    pub(crate) paused: bool,
    /// Whether it was before.
    pub(crate) before: bool,
    /// When the change was seen.
    pub(crate) at: Timestamp,
}

impl Intent {
    pub(crate) fn of(workload: &Workload, paused: bool) -> Self {
        Self { bound: Bound::to(workload), paused, before: workload.paused }
    }

    /// The one patch that this intent stands for.
    pub(crate) fn patch(&self, mark: &str) -> Value {
        self.bound.patch(mark, &json!({"paused": self.paused}))
    }
}

/// What becomes of it.
pub(crate) const fn done(paused: bool) -> &'static str {
    if paused { "paused" } else { "resumed" }
}

/// Refuses what cannot be paused, and what is being deleted.
pub(crate) fn sane(workload: &Workload) -> Result<()> {
    let what = format!("{} in namespace `{}`", workload.title(), workload.namespace);
    if workload.kind != Kind::Deployment {
        let message = format!("the rollout of {what} cannot be paused: only a Deployment's can");
        return Err(Error::new(Code::GuardNotPausable, message));
    }
    if workload.deleting {
        return Err(Error::new(Code::KubernetesNotFound, format!("{what} is being deleted")));
    }
    Ok(())
}

/// Refuses an undo that is not one any more.
pub(crate) fn undo_sane(workload: &Workload, receipt: &Receipt) -> Result<()> {
    let what = format!("{} in namespace `{}`", workload.title(), workload.namespace);
    if workload.uid != receipt.uid || workload.deleting {
        return Err(Error::new(Code::RolloutWorkloadDeleted, format!("{what} was deleted")));
    }
    if workload.paused != receipt.paused {
        let message = format!("somebody has {} the rollout of {what} since", done(workload.paused));
        return Err(Error::new(Code::RolloutSuperseded, message));
    }
    Ok(())
}

/// Performs what the intent is bound to, unless it is there already.
pub(crate) async fn perform(
    cluster: &Cluster,
    job: &Job,
    intent: &Intent,
) -> std::result::Result<Receipt, Fault> {
    let before = intent.before;
    let workload = if intent.paused == before {
        let read = cluster.get(job.kind, &job.namespace, &job.name).await;
        read.map_err(|failure| failure.into_error(&operation("get", job.kind, &job.namespace, &job.name)))?
    } else {
        let change = Change {
            task: job,
            bound: &intent.bound,
            done: done(intent.paused),
            patch: Ok(intent.patch(&job.mark)),
            unchanged: &move |workload| workload.paused == before,
        };
        once::perform(cluster, &change).await?
    };
    Ok(Receipt {
        target: job.target.clone(),
        uid: intent.bound.uid.clone(),
        generation: workload.generation,
        paused: intent.paused,
        before,
        at: cluster.now(),
    })
}

/// Waits until the controller has taken it up.
pub(crate) async fn verify(
    cluster: &Cluster,
    job: &Job,
    receipt: &Receipt,
) -> std::result::Result<Value, Fault> {
    let scope = cluster.scope(&job.namespace);
    let mut changes = scope.follow(job.kind, &job.name);
    loop {
        changes.mark_unchanged();
        scope.ready(PATIENCE).await.map_err(|error| unwatched(job, receipt, &error))?;
        let seen = scope.family(job.kind, &job.name).map(|(workload, _)| workload);
        if let Some(workload) = seen.filter(|workload| workload.generation >= receipt.generation) {
            if workload.uid != receipt.uid || workload.paused != receipt.paused {
                let message =
                    format!("somebody has changed {} since it was {}", job.what(), done(receipt.paused));
                return Err(Fault::Failed(Error::new(Code::RolloutSuperseded, message)));
            }
            if workload.observed_generation >= receipt.generation {
                return Ok(output(cluster, job, receipt, &workload));
            }
        }
        if Instant::now() >= job.deadline {
            let error =
                Error::new(Code::ToolTimedOut, "its controller has not taken it up within the time limit");
            return Err(unwatched(job, receipt, &error));
        }
        tokio::select! {
            () = changes.changed() => {}
            () = sleep_until(job.deadline.min(Instant::now() + LAG)) => gone(cluster, job, receipt).await?,
        }
    }
}

fn output(cluster: &Cluster, job: &Job, receipt: &Receipt, workload: &Workload) -> Value {
    let now = cluster.now();
    let (what, done) = (job.what(), done(receipt.paused));
    let summary = match (receipt.paused == receipt.before, receipt.paused) {
        (true, _) => format!(
            "the rollout of {what} is {} already",
            if receipt.paused { "paused" } else { "not paused" }
        ),
        (false, true) => {
            format!("the rollout of {what} was {done}: changes of its pod template wait until it is resumed")
        }
        (false, false) => {
            format!("the rollout of {what} was {done}: it is {}", stage(workload).name().replace('_', " "))
        }
    };
    json!({
        "summary": summary,
        "target": receipt.target,
        "paused": receipt.paused,
        "before": receipt.before,
        "generation": receipt.generation,
        "rollout": stage(workload).name(),
        "updated": workload.updated,
        "wanted": workload.wanted,
        "took_seconds": now.duration_since(receipt.at).as_secs().max(0),
        "observed_at": now.to_string(),
    })
}

/// The API server has the last word on whether it is still there.
async fn gone(cluster: &Cluster, job: &Job, receipt: &Receipt) -> std::result::Result<(), Fault> {
    let how = match cluster.get(job.kind, &job.namespace, &job.name).await {
        Err(failure) if failure.is_not_found() => "was deleted",
        Ok(workload) if workload.uid != receipt.uid => "was deleted and made again",
        Ok(_) | Err(_) => return Ok(()),
    };
    let message = format!("{} {how} after it was {}", job.what(), done(receipt.paused));
    Err(Fault::Failed(Error::new(Code::RolloutWorkloadDeleted, message)))
}

/// It was done, and nobody could see that it was taken up.
fn unwatched(job: &Job, receipt: &Receipt, error: &Error) -> Fault {
    let message = format!(
        "the rollout of {} was {}, but what came of it could not be watched: {}",
        job.what(),
        done(receipt.paused),
        error.message
    );
    Fault::Unknown(
        Error::new(Code::RunOutcomeUnknown, message)
            .with_remedy(format!("see `{}`", job.by_kubectl("rollout status", "")))
            .with_detail("seen", error.code.as_str()),
    )
}
