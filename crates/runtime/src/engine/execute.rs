//! From an admitted run to its outcome: one task a run, which commits first and acts then.

use super::refuse::{locked, not_found, uncommitted};
use super::{Active, Engine, Permit};
use crate::port::{Change, CommitError, Fault, LockChange, Progress, ProgressReport, StepContext, Tool};
use crate::registry::Registered;
use astradesk_core::evidence::{Draft, Kind};
use astradesk_core::run::{Action, Event, StepState, decide, next};
use astradesk_core::{Code, Decision, Error, FrozenCall, Principal, Result, Run, RunId, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// No step: none of a run's was intended by this process yet.
const NONE: usize = usize::MAX;

/// Where a run is after one of its actions.
enum Progressed {
    /// It moved on.
    To(Box<Run>),
    /// It goes no further in this process: it has ended, or AstraDesk is stopping.
    Rest,
}

impl Engine {
    /// Executes a committed run in a task of its own.
    pub(super) fn start(&self, run: Run) {
        let active = Arc::new(Active {
            changed: watch::Sender::new(0),
            cancel: CancellationToken::new(),
            intended: AtomicUsize::new(NONE),
        });
        self.active().insert(run.id, active.clone());
        let engine = self.clone();
        self.0.tasks.spawn(async move {
            let id = run.id;
            engine.drive(run, &active).await;
            engine.active().remove(&id);
            active.changed.send_modify(|n| *n += 1);
        });
    }

    async fn drive(&self, mut run: Run, active: &Active) {
        let turn = tokio::select! {
            biased;
            () = self.0.stopping.cancelled() => return,
            () = active.cancel.cancelled() => None,
            turn = self.0.turns.acquire() => turn.ok(),
        };
        loop {
            match self.advance(&run, active).await {
                Ok(Progressed::To(moved)) => run = *moved,
                Ok(Progressed::Rest) => break,
                Err(error) => {
                    // Whatever it was, the run is as it was last committed, and the next process takes it up.
                    tracing::error!(run = %run.id, code = %error.code, error = %error, "run cannot go on");
                    break;
                }
            }
        }
        drop(turn);
    }

    async fn advance(&self, run: &Run, active: &Active) -> Result<Progressed> {
        let Some(action) = next(run).into_iter().next() else { return Ok(Progressed::Rest) };
        match action {
            Action::Prepare { step } => self.prepare(run, step, active).await,
            Action::Perform { step } => self.perform(run, step, active).await,
            Action::Verify { step } => self.verify(run, step, active).await,
            Action::RequestApproval | Action::Interrupt => Ok(Progressed::Rest),
        }
    }

    /// Authorizes the step once more, checks its guardrails, and makes lock and intent durable.
    async fn prepare(&self, run: &Run, step: usize, active: &Active) -> Result<Progressed> {
        if self.0.stopping.is_cancelled() {
            return Ok(Progressed::Rest);
        }
        if active.cancel.is_cancelled() || run.cancel_requested {
            return self.cancelled(run, step, active, "cancelled before the step began").await;
        }
        let call = call_of(run, step)?;
        let tool = match self.authorize_again(run, call).await {
            Ok(tool) => tool,
            Err(error) => return self.conclude(run, Event::StepFailed { step, error }, active).await,
        };
        let now = self.0.clock.now();
        // `perform` and `verify` may take the time limit and the grace each.
        let held = (tool.tool.timeout(&call.arguments) + self.0.limits.grace) * 2;
        let locks = call.targets.iter().map(|target| LockChange::Acquire {
            target: target.clone(),
            run: run.id,
            now,
            expires_at: now.saturating_add(held).unwrap_or(now),
        });
        let intended = decide(run, Event::StepIntended { step }, now)?.0;
        let data = json!({"step": step, "call": call, "lock_seconds": held.as_secs()});
        let change = Change {
            evidence: vec![self.draft(run, Kind::Intended, data)],
            locks: locks.collect(),
            ..self.change(run, &intended)
        };
        match self.persist(change, active).await {
            Ok(true) => {
                active.intended.store(step, Ordering::Relaxed);
                Ok(Progressed::To(Box::new(intended)))
            }
            Ok(false) => Ok(Progressed::Rest),
            Err(CommitError::Locked { target, holder }) => {
                let error = locked(&target, holder);
                self.conclude(run, Event::StepFailed { step, error }, active).await
            }
            Err(CommitError::Stale) => self.reload(run.id).await,
            Err(error) => Err(uncommitted(error)),
        }
    }

    /// A freeze may have begun since the run was admitted, a role may be gone, a tool may have been replaced.
    async fn authorize_again(&self, run: &Run, call: &FrozenCall) -> Result<Arc<Registered>> {
        let tool = self.0.registry.tool(call.tool.as_str())?;
        if tool.spec().version != call.version {
            let message =
                format!("tool `{}` has another version now than the run was admitted with", call.tool);
            return Err(Error::new(Code::RunStateConflict, message));
        }
        match self.decide(run, call, false) {
            Decision::Permit { .. } => tool.tool.guard(call).await.map(|()| tool),
            Decision::Deny { error, .. } => Err(error),
            Decision::NeedsApproval { .. } => {
                Err(Error::new(Code::ApprovalRequired, format!("`{}` needs an approval by now", call.tool)))
            }
        }
    }

    /// Performs the effect. It is not interrupted: neither by a cancellation nor by a shutdown.
    async fn perform(&self, run: &Run, step: usize, active: &Active) -> Result<Progressed> {
        let (tool, context, mut reports) = self.context(run, step, active)?;
        let end = context.deadline + self.0.limits.grace;
        let performing = async {
            match tokio::time::timeout_at(end, tool.perform(&Permit(()), &context)).await {
                Ok(result) => result,
                Err(_) => Err(Fault::Unknown(Error::new(
                    Code::RunOutcomeUnknown,
                    format!(
                        "`{}` did not answer, so whether it was performed is not known",
                        context.call.tool
                    ),
                ))),
            }
        };
        let performed = self.publishing(run.id, active, &mut reports, performing).await;
        let event = match performed {
            Ok(receipt) => Event::StepPerformed { step, receipt },
            Err(Fault::Failed(error)) => Event::StepFailed { step, error },
            Err(Fault::Unknown(error)) => Event::StepUnknown { step, error },
        };
        self.conclude(run, event, active).await
    }

    /// Watches until the outcome is known. A cancellation stops the watching, not the rollout; a shutdown
    /// leaves the run to the next process.
    async fn verify(&self, run: &Run, step: usize, active: &Active) -> Result<Progressed> {
        let Some(StepState::Performed { receipt, .. }) = run.steps.get(step).map(|s| &s.state) else {
            return Err(Error::internal(format!("run {} has nothing to verify", run.id)));
        };
        let (tool, context, mut reports) = self.context(run, step, active)?;
        let end = context.deadline + self.0.limits.grace;
        let verifying = async {
            tokio::select! {
                biased;
                () = self.0.stopping.cancelled() => None,
                () = active.cancel.cancelled() => Some(Event::CancelRequested),
                verified = tokio::time::timeout_at(end, tool.verify(&context, receipt)) => Some(match verified {
                    Ok(Ok(output)) => Event::StepVerified { step, output },
                    Ok(Err(Fault::Failed(error))) => Event::StepFailed { step, error },
                    Ok(Err(Fault::Unknown(error))) => Event::StepUnknown { step, error },
                    Err(_) => {
                        let message = format!("`{}` was performed, but its outcome could not be seen in time", context.call.tool);
                        Event::StepUnknown { step, error: Error::new(Code::RunOutcomeUnknown, message) }
                    }
                }),
            }
        };
        match self.publishing(run.id, active, &mut reports, verifying).await {
            None => Ok(Progressed::Rest),
            Some(Event::CancelRequested) => {
                let what = "cancelled while it was verified: the effect was performed and goes on unwatched";
                self.cancelled(run, step, active, what).await
            }
            Some(event) => self.conclude(run, event, active).await,
        }
    }

    fn context(
        &self,
        run: &Run,
        step: usize,
        active: &Active,
    ) -> Result<(Arc<dyn Tool>, StepContext, mpsc::Receiver<ProgressReport>)> {
        /// Reports that may wait to be stored.
        const REPORTS: usize = 64;
        let call = call_of(run, step)?.clone();
        let tool = self.0.registry.tool(call.tool.as_str())?.tool.clone();
        let begun = match run.steps.get(step).map(|s| &s.state) {
            Some(StepState::Intended { at } | StepState::Performed { at, .. }) => *at,
            _ => run.updated_at,
        };
        let elapsed = Duration::try_from(self.0.clock.now().duration_since(begun)).unwrap_or_default();
        let left = tool.timeout(&call.arguments).saturating_sub(elapsed);
        let (sender, reports) = mpsc::channel(REPORTS);
        let context = StepContext {
            run: run.id,
            step,
            call,
            principal: run.principal.clone(),
            repeated: active.intended.load(Ordering::Relaxed) != step,
            deadline: Instant::now() + left,
            progress: Progress::to(sender),
        };
        Ok((tool, context, reports))
    }

    /// Awaits `work`, and makes what is reported meanwhile an event of the run.
    async fn publishing<T>(
        &self,
        run: RunId,
        active: &Active,
        reports: &mut mpsc::Receiver<ProgressReport>,
        work: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                Some(report) = reports.recv() => self.publish(run, active, report).await,
                done = &mut work => {
                    while let Ok(report) = reports.try_recv() {
                        self.publish(run, active, report).await;
                    }
                    return done;
                }
            }
        }
    }

    async fn publish(&self, run: RunId, active: &Active, report: ProgressReport) {
        let data = json!({"message": report.message, "data": report.data});
        let event =
            crate::port::EventDraft { run, at: self.0.clock.now(), kind: "progress".to_owned(), data };
        if let Err(error) = self.0.store.commit(Change { events: vec![event], ..Change::default() }).await {
            // Progress is a courtesy: what matters is committed with the state, and that is not lost.
            tracing::warn!(run = %run, error = ?error, "progress was not stored");
        }
        active.changed.send_modify(|n| *n += 1);
    }

    /// Makes an event of the step in progress durable, with its evidence, and gives locks back when the step ended.
    async fn conclude(&self, run: &Run, event: Event, active: &Active) -> Result<Progressed> {
        let performed = match &event {
            Event::StepPerformed { step, receipt } => Some(json!({"step": step, "receipt": receipt})),
            _ => None,
        };
        let moved = decide(run, event, self.0.clock.now())?.0;
        self.settle(run, moved, performed, active).await
    }

    async fn cancelled(&self, run: &Run, step: usize, active: &Active, what: &str) -> Result<Progressed> {
        let now = self.0.clock.now();
        let mut moved =
            if run.cancel_requested { run.clone() } else { decide(run, Event::CancelRequested, now)?.0 };
        if !moved.state.is_final() {
            let error = Error::new(Code::RunCancelled, what);
            moved = decide(&moved, Event::StepCancelled { step, error }, now)?.0;
        }
        moved.version = run.version + 1;
        self.settle(run, moved, None, active).await
    }

    async fn settle(
        &self,
        run: &Run,
        moved: Run,
        performed: Option<Value>,
        active: &Active,
    ) -> Result<Progressed> {
        let mut evidence: Vec<Draft> = Vec::new();
        let step_goes_on = performed.is_some();
        if let Some(data) = performed {
            evidence.push(self.draft(&moved, Kind::Performed, data));
        }
        if moved.state.is_final() {
            evidence.push(self.draft(&moved, Kind::Finished, outcome(&moved)));
        }
        let locks = if step_goes_on { Vec::new() } else { vec![LockChange::Release { run: run.id }] };
        let change = Change { evidence, locks, ..self.change(run, &moved) };
        match self.persist(change, active).await {
            Ok(true) => Ok(Progressed::To(Box::new(moved))),
            Ok(false) => Ok(Progressed::Rest),
            Err(CommitError::Stale) => self.reload(run.id).await,
            Err(error) => Err(uncommitted(error)),
        }
    }

    /// The run as it is now, with an event for those who watch it.
    fn change(&self, before: &Run, after: &Run) -> Change {
        let kind = if before.state.name() == after.state.name() { "step" } else { "state" };
        let steps: Value = after.steps.iter().map(|step| json!(step_name(&step.state))).collect();
        let data = json!({"state": after.state.name(), "steps": steps, "error": after.state.error()});
        Change { run: Some(after.clone()), events: vec![self.event(after, kind, data)], ..Change::default() }
    }

    /// Commits, again and again while the store is unavailable: an effect may have happened, and its
    /// outcome must not be lost while there is hope. `false` when AstraDesk is stopping: the run stays as it
    /// was last committed, and the next process finds the effect.
    async fn persist(&self, change: Change, active: &Active) -> Result<bool, CommitError> {
        let mut pause = Duration::from_millis(50);
        loop {
            match self.0.store.commit(change.clone()).await {
                Ok(_) => {
                    active.changed.send_modify(|n| *n += 1);
                    return Ok(true);
                }
                Err(CommitError::Unavailable(error)) => {
                    tracing::error!(error = %error, "the store is unavailable, trying again");
                    tokio::select! {
                        () = self.0.stopping.cancelled() => return Ok(false),
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Somebody else changed the run: go on from what is stored.
    async fn reload(&self, id: RunId) -> Result<Progressed> {
        let run = self.0.store.run(id).await?;
        run.map_or_else(|| Err(not_found(id)), |run| Ok(Progressed::To(Box::new(run))))
    }

    /// Asks for a run to be cancelled: before a step begins it is not performed; a rollout that has begun
    /// goes on unwatched. Gives the run as it stands, which may take a moment to end.
    ///
    /// # Errors
    /// [`Code::RunStateConflict`] when the run has ended, [`Code::RunNotFound`], or a denial when the run is
    /// not the principal's own.
    pub async fn cancel(&self, principal: &Principal, id: RunId) -> Result<Run> {
        /// How long the reply waits for the run to end.
        const PATIENCE: Duration = Duration::from_secs(2);
        let run = self.run(principal, id).await?;
        if run.principal.id() != principal.id() {
            let message =
                format!("`{}` may see run {id}, but only who submitted it may cancel it", principal.subject);
            return Err(Error::new(Code::PolicyDenied, message));
        }
        let now = self.0.clock.now();
        let (cancelled, _) = decide(&run, Event::CancelRequested, now)?;
        let draft =
            self.draft(&run, Kind::CancelRequested, json!({"by": principal.id(), "state": run.state.name()}));
        let active = self.active().get(&id).cloned();
        if let Some(active) = active {
            let change = Change { evidence: vec![draft], ..Change::default() };
            self.0.store.commit(change).await.map_err(uncommitted)?;
            active.cancel.cancel();
            return self.wait(principal, id, Instant::now() + PATIENCE).await;
        }
        let change =
            Change { evidence: self.closing(vec![draft], &cancelled), ..self.change(&run, &cancelled) };
        self.0.store.commit(change).await.map_err(uncommitted)?;
        Ok(cancelled)
    }

    fn closing(&self, mut evidence: Vec<Draft>, run: &Run) -> Vec<Draft> {
        if run.state.is_final() {
            evidence.push(self.draft(run, Kind::Finished, outcome(run)));
        }
        evidence
    }
}

fn call_of(run: &Run, step: usize) -> Result<&FrozenCall> {
    let found = run.steps.get(step).map(|s| &s.call);
    found.ok_or_else(|| Error::internal(format!("run {} has no step {step}", run.id)))
}

/// A step's state in one word.
fn step_name(state: &StepState) -> &'static str {
    match state {
        StepState::Pending => "pending",
        StepState::Intended { .. } => "intended",
        StepState::Performed { .. } => "performed",
        StepState::Succeeded { .. } => "succeeded",
        StepState::Failed { .. } => "failed",
        StepState::Unknown { .. } => "unknown",
        StepState::Skipped => "skipped",
    }
}

/// What came of a run, as the evidence shows it.
fn outcome(run: &Run) -> Value {
    let took: Timestamp = run.updated_at;
    json!({
        "state": run.state.name(),
        "error": run.state.error(),
        "steps": run.steps.iter().map(|step| json!({
            "digest": step.call.digest,
            "state": step.state,
        })).collect::<Value>(),
        "milliseconds": took.duration_since(run.created_at).as_millis() as i64,
    })
}
