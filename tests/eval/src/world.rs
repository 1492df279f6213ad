//! What the sentences speak of: tools, services, aliases.
//!
//! The tools of the Operations pack are its own; those that it does not have yet are declared here, with the words that
//! they would have.

use astradesk_core::name::{ClusterName, Namespace};
use astradesk_core::run::OnFailure;
use astradesk_core::tool::{Form, Grammar, Measure, Slot};
use astradesk_core::{Effect, Plan, Result, ToolName, ToolSpec};
use astradesk_domain_ops::tools::{self, kubernetes};
use astradesk_domain_ops::{Alertmanager, Ansible, Bounds, Cluster, Pace, alertmanager, ansible, upstream};
use astradesk_runtime::planner::{Aliases, KeywordPlanner};
use astradesk_runtime::port::{Names, Planner as _, SystemClock};
use async_trait::async_trait;
use serde_json::json;
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
        let cluster = nowhere()?;
        let mut all = kubernetes::tools(std::slice::from_ref(&cluster), OnFailure::Leave, Bounds::default())?;
        all.extend(tools::alertmanager::tools(&cluster, &no_alertmanager()?)?);
        all.extend(tools::ansible::tools(no_playbooks())?);
        let mut tools: Vec<_> = all.iter().map(|tool| tool.spec().clone()).collect();
        tools.push(metrics()?);
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

/// An Alertmanager that nobody asks anything.
fn no_alertmanager() -> Result<Alertmanager> {
    let url = "http://127.0.0.1:1".parse().map_err(|_| astradesk_core::Error::internal("no address"))?;
    let upstream = upstream::Settings {
        name: "Alertmanager",
        url,
        credentials: None,
        ca_file: None,
        timeout: Duration::from_secs(1),
        max_answer: 1,
    };
    let service_labels = vec!["service={service}".to_owned()];
    let max_silence = Duration::from_hours(4);
    Alertmanager::new(alertmanager::Settings { upstream, service_labels, max_silence }, Arc::new(SystemClock))
}

fn list(phrases: &str) -> Vec<String> {
    phrases.split(',').map(|phrase| phrase.trim().to_owned()).collect()
}

fn tool(
    name: &str,
    effect: Effect,
    (phrases, nouns): (&str, &str),
    slots: Vec<Slot>,
    fillers: &str,
) -> Result<Arc<ToolSpec>> {
    let service = Slot { argument: "service".to_owned(), form: Form::Name, required: true, locates: false };
    let after = "in namespace, in the namespace, from namespace, namespace, in the * namespace, in * namespace, \
                 from the * namespace, w namespace, z namespace, w przestrzeni nazw, w przestrzeni, z przestrzeni nazw";
    let namespace = Slot { locates: true, ..value("namespace", Measure::Word, after, &[]) };
    let common = "service, app, usługa, usługę, usługi, usługą, serwis, serwisu, serwisem, aplikacja, aplikację, aplikacji";
    Ok(Arc::new(ToolSpec {
        name: ToolName::parse(name)?,
        version: "1".to_owned(),
        description: String::new(),
        effect: Some(effect),
        input_schema: json!({"type": "object", "additionalProperties": false}),
        timeout: Duration::from_secs(1),
        grammar: Grammar {
            phrases: list(phrases),
            nouns: if nouns.is_empty() { Vec::new() } else { list(nouns) },
            slots: [vec![service, namespace], slots].concat(),
            fillers: [list(common), list(fillers)].concat(),
        },
    }))
}

fn value(argument: &str, of: Measure, after: &str, before: &[&str]) -> Slot {
    let before = before.iter().map(|phrase| (*phrase).to_owned()).collect();
    let form = Form::Value { of, after: list(after), before };
    Slot { argument: argument.to_owned(), form, required: false, locates: false }
}

fn one_of(argument: &str, phrases: &str, means: &str) -> Slot {
    let form = Form::OneOf(list(phrases).into_iter().map(|phrase| (phrase, json!(means))).collect());
    Slot { argument: argument.to_owned(), form, required: false, locates: false }
}

fn metrics() -> Result<Arc<ToolSpec>> {
    let window = value(
        "window",
        Measure::Duration,
        "last, the last, for the last, over the last, from the last, past, z ostatnich, za ostatnie, ostatnie",
        &[],
    );
    let hour = one_of(
        "window",
        "from the last hour, for the last hour, over the last hour, last hour, z ostatniej godziny",
        "1h",
    );
    tool(
        "get_metrics",
        Effect::Read,
        (
            "metrics, metrics of, metrics for, what are the metrics of, metryki, metryk, jakie są metryki, jakie metryki ma",
            "",
        ),
        vec![window, hour],
        "from, z",
    )
}
