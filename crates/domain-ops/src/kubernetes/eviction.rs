//! Evictions: a pod is asked to go, which its PodDisruptionBudget may refuse, and is then waited for.
//!
//! Each is bound to the id of its pod, so that it may be sent again: a pod goes once, and what comes in its place, even
//! under its name, has another id.

use super::cluster::Cluster;
use super::errors::{Applied, Failure, Operation};
use super::once::{LAST_LOOK, PAUSE, Sent};
use super::redact;
use super::residents::{PodRef, Resident};
use astradesk_core::{Code, Error};
use astradesk_runtime::port::Fault;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout_at};

/// What a cluster says of the eviction of a pod that has no budget of its own but several.
const SEVERAL: &str = "more than one PodDisruptionBudget";

/// What became of an eviction.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The pod goes, or is gone; `by_us` unless it was gone before anything was sent.
    Going { by_us: bool },
    /// A budget does not let it go now; `certain` unless an earlier request may still arrive.
    Refused { error: Error, certain: bool },
    /// It can never be evicted as things are.
    Never(Error),
}

impl Cluster {
    /// Sends one eviction, once, if its turn comes before `until`. Without that it is a dry run, which asks the budgets
    /// and takes nothing from them.
    pub(crate) async fn evict(&self, pod: &PodRef, until: Option<Instant>) -> Result<(), Failure> {
        let PodRef { namespace, name, uid } = pod;
        // Without its version, which clusters older and newer than 1.22 write differently; and not by kube's own
        // function, which calls the options as no cluster does.
        let eviction = json!({
            "metadata": {"namespace": namespace, "name": name},
            "deleteOptions": {"preconditions": {"uid": uid}},
        });
        let api: Api<Pod> = self.requests().api(namespace.as_str());
        let params = PostParams { dry_run: until.is_none(), ..PostParams::default() };
        let request = api.create_subresource::<_, Value>("eviction", name.as_str(), &params, &eviction);
        self.requests().in_turn(request, until).await.map(drop)
    }

    /// What the cluster would say to the eviction.
    pub(crate) async fn try_evicting(&self, pod: &PodRef) -> Result<(), Error> {
        match self.evict(pod, None).await {
            Ok(()) => Ok(()),
            Err(failure) => Err(refusal(&failure, pod)
                .or_else(|| never(&failure, pod))
                .unwrap_or_else(|| failure.into_error(&operation(pod)))),
        }
    }
}

/// Evicts a pod, unless it is found to go already; `repeated` if that may have been sent before.
pub(crate) async fn evict(
    cluster: &Cluster,
    pod: &PodRef,
    repeated: bool,
    deadline: Instant,
) -> Result<Answer, Fault> {
    let mut sent = if repeated { Sent::Maybe } else { Sent::Nothing };
    let mut pause = PAUSE.0;
    loop {
        if sent > Sent::Nothing {
            match look(cluster, pod, deadline).await {
                Ok(found) if found.as_ref().is_none_or(|found| found.terminating) => {
                    return Ok(Answer::Going { by_us: sent == Sent::Maybe });
                }
                Ok(_) => {}
                Err(failure) if failure.is_transient() && Instant::now() < deadline => {}
                Err(failure) => return Err(given_up(sent, pod, failure.into_error(&reading(pod)))),
            }
        }
        if Instant::now() >= deadline {
            let message = format!("the time limit passed before {pod} could be evicted");
            return Err(given_up(sent, pod, Error::new(Code::ToolTimedOut, message)));
        }
        let until = deadline + LAST_LOOK;
        let failure = match timeout_at(until, cluster.evict(pod, Some(until))).await {
            Ok(Ok(())) => return Ok(Answer::Going { by_us: true }),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::TimedOut,
        };
        if failure.is_not_found() {
            return Ok(Answer::Going { by_us: sent == Sent::Maybe });
        }
        if let Some(error) = refusal(&failure, pod) {
            return Ok(Answer::Refused { error, certain: sent < Sent::Maybe });
        }
        if let Some(error) = never(&failure, pod) {
            return Ok(Answer::Never(error));
        }
        match failure.applied() {
            Applied::No if !failure.is_transient() => {
                return Err(given_up(sent, pod, failure.into_error(&operation(pod))));
            }
            Applied::No => {}
            // Another pod has the name, or somebody changed this one or its budget at the same time.
            Applied::Conflict => sent = sent.max(Sent::Refused),
            Applied::Maybe => sent = Sent::Maybe,
        }
        sleep_until(deadline.min(Instant::now() + pause)).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Waits until the pod is gone; whether it is when the time limit has passed.
pub(crate) async fn gone(cluster: &Cluster, pod: &PodRef, deadline: Instant) -> Result<bool, Error> {
    let mut pause = PAUSE.0;
    loop {
        match look(cluster, pod, deadline).await {
            Ok(None) => return Ok(true),
            Ok(Some(_)) if Instant::now() >= deadline => return Ok(false),
            Ok(Some(_)) => {}
            Err(failure) if failure.is_transient() && Instant::now() < deadline => {}
            Err(failure) => return Err(failure.into_error(&reading(pod))),
        }
        sleep_until(deadline.min(Instant::now() + pause)).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// The pod as it is, unless it is gone.
async fn look(cluster: &Cluster, pod: &PodRef, deadline: Instant) -> Result<Option<Resident>, Failure> {
    let reading = cluster.resident(&pod.namespace, &pod.name);
    let found = timeout_at(deadline.max(Instant::now()) + LAST_LOOK, reading).await;
    let found = found.unwrap_or(Err(Failure::TimedOut))?;
    Ok(found.filter(|found| found.pod.uid == pod.uid))
}

fn operation(pod: &PodRef) -> Operation {
    Operation::new("create", "pods/eviction", pod.namespace.as_str(), pod.name.as_str())
}

fn reading(pod: &PodRef) -> Operation {
    Operation::new("list", "pods", pod.namespace.as_str(), pod.name.as_str())
}

/// Which budget does not let the pod go, if that is why it was refused.
fn refusal(failure: &Failure, pod: &PodRef) -> Option<Error> {
    let Failure::Api(kube::Error::Api(status)) = failure else { return None };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let cause = causes.into_iter().find(|cause| cause.reason == "DisruptionBudget")?;
    let said = redact::line(&cause.message, 300);
    let budget = said.strip_prefix("The disruption budget ").and_then(|rest| rest.split(' ').next());
    let budget = budget.unwrap_or_default().to_owned();
    let message = format!("the PodDisruptionBudget `{budget}` does not let {pod} go now: {said}");
    Some(Error::new(Code::GuardDisruptionBudget, message).with_detail("budget", budget))
}

/// Why it is refused whenever it is asked.
fn never(failure: &Failure, pod: &PodRef) -> Option<Error> {
    let Failure::Api(kube::Error::Api(status)) = failure else { return None };
    status.message.contains(SEVERAL).then(|| {
        let message = format!("{SEVERAL} covers {pod}, and no cluster evicts such a pod");
        Error::new(Code::KubernetesRejected, message).with_remedy("let only one of them cover it")
    })
}

/// An end is certain only when no eviction may have been sent.
fn given_up(sent: Sent, pod: &PodRef, error: Error) -> Fault {
    if sent == Sent::Maybe { unknown(pod, &error) } else { Fault::Failed(error) }
}

/// Whether the pod was evicted is not known.
pub(crate) fn unknown(pod: &PodRef, seen: &Error) -> Fault {
    let PodRef { namespace, name, uid } = pod;
    let message = format!("whether {pod} was evicted could not be established: {}", seen.message);
    let remedy = format!(
        "look whether `kubectl -n {namespace} get pod {name} -o yaml` still shows `uid: {uid}`: if it does, and the pod is not \
         terminating a minute from now, it was not"
    );
    let error = Error::new(Code::RunOutcomeUnknown, message).with_remedy(remedy);
    Fault::Unknown(error.with_detail("seen", seen.code.as_str()).with_detail("uid", uid.clone()))
}
