//! Waits until a workload has every pod that it wants again, after one of them was taken away.

use super::cluster::Cluster;
use super::diagnosis::{self, Blame};
use super::watch::{self, Judge, Judged, Seen, Suspicion, Watch, with_sick};
use super::workload::{Family, Workload};
use astradesk_core::name::{Namespace, ObjectName};
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error, Timestamp};
use astradesk_runtime::port::{Fault, Progress};
use serde_json::json;
use tokio::time::Instant;

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
        let Self { cluster, namespace, kind, name, deadline, .. } = *self;
        let watch = Watch { cluster, namespace, kind, name: name.as_str(), deadline };
        let mut waiting = Waiting { wait: self, told: None, suspicion: Suspicion::default() };
        watch.until_known(&mut waiting).await
    }

    fn what(&self) -> String {
        format!("{}/{} in namespace `{}`", self.kind, self.name, self.namespace)
    }

    async fn failed(&self, blame: &Blame, workload: &Workload, family: &Family) -> Fault {
        let message = format!("{}, but {} is not whole again: {}", self.done, self.what(), blame.sentence);
        let error = Error::new(blame.code.unwrap_or(Code::RolloutTimedOut), message)
            .with_remedy("look at its pods: what was taken away does not come back by itself");
        Fault::Failed(with_sick(error, self.cluster, workload, family, false).await)
    }

    fn deleted(&self) -> Fault {
        let message = format!("{}, and {} was deleted before it was whole again", self.done, self.what());
        Fault::Failed(Error::new(Code::RolloutWorkloadDeleted, message))
    }

    fn blame(&self, workload: &Workload, family: &Family) -> Option<Blame> {
        diagnosis::blame(workload, family, Some(self.since))
    }
}

/// What is known while it is waited for.
struct Waiting<'a> {
    wait: &'a Wait<'a>,
    /// What was reported last.
    told: Option<String>,
    suspicion: Suspicion,
}

impl Judge for Waiting<'_> {
    type Known = Vec<String>;

    async fn judge(&mut self, seen: &Seen) -> Result<Judged<Vec<String>>, Fault> {
        let (wait, family) = (self.wait, &seen.family);
        let Some(workload) = &seen.workload else { return Err(wait.deleted()) };
        if is_whole(wait.without, workload, family) {
            return Ok(Judged::Known(family.pods.iter().take(100).map(|pod| pod.name.clone()).collect()));
        }
        self.tell(workload);
        match self.suspicion.keep(wait.blame(workload, family)) {
            Err(blame) => Err(wait.failed(&blame, workload, family).await),
            Ok(since) => Ok(Judged::Open { wake: since.unwrap_or(wait.deadline) }),
        }
    }

    async fn late(&self, workload: &Workload, family: &Family) -> Fault {
        let blame = self.wait.blame(workload, family);
        self.wait.failed(&watch::late(workload, family, blame), workload, family).await
    }

    fn unwatched(&self, error: &Error) -> Fault {
        let Wait { namespace, kind, name, done, .. } = self.wait;
        let what = format!("{done}, but what became of {}", self.wait.what());
        watch::unwatched(&what, &format!("kubectl -n {namespace} get {kind}/{name}"), error)
    }
}

impl Waiting<'_> {
    /// Reports progress when there is some.
    fn tell(&mut self, workload: &Workload) {
        let message = format!("{} of {} pods available", workload.available, workload.wanted);
        if self.told.as_ref() != Some(&message) {
            let facts = json!({"available": workload.available, "wanted": workload.wanted});
            self.wait.progress.report(message.clone(), facts);
            self.told = Some(message);
        }
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
