//! Watches a restart, or its undo, until the outcome is known.

use super::super::cluster::Cluster;
use super::super::diagnosis::{self, Blame, Certainty};
use super::super::once::LAST_LOOK;
use super::super::rollout::{self, Receipt, Verdict};
use super::super::scope::{Followed, PATIENCE, Scope};
use super::super::workload::{Family, Workload};
use super::Job;
use super::report::{self, Rollout};
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error};
use astradesk_runtime::port::Fault;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How long a finding must last that may yet go away, such as a quota that old pods still use.
const LASTING: Duration = Duration::from_secs(10);
/// How soon to look again when the watches lag behind.
pub(crate) const LAG: Duration = Duration::from_secs(1);
/// How long the lists may take on which the end is judged; the Engine waits a little longer.
pub(crate) const END: Duration = Duration::from_secs(10);
/// How far they may lag behind before they are taken to have died without a word.
pub(crate) const DEAD: Duration = Duration::from_secs(3);

/// Watches until every pod is of the template that the receipt tells of and available, and none of another one is
/// left, or until it is known to fail.
pub(crate) async fn verify(cluster: &Cluster, job: &Job, receipt: &Receipt) -> Result<Value, Fault> {
    let scope = cluster.scope(&job.once.namespace);
    let changes = scope.follow(job.once.kind, &job.once.name);
    let doubt = Instant::now() + DEAD;
    Watch { cluster, job, receipt, scope, changes, doubt, patience: DEAD * 2, told: None, suspicion: None }
        .until_known()
        .await
}

/// A rollout that is watched.
struct Watch<'a> {
    cluster: &'a Cluster,
    job: &'a Job,
    receipt: &'a Receipt,
    scope: Arc<Scope>,
    changes: Followed,
    /// When the watches are to start over, if they have not shown the change by then.
    doubt: Instant,
    /// How long they may lag behind until the next time.
    patience: Duration,
    /// What was reported last.
    told: Option<(String, Value)>,
    /// What may be wrong, and from when on that counts.
    suspicion: Option<(Blame, Instant)>,
}

impl Watch<'_> {
    async fn until_known(&mut self) -> Result<Value, Fault> {
        let deadline = self.job.once.deadline;
        loop {
            self.changes.mark_unchanged();
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(error) = self.scope.ready(PATIENCE.min(left.max(LAST_LOOK))).await {
                if Instant::now() >= deadline {
                    return Err(report::unwatched(self.job, &error));
                }
                sleep(LAG.min(left)).await;
                continue;
            }
            let mut wake = match self.judge().await? {
                Judged::Succeeded(output) => return Ok(output),
                Judged::Unseen => self.until_renewed(),
                Judged::Open { wake } => wake,
            };
            if Instant::now() >= deadline {
                return self.at_the_end().await;
            }
            wake = wake.min(deadline);
            tokio::select! {
                () = self.changes.changed() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// The workload and what belongs to it, as the watches have it.
    fn look(&self) -> (Option<Arc<Workload>>, Family) {
        let (workload, family) = self.scope.family(self.job.once.kind, &self.job.once.name).unzip();
        (workload, family.unwrap_or_default())
    }

    /// The watches have not shown the change yet: once that has lasted, they start over. Gives when to look again.
    fn until_renewed(&mut self) -> Instant {
        if Instant::now() >= self.doubt {
            tracing::info!(mark = self.job.once.mark, "the watches lag behind and start over");
            self.scope.renew();
            self.doubt = Instant::now() + self.patience;
            self.patience *= 2;
        }
        self.doubt
    }

    /// The time limit has passed. A watch may have died without a word, so what is claimed now is read now.
    async fn at_the_end(&mut self) -> Result<Value, Fault> {
        let listed = self.scope.renewed(END).await;
        listed.map_err(|error| report::unwatched(self.job, &error))?;
        match self.judge().await? {
            Judged::Succeeded(output) => Ok(output),
            Judged::Unseen => {
                let words = "the cluster does not show the change";
                Err(report::unwatched(self.job, &Error::new(Code::KubernetesUnavailable, words)))
            }
            Judged::Open { .. } => Err(self.timed_out().await),
        }
    }

    /// Ends the watch if what is seen does; else says when to look again although nothing has changed.
    async fn judge(&mut self) -> Result<Judged, Fault> {
        let (workload, family) = self.look();
        let (workload, family) = (workload.as_deref(), &family);
        let verdict = rollout::verdict(self.receipt, workload, family);
        let mut wake = self.job.once.deadline;
        match (verdict, workload) {
            (Verdict::NotSeen, _) => return Ok(Judged::Unseen),
            (Verdict::Complete, Some(workload)) => {
                self.tell(workload, family);
                let rollout = Rollout { job: self.job, workload, family };
                return Ok(Judged::Succeeded(rollout.success(self.receipt, self.cluster.now())));
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
                self.suspicion = suspect(self.suspicion.take(), blame);
                if let Some((blame, since)) = &self.suspicion {
                    if Instant::now() >= *since {
                        return Err(self.failed(blame, workload, family).await);
                    }
                    wake = *since;
                }
            }
            (Verdict::Gone, _) => {
                if let Some(how) = self.deleted().await {
                    return Err(report::deleted(self.job, how));
                }
                wake = Instant::now() + LAG;
            }
            // These are verdicts on a workload that is seen.
            (Verdict::Complete | Verdict::DeadlineExceeded | Verdict::Going, _) => {}
        }
        Ok(Judged::Open { wake })
    }

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

    /// Why the watches do not have the object: the API server has the last word.
    async fn deleted(&self) -> Option<&'static str> {
        match self.cluster.get(self.job.once.kind, &self.job.once.namespace, &self.job.once.name).await {
            Err(failure) if failure.is_not_found() => Some("was deleted"),
            Ok(workload) if workload.uid != self.receipt.uid => Some("was deleted and made again"),
            Ok(workload) if workload.deleting => Some("is being deleted"),
            Ok(_) | Err(_) => None,
        }
    }

    async fn failed(&self, blame: &Blame, workload: &Workload, family: &Family) -> Fault {
        Rollout { job: self.job, workload, family }.failed(self.cluster, blame).await
    }

    async fn timed_out(&self) -> Fault {
        let (Some(workload), family) = self.look() else {
            let error = Error::new(Code::KubernetesUnavailable, "the watches do not show it");
            return report::unwatched(self.job, &error);
        };
        let blame = self.in_the_way(&workload, &family).or_else(|| self.blame(&workload, &family));
        let blame = report::late(&workload, &family, blame);
        self.failed(&blame, &workload, &family).await
    }
}

/// What is known of a rollout that is watched.
enum Judged {
    Succeeded(Value),
    /// The watches do not show the change yet.
    Unseen,
    Open {
        wake: Instant,
    },
}

/// Keeps a finding and the moment from which on it counts; the same cause keeps its moment.
pub(crate) fn suspect(before: Option<(Blame, Instant)>, now: Option<Blame>) -> Option<(Blame, Instant)> {
    let blame = now?;
    let since = match blame.certainty {
        Certainty::Now => Instant::now(),
        Certainty::No => return None,
        Certainty::IfItLasts => match before {
            Some((known, since)) if known.code == blame.code => since,
            _ => Instant::now() + LASTING,
        },
    };
    Some((blame, since))
}
