//! `list_services`: every workload of a namespace, in one line each.

use super::read::{Read, Reading};
use super::words::{list, namespace_slot};
use super::{Subject, namespace_schema, namespace_target};
use crate::kubernetes::rollout::stage;
use crate::kubernetes::scope::PATIENCE;
use crate::kubernetes::workload::Workload;
use crate::kubernetes::{Cluster, redact};
use astradesk_core::tool::Grammar;
use astradesk_core::{Arguments, Effect, FrozenCall, Result, Target, Timestamp, ToolName, ToolSpec};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// The most services that are listed.
const LIMIT: usize = 500;

/// The tool `list_services`.
pub(super) struct ListServices;

impl ListServices {
    /// The tool on a cluster.
    pub(super) fn new(cluster: Cluster) -> Result<Reading<Self>> {
        let spec = ToolSpec {
            name: ToolName::parse("list_services")?,
            version: "1".to_owned(),
            description:
                "lists the Deployments, StatefulSets and DaemonSets of a namespace with their readiness \
                          and the state of their rollouts"
                    .to_owned(),
            effect: Some(Effect::Read),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {"namespace": namespace_schema(&cluster)},
            }),
            timeout: Duration::from_secs(10),
            grammar: Grammar {
                phrases: list(
                    "list services, list all services, list the services, list of services, the list of services, list of the services, show services, \
                     show the services, show me the services, which services are, which services are there, what \
                     services are there, what services are, list all the services, list the running services, wypisz usługi, wylistuj usługi, wylistuj \
                     serwisy, wylistuj services, pokaż usługi, pokaż serwisy, wyświetl usługi, wyświetl serwisy, \
                     lista usług, listę usług, liście usług, listę serwisów, lista serwisów, jakie mamy usługi, jakie \
                     są usługi, jakie usługi są, jakie usługi mamy, pokaż wszystkie usługi, pokaż wszystkie serwisy",
                ),
                nouns: Vec::new(),
                slots: vec![namespace_slot()],
                fillers: list("all, running, zrób"),
            },
        };
        Ok(Reading::new(Self, cluster, spec))
    }
}

fn row(workload: &Workload, now: Timestamp) -> Value {
    json!({
        "name": workload.name,
        "kind": workload.kind,
        "ready": workload.ready,
        "wanted": workload.wanted,
        "rollout": stage(workload).name(),
        "age_seconds": workload.created.map(|at| now.duration_since(at).as_secs().max(0)),
        "restarted_at": workload.restarted_at().map(|at| redact::line(at, 64)),
    })
}

#[async_trait]
impl Read for ListServices {
    async fn target(&self, cluster: &Cluster, arguments: &Arguments) -> Result<Target> {
        namespace_target(cluster, arguments)
    }

    fn told(&self, subject: &Subject) -> String {
        format!("would list the services of namespace `{}`", subject.namespace)
    }

    async fn read(
        &self,
        cluster: &Cluster,
        _: &FrozenCall,
        Subject { namespace, .. }: &Subject,
        _: Instant,
    ) -> Result<Value> {
        let scope = cluster.scope(namespace);
        scope.ready(PATIENCE).await?;
        let now = cluster.now();
        let workloads = scope.workloads();
        let total = workloads.len();
        let unwell = workloads.iter().filter(|w| w.available < w.wanted).count();
        let services: Vec<Value> = workloads.iter().take(LIMIT).map(|workload| row(workload, now)).collect();
        let well = match unwell {
            0 => "all of them have every pod available".to_owned(),
            1 => "1 of them lacks available pods".to_owned(),
            n => format!("{n} of them lack available pods"),
        };
        let summary = match total {
            0 => format!("there is no service in namespace `{namespace}`"),
            1 => format!(
                "1 service in namespace `{namespace}`; {}",
                if unwell == 0 { "every pod is available" } else { "it lacks available pods" }
            ),
            n => format!("{n} services in namespace `{namespace}`; {well}"),
        };
        Ok(json!({
            "summary": summary,
            "namespace": namespace,
            "services": services,
            "total": total,
            "truncated": total > LIMIT,
            "observed_at": now.to_string(),
        }))
    }
}
