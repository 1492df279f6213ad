//! A Deployment's rollout paused, or resumed: once, and verified when its controller has taken it up.
//!
//! Only a Deployment can be paused: `spec.paused` (`kubectl rollout pause`). While it is, changes of its pod template
//! start no rollout. The controller has taken a change up once it has observed the generation that the change made.

use super::cluster::{Cluster, operation};
use super::once::{self, Bound, Change, Job};
use super::rollout::stage;
use super::watch::{self, Judge, Judged, LAG, Seen, Watch};
use super::workload::{Family, Workload};
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error, Result, Timestamp};
use astradesk_runtime::port::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

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
    Watch::of(cluster, job).until_known(&mut Waiting { cluster, job, receipt }).await
}

/// A change that its controller has yet to take up.
struct Waiting<'a> {
    cluster: &'a Cluster,
    job: &'a Job,
    receipt: &'a Receipt,
}

impl Judge for Waiting<'_> {
    type Known = Value;

    async fn judge(&mut self, seen: &Seen) -> std::result::Result<Judged<Value>, Fault> {
        let Self { cluster, job, receipt } = *self;
        let what = job.what();
        let Some(workload) = seen.workload.as_ref().filter(|workload| workload.uid == receipt.uid) else {
            let Some(how) = watch::gone(cluster, job, &receipt.uid).await else {
                return Ok(Judged::Open { wake: Instant::now() + LAG });
            };
            let message = format!("{what} {how} after it was {}", done(receipt.paused));
            return Err(Fault::Failed(Error::new(Code::RolloutWorkloadDeleted, message)));
        };
        if workload.generation < receipt.generation {
            return Ok(Judged::Unseen);
        }
        if workload.paused != receipt.paused {
            let message = format!("somebody has changed {what} since it was {}", done(receipt.paused));
            return Err(Fault::Failed(Error::new(Code::RolloutSuperseded, message)));
        }
        if workload.observed_generation < receipt.generation {
            return Ok(Judged::Open { wake: job.deadline });
        }
        Ok(Judged::Known(output(cluster, job, receipt, workload)))
    }

    async fn late(&self, _: &Workload, _: &Family) -> Fault {
        let message = "its controller has not taken it up within the time limit";
        self.unwatched(&Error::new(Code::ToolTimedOut, message))
    }

    fn unwatched(&self, error: &Error) -> Fault {
        let Self { job, receipt, .. } = self;
        let what = format!("the rollout of {} was {}, but what came of it", job.what(), done(receipt.paused));
        watch::unwatched(&what, &job.by_kubectl("rollout status", ""), error)
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

#[cfg(test)]
mod tests {
    use super::super::testing::{World, as_the_engine, webapp};
    use super::*;
    use k8s_openapi::api::apps::v1::Deployment;
    use kube::Api;
    use kube::api::{DeleteParams, PostParams};

    /// The new one has a lower generation than the change made.
    #[tokio::test]
    async fn a_deployment_that_is_made_again_is_not_waited_for() {
        let world = World::start(vec![webapp("Deployment", 2, &json!({}), &json!({}))]).await;
        world.healthy(Kind::Deployment).await;
        let job = world.job(Kind::Deployment, "run-1", 20).once;
        let pause = async || {
            let intent = Intent::of(&world.now(Kind::Deployment).await, true);
            perform(&world.cluster, &job, &intent).await
        };
        let receipt = as_the_engine(pause).await.unwrap();
        let api: Api<Deployment> = Api::namespaced(world.client.clone(), "default");
        api.delete("webapp", &DeleteParams::background()).await.unwrap();
        let again = serde_json::from_value(webapp("Deployment", 2, &json!({}), &json!({}))).unwrap();
        api.create(&PostParams::default(), &again).await.unwrap();
        let fault = verify(&world.cluster, &job, &receipt).await.unwrap_err();
        let Fault::Failed(error) = fault else { panic!("{fault:?}") };
        assert_eq!(error.code, Code::RolloutWorkloadDeleted, "{error}");
        assert!(Instant::now() < job.deadline, "known at once");
    }
}
