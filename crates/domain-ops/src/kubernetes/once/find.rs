//! What became of a patch whose reply is not known. Pure.
//!
//! The patch is bound to one version of the object (`metadata.resourceVersion`), and it leaves a mark, so:
//!
//! 1. The mark is there: it was applied.
//! 2. The version is the same: it was not applied yet. It may be sent again, as only one of the two can be let in.
//! 3. The version is another one: from now on the patch is refused, however late it arrives. Was it applied before?
//!    Every write that changes the specification raises `metadata.generation` by exactly one. With the generation of
//!    the intent no such write has happened, so it was not. With that generation and one, exactly one has: if what the
//!    patch changes is as it was before, that one was another one.
//! 4. Else only what is kept of the object's past can tell, if anything is: of a restart, the templates that it had.
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
//! A node has no generation, and an autoscaler has none in most versions of Kubernetes. What is changed of them is a state
//! that they are brought to, which harms nobody a second time.

use super::{Change, Task};

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
pub(crate) enum Finding {
    /// It was applied.
    Applied,
    /// It was not applied yet: nothing has changed.
    Open,
    /// It was not applied, and never will be.
    Never,
    /// The object that it was for is gone.
    Gone,
    /// Only the object's past can tell.
    Buried,
}

impl<T: Task> Change<'_, T> {
    /// What became of the patch, from the object as it is.
    pub(crate) fn find(&self, sent: Sent, object: &T::Object) -> Finding {
        let now = T::bound(object);
        if now.uid != self.bound.uid {
            return Finding::Gone;
        }
        if self.is_marked(object) {
            return Finding::Applied;
        }
        if now.resource_version == self.bound.resource_version {
            return Finding::Open;
        }
        if sent == Sent::Nothing {
            return Finding::Never;
        }
        match now.generation - self.bound.generation {
            0 => Finding::Never,
            1 if (self.unchanged)(object) => Finding::Never,
            _ => Finding::Buried,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::rollout::tests::{Shape, workload};
    use super::super::super::workload::Workload;
    use super::super::{Bound, Job};
    use super::*;
    use astradesk_core::name::Namespace;
    use astradesk_core::target::Kind;
    use astradesk_runtime::port::Progress;
    use serde_json::Value;
    use tokio::time::Instant;

    type Edit = fn(&mut Workload);

    #[test]
    fn each_sight_of_the_object_has_its_meaning() {
        let before = workload(&Shape::default());
        let (bound, wanted) = (Bound::to(&before), before.wanted);
        let job = Job {
            target: String::new(),
            kind: Kind::Deployment,
            namespace: Namespace::parse("default").unwrap(),
            name: "webapp".to_owned(),
            mark: "run-1".to_owned(),
            is_undo: false,
            repeated: true,
            deadline: Instant::now(),
            progress: Progress::default(),
        };
        let change = Change {
            task: &job,
            bound: &bound,
            done: "scaled",
            patch: Ok(Value::Null),
            unchanged: &move |workload| workload.wanted == wanted,
        };
        let cases: Vec<(&str, Edit, Sent, Finding)> = vec![
            ("as it was", |_| {}, Sent::Maybe, Finding::Open),
            ("marked", |w| w.own_run = Some("run-1".into()), Sent::Maybe, Finding::Applied),
            ("another run's mark", |w| w.own_run = Some("run-2".into()), Sent::Maybe, Finding::Open),
            ("another object", |w| w.uid = "other".into(), Sent::Maybe, Finding::Gone),
            ("not sent", |w| w.resource_version = "999".into(), Sent::Nothing, Finding::Never),
            ("its status changed", |w| w.resource_version = "999".into(), Sent::Maybe, Finding::Never),
            ("something else changed", |w| later(w, 1), Sent::Maybe, Finding::Never),
            (
                "changed so, by whom is not to be seen",
                |w| {
                    later(w, 1);
                    w.wanted += 2;
                },
                Sent::Maybe,
                Finding::Buried,
            ),
            ("changed twice", |w| later(w, 2), Sent::Maybe, Finding::Buried),
            ("changed twice, and refused", |w| later(w, 2), Sent::Refused, Finding::Buried),
            ("changed twice, and not sent", |w| later(w, 2), Sent::Nothing, Finding::Never),
        ];
        for (name, edit, sent, expected) in cases {
            let mut now = before.clone();
            edit(&mut now);
            assert_eq!(change.find(sent, &now), expected, "{name}");
        }
    }

    fn later(workload: &mut Workload, generations: i64) {
        workload.resource_version = "999".into();
        workload.generation += generations;
    }
}
