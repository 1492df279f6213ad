//! From a submission to a planned, checked and frozen run.

use super::refuse::uncommitted;
use super::{Engine, MAX_INPUT, Request, Submission};
use crate::planner::Language;
use crate::port::{Change, Names};
use crate::registry::Registered;
use astradesk_core::approval::check_reason;
use astradesk_core::canonical::Digest;
use astradesk_core::consultation::Usage;
use astradesk_core::evidence::{Draft, Kind};
use astradesk_core::plan::MAX_CALLS;
use astradesk_core::run::{State, Step};
use astradesk_core::{
    AgentName, Code, Consultation, Decision, Error, FrozenCall, Plan, Principal, Result, Run, RunId, Source,
    ToolName, ToolSpec, Understood,
};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A planned submission: the run that it would become, and the tools of its steps.
pub(super) struct Candidate {
    pub(super) run: Run,
    /// Which words its calls come from.
    pub(super) understood: Vec<Understood>,
    pub(super) tools: Vec<Arc<Registered>>,
}

/// What a submission asks for, as calls.
pub(super) struct Planned {
    agent: Option<AgentName>,
    input: Option<String>,
    plan: Plan,
}

impl Engine {
    /// The calls that a submission asks for, under the id that its run would have.
    pub(super) async fn make_plan(&self, submission: &Submission, id: RunId) -> Result<Planned> {
        let (agent, input, plan) = match &submission.request {
            Request::Say { agent, input } => {
                let (agent, plan) = self.plan(submission, id, agent, input).await?;
                (Some(agent), Some(input.clone()), plan)
            }
            Request::Call(call) => (None, None, Plan::direct(call.clone())),
        };
        match &submission.reason {
            Some(reason) => check_reason(reason)?,
            None if submission.break_glass => {
                return Err(Error::new(
                    Code::RequestReasonRequired,
                    "guardrails are not overridden without a reason",
                ));
            }
            None => {}
        }
        if plan.calls.is_empty() {
            return Err(Error::new(Code::PlanNoAction, "the plan has no step"));
        }
        if plan.calls.len() > MAX_CALLS {
            let message = format!("the plan has {} steps, and {MAX_CALLS} is the limit", plan.calls.len());
            return Err(Error::new(Code::PlanTooLong, message));
        }
        Ok(Planned { agent, input, plan })
    }

    /// The run that a submission would become, with the tools as they are now.
    pub(super) async fn candidate(
        &self,
        submission: &Submission,
        id: RunId,
        planned: &Planned,
    ) -> Result<Candidate> {
        let Planned { agent, input, plan } = planned;
        let mut steps = Vec::with_capacity(plan.calls.len());
        let mut tools = Vec::with_capacity(plan.calls.len());
        for call in plan.calls.iter().cloned() {
            let tool = self.0.registry.tool(call.tool.as_str())?;
            tool.check(&call.arguments)?;
            let targets = tool.tool.targets(&call.arguments).await?;
            if targets.is_empty() {
                return Err(Error::internal(format!("tool `{}` derived no target", call.tool)));
            }
            let on_failure = tool.tool.on_failure(&call.arguments);
            let call = FrozenCall::new(call, tool.spec().version.clone(), tool.effect, targets);
            steps.push(Step::new(call, on_failure));
            tools.push(tool);
        }
        let now = self.0.clock.now();
        let run = Run {
            id,
            version: 1,
            principal: submission.principal.clone(),
            source: submission.source,
            agent: agent.clone(),
            input: input.clone(),
            planner: plan.planner.clone(),
            created_at: now,
            updated_at: now,
            deadline: now.saturating_add(self.0.limits.run_timeout).unwrap_or(now),
            holder: None,
            fence: 0,
            state: State::Submitted,
            steps,
            reason: submission.reason.clone(),
            break_glass: submission.break_glass,
            trace: submission.trace.clone(),
            approvals: None,
            cancel_requested: false,
            undo_requested: false,
        };
        Ok(Candidate { run, understood: plan.understood.clone(), tools })
    }

    async fn plan(
        &self,
        submission: &Submission,
        id: RunId,
        agent: &str,
        input: &str,
    ) -> Result<(AgentName, Plan)> {
        check_input(input)?;
        let agent = self.0.registry.agent(agent)?;
        let tools: Vec<_> = self.0.registry.tools().iter().map(|tool| tool.spec().clone()).collect();
        let names =
            PrincipalNames { planning: Some(Planning::of(submission, id)), ..self.names_for(submission) };
        let (name, input) = (agent.name().clone(), input.to_owned());
        // In a task of its own: a caller that goes away must not leave a model asked and nothing on record.
        let planning = self.0.tasks.spawn(async move { agent.plan(&input, &tools, &names).await });
        let plan =
            planning.await.map_err(|error| Error::internal(format!("a planner failed: {error}")))??;
        Ok((name, plan))
    }

    fn names_for(&self, submission: &Submission) -> PrincipalNames {
        let (principal, source) = (submission.principal.clone(), submission.source);
        PrincipalNames { engine: self.clone(), principal, source, planning: None }
    }
}

fn check_input(input: &str) -> Result<()> {
    let length = input.chars().count();
    if input.trim().is_empty() || length > MAX_INPUT {
        return Err(Error::new(
            Code::PlanInputInvalid,
            format!(
                "the input has {length} characters, and must have 1 to {MAX_INPUT} that are not white space"
            ),
        ));
    }
    if let Some(control) = input.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
        return Err(Error::new(
            Code::PlanInputInvalid,
            format!("the input has the control character `{}`", control.escape_default()),
        ));
    }
    Ok(())
}

impl Engine {
    /// The names that begin with `prefix`, that `argument` of the tool may take, and that the principal may use it on:
    /// sorted, of the first `limit`. None for who may not use the tool at all, or when they cannot be found out.
    pub async fn names(
        &self,
        principal: &Principal,
        source: Source,
        (tool, argument): (&str, &str),
        prefix: &str,
        limit: usize,
    ) -> Vec<String> {
        let Ok(tool) = self.tool(principal, tool) else { return Vec::new() };
        let (engine, principal) = (self.clone(), principal.clone());
        let names = PrincipalNames { engine, principal, source, planning: None };
        let tool = &tool.spec().name;
        let Ok(Some(mut candidates)) = names.candidates(tool, argument).await else { return Vec::new() };
        candidates.retain(|name| name.starts_with(prefix));
        candidates.truncate(limit);
        names.permitted(tool, argument, &candidates).await
    }
}

/// The names that exist, those among them that may be shown to the principal, and the evidence of what is asked of
/// others for them.
struct PrincipalNames {
    engine: Engine,
    principal: Principal,
    source: Source,
    planning: Option<Planning>,
}

/// The request that is being planned.
struct Planning {
    run: RunId,
    trace: Option<String>,
    request_digest: Digest,
}

impl Planning {
    fn of(submission: &Submission, run: RunId) -> Self {
        let request_digest = Digest::of_value(&json!(submission.request));
        Self { run, trace: submission.trace.clone(), request_digest }
    }
}

#[async_trait]
impl Names for PrincipalNames {
    async fn candidates(&self, tool: &ToolName, argument: &str) -> Result<Option<Vec<String>>> {
        let tool = self.engine.0.registry.tool(tool.as_str())?;
        if !self.engine.0.policy.may_use(&self.principal, tool.spec()) {
            return Ok(None);
        }
        tool.tool.candidates(argument).await.map(Some)
    }

    fn languages(&self) -> Vec<Arc<Language>> {
        self.engine.0.registry.languages()
    }

    async fn permitted(&self, tool: &ToolName, argument: &str, candidates: &[String]) -> Vec<String> {
        let Ok(registered) = self.engine.0.registry.tool(tool.as_str()) else { return Vec::new() };
        let mut permitted = Vec::new();
        for candidate in candidates {
            let arguments = [(argument.to_owned(), Value::from(candidate.as_str()))].into_iter().collect();
            let Ok(targets) = registered.tool.targets(&arguments).await else { continue };
            let call = astradesk_core::Call { tool: tool.clone(), arguments };
            let call = FrozenCall::new(call, registered.spec().version.clone(), registered.effect, targets);
            let Ok(facts) = self.engine.facts_for_policy(&registered, &call, false).await else { continue };
            let request = crate::port::PolicyRequest {
                principal: &self.principal,
                source: self.source,
                planner: "candidates",
                call: &call,
                facts: &facts,
                approvals: &[],
                break_glass: false,
                dry_run: true,
                now: self.engine.0.clock.now(),
            };
            if matches!(
                self.engine.0.policy.decide(&request),
                Decision::Permit { .. } | Decision::NeedsApproval { .. }
            ) {
                permitted.push(candidate.clone());
            }
        }
        permitted
    }
    fn may_use(&self, tool: &ToolSpec) -> bool {
        self.engine.0.policy.may_use(&self.principal, tool)
    }

    async fn consulted(&self, consultation: Consultation) -> Result<()> {
        let Some(planning) = &self.planning else {
            return Err(Error::internal("a model was asked, and nothing is being planned"));
        };
        let mut data = json!(consultation);
        if let Value::Object(data) = &mut data {
            data.insert("request_digest".to_owned(), json!(planning.request_digest));
        }
        let draft = Draft {
            at: self.engine.0.clock.now(),
            kind: Kind::ModelConsulted,
            run: Some(planning.run),
            principal: Some(self.principal.clone()),
            trace: planning.trace.clone(),
            data,
        };
        self.engine.0.consulted.add(consultation.usage);
        let change = Change { evidence: vec![draft], ..Change::default() };
        self.engine.0.store.commit(change).await.map(|_| ()).map_err(uncommitted)
    }
}

/// Counts what language models were asked.
#[derive(Default)]
pub(super) struct Consulted {
    questions: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
}

impl Consulted {
    fn add(&self, usage: Usage) {
        self.questions.fetch_add(1, Ordering::Relaxed);
        self.prompt_tokens.fetch_add(usage.prompt_tokens, Ordering::Relaxed);
        self.completion_tokens.fetch_add(usage.completion_tokens, Ordering::Relaxed);
    }

    pub(super) fn so_far(&self) -> (u64, Usage) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let tokens = Usage {
            prompt_tokens: load(&self.prompt_tokens),
            completion_tokens: load(&self.completion_tokens),
        };
        (load(&self.questions), tokens)
    }
}
