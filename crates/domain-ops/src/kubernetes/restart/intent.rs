//! What a patch is bound to: durable before it is sent, so that what became of it can be found out by reading.

use super::super::once::Bound;
use super::super::rollout::{Marks, Receipt};
use super::super::workload::Workload;
use super::super::{RESTARTED_AT, RUN, UNDO, guard};
use super::{Job, stamp};
use astradesk_core::canonical::Digest;
use astradesk_core::{Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The object as it was when the patch was decided, and what the patch sets. Its fields are in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The object as it is.
    #[serde(flatten)]
    pub(crate) bound: Bound,
    /// The revision that the object is at, if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<String>,
    /// The digest of the template without those annotations, which the patch leaves as it is.
    pub(crate) rest: Digest,
    /// What the template's annotations become; null takes one away.
    #[serde(flatten)]
    pub(crate) sets: Marks,
    /// What they are before.
    pub(crate) before: Marks,
}

impl Intent {
    /// Binds a restart, or an undo, to the workload as it is, if this is a sane moment for it.
    pub(crate) fn of(job: &Job, workload: &Workload, now: Timestamp) -> Result<Self> {
        let sets = match &job.undoes {
            None => {
                guard::restart(workload, job.accept_downtime)?;
                Marks { restarted_at: Some(stamp(now)), run: Some(job.once.mark.clone()) }
            }
            Some(receipt) => {
                guard::undo(workload, receipt)?;
                receipt.before.clone().unwrap_or_default()
            }
        };
        Ok(Self {
            bound: Bound::to(workload),
            revision: workload.revision.clone(),
            rest: workload.rest,
            sets,
            before: Marks::of(&workload.template_annotations),
        })
    }

    /// The one patch that this intent stands for.
    pub(super) fn patch(&self, job: &Job) -> Value {
        let mut patch = template_patch(&self.bound.resource_version, &self.sets);
        if job.undoes.is_some()
            && let Some(metadata) = patch.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.insert("annotations".to_owned(), json!({UNDO: job.once.mark}));
        }
        patch
    }

    /// Whether the template is as the patch leaves it.
    fn has_left(&self, workload: &Workload) -> bool {
        workload.rest == self.rest && Marks::of(&workload.template_annotations) == self.sets
    }

    /// The receipt for a workload that is seen to carry the mark.
    pub(super) fn receipt(&self, job: &Job, workload: &Workload, now: Timestamp) -> Receipt {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Receipt {
            target: job.once.target.clone(),
            uid: self.bound.uid.clone(),
            generation: workload.generation,
            restarted_at: text(&self.sets.restarted_at),
            run: text(&self.sets.run),
            previous_revision: self.revision.clone(),
            // If somebody has changed it since, the patch was replaced, and its template is not to be seen any more.
            template: if self.has_left(workload) { workload.template } else { Digest::ZERO },
            before: Some(self.before.clone()),
            undo: job.undoes.as_ref().map(|_| job.once.mark.clone()),
            undone_at: job.undoes.as_ref().map(|_| now),
        }
    }
}

/// The patch of a restart that is only tried.
pub(crate) fn restart_patch(workload: &Workload, now: Timestamp, run: &str) -> Value {
    let sets = Marks { restarted_at: Some(stamp(now)), run: Some(run.to_owned()) };
    template_patch(&workload.resource_version, &sets)
}

/// The patch that sets the template's annotations, valid for one version of the object only.
fn template_patch(resource_version: &str, sets: &Marks) -> Value {
    json!({
        "metadata": {"resourceVersion": resource_version},
        "spec": {"template": {"metadata": {"annotations": {
            RESTARTED_AT: sets.restarted_at,
            RUN: sets.run,
        }}}},
    })
}
