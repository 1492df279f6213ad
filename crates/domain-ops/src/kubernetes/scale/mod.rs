//! Scaling and its undo: intended, performed once, settled when it is unclear, verified by the shared watches.
//!
//! | module | what it holds |
//! |---|---|
//! | `sane` | pure: is this number, and this moment, a sane one |
//! | `verify` | watches until the outcome is known |
//! | `minimum` | the same, while its autoscaler has to do the scaling |
//!
//! The number is the workload's own, or, if the call says so, the minimum of its autoscaler. The one patch, of the one or
//! the other, is sent as `kubernetes::once` says.

mod minimum;
mod sane;
mod verify;

pub use sane::Bounds;
pub(crate) use sane::{Wish, sane, undo_minimum_sane, undo_sane};

use super::autoscalers::{self, Autoscaler, Minimum};
use super::cluster::{Cluster, operation};
use super::once::{self, Bound, Change, Job, Task};
use super::workload::Workload;
use astradesk_core::name::Namespace;
use astradesk_core::{Result, Timestamp};
use astradesk_runtime::port::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a scaling is bound to. Its fields are in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The object that is changed, as it is: the workload, or its autoscaler.
    #[serde(flatten)]
    pub(crate) bound: Bound,
    /// How many replicas there are to be; with an autoscaler, at least.
    pub(crate) replicas: i32,
    /// How many there were to be before.
    pub(crate) before: i32,
    /// The autoscaler whose minimum that is; none if it is the workload's own number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) autoscaler: Option<Behind>,
}

/// An autoscaler, and what it scales.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Behind {
    /// The autoscaler's name.
    pub(crate) name: String,
    /// The workload, as it is.
    workload: Bound,
}

impl Intent {
    /// Binds a number of replicas to the workload as it is.
    pub(crate) fn of(workload: &Workload, replicas: i32) -> Self {
        Self { bound: Bound::to(workload), replicas, before: workload.wanted, autoscaler: None }
    }

    /// Binds a minimum to the workload's autoscaler as it is.
    pub(crate) fn of_minimum(workload: &Workload, autoscaler: &Autoscaler, replicas: i32) -> Self {
        let behind = Behind { name: autoscaler.name.clone(), workload: Bound::to(workload) };
        Self { bound: Minimum::bound(autoscaler), replicas, before: autoscaler.min, autoscaler: Some(behind) }
    }

    /// The one patch that this intent stands for.
    pub(crate) fn patch(&self, mark: &str) -> Value {
        let field = if self.autoscaler.is_some() { "minReplicas" } else { "replicas" };
        self.bound.patch(mark, &json!({field: self.replicas}))
    }

    /// Has the API server check the patch as it would be sent, and apply nothing.
    pub(crate) async fn try_out(&self, cluster: &Cluster, workload: &Workload, patch: &Value) -> Result<()> {
        let namespace = Namespace::parse(workload.namespace.as_str())?;
        let Some(Behind { name, .. }) = &self.autoscaler else {
            return once::try_out(cluster, workload.kind, &namespace, &workload.name, patch).await;
        };
        let tried = cluster.patch_autoscaler(&namespace, name, &once::unbound(patch), None).await;
        let operation = autoscalers::operation("patch", &workload.namespace, name);
        tried.map(drop).map_err(|failure| failure.into_error(&operation))
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// The target, as text.
    pub(crate) target: String,
    /// The workload's id.
    pub(crate) uid: String,
    /// The workload's generation when the change was seen; before it, if it is the autoscaler that was changed.
    pub(crate) generation: i64,
    /// How many replicas there are to be; with an autoscaler, at least.
    pub(crate) replicas: i32,
    /// How many there were to be before.
    pub(crate) before: i32,
    /// The run, and its step: the value of the annotation `astradesk.dev/run`.
    pub(crate) mark: String,
    /// When the change was seen.
    pub(crate) at: Timestamp,
    /// The autoscaler whose minimum that is; none if it is the workload's own number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) autoscaler: Option<Changed>,
}

/// An autoscaler that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changed {
    /// Its name.
    pub(crate) name: String,
    /// Its id.
    pub(crate) uid: String,
}

impl Receipt {
    /// What was done, as the beginning of a sentence.
    fn doing(&self, job: &Job) -> String {
        let what = job.what();
        let doing = match &self.autoscaler {
            None => format!("scaling of {what}"),
            Some(Changed { name, .. }) => {
                format!("change of the minimum of HorizontalPodAutoscaler `{name}` of {what}")
            }
        };
        if job.is_undo { format!("the undo of the {doing}") } else { format!("the {doing}") }
    }

    /// The command that goes back by hand.
    fn back_by_kubectl(&self, job: &Job) -> String {
        let before = self.before;
        match &self.autoscaler {
            None => job.by_kubectl("scale", &format!("--replicas={before}")),
            Some(Changed { name, .. }) => {
                let patch = json!({"spec": {"minReplicas": before}});
                format!("kubectl -n {} patch hpa/{name} --type=merge -p '{patch}'", job.namespace)
            }
        }
    }
}

/// Performs what the intent is bound to, unless it is found to be there already. A number that is there already needs no
/// patch.
pub(crate) async fn perform(cluster: &Cluster, job: &Job, intent: &Intent) -> Result<Receipt, Fault> {
    let (uid, generation, autoscaler) = match &intent.autoscaler {
        None => {
            let workload = perform_replicas(cluster, job, intent).await?;
            (intent.bound.uid.clone(), workload.generation, None)
        }
        Some(behind) => {
            perform_minimum(cluster, job, intent, &behind.name).await?;
            let changed = Changed { name: behind.name.clone(), uid: intent.bound.uid.clone() };
            (behind.workload.uid.clone(), behind.workload.generation, Some(changed))
        }
    };
    let (target, mark, at) = (job.target.clone(), job.mark.clone(), cluster.now());
    let Intent { replicas, before, .. } = *intent;
    Ok(Receipt { target, uid, generation, replicas, before, mark, at, autoscaler })
}

async fn perform_replicas(cluster: &Cluster, job: &Job, intent: &Intent) -> Result<Workload, Fault> {
    let Job { kind, namespace, name, mark, .. } = job;
    let before = intent.before;
    if intent.replicas == before {
        let read = cluster.get(*kind, namespace, name).await;
        return Ok(read.map_err(|failure| failure.into_error(&operation("get", *kind, namespace, name)))?);
    }
    let change = Change {
        task: job,
        bound: &intent.bound,
        done: "scaled",
        patch: Ok(intent.patch(mark)),
        unchanged: &move |workload| workload.wanted == before,
    };
    once::perform(cluster, &change).await
}

async fn perform_minimum(cluster: &Cluster, job: &Job, intent: &Intent, name: &str) -> Result<(), Fault> {
    let before = intent.before;
    if intent.replicas == before {
        return Ok(());
    }
    let change = Change {
        task: &Minimum { job, name },
        bound: &intent.bound,
        done: "changed",
        patch: Ok(intent.patch(&job.mark)),
        unchanged: &move |autoscaler: &Autoscaler| autoscaler.min == before,
    };
    once::perform(cluster, &change).await.map(drop)
}

/// Watches until as many pods as were asked for are available, or until it is known to fail.
pub(crate) async fn verify(cluster: &Cluster, job: &Job, receipt: &Receipt) -> Result<Value, Fault> {
    let scaled = Box::pin(verify::verify(cluster, job, receipt));
    match &receipt.autoscaler {
        None => scaled.await,
        Some(changed) => Box::pin(minimum::verify(cluster, job, receipt, changed, scaled)).await,
    }
}
