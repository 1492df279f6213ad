//! Scaling and its undo: intended, performed once, settled when it is unclear, verified by the shared watches.
//!
//! | module | what it holds |
//! |---|---|
//! | `sane` | pure: is this number, and this moment, a sane one |
//! | `settle` | pure: what became of a patch, from the object |
//! | `perform` | sends that patch, and no other, until it is known what became of it |
//! | `verify` | watches until the outcome is known |
//!
//! One patch sets the number of replicas and, as the object's own annotation, the mark of the run
//! (`astradesk.dev/scale`), bound to one version of the object.

mod perform;
mod sane;
mod settle;
mod verify;

pub(crate) use perform::perform;
pub use sane::Bounds;
pub(crate) use sane::{Wish, sane, undo_sane};
pub(crate) use verify::verify;

use super::SCALE;
use super::workload::Workload;
use astradesk_core::Timestamp;
use astradesk_core::name::Namespace;
use astradesk_core::target::Kind;
use astradesk_runtime::port::Progress;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

/// One scaling, or the undo of one.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) target: String,
    pub(crate) kind: Kind,
    pub(crate) namespace: Namespace,
    pub(crate) name: String,
    /// What marks the object as changed by this step.
    pub(crate) mark: String,
    /// Whether it undoes another scaling.
    pub(crate) is_undo: bool,
    /// Whether an earlier process may have performed this step already.
    pub(crate) repeated: bool,
    pub(crate) deadline: Instant,
    pub(crate) progress: Progress,
}

impl Job {
    fn what(&self) -> String {
        format!("{}/{} in namespace `{}`", self.kind, self.name, self.namespace)
    }

    /// What is done, as the beginning of a sentence.
    fn doing(&self) -> String {
        let undo = if self.is_undo { "undo of the scaling" } else { "scaling" };
        format!("the {undo} of {}", self.what())
    }

    fn is_marked(&self, workload: &Workload) -> bool {
        workload.scale.as_deref() == Some(self.mark.as_str())
    }

    /// The command that scales it by hand.
    fn by_kubectl(&self, replicas: i32) -> String {
        let Self { namespace, kind, name, .. } = self;
        format!("kubectl -n {namespace} scale {kind}/{name} --replicas={replicas}")
    }
}

/// The object as it was when the patch was decided, and what the patch sets. Its fields are in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The object's id.
    pub(crate) uid: String,
    /// The object's version: the API server lets the patch in for no other.
    pub(crate) resource_version: String,
    /// The object's generation, which every change of its specification raises by one.
    pub(crate) generation: i64,
    /// How many replicas there are to be.
    pub(crate) replicas: i32,
    /// How many there were to be before.
    pub(crate) before: i32,
}

impl Intent {
    /// Binds a number of replicas to the workload as it is.
    pub(crate) fn of(workload: &Workload, replicas: i32) -> Self {
        Self {
            uid: workload.uid.clone(),
            resource_version: workload.resource_version.clone(),
            generation: workload.generation,
            replicas,
            before: workload.wanted,
        }
    }

    /// The one patch that this intent stands for.
    pub(crate) fn patch(&self, mark: &str) -> Value {
        json!({
            "metadata": {"resourceVersion": self.resource_version, "annotations": {SCALE: mark}},
            "spec": {"replicas": self.replicas},
        })
    }

    fn receipt(&self, job: &Job, workload: &Workload, now: Timestamp) -> Receipt {
        Receipt {
            target: job.target.clone(),
            uid: self.uid.clone(),
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
    /// The value of the annotation `astradesk.dev/scale`.
    pub(crate) mark: String,
    /// When the change was seen.
    pub(crate) at: Timestamp,
}
