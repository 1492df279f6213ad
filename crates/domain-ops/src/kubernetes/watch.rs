//! Watches a workload until what becomes of it is known: what every verification does alike.
//!
//! Nothing is asked for: the shared watches of the namespace tell of changes. They may lag behind, so if they have not
//! shown a change in good time they start over; and one may have died without a word, so what is claimed at the end of
//! the time limit is read then.

use super::cluster::Cluster;
use super::diagnosis::{self, Blame, Certainty};
use super::once::{Job, LAST_LOOK};
use super::rollout;
use super::scope::PATIENCE;
use super::workload::{Family, Workload};
use astradesk_core::name::Namespace;
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error};
use astradesk_runtime::port::Fault;
use futures::future::join_all;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How long a finding must last that may yet go away, such as a quota that old pods still use.
const LASTING: Duration = Duration::from_secs(10);
/// How soon to look again when the watches lag behind.
pub(crate) const LAG: Duration = Duration::from_secs(1);
/// How long the lists may take on which the end is judged; the Engine waits a little longer.
const END: Duration = Duration::from_secs(10);
/// How far they may lag behind before they are taken to have died without a word; twice as far each time.
const DEAD: Duration = Duration::from_secs(3);
/// Of how many sick pods, logs and warnings an error tells.
const TOLD: (usize, usize, usize) = (10, 3, 5);

/// A workload that is watched.
pub(crate) struct Watch<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) namespace: &'a Namespace,
    pub(crate) kind: Kind,
    pub(crate) name: &'a str,
    pub(crate) deadline: Instant,
}

/// The workload and what belongs to it, as the watches have it.
pub(crate) struct Seen {
    pub(crate) workload: Option<Arc<Workload>>,
    pub(crate) family: Family,
}

/// What is known from what is seen.
pub(crate) enum Judged<T> {
    Known(T),
    /// The watches do not show the change yet.
    Unseen,
    /// Not yet; it is judged again with the next change, and at this moment.
    Open {
        wake: Instant,
    },
}

/// What decides when a workload has been watched long enough.
pub(crate) trait Judge: Send {
    type Known: Send;

    /// Judges what is seen; a fault ends the watch too.
    fn judge(&mut self, seen: &Seen) -> impl Future<Output = Result<Judged<Self::Known>, Fault>> + Send;
    /// The time limit has passed, and it is not known still.
    fn late(&self, workload: &Workload, family: &Family) -> impl Future<Output = Fault> + Send;
    /// It cannot be seen.
    fn unwatched(&self, error: &Error) -> Fault;
}

impl<'a> Watch<'a> {
    /// What a job is about.
    pub(crate) fn of(cluster: &'a Cluster, job: &'a Job) -> Self {
        Self { cluster, namespace: &job.namespace, kind: job.kind, name: &job.name, deadline: job.deadline }
    }

    pub(crate) async fn until_known<J: Judge>(&self, judge: &mut J) -> Result<J::Known, Fault> {
        let scope = self.cluster.scope(self.namespace);
        let mut changes = scope.follow(self.kind, self.name);
        let look = || {
            let (workload, family) = scope.family(self.kind, self.name).unzip();
            Seen { workload, family: family.unwrap_or_default() }
        };
        let (mut doubt, mut patience) = (Instant::now() + DEAD, DEAD * 2);
        loop {
            changes.mark_unchanged();
            let left = self.deadline.saturating_duration_since(Instant::now());
            if let Err(error) = scope.ready(PATIENCE.min(left.max(LAST_LOOK))).await {
                if Instant::now() >= self.deadline {
                    return Err(judge.unwatched(&error));
                }
                sleep(LAG.min(left)).await;
                continue;
            }
            let wake = match judge.judge(&look()).await? {
                Judged::Known(known) => return Ok(known),
                Judged::Open { wake } => wake,
                Judged::Unseen => {
                    if Instant::now() >= doubt {
                        tracing::info!(kind = %self.kind, name = self.name, "the watches lag behind and start over");
                        scope.renew();
                        doubt = Instant::now() + patience;
                        patience *= 2;
                    }
                    doubt
                }
            };
            if Instant::now() >= self.deadline {
                scope.renewed(END).await.map_err(|error| judge.unwatched(&error))?;
                return self.at_the_end(judge, &look()).await;
            }
            tokio::select! {
                () = changes.changed() => {}
                () = sleep_until(wake.min(self.deadline)) => {}
            }
        }
    }

    async fn at_the_end<J: Judge>(&self, judge: &mut J, seen: &Seen) -> Result<J::Known, Fault> {
        let unseen = |words: &str| Error::new(Code::KubernetesUnavailable, words);
        match (judge.judge(seen).await?, &seen.workload) {
            (Judged::Known(known), _) => Ok(known),
            (Judged::Unseen, _) => Err(judge.unwatched(&unseen("the cluster does not show the change"))),
            (Judged::Open { .. }, None) => Err(judge.unwatched(&unseen("the watches do not show it"))),
            (Judged::Open { .. }, Some(workload)) => Err(judge.late(workload, &seen.family).await),
        }
    }
}

/// What may be wrong, and from when on that counts.
#[derive(Debug, Default)]
pub(crate) struct Suspicion(Option<(Blame, Instant)>);

impl Suspicion {
    /// Keeps what may be wrong now; the same cause keeps its moment. Gives when that will count, if anything will.
    ///
    /// # Errors
    /// It counts now.
    pub(crate) fn keep(&mut self, blame: Option<Blame>) -> Result<Option<Instant>, Blame> {
        let before = self.0.take();
        let Some(blame) = blame else { return Ok(None) };
        let since = match blame.certainty {
            Certainty::Now => return Err(blame),
            Certainty::No => return Ok(None),
            Certainty::IfItLasts => match before {
                Some((known, since)) if known.code == blame.code => since,
                _ => Instant::now() + LASTING,
            },
        };
        if Instant::now() >= since {
            return Err(blame);
        }
        self.0 = Some((blame, since));
        Ok(Some(since))
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

/// The error, with the pods that are not well, their last log lines, and the warnings.
pub(crate) async fn with_sick(
    error: Error,
    cluster: &Cluster,
    workload: &Workload,
    family: &Family,
    only_new: bool,
) -> Error {
    let sick = diagnosis::sick_pods(workload, family, only_new);
    let logs = join_all(sick.iter().take(TOLD.1).map(|sick| cluster.log(&workload.namespace, sick))).await;
    let log = |index: usize| logs.get(index).map_or(&[][..], |log| log.as_slice());
    let pods = sick.iter().take(TOLD.0).enumerate().map(|(index, sick)| sick.to_json(log(index)));
    error
        .with_detail("pods", pods.collect::<Vec<Value>>())
        .with_detail("warnings", diagnosis::aggregate(&family.warnings, TOLD.2))
}

/// Why the watches do not have an object that a job has changed: the API server has the last word. `None`: it has it.
pub(crate) async fn gone(cluster: &Cluster, job: &Job, uid: &str) -> Option<&'static str> {
    match cluster.get(job.kind, &job.namespace, &job.name).await {
        Err(failure) if failure.is_not_found() => Some("was deleted"),
        Ok(workload) if workload.uid != uid => Some("was deleted and made again"),
        Ok(workload) if workload.deleting => Some("is being deleted"),
        Ok(_) | Err(_) => None,
    }
}

/// Something was done, and what came of it could not be seen: `what` is both, as the beginning of a sentence.
pub(crate) fn unwatched(what: &str, command: &str, error: &Error) -> Fault {
    let message = format!("{what} could not be watched: {}", error.message);
    let error = Error::new(Code::RunOutcomeUnknown, message)
        .with_remedy(format!("see `{command}` when the cluster answers again"))
        .with_detail("seen", error.code.as_str());
    Fault::Unknown(error)
}
