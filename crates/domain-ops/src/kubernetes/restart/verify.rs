//! Watches a restart, or its undo, until the outcome is known.

use super::super::cluster::Cluster;
use super::super::diagnosis::{self, Blame, Certainty};
use super::super::rollout::{self, Receipt, Verdict};
use super::super::watch::{self, Judge, Judged, LAG, Seen, Suspicion, Watch};
use super::super::workload::{Family, Workload};
use super::Job;
use super::report::{self, Rollout};
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error};
use astradesk_runtime::port::Fault;
use serde_json::Value;
use tokio::time::Instant;

/// Watches until every pod is of the template that the receipt tells of and available, and none of another one is
/// left, or until it is known to fail.
pub(crate) async fn verify(cluster: &Cluster, job: &Job, receipt: &Receipt) -> Result<Value, Fault> {
    let mut watched = Watched { cluster, job, receipt, told: None, suspicion: Suspicion::default() };
    Watch::of(cluster, &job.once).until_known(&mut watched).await
}

/// A rollout that is watched.
struct Watched<'a> {
    cluster: &'a Cluster,
    job: &'a Job,
    receipt: &'a Receipt,
    /// What was reported last.
    told: Option<(String, Value)>,
    suspicion: Suspicion,
}

impl Judge for Watched<'_> {
    type Known = Value;

    async fn judge(&mut self, seen: &Seen) -> Result<Judged<Value>, Fault> {
        let (workload, family) = (seen.workload.as_deref(), &seen.family);
        let mut wake = self.job.once.deadline;
        match (rollout::verdict(self.receipt, workload, family), workload) {
            (Verdict::NotSeen, _) => return Ok(Judged::Unseen),
            (Verdict::Complete, Some(workload)) => {
                self.tell(workload, family);
                let rollout = Rollout { job: self.job, workload, family };
                return Ok(Judged::Known(rollout.success(self.receipt, self.cluster.now())));
            }
            (Verdict::Superseded { by }, workload) => {
                return Err(report::superseded(self.job, &by, workload));
            }
            // After an undo the condition speaks of the restart until the controller sees progress.
            (Verdict::DeadlineExceeded, Some(workload)) if !self.job.goes_back() => {
                let blame = self.stalled(workload, family);
                return Err(self.failed(&blame, workload, family).await);
            }
            (verdict @ (Verdict::Going | Verdict::DeadlineExceeded), Some(workload)) => {
                self.tell(workload, family);
                let blame = match verdict {
                    Verdict::DeadlineExceeded => {
                        Some(Blame { certainty: Certainty::IfItLasts, ..self.stalled(workload, family) })
                    }
                    _ => self.in_the_way(workload, family).or_else(|| self.blame(workload, family)),
                };
                match self.suspicion.keep(blame) {
                    Err(blame) => return Err(self.failed(&blame, workload, family).await),
                    Ok(since) => wake = since.unwrap_or(wake),
                }
            }
            (Verdict::Gone, _) => {
                if let Some(how) = watch::gone(self.cluster, &self.job.once, &self.receipt.uid).await {
                    return Err(report::deleted(self.job, how));
                }
                wake = Instant::now() + LAG;
            }
            // These are verdicts on a workload that is seen.
            (Verdict::Complete | Verdict::DeadlineExceeded | Verdict::Going, _) => {}
        }
        Ok(Judged::Open { wake })
    }

    async fn late(&self, workload: &Workload, family: &Family) -> Fault {
        let blame = self.in_the_way(workload, family).or_else(|| self.blame(workload, family));
        self.failed(&watch::late(workload, family, blame), workload, family).await
    }

    fn unwatched(&self, error: &Error) -> Fault {
        report::unwatched(self.job, error)
    }
}

impl Watched<'_> {
    /// Reports progress when there is some.
    fn tell(&mut self, workload: &Workload, family: &Family) {
        let report = rollout::progress(workload, family);
        if self.told.as_ref() != Some(&report) {
            self.job.once.progress.report(report.0.clone(), report.1.clone());
            self.told = Some(report);
        }
    }

    fn blame(&self, workload: &Workload, family: &Family) -> Option<Blame> {
        diagnosis::blame(workload, family, self.receipt.at())
    }

    /// Why the controller gave up waiting for progress.
    fn stalled(&self, workload: &Workload, family: &Family) -> Blame {
        let words = "it made no progress within the workload's own `progressDeadlineSeconds`";
        let blame = self.blame(workload, family);
        let code = blame.as_ref().and_then(|blame| blame.code).unwrap_or(Code::RolloutDeadlineExceeded);
        let sentence = blame.map_or_else(|| words.to_owned(), |blame| blame.sentence);
        Blame { code: Some(code), sentence, certainty: Certainty::Now, remedy: None }
    }

    /// A StatefulSet's controller waits for a pod that will never be ready before it goes back: a known limitation
    /// of Kubernetes ("forced rollback"). It takes somebody to delete that pod.
    fn in_the_way(&self, workload: &Workload, family: &Family) -> Option<Blame> {
        if !self.job.goes_back()
            || workload.kind != Kind::StatefulSet
            || workload.observed_generation < workload.generation
        {
            return None;
        }
        diagnosis::in_the_way(workload, family)
    }

    async fn failed(&self, blame: &Blame, workload: &Workload, family: &Family) -> Fault {
        Rollout { job: self.job, workload, family }.failed(self.cluster, blame).await
    }
}
