//! The configuration: defaults < `astradesk.toml` < environment (and `.env`) < flags.
//!
//! Every key stands once, in [`keys::KEYS`], with its default, its unit and its environment variables; the
//! typed [`Config`] is read from the merged table, so a key has one default and one meaning.

mod alertmanager;
mod ansible;
mod aws;
pub mod keys;
mod llm;
mod load;
mod prometheus;
mod tables;
mod upstream;

pub use alertmanager::Alertmanager;
pub use ansible::Ansible;
pub use aws::Aws;
pub use llm::{Agents, Llm, PlannerKind};
pub use load::{Sources, Values, load};
pub use prometheus::Prometheus;
pub use tables::{Webhook, WebhookSecret};

use astradesk_core::name::{ClusterName, Namespace, ObjectName};
use astradesk_core::run::OnFailure;
use astradesk_core::{Guardrail, RoleName, ToolName};
use astradesk_gateway::auth::Issuer;
use astradesk_runtime::planner::Aliases;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The gateway.
    pub server: Server,
    /// The gateway's door for agents.
    pub mcp: Mcp,
    /// Who may speak to the gateway.
    pub auth: Auth,
    /// Who may do what.
    pub policy: Policy,
    /// How each agent plans.
    pub agents: Agents,
    /// The language model that plans, if one does.
    pub llm: Llm,
    /// How many replicas a service may be given.
    pub scale: Scale,
    /// Where alerts are, and silences.
    pub alertmanager: Alertmanager,
    /// Where metrics are.
    pub prometheus: Prometheus,
    /// The region of AWS.
    pub aws: Aws,
    /// The packs that are not compiled in.
    pub packs: Packs,
    /// The playbooks that may be run, if some may.
    pub ansible: Ansible,
    /// The cluster.
    pub kubernetes: Kubernetes,
    /// The principal of the embedded Engine.
    pub local: Local,
    /// Where state and evidence are kept.
    pub store: Store,
    /// The Engine's limits.
    pub limits: Limits,
    /// What is kept as evidence.
    pub evidence: Evidence,
    /// What is kept of runs.
    pub runs: Runs,
    /// `[[guardrails]]`: when nothing may be done. The built-in ones are not among them.
    #[serde(skip)]
    pub guardrails: Vec<Guardrail>,
    /// `[aliases]`: what people call services.
    #[serde(skip)]
    pub aliases: Arc<Aliases>,
    /// `[[webhooks]]`: who is told that a run awaits approval.
    #[serde(skip)]
    pub webhooks: Vec<Webhook>,
    /// What is logged.
    pub log: Log,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Where the gateway listens.
    pub listen: SocketAddr,
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// The most requests in flight.
    pub max_concurrent_requests: usize,
    /// How long a stop waits for requests and runs, in seconds.
    pub stop_seconds: u64,
    /// How clients reach the gateway; empty: by its address.
    pub public_url: String,
}

/// `[mcp]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mcp {
    /// Further hosts that a request may be for.
    pub allowed_hosts: Vec<String>,
    /// Further origins of web pages that may speak to it.
    pub allowed_origins: Vec<String>,
    /// How long a call waits for its run unless it says otherwise, in seconds.
    pub wait_seconds: u64,
    /// The most sessions.
    pub sessions: usize,
}

/// `[auth]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Whether tokens of the built-in development issuer are accepted; on loopback only.
    pub dev: bool,
    /// `[[auth.issuers]]`: the issuers whose tokens are accepted.
    pub issuers: Vec<Issuer>,
}

/// `[policy]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The services that may be changed. Empty: none.
    pub allowed_services: Vec<ObjectName>,
    /// The tools that may change them.
    pub allowed_tools: Vec<ToolName>,
    /// The role that a change needs.
    pub required_role_restart: RoleName,
    /// Further roles that may read.
    pub read_roles: Vec<RoleName>,
    /// What becomes of a restart that failed, unless the call says.
    pub on_failure: OnFailure,
    /// The folder with policy files; empty: none.
    pub dir: PathBuf,
    /// The roles that the issuers give; empty: not known.
    pub known_roles: Vec<RoleName>,
    /// How long a run can be approved, in minutes.
    pub approval_minutes: u32,
}

/// `[scale]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// The fewest replicas. With 0, no call need accept the downtime.
    pub min: u32,
    /// The most replicas.
    pub max: u32,
}

/// `[packs]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packs {
    /// The folder with the packs; empty: none.
    pub folder: PathBuf,
}

/// `[kubernetes]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// The namespace that is managed.
    pub namespace: Namespace,
    /// The kubeconfig file; empty: `KUBECONFIG`, `~/.kube/config`, or the pod's own service account.
    pub kubeconfig: String,
    /// The kubeconfig's context; empty: its current one.
    pub context: String,
    /// The cluster's name in targets; empty: the context's name.
    #[serde(deserialize_with = "optional_cluster")]
    pub cluster: Option<ClusterName>,
    /// Contexts of further clusters: `CONTEXT`, or `NAME=CONTEXT`.
    pub contexts: Vec<String>,
    /// Requests a second to the API server, on average.
    pub requests_per_second: u32,
    /// Requests to the API server that may come at once after a quiet time.
    pub request_burst: u32,
}

fn optional_cluster<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ClusterName>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        Ok(None)
    } else {
        ClusterName::parse(text).map(Some).map_err(serde::de::Error::custom)
    }
}

/// `[local]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// The roles of the operating-system user in the embedded Engine; empty: the required role, since the
    /// kubeconfig is theirs already.
    pub roles: Vec<RoleName>,
}

/// `[store]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// The folder of the database and the evidence key; empty: `$XDG_STATE_HOME/astradesk`.
    pub path: PathBuf,
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Runs that are executed at the same time.
    pub concurrent_runs: usize,
    /// Runs with a step of the same tool that are executed at the same time.
    pub concurrent_per_tool: usize,
    /// Runs that may wait.
    pub queued_runs: usize,
    /// Runs that may wait for a target on which another run works.
    pub queued_per_target: usize,
    /// Runs that may await approval.
    pub awaiting_approval: u32,
    /// How long a run may wait before its last step begins, in minutes, also across restarts.
    pub run_minutes: u32,
    /// How long an idempotency key is remembered, in hours.
    pub idempotency_hours: u32,
}

/// `[evidence]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// How often a signed checkpoint is kept, in minutes.
    pub checkpoint_minutes: u32,
    /// How long evidence is kept, in days; 0: for ever.
    pub keep_days: u32,
}

/// `[runs]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runs {
    /// How long runs are kept after they ended, in days; 0: for ever.
    pub keep_days: u32,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// What is logged, as `tracing` directives.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// The folder of the database and the evidence key.
    pub fn state_dir(&self) -> PathBuf {
        if !self.store.path.as_os_str().is_empty() {
            return self.store.path.clone();
        }
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| ".".into()));
        let state = std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty());
        state.map_or_else(|| home().join(".local/state"), PathBuf::from).join("astradesk")
    }

    /// The roles of the operating-system user in the embedded Engine.
    pub fn local_roles(&self) -> Vec<RoleName> {
        if self.local.roles.is_empty() {
            vec![self.policy.required_role_restart.clone()]
        } else {
            self.local.roles.clone()
        }
    }
}
