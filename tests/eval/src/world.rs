//! What the sentences speak of: tools, services, aliases.
//!
//! The tools are those of the Operations pack, of which nothing but their words is asked.

use astradesk_core::name::{ClusterName, ExternalName, Namespace};
use astradesk_core::run::OnFailure;
use astradesk_core::{Plan, Result, ToolName, ToolSpec};
use astradesk_domain_ops::aws::{self, Aws};
use astradesk_domain_ops::prometheus::{Queries, Settings};
use astradesk_domain_ops::tools::{self, kubernetes};
use astradesk_domain_ops::{
    Alertmanager, Ansible, Bounds, Checks, Cluster, Pace, Prometheus, alertmanager, ansible, upstream,
};
use astradesk_runtime::planner::{Aliases, KeywordPlanner};
use astradesk_runtime::port::{Names, Planner as _, SystemClock};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The services, sorted.
pub const SERVICES: [&str; 10] = [
    "auth",
    "billing-worker",
    "checkout",
    "frontend",
    "ledger",
    "notifications",
    "payments-api",
    "redis-cache",
    "search-indexer",
    "webapp",
];

/// The silences.
pub const SILENCES: [&str; 2] =
    ["4bd5b6cd-1695-432a-ad6a-3c91b9c8bd2f", "7c1e2a90-0b1f-4c55-9a56-1f6f0a3d2e11"];

/// The playbooks, sorted.
pub const PLAYBOOKS: [&str; 2] = ["restart-nginx", "rotate-logs"];

/// The nodes, sorted.
pub const NODES: [&str; 3] = ["worker-1", "worker-2", "worker-3.example.com"];

/// The pods, sorted.
pub const PODS: [&str; 2] = ["ledger-0", "webapp-5d8f7c-x2x9p"];

/// What people call some of the services.
pub const ALIASES: [(&str, &str); 3] =
    [("payments", "payments-api"), ("bramka płatności", "payments-api"), ("search", "search-indexer")];

/// Tools, names and a planner.
pub struct World {
    planner: KeywordPlanner,
    tools: Vec<Arc<ToolSpec>>,
}

impl World {
    /// The world that the sentences speak of.
    ///
    /// # Errors
    /// A tool or an alias is not valid.
    pub fn new() -> Result<Self> {
        let (cluster, metrics) = (nowhere()?, no_prometheus()?);
        let clusters = std::slice::from_ref(&cluster);
        let checks = Checks::from(Some(metrics.clone()));
        let mut all = kubernetes::tools(clusters, OnFailure::Leave, Bounds::default(), &checks)?;
        all.extend(tools::prometheus::tools(&metrics, clusters)?);
        all.extend(tools::alertmanager::tools(&cluster, &no_alertmanager()?)?);
        all.extend(tools::ansible::tools(no_playbooks())?);
        all.extend(tools::aws::tools(&Aws::new(aws::Settings {
            region: "eu-central-1".to_owned(),
            profile: None,
            endpoint: None,
            timeout: Duration::from_secs(1),
        }))?);
        let tools = all.iter().map(|tool| tool.spec().clone()).collect();
        let aliases: BTreeMap<String, String> =
            ALIASES.iter().map(|(alias, name)| ((*alias).to_owned(), (*name).to_owned())).collect();
        Ok(Self { planner: KeywordPlanner::new(Arc::new(Aliases::new(&aliases)?)), tools })
    }

    /// What the planner makes of a sentence.
    ///
    /// # Errors
    /// As the planner says.
    pub async fn plan(&self, sentence: &str) -> Result<Plan> {
        self.planner.plan(sentence, &self.tools, self).await
    }
}

#[async_trait]
impl Names for World {
    async fn candidates(&self, _: &ToolName, argument: &str) -> Result<Option<Vec<String>>> {
        let names = match argument {
            "id" => &SILENCES[..],
            "playbook" => &PLAYBOOKS,
            "node" => &NODES,
            "pod" => &PODS,
            _ => &SERVICES,
        };
        Ok(Some(names.iter().map(|name| (*name).to_owned()).collect()))
    }

    async fn permitted(&self, _: &ToolName, _: &str, names: &[String]) -> Vec<String> {
        names.to_vec()
    }
}

/// Ansible with no folder that could be read.
fn no_playbooks() -> Ansible {
    Ansible::new(ansible::Settings {
        folder: "/nowhere".into(),
        inventory: "inventory".into(),
        programs: "/nowhere".into(),
        vault_password: None,
        environment: Vec::new(),
        max_hosts: 1,
        state: "/nowhere".into(),
    })
}

/// A cluster that nobody asks anything.
fn nowhere() -> Result<Cluster> {
    let address = "http://127.0.0.1:1".parse().map_err(|_| astradesk_core::Error::internal("no address"))?;
    let (name, namespace) = (ClusterName::parse("prod")?, Namespace::parse("default")?);
    let pace = Pace { per_second: 1, burst: 1 };
    Cluster::connect(kube::Config::new(address), name, namespace, Arc::new(SystemClock), pace)
}

/// What nobody asks anything.
fn no_upstream(name: &'static str) -> Result<upstream::Settings> {
    Ok(upstream::Settings {
        name,
        url: "http://127.0.0.1:1".parse().map_err(|_| astradesk_core::Error::internal("no address"))?,
        credentials: None,
        ca_file: None,
        timeout: Duration::from_secs(1),
        max_answer: 1,
    })
}

/// An Alertmanager that nobody asks anything.
fn no_alertmanager() -> Result<Alertmanager> {
    let upstream = no_upstream("Alertmanager")?;
    let service_labels = vec!["service={service}".to_owned()];
    let max_silence = Duration::from_hours(4);
    Alertmanager::new(alertmanager::Settings { upstream, service_labels, max_silence }, Arc::new(SystemClock))
}

/// A Prometheus that nobody asks anything.
fn no_prometheus() -> Result<Prometheus> {
    let settings = Settings {
        name: ExternalName::parse("main")?,
        upstream: no_upstream("Prometheus")?,
        queries: Queries::new(Vec::new(), None).map_err(astradesk_core::Error::internal)?,
        check_range: Duration::from_mins(1),
        max_series: 1,
    };
    Prometheus::new(settings, Arc::new(SystemClock))
}
