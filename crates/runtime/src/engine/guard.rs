//! Is this a sane moment? What is known of the targets, what guardrails object, and what is overridden.

use super::Engine;
use crate::port::{PolicyRequest, Spend, StepContext, Tool};
use crate::registry::Registered;
use astradesk_core::canonical::Digest;
use astradesk_core::decision::Reason;
use astradesk_core::guardrail::Allowance;
use astradesk_core::run::{Step, StepState};
use astradesk_core::{
    Code, Decision, Effect, Error, Facts, FrozenCall, Requirement, Result, Run, Timestamp, guardrail,
};
use serde_json::{Value, json};

/// What let a step through.
#[derive(Debug, Clone)]
pub(super) struct Clearance {
    /// The policies that permit it.
    pub(super) reasons: Vec<Reason>,
    /// The set that they are of.
    pub(super) policy_set: Digest,
    /// What guardrails objected, and was overridden.
    pub(super) overridden: Vec<Error>,
    /// What it takes from cool-downs and budgets.
    pub(super) spends: Vec<Spend>,
}

impl Clearance {
    /// The ids of the policies that permit it.
    pub(super) fn policies(&self) -> Vec<&str> {
        self.reasons.iter().map(|reason| reason.policy.as_str()).collect()
    }
}

impl Engine {
    /// What policy says of a call of the run, with everything that it is told.
    pub(super) fn decide(&self, run: &Run, call: &FrozenCall, facts: &[Facts], dry_run: bool) -> Decision {
        self.0.policy.decide(&self.policy_request(run, call, facts, dry_run))
    }

    pub(super) fn policy_request<'a>(
        &self,
        run: &'a Run,
        call: &'a FrozenCall,
        facts: &'a [Facts],
        dry_run: bool,
    ) -> PolicyRequest<'a> {
        PolicyRequest {
            principal: &run.principal,
            source: run.source,
            planner: &run.planner,
            call,
            facts,
            approvals: run.approved_by(),
            break_glass: run.break_glass,
            dry_run,
            now: self.0.clock.now(),
        }
    }

    /// What is known of the call's targets, if policy asks for it: as it is `now`, or was a moment ago.
    pub(super) async fn facts_for_policy(
        &self,
        tool: &Registered,
        call: &FrozenCall,
        now: bool,
    ) -> Result<Vec<Facts>> {
        if self.0.policy.needs_facts() { tool.tool.facts(call, now).await } else { Ok(Vec::new()) }
    }

    /// What the configured guardrails object to a step of the run now.
    pub(super) async fn objections(
        &self,
        run: &Run,
        step: usize,
        tool: &dyn Tool,
        facts: &[Facts],
    ) -> Result<Vec<Error>> {
        let Some(Step { call, .. }) = run.steps.get(step).filter(|one| one.call.effect != Effect::Read)
        else {
            return Ok(Vec::new());
        };
        let now = self.0.clock.now();
        let looked;
        let facts = if facts.is_empty() && self.guardrails_need_facts(call) {
            looked = tool.facts(call, false).await?;
            &looked
        } else {
            facts
        };
        let mut objections: Vec<Error> =
            guardrail::objections(&self.0.guardrails, call, facts, now).collect();
        for allowance in guardrail::allowances(&self.0.guardrails, call) {
            let planned = self.planned(run, step, &allowance);
            if planned >= allowance.limit {
                objections.push(allowance.exhausted(now));
                continue;
            }
            let left = Allowance { limit: allowance.limit - planned, ..allowance.clone() };
            if let Some(oldest) = self.0.store.exhausted(&left, (run.id, step), now).await? {
                objections.push(allowance.exhausted(oldest));
            }
        }
        Ok(objections)
    }

    /// How many steps of the run that have not begun come before this one and count against the same.
    fn planned(&self, run: &Run, step: usize, allowance: &Allowance) -> u32 {
        let before = run
            .steps
            .iter()
            .take(step)
            .filter(|one| matches!(one.state, StepState::Pending) && one.call.effect != Effect::Read);
        let counts = |one: &&Step| {
            let all = guardrail::allowances(&self.0.guardrails, &one.call);
            all.iter().any(|other| other.key == allowance.key)
        };
        before.filter(counts).count() as u32
    }

    fn guardrails_need_facts(&self, call: &FrozenCall) -> bool {
        let covering = |guardrail: &&guardrail::Guardrail| {
            call.targets.iter().any(|target| guardrail.covers(&call.tool, target))
        };
        self.0.guardrails.iter().filter(covering).any(|guardrail| guardrail.rule.needs_facts())
    }

    /// Asks everything once more that was asked when the run was admitted, of the policies in force when it is done.
    pub(super) async fn clear(&self, run: &Run, context: &StepContext) -> Result<Clearance> {
        loop {
            let policy_set = self.0.policy.digest();
            let cleared = self.clear_under(policy_set, run, context).await;
            if self.0.policy.digest() == policy_set {
                return cleared;
            }
        }
    }

    /// Going back is not what freezes and budgets are for: guardrails let an undo through.
    async fn clear_under(&self, policy_set: Digest, run: &Run, context: &StepContext) -> Result<Clearance> {
        let call = &context.call;
        let tool = self.0.registry.tool(call.tool.as_str())?;
        let undoes = context.undoes.is_some();
        if !undoes {
            self.approval_holds(run, call).await?;
        }
        same_version(&tool, call)?;
        let asked = self.0.policy.needs_facts() || !undoes && self.guardrails_need_facts(call);
        let facts = if asked { tool.tool.facts(call, true).await? } else { Vec::new() };
        let request = self.policy_request(run, call, &facts, false);
        let reasons = match self.0.policy.decide(&request) {
            Decision::Permit { reasons } => reasons,
            Decision::Deny { error, .. } => return Err(error),
            // Whoever agreed to the effect need not agree to its undo, whatever policy asks for by now.
            Decision::NeedsApproval { .. } if undoes => Vec::new(),
            Decision::NeedsApproval { required, .. } => return Err(needs_more(run, &required)),
        };
        if undoes {
            return Ok(Clearance { reasons, policy_set, overridden: Vec::new(), spends: Vec::new() });
        }
        let objections = self.objections(run, context.step, &*tool.tool, &facts).await?;
        let overridden = self.overridable(run, &request, objections)?;
        let spends = self.spends(run, context.step, call, self.0.clock.now());
        Ok(Clearance { reasons, policy_set, overridden, spends })
    }

    /// The objections, if they may be overridden and are to be.
    ///
    /// # Errors
    /// The first of them, or that the glass may not be broken.
    pub(super) fn overridable(
        &self,
        run: &Run,
        request: &PolicyRequest<'_>,
        objections: Vec<Error>,
    ) -> Result<Vec<Error>> {
        if run.break_glass {
            self.0.policy.may_break_glass(request)?;
            return Ok(objections);
        }
        objections.into_iter().next().map_or(Ok(Vec::new()), Err)
    }

    /// What a step takes from cool-downs and budgets, unless they are overridden.
    pub(super) fn spends(&self, run: &Run, step: usize, call: &FrozenCall, at: Timestamp) -> Vec<Spend> {
        if call.effect == Effect::Read {
            return Vec::new();
        }
        let allowances = guardrail::allowances(&self.0.guardrails, call).into_iter();
        // Whoever breaks the glass spends as well, though nothing can be exhausted for them.
        let allowances = allowances.map(|mut allowance| {
            if run.break_glass {
                allowance.limit = u32::MAX;
            }
            allowance
        });
        allowances.map(|allowance| Spend { allowance, run: run.id, step, at }).collect()
    }
}

/// Policy asks for more approvals than there are.
fn needs_more(run: &Run, required: &Requirement) -> Error {
    if run.approvals.is_none() {
        return Error::new(Code::ApprovalRequired, format!("policy asks for {required} by now"))
            .with_remedy("submit it again, and have it approved");
    }
    let message = format!("the approvals are no longer enough: policy asks for {required} by now");
    Error::new(Code::ApprovalWithdrawn, message)
}

/// What was overridden, as the evidence shows it.
pub(super) fn overridden(run: &Run, step: Option<usize>, objections: &[Error]) -> Value {
    let guardrails: Value = objections
        .iter()
        .map(|error| {
            json!({"guardrail": error.details.get("guardrail"), "code": error.code, "message": error.message})
        })
        .collect();
    json!({"step": step, "reason": run.reason, "guardrails": guardrails})
}

/// Refuses a call of a tool that was replaced by one of another definition.
pub(super) fn same_version(tool: &Registered, call: &FrozenCall) -> Result<()> {
    if (&tool.spec().version, tool.effect) == (&call.version, call.effect) {
        return Ok(());
    }
    let message = format!("tool `{}` has another version now than the run was admitted with", call.tool);
    Err(Error::new(Code::RunStateConflict, message))
}
