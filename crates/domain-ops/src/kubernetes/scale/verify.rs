//! Watches a scaling until the outcome is known.

use super::super::cluster::Cluster;
use super::super::diagnosis::{self, Blame};
use super::super::gitops;
use super::super::once::{Job, LAST_LOOK};
use super::super::restart::{DEAD, END, LAG, late, suspect};
use super::super::scope::{Followed, PATIENCE, Scope};
use super::super::workload::{Family, Workload};
use super::{Changed, Receipt};
use astradesk_core::{Code, Error};
use astradesk_runtime::port::Fault;
use futures::future::join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::{Instant, sleep, sleep_until};

/// Of how many sick pods, logs and warnings an error tells.
const TOLD: (usize, usize, usize) = (10, 3, 5);

/// Watches until as many pods as were asked for are available, and no other one is left unless there may be more of them; or
/// until it is known to fail.
pub(crate) async fn verify(cluster: &Cluster, job: &Job, receipt: &Receipt) -> Result<Value, Fault> {
    let scope = cluster.scope(&job.namespace);
    let changes = scope.follow(job.kind, &job.name);
    let (doubt, patience) = (Instant::now() + DEAD, DEAD * 2);
    Watch { cluster, job, receipt, scope, changes, doubt, patience, told: None, suspicion: None }
        .until_known()
        .await
}

/// What became of a scaling so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// What is seen is older than the change.
    NotSeen,
    /// The object is not there.
    Gone,
    /// Somebody asks for another number.
    Superseded,
    /// Pods start or stop.
    Going,
    Complete,
}

fn verdict(receipt: &Receipt, workload: Option<&Workload>, family: &Family) -> Verdict {
    let Some(workload) = workload.filter(|workload| workload.uid == receipt.uid && !workload.deleting) else {
        return Verdict::Gone;
    };
    if workload.generation < receipt.generation {
        return Verdict::NotSeen;
    }
    let at_least = receipt.autoscaler.is_some();
    if workload.wanted != receipt.replicas && !at_least {
        return Verdict::Superseded;
    }
    let live = family.pods.iter().filter(|pod| pod.is_live());
    let (mut all, mut ready, mut stay) = (0, 0, 0);
    for pod in live {
        all += 1;
        ready += i32::from(pod.ready);
        stay += i32::from(pod.ready && !pod.terminating);
    }
    let observed = workload.observed_generation >= workload.generation;
    let counts = [workload.total, workload.available, all, ready];
    let served = if at_least {
        // How many more there are, and whether these are well, is between the autoscaler and its metrics.
        let enough =
            [workload.wanted, workload.available, stay].iter().all(|count| *count >= receipt.replicas);
        enough && workload.total <= workload.wanted
    } else {
        counts.iter().all(|count| *count == receipt.replicas)
    };
    if observed && served { Verdict::Complete } else { Verdict::Going }
}

/// A scaling that is watched.
struct Watch<'a> {
    cluster: &'a Cluster,
    job: &'a Job,
    receipt: &'a Receipt,
    scope: Arc<Scope>,
    changes: Followed,
    /// When the watches are to start over, if they have not shown the change by then.
    doubt: Instant,
    /// How long they may lag behind until the next time.
    patience: std::time::Duration,
    /// What was reported last.
    told: Option<String>,
    /// What may be wrong, and from when on that counts.
    suspicion: Option<(Blame, Instant)>,
}

impl Watch<'_> {
    async fn until_known(&mut self) -> Result<Value, Fault> {
        let deadline = self.job.deadline;
        loop {
            self.changes.mark_unchanged();
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(error) = self.scope.ready(PATIENCE.min(left.max(LAST_LOOK))).await {
                if Instant::now() >= deadline {
                    return Err(self.unwatched(&error));
                }
                sleep(LAG.min(left)).await;
                continue;
            }
            let wake = match self.judge().await? {
                Ok(output) => return Ok(output),
                Err(wake) => wake.min(deadline),
            };
            if Instant::now() >= deadline {
                return self.at_the_end().await;
            }
            tokio::select! {
                () = self.changes.changed() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// The time limit has passed. A watch may have died without a word, so what is claimed now is read now.
    async fn at_the_end(&mut self) -> Result<Value, Fault> {
        let listed = self.scope.renewed(END).await;
        listed.map_err(|error| self.unwatched(&error))?;
        if let Ok(output) = self.judge().await? {
            return Ok(output);
        }
        let (Some(workload), family) = self.look() else {
            let words = "the watches do not show it";
            return Err(self.unwatched(&Error::new(Code::KubernetesUnavailable, words)));
        };
        if self.receipt.autoscaler.is_some() && workload.wanted < self.receipt.replicas {
            return Err(self.left_alone(&workload));
        }
        let blame = late(&workload, &family, diagnosis::blame(&workload, &family, Some(self.receipt.at)));
        Err(self.failed(&blame, &family).await)
    }

    /// The workload and what belongs to it, as the watches have it.
    fn look(&self) -> (Option<Arc<Workload>>, Family) {
        let (workload, family) = self.scope.family(self.job.kind, &self.job.name).unzip();
        (workload, family.unwrap_or_default())
    }

    /// The output if it is complete, else when to look again although nothing has changed.
    async fn judge(&mut self) -> Result<Result<Value, Instant>, Fault> {
        let (workload, family) = self.look();
        let verdict = verdict(self.receipt, workload.as_deref(), &family);
        let Some(workload) = workload else { return self.gone().await.map(Err) };
        match verdict {
            Verdict::NotSeen => Ok(Err(self.until_renewed())),
            Verdict::Gone => self.gone().await.map(Err),
            Verdict::Superseded => Err(self.superseded(&workload)),
            Verdict::Complete => Ok(Ok(self.success(&workload, &family))),
            Verdict::Going => {
                self.tell(&workload, &family);
                let blame = diagnosis::blame(&workload, &family, Some(self.receipt.at));
                self.suspicion = suspect(self.suspicion.take(), blame);
                let Some((blame, since)) = &self.suspicion else { return Ok(Err(self.job.deadline)) };
                if Instant::now() >= *since {
                    Err(self.failed(blame, &family).await)
                } else {
                    Ok(Err(*since))
                }
            }
        }
    }

    /// The watches have not shown the change yet: once that has lasted, they start over. Gives when to look again.
    fn until_renewed(&mut self) -> Instant {
        if Instant::now() >= self.doubt {
            self.scope.renew();
            self.doubt = Instant::now() + self.patience;
            self.patience *= 2;
        }
        self.doubt
    }

    /// Reports progress when there is some.
    fn tell(&mut self, workload: &Workload, family: &Family) {
        let live = family.pods.iter().filter(|pod| pod.is_live()).count();
        let message = format!("{live} pods, {} available, {} wanted", workload.available, workload.wanted);
        if self.told.as_ref() != Some(&message) {
            let facts = json!({"pods": live, "available": workload.available, "wanted": workload.wanted});
            self.job.progress.report(message.clone(), facts);
            self.told = Some(message);
        }
    }

    fn success(&self, workload: &Workload, family: &Family) -> Value {
        let Receipt { replicas, before, autoscaler, .. } = self.receipt;
        let now = self.cluster.now();
        let what = self.job.what();
        let summary = match autoscaler {
            None => {
                let pods = match replicas {
                    0 => "no pod is left".to_owned(),
                    1 => "the one pod is available, and no other one is left".to_owned(),
                    n => format!("all {n} pods are available, and no other one is left"),
                };
                if replicas == before {
                    format!("{what} has {replicas} replicas already: {pods}")
                } else {
                    format!("{what} was scaled from {before} to {replicas}: {pods}")
                }
            }
            Some(Changed { name, .. }) => {
                let Workload { wanted, available, .. } = workload;
                let minimum = format!("the minimum of {what} (HorizontalPodAutoscaler `{name}`)");
                let pods = format!("{available} of {wanted} pods are available");
                if replicas == before {
                    format!("{minimum} is {replicas} already: {pods}")
                } else {
                    format!("{minimum} was changed from {before} to {replicas}: {pods}")
                }
            }
        };
        json!({
            "summary": summary,
            "target": self.job.target,
            "replicas": replicas,
            "before": before,
            "generation": self.receipt.generation,
            "took_seconds": now.duration_since(self.receipt.at).as_secs().max(0),
            "pods": family.pods.iter().take(100).map(|pod| pod.name.clone()).collect::<Vec<_>>(),
            "observed_at": now.to_string(),
        })
    }

    /// Why the watches do not have the object: the API server has the last word. Gives when to look again.
    async fn gone(&self) -> Result<Instant, Fault> {
        let how = match self.cluster.get(self.job.kind, &self.job.namespace, &self.job.name).await {
            Err(failure) if failure.is_not_found() => "was deleted",
            Ok(workload) if workload.uid != self.receipt.uid => "was deleted and made again",
            Ok(workload) if workload.deleting => "is being deleted",
            Ok(_) | Err(_) => return Ok(Instant::now() + LAG),
        };
        let (what, doing) = (self.job.what(), self.receipt.doing(self.job));
        let message = format!("{what} {how} before {doing} was complete");
        Err(Fault::Failed(Error::new(Code::RolloutWorkloadDeleted, message)))
    }

    fn superseded(&self, workload: &Workload) -> Fault {
        let gitops = gitops::suspicion(workload).unwrap_or_default();
        let message = format!(
            "{} to {} was replaced before it was complete: somebody has scaled it to {}{gitops}",
            self.receipt.doing(self.job),
            self.receipt.replicas,
            workload.wanted
        );
        let error = Error::new(Code::RolloutSuperseded, message)
            .with_remedy("look at who scaled it; scale it again if that is still needed");
        Fault::Failed(error)
    }

    /// A scaling that failed.
    async fn failed(&self, blame: &Blame, family: &Family) -> Fault {
        let job = self.job;
        let (Some(workload), _) = self.look() else {
            return self.unwatched(&Error::new(Code::KubernetesUnavailable, "the watches do not show it"));
        };
        let sick = diagnosis::sick_pods(&workload, family, false);
        let logs = sick.iter().take(TOLD.1).map(|sick| self.cluster.log(job.namespace.as_str(), sick));
        let logs = join_all(logs).await;
        let log = |index: usize| logs.get(index).map_or(&[][..], |log| log.as_slice());
        let pods: Vec<Value> =
            sick.iter().take(TOLD.0).enumerate().map(|(index, sick)| sick.to_json(log(index))).collect();
        let undo = self.receipt.back_by_kubectl(job);
        let (doing, replicas) = (self.receipt.doing(job), self.receipt.replicas);
        let message = format!("{doing} to {replicas} failed: {}", blame.sentence);
        Fault::Failed(
            Error::new(blame.code.unwrap_or(Code::RolloutTimedOut), message)
                .with_remedy(format!("look at its pods, and correct the cause or scale it back (`{undo}`)"))
                .with_detail("pods", pods)
                .with_detail("warnings", diagnosis::aggregate(&family.warnings, TOLD.2))
                .with_detail("undo", undo),
        )
    }

    /// The autoscaler has done nothing about its new minimum within the time limit.
    fn left_alone(&self, workload: &Workload) -> Fault {
        let (doing, replicas) = (self.receipt.doing(self.job), self.receipt.replicas);
        let message = format!(
            "{doing} to {replicas} came to nothing within its time limit: the autoscaler has left it at {}",
            workload.wanted
        );
        let undo = self.receipt.back_by_kubectl(self.job);
        let error = Error::new(Code::ToolTimedOut, message)
            .with_remedy(format!("look at the autoscaler and its controller, or go back (`{undo}`)"));
        Fault::Failed(error.with_detail("undo", undo))
    }

    /// It was done, and nobody could see what came of it.
    fn unwatched(&self, error: &Error) -> Fault {
        let Job { namespace, kind, name, .. } = self.job;
        let doing = self.receipt.doing(self.job);
        let message =
            format!("{doing} was begun, but what came of it could not be watched: {}", error.message);
        Fault::Unknown(
            Error::new(Code::RunOutcomeUnknown, message)
                .with_remedy(format!(
                    "see `kubectl -n {namespace} get {kind}/{name}` when the cluster answers again"
                ))
                .with_detail("seen", error.code.as_str()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::rollout::tests::{Shape, family, pod, workload};
    use super::super::super::workload::PodView;
    use super::*;

    type Edit = fn(&mut Workload);

    #[test]
    fn it_is_complete_when_every_pod_is_available_and_no_other_one_is_left() {
        let subject = workload(&Shape::default());
        let receipt = Receipt {
            target: String::new(),
            uid: subject.uid.clone(),
            generation: subject.generation,
            replicas: 3,
            before: 5,
            mark: "run-1".into(),
            at: astradesk_core::Timestamp::UNIX_EPOCH,
            autoscaler: None,
        };
        let pods = |ready: &[bool]| {
            family(
                ready.iter().enumerate().map(|(i, ready)| pod(&format!("n{i}"), "new-rs", *ready)).collect(),
            )
        };
        let well = pods(&[true; 3]);
        let mut stopping = pod("old", "new-rs", false);
        stopping.terminating = true;
        let mut leaving = (0..3).map(|i| pod(&format!("n{i}"), "new-rs", true)).collect::<Vec<_>>();
        leaving.push(stopping);
        let cases: Vec<(&str, Edit, Family, Verdict)> = vec![
            ("as it should be", |_| {}, well.clone(), Verdict::Complete),
            ("one is stopping still", |_| {}, family(leaving), Verdict::Going),
            ("one is not ready", |_| {}, pods(&[true, true, false]), Verdict::Going),
            ("one is missing", |_| {}, pods(&[true, true]), Verdict::Going),
            ("not counted yet", |w| w.available = 2, well.clone(), Verdict::Going),
            ("one too many", |w| w.total = 4, well.clone(), Verdict::Going),
            ("not observed", |w| w.observed_generation -= 1, well.clone(), Verdict::Going),
            ("from before", |w| w.generation -= 1, well.clone(), Verdict::NotSeen),
            ("scaled by somebody else", |w| w.wanted = 4, well.clone(), Verdict::Superseded),
            ("deleting", |w| w.deleting = true, well.clone(), Verdict::Gone),
            ("made again", |w| w.uid = "other".into(), well.clone(), Verdict::Gone),
        ];
        for (name, edit, family, expected) in cases {
            let mut now = subject.clone();
            edit(&mut now);
            assert_eq!(verdict(&receipt, Some(&now), &family), expected, "{name}");
        }
        assert_eq!(verdict(&receipt, None, &well), Verdict::Gone);
    }
    #[test]
    fn with_an_autoscaler_it_is_complete_when_at_least_as_many_pods_are_available() {
        let subject = workload(&Shape::default());
        let changed = Changed { name: "hpa".into(), uid: "uid-hpa".into() };
        let receipt = |replicas| Receipt {
            target: String::new(),
            uid: subject.uid.clone(),
            generation: subject.generation,
            replicas,
            before: 1,
            mark: "run-1".into(),
            at: astradesk_core::Timestamp::UNIX_EPOCH,
            autoscaler: Some(changed.clone()),
        };
        let pods = |ready: usize, leaving: usize| {
            let pods = (0..3).map(|i| {
                let terminating = (ready..ready + leaving).contains(&i);
                PodView { terminating, ..pod(&format!("n{i}"), "new-rs", i < ready || terminating) }
            });
            family(pods.collect())
        };
        let cases: Vec<(&str, i32, Edit, Family, Verdict)> = vec![
            ("as many", 3, |_| {}, pods(3, 0), Verdict::Complete),
            ("more", 2, |_| {}, pods(3, 0), Verdict::Complete),
            ("more, of which one is not well", 2, |w| w.available = 2, pods(2, 0), Verdict::Complete),
            ("not raised yet", 4, |_| {}, pods(3, 0), Verdict::Going),
            ("one is not available", 3, |w| w.available = 2, pods(3, 0), Verdict::Going),
            ("one is not ready", 3, |_| {}, pods(2, 0), Verdict::Going),
            ("one is stopping", 3, |_| {}, pods(2, 1), Verdict::Going),
            ("in the middle of a rollout", 2, |w| w.total = 4, pods(3, 0), Verdict::Going),
            ("not observed", 2, |w| w.observed_generation -= 1, pods(3, 0), Verdict::Going),
            ("from before", 2, |w| w.generation -= 1, pods(3, 0), Verdict::NotSeen),
            ("made again", 2, |w| w.uid = "other".into(), pods(3, 0), Verdict::Gone),
        ];
        for (name, replicas, edit, family, expected) in cases {
            let mut now = subject.clone();
            edit(&mut now);
            assert_eq!(verdict(&receipt(replicas), Some(&now), &family), expected, "{name}");
        }
    }
}
