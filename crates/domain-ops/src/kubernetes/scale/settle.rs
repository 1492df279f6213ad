//! What became of a patch whose reply is not known. Pure.
//!
//! As for a restart (`restart::settle` has the reasons): the mark tells that it was applied; the same version, that it
//! was not yet, and may be sent again; another version, that it never will be from now on. Was it before that, and
//! somebody took the mark away? With the generation of the intent it was not: it would have raised it. With that and
//! one, and the number of before, it was not either: the one change that there was is another one. Else nobody can tell:
//! no controller keeps the numbers that there were.

use super::super::restart::Sent;
use super::super::workload::Workload;
use super::{Intent, Job};

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
    /// Nobody can tell.
    Unclear,
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
    // Once the API server has refused it, or before it was sent, there is no doubt.
    if sent < Sent::Maybe {
        return Finding::Never;
    }
    match workload.generation - intent.generation {
        0 => Finding::Never,
        1 if workload.wanted == intent.before => Finding::Never,
        _ => Finding::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::rollout::tests::{Shape, workload};
    use super::*;
    use astradesk_core::target::Kind;
    use astradesk_runtime::port::Progress;

    type Edit = fn(&mut Workload);

    #[test]
    fn each_sight_of_the_object_has_its_meaning() {
        let before = workload(&Shape::default());
        let intent = Intent::of(&before, before.wanted + 2);
        let job = Job {
            target: String::new(),
            kind: Kind::Deployment,
            namespace: astradesk_core::name::Namespace::parse("default").unwrap(),
            name: "webapp".into(),
            mark: "run-1".into(),
            is_undo: false,
            repeated: false,
            deadline: tokio::time::Instant::now(),
            progress: Progress::default(),
        };
        let moved: Edit = |w| w.resource_version = "999".into();
        let cases: Vec<(&str, Edit, Sent, Finding)> = vec![
            ("as it was", |_| {}, Sent::Maybe, Finding::Open),
            ("marked", |w| w.scale = Some("run-1".into()), Sent::Maybe, Finding::Applied),
            ("another run's mark", |w| w.scale = Some("run-2".into()), Sent::Maybe, Finding::Open),
            ("another object", |w| w.uid = "other".into(), Sent::Maybe, Finding::Gone),
            ("not sent", moved, Sent::Nothing, Finding::Never),
            ("its status changed", moved, Sent::Maybe, Finding::Never),
            (
                "something else changed",
                |w| (w.resource_version, w.generation) = ("999".into(), w.generation + 1),
                Sent::Maybe,
                Finding::Never,
            ),
            (
                "scaled, by whom is not to be seen",
                |w| {
                    (w.resource_version, w.generation, w.wanted) =
                        ("999".into(), w.generation + 1, w.wanted + 2);
                },
                Sent::Maybe,
                Finding::Unclear,
            ),
            (
                "changed twice",
                |w| (w.resource_version, w.generation) = ("999".into(), w.generation + 2),
                Sent::Maybe,
                Finding::Unclear,
            ),
            (
                "changed twice, and refused",
                |w| (w.resource_version, w.generation) = ("999".into(), w.generation + 2),
                Sent::Refused,
                Finding::Never,
            ),
        ];
        for (name, edit, sent, expected) in cases {
            let mut now = before.clone();
            edit(&mut now);
            assert_eq!(find(&job, &intent, sent, &now), expected, "{name}");
        }
    }
}
