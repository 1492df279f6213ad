//! The outcome of a rollout in words, with everything that somebody would look up next.

use super::super::cluster::Cluster;
use super::super::diagnosis::{self, Blame, Certainty};
use super::super::gitops;
use super::super::once;
use super::super::rollout::{self, Receipt};
use super::super::workload::{Family, Workload};
use super::Job;
use astradesk_core::{Code, Error, Timestamp};
use astradesk_runtime::port::Fault;
use futures::future::join_all;
use serde_json::{Value, json};

/// Of how many sick pods, logs and warnings an error tells.
const TOLD: (usize, usize, usize) = (10, 3, 5);

/// A rollout as it is seen at one moment.
pub(super) struct Rollout<'a> {
    pub(super) job: &'a Job,
    pub(super) workload: &'a Workload,
    pub(super) family: &'a Family,
}

impl Rollout<'_> {
    /// The output of a rollout that is complete.
    pub(super) fn success(&self, receipt: &Receipt, now: Timestamp) -> Value {
        let seconds = receipt.at().map(|at| now.duration_since(at).as_secs().max(0));
        let live = self.family.pods.iter().filter(|p| p.is_live());
        let mut output = json!({
            "summary": self.summary(seconds),
            "target": self.job.once.target,
            "replicas": self.workload.wanted,
            "generation": receipt.generation,
            "revision": self.workload.revision,
            "previous_revision": receipt.previous_revision,
            "restarted_at": receipt.restarted_at,
            "run": receipt.run,
            "took_seconds": seconds,
            "pods": live.take(100).map(|p| p.name.clone()).collect::<Vec<_>>(),
            "observed_at": now.to_string(),
        });
        if let (Some(restart), Some(fields)) = (&self.job.undoes, output.as_object_mut()) {
            fields.insert("undo".to_owned(), json!(receipt.undo));
            fields.insert("undid".to_owned(), json!(restart.run));
            fields.insert("restored_revision".to_owned(), json!(restart.previous_revision));
        }
        output
    }

    fn summary(&self, seconds: Option<i64>) -> String {
        // `restartedAt` knows whole seconds only.
        let took = seconds.map(|seconds| format!(" after about {} s", seconds.max(1))).unwrap_or_default();
        let what = self.job.once.what();
        let one = self.workload.wanted == 1;
        let pods =
            if one { "the pod is".to_owned() } else { format!("all {} pods are", self.workload.wanted) };
        match (&self.job.undoes, &self.job.back_to) {
            (None, Some(revision)) => format!(
                "{what} was rolled back to {revision}: {pods} of it and available, and no other one is left{took}"
            ),
            (None, None) => {
                format!("{what} was restarted: {pods} new and available, and no old one is left{took}")
            }
            (Some(restart), _) => format!(
                "{what} was restored to {}: {pods} as before and available, and none of the restart's is left{took}",
                self.revision(restart),
            ),
        }
    }

    /// The revision that an undo has brought back, by its name at that time.
    fn revision(&self, restart: &Receipt) -> String {
        match (&restart.previous_revision, &self.workload.revision) {
            (None, _) => "what it was before its restart".to_owned(),
            (Some(before), Some(now)) if now != before => format!("revision {before} (now {now})"),
            (Some(before), _) => format!("revision {before}"),
        }
    }

    /// A rollout that failed.
    pub(super) async fn failed(&self, cluster: &Cluster, blame: &Blame) -> Fault {
        let Self { job, workload, family } = self;
        let code = blame.code.unwrap_or(Code::RolloutTimedOut);
        // What an undo waits for is a pod of the restart.
        let sick = diagnosis::sick_pods(workload, family, !job.goes_back());
        let logs = sick.iter().take(TOLD.1).map(|sick| cluster.log(job.once.namespace.as_str(), sick));
        let logs = join_all(logs).await;
        let pods: Vec<Value> = sick
            .iter()
            .take(TOLD.0)
            .enumerate()
            .map(|(index, sick)| sick.to_json(logs.get(index).map_or(&[], |log| log.as_slice())))
            .collect();
        let (progress, facts) = rollout::progress(workload, family);
        let mut error = Error::new(code, format!("{} failed: {}", job.doing(), blame.sentence))
            .with_detail("progress", progress)
            .with_detail("rollout", facts)
            .with_detail("pods", pods)
            .with_detail("warnings", diagnosis::aggregate(&family.warnings, TOLD.2));
        if job.goes_back() {
            error = error.with_remedy(self.remedy_of_undo(blame));
        } else {
            let undo =
                format!("kubectl -n {} rollout undo {}/{}", job.once.namespace, job.once.kind, job.once.name);
            if code.remedy().contains("undo the rollout") {
                error = error.with_remedy(format!("{} (`{undo}`)", code.remedy()));
            }
            error = error.with_detail("undo", undo);
        }
        Fault::Failed(error)
    }

    fn remedy_of_undo(&self, blame: &Blame) -> String {
        let once::Job { namespace, kind, name, .. } = &self.job.once;
        match &blame.remedy {
            Some(command) => {
                format!("delete it, and the controller goes on: `kubectl -n {namespace} {command}`")
            }
            None => format!(
                "the pod template is the earlier one; see `kubectl -n {namespace} rollout status {kind}/{name}`, \
                 and look at its pods"
            ),
        }
    }
}

/// What is to blame when the time limit has passed.
pub(crate) fn late(workload: &Workload, family: &Family, blame: Option<Blame>) -> Blame {
    let (progress, _) = rollout::progress(workload, family);
    let paused = workload.paused.then(|| "its rollout was paused".to_owned());
    let stuck = family.pods.iter().find(|p| p.terminating).map(|pod| {
        let node = pod.node.as_deref().map(|node| format!(" on node `{node}`")).unwrap_or_default();
        format!("pod `{}`{node} has not stopped yet", pod.name)
    });
    let code = blame.as_ref().and_then(|b| b.code).unwrap_or(Code::RolloutTimedOut);
    let remedy = blame.as_ref().and_then(|b| b.remedy.clone());
    let sentence = match blame.map(|b| b.sentence).or(paused).or(stuck) {
        Some(sentence) => format!("it was not complete within its time limit ({progress}): {sentence}"),
        None => format!("it was not complete within its time limit ({progress})"),
    };
    Blame { code: Some(code), sentence, certainty: Certainty::Now, remedy }
}

/// Another change took its place.
pub(super) fn superseded(job: &Job, by: &str, workload: Option<&Workload>) -> Fault {
    let gitops = workload.and_then(gitops::suspicion).unwrap_or_default();
    let message = format!("{} was replaced before it was complete: {by}{gitops}", job.doing());
    Fault::Failed(Error::new(Code::RolloutSuperseded, message))
}

/// The workload is not there any more.
pub(super) fn deleted(job: &Job, how: &str) -> Fault {
    let message = format!("{} {how} before {} was complete", job.once.what(), job.doing());
    Fault::Failed(Error::new(Code::RolloutWorkloadDeleted, message))
}

/// It was done, and nobody could see what came of it.
pub(super) fn unwatched(job: &Job, error: &Error) -> Fault {
    let message = format!(
        "{} was {}, but how it went could not be watched: {}",
        job.once.what(),
        job.done(),
        error.message
    );
    Fault::Unknown(
        Error::new(Code::RunOutcomeUnknown, message)
            .with_remedy(format!(
                "see `kubectl -n {} rollout status {}/{}` when the cluster answers again",
                job.once.namespace, job.once.kind, job.once.name
            ))
            .with_detail("seen", error.code.as_str()),
    )
}
