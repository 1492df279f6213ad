//! The rules of many teams, each written three times: as a Cedar policy, as a Rego rule, and as a datum for
//! Rego rules that look theirs up.

use serde_json::{Map, Value, json};

/// Rules of one team.
pub(crate) const PER_TEAM: usize = 10;
/// Policies in one file.
const PER_FILE: usize = 20;

/// What a rule does when it applies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Permit,
    Forbid,
}

/// What a rule is about.
#[derive(Clone, Copy)]
enum Action {
    /// Every tool with this effect.
    Effect(&'static str),
    Tool(&'static str),
}

/// What else must be so.
enum When {
    Always,
    /// The target has this tier, and fewer people than that have agreed.
    Unapproved {
        tier: &'static str,
        people: u32,
    },
    /// Nobody with this role has agreed.
    Without {
        role: String,
    },
    /// From this hour on, UTC.
    Late {
        hour: u32,
    },
    /// An agent asks, and the target has this tier.
    Agent {
        tier: &'static str,
    },
}

/// One policy.
pub(crate) struct Rule {
    id: String,
    verb: Verb,
    role: Option<String>,
    action: Action,
    namespace: String,
    name: Option<&'static str>,
    when: When,
}

/// The name of a team, which is its namespace too.
pub(crate) fn team(number: usize) -> String {
    format!("team-{number:04}")
}

/// So many rules, ten a team.
pub(crate) fn rules(count: usize) -> Vec<Rule> {
    (0..count.div_ceil(PER_TEAM)).flat_map(|number| of_team(&team(number))).take(count).collect()
}

/// Who may read, who may restart what, and when nobody may.
fn of_team(team: &str) -> [Rule; PER_TEAM] {
    let permit = |id: &str, role: &str, action, name| Rule {
        id: format!("{team}.{id}"),
        verb: Verb::Permit,
        role: Some(format!("{team}-{role}")),
        action,
        namespace: team.to_owned(),
        name,
        when: When::Always,
    };
    let forbid = |id: &str, name, when| Rule {
        id: format!("{team}.{id}"),
        verb: Verb::Forbid,
        role: None,
        action: Action::Effect("write"),
        namespace: team.to_owned(),
        name,
        when,
    };
    let restart = Action::Tool("restart_service");
    [
        permit("viewers-read", "viewer", Action::Effect("read"), None),
        permit("developers-read", "dev", Action::Effect("read"), None),
        permit("operators-read", "sre", Action::Effect("read"), None),
        permit("developers-restart-web", "dev", restart, Some("web")),
        permit("robots-restart-worker", "robot", restart, Some("worker")),
        permit("operators-write", "sre", Action::Effect("write"), None),
        forbid("critical-needs-two", None, When::Unapproved { tier: "critical", people: 2 }),
        forbid("ledger-needs-lead", Some("ledger"), When::Without { role: format!("{team}-lead") }),
        forbid("not-at-night", None, When::Late { hour: 22 }),
        forbid("no-agents-on-critical", None, When::Agent { tier: "critical" }),
    ]
}

/// Files with the policies in Cedar.
pub(crate) fn cedar(rules: &[Rule]) -> Vec<String> {
    rules.chunks(PER_FILE).map(|rules| rules.iter().map(Rule::cedar).collect()).collect()
}

/// Modules with a rule for each policy in Rego.
pub(crate) fn rego(rules: &[Rule]) -> Vec<String> {
    const HEAD: &str = "package astradesk\n\nimport rego.v1\n\n";
    let module = |rules: &[Rule]| HEAD.to_owned() + &rules.iter().map(Rule::rego).collect::<String>();
    let decision = format!("{HEAD}decision := {{\"permits\": permits, \"forbids\": forbids}}\n");
    std::iter::once(decision).chain(rules.chunks(PER_FILE).map(module)).collect()
}

/// The same rules as data, by what they are looked up by: permits by role and namespace, the others by namespace.
pub(crate) fn data(rules: &[Rule]) -> Value {
    let (mut permits, mut forbids) = (Map::new(), Map::new());
    for rule in rules {
        let by_namespace = match (&rule.verb, &rule.role) {
            (Verb::Permit, Some(role)) => {
                permits.entry(role.clone()).or_insert_with(|| json!({})).as_object_mut()
            }
            _ => Some(&mut forbids),
        };
        let list = by_namespace
            .map(|by_namespace| by_namespace.entry(rule.namespace.clone()).or_insert_with(|| json!([])));
        if let Some(list) = list.and_then(Value::as_array_mut) {
            list.push(rule.datum());
        }
    }
    json!({"rules": {"permits": permits, "forbids": forbids}})
}

impl Rule {
    fn cedar(&self) -> String {
        let principal = self
            .role
            .as_ref()
            .map_or("principal".to_owned(), |role| format!("principal in Role::\"{role}\""));
        let action = match self.action {
            Action::Effect(effect) => format!("action in Action::\"{effect}\""),
            Action::Tool(tool) => format!("action == Action::\"{tool}\""),
        };
        let mut parts = vec![format!("resource.namespace == \"{}\"", self.namespace)];
        parts.extend(self.name.map(|name| format!("resource.name == \"{name}\"")));
        let mut unless = String::new();
        match &self.when {
            When::Always => {}
            When::Unapproved { tier, people } => {
                parts.push(format!("resource has tier && resource.tier == \"{tier}\""));
                parts.push(format!("context.approvals.count < {people}"));
            }
            When::Without { role } => {
                unless = format!(
                    "\nunless {{ context.approvals.hasTag(\"{role}\") && context.approvals.getTag(\"{role}\") >= 1 }}"
                );
            }
            When::Late { hour } => parts.push(format!("context.now.toTime() >= duration(\"{hour}h\")")),
            When::Agent { tier } => {
                parts.push("principal has actor".to_owned());
                parts.push(format!("resource has tier && resource.tier == \"{tier}\""));
            }
        }
        let verb = if self.verb == Verb::Permit { "permit" } else { "forbid" };
        format!(
            "@id(\"{}\")\n{verb} ({principal}, {action}, resource)\nwhen {{ {} }}{unless};\n\n",
            self.id,
            parts.join(" && ")
        )
    }

    /// What excludes most requests stands first: nothing is looked at in vain.
    fn rego(&self) -> String {
        let mut lines = vec![format!("input.resource.namespace == \"{}\"", self.namespace)];
        lines.extend(self.name.map(|name| format!("input.resource.name == \"{name}\"")));
        lines.extend(self.role.as_ref().map(|role| format!("\"{role}\" in input.principal.roles")));
        lines.push(match self.action {
            Action::Effect(effect) => format!("input.action.effect == \"{effect}\""),
            Action::Tool(tool) => format!("input.action.tool == \"{tool}\""),
        });
        match &self.when {
            When::Always => {}
            When::Unapproved { tier, people } => {
                lines.push(format!("input.resource.tier == \"{tier}\""));
                lines.push(format!("input.approvals.count < {people}"));
            }
            When::Without { role } => {
                lines.push(format!("object.get(input.approvals.roles, \"{role}\", 0) < 1"));
            }
            When::Late { hour } => lines.push(format!("input.time % 86400 >= {}", hour * 3600)),
            When::Agent { tier } => {
                lines.push("input.principal.actor".to_owned());
                lines.push(format!("input.resource.tier == \"{tier}\""));
            }
        }
        let set = if self.verb == Verb::Permit { "permits" } else { "forbids" };
        format!("{set} contains \"{}\" if {{\n\t{}\n}}\n\n", self.id, lines.join("\n\t"))
    }

    fn datum(&self) -> Value {
        let (Action::Effect(action) | Action::Tool(action)) = self.action;
        let mut datum = json!({"id": self.id, "action": action});
        if let Some(name) = self.name {
            datum["name"] = json!(name);
        }
        datum["when"] = match &self.when {
            When::Always => return datum,
            When::Unapproved { tier, people } => {
                json!({"kind": "unapproved", "tier": tier, "people": people})
            }
            When::Without { role } => json!({"kind": "without", "role": role}),
            When::Late { hour } => json!({"kind": "late", "second": hour * 3600}),
            When::Agent { tier } => json!({"kind": "agent", "tier": tier}),
        };
        datum
    }
}
