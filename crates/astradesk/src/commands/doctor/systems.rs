//! What `astradesk doctor` says of the systems beside the cluster.

use super::{Finding, bad, good};
use crate::app;
use crate::config::Config;
use astradesk_core::Result;

/// Whether the Alertmanager answers, if one is configured.
pub(super) async fn alertmanager(config: &Config, findings: &mut Vec<Finding>) {
    findings.extend(alerts(config).await.unwrap_or_else(|error| Some(bad(&error))));
}

/// Whether Prometheus answers, if one is configured.
pub(super) async fn prometheus(config: &Config, findings: &mut Vec<Finding>) {
    findings.extend(metrics(config).await.unwrap_or_else(|error| Some(bad(&error))));
}

async fn alerts(config: &Config) -> Result<Option<Finding>> {
    let Some(alertmanager) = app::alertmanager(config)? else { return Ok(None) };
    let version = alertmanager.version().await?;
    Ok(Some(good(format!("Alertmanager {version} answers at `{}`", alertmanager.url()))))
}

/// Whether Ansible answers, and what is wrong with its playbooks, if there are some.
pub(super) async fn ansible(config: &Config, findings: &mut Vec<Finding>) {
    findings.extend(playbooks(config).await.unwrap_or_else(|error| vec![bad(&error)]));
}

async fn playbooks(config: &Config) -> Result<Vec<Finding>> {
    let Some(ansible) = app::ansible(config)? else { return Ok(Vec::new()) };
    let (playbooks, hosts, broken) = ansible.answers().await?;
    let folder = config.ansible.folder.display();
    let fine = good(format!("Ansible answers: {playbooks} playbook(s) in `{folder}`, {hosts} host(s)"));
    Ok(std::iter::once(fine).chain(broken.iter().map(bad)).collect())
}

async fn metrics(config: &Config) -> Result<Option<Finding>> {
    let Some(prometheus) = app::metrics(config)? else { return Ok(None) };
    let version = prometheus.version().await?;
    let queries = prometheus.queries().all().len();
    Ok(Some(good(format!("Prometheus {version} answers at `{}`; {queries} named queries", prometheus.url()))))
}

/// Whether AWS answers, if a region is configured.
#[cfg(feature = "aws")]
pub(super) async fn aws(config: &Config, findings: &mut Vec<Finding>) {
    findings.extend(region(config).await.unwrap_or_else(|error| Some(bad(&error))));
}

#[cfg(feature = "aws")]
async fn region(config: &Config) -> Result<Option<Finding>> {
    let Some(aws) = app::aws(config)? else { return Ok(None) };
    let clusters = aws.clusters().await?;
    Ok(Some(good(format!("AWS answers in `{}`: {clusters} ECS cluster(s)", aws.region()))))
}
