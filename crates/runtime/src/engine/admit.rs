//! From a planned submission to an admitted, denied or previewed run.

use super::idempotency::Admitting;
use super::plan::Candidate;
use super::record::calls;
use super::refuse::uncommitted;
use super::{Engine, Preview, PreviewedStep, Submission, Submitted};
use crate::port::{Change, CommitError, IdempotencyKey};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Draft, Kind};
use astradesk_core::run::{By, Event, advance, decide};
use astradesk_core::{Code, Decision, Effect, Error, Plan, Result, Run};
use serde_json::{Value, json};

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
        if let Err(error) = self.guard(&candidate).await {
            return self.refuse(&candidate.run, error, key.as_ref()).await;
        }
        self.admit(candidate, needs_approval, key, admitting).await
    }

    /// Denies a run for a guardrail, unless what is in its way is the run of the same request: another process
    /// may have admitted that one meanwhile.
    async fn refuse(&self, run: &Run, error: Error, key: Option<&IdempotencyKey>) -> Result<Submitted> {
        if let Some(key) = key
            && let Some(first) = self.first_request(key).await?
        {
            return Ok(first);
        }
        Err(self.deny(run, error, json!({"guardrail": true})).await?)
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
            tool.tool.guard(&step.call).await?;
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
        admitting: Option<Admitting>,
    ) -> Result<Submitted> {
        let mut run = candidate.run;
        if let Some(key) = &key {
            run.id = key.run;
        }
        let kept = self.queue().keep(&run);
        if let Err(error) = kept {
            return self.refuse(&run, error, key.as_ref()).await;
        }
        let now = self.0.clock.now();
        let approvals = astradesk_core::Approvals {
            digest: run.digest(),
            required: astradesk_core::Requirement::default(),
            reasons: Vec::new(),
            asked_at: now,
            expires_at: now,
            given: Vec::new(),
        };
        let event = if needs_approval { Event::ApprovalNeeded(approvals) } else { Event::Admitted };
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
