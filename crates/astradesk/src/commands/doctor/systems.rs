//! What `astradesk doctor` says of the systems beside the cluster.

use super::{Finding, bad, good};
use crate::app;
use crate::config::Config;
use astradesk_core::Result;

/// Whether the Alertmanager answers, if one is configured.
pub(super) async fn alertmanager(config: &Config, findings: &mut Vec<Finding>) {
    findings.extend(alerts(config).await.unwrap_or_else(|error| Some(bad(&error))));
}

async fn alerts(config: &Config) -> Result<Option<Finding>> {
    let Some(alertmanager) = app::alertmanager(config)? else { return Ok(None) };
    let version = alertmanager.version().await?;
    Ok(Some(good(format!("Alertmanager {version} answers at `{}`", alertmanager.url()))))
}
