//! `astradesk doctor`: what is configured, reachable and permitted, and what to do about the rest.

mod govern;
mod llm;
mod systems;

use super::Context;
use crate::cli::Output;
use crate::config::{Config, load};
use crate::display::{self, Mark};
use crate::{app, exit};
use astradesk_core::name::ObjectName;
use astradesk_core::{Code, Error, Result, Timestamp, ToolName};
use astradesk_domain_ops::Cluster;
use astradesk_runtime::port::{Clock as _, EvidenceFilter, Store as _, SystemClock};
use astradesk_store::{Options, SqliteStore};
use serde_json::{Value, json};

/// One thing that was looked at.
struct Finding {
    mark: Mark,
    what: String,
    remedy: Option<String>,
}

pub(super) async fn run(context: &Context) -> Result<u8> {
    super::serve::log_quietly();
    let mut findings = Vec::new();
    match context.sources().and_then(|sources| load(&sources)) {
        Ok((config, _)) => {
            findings.push(good("the configuration is valid"));
            policy(&config, &mut findings);
            govern::policies(&config, &mut findings).await;
            govern::guardrails(&config, &mut findings);
            govern::webhooks(&config, &mut findings);
            llm::ask(&config, &mut findings).await;
            systems::alertmanager(&config, &mut findings).await;
            systems::ansible(&config, &mut findings).await;
            systems::prometheus(&config, &mut findings).await;
            #[cfg(feature = "aws")]
            systems::aws(&config, &mut findings).await;
            store(&config, &mut findings).await;
            clusters(&config, &mut findings).await;
        }
        Err(error) => findings.push(bad(&error)),
    }
    let sound = findings.iter().all(|finding| finding.mark != Mark::Bad);
    if context.output == Output::Json {
        let all =
            findings.iter().map(|f| json!({"status": status(f.mark), "what": f.what, "remedy": f.remedy}));
        display::json(&json!({"sound": sound, "findings": all.collect::<Vec<_>>()}));
    } else {
        for finding in findings {
            display::mark(finding.mark, display::words(&finding.what));
            if let Some(remedy) = finding.remedy {
                display::note(format!("  → {}", display::words(&remedy)));
            }
        }
    }
    Ok(if sound { exit::DONE } else { exit::FAILED })
}

const fn status(mark: Mark) -> &'static str {
    match mark {
        Mark::Good => "good",
        Mark::Bad => "bad",
        Mark::Warning => "warning",
    }
}

fn good(what: impl Into<String>) -> Finding {
    Finding { mark: Mark::Good, what: what.into(), remedy: None }
}

fn warning(what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { mark: Mark::Warning, what: what.into(), remedy: Some(remedy.into()) }
}

fn bad(error: &Error) -> Finding {
    Finding {
        mark: Mark::Bad,
        what: format!("{} {}", error.code, error.message),
        remedy: Some(error.remedy.clone()),
    }
}

fn policy(config: &Config, findings: &mut Vec<Finding>) {
    let role = &config.policy.required_role_restart;
    if config.policy.allowed_services.is_empty() {
        findings.push(warning(
            "nothing may be changed: `ALLOWED_SERVICES` is empty",
            "name the services, for instance `ALLOWED_SERVICES=webapp,payments-api`",
        ));
    } else {
        let names: Vec<&str> = config.policy.allowed_services.iter().map(ObjectName::as_str).collect();
        let tools: Vec<&str> = config.policy.allowed_tools.iter().map(ToolName::as_str).collect();
        findings.push(good(format!(
            "the role `{role}` may use {} on {} in `{}`",
            if tools.is_empty() { "no tool".to_owned() } else { tools.join(", ") },
            names.join(", "),
            config.kubernetes.namespace
        )));
    }
    if !config.auth.dev && config.auth.issuers.is_empty() {
        findings.push(warning(
            "nobody can speak to a gateway: no issuer is configured",
            "add one under `auth.issuers`, or use `astradesk serve --dev` on loopback",
        ));
    } else {
        let dev = if config.auth.dev { ", and the development issuer" } else { "" };
        findings.push(good(format!("{} issuer(s) configured{dev}", config.auth.issuers.len())));
    }
}

async fn store(config: &Config, findings: &mut Vec<Finding>) {
    let path = config.state_dir().join("astradesk.db");
    match SqliteStore::open(&path, Options::default()).await {
        Ok(store) => {
            match store.ready().await {
                Ok(()) => findings.push(good(format!("the store `{}` can be written", path.display()))),
                Err(error) => findings.push(bad(&error)),
            }
            findings.push(clock(&store).await.unwrap_or_else(|error| bad(&error)));
            findings.extend(unfinished(&store).await.unwrap_or_else(|error| Some(bad(&error))));
            govern::kept(&store, findings).await;
            store.close().await;
        }
        Err(error) => findings.push(bad(&error)),
    }
}

/// Whether the clock is where it can be: not behind what is on record.
async fn clock(store: &SqliteStore) -> Result<Finding> {
    /// What the clocks of two machines may differ by.
    const TOLERANCE: i64 = 5;
    let last = store.head().await?.seq.saturating_sub(1);
    let filter = EvidenceFilter { after: last, limit: 1, ..EvidenceFilter::default() };
    let records = store.evidence(&filter).await?;
    let body = records.first().and_then(|record| serde_json::from_str::<Value>(&record.body).ok());
    let at = body.and_then(|body| body.get("at")?.as_str()?.parse::<Timestamp>().ok());
    let behind = at.map_or(0, |at| at.duration_since(SystemClock.now()).as_secs());
    if behind <= TOLERANCE {
        return Ok(good("the clock is not behind the evidence"));
    }
    let message = format!("the clock is {behind} s behind the last record of the evidence");
    Ok(bad(&Error::new(Code::ClockStepped, message)))
}

/// Runs that no process executes, if there are some.
async fn unfinished(store: &SqliteStore) -> Result<Option<Finding>> {
    const MOST: u32 = 1000;
    let runs = store.orphans(SystemClock.now(), MOST).await?.len();
    let or_more = if runs == MOST as usize { " or more" } else { "" };
    Ok((runs > 0).then(|| {
        warning(
            format!("{runs}{or_more} unfinished run(s) that no process executes"),
            "start `astradesk serve`, which takes them over, or watch one with `astradesk runs watch`",
        )
    }))
}

async fn clusters(config: &Config, findings: &mut Vec<Finding>) {
    match app::clusters::connect(config).await {
        Ok(clusters) => {
            for one in &clusters {
                cluster(one, config, findings).await;
            }
        }
        Err(error) => findings.push(bad(&error)),
    }
}

async fn cluster(cluster: &Cluster, config: &Config, findings: &mut Vec<Finding>) {
    match cluster.version().await {
        Ok(version) => {
            findings.push(good(format!("the cluster `{}` answers: Kubernetes {version}", cluster.name())));
        }
        Err(error) => return findings.push(bad(&error)),
    }
    match cluster.permissions(&config.kubernetes.namespace).await {
        Ok(permissions) => {
            let granted = permissions.iter().filter(|p| p.allowed).count();
            findings.push(good(format!(
                "{granted} of {} permissions are granted in `{}` of `{}`",
                permissions.len(),
                config.kubernetes.namespace,
                cluster.name()
            )));
            for missing in permissions.iter().filter(|p| !p.allowed) {
                let (verb, resource, why) = (missing.verb, missing.resource, missing.why_needed);
                let (mark, by) = if missing.in_cluster {
                    (Mark::Warning, "by a ClusterRole, if nodes are to be drained".to_owned())
                } else {
                    (Mark::Bad, format!("by a Role in `{}`", config.kubernetes.namespace))
                };
                let everywhere = if missing.in_cluster { " in the whole cluster" } else { "" };
                findings.push(Finding {
                    mark,
                    what: format!("may not {verb} {resource}{everywhere}: {why}"),
                    remedy: Some(format!("grant `{verb}` on `{resource}` {by}")),
                });
            }
        }
        Err(error) => findings.push(bad(&error)),
    }
}
