//! Waits until a workload has every pod that it wants again, after one of them was taken away.

use super::cluster::Cluster;
use super::diagnosis::{self, Blame};
use super::once::LAST_LOOK;
use super::restart::{END, LAG, late as late_blame, suspect};
use super::scope::PATIENCE;
use super::workload::{Family, Workload};
use astradesk_core::name::{Namespace, ObjectName};
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error, Timestamp};
use astradesk_runtime::port::{Fault, Progress};
use futures::future::join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::{Instant, sleep, sleep_until};

/// Of how many sick pods, logs and warnings an error tells.
const TOLD: (usize, usize, usize) = (10, 3, 5);

/// A workload that is waited for.
pub(crate) struct Wait<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) namespace: &'a Namespace,
    pub(crate) kind: Kind,
    pub(crate) name: &'a ObjectName,
    /// The id of the pod that was taken away.
    pub(crate) without: &'a str,
    /// What was done, as the beginning of a sentence: ``pod `webapp-1` was evicted``.
    pub(crate) done: String,
    /// When.
    pub(crate) since: Timestamp,
    pub(crate) deadline: Instant,
    pub(crate) progress: &'a Progress,
}

/// Whether every wanted pod is there and available, and the one that was taken away is not.
fn is_whole(without: &str, workload: &Workload, family: &Family) -> bool {
    let wanted = usize::try_from(workload.wanted).unwrap_or(0);
    let ready = family.pods.iter().filter(|pod| pod.ready && !pod.terminating).count();
    family.pods.iter().all(|pod| pod.uid != without)
        && workload.observed_generation >= workload.generation
        && workload.available >= workload.wanted
        && ready >= wanted
}

impl Wait<'_> {
    /// Waits until it is whole, or is known not to become so. Gives the names of its pods.
    pub(crate) async fn until_whole(&self) -> Result<Vec<String>, Fault> {
        let scope = self.cluster.scope(self.namespace);
        let mut changes = scope.follow(self.kind, self.name.as_str());
        let (mut suspicion, mut told): (Option<(Blame, Instant)>, Option<String>) = (None, None);
        loop {
            changes.mark_unchanged();
            let left = self.deadline.saturating_duration_since(Instant::now());
            if let Err(error) = scope.ready(PATIENCE.min(left.max(LAST_LOOK))).await {
                if Instant::now() >= self.deadline {
                    return Err(self.unwatched(&error));
                }
                sleep(LAG.min(left)).await;
                continue;
            }
            let late = Instant::now() >= self.deadline;
            if late {
                // A watch may have died without a word, so what is claimed now is read now.
                scope.renewed(END).await.map_err(|error| self.unwatched(&error))?;
            }
            let Some((workload, family)) = scope.family(self.kind, self.name.as_str()) else {
                return Err(self.deleted());
            };
            if is_whole(self.without, &workload, &family) {
                return Ok(family.pods.iter().take(100).map(|pod| pod.name.clone()).collect());
            }
            let blame = diagnosis::blame(&workload, &family, Some(self.since));
            if late {
                let blame = late_blame(&workload, &family, blame);
                return Err(self.failed(&blame, &workload, &family).await);
            }
            self.tell(&workload, &mut told);
            suspicion = suspect(suspicion, blame);
            let wake = match &suspicion {
                Some((blame, since)) if Instant::now() >= *since => {
                    return Err(self.failed(blame, &workload, &family).await);
                }
                Some((_, since)) => *since,
                None => self.deadline,
            };
            tokio::select! {
                () = changes.changed() => {}
                () = sleep_until(wake.min(self.deadline)) => {}
            }
        }
    }

    fn what(&self) -> String {
        format!("{}/{} in namespace `{}`", self.kind, self.name, self.namespace)
    }

    /// Reports progress when there is some.
    fn tell(&self, workload: &Workload, told: &mut Option<String>) {
        let message = format!("{} of {} pods available", workload.available, workload.wanted);
        if told.as_ref() != Some(&message) {
            let facts = json!({"available": workload.available, "wanted": workload.wanted});
            self.progress.report(message.clone(), facts);
            *told = Some(message);
        }
    }

    async fn failed(&self, blame: &Blame, workload: &Workload, family: &Family) -> Fault {
        let sick = diagnosis::sick_pods(workload, family, false);
        let logs = sick.iter().take(TOLD.1).map(|sick| self.cluster.log(self.namespace.as_str(), sick));
        let logs: Vec<Arc<Vec<String>>> = join_all(logs).await;
        let log = |index: usize| logs.get(index).map_or(&[][..], |log| log.as_slice());
        let pods: Vec<Value> =
            sick.iter().take(TOLD.0).enumerate().map(|(index, sick)| sick.to_json(log(index))).collect();
        let message = format!("{}, but {} is not whole again: {}", self.done, self.what(), blame.sentence);
        Fault::Failed(
            Error::new(blame.code.unwrap_or(Code::RolloutTimedOut), message)
                .with_remedy("look at its pods: what was taken away does not come back by itself")
                .with_detail("pods", pods)
                .with_detail("warnings", diagnosis::aggregate(&family.warnings, TOLD.2)),
        )
    }

    fn deleted(&self) -> Fault {
        let message = format!("{}, and {} was deleted before it was whole again", self.done, self.what());
        Fault::Failed(Error::new(Code::RolloutWorkloadDeleted, message))
    }

    fn unwatched(&self, error: &Error) -> Fault {
        let Self { namespace, kind, name, .. } = self;
        let message = format!(
            "{}, but what became of {} could not be watched: {}",
            self.done,
            self.what(),
            error.message
        );
        let error = Error::new(Code::RunOutcomeUnknown, message)
            .with_remedy(format!(
                "see `kubectl -n {namespace} get {kind}/{name}` when the cluster answers again"
            ))
            .with_detail("seen", error.code.as_str());
        Fault::Unknown(error)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rollout::tests::{Shape, family, pod, workload};
    use super::*;

    type Edit = fn(&mut Workload);

    #[test]
    fn it_is_whole_with_every_pod_but_the_one_that_was_taken_away() {
        let subject = workload(&Shape::default());
        let pods = |ready: &[bool]| {
            family(
                ready.iter().enumerate().map(|(i, ready)| pod(&format!("n{i}"), "new-rs", *ready)).collect(),
            )
        };
        let cases: Vec<(&str, &str, Edit, Family, bool)> = vec![
            ("as it should be", "uid-old", |_| {}, pods(&[true; 3]), true),
            ("one too many", "uid-old", |_| {}, pods(&[true; 4]), true),
            ("the old one is there still", "uid-n0", |_| {}, pods(&[true; 4]), false),
            ("one is missing", "uid-old", |_| {}, pods(&[true; 2]), false),
            ("one is not ready", "uid-old", |_| {}, pods(&[true, true, false]), false),
            ("not counted yet", "uid-old", |w| w.available = 2, pods(&[true; 3]), false),
            ("not observed", "uid-old", |w| w.generation += 1, pods(&[true; 3]), false),
            ("none is wanted", "uid-old", |w| w.wanted = 0, pods(&[]), true),
        ];
        for (name, without, edit, family, expected) in cases {
            let mut now = subject.clone();
            edit(&mut now);
            assert_eq!(is_whole(without, &now, &family), expected, "{name}");
        }
    }
}
