//! What became of a patch whose reply is not known. Pure.
//!
//! The patch is bound to one version of the object (`metadata.resourceVersion`), and it changes the template, so:
//!
//! 1. The mark is there: it was applied.
//! 2. The version is the same: it was not applied yet. It may be sent again, as only one of the two can be let in.
//! 3. The version is another one: from now on the patch is refused, however late it arrives. Was it applied before?
//!    Every write that changes the specification raises `metadata.generation` by exactly one. With the generation of
//!    the intent no such write has happened, so it was not. With that generation and one, exactly one has: had it
//!    been ours, nothing could have changed the template after it, and the mark would be there. So it was not.
//! 4. With more, only the templates that the controller keeps can tell.
//!
//! The arithmetic rests on these files of Kubernetes, which are alike in this from 1.20 to 1.33:
//!
//! | kind | what raises the generation, by one a write | where |
//! |---|---|---|
//! | Deployment | a change of `spec` or of `metadata.annotations` | `pkg/registry/apps/deployment/strategy.go`, `PrepareForUpdate` |
//! | StatefulSet | a change of `spec` | `pkg/registry/apps/statefulset/strategy.go` |
//! | DaemonSet | a change of `spec` (of its template once, not twice) | `pkg/registry/apps/daemonset/strategy.go` |
//! | all | `spec.replicas` through `/scale`, by the same strategies | `pkg/registry/apps/*/storage/storage.go`, `ScaleREST` |
//! | all | the beginning of a deletion that waits for something | `staging/src/k8s.io/apiserver/pkg/registry/rest/delete.go`, `BeforeDelete` |
//!
//! A write through `/status` raises nothing and cannot change `spec` (the `StatusStrategy` in the same files); it can
//! change annotations of the object, as the Deployment controller does with `deployment.kubernetes.io/revision`.
//! Labels and, except in Deployments, annotations of the object raise nothing. Nobody can write the generation itself.
//!
//! Something in the cluster may take our mark away as it comes in (an admission webhook), or later (the mark of an undo
//! is no part of `spec`): with one generation more and the template as we would have left it, step 4 decides too.

use super::super::history::History;
use super::super::rollout::{Marks, Receipt};
use super::super::workload::Workload;
use super::super::{RUN, UNDO};
use super::{Intent, Job};
use astradesk_core::Timestamp;

/// What is known of the patches that were sent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sent {
    /// None was, or none arrived.
    Nothing,
    /// The API server said that the version is another one. (A proxy may have sent a first one before that.)
    Refused,
    /// One may have been applied.
    Maybe,
}

/// What became of the patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// It was applied.
    Applied,
    /// It was not applied yet: nothing has changed.
    Open,
    /// It was not applied, and never will be.
    Never,
    /// The object that it was for is gone.
    Gone,
    /// Only the history can tell.
    Buried,
}

/// What became of the patch, from the object as it is.
pub(super) fn find(job: &Job, intent: &Intent, sent: Sent, workload: &Workload) -> Finding {
    if workload.uid != intent.uid {
        return Finding::Gone;
    }
    if job.is_marked(workload) {
        return Finding::Applied;
    }
    if workload.resource_version == intent.resource_version {
        return Finding::Open;
    }
    if sent == Sent::Nothing {
        return Finding::Never;
    }
    let as_left = || Marks::of(&workload.template_annotations) == without_mark(job, intent);
    match workload.generation - intent.generation {
        0 => Finding::Never,
        1 if !as_left() => Finding::Never,
        _ => Finding::Buried,
    }
}

/// The template's annotations as the patch would leave them if its mark were taken away.
fn without_mark(job: &Job, intent: &Intent) -> Marks {
    match job.undoes {
        Some(_) => intent.sets.clone(),
        None => Marks { run: intent.before.run.clone(), ..intent.sets.clone() },
    }
}

/// The receipt of a patch that was applied and replaced since, if the history shows it.
pub(super) fn dig(job: &Job, intent: &Intent, history: &History, now: Timestamp) -> Option<Receipt> {
    let mark = Some(&job.mark);
    let ours = history.revisions.iter().find(|revision| {
        let marks = Marks::of(&revision.template_annotations);
        match job.undoes {
            // A Deployment's own annotations are copied to the ReplicaSet that it is at.
            Some(_) => revision.annotations.get(UNDO) == mark && marks == intent.sets,
            None => revision.template_annotations.get(RUN) == mark && marks == intent.sets,
        }
    })?;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    Some(Receipt {
        target: job.target.clone(),
        uid: intent.uid.clone(),
        generation: intent.generation + 1,
        restarted_at: text(&intent.sets.restarted_at),
        run: text(&intent.sets.run),
        previous_revision: intent.revision.clone(),
        template: ours.template,
        before: Some(intent.before.clone()),
        undo: job.undoes.as_ref().map(|_| job.mark.clone()),
        undone_at: job.undoes.as_ref().map(|_| now),
    })
}
