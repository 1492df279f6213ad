//! Watches a workload that its autoscaler has to scale: the minimum stays what was asked for, and what the autoscaler's
//! controller complains of is told when nothing comes of it.

use super::super::autoscalers::{Autoscaler, Minimum};
use super::super::cluster::Cluster;
use super::super::errors::Failure;
use super::super::once::{Job, Task};
use super::super::watch::LAG;
use super::{Changed, Receipt};
use astradesk_core::{Code, Error};
use astradesk_runtime::port::Fault;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How often it is looked whether the minimum is still what was asked for. No watch of them is kept.
const LOOK: Duration = Duration::from_secs(5);

/// Waits for what becomes of the workload (`scaled`), as long as the autoscaler has the minimum that it was given.
pub(super) async fn verify(
    cluster: &Cluster,
    job: &Job,
    receipt: &Receipt,
    changed: &Changed,
    scaled: impl Future<Output = Result<Value, Fault>>,
) -> Result<Value, Fault> {
    let minimum = Minimum { job, name: &changed.name };
    let replaced = async {
        loop {
            sleep(LOOK).await;
            if let Err(fault) = still(&minimum.get(cluster).await, receipt, job, changed) {
                return fault;
            }
        }
    };
    let outcome = tokio::select! {
        fault = replaced => return Err(fault),
        outcome = scaled => outcome,
    };
    match outcome {
        Ok(mut output) => {
            let now = settled(cluster, &minimum).await?;
            still(&now, receipt, job, changed)?;
            if let (Ok(autoscaler), Some(fields)) = (now, output.as_object_mut()) {
                fields.insert("autoscaler".to_owned(), autoscaler.to_json());
            }
            Ok(output)
        }
        Err(Fault::Failed(error)) => {
            let now = minimum.get(cluster).await;
            still(&now, receipt, job, changed)?;
            Err(Fault::Failed(match now {
                Ok(autoscaler) => told(error, &autoscaler),
                Err(_) => error,
            }))
        }
        Err(fault) => Err(fault),
    }
}

/// Refuses an autoscaler that is not as it was left; one that cannot be read now may be.
fn still(
    now: &Result<Autoscaler, Failure>,
    receipt: &Receipt,
    job: &Job,
    changed: &Changed,
) -> Result<(), Fault> {
    let how = match now {
        Ok(now) if now.uid != changed.uid => "it was deleted and made again".to_owned(),
        Ok(now) if now.min != receipt.replicas => format!("somebody has set it to {}", now.min),
        Err(failure) if failure.is_not_found() => "the autoscaler was deleted".to_owned(),
        Ok(_) | Err(_) => return Ok(()),
    };
    let (doing, replicas) = (receipt.doing(job), receipt.replicas);
    let message = format!("{doing} to {replicas} was replaced before it was complete: {how}");
    let error = Error::new(Code::RolloutSuperseded, message)
        .with_remedy("look at who changed the autoscaler; change it again if that is still needed");
    Err(Fault::Failed(error))
}

/// The autoscaler as it is at the end, or that there is none; asked for until that is known, and not much longer than the
/// time limit allows.
async fn settled(cluster: &Cluster, minimum: &Minimum<'_>) -> Result<Result<Autoscaler, Failure>, Fault> {
    loop {
        let failure = match minimum.get(cluster).await {
            Err(failure) if !failure.is_not_found() => failure,
            known => return Ok(known),
        };
        if !failure.is_transient() || Instant::now() >= minimum.deadline() {
            let seen = failure.into_error(&minimum.operation("get"));
            let (what, command) = (minimum.what(), minimum.command());
            let message =
                format!("{what} was changed, but whether it stayed so could not be seen: {}", seen.message);
            return Err(Fault::Unknown(
                Error::new(Code::RunOutcomeUnknown, message)
                    .with_remedy(format!("see `{command}` when the cluster answers again"))
                    .with_detail("seen", seen.code.as_str()),
            ));
        }
        sleep_until(minimum.deadline().min(Instant::now() + LAG)).await;
    }
}

/// The error, with what the autoscaler's controller says.
fn told(error: Error, now: &Autoscaler) -> Error {
    let mut error = error.with_detail("autoscaler", now.to_json());
    if let Some(complaint) = now.complaint().filter(|_| error.code == Code::ToolTimedOut) {
        error.message = format!("{}; of HorizontalPodAutoscaler `{}`, {complaint}", error.message, now.name);
    }
    error
}
