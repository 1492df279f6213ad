//! A restart, or its undo, as one change that is made once.

use super::super::cluster::Cluster;
use super::super::errors::{Failure, Operation};
use super::super::once::{self, Bound, Change, Task};
use super::super::rollout::{Receipt, changed_by};
use super::super::workload::Workload;
use super::settle::{dig, is_another_change};
use super::{Intent, Job};
use astradesk_core::{Code, Error};
use astradesk_runtime::port::Fault;
use serde_json::Value;
use tokio::time::Instant;

/// Performs what the intent is bound to, unless it is found to be there already.
pub(crate) async fn perform(cluster: &Cluster, job: &Job, intent: &Intent) -> Result<Receipt, Fault> {
    let change = Change {
        task: &Restart { job, intent },
        bound: &intent.bound,
        done: job.done(),
        patch: Ok(intent.patch(job)),
        unchanged: &|workload| is_another_change(job, intent, workload),
    };
    once::perform(cluster, &change).await
}

/// A restart, or its undo, with what it is bound to.
pub(super) struct Restart<'a> {
    pub(super) job: &'a Job,
    pub(super) intent: &'a Intent,
}

impl Task for Restart<'_> {
    type Object = Workload;
    type Made = Receipt;

    fn what(&self) -> String {
        self.job.once.what()
    }

    fn mark(&self) -> &str {
        self.job.once.mark()
    }

    fn place(&self) -> (&'static str, &'static str) {
        self.job.place()
    }

    fn repeated(&self) -> bool {
        self.job.once.repeated()
    }

    fn deadline(&self) -> Instant {
        self.job.once.deadline()
    }

    fn command(&self) -> String {
        self.job.once.command()
    }

    fn tells(&self) -> String {
        format!("what `{}` tells", self.job.once.by_kubectl("rollout history", ""))
    }

    fn operation(&self, verb: &'static str) -> Operation {
        self.job.once.operation(verb)
    }

    async fn get(&self, cluster: &Cluster) -> Result<Workload, Failure> {
        self.job.once.get(cluster).await
    }

    async fn patch(
        &self,
        cluster: &Cluster,
        patch: &Value,
        until: Option<Instant>,
    ) -> Result<Workload, Failure> {
        self.job.once.patch(cluster, patch, until).await
    }

    fn bound(workload: &Workload) -> Bound {
        Bound::to(workload)
    }

    fn marked<'a>(&self, workload: &'a Workload) -> Option<&'a str> {
        self.job.marked(workload)
    }

    fn made(&self, cluster: &Cluster, workload: Workload) -> Receipt {
        self.intent.receipt(self.job, &workload, cluster.now())
    }

    /// Looks for the mark among the templates that the workload had.
    async fn dig(&self, cluster: &Cluster, workload: &Workload) -> Result<Result<Receipt, Error>, Failure> {
        let history = cluster.history(workload).await?;
        if let Some(receipt) = dig(self.job, self.intent, &history, cluster.now()) {
            return Ok(Ok(receipt));
        }
        let message = format!(
            "it was changed {} times since{}, and its mark is neither {} nor in the {} templates that it had",
            workload.generation - self.intent.bound.generation,
            changed_by(workload),
            self.job.place().1,
            history.revisions.len(),
        );
        let error = Error::new(Code::KubernetesConflict, message)
            .with_detail("templates_read", history.revisions.len())
            .with_detail("templates_left_out", history.truncated);
        Ok(Err(error))
    }

    fn moved(&self, bound: &Bound, workload: &Workload) -> String {
        if workload.generation == bound.generation {
            "its status or its labels changed".to_owned()
        } else {
            format!("its specification was changed{}", changed_by(workload))
        }
    }

    fn seen(workload: &Workload, error: Error) -> Error {
        let by = workload.changed_by.as_ref().map(|change| change.manager.clone());
        error.with_detail("changed_by", by)
    }
}
