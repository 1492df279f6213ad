//! `run_playbook`: a playbook of the configured folder, on hosts of the inventory, begun once and watched to its end.

use crate::ansible::{Ansible, Library, Plan, Request, unseen};
use crate::tools::words::{list, slot, value};
use astradesk_core::tool::{Form, Grammar, Measure, Slot};
use astradesk_core::{Arguments, Effect, Error, FrozenCall, Result, Target, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a playbook may take whose manifest cannot be read.
const TIMEOUT: Duration = Duration::from_mins(10);
/// The most characters of what the schema says of the playbooks.
const DESCRIPTION: usize = 4000;

/// The most changes that a preview shows.
const DIFFERENCES: usize = 50;

/// The tool `run_playbook`.
pub struct RunPlaybook {
    ansible: Ansible,
    spec: Arc<ToolSpec>,
}

impl RunPlaybook {
    /// The tool on the playbooks of a folder.
    pub fn new(ansible: Ansible) -> Result<Self> {
        let known = ansible.library().map(|library| described(&library)).unwrap_or_default();
        let spec = ToolSpec {
            name: ToolName::parse("run_playbook")?,
            version: "1".to_owned(),
            description: "runs a playbook of the configured folder by Ansible, and succeeds once it has come to its end \
                          on every host"
                .to_owned(),
            effect: Some(Effect::Execute),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["playbook", "limit"],
                "properties": {
                    "playbook": {
                        "type": "string",
                        "description": format!("the playbook, by its name without an ending{known}"),
                        "maxLength": 64,
                        "pattern": "^[a-z0-9][a-z0-9_-]*$",
                    },
                    "limit": {
                        "type": "string",
                        "description": "the hosts and groups of the inventory that it is run on, with commas between them",
                        "minLength": 1,
                        "maxLength": 4000,
                        "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]*(, ?[A-Za-z0-9_][A-Za-z0-9._-]*)*$",
                    },
                    "vars": {
                        "type": "object",
                        "description": "the variables that the playbook's manifest knows",
                    },
                    "check": {
                        "type": "boolean",
                        "description": "whether it is run in check mode, which changes nothing",
                    },
                },
            }),
            timeout: TIMEOUT,
            grammar: grammar(),
        };
        Ok(Self { ansible, spec: Arc::new(spec) })
    }
}

/// The playbooks as the tool's schema tells of them: those that there are when it is made.
fn described(library: &Library) -> String {
    let mut text = String::new();
    for name in library.names() {
        let Ok(manifest) = library.manifest(&name) else { continue };
        let vars = manifest.vars.get("properties").and_then(Value::as_object);
        let vars = vars.into_iter().flat_map(Map::iter).map(|(name, schema)| {
            format!("{name}: {}", schema.get("type").and_then(Value::as_str).unwrap_or_default())
        });
        let vars = vars.collect::<Vec<_>>().join(", ");
        let vars = if vars.is_empty() { vars } else { format!(" (vars {vars})") };
        let more = format!("; `{name}` on {}: {}{vars}", manifest.hosts.join(", "), manifest.description);
        if text.len() + more.len() > DESCRIPTION {
            return text + "; …";
        }
        text += &more;
    }
    text
}

fn grammar() -> Grammar {
    let limit = value(
        Measure::Word,
        "on, on host, on hosts, on the host, on the hosts, on group, on the group, limit, limited to, with limit, na, na hoście, na \
         hostach, na grupie, na maszynie, na serwerze, z limitem",
        "",
    );
    let check = "in check mode, check mode, with check mode, as a check, w trybie sprawdzania, w trybie sprawdzającym, próbnie";
    Grammar {
        phrases: list(
            "run playbook, run the playbook, run ansible playbook, execute playbook, execute the playbook, start playbook, uruchom \
             playbook, uruchom playbooka, wykonaj playbook, odpal playbook, puść playbook",
        ),
        nouns: Vec::new(),
        slots: vec![
            Slot { required: true, ..slot("playbook", Form::Name) },
            Slot { required: true, ..slot("limit", limit) },
            slot("check", Form::Flag(list(check))),
        ],
        fillers: list("playbook, ansible"),
    }
}

#[async_trait]
impl Tool for RunPlaybook {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    /// The playbook with the digest of what it can use, and every host. What cannot be found out now is refused by
    /// [`guard`](Tool::guard), after policy has decided.
    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        let request = Request::of(arguments);
        let name = unseen(&request.playbook)?;
        Ok(self.ansible.plan(request).await.map_or_else(|_| vec![name], |plan| plan.targets))
    }

    async fn candidates(&self, argument: &str) -> Result<Vec<String>> {
        if argument == "playbook" { Ok(self.ansible.library()?.names()) } else { Ok(Vec::new()) }
    }

    fn timeout(&self, arguments: &Arguments) -> Duration {
        let library = self.ansible.library();
        let manifest = library.and_then(|library| library.manifest(&Request::of(arguments).playbook));
        manifest.map_or(TIMEOUT, |manifest| manifest.time_limit)
    }

    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        self.ansible.same(call).await.map(drop)
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        self.ansible.intend(step).await
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        let plan = self.ansible.same(call).await?;
        let rehearsed = if plan.manifest.check { Some(self.ansible.rehearse(&plan).await) } else { None };
        Ok(shown(&plan, rehearsed))
    }

    async fn perform(&self, _permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        self.ansible.begin(step).await
    }

    async fn verify(&self, step: &StepContext, receipt: &Value) -> Result<Value, Fault> {
        self.ansible.watch(step, receipt).await
    }

    async fn stop(&self, _permit: &Permit, step: &StepContext, receipt: &Value) -> Option<Error> {
        self.ansible.stop(step, receipt).await
    }
}

/// What would be run, and what check mode says of it.
fn shown(plan: &Plan, rehearsed: Option<Result<Value>>) -> Value {
    let Plan { request, library, manifest, hosts, tasks, .. } = plan;
    let mode = if request.check { ", in check mode," } else { "" };
    let hosts_named = if hosts.len() == 1 { "1 host".to_owned() } else { format!("{} hosts", hosts.len()) };
    let mut shown = json!({
        "summary": format!("would run playbook `{}`{mode} on {hosts_named}: {}", request.playbook, manifest.description),
        "playbook": request.playbook,
        "hosts": hosts,
        "tasks": tasks,
        "vars": request.vars,
        "digest": library.digest().to_string(),
        "time_limit": format!("{} s", manifest.time_limit.as_secs()),
    });
    let told = match rehearsed {
        None => {
            json!({"warning": "it has no check mode, so that what it would change is not known before"})
        }
        Some(Err(error)) => json!({"warning": format!("check mode: {}", error.message)}),
        Some(Ok(output)) => {
            json!({"difference": difference(&output), "checked": output.get("summary"), "check_mode": output})
        }
    };
    if let (Some(shown), Value::Object(told)) = (shown.as_object_mut(), told) {
        shown.extend(told);
    }
    shown
}

/// What check mode would change, where it says so line by line.
fn difference(output: &Value) -> Value {
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let of = |change: &Value| {
        let lines: Vec<&str> =
            change.get("diff").and_then(Value::as_array)?.iter().filter_map(Value::as_str).collect();
        let side = |sign: char| {
            let side = lines
                .iter()
                .filter(|line| !line.starts_with("---"))
                .filter_map(|line| line.strip_prefix(sign));
            let side = side.collect::<Vec<_>>().join("; ");
            (!side.is_empty()).then_some(side)
        };
        let path = format!("{}, {}", text(change, "host"), text(change, "task"));
        Some(json!({"path": path, "before": side('-'), "after": side('+')}))
    };
    let changes = output.get("changes").and_then(Value::as_array).into_iter().flatten();
    changes.filter_map(of).take(DIFFERENCES).collect()
}
