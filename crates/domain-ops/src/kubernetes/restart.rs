//! The restart itself: performed once, settled when it is unclear, verified by the shared watches.
//!
//! One merge patch carries the version of the object that was read as its precondition, and the run as an
//! annotation. So a patch whose reply was lost either shows on the object, or can be sent again unchanged
//! (the same precondition: one of the two is refused), or can never be applied any more, because the object
//! has moved on under the same generation. Under another generation without the mark, it may have been
//! applied and undone: that is unknown, and nothing is sent again.

use super::cluster::{Cluster, operation};
use super::diagnosis::{self, Blame, Certainty};
use super::errors::{Applied, Failure};
use super::rollout::{self, Receipt, Verdict};
use super::scope::{PATIENCE, Scope};
use super::workload::{Family, Workload};
use super::{RESTARTED_AT, RUN, guard};
use astradesk_core::name::Namespace;
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error, Timestamp};
use astradesk_runtime::port::{Fault, Progress, StepContext};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// How often somebody else may change the object in between before we give up.
const MAX_CONFLICTS: u32 = 5;
/// The first and the longest pause between attempts to settle an unclear patch.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// How long the last look at the object may take after the time limit.
const LAST_LOOK: Duration = Duration::from_secs(3);
/// How long a finding must last that may yet go away, such as a quota that old pods still use.
const LASTING: Duration = Duration::from_secs(10);
/// How soon to look again when the watches lag behind.
const LAG: Duration = Duration::from_secs(1);
/// Of how many sick pods, logs and warnings an error tells.
const TOLD: (usize, usize, usize) = (10, 3, 5);

/// One restart.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) target: String,
    pub(crate) kind: Kind,
    pub(crate) namespace: Namespace,
    pub(crate) name: String,
    pub(crate) accept_downtime: bool,
    /// The value of the annotation `astradesk.dev/run`.
    pub(crate) run: String,
    /// Whether an earlier process may have performed this step already.
    pub(crate) repeated: bool,
    pub(crate) deadline: Instant,
    pub(crate) progress: Progress,
}

impl Job {
    /// What marks the object as changed by this step: the run's id, with the step unless it is the first.
    pub(crate) fn mark(step: &StepContext) -> String {
        if step.step == 0 { step.run.to_string() } else { format!("{}/{}", step.run, step.step) }
    }

    fn what(&self) -> String {
        format!("{}/{} in namespace `{}`", self.kind, self.name, self.namespace)
    }
}

/// The patch that restarts, valid for one version of the object only.
pub(crate) fn patch(workload: &Workload, restarted_at: &str, run: &str) -> Value {
    json!({
        "metadata": {"resourceVersion": workload.resource_version},
        "spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: restarted_at, RUN: run}}}},
    })
}

/// The time as kubectl writes it: RFC 3339, to the second.
pub(crate) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Performs the restart, unless it is found to be there already.
pub(crate) async fn perform(cluster: &Cluster, job: &Job) -> Result<Receipt, Fault> {
    let restarted_at = stamp(cluster.now());
    let mut pause = PAUSE.0;
    let mut conflicts = 0;
    // The version and generation for which a patch was sent that may or may not be applied.
    let mut unsettled: Option<(String, i64)> = None;
    loop {
        let workload = match look(cluster, job).await {
            Ok(workload) => workload,
            Err(failure) if failure.is_transient() && Instant::now() < job.deadline => {
                rest(&mut pause, job.deadline).await;
                continue;
            }
            Err(failure) => return Err(unreadable(job, failure, unsettled.is_some())),
        };
        if workload.run() == Some(&job.run) {
            return Ok(Receipt::of(job.target.clone(), &workload, None));
        }
        // A change of the template raises the generation. So under the same generation the patch was not applied,
        // and under another version it never will be; under another generation it may have been, and undone since.
        let may_be_undone = match &unsettled {
            Some((_, generation)) => workload.generation != *generation,
            None => job.repeated,
        };
        if may_be_undone {
            return Err(unknown(job, &mark_is_gone(job)));
        }
        unsettled = unsettled.filter(|(version, _)| *version == workload.resource_version);
        if conflicts > MAX_CONFLICTS {
            return Err(Fault::Failed(Error::new(
                Code::KubernetesConflict,
                format!(
                    "{} was changed by somebody else {conflicts} times while it was to be restarted",
                    job.what()
                ),
            )));
        }
        let refusal = guard::restart(&workload, job.accept_downtime).err().or_else(|| out_of_time(job));
        if let Some(error) = refusal {
            return Err(unless_unsettled(job, error, unsettled.is_some()));
        }
        let body = patch(&workload, &restarted_at, &job.run);
        match cluster.patch(job.kind, &job.namespace, &job.name, &body, false).await {
            Ok(changed) => return Ok(Receipt::of(job.target.clone(), &changed, workload.revision)),
            Err(failure) => match failure.applied() {
                Applied::No => {
                    let operation = operation("patch", job.kind, &job.namespace, &job.name);
                    return Err(unless_unsettled(job, failure.into_error(&operation), unsettled.is_some()));
                }
                Applied::Conflict => conflicts += 1,
                Applied::Maybe => {
                    tracing::info!(run = job.run, ?failure, "the reply to the patch is unclear; looking");
                    unsettled = Some((workload.resource_version, workload.generation));
                    rest(&mut pause, job.deadline).await;
                }
            },
        }
    }
}

/// The object as it is, asked for not much longer than the time limit allows.
async fn look(cluster: &Cluster, job: &Job) -> Result<Workload, Failure> {
    let until = job.deadline.max(Instant::now()) + LAST_LOOK;
    let look = cluster.get(job.kind, &job.namespace, &job.name);
    timeout_at(until, look).await.unwrap_or(Err(Failure::TimedOut))
}

async fn rest(pause: &mut Duration, deadline: Instant) {
    sleep_until(deadline.min(Instant::now() + *pause)).await;
    *pause = (*pause * 2).min(PAUSE.1);
}

/// An earlier patch may have been applied and overwritten since; another one could restart twice.
fn mark_is_gone(job: &Job) -> Error {
    let what = "an earlier attempt may have restarted it, and its mark is not on the object: either it was never \
                set, or somebody undid or replaced it since";
    Error::new(Code::KubernetesConflict, what).with_detail("run", job.run.clone())
}

fn out_of_time(job: &Job) -> Option<Error> {
    (Instant::now() >= job.deadline).then(|| {
        Error::new(
            Code::ToolTimedOut,
            format!("the time limit passed before {} could be restarted", job.what()),
        )
    })
}

/// A refusal is certain only when no earlier patch of ours may still be applied.
fn unless_unsettled(job: &Job, error: Error, unsettled: bool) -> Fault {
    if unsettled { unknown(job, &error) } else { Fault::Failed(error) }
}

/// The object cannot be read: an earlier attempt, by this process or one before it, may have changed it.
fn unreadable(job: &Job, failure: Failure, unsettled: bool) -> Fault {
    let not_found = failure.is_not_found();
    let error = failure.into_error(&operation("get", job.kind, &job.namespace, &job.name));
    if not_found && !unsettled {
        return Fault::Failed(Error::new(Code::KubernetesNotFound, format!("there is no {}", job.what())));
    }
    unknown(job, &error)
}

fn unknown(job: &Job, seen: &Error) -> Fault {
    Fault::Unknown(
        Error::new(
            Code::RunOutcomeUnknown,
            format!("whether {} was restarted could not be established: {}", job.what(), seen.message),
        )
        .with_remedy(format!(
            "look whether `kubectl -n {} get {}/{} -o yaml` shows the annotation `{RUN}: {}` in its pod template",
            job.namespace, job.kind, job.name, job.run
        ))
        .with_detail("seen", seen.code.as_str())
        .with_detail("run", job.run.clone()),
    )
}

/// Watches until every pod is new and available and no old one is left, or until it is known to fail.
pub(crate) async fn verify(cluster: &Cluster, job: &Job, receipt: &Receipt) -> Result<Value, Fault> {
    let scope = cluster.scope(&job.namespace);
    let mut changes = scope.changes();
    let mut told = None;
    let mut suspicion: Option<(Blame, Instant)> = None;
    loop {
        changes.mark_unchanged();
        let left = job.deadline.saturating_duration_since(Instant::now());
        if let Err(error) = scope.ready(PATIENCE.min(left.max(LAST_LOOK))).await {
            if Instant::now() >= job.deadline {
                return Err(unwatched(job, &error));
            }
            sleep(LAG.min(left)).await;
            continue;
        }
        let (workload, family) = scope.family(job.kind, &job.name).unzip();
        let family = family.unwrap_or_default();
        let verdict = rollout::verdict(receipt, workload.as_deref(), &family);
        let mut wake = job.deadline;
        let unseen = matches!(verdict, Verdict::NotSeen);
        match (verdict, workload.as_deref()) {
            (Verdict::Complete, Some(workload)) => {
                tell(job, workload, &family, &mut told);
                return Ok(success(cluster, job, receipt, workload, &family));
            }
            (Verdict::Superseded { by }, _) => return Err(superseded(job, &by)),
            (Verdict::DeadlineExceeded, Some(workload)) => {
                return Err(stalled(cluster, job, receipt, workload, &family).await);
            }
            (Verdict::Going, Some(workload)) => {
                tell(job, workload, &family, &mut told);
                let blame = diagnosis::blame(workload, &family, receipt.at());
                suspicion = suspect(suspicion, blame);
                match &suspicion {
                    Some((blame, since)) if Instant::now() >= *since => {
                        let code = blame.code.unwrap_or(Code::RolloutTimedOut);
                        let sentence = blame.sentence.clone();
                        return Err(failed(cluster, job, code, &sentence, workload, &family).await);
                    }
                    Some((_, since)) => wake = wake.min(*since),
                    None => {}
                }
            }
            (Verdict::Gone, _) => {
                if let Some(fault) = deleted(cluster, job, receipt).await {
                    return Err(fault);
                }
                wake = wake.min(Instant::now() + LAG);
            }
            // The watches are behind the change; a change of theirs wakes this.
            (Verdict::NotSeen | Verdict::Complete | Verdict::DeadlineExceeded | Verdict::Going, _) => {}
        }
        if Instant::now() >= job.deadline {
            if unseen {
                let behind =
                    Error::new(Code::KubernetesUnavailable, "the watches have not shown the change in time");
                return Err(unwatched(job, &behind));
            }
            return Err(timed_out(cluster, job, receipt, &scope).await);
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = sleep_until(wake) => {}
        }
    }
}

/// Reports progress when there is some.
fn tell(job: &Job, workload: &Workload, family: &Family, told: &mut Option<(String, Value)>) {
    let report = rollout::progress(workload, family);
    if told.as_ref() != Some(&report) {
        job.progress.report(report.0.clone(), report.1.clone());
        *told = Some(report);
    }
}

/// Keeps a finding and the moment from which on it counts; the same cause keeps its moment.
fn suspect(before: Option<(Blame, Instant)>, now: Option<Blame>) -> Option<(Blame, Instant)> {
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

fn success(cluster: &Cluster, job: &Job, receipt: &Receipt, workload: &Workload, family: &Family) -> Value {
    let now = cluster.now();
    let seconds = receipt.at().map(|at| now.duration_since(at).as_secs().max(0));
    // `restartedAt` knows whole seconds only.
    let took = seconds.map(|seconds| format!(" after about {} s", seconds.max(1))).unwrap_or_default();
    let pods = if workload.wanted == 1 { "the pod is" } else { "pods are" };
    let count = if workload.wanted == 1 { String::new() } else { format!("all {} ", workload.wanted) };
    json!({
        "summary": format!("{} was restarted: {count}{pods} new and available, and no old one is left{took}", job.what()),
        "target": job.target,
        "replicas": workload.wanted,
        "generation": receipt.generation,
        "revision": workload.revision,
        "previous_revision": receipt.previous_revision,
        "restarted_at": receipt.restarted_at,
        "run": receipt.run,
        "took_seconds": seconds,
        "pods": family.pods.iter().filter(|p| p.is_live()).take(100).map(|p| p.name.clone()).collect::<Vec<_>>(),
        "observed_at": now.to_string(),
    })
}

fn superseded(job: &Job, by: &str) -> Fault {
    Fault::Failed(Error::new(
        Code::RolloutSuperseded,
        format!("the restart of {} was replaced before it was complete: {by}", job.what()),
    ))
}

fn unwatched(job: &Job, error: &Error) -> Fault {
    Fault::Unknown(
        Error::new(
            Code::RunOutcomeUnknown,
            format!("{} was restarted, but how it went could not be watched: {}", job.what(), error.message),
        )
        .with_remedy(format!(
            "see `kubectl -n {} rollout status {}/{}` when the cluster answers again",
            job.namespace, job.kind, job.name
        ))
        .with_detail("seen", error.code.as_str()),
    )
}

/// The watches do not have the object: the API server has the last word.
async fn deleted(cluster: &Cluster, job: &Job, receipt: &Receipt) -> Option<Fault> {
    let how = match cluster.get(job.kind, &job.namespace, &job.name).await {
        Err(failure) if failure.is_not_found() => "was deleted",
        Ok(workload) if workload.uid != receipt.uid => "was deleted and made again",
        Ok(workload) if workload.deleting => "is being deleted",
        Ok(_) | Err(_) => return None,
    };
    let message = format!("{} {how} before its restart was complete", job.what());
    Some(Fault::Failed(Error::new(Code::RolloutWorkloadDeleted, message)))
}

async fn stalled(
    cluster: &Cluster,
    job: &Job,
    receipt: &Receipt,
    workload: &Workload,
    family: &Family,
) -> Fault {
    let blame = diagnosis::blame(workload, family, receipt.at());
    let code = blame.as_ref().and_then(|b| b.code).unwrap_or(Code::RolloutDeadlineExceeded);
    let sentence = match blame {
        Some(blame) => blame.sentence,
        None => "it made no progress within the workload's own `progressDeadlineSeconds`".to_owned(),
    };
    failed(cluster, job, code, &sentence, workload, family).await
}

async fn timed_out(cluster: &Cluster, job: &Job, receipt: &Receipt, scope: &Scope) -> Fault {
    let Some((workload, family)) = scope.family(job.kind, &job.name) else {
        let error = Error::new(Code::KubernetesUnavailable, "the watches do not show it");
        return unwatched(job, &error);
    };
    let (progress, _) = rollout::progress(&workload, &family);
    let blame = diagnosis::blame(&workload, &family, receipt.at());
    let code = blame.as_ref().and_then(|b| b.code).unwrap_or(Code::RolloutTimedOut);
    let paused = workload.paused.then(|| "its rollout was paused".to_owned());
    let stuck = family.pods.iter().find(|p| p.terminating).map(|pod| {
        let node = pod.node.as_deref().map(|node| format!(" on node `{node}`")).unwrap_or_default();
        format!("pod `{}`{node} has not stopped yet", pod.name)
    });
    let sentence = match blame.map(|b| b.sentence).or(paused).or(stuck) {
        Some(sentence) => format!("it was not complete within its time limit ({progress}): {sentence}"),
        None => format!("it was not complete within its time limit ({progress})"),
    };
    failed(cluster, job, code, &sentence, &workload, &family).await
}

/// A rollout that failed, with everything that somebody would look up next.
async fn failed(
    cluster: &Cluster,
    job: &Job,
    code: Code,
    sentence: &str,
    workload: &Workload,
    family: &Family,
) -> Fault {
    let sick = diagnosis::sick_pods(workload, family, true);
    let logs = join_all(sick.iter().take(TOLD.1).map(|sick| cluster.log(job.namespace.as_str(), sick))).await;
    let pods: Vec<Value> = sick
        .iter()
        .take(TOLD.0)
        .enumerate()
        .map(|(index, sick)| sick.to_json(logs.get(index).map_or(&[], |log| log.as_slice())))
        .collect();
    let undo = format!("kubectl -n {} rollout undo {}/{}", job.namespace, job.kind, job.name);
    let remedy = if code.remedy().contains("undo the rollout") {
        format!("{} (`{undo}`)", code.remedy())
    } else {
        code.remedy().to_owned()
    };
    let (progress, facts) = rollout::progress(workload, family);
    Fault::Failed(
        Error::new(code, format!("the restart of {} failed: {sentence}", job.what()))
            .with_remedy(remedy)
            .with_detail("progress", progress)
            .with_detail("rollout", facts)
            .with_detail("pods", pods)
            .with_detail("warnings", diagnosis::aggregate(&family.warnings, TOLD.2))
            .with_detail("undo", undo),
    )
}
