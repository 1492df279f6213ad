//! Whether a restart whose reply is not known was made: what `kubernetes::once` does not know by itself. Pure.
//!
//! The patch changes the annotations of the template. So if there was one change since, and they are as they were before,
//! it was another one: had it been ours, nothing could have changed the template after it.
//!
//! Something in the cluster may take our mark away as it comes in (an admission webhook), or later (the mark of an undo
//! is no part of `spec`): with one generation more and the template as we would have left it but for the mark, or as our
//! own field manager has left it, the templates that the controller keeps decide, as they do after more changes.

use super::super::history::History;
use super::super::rollout::{Marks, Receipt};
use super::super::workload::Workload;
use super::super::{FIELD_MANAGER, RUN, UNDO};
use super::{Intent, Job};
use astradesk_core::Timestamp;

/// Whether the one change that there was since is not that of the patch.
pub(super) fn is_another_change(job: &Job, intent: &Intent, workload: &Workload) -> bool {
    let marks = Marks::of(&workload.template_annotations);
    let by_us = || workload.changed_by.as_ref().is_none_or(|change| change.manager == FIELD_MANAGER);
    // Ours would have changed the annotations.
    marks == intent.before || (marks != without_mark(job, intent) && !by_us())
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
    let mark = Some(&job.once.mark);
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
        target: job.once.target.clone(),
        uid: intent.bound.uid.clone(),
        generation: intent.bound.generation + 1,
        restarted_at: text(&intent.sets.restarted_at),
        run: text(&intent.sets.run),
        previous_revision: intent.revision.clone(),
        template: ours.template,
        before: Some(intent.before.clone()),
        undo: job.undoes.as_ref().map(|_| job.once.mark.clone()),
        undone_at: job.undoes.as_ref().map(|_| now),
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::once::find::{Finding, Sent};
    use super::super::super::once::{self, Bound};
    use super::super::super::rollout::tests::{Shape, receipt, workload};
    use super::super::super::workload::Change;
    use super::super::perform::Restart;
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
        let once = once::Job {
            target: "t".into(),
            kind: Kind::Deployment,
            namespace: astradesk_core::name::Namespace::parse("default").unwrap(),
            name: "webapp".into(),
            mark: "run-2/1".into(),
            is_undo: undo,
            repeated: true,
            deadline: tokio::time::Instant::now() + Duration::from_secs(1),
            progress: astradesk_runtime::port::Progress::default(),
        };
        Job { once, accept_downtime: false, undoes: undo.then(receipt), back_to: None }
    }

    fn find(job: &Job, intent: &Intent, sent: Sent, workload: &Workload) -> Finding {
        let change = once::Change {
            task: &Restart { job, intent },
            bound: &intent.bound,
            done: job.done(),
            patch: Ok(intent.patch(job)),
            unchanged: &|workload| is_another_change(job, intent, workload),
        };
        change.find(sent, workload)
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
        (subject.resource_version, subject.generation) = ("101".into(), intent.bound.generation + 1);
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
            bound: Bound::to(&workload),
            revision: workload.revision.clone(),
            rest: workload.rest,
            sets: Marks::default(),
            before: Marks::of(&workload.template_annotations),
        }
    }
}
