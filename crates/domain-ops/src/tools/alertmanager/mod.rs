//! The tools of an Alertmanager, and what they have in common: what they act on.

mod check_alerts;
mod expire_silence;
mod silence_alert;

pub use check_alerts::CheckAlerts;
pub use expire_silence::ExpireSilence;
pub use silence_alert::SilenceAlert;

use super::kubernetes::{Subject, described, text, unresolved, workload_target};
use super::{external, keep, kept};
use crate::alertmanager::Alertmanager;
use crate::kubernetes::Cluster;
use astradesk_core::name::ExternalName;
use astradesk_core::target::Kind;
use astradesk_core::{Arguments, Facts, FrozenCall, Result, Target};
use astradesk_runtime::port::Tool;
use std::sync::Arc;

/// The system, as targets call it.
const SYSTEM: &str = "alertmanager";
/// The name of a target that stands for more than one alert.
const ANY: &str = "*";

/// The tools of an Alertmanager, which know the services of a cluster.
pub fn tools(cluster: &Cluster, alertmanager: &Alertmanager) -> Result<Vec<Arc<dyn Tool>>> {
    Ok(vec![
        Arc::new(CheckAlerts::new(cluster.clone(), alertmanager.clone())?),
        Arc::new(SilenceAlert::new(cluster.clone(), alertmanager.clone())?),
        Arc::new(ExpireSilence::new(alertmanager.clone())?),
    ])
}

/// What alerts are about: the workload that the arguments name, else the alert of this name, else any.
async fn alert_target(cluster: &Cluster, arguments: &Arguments, alert: Option<&str>) -> Result<Target> {
    if text(arguments, "service").is_some() {
        return workload_target(cluster, arguments).await;
    }
    // A name that no target can have is still silenced: by who may silence any.
    let named = alert.and_then(|alert| ExternalName::parse(alert).ok());
    external(SYSTEM, "alert", named.map_or_else(|| ExternalName::parse(ANY), Ok)?)
}

/// The service that a call is about, if it is about one; refused if there is none or several of this name.
async fn service_of(cluster: &Cluster, call: &FrozenCall) -> Result<Option<Subject>> {
    if !matches!(call.targets.as_slice(), [Target::Kubernetes { .. }]) {
        return Ok(None);
    }
    let subject = Subject::of(call)?;
    if subject.kind == Kind::Workload {
        return Err(unresolved(cluster, &subject).await);
    }
    Ok(Some(subject))
}

/// What policies ask about the service. Nothing is disrupted.
async fn facts_of(cluster: &Cluster, call: &FrozenCall, now: bool) -> Result<Vec<Facts>> {
    if !matches!(call.targets.as_slice(), [Target::Kubernetes { .. }]) {
        return Ok(vec![Facts::default(); call.targets.len()]);
    }
    let described = described(cluster, &Subject::of(call)?, now).await?;
    Ok(vec![described.map(|described| described.at_rest()).unwrap_or_default()])
}

#[cfg(test)]
mod tests;
