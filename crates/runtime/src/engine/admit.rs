//! From a planned submission to an admitted, denied or previewed run.

use super::hold::Needed;
use super::idempotency::Admitting;
use super::plan::{Candidate, Planned};
use super::refuse::uncommitted;
use super::{Engine, Submission, Submitted};
use crate::port::{Change, CommitError, IdempotencyKey};
use astradesk_core::canonical::Digest;
use astradesk_core::decision::Reason;
use astradesk_core::evidence::{Draft, Kind};
use astradesk_core::run::{By, Event, advance, decide};
use astradesk_core::{Code, Decision, Effect, Error, Facts, Result, Run, RunId};
use serde_json::{Value, json};

/// How often policy is asked anew because tools were replaced while it was asked.
const REPLACEMENTS: usize = 8;

/// What policy says of a plan that it does not deny.
struct Authorized {
    /// The policies that decided.
    policies: Vec<String>,
    /// Who else must agree.
    needed: Option<Needed>,
    /// What policy was told of each step's targets.
    facts: Vec<Vec<Facts>>,
    /// The set that they are of.
    policy_set: Digest,
}

impl Authorized {
    fn note(&mut self, reasons: &[Reason]) {
        for reason in reasons {
            if !self.policies.contains(&reason.policy) {
                self.policies.push(reason.policy.clone());
            }
        }
    }
}

/// Why a plan becomes no run.
enum Refusal {
    /// Policy denies it; with more facts for the evidence.
    Denied(Error, Value),
    /// What policy asks about could not be found out.
    Failed(Error),
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
        let admitting = match &key {
            Some(key) => Some(self.0.keys.enter((key.principal.clone(), key.key.clone())).await),
            None => None,
        };
        if let Some(key) = &key
            && let Some(first) = self.first_request(key).await?
        {
            return Ok(first);
        }
        if key.is_some() {
            // How long keys are remembered is told by the clock.
            self.0.steady.check(&*self.0.clock)?;
        }
        let id = key.as_ref().map_or_else(|| self.0.clock.run_id(), |key| key.run);
        let planned = match self.make_plan(&submission, id).await {
            Ok(planned) => planned,
            Err(error) => return Err(self.record_refusal(&submission, error).await?),
        };
        let (candidate, authorized) = match self.decided(&submission, id, &planned).await {
            Ok((candidate, Ok(authorized))) => (candidate, authorized),
            Ok((candidate, Err(Refusal::Denied(error, data)))) => {
                return Err(self.deny(&candidate.run, error, data).await?);
            }
            Ok((_, Err(Refusal::Failed(error)))) | Err(error) => {
                return Err(self.record_refusal(&submission, error).await?);
            }
        };
        if submission.dry_run {
            return self.preview(candidate).await.map(Submitted::Preview);
        }
        if authorized.needed.is_none()
            && candidate.run.steps.iter().all(|step| step.call.effect == Effect::Read)
        {
            return self.read(candidate, &authorized.policies, key).await;
        }
        self.0.steady.check(&*self.0.clock)?;
        let overridden = match self.guard(&candidate, &authorized.facts).await {
            Ok(overridden) => overridden,
            Err(error) => return self.refuse(&candidate.run, error, key.as_ref()).await,
        };
        self.admit(candidate, authorized, overridden, key, admitting).await
    }

    /// Denies a run for a guardrail, unless what is in its way is the run of the same request: another process
    /// may have admitted that one meanwhile.
    async fn refuse(&self, run: &Run, error: Error, key: Option<&IdempotencyKey>) -> Result<Submitted> {
        if error.code == Code::StoreUnavailable {
            // It is the store that could not say: nobody has refused anything.
            return Err(error);
        }
        if let Some(key) = key
            && let Some(first) = self.first_request(key).await?
        {
            return Ok(first);
        }
        Err(self.deny(run, error, json!({"guardrail": true})).await?)
    }

    /// The run that a submission would become, and what policy says of it, of the same tools: policies deny what they
    /// do not know, so a denial is of no worth when tools were replaced meanwhile.
    async fn decided(
        &self,
        submission: &Submission,
        id: RunId,
        planned: &Planned,
    ) -> Result<(Candidate, Result<Authorized, Refusal>)> {
        let mut patience = REPLACEMENTS;
        loop {
            let settled = self.0.registry.settled().await;
            let candidate = self.candidate(submission, id, planned).await?;
            let authorized = self.authorize(&candidate, submission.dry_run).await;
            let is_denied = matches!(authorized, Err(Refusal::Denied(..)));
            if !is_denied || patience == 0 || self.0.registry.is_settled_at(settled) {
                return Ok((candidate, authorized));
            }
            patience -= 1;
        }
    }

    /// Asks policy about every step, all of them by the same set.
    async fn authorize(&self, candidate: &Candidate, dry_run: bool) -> Result<Authorized, Refusal> {
        loop {
            let policy_set = self.0.policy.digest();
            let authorized = self.authorize_under(policy_set, candidate, dry_run).await;
            if self.0.policy.digest() == policy_set {
                return authorized;
            }
        }
    }

    async fn authorize_under(
        &self,
        policy_set: Digest,
        candidate: &Candidate,
        dry_run: bool,
    ) -> Result<Authorized, Refusal> {
        let run = &candidate.run;
        let mut authorized = Authorized { policies: Vec::new(), needed: None, facts: Vec::new(), policy_set };
        for (step, tool) in run.steps.iter().zip(&candidate.tools) {
            let facts = self.facts_for_policy(tool, &step.call, false).await.map_err(Refusal::Failed)?;
            let request = self.policy_request(run, &step.call, &facts, dry_run);
            match self.0.policy.decide(&request) {
                Decision::Permit { reasons } => authorized.note(&reasons),
                Decision::NeedsApproval { required, reasons } => {
                    authorized.note(&reasons);
                    authorized.needed.get_or_insert_default().and(required, reasons);
                }
                Decision::Deny { error, reasons } => {
                    let data = json!({"reasons": reasons, "dry_run": dry_run, "policy_set": policy_set});
                    return Err(Refusal::Denied(error, data));
                }
            }
            if run.break_glass {
                let permitted = self.0.policy.may_break_glass(&request);
                let reasons = permitted.map_err(|error| {
                    Refusal::Denied(error, json!({"break_glass": true, "dry_run": dry_run}))
                })?;
                authorized.note(&reasons);
            }
            authorized.facts.push(facts);
        }
        Ok(authorized)
    }

    /// Asks every step's guardrails, so that a plan is refused whole before anything of it is done. Gives what
    /// they objected if that is overridden.
    async fn guard(&self, candidate: &Candidate, facts: &[Vec<Facts>]) -> Result<Vec<Error>> {
        let run = &candidate.run;
        let mut overridden = Vec::new();
        for (place, (tool, facts)) in candidate.tools.iter().zip(facts).enumerate() {
            let Some(step) = run.steps.get(place) else { break };
            tool.tool.guard(&step.call).await?;
            let objections = self.objections(run, place, &*tool.tool, facts).await?;
            let request = self.policy_request(run, &step.call, facts, false);
            overridden.extend(self.overridable(run, &request, objections)?);
        }
        Ok(overridden)
    }

    async fn admit(
        &self,
        candidate: Candidate,
        authorized: Authorized,
        overridden: Vec<Error>,
        key: Option<IdempotencyKey>,
        admitting: Option<Admitting>,
    ) -> Result<Submitted> {
        let Authorized { policies, needed, policy_set, .. } = authorized;
        let needs_approval = needed.is_some();
        let mut run = candidate.run;
        if let Some(step) = run.steps.iter().find(|step| self.has_secrets(&step.call)) {
            let message =
                format!("`{}` has an argument that may not be kept, and would have to wait", step.call.tool);
            let error = Error::new(Code::ToolArgumentsInvalid, message)
                .with_remedy("call it on its own, where no approval is needed");
            return self.refuse(&run, error, key.as_ref()).await;
        }
        if needs_approval && let Err(error) = self.room_to_wait(&run).await {
            return self.refuse(&run, error, key.as_ref()).await;
        }
        let asked = match needed {
            Some(needed) => Some(self.asked(&run, needed).await),
            None => None,
        };
        // From here on nothing is awaited: a caller that goes away would leave its place taken.
        let kept = self.queue().keep(&run);
        if let Err(error) = kept {
            return self.refuse(&run, error, key.as_ref()).await;
        }
        let now = self.0.clock.now();
        let mut requested = None;
        if let Some((asked, record)) = asked {
            advance(&mut run, By::Anyone, Event::ApprovalNeeded(asked), now)?;
            requested = Some(record);
        } else {
            advance(&mut run, By::Anyone, Event::Admitted, now)?;
            advance(&mut run, By::Anyone, Event::Claimed(self.0.holder.clone()), now)?;
        }
        run.version = 1;
        let mut change = Change {
            evidence: vec![self.admitted(&run, &policies, policy_set)],
            events: vec![self.event(&run, "state", json!({"state": run.state.name()}))],
            run: Some(run.clone()),
            idempotency: key.clone(),
            ..Change::default()
        };
        if !overridden.is_empty() {
            let data = super::guard::overridden(&run, None, &overridden);
            change.evidence.push(self.draft(&run, Kind::GuardOverridden, data));
        }
        if let Some(requested) = requested {
            change.evidence.push(requested);
            change.announcements = self.announcements(&run);
        }
        // In a task of its own: a caller that goes away between the commit and the start must not strand the run.
        let engine = self.clone();
        let admitted = run.clone();
        let committed = self.0.tasks.spawn(async move {
            let committed = engine.0.store.commit(change).await;
            drop(admitting);
            match &committed {
                Ok(_) if !needs_approval => engine.start(admitted, false),
                refused => {
                    engine.queue().leave(admitted.id);
                    engine.0.vacated.notify_one();
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

    /// Whether one more run of the same principal may await approval: nobody can take more than half of the places.
    async fn room_to_wait(&self, run: &Run) -> Result<()> {
        let limit = self.0.limits.awaiting_runs;
        let waiting = self.0.store.awaiting(None, limit).await?;
        let who = run.principal.id();
        let own = waiting.iter().filter(|other| other.principal.id() == who).count() as u32;
        let message = if waiting.len() as u32 >= limit {
            format!("{limit} runs await approval, and no more may")
        } else if own >= limit.div_ceil(2) {
            format!(
                "{own} runs of `{}` await approval, and no more of one principal may",
                run.principal.subject
            )
        } else {
            return Ok(());
        };
        Err(Error::new(Code::GuardQueueFull, message)
            .with_remedy("have some of them approved or rejected first"))
    }

    /// The record of a run that was admitted.
    fn admitted(&self, run: &Run, policies: &[String], policy_set: Digest) -> Draft {
        let data = json!({
            "input": run.input,
            "planner": run.planner,
            "source": run.source,
            "reason": run.reason,
            "break_glass": run.break_glass,
            "calls": self.shown_calls(run),
            "state": run.state.name(),
            "policies": policies,
            "policy_set": policy_set,
        });
        self.draft(run, Kind::Admitted, data)
    }

    /// Puts a denied run on record and gives the error for who asked.
    pub(super) async fn deny(&self, submitted: &Run, error: Error, mut data: Value) -> Result<Error> {
        let (mut run, _) = decide(submitted, By::Anyone, Event::Denied(error.clone()), self.0.clock.now())?;
        run.version = 1;
        if let Value::Object(map) = &mut data {
            map.entry("policy_set").or_insert_with(|| json!(self.0.policy.digest()));
            map.insert("reason".to_owned(), json!(run.reason));
            map.insert("code".to_owned(), json!(error.code));
            map.insert("message".to_owned(), json!(error.message));
            map.insert("calls".to_owned(), self.shown_calls(&run));
        }
        let change = Change {
            evidence: vec![self.draft(&run, Kind::Denied, data)],
            events: vec![self.event(&run, "state", json!({"state": run.state.name(), "error": error}))],
            run: Some(self.without_secrets(run.clone())),
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
            trace: submission.trace.clone(),
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
