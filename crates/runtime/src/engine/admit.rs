//! From a submission to an admitted, denied or previewed run.

use super::record::calls;
use super::refuse::{not_found, uncommitted};
use super::{Engine, MAX_INPUT, Preview, PreviewedStep, Request, Submission, Submitted};
use crate::port::{Change, CommitError, IdempotencyKey, Names};
use crate::registry::Registered;
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Draft, Kind};
use astradesk_core::plan::MAX_CALLS;
use astradesk_core::run::{By, Event, State, Step, advance, decide};
use astradesk_core::{
    AgentName, Code, Decision, Effect, Error, FrozenCall, Plan, Principal, Result, Run, RunId, Source,
    ToolName,
};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// A planned submission: the run that it would become, and the tools of its steps.
pub(super) struct Candidate {
    pub(super) run: Run,
    pub(super) tools: Vec<Arc<Registered>>,
}

impl Engine {
    /// The one door. A read is answered with its output; a write is admitted and goes on by itself.
    ///
    /// # Errors
    /// A plan that cannot be made (`plan.*`, `tool.*`, `agent.*`), a denial (`policy.*`), a guardrail
    /// (`guard.*`, of which `guard.queue_full` is a limit), a used key (`request.idempotency_conflict`), or a
    /// clock that has just stepped (`clock.stepped`). Nothing was done then, and the evidence says so; a denied
    /// run's id is in the details as `run`.
    pub async fn submit(&self, submission: Submission) -> Result<Submitted> {
        self.refuse_when_stopping()?;
        let key = self.idempotency_key(&submission)?;
        // A request that is repeated while the first one is still being admitted waits for that.
        let _admitting = match &key {
            Some(key) => Some(self.0.keys.enter((key.principal.clone(), key.key.clone())).await),
            None => None,
        };
        if let Some(key) = &key
            && let Some(first) = self.first_request(key).await?
        {
            return Ok(first);
        }
        let candidate = match self.candidate(&submission).await {
            Ok(candidate) => candidate,
            Err(error) => return Err(self.record_refusal(&submission, error).await?),
        };
        let needs_approval = self.authorize(&candidate, submission.dry_run).await?;
        if submission.dry_run {
            return self.preview(candidate).await.map(Submitted::Preview);
        }
        if !needs_approval && candidate.run.steps.iter().all(|step| step.call.effect == Effect::Read) {
            return self.read(candidate, key).await;
        }
        self.0.steady.check(&*self.0.clock)?;
        self.guard(&candidate).await?;
        self.admit(candidate, needs_approval, key).await
    }

    fn idempotency_key(&self, submission: &Submission) -> Result<Option<IdempotencyKey>> {
        let Some(key) = &submission.idempotency_key else { return Ok(None) };
        if submission.dry_run {
            return Ok(None);
        }
        if !(1..=255).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::new(
                Code::RequestMalformed,
                "the idempotency key is not 1 to 255 visible ASCII characters",
            ));
        }
        let now = self.0.clock.now();
        Ok(Some(IdempotencyKey {
            principal: submission.principal.id(),
            key: key.clone(),
            request: Digest::of_value(&json!(submission.request)),
            run: self.0.clock.run_id(),
            now,
            expires_at: now.saturating_add(self.0.limits.idempotency_ttl).unwrap_or(now),
        }))
    }

    /// The run of the first request with this key, if there was one.
    async fn first_request(&self, key: &IdempotencyKey) -> Result<Option<Submitted>> {
        match self.0.store.idempotency(&key.principal, &key.key, key.now).await? {
            Some((run, request)) => self.replay(key, run, request).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn replay(
        &self,
        key: &IdempotencyKey,
        run: RunId,
        request: Digest,
    ) -> Result<Submitted> {
        if request != key.request {
            return Err(Error::new(
                Code::RequestIdempotencyConflict,
                format!("the idempotency key `{}` was used for another request", key.key),
            )
            .with_detail("run", run.to_string()));
        }
        let run = self.0.store.run(run).await?.ok_or_else(|| not_found(run))?;
        Ok(Submitted::Run { run: Box::new(run), replayed: true })
    }

    async fn candidate(&self, submission: &Submission) -> Result<Candidate> {
        let (agent, input, plan) = match &submission.request {
            Request::Say { agent, input } => {
                let (agent, plan) = self.plan(&submission.principal, submission.source, agent, input).await?;
                (Some(agent), Some(input.clone()), plan)
            }
            Request::Call(call) => (None, None, Plan::direct(call.clone())),
        };
        if plan.calls.is_empty() {
            return Err(Error::new(Code::PlanNoAction, "the plan has no step"));
        }
        if plan.calls.len() > MAX_CALLS {
            let message = format!("the plan has {} steps, and {MAX_CALLS} is the limit", plan.calls.len());
            return Err(Error::new(Code::PlanTooLong, message));
        }
        let mut steps = Vec::with_capacity(plan.calls.len());
        let mut tools = Vec::with_capacity(plan.calls.len());
        for call in plan.calls {
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
            id: self.0.clock.run_id(),
            version: 1,
            principal: submission.principal.clone(),
            source: submission.source,
            agent,
            input,
            planner: plan.planner,
            created_at: now,
            updated_at: now,
            deadline: now.saturating_add(self.0.limits.run_timeout).unwrap_or(now),
            holder: None,
            fence: 0,
            state: State::Submitted,
            steps,
            cancel_requested: false,
            undo_requested: false,
        };
        Ok(Candidate { run, tools })
    }

    async fn plan(
        &self,
        principal: &Principal,
        source: Source,
        agent: &str,
        input: &str,
    ) -> Result<(AgentName, Plan)> {
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
        let agent = self.0.registry.agent(agent)?;
        let tools: Vec<_> = self.0.registry.tools().iter().map(|tool| tool.spec().clone()).collect();
        let names = PrincipalNames { engine: self, principal, source };
        let plan = agent.plan(input, &tools, &names).await?;
        Ok((agent.name().clone(), plan))
    }

    /// Asks policy about every step. `Ok` says whether somebody must approve first.
    async fn authorize(&self, candidate: &Candidate, dry_run: bool) -> Result<bool> {
        let mut needs_approval = false;
        for step in &candidate.run.steps {
            match self.decide(&candidate.run, &step.call, dry_run) {
                Decision::Permit { .. } => {}
                Decision::NeedsApproval { .. } => needs_approval = true,
                Decision::Deny { error, reasons } => {
                    return Err(self
                        .deny(&candidate.run, error, json!({"reasons": reasons, "dry_run": dry_run}))
                        .await?);
                }
            }
        }
        Ok(needs_approval)
    }

    /// Asks every step's own guardrails, so that a plan is refused whole before anything of it is done.
    async fn guard(&self, candidate: &Candidate) -> Result<()> {
        for (step, tool) in candidate.run.steps.iter().zip(&candidate.tools) {
            if let Err(error) = tool.tool.guard(&step.call).await {
                return Err(self.deny(&candidate.run, error, json!({"guardrail": true})).await?);
            }
        }
        Ok(())
    }

    async fn preview(&self, candidate: Candidate) -> Result<Preview> {
        let Candidate { run, tools } = candidate;
        let mut steps = Vec::with_capacity(run.steps.len());
        for (step, tool) in run.steps.iter().zip(&tools) {
            let refused = tool.tool.guard(&step.call).await.err();
            let (changes, refused) = match refused {
                None => match tool.tool.preview(&step.call).await {
                    Ok(changes) => (Some(changes), None),
                    Err(error) => (None, Some(error)),
                },
                Some(error) => (None, Some(error)),
            };
            let decision = self.decide(&run, &step.call, true);
            steps.push(PreviewedStep { call: step.call.clone(), decision, refused, changes });
        }
        let change = Change {
            evidence: vec![self.draft(&run, Kind::Previewed, json!({"calls": calls(&run)}))],
            ..Change::default()
        };
        self.0.store.commit(change).await.map_err(uncommitted)?;
        let calls = run
            .steps
            .into_iter()
            .map(|step| astradesk_core::Call { tool: step.call.tool, arguments: step.call.arguments });
        Ok(Preview { plan: Plan { planner: run.planner, calls: calls.collect() }, steps })
    }

    async fn admit(
        &self,
        candidate: Candidate,
        needs_approval: bool,
        key: Option<IdempotencyKey>,
    ) -> Result<Submitted> {
        let mut run = candidate.run;
        if let Some(key) = &key {
            run.id = key.run;
        }
        let kept = self.queue().keep(&run);
        if let Err(error) = kept {
            return Err(self.deny(&run, error, json!({"guardrail": true})).await?);
        }
        let now = self.0.clock.now();
        let event = if needs_approval { Event::ApprovalNeeded } else { Event::Admitted };
        advance(&mut run, By::Anyone, event, now)?;
        if !needs_approval {
            advance(&mut run, By::Anyone, Event::Claimed(self.0.holder.clone()), now)?;
        }
        run.version = 1;
        let change = Change {
            evidence: vec![self.draft(
                &run,
                Kind::Admitted,
                json!({"input": run.input, "calls": calls(&run), "state": run.state.name()}),
            )],
            events: vec![self.event(&run, "state", json!({"state": run.state.name()}))],
            run: Some(run.clone()),
            idempotency: key.clone(),
            ..Change::default()
        };
        // In a task of its own: a caller that goes away between the commit and the start must not strand the run.
        let engine = self.clone();
        let admitted = run.clone();
        let committed = self.0.tasks.spawn(async move {
            let committed = engine.0.store.commit(change).await;
            match &committed {
                Ok(_) if !needs_approval => engine.start(admitted, false),
                refused => {
                    engine.queue().leave(admitted.id);
                    if let Err(CommitError::Unavailable(_)) = refused {
                        engine.adopt(admitted.id);
                    }
                }
            }
            committed
        });
        match (committed.await.map_err(|error| Error::internal(error.to_string()))?, key) {
            (Ok(_), _) => Ok(Submitted::Run { run: Box::new(run), replayed: false }),
            (Err(CommitError::Duplicate { run, request }), Some(key)) => {
                self.replay(&key, run, request).await
            }
            (Err(error), _) => Err(uncommitted(error)),
        }
    }

    /// Puts a denied run on record and gives the error for who asked.
    pub(super) async fn deny(&self, submitted: &Run, error: Error, mut data: Value) -> Result<Error> {
        let (mut run, _) = decide(submitted, By::Anyone, Event::Denied(error.clone()), self.0.clock.now())?;
        run.version = 1;
        if let Value::Object(map) = &mut data {
            map.insert("code".to_owned(), json!(error.code));
            map.insert("message".to_owned(), json!(error.message));
            map.insert("calls".to_owned(), calls(&run));
        }
        let change = Change {
            evidence: vec![self.draft(&run, Kind::Denied, data)],
            events: vec![self.event(&run, "state", json!({"state": run.state.name(), "error": error}))],
            run: Some(run.clone()),
            ..Change::default()
        };
        self.0.store.commit(change).await.map_err(uncommitted)?;
        Ok(error.with_detail("run", run.id.to_string()))
    }

    /// Puts on record that a request made no run, and gives the error for who asked.
    async fn record_refusal(&self, submission: &Submission, error: Error) -> Result<Error> {
        if error.code == Code::Internal {
            return Ok(error);
        }
        let draft = Draft {
            at: self.0.clock.now(),
            kind: Kind::RequestRefused,
            run: None,
            principal: Some(submission.principal.clone()),
            data: json!({
                "code": error.code,
                "message": error.message,
                "request_digest": Digest::of_value(&json!(submission.request)),
            }),
        };
        let change = Change { evidence: vec![draft], ..Change::default() };
        self.0.store.commit(change).await.map_err(uncommitted)?;
        Ok(error)
    }
}

/// The idempotency keys of requests that are being admitted.
#[derive(Debug, Default)]
pub(super) struct Keys {
    busy: Mutex<HashSet<(String, String)>>,
    left: Notify,
}

/// A key that is taken for as long as its request is being admitted.
struct Admitting<'a> {
    keys: &'a Keys,
    key: (String, String),
}

impl Keys {
    /// Waits until no other request with this principal and key is being admitted.
    async fn enter(&self, key: (String, String)) -> Admitting<'_> {
        loop {
            let left = self.left.notified();
            if self.busy().insert(key.clone()) {
                return Admitting { keys: self, key };
            }
            left.await;
        }
    }

    fn busy(&self) -> MutexGuard<'_, HashSet<(String, String)>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitting<'_> {
    fn drop(&mut self) {
        self.keys.busy().remove(&self.key);
        self.keys.left.notify_waiters();
    }
}

/// The names that exist, and those among them that may be shown to the principal.
struct PrincipalNames<'a> {
    engine: &'a Engine,
    principal: &'a Principal,
    source: Source,
}

#[async_trait]
impl Names for PrincipalNames<'_> {
    async fn candidates(&self, tool: &ToolName, argument: &str) -> Result<Option<Vec<String>>> {
        let tool = self.engine.0.registry.tool(tool.as_str())?;
        if !self.engine.0.policy.may_use(self.principal, tool.spec()) {
            return Ok(None);
        }
        tool.tool.candidates(argument).await.map(Some)
    }

    async fn permitted(&self, tool: &ToolName, argument: &str, candidates: &[String]) -> Vec<String> {
        let Ok(registered) = self.engine.0.registry.tool(tool.as_str()) else { return Vec::new() };
        let mut permitted = Vec::new();
        for candidate in candidates {
            let arguments = [(argument.to_owned(), Value::from(candidate.as_str()))].into_iter().collect();
            let Ok(targets) = registered.tool.targets(&arguments).await else { continue };
            let call = astradesk_core::Call { tool: tool.clone(), arguments };
            let call = FrozenCall::new(call, registered.spec().version.clone(), registered.effect, targets);
            let request = crate::port::PolicyRequest {
                principal: self.principal,
                source: self.source,
                planner: "candidates",
                call: &call,
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
}
