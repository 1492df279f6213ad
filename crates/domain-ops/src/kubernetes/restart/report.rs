//! The outcome of a rollout in words, with everything that somebody would look up next.

use super::super::cluster::Cluster;
use super::super::diagnosis::Blame;
use super::super::gitops;
use super::super::once;
use super::super::rollout::{self, Receipt};
use super::super::watch::{self, with_sick};
use super::super::workload::{Family, Workload};
use super::Job;
use astradesk_core::{Code, Error, Timestamp};
use astradesk_runtime::port::Fault;
use serde_json::{Value, json};

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
        let (progress, facts) = rollout::progress(workload, family);
        let mut error = Error::new(code, format!("{} failed: {}", job.doing(), blame.sentence))
            .with_detail("progress", progress)
            .with_detail("rollout", facts);
        // What an undo waits for is a pod of the restart.
        error = with_sick(error, cluster, workload, family, !job.goes_back()).await;
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
    let what = format!("{} was {}, but how it went", job.once.what(), job.done());
    watch::unwatched(&what, &job.once.by_kubectl("rollout status", ""), error)
}
