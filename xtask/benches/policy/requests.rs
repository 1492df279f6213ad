//! Requests that are permitted, forbidden, or nobody's, for AstraDesk and for Rego.

use crate::rules::team;
use anyhow::Result;
use astradesk_core::canonical::Digest;
use astradesk_core::{
    Approval, Call, Effect, Facts, FrozenCall, Principal, RoleName, Source, Timestamp, ToolName,
};
use astradesk_runtime::port::PolicyRequest;
use serde_json::{Value, json};

/// Different requests of one set of policies.
pub(crate) const REQUESTS: usize = 240;
/// Midday, and late in the evening.
const TIMES: [&str; 2] = ["2026-11-23T12:00:00Z", "2026-11-23T23:00:00Z"];

/// A kind of request: what in it differs from team to team.
struct Shape {
    role: &'static str,
    effect: Effect,
    name: &'static str,
    tier: Option<&'static str>,
    /// The roles of those who agreed.
    approved: &'static [&'static str],
    late: bool,
    agent: bool,
    /// The namespace is the next team's.
    elsewhere: bool,
}

const PLAIN: Shape = Shape {
    role: "sre",
    effect: Effect::Write,
    name: "web",
    tier: None,
    approved: &[],
    late: false,
    agent: false,
    elsewhere: false,
};

/// By day and by night, for people and agents, with and without approvals.
const SHAPES: [Shape; 12] = [
    Shape { role: "viewer", effect: Effect::Read, ..PLAIN },
    Shape { role: "sre", effect: Effect::Read, tier: Some("critical"), ..PLAIN },
    Shape { role: "dev", effect: Effect::Read, elsewhere: true, ..PLAIN },
    Shape { role: "dev", ..PLAIN },
    Shape { role: "dev", name: "ledger", ..PLAIN },
    Shape { role: "robot", name: "worker", agent: true, ..PLAIN },
    PLAIN,
    Shape { tier: Some("critical"), approved: &["sre", "lead"], ..PLAIN },
    Shape { tier: Some("critical"), approved: &["sre"], ..PLAIN },
    Shape { name: "ledger", approved: &["lead"], ..PLAIN },
    Shape { late: true, tier: Some("standard"), ..PLAIN },
    Shape { tier: Some("critical"), approved: &["sre", "lead"], agent: true, ..PLAIN },
];

/// What AstraDesk is asked.
pub(crate) struct Asked {
    principal: Principal,
    call: FrozenCall,
    facts: Vec<Facts>,
    approvals: Vec<Approval>,
    now: Timestamp,
}

impl Asked {
    pub(crate) fn request(&self) -> PolicyRequest<'_> {
        PolicyRequest {
            principal: &self.principal,
            source: Source::Http,
            planner: "direct",
            call: &self.call,
            facts: &self.facts,
            approvals: &self.approvals,
            break_glass: false,
            dry_run: false,
            now: self.now,
        }
    }

    /// The same as Rego's input.
    pub(crate) fn input(&self) -> Value {
        let target = self.call.targets.first().map(|target| json!(target.to_string()));
        let facts = self.facts.first();
        let roles = |role: &RoleName| self.approvals.iter().filter(|given| given.by.has_role(role)).count();
        let approvers: serde_json::Map<String, Value> = self
            .approvals
            .iter()
            .flat_map(|given| &given.by.roles)
            .map(|role| (role.to_string(), json!(roles(role))))
            .collect();
        let on = &self.call.targets[0];
        let mut input = json!({
            "principal": {"id": self.principal.id(), "roles": self.principal.roles},
            "action": {"tool": self.call.tool, "effect": self.call.effect, "arguments": self.call.arguments},
            "resource": {
                "id": target, "system": on.system(), "cluster": on.cluster(), "namespace": on.namespace(),
                "kind": on.kind(), "name": on.name(),
            },
            "approvals": {"count": self.approvals.len(), "roles": approvers},
            "source": "http", "planner": "direct", "dry_run": false, "time": self.now.as_second(),
        });
        if let Some(actor) = &self.principal.actor {
            input["principal"]["actor"] = json!(actor);
        }
        if let Some(tier) = facts.and_then(|facts| facts.tier.as_ref()) {
            input["resource"]["tier"] = json!(tier);
        }
        input
    }
}

/// Requests of so many teams, spread over all of them.
pub(crate) fn requests(teams: usize) -> Result<Vec<Asked>> {
    let number = |index: usize| index.wrapping_mul(7919) % teams;
    (0..REQUESTS)
        .zip(SHAPES.iter().cycle())
        .map(|(index, shape)| asked(number(index), teams, shape))
        .collect()
}

fn asked(number: usize, teams: usize, shape: &Shape) -> Result<Asked> {
    let own = team(number);
    // One more than there are teams: a namespace that no policy knows.
    let namespace = if shape.elsewhere { team((number + 1) % (teams + 1)) } else { own.clone() };
    let tool = if shape.effect == Effect::Read { "get_service_status" } else { "restart_service" };
    let arguments = json!({"namespace": namespace, "name": shape.name});
    let call =
        Call { tool: ToolName::parse(tool)?, arguments: arguments.as_object().cloned().unwrap_or_default() };
    let target = format!("kubernetes/production/{namespace}/deployment/{}", shape.name).parse()?;
    let now = TIMES[usize::from(shape.late)].parse()?;
    let approval = |(index, role): (usize, &&str)| {
        Ok(Approval {
            by: principal(&format!("approver-{index}"), &own, role, false)?,
            at: now,
            digest: Digest::of("the run"),
            reason: "looked at it".to_owned(),
        })
    };
    Ok(Asked {
        principal: principal("ada", &own, shape.role, shape.agent)?,
        call: FrozenCall::new(call, "1".to_owned(), shape.effect, vec![target]),
        facts: vec![Facts { tier: shape.tier.map(str::to_owned), ..Facts::default() }],
        approvals: shape.approved.iter().enumerate().map(approval).collect::<Result<_>>()?,
        now,
    })
}

/// Somebody with a role in a team, and with those that an issuer gives everybody.
fn principal(subject: &str, team: &str, role: &str, agent: bool) -> Result<Principal> {
    let roles = ["offline_access".to_owned(), "uma_authorization".to_owned(), format!("{team}-{role}")];
    let roles = roles.iter().map(RoleName::parse);
    Ok(Principal {
        subject: subject.to_owned(),
        issuer: "https://issuer.example/realms/production".to_owned(),
        roles: roles.collect::<astradesk_core::Result<_>>()?,
        actor: agent.then(|| "night-watch".to_owned()),
    })
}
