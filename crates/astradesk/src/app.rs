//! The Engine, put together from the configuration.

pub mod clusters;
mod objects;

use objects::ClusterObjects;

use crate::config::{Config, PlannerKind};
use astradesk_core::guardrail::with_builtin;
use astradesk_core::{Code, Error, Guardrail, Principal, Result, RoleName};
#[cfg(feature = "aws")]
use astradesk_domain_ops::aws::Aws;
use astradesk_domain_ops::tools::{self, kubernetes};
use astradesk_domain_ops::{Alertmanager, Ansible, Bounds, Checks, Cluster, OperationsPack, Prometheus};
use astradesk_llm::LlmPlanner;
use astradesk_packs::Folder;
use astradesk_policy::{CedarPolicy, PolicySources, Settings};
use astradesk_runtime::engine::{Limits, Parts};
use astradesk_runtime::evidence::Signer;
use astradesk_runtime::planner::{Guarded, KeywordPlanner};
use astradesk_runtime::port::{Packs as _, Planner, SystemClock};
use astradesk_runtime::{Engine, ToolRegistry, key};
use astradesk_store::{Options, SqliteStore};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// An Engine with what has to be closed after it.
pub struct App {
    /// The Engine.
    pub engine: Engine,
    /// The clusters, the main one first.
    pub clusters: Vec<Cluster>,
    /// The store.
    pub store: Arc<SqliteStore>,
}

impl App {
    /// Opens the store, connects the clusters, registers the Operations pack, and says that this process is
    /// alive. It takes over nobody's runs: see [`Engine::recover`].
    pub async fn open(config: &Config) -> Result<Self> {
        let clusters = clusters::connect(config).await?;
        let state = config.state_dir();
        let store = Arc::new(SqliteStore::open(&state.join("astradesk.db"), Options::default()).await?);
        let registry = Arc::new(registry(&clusters, config)?);
        let policy = Arc::new(policy(config, &registry));
        packs(config, &clusters, &registry, &policy);
        for doubt in doubts(config, &registry) {
            tracing::warn!(%doubt, "a doubt about the guardrails");
        }
        let engine = Engine::new(Parts {
            store: store.clone(),
            policy,
            registry,
            clock: Arc::new(SystemClock),
            signer: Arc::new(Signer::from_pkcs8(&evidence_key(&state.join("evidence.key"))?)?),
            guardrails: with_builtin(config.guardrails.clone()),
            webhooks: config.webhooks.iter().map(|webhook| webhook.name.clone()).collect(),
            limits: limits(config),
        });
        engine.begin().await?;
        Ok(Self { engine, clusters, store })
    }

    /// Lets runs reach a safe point, hands them over to whoever claims them next, and closes the store. Returns
    /// whether every run got there.
    pub async fn close(self, patience: Duration) -> bool {
        let clean = self.engine.stop(patience).await;
        self.store.close().await;
        clean
    }
}

/// The tools and agents on these clusters.
pub fn registry(clusters: &[Cluster], config: &Config) -> Result<ToolRegistry> {
    let registry = ToolRegistry::default();
    let replicas = Bounds { min: config.scale.min, max: config.scale.max };
    let metrics = metrics(config)?;
    let checks = Checks::from(metrics.clone());
    let mut pack = OperationsPack::new(planner(config)?)?.with(kubernetes::tools(
        clusters,
        config.policy.on_failure,
        replicas,
        &checks,
    )?);
    if let Some(metrics) = &metrics {
        pack = pack.with(tools::prometheus::tools(metrics, clusters)?);
    }
    if let (Some(main), Some(alertmanager)) = (clusters.first(), alertmanager(config)?) {
        pack = pack.with(tools::alertmanager::tools(main, &alertmanager)?);
    }
    if let Some(ansible) = ansible(config)? {
        pack = pack.with(tools::ansible::tools(ansible)?);
    }
    #[cfg(feature = "aws")]
    if let Some(aws) = aws(config)? {
        pack = pack.with(tools::aws::tools(&aws)?);
    }
    registry.register(&pack)?;
    Ok(registry)
}

/// Where metrics are; none if no Prometheus is configured.
pub fn metrics(config: &Config) -> Result<Option<Prometheus>> {
    let settings = config.prometheus.settings()?;
    settings.map(|settings| Prometheus::new(settings, Arc::new(SystemClock))).transpose()
}

/// The region of AWS; none if none is configured.
#[cfg(feature = "aws")]
pub fn aws(config: &Config) -> Result<Option<Aws>> {
    Ok(config.aws.settings()?.map(Aws::new))
}

/// The Alertmanager; none if none is configured.
pub fn alertmanager(config: &Config) -> Result<Option<Alertmanager>> {
    let settings = config.alertmanager.settings()?;
    settings.map(|settings| Alertmanager::new(settings, Arc::new(SystemClock))).transpose()
}

/// Ansible; none if no folder of playbooks is configured.
pub fn ansible(config: &Config) -> Result<Option<Ansible>> {
    Ok(config.ansible.settings(config.state_dir())?.map(Ansible::new))
}

/// How the agent `ops` plans.
fn planner(config: &Config) -> Result<Arc<dyn Planner>> {
    let keyword = Arc::new(KeywordPlanner::new(config.aliases.clone()));
    let Some(llm) = language_model(config)? else { return Ok(keyword) };
    Ok(match config.agents.ops.planner {
        PlannerKind::Keyword => keyword,
        PlannerKind::Llm => Arc::new(Guarded::only_guards(keyword, llm)),
        PlannerKind::KeywordThenLlm => Arc::new(Guarded::new(keyword, llm)),
    })
}

/// The language model that plans; none if none is configured.
pub fn language_model(config: &Config) -> Result<Option<Arc<LlmPlanner>>> {
    let settings = config.llm.settings()?;
    let planner = |settings| LlmPlanner::new(settings, config.aliases.clone(), Arc::new(SystemClock));
    settings.map(|settings| planner(settings).map(Arc::new)).transpose()
}

/// The policies in force: the built-in ones, and those of the configured folder. A set that is not valid denies
/// everything, and says so.
pub fn policy(config: &Config, registry: &ToolRegistry) -> CedarPolicy {
    let dir = Some(config.policy.dir.clone()).filter(|dir| !dir.as_os_str().is_empty());
    let sources =
        PolicySources { settings: settings(config), dir, known_roles: config.policy.known_roles.clone() };
    let tools = registry.tools().iter().map(|tool| tool.spec().clone()).collect();
    CedarPolicy::open(sources, tools, Arc::new(SystemClock))
}

/// Puts the packs of the configured folder in force, and lets whoever tends the Engine follow them. One that is not
/// valid is not in force, and its status says why.
fn packs(config: &Config, clusters: &[Cluster], registry: &Arc<ToolRegistry>, policy: &Arc<CedarPolicy>) {
    if config.packs.folder.as_os_str().is_empty() {
        return;
    }
    // The objects of packs are in the main cluster.
    let Some(cluster) = clusters.first() else { return };
    let objects = Arc::new(ClusterObjects(cluster.clone()));
    let (dir, clock) = (config.packs.folder.clone(), Arc::new(SystemClock));
    let folder = Arc::new(Folder::new(dir, objects, registry.clone(), policy.clone(), clock));
    folder.reload();
    registry.follow(folder);
}

/// The tools and the policies as they would be with this configuration; nobody is asked, and no cluster is there.
pub fn offline(config: &Config) -> Result<(Arc<ToolRegistry>, Arc<CedarPolicy>)> {
    let clusters = clusters::nowhere(config)?;
    let registry = Arc::new(registry(&clusters, config)?);
    let policy = Arc::new(policy(config, &registry));
    packs(config, &clusters, &registry, &policy);
    Ok((registry, policy))
}

/// What guardrails name that is not there, so that they guard less than they say.
pub fn doubts(config: &Config, registry: &ToolRegistry) -> Vec<String> {
    let unknown = |guardrail: &Guardrail| {
        let missing = guardrail.tools.iter().filter(|tool| registry.tool(tool.as_str()).is_err());
        let say = |tool| {
            format!(
                "guardrail `{}` is for the tool `{tool}`, which does not exist: it guards no call of it",
                guardrail.name
            )
        };
        missing.map(say).collect::<Vec<_>>()
    };
    config.guardrails.iter().flat_map(unknown).collect()
}

fn limits(config: &Config) -> Limits {
    let days = |days: u32| (days > 0).then(|| Duration::from_hours(24 * u64::from(days)));
    let minutes = |minutes: u32| Duration::from_mins(u64::from(minutes));
    Limits {
        concurrent_runs: config.limits.concurrent_runs,
        concurrent_per_tool: config.limits.concurrent_per_tool,
        queued_runs: config.limits.queued_runs,
        queued_per_target: config.limits.queued_per_target,
        run_timeout: minutes(config.limits.run_minutes),
        idempotency_ttl: Duration::from_hours(u64::from(config.limits.idempotency_hours)),
        approval: minutes(config.policy.approval_minutes),
        awaiting_runs: config.limits.awaiting_approval,
        checkpoint: minutes(config.evidence.checkpoint_minutes),
        keep_runs: days(config.runs.keep_days),
        keep_evidence: days(config.evidence.keep_days),
        ..Limits::default()
    }
}

/// The built-in policy's settings.
pub fn settings(config: &Config) -> Settings {
    Settings {
        required_role_restart: config.policy.required_role_restart.clone(),
        allowed_services: config.policy.allowed_services.clone(),
        allowed_tools: config.policy.allowed_tools.clone(),
        namespace: config.kubernetes.namespace.clone(),
        read_roles: config.policy.read_roles.clone(),
    }
}

/// The key in `path`; a fresh one, readable by its owner only, when there is none.
fn evidence_key(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| {
        Error::new(Code::StoreUnavailable, format!("the key `{}` cannot be used: {error}", path.display()))
    };
    if let Some(folder) = path.parent() {
        private_folder(folder)?;
    }
    key::of_file(path).map_err(failed)
}

/// Makes a folder, for its owner only, unless it is there.
pub fn private_folder(path: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| {
        Error::new(Code::StoreUnavailable, format!("the folder `{}` cannot be made: {error}", path.display()))
    })
}

/// Makes or empties a file that only its owner may read.
pub fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// The operating-system user, as the principal of the embedded Engine.
pub fn local_principal(roles: Vec<RoleName>) -> Principal {
    let uid = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    Principal {
        subject: user.map_or_else(|| format!("uid-{uid}"), |user| user.name),
        issuer: "local".to_owned(),
        roles: roles.into_iter().collect(),
        actor: None,
    }
}
