//! Scaling and its undo: intended, performed once, settled when it is unclear, verified by the shared watches.
//!
//! | module | what it holds |
//! |---|---|
//! | `sane` | pure: is this number, and this moment, a sane one |
//! | `verify` | watches until the outcome is known |
//!
//! The one patch is sent as `kubernetes::once` says.

mod sane;
mod verify;

pub use sane::Bounds;
pub(crate) use sane::{Wish, sane, undo_sane};
pub(crate) use verify::verify;

use super::cluster::{Cluster, operation};
use super::once::{self, Bound, Change, Job};
use super::workload::Workload;
use astradesk_core::Timestamp;
use astradesk_runtime::port::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What is done, as the beginning of a sentence.
fn doing(job: &Job) -> String {
    let undo = if job.is_undo { "undo of the scaling" } else { "scaling" };
    format!("the {undo} of {}", job.what())
}

/// The command that scales it by hand.
fn by_kubectl(job: &Job, replicas: i32) -> String {
    job.by_kubectl("scale", &format!("--replicas={replicas}"))
}

/// What a scaling is bound to. Its fields are in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The object as it is.
    #[serde(flatten)]
    pub(crate) bound: Bound,
    /// How many replicas there are to be.
    pub(crate) replicas: i32,
    /// How many there were to be before.
    pub(crate) before: i32,
}

impl Intent {
    /// Binds a number of replicas to the workload as it is.
    pub(crate) fn of(workload: &Workload, replicas: i32) -> Self {
        Self { bound: Bound::to(workload), replicas, before: workload.wanted }
    }

    /// The one patch that this intent stands for.
    pub(crate) fn patch(&self, mark: &str) -> Value {
        self.bound.patch(mark, &json!({"replicas": self.replicas}))
    }

    fn receipt(&self, job: &Job, workload: &Workload, now: Timestamp) -> Receipt {
        Receipt {
            target: job.target.clone(),
            uid: self.bound.uid.clone(),
            generation: workload.generation,
            replicas: self.replicas,
            before: self.before,
            mark: job.mark.clone(),
            at: now,
        }
    }
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
    /// How many replicas there are to be.
    pub(crate) replicas: i32,
    /// How many there were to be before.
    pub(crate) before: i32,
    /// The run, and its step: the value of the annotation `astradesk.dev/run`.
    pub(crate) mark: String,
    /// When the change was seen.
    pub(crate) at: Timestamp,
}

/// Performs what the intent is bound to, unless it is found to be there already. A number that is there already needs no
/// patch.
pub(crate) async fn perform(cluster: &Cluster, job: &Job, intent: &Intent) -> Result<Receipt, Fault> {
    let Job { kind, namespace, name, mark, .. } = job;
    let before = intent.before;
    let workload = if intent.replicas == before {
        let read = cluster.get(*kind, namespace, name).await;
        read.map_err(|failure| failure.into_error(&operation("get", *kind, namespace, name)))?
    } else {
        let change = Change {
            job,
            bound: &intent.bound,
            done: "scaled",
            patch: Ok(intent.patch(mark)),
            unchanged: &move |workload| workload.wanted == before,
        };
        once::perform(cluster, &change).await?
    };
    Ok(intent.receipt(job, &workload, cluster.now()))
}
