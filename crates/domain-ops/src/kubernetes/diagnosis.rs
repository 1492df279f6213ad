//! Why pods are not well, and what that means for a rollout. Pure.

use super::rollout::phase;
use super::workload::{Container, Family, PodView, Warning, Workload};
use astradesk_core::{Code, Timestamp};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Restarts after which a container that waits in `CrashLoopBackOff` is taken for lost: the kubelet has
/// started it three times by then, over about half a minute.
pub const CERTAIN_RESTARTS: i32 = 2;

/// Why a pod is not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Its image cannot be pulled.
    ImagePull,
    /// It crashes again and again.
    CrashLoop,
    /// It finds no node.
    Unschedulable,
    /// A container cannot be started: a missing `ConfigMap` or `Secret`, a bad command, …
    CannotStart,
    /// It runs, and is not ready.
    NotReady,
}

impl Cause {
    /// The cause as outputs show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ImagePull => "image_pull",
            Self::CrashLoop => "crash_loop",
            Self::Unschedulable => "unschedulable",
            Self::CannotStart => "cannot_start",
            Self::NotReady => "not_ready",
        }
    }

    /// The code of a rollout that fails for it.
    pub const fn code(self) -> Code {
        match self {
            Self::ImagePull => Code::RolloutImagePull,
            Self::CrashLoop => Code::RolloutCrashLoop,
            Self::Unschedulable => Code::RolloutUnschedulable,
            Self::CannotStart | Self::NotReady => Code::RolloutNotReady,
        }
    }
}

/// A pod that is not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sick {
    /// Its id.
    pub uid: String,
    /// Its name.
    pub pod: String,
    /// Its node.
    pub node: Option<String>,
    /// Why.
    pub cause: Cause,
    /// Why, as a clause that follows the pod's name.
    pub clause: String,
    /// The container that it is about.
    pub container: Option<String>,
    /// How that container ended last.
    pub exit_code: Option<i32>,
    /// How often its containers were started again.
    pub restarts: i32,
    /// The restarts of that container alone; with its name, this names one log.
    pub container_restarts: i32,
    /// Whether waiting for it to get well is in vain (see [`CERTAIN_RESTARTS`]).
    pub certain: bool,
    /// The word that kubectl would show.
    pub phase: String,
}

impl Sick {
    /// The pod as outputs show it.
    pub fn to_json(&self, log: &[String]) -> Value {
        let mut out = Map::new();
        out.insert("name".into(), self.pod.clone().into());
        out.insert("cause".into(), self.cause.as_str().into());
        out.insert("reason".into(), self.phase.clone().into());
        out.insert("message".into(), self.clause.clone().into());
        out.insert("restarts".into(), self.restarts.into());
        if let Some(node) = &self.node {
            out.insert("node".into(), node.clone().into());
        }
        if let Some(container) = &self.container {
            out.insert("container".into(), container.clone().into());
        }
        if let Some(code) = self.exit_code {
            out.insert("exit_code".into(), code.into());
        }
        if !log.is_empty() {
            out.insert("log".into(), json!(log));
        }
        Value::Object(out)
    }
}

/// Why this pod is not well, if it is not. A pod that merely starts is not sick.
pub fn examine(pod: &PodView, warnings: &[std::sync::Arc<Warning>]) -> Option<Sick> {
    if pod.terminating || !pod.is_live() || (pod.ready && pod.containers.iter().all(|c| c.waiting.is_none()))
    {
        return None;
    }
    let sick = |cause, container: Option<&Container>, certain, clause: String| Sick {
        uid: pod.uid.clone(),
        pod: pod.name.clone(),
        node: pod.node.clone(),
        cause,
        clause,
        container: container.map(|c| c.name.clone()),
        exit_code: container.and_then(|c| c.ended.as_ref()).map(|e| e.exit_code),
        restarts: pod.restarts(),
        container_restarts: container.map_or(0, |c| c.restarts),
        certain,
        phase: phase(pod),
    };
    if let Some(why) = &pod.unschedulable {
        return Some(sick(Cause::Unschedulable, None, false, format!("finds no node: {why}")));
    }
    for container in &pod.containers {
        let name = &container.name;
        let said = container.message.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
        match container.waiting.as_deref() {
            Some(reason) if is_image(reason) => {
                let certain = matches!(reason, "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull");
                let clause = format!("cannot pull the image of container `{name}`{said}");
                return Some(sick(Cause::ImagePull, Some(container), certain, clause));
            }
            Some("CrashLoopBackOff") => {
                let certain = container.restarts >= CERTAIN_RESTARTS;
                return Some(sick(Cause::CrashLoop, Some(container), certain, crash(container)));
            }
            Some("ContainerCreating" | "PodInitializing") | None => {}
            Some(reason) => {
                let clause = format!("cannot start container `{name}` ({reason}){said}");
                return Some(sick(Cause::CannotStart, Some(container), false, clause));
            }
        }
    }
    let crashed = |c: &&Container| c.ended.as_ref().is_some_and(|e| e.exit_code != 0) && !c.ready;
    if let Some(container) = pod.containers.iter().find(crashed) {
        return Some(sick(Cause::CrashLoop, Some(container), false, crash(container)));
    }
    let container = pod.containers.iter().find(|c| c.running && !c.ready && !c.init)?;
    let probe = warnings
        .iter()
        .find(|w| w.object == pod.uid && w.reason == "Unhealthy")
        .map_or_else(String::new, |w| format!(": {}", w.message));
    let clause = format!("runs, but container `{}` is not ready{probe}", container.name);
    Some(sick(Cause::NotReady, Some(container), false, clause))
}

fn is_image(reason: &str) -> bool {
    matches!(
        reason,
        "ImagePullBackOff"
            | "ErrImagePull"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "RegistryUnavailable"
            | "ImageInspectError"
    )
}

fn crash(container: &Container) -> String {
    let times = match container.restarts {
        0 => "has crashed".to_owned(),
        1 => "crashed and was restarted once".to_owned(),
        n => format!("crashes again and again ({n} restarts)"),
    };
    match &container.ended {
        Some(ended) if !matches!(ended.reason.as_str(), "" | "Error" | "Completed") => {
            format!(
                "{times}: container `{}` ends with exit code {} ({})",
                container.name, ended.exit_code, ended.reason
            )
        }
        Some(ended) => {
            format!("{times}: container `{}` ends with exit code {}", container.name, ended.exit_code)
        }
        None => format!("{times}: container `{}`", container.name),
    }
}

/// Every pod of the family that is not well: new ones first, the gravest cause first.
pub fn sick_pods(workload: &Workload, family: &Family, only_new: bool) -> Vec<Sick> {
    let mut found: Vec<(bool, Sick)> = family
        .pods
        .iter()
        .map(|pod| (!family.is_new(workload, pod), pod))
        .filter(|(old, _)| !(only_new && *old))
        .filter_map(|(old, pod)| examine(pod, &family.warnings).map(|sick| (old, sick)))
        .collect();
    found.sort_by(|(a_old, a), (b_old, b)| (a_old, a.cause, &a.pod).cmp(&(b_old, b.cause, &b.pod)));
    found.into_iter().map(|(_, sick)| sick).collect()
}

/// Why a rollout does not get on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blame {
    /// The code, if the cause has one.
    pub code: Option<Code>,
    /// A sentence.
    pub sentence: String,
    /// How sure it is that waiting is in vain.
    pub certainty: Certainty,
    /// The rest of a command of kubectl that ends it, if there is one.
    pub remedy: Option<String>,
}

/// How sure it is that waiting is in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// It is.
    Now,
    /// It is once the finding has lasted for some seconds.
    IfItLasts,
    /// It may yet get well: a node may be added, a dependency may come up.
    No,
}

/// What keeps the rollout that began at `since` from getting on, by its new pods and the controller's words.
pub fn blame(workload: &Workload, family: &Family, since: Option<Timestamp>) -> Option<Blame> {
    let sick = sick_pods(workload, family, true);
    let pod = |sick: &Sick| Blame {
        code: Some(sick.cause.code()),
        sentence: format!("pod `{}` {}", sick.pod, sick.clause),
        certainty: if sick.certain { Certainty::Now } else { Certainty::No },
        remedy: None,
    };
    if let Some(certain) = sick.iter().find(|sick| sick.certain) {
        return Some(pod(certain));
    }
    if let Some(refused) = refused_creation(workload, family, since) {
        let quota = refused.contains("exceeded quota");
        let (code, certainty) = if quota {
            (Some(Code::RolloutQuotaExceeded), Certainty::IfItLasts)
        } else {
            (None, Certainty::No)
        };
        let sentence = format!("new pods may not be created: {refused}");
        return Some(Blame { code, sentence, certainty, remedy: None });
    }
    sick.first().map(pod)
}

/// The pod of an older template for which a StatefulSet's controller waits before it replaces it.
pub fn in_the_way(workload: &Workload, family: &Family) -> Option<Blame> {
    let is_old =
        |sick: &Sick| family.pods.iter().any(|pod| pod.uid == sick.uid && !family.is_new(workload, pod));
    let sick = sick_pods(workload, family, false).into_iter().find(is_old)?;
    // Between two crashes it runs for a moment, which is no hope.
    let lost = sick.certain || sick.restarts >= CERTAIN_RESTARTS;
    Some(Blame {
        code: Some(sick.cause.code()),
        sentence: format!(
            "its controller waits for pod `{}` of the failed restart before it goes on, and that one {}",
            sick.pod, sick.clause
        ),
        certainty: if lost { Certainty::IfItLasts } else { Certainty::No },
        remedy: Some(format!("delete pod {}", sick.pod)),
    })
}

/// Why the controller cannot create pods, in the API server's words.
fn refused_creation(workload: &Workload, family: &Family, since: Option<Timestamp>) -> Option<String> {
    if let Some(condition) = workload.replica_failure.as_ref().filter(|c| c.holds) {
        return Some(condition.message.clone());
    }
    let wanted_more =
        family.pods.iter().filter(|p| p.is_live()).count() < usize::try_from(workload.wanted).ok()?;
    family
        .warnings
        .iter()
        .filter(|w| wanted_more && w.reason == "FailedCreate")
        .find(|w| w.last_seen.is_none_or(|seen| since.is_none_or(|since| seen >= since)))
        .map(|w| w.message.clone())
}

/// At most `limit` warnings, those of the same reason and message counted together, newest first.
pub fn aggregate(warnings: &[std::sync::Arc<Warning>], limit: usize) -> Vec<Value> {
    groups(warnings).into_iter().take(limit).map(Group::into_json).collect()
}

/// Events of one kind, those of the same reason and message together, newest first.
pub(crate) fn groups(warnings: &[std::sync::Arc<Warning>]) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<(&str, &str), Group<'_>> = BTreeMap::new();
    for warning in warnings {
        groups
            .entry((&warning.reason, &warning.message))
            .and_modify(|group| {
                group.count = group.count.saturating_add(warning.count);
                group.others += usize::from(group.first.about != warning.about);
                group.since = group.since.min(warning.first_seen);
                if warning.last_seen > group.first.last_seen {
                    group.first = warning;
                }
            })
            .or_insert(Group { first: warning, count: warning.count, others: 0, since: warning.first_seen });
    }
    let mut groups: Vec<Group<'_>> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.last_seen()));
    groups
}

/// Events that say the same.
pub(crate) struct Group<'a> {
    first: &'a Warning,
    count: i32,
    others: usize,
    since: Option<Timestamp>,
}

impl Group<'_> {
    pub(crate) fn last_seen(&self) -> Option<Timestamp> {
        self.first.last_seen
    }

    pub(crate) fn into_json(self) -> Value {
        json!({
            "reason": self.first.reason,
            "message": self.first.message,
            "object": self.first.about,
            "other_objects": self.others,
            "count": self.count,
            "first_seen": self.since.map(|at| at.to_string()),
            "last_seen": self.first.last_seen.map(|at| at.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::rollout::tests::{Shape, family, pod, workload};
    use super::super::workload::{Condition, Ended};
    use super::*;
    use std::sync::Arc;

    fn container(waiting: Option<&str>, restarts: i32, exit: Option<(i32, &str)>) -> Container {
        Container {
            name: "app".into(),
            init: false,
            ready: false,
            restarts,
            waiting: waiting.map(Into::into),
            message: None,
            ended: exit.map(|(exit_code, reason)| Ended { exit_code, reason: reason.into() }),
            running: waiting.is_none() && exit.is_none(),
        }
    }

    fn with(container: Container) -> PodView {
        PodView { containers: vec![container], ..pod("n0", "new-rs", false) }
    }

    #[test]
    fn each_illness_is_told_apart() {
        let no_node = PodView { unschedulable: Some("0/3 nodes".into()), ..pod("n0", "new-rs", false) };
        for (subject, expected) in [
            (pod("n0", "new-rs", true), None),
            (with(container(Some("ContainerCreating"), 0, None)), None),
            (with(container(Some("ErrImagePull"), 0, None)), Some((Cause::ImagePull, false, None))),
            (with(container(Some("ImagePullBackOff"), 0, None)), Some((Cause::ImagePull, true, None))),
            (
                with(container(Some("CrashLoopBackOff"), 1, Some((1, "Error")))),
                Some((Cause::CrashLoop, false, Some(1))),
            ),
            (
                with(container(Some("CrashLoopBackOff"), 2, Some((137, "OOMKilled")))),
                Some((Cause::CrashLoop, true, Some(137))),
            ),
            (with(container(None, 3, Some((2, "Error")))), Some((Cause::CrashLoop, false, Some(2)))),
            (
                with(container(Some("CreateContainerConfigError"), 0, None)),
                Some((Cause::CannotStart, false, None)),
            ),
            (with(container(None, 0, None)), Some((Cause::NotReady, false, None))),
            (no_node, Some((Cause::Unschedulable, false, None))),
            (PodView { terminating: true, ..with(container(None, 0, None)) }, None),
        ] {
            let got = examine(&subject, &[]).map(|s| (s.cause, s.certain, s.exit_code));
            assert_eq!(got, expected, "{subject:?}");
        }
        let oom =
            examine(&with(container(Some("CrashLoopBackOff"), 2, Some((137, "OOMKilled")))), &[]).unwrap();
        assert_eq!(
            oom.clause,
            "crashes again and again (2 restarts): container `app` ends with exit code 137 (OOMKilled)"
        );
    }

    #[test]
    fn a_failing_probe_is_quoted_from_its_event() {
        let warning = Warning {
            name: "e".into(),
            object: "uid-n0".into(),
            about: "pod/n0".into(),
            reason: "Unhealthy".into(),
            message: "Readiness probe failed: HTTP probe failed with statuscode: 503".into(),
            count: 4,
            first_seen: None,
            last_seen: None,
        };
        let sick = examine(&with(container(None, 0, None)), &[Arc::new(warning)]).unwrap();
        assert!(
            sick.clause
                .ends_with("not ready: Readiness probe failed: HTTP probe failed with statuscode: 503")
        );
    }

    #[test]
    fn only_new_pods_are_blamed_and_certainty_goes_first() {
        let subject = workload(&Shape::default());
        let old = PodView { owner: "old-rs".into(), ..with(container(Some("ImagePullBackOff"), 0, None)) };
        assert_eq!(blame(&subject, &family(vec![old]), None), None);

        let waiting = PodView { unschedulable: Some("0/3".into()), ..pod("n0", "new-rs", false) };
        let crashing =
            PodView { name: "n1".into(), ..with(container(Some("CrashLoopBackOff"), 2, Some((1, "Error")))) };
        let found = blame(&subject, &family(vec![waiting.clone(), crashing]), None).unwrap();
        assert_eq!((found.code, found.certainty), (Some(Code::RolloutCrashLoop), Certainty::Now));
        let found = blame(&subject, &family(vec![waiting]), None).unwrap();
        assert_eq!((found.code, found.certainty), (Some(Code::RolloutUnschedulable), Certainty::No));
    }

    #[test]
    fn a_quota_is_blamed_by_the_condition_or_by_a_recent_event() {
        let mut subject = workload(&Shape::default());
        let message = "pods \"x\" is forbidden: exceeded quota: small";
        subject.replica_failure =
            Some(Condition { holds: true, reason: "FailedCreate".into(), message: message.into() });
        let found = blame(&subject, &family(Vec::new()), None).unwrap();
        assert_eq!((found.code, found.certainty), (Some(Code::RolloutQuotaExceeded), Certainty::IfItLasts));

        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let event = |last_seen| {
            Arc::new(Warning {
                name: "e".into(),
                object: "uid".into(),
                about: "statefulset/webapp".into(),
                reason: "FailedCreate".into(),
                message: message.into(),
                count: 1,
                first_seen: None,
                last_seen,
            })
        };
        subject.replica_failure = None;
        let since = at("2026-01-01T00:00:10Z");
        for (seen, expected) in [("2026-01-01T00:00:09Z", false), ("2026-01-01T00:00:10Z", true)] {
            let family = Family { warnings: vec![event(at(seen))], ..family(Vec::new()) };
            assert_eq!(blame(&subject, &family, since).is_some(), expected, "{seen}");
        }
    }

    #[test]
    fn warnings_that_say_the_same_are_counted_together() {
        let event = |name: &str, count, seen: &str| {
            Arc::new(Warning {
                name: name.into(),
                object: name.into(),
                about: format!("pod/{name}"),
                reason: "BackOff".into(),
                message: "Back-off restarting failed container".into(),
                count,
                first_seen: None,
                last_seen: Some(seen.parse().unwrap()),
            })
        };
        let events = [event("a", 3, "2026-01-01T00:00:01Z"), event("b", 4, "2026-01-01T00:00:02Z")];
        let shown = aggregate(&events, 10);
        assert_eq!(shown.len(), 1);
        assert_eq!((&shown[0]["count"], &shown[0]["object"]), (&json!(7), &json!("pod/b")));
        assert!(aggregate(&events, 0).is_empty());
    }
}
