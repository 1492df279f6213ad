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
//! is no part of `spec`): with one generation more and the template as we would have left it but for the mark, or as our
//! own field manager has left it, step 4 decides too.

use super::super::history::History;
use super::super::rollout::{Marks, Receipt};
use super::super::workload::Workload;
use super::super::{FIELD_MANAGER, RUN, UNDO};
use super::{Intent, Job};
use astradesk_core::Timestamp;

/// What is known of the patches that were sent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sent {
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
    let marks = Marks::of(&workload.template_annotations);
    let by_us = || workload.changed_by.as_ref().is_none_or(|change| change.manager == FIELD_MANAGER);
    match workload.generation - intent.generation {
        0 => Finding::Never,
        // Ours would have changed the annotations.
        1 if marks == intent.before => Finding::Never,
        1 if marks != without_mark(job, intent) && !by_us() => Finding::Never,
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
        if revision.rest != intent.rest {
            return false;
        }
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

#[cfg(test)]
mod tests {
    use super::super::super::rollout::tests::{Shape, receipt, workload};
    use super::super::super::workload::Change;
    use super::*;
    use astradesk_core::target::Kind;
    use std::time::Duration;

    type Edit = fn(&mut Workload);

    fn rewrite(workload: &mut Workload, manager: &str) {
        let at = "2026-03-03T00:00:00Z";
        workload.template_annotations.insert(crate::kubernetes::RESTARTED_AT.into(), at.into());
        workload.changed_by = Some(Change { manager: manager.into(), at: None });
    }

    fn job(undo: bool) -> Job {
        Job {
            back_to: None,
            target: "t".into(),
            kind: Kind::Deployment,
            namespace: astradesk_core::name::Namespace::parse("default").unwrap(),
            name: "webapp".into(),
            accept_downtime: false,
            mark: "run-2/1".into(),
            undoes: undo.then(receipt),
            repeated: true,
            deadline: tokio::time::Instant::now() + Duration::from_secs(1),
            progress: astradesk_runtime::port::Progress::default(),
        }
    }

    #[test]
    fn what_became_of_a_patch_follows_from_the_version_and_the_generation() {
        use Finding::{Applied, Buried, Gone, Never, Open};
        use Sent::{Maybe, Nothing, Refused};
        let marks = |w: &mut Workload| {
            w.template_annotations.insert(RUN.into(), "run-2/1".into());
        };
        let moved = |w: &mut Workload| w.resource_version = "101".into();
        let stripped: Edit = |w| {
            w.template_annotations
                .insert(crate::kubernetes::RESTARTED_AT.into(), "2026-02-02T00:00:00Z".into());
        };
        let by_kubectl: Edit = |w| rewrite(w, "kubectl-rollout");
        let by_us: Edit = |w| rewrite(w, FIELD_MANAGER);
        let other: Edit = |w| w.uid = "other".into();
        let nothing: Edit = |_| {};
        // What else happened, by how much the generation rose, whether the version changed, and what follows.
        for (edit, raised, changed, sent, expected) in [
            (nothing, 0, false, Maybe, Open),
            (nothing, 0, false, Refused, Open),
            (nothing, 0, true, Maybe, Never),
            (nothing, 1, true, Maybe, Never),
            (nothing, 2, true, Maybe, Buried),
            (nothing, 2, true, Refused, Buried),
            (nothing, 2, true, Nothing, Never),
            (nothing, -1, true, Maybe, Buried),
            (stripped, 1, true, Maybe, Buried),
            (stripped, 0, true, Maybe, Never),
            (by_kubectl, 1, true, Maybe, Never),
            (by_us, 1, true, Maybe, Buried),
            (other, 0, false, Maybe, Gone),
            (other, 0, false, Nothing, Gone),
        ] {
            let intent = Intent {
                sets: Marks {
                    restarted_at: Some("2026-02-02T00:00:00Z".into()),
                    run: Some("run-2/1".into()),
                },
                ..intent()
            };
            let mut subject = workload(&Shape::default());
            subject.generation += raised;
            if changed {
                moved(&mut subject);
            }
            edit(&mut subject);
            assert_eq!(find(&job(false), &intent, sent, &subject), expected, "{raised} {changed} {sent:?}");
            if expected != Gone {
                marks(&mut subject);
                assert_eq!(
                    find(&job(false), &intent, sent, &subject),
                    Applied,
                    "{raised} {changed} {sent:?}"
                );
            }
        }
    }

    #[test]
    fn an_undo_is_found_by_the_objects_own_annotation() {
        let intent = Intent { sets: Marks::default(), ..intent() };
        let mut subject = workload(&Shape::default());
        (subject.resource_version, subject.generation) = ("101".into(), intent.generation + 1);
        assert_eq!(find(&job(true), &intent, Sent::Maybe, &subject), Finding::Never, "still restarted");
        subject.template_annotations.clear();
        assert_eq!(find(&job(true), &intent, Sent::Maybe, &subject), Finding::Buried, "undone, by whom?");
        subject.undo = Some("run-2/1".into());
        assert_eq!(find(&job(true), &intent, Sent::Maybe, &subject), Finding::Applied);
        subject.undo = Some("run-1/1".into());
        assert_eq!(
            find(&job(true), &intent, Sent::Maybe, &subject),
            Finding::Buried,
            "an earlier undo's mark"
        );
    }

    fn intent() -> Intent {
        let workload = workload(&Shape::default());
        Intent {
            uid: workload.uid.clone(),
            resource_version: workload.resource_version.clone(),
            generation: workload.generation,
            revision: workload.revision.clone(),
            rest: workload.rest,
            sets: Marks::default(),
            before: Marks::of(&workload.template_annotations),
        }
    }
}
