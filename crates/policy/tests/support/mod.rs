//! Tools, principals and requests for the tests of policies.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

use astradesk_core::canonical::Digest;
use astradesk_core::name::ObjectName;
use astradesk_core::tool::Grammar;
use astradesk_core::{
    Approval, Arguments, Call, Decision, Effect, Facts, FrozenCall, Principal, RoleName, Source, Timestamp,
    ToolName, ToolSpec,
};
use astradesk_policy::{CedarPolicy, PolicySources, Settings};
use astradesk_runtime::port::{Policy, PolicyRequest, SystemClock};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const WEBAPP: &str = "kubernetes/prod/default/deployment/webapp";
pub(crate) const PAYMENTS: &str = "kubernetes/prod/default/statefulset/payments";

pub(crate) fn role(name: &str) -> RoleName {
    RoleName::parse(name).unwrap()
}

pub(crate) fn settings(allowed: &str) -> Settings {
    let names = allowed.split(',').map(str::trim);
    Settings {
        allowed_services: names
            .filter(|name| !name.is_empty())
            .map(|n| ObjectName::parse(n).unwrap())
            .collect(),
        read_roles: vec![role("viewer")],
        ..Settings::default()
    }
}

pub(crate) fn principal(subject: &str, roles: &[&str]) -> Principal {
    Principal {
        subject: subject.to_owned(),
        issuer: "https://issuer.example".to_owned(),
        roles: roles.iter().map(|name| role(name)).collect(),
        actor: None,
    }
}

/// An agent that acts for somebody.
pub(crate) fn agent(subject: &str, roles: &[&str]) -> Principal {
    Principal { actor: Some("bot".to_owned()), ..principal(subject, roles) }
}

pub(crate) fn approval(subject: &str, roles: &[&str]) -> Approval {
    Approval {
        by: principal(subject, roles),
        at: Timestamp::UNIX_EPOCH,
        digest: Digest::ZERO,
        reason: "it is needed".to_owned(),
    }
}

/// The tools, as packs would describe them.
pub(crate) fn tools() -> Vec<Arc<ToolSpec>> {
    let tool = |name: &str, effect: Effect, required: &[&str], properties: Value| {
        Arc::new(ToolSpec {
            name: ToolName::parse(name).unwrap(),
            version: "1".to_owned(),
            description: String::new(),
            effect: Some(effect),
            input_schema: json!({
                "type": "object", "additionalProperties": false, "required": required, "properties": properties,
            }),
            timeout: Duration::from_secs(1),
            grammar: Grammar::default(),
        })
    };
    let text = json!({"type": "string"});
    let flag = json!({"type": "boolean"});
    vec![
        tool("get_metrics", Effect::Read, &["service"], json!({"service": text, "namespace": text})),
        tool("query_metrics", Effect::Read, &["promql"], json!({"promql": text})),
        tool("get_service_logs", Effect::Read, &["service"], json!({"service": text, "namespace": text})),
        tool("get_service_status", Effect::Read, &["service"], json!({"service": text, "namespace": text})),
        tool(
            "list_services",
            Effect::Read,
            &[],
            json!({"namespace": text, "secret": {"type": "string", "writeOnly": true}}),
        ),
        tool(
            "restart_service",
            Effect::Write,
            &["service"],
            json!({
                "service": text, "namespace": text, "accept_downtime": flag,
                "on_failure": {"type": "string", "enum": ["leave", "undo"]},
                "roles": {"type": "array", "items": text}, "approvals": {"type": "integer"},
            }),
        ),
        tool(
            "rollback_service",
            Effect::Write,
            &["service"],
            json!({"service": text, "namespace": text, "revision": {"type": "integer"}, "accept_downtime": flag}),
        ),
        tool(
            "scale_service",
            Effect::Write,
            &["service"],
            json!({"service": text, "namespace": text, "replicas": {"type": "integer"}, "accept_downtime": flag}),
        ),
        tool(
            "run_playbook",
            Effect::Execute,
            &["playbook"],
            json!({"playbook": text, "forks": {"type": "integer"}, "hosts": {"type": "array", "items": text}, "extra": {"type": "object"}}),
        ),
    ]
}

pub(crate) fn effect(tool: &str) -> Effect {
    tools()
        .iter()
        .find(|spec| spec.name.as_str() == tool)
        .and_then(|spec| spec.effect)
        .unwrap_or(Effect::Write)
}

/// The built-in policies of these settings.
pub(crate) fn built_in(settings: &Settings) -> CedarPolicy {
    let policy = open(settings, None);
    assert_eq!(policy.status().problem, None);
    policy
}

/// The policies of these settings and of the files of a folder.
pub(crate) fn open(settings: &Settings, dir: Option<&Path>) -> CedarPolicy {
    let sources =
        PolicySources { settings: settings.clone(), dir: dir.map(Path::to_owned), known_roles: Vec::new() };
    CedarPolicy::open(sources, tools(), Arc::new(SystemClock))
}

/// A folder with these files.
pub(crate) fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

/// The built-in policies of the usual settings, and these.
pub(crate) fn with(text: &str) -> CedarPolicy {
    let dir = folder(&[("site.cedar", text)]);
    let policy = open(&settings("webapp,payments"), Some(dir.path()));
    assert_eq!(policy.status().problem, None);
    policy
}

/// A call and its circumstances.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) principal: Principal,
    pub(crate) call: FrozenCall,
    pub(crate) source: Source,
    pub(crate) planner: &'static str,
    pub(crate) facts: Vec<Facts>,
    pub(crate) approvals: Vec<Approval>,
    pub(crate) break_glass: bool,
    pub(crate) dry_run: bool,
    pub(crate) now: Timestamp,
}

impl Ask {
    /// A call of a tool on targets of which nothing special is known.
    pub(crate) fn new(principal: &Principal, tool: &str, arguments: Value, targets: &[&str]) -> Self {
        let arguments: Arguments = serde_json::from_value(arguments).unwrap();
        let call = Call { tool: ToolName::parse(tool).unwrap(), arguments };
        let targets: Vec<_> = targets.iter().map(|target| target.parse().unwrap()).collect();
        Self {
            principal: principal.clone(),
            facts: vec![Facts::default(); targets.len()],
            call: FrozenCall::new(call, "1".to_owned(), effect(tool), targets),
            source: Source::Http,
            planner: "direct",
            approvals: Vec::new(),
            break_glass: false,
            dry_run: false,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    /// A restart of `webapp`.
    pub(crate) fn restart(principal: &Principal) -> Self {
        Self::new(principal, "restart_service", json!({"service": "webapp"}), &[WEBAPP])
    }

    pub(crate) fn request(&self) -> PolicyRequest<'_> {
        PolicyRequest {
            principal: &self.principal,
            source: self.source,
            planner: self.planner,
            call: &self.call,
            facts: &self.facts,
            approvals: &self.approvals,
            break_glass: self.break_glass,
            dry_run: self.dry_run,
            now: self.now,
        }
    }

    pub(crate) fn decide(&self, policy: &CedarPolicy) -> Decision {
        policy.decide(&self.request())
    }
}

/// A decision in one line: what it is, the code or the approvals, and the policies.
pub(crate) fn line(decision: &Decision) -> String {
    let names = |reasons: &[astradesk_core::decision::Reason]| {
        reasons.iter().map(|reason| reason.policy.as_str()).collect::<Vec<_>>().join(" ")
    };
    let line = match decision {
        Decision::Permit { reasons } => format!("permit  {}", names(reasons)),
        Decision::Deny { error, reasons } => format!("deny  {}  {}", error.code, names(reasons)),
        Decision::NeedsApproval { required, reasons } => {
            format!("needs approval  {required}  {}", names(reasons))
        }
    };
    line.trim_end().to_owned()
}
