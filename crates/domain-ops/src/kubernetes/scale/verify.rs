//! Watches a scaling until the outcome is known.

use super::super::cluster::Cluster;
use super::super::diagnosis::{self, Blame};
use super::super::gitops;
use super::super::once::Job;
use super::super::watch::{self, Judge, Judged, LAG, Seen, Suspicion, Watch, with_sick};
use super::super::workload::{Family, Workload};
use super::{Changed, Receipt};
use astradesk_core::{Code, Error};
use astradesk_runtime::port::Fault;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Watches until as many pods as were asked for are available, and no other one is left unless there may be more of them; or
/// until it is known to fail.
pub(crate) async fn verify(cluster: &Cluster, job: &Job, receipt: &Receipt) -> Result<Value, Fault> {
    let mut watched = Watched { cluster, job, receipt, told: None, suspicion: Suspicion::default() };
    Watch::of(cluster, job).until_known(&mut watched).await
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
struct Watched<'a> {
    cluster: &'a Cluster,
    job: &'a Job,
    receipt: &'a Receipt,
    /// What was reported last.
    told: Option<String>,
    suspicion: Suspicion,
}

impl Judge for Watched<'_> {
    type Known = Value;

    async fn judge(&mut self, seen: &Seen) -> Result<Judged<Value>, Fault> {
        let family = &seen.family;
        let verdict = verdict(self.receipt, seen.workload.as_deref(), family);
        let Some(workload) = &seen.workload else { return self.gone().await };
        match verdict {
            Verdict::NotSeen => Ok(Judged::Unseen),
            Verdict::Gone => self.gone().await,
            Verdict::Superseded => Err(self.superseded(workload)),
            Verdict::Complete => Ok(Judged::Known(self.success(workload, family))),
            Verdict::Going => {
                self.tell(workload, family);
                let blame = diagnosis::blame(workload, family, Some(self.receipt.at));
                match self.suspicion.keep(blame) {
                    Err(blame) => Err(self.failed(&blame, workload, family).await),
                    Ok(since) => Ok(Judged::Open { wake: since.unwrap_or(self.job.deadline) }),
                }
            }
        }
    }

    async fn late(&self, workload: &Workload, family: &Family) -> Fault {
        if self.receipt.autoscaler.is_some() && workload.wanted < self.receipt.replicas {
            return self.left_alone(workload);
        }
        let blame = diagnosis::blame(workload, family, Some(self.receipt.at));
        self.failed(&watch::late(workload, family, blame), workload, family).await
    }

    fn unwatched(&self, error: &Error) -> Fault {
        let what = format!("{} was begun, but what came of it", self.receipt.doing(self.job));
        watch::unwatched(&what, &self.job.by_kubectl("get", ""), error)
    }
}

impl Watched<'_> {
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

    /// The watches do not have the object.
    async fn gone(&self) -> Result<Judged<Value>, Fault> {
        let Some(how) = watch::gone(self.cluster, self.job, &self.receipt.uid).await else {
            return Ok(Judged::Open { wake: Instant::now() + LAG });
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
    async fn failed(&self, blame: &Blame, workload: &Workload, family: &Family) -> Fault {
        let undo = self.receipt.back_by_kubectl(self.job);
        let (doing, replicas) = (self.receipt.doing(self.job), self.receipt.replicas);
        let message = format!("{doing} to {replicas} failed: {}", blame.sentence);
        let error = Error::new(blame.code.unwrap_or(Code::RolloutTimedOut), message)
            .with_remedy(format!("look at its pods, and correct the cause or scale it back (`{undo}`)"))
            .with_detail("undo", undo);
        Fault::Failed(with_sick(error, self.cluster, workload, family, false).await)
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
