//! Where a rollout stands, and whether one certain change came out well. Pure.
//!
//! The rules are those of `kubectl rollout status` (`k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go`),
//! with what it leaves out: the pods themselves, and whether the change that is watched is still the one
//! that the object asks for.

use super::workload::{Family, PodView, Strategy, Workload};
use super::{RESTARTED_AT, RUN};
use astradesk_core::Timestamp;
use astradesk_core::canonical::Digest;
use astradesk_core::target::Kind;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The reason that the Deployment controller gives when a rollout has once been complete.
const HAS_BEEN_COMPLETE: &str = "NewReplicaSetAvailable";

/// When a change that was seen then has come to rest: when the newest pod became ready, if that was later.
pub(crate) fn settled(family: &Family, seen: Timestamp) -> Timestamp {
    let ready = family.pods.iter().filter(|pod| !pod.terminating).filter_map(|pod| pod.ready_since);
    ready.fold(seen, Timestamp::max)
}

/// Where a workload's rollout stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// The controller has not looked at the newest specification yet.
    Unobserved,
    /// Somebody paused it.
    Paused,
    /// Pods are being replaced.
    InProgress {
        /// Pods of the newest revision.
        updated: i32,
        /// Pods that should be of it.
        of: i32,
    },
    /// It made no progress within the workload's own deadline.
    Stalled {
        /// The controller's words.
        reason: String,
    },
    /// Every pod is of the newest revision, but not every one is available.
    Unavailable {
        /// Pods that are available.
        available: i32,
        /// Pods that should be.
        of: i32,
    },
    /// Nothing is left to do.
    Complete,
}

impl Stage {
    /// The stage as outputs show it.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Unobserved => json!({"state": "unobserved"}),
            Self::Paused => json!({"state": "paused"}),
            Self::InProgress { updated, of } => json!({"state": "in_progress", "updated": updated, "of": of}),
            Self::Stalled { reason } => json!({"state": "stalled", "reason": reason}),
            Self::Unavailable { available, of } => {
                json!({"state": "unavailable", "available": available, "of": of})
            }
            Self::Complete => json!({"state": "complete"}),
        }
    }

    /// The name of the stage.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unobserved => "unobserved",
            Self::Paused => "paused",
            Self::InProgress { .. } => "in_progress",
            Self::Stalled { .. } => "stalled",
            Self::Unavailable { .. } => "unavailable",
            Self::Complete => "complete",
        }
    }
}

/// Where the rollout of a workload stands, from the object alone.
pub fn stage(workload: &Workload) -> Stage {
    if workload.observed_generation < workload.generation {
        return Stage::Unobserved;
    }
    if workload.paused {
        return Stage::Paused;
    }
    let exceeded = workload.progressing.as_ref().filter(|c| c.reason == "ProgressDeadlineExceeded");
    if !is_replaced(workload) {
        return match exceeded {
            Some(condition) => Stage::Stalled { reason: condition.message.clone() },
            None => Stage::InProgress { updated: workload.updated, of: must_be_updated(workload) },
        };
    }
    if workload.available < workload.wanted {
        // A rollout that was complete once stays so when pods fail later; one that never was is under way.
        let first_time =
            workload.progressing.as_ref().is_some_and(|c| c.holds && c.reason != HAS_BEEN_COMPLETE);
        if first_time {
            return Stage::InProgress { updated: workload.updated, of: workload.wanted };
        }
        return Stage::Unavailable { available: workload.available, of: workload.wanted };
    }
    Stage::Complete
}

/// How many pods a rolling update brings to the newest revision.
fn must_be_updated(workload: &Workload) -> i32 {
    match workload.strategy {
        Strategy::RollingUpdate { partition, .. } => (workload.wanted - partition).max(0),
        Strategy::Recreate => workload.wanted,
        Strategy::OnDelete => 0,
    }
}

/// Whether every pod that should be replaced is, by the controller's own counts.
fn is_replaced(workload: &Workload) -> bool {
    if workload.updated < must_be_updated(workload) {
        return false;
    }
    match (workload.kind, workload.strategy) {
        (Kind::Deployment, _) => workload.total <= workload.updated,
        (Kind::StatefulSet, Strategy::RollingUpdate { partition: 0, .. }) => {
            workload.revision == workload.previous_revision
        }
        _ => true,
    }
}

/// The two annotations of the pod template by which a restart is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// The value of the annotation `kubectl.kubernetes.io/restartedAt`.
    pub restarted_at: Option<String>,
    /// The value of the annotation `astradesk.dev/run`.
    pub run: Option<String>,
}

impl Marks {
    /// Those of a workload's template.
    pub fn of(template_annotations: &BTreeMap<String, String>) -> Self {
        let value = |name| template_annotations.get(name).cloned();
        Self { restarted_at: value(RESTARTED_AT), run: value(RUN) }
    }
}

/// A restart that happened, or the undo of one: what identifies it, and what it needs to be verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The target, as text.
    pub target: String,
    /// The id of the object that was changed.
    pub uid: String,
    /// The object's generation after the change.
    pub generation: i64,
    /// The value of the annotation `kubectl.kubernetes.io/restartedAt`; empty when an undo took it away.
    pub restarted_at: String,
    /// The value of the annotation `astradesk.dev/run`; empty when an undo took it away.
    pub run: String,
    /// The revision before, if it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_revision: Option<String>,
    /// The digest of the pod template after the change.
    pub template: Digest,
    /// What the template's annotations were before, for an undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Marks>,
    /// The value of the object's own annotation `astradesk.dev/undo`, in the receipt of an undo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// When an undo was performed: the annotation that it puts back is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_at: Option<Timestamp>,
}

impl Receipt {
    /// When the change was, if that is known.
    pub fn at(&self) -> Option<Timestamp> {
        self.undone_at.or_else(|| self.restarted_at.parse().ok())
    }
}

/// What became of one restart so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// What was seen is older than the change.
    NotSeen,
    /// The object, or the one that was changed, is not there.
    Gone,
    /// Another change took its place.
    Superseded {
        /// By whom, or by what.
        by: String,
    },
    /// The controller gave up waiting for progress.
    DeadlineExceeded,
    /// It goes on.
    Going,
    /// Every pod is new and available, and no old one is left.
    Complete,
}

/// What became of the restart with this receipt.
pub fn verdict(receipt: &Receipt, workload: Option<&Workload>, family: &Family) -> Verdict {
    let Some(workload) = workload.filter(|workload| workload.uid == receipt.uid) else {
        return Verdict::Gone;
    };
    if workload.generation < receipt.generation {
        return Verdict::NotSeen;
    }
    if workload.deleting {
        return Verdict::Gone;
    }
    if let Some(by) = superseded_by(receipt, workload) {
        return Verdict::Superseded { by };
    }
    match stage(workload) {
        Stage::Stalled { .. } => return Verdict::DeadlineExceeded,
        Stage::Unavailable { .. } if deadline_exceeded(workload) => return Verdict::DeadlineExceeded,
        Stage::Complete => {}
        Stage::Unobserved | Stage::Paused | Stage::InProgress { .. } | Stage::Unavailable { .. } => {
            return Verdict::Going;
        }
    }
    // The counts and the pods come by different watches: success needs both. A pod cache that lags shows old
    // pods that are gone, or lacks new ones; either way this waits.
    let counts = Counts::of(workload, family);
    if counts.old == 0 && counts.new_ready >= workload.wanted { Verdict::Complete } else { Verdict::Going }
}

fn deadline_exceeded(workload: &Workload) -> bool {
    workload.progressing.as_ref().is_some_and(|c| c.reason == "ProgressDeadlineExceeded")
}

/// Who took the place of a restart, if somebody did.
///
/// kubectl's restart leaves our annotation where it is and changes only the time; an apply may change
/// anything but both. The digest of the template finds every case, the annotations say which it is. (They are
/// compared for themselves, too: a receipt that was made after a crash may have the digest of a later template.)
fn superseded_by(receipt: &Receipt, workload: &Workload) -> Option<String> {
    let at = workload.restarted_at().unwrap_or_default();
    if workload.template == receipt.template && at == receipt.restarted_at {
        return None;
    }
    let who = changed_by(workload);
    Some(match (workload.run(), workload.restarted_at()) {
        (Some(run), _) if run != receipt.run => format!("a restart of run `{}`{who}", safe(run)),
        (None, _) if !receipt.run.is_empty() => format!("a change{who} that removed `{RUN}`"),
        (_, Some(at)) if at != receipt.restarted_at => format!("a restart at {}{who}", safe(at)),
        (_, None) if !receipt.restarted_at.is_empty() => {
            format!("a change{who} that removed `{RESTARTED_AT}`")
        }
        _ => format!("another change of the pod template{who}"),
    })
}

/// Who changed the pod template last, as the end of a sentence.
pub(crate) fn changed_by(workload: &Workload) -> String {
    workload.changed_by.as_ref().map_or_else(String::new, |change| {
        let at = change.at.map(|at| format!(" at {at}")).unwrap_or_default();
        format!(" by field manager `{}`{at}", change.manager)
    })
}

fn safe(text: &str) -> String {
    super::redact::line(text, 80)
}

/// The pods of a workload, counted one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// New pods that are not being deleted.
    pub new: i32,
    /// Those of them that are ready.
    pub new_ready: i32,
    /// Pods of older revisions, and any that are being deleted.
    pub old: i32,
}

impl Counts {
    /// Counts.
    pub fn of(workload: &Workload, family: &Family) -> Self {
        let mut counts = Self::default();
        for pod in family.pods.iter().filter(|pod| pod.is_live()) {
            if pod.terminating || !family.is_new(workload, pod) {
                counts.old += 1;
            } else {
                counts.new += 1;
                counts.new_ready += i32::from(pod.ready);
            }
        }
        counts
    }
}

/// How a restart goes: a sentence and the same as facts. Equal progress is reported once.
pub fn progress(workload: &Workload, family: &Family) -> (String, Value) {
    let counts = Counts::of(workload, family);
    let message = format!(
        "{} of {} pods updated, {} ready, {} old left",
        counts.new, workload.wanted, counts.new_ready, counts.old
    );
    let pods: Vec<Value> = family
        .pods
        .iter()
        .filter(|pod| pod.is_live())
        .take(100)
        .map(|pod| {
            json!({
                "name": pod.name,
                "phase": phase(pod),
                "ready": pod.ready,
                "new": !pod.terminating && family.is_new(workload, pod),
            })
        })
        .collect();
    let facts = json!({
        "updated": counts.new,
        "ready": counts.new_ready,
        "available": workload.available,
        "old": counts.old,
        "wanted": workload.wanted,
        "pods": pods,
    });
    (message, facts)
}

/// The word that `kubectl get pods` would show for a pod.
pub fn phase(pod: &PodView) -> String {
    if pod.terminating {
        return "Terminating".to_owned();
    }
    let waiting = pod.containers.iter().find_map(|c| c.waiting.clone());
    let ended = || {
        pod.containers
            .iter()
            .filter(|c| !c.running && !c.init)
            .find_map(|c| c.ended.as_ref().map(|e| e.reason.clone()).filter(|reason| !reason.is_empty()))
    };
    waiting.or_else(|| pod.reason.clone()).or_else(ended).unwrap_or_else(|| pod.phase.clone())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::kubernetes::workload::{Change, Condition, Replicas};
    use std::sync::Arc;

    pub(crate) struct Shape {
        pub(crate) kind: Kind,
        pub(crate) generation: i64,
    }

    impl Default for Shape {
        fn default() -> Self {
            Self { kind: Kind::Deployment, generation: 7 }
        }
    }

    /// Three replicas, all of them new and available.
    pub(crate) fn workload(shape: &Shape) -> Workload {
        Workload {
            kind: shape.kind,
            namespace: "default".into(),
            name: "webapp".into(),
            uid: "uid".into(),
            resource_version: "100".into(),
            generation: shape.generation,
            observed_generation: shape.generation,
            created: None,
            deleting: false,
            wanted: 3,
            total: 3,
            updated: 3,
            ready: 3,
            available: 3,
            paused: false,
            strategy: Strategy::RollingUpdate { max_unavailable: 0, max_surge: 1, partition: 0 },
            revision: Some("b".into()),
            previous_revision: Some("b".into()),
            progressing: Some(Condition {
                holds: true,
                reason: HAS_BEEN_COMPLETE.into(),
                message: String::new(),
            }),
            replica_failure: None,
            images: vec!["webapp:1".into()],
            template: Digest::of("new"),
            rest: Digest::of("rest"),
            selector: "app=webapp".into(),
            undo: None,
            own_run: None,
            template_annotations: BTreeMap::from([
                (RUN.to_owned(), "run-1/0".to_owned()),
                (RESTARTED_AT.to_owned(), "2026-01-01T00:00:00Z".to_owned()),
            ]),
            template_generation: None,
            changed_by: Some(Change { manager: "astradesk".into(), at: None }),
            restarted_by: Some(Change { manager: "astradesk".into(), at: None }),
            gitops: None,
        }
    }

    pub(crate) fn pod(name: &str, owner: &str, ready: bool) -> PodView {
        PodView {
            uid: format!("uid-{name}"),
            name: name.into(),
            owner: owner.into(),
            phase: "Running".into(),
            terminating: false,
            ready,
            ready_since: None,
            reason: None,
            unschedulable: None,
            node: Some("node-1".into()),
            revision: Some(if owner == "new-rs" { "b" } else { "a" }.into()),
            template_generation: None,
            annotations: BTreeMap::new(),
            containers: Vec::new(),
        }
    }

    pub(crate) fn family(pods: Vec<PodView>) -> Family {
        let replica_set = |uid: &str, template: &str| {
            Arc::new(Replicas { uid: uid.into(), owner: "uid".into(), template: Digest::of(template) })
        };
        Family {
            replica_sets: vec![replica_set("new-rs", "new"), replica_set("old-rs", "old")],
            pods: pods.into_iter().map(Arc::new).collect(),
            warnings: Vec::new(),
            revisions: Vec::new(),
        }
    }

    fn three_new() -> Vec<PodView> {
        (0..3).map(|i| pod(&format!("n{i}"), "new-rs", true)).collect()
    }

    pub(crate) fn receipt() -> Receipt {
        let workload = workload(&Shape::default());
        Receipt {
            target: "t".into(),
            uid: workload.uid.clone(),
            generation: workload.generation,
            restarted_at: workload.restarted_at().unwrap().to_owned(),
            run: workload.run().unwrap().to_owned(),
            previous_revision: None,
            template: workload.template,
            before: Some(Marks::default()),
            undo: None,
            undone_at: None,
        }
    }

    fn exceeded() -> Condition {
        let reason = "ProgressDeadlineExceeded".into();
        Condition { holds: false, reason, message: "timed out progressing".into() }
    }

    type Edit = fn(&mut Workload);

    #[test]
    fn a_stage_follows_the_rules_of_kubectl() {
        let cases: Vec<(&str, Kind, Edit, &str)> = vec![
            ("complete", Kind::Deployment, |_| {}, "complete"),
            ("generation", Kind::Deployment, |w| w.generation += 1, "unobserved"),
            ("paused", Kind::Deployment, |w| w.paused = true, "paused"),
            ("fewer updated", Kind::Deployment, |w| w.updated = 1, "in_progress"),
            ("old left", Kind::Deployment, |w| w.total = 4, "in_progress"),
            ("not available", Kind::Deployment, |w| w.available = 2, "unavailable"),
            (
                "never was available",
                Kind::Deployment,
                |w| {
                    w.available = 2;
                    w.progressing.as_mut().unwrap().reason = "ReplicaSetUpdated".into();
                },
                "in_progress",
            ),
            (
                "stalled",
                Kind::Deployment,
                |w| {
                    w.updated = 1;
                    w.progressing = Some(exceeded());
                },
                "stalled",
            ),
            ("stateful", Kind::StatefulSet, |_| {}, "complete"),
            (
                "stateful half way",
                Kind::StatefulSet,
                |w| w.previous_revision = Some("a".into()),
                "in_progress",
            ),
            ("daemon", Kind::DaemonSet, |_| {}, "complete"),
            ("daemon half way", Kind::DaemonSet, |w| w.updated = 2, "in_progress"),
            ("daemon sick", Kind::DaemonSet, |w| w.available = 2, "unavailable"),
        ];
        for (name, kind, edit, expected) in cases {
            let mut subject = workload(&Shape { kind, ..Shape::default() });
            edit(&mut subject);
            assert_eq!(stage(&subject).name(), expected, "{name}");
        }
    }

    #[test]
    fn success_needs_this_generation_the_counts_and_the_pods() {
        let good = workload(&Shape::default());
        let verdict_of = |w: &Workload, pods: Vec<PodView>| verdict(&receipt(), Some(w), &family(pods));
        assert_eq!(verdict_of(&good, three_new()), Verdict::Complete);

        let mut terminating = three_new();
        terminating.push(PodView { terminating: true, ..pod("o0", "old-rs", true) });
        assert_eq!(verdict_of(&good, terminating), Verdict::Going, "an old pod still stops");

        let mut evicted = three_new();
        evicted.push(PodView { phase: "Failed".into(), ..pod("o0", "old-rs", false) });
        assert_eq!(verdict_of(&good, evicted), Verdict::Complete, "an evicted pod's remains do not count");

        let mut unready = three_new();
        unready[0].ready = false;
        assert_eq!(verdict_of(&good, unready), Verdict::Going);
        assert_eq!(verdict_of(&good, three_new()[..2].to_vec()), Verdict::Going, "the pod watch lags");

        let stale = Workload { generation: 6, template: Digest::of("old"), ..good.clone() };
        assert_eq!(verdict_of(&stale, three_new()), Verdict::NotSeen);
        let unobserved = Workload { observed_generation: 6, ..good.clone() };
        assert_eq!(verdict_of(&unobserved, three_new()), Verdict::Going);
        let other = Workload { uid: "other".into(), ..good.clone() };
        assert_eq!(verdict_of(&other, three_new()), Verdict::Gone);
        assert_eq!(verdict(&receipt(), None, &family(Vec::new())), Verdict::Gone);
        let exceeded = Workload { updated: 1, progressing: Some(exceeded()), ..good };
        assert_eq!(verdict_of(&exceeded, three_new()), Verdict::DeadlineExceeded);
    }

    #[test]
    fn whoever_supersedes_a_restart_is_named() {
        let replaced = |edit: fn(&mut Workload)| {
            let mut other = workload(&Shape::default());
            other.generation += 1;
            other.template = Digest::of("other");
            other.changed_by = Some(Change { manager: "kubectl".into(), at: None });
            edit(&mut other);
            match verdict(&receipt(), Some(&other), &family(three_new())) {
                Verdict::Superseded { by } => by,
                verdict => panic!("{verdict:?}"),
            }
        };
        assert_eq!(
            replaced(|w| {
                w.template_annotations.insert(RUN.into(), "run-2/0".into());
            }),
            "a restart of run `run-2/0` by field manager `kubectl`"
        );
        assert_eq!(
            replaced(|w| {
                w.template_annotations.insert(RESTARTED_AT.into(), "2026-01-01T00:00:09Z".into());
            }),
            "a restart at 2026-01-01T00:00:09Z by field manager `kubectl`"
        );
        assert_eq!(replaced(|_| {}), "another change of the pod template by field manager `kubectl`");
        assert_eq!(
            replaced(|w| w.template_annotations.clear()),
            "a change by field manager `kubectl` that removed `astradesk.dev/run`"
        );
    }

    #[test]
    fn scaling_during_a_restart_does_not_supersede_it() {
        let mut scaled = workload(&Shape::default());
        scaled.generation += 1;
        scaled.observed_generation += 1;
        (scaled.wanted, scaled.total, scaled.updated, scaled.available) = (2, 2, 2, 2);
        let pods = three_new()[..2].to_vec();
        assert_eq!(verdict(&receipt(), Some(&scaled), &family(pods)), Verdict::Complete);
    }

    #[test]
    fn progress_is_counted_from_the_pods() {
        let mut pods = three_new()[..2].to_vec();
        pods[1].ready = false;
        pods.push(pod("o0", "old-rs", true));
        let (message, facts) = progress(&workload(&Shape::default()), &family(pods));
        assert_eq!(message, "2 of 3 pods updated, 1 ready, 1 old left");
        assert_eq!(facts["pods"][2], json!({"name": "o0", "phase": "Running", "ready": true, "new": false}));
    }
}
