//! From an admitted run to its outcome: one task a run, which commits first and acts then.

use super::active::Active;
use super::guard::{Clearance, overridden, same_version};
use super::refuse::{locked, uncommitted};
use super::{Engine, Permit};
use crate::port::{Change, CommitError, Fault, LockChange, StepContext, Tool};
use astradesk_core::evidence::Kind;
use astradesk_core::run::{Action, By, Event, StepState, decide, next};
use astradesk_core::{Code, Error, Result, Run, RunId};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The most intents of one step: the system may move on under it so often.
const INTENTS: u32 = 16;
/// After how long a run that could not go on is taken up again.
const AGAIN: Duration = Duration::from_secs(5);
/// How often the clock is looked at while it is not trusted.
const UNSTEADY: Duration = Duration::from_secs(1);

/// Where a run is after one of its actions.
pub(super) enum Progressed {
    /// It moved on.
    To(Box<Run>),
    /// It goes no further in this process: it has ended, AstraDesk is stopping, or another process has it.
    Rest,
}

/// How the task of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driven {
    /// The run has ended, was handed over, or is another process's.
    ToRest,
    /// It could go no further, although this process holds it.
    Broken,
}

impl Engine {
    /// Executes a run that this process holds, in a task of its own: when its turn comes, or `at_once`.
    pub(super) fn start(&self, run: Run, at_once: bool) {
        let active = Arc::new(Active::new(run.fence));
        {
            let mut all = self.active();
            if all.contains_key(&run.id) {
                return;
            }
            all.insert(run.id, active.clone());
        }
        self.queue().enter(&run);
        if at_once {
            self.hasten(run.id);
        }
        let id = run.id;
        let driven = {
            let (engine, active) = (self.clone(), active.clone());
            self.0.tasks.spawn(async move { engine.drive(run, &active).await })
        };
        let engine = self.clone();
        self.0.tasks.spawn(async move {
            // A task that panicked is a tool with a defect; the others go on.
            let driven = driven.await.unwrap_or(Driven::Broken);
            engine.queue().leave(id);
            engine.active().remove(&id);
            active.changed.send_modify(|n| *n += 1);
            engine.0.vacated.notify_one();
            engine.give_turns();
            if driven == Driven::Broken {
                engine.try_again(id).await;
            }
        });
        self.give_turns();
    }

    /// A run that could not go on, for a reason that is not its own, is taken up again a little later.
    async fn try_again(&self, id: RunId) {
        tracing::error!(run = %id, "the run could not go on, and is taken up again");
        tokio::select! {
            () = self.0.stopping.cancelled() => {}
            () = tokio::time::sleep(AGAIN) => self.adopt(id),
        }
    }

    /// Gives a run of this process its turn at once; `false` when it has none.
    pub(super) fn hasten(&self, id: RunId) -> bool {
        let Some(active) = self.active().get(&id).cloned() else { return false };
        self.queue().hasten(id);
        active.turn.notify_one();
        true
    }

    /// Tells the runs whose turn has come.
    fn give_turns(&self) {
        loop {
            let Some(id) = self.queue().next() else { return };
            if let Some(active) = self.active().get(&id) {
                active.turn.notify_one();
            }
        }
    }

    async fn drive(&self, mut run: Run, active: &Active) -> Driven {
        let its_turn = tokio::select! {
            biased;
            () = self.0.stopping.cancelled() => false,
            () = active.lost.cancelled() => false,
            () = active.cancel.cancelled() => true,
            () = active.turn.notified() => true,
        };
        let driven = if its_turn { self.execute(&mut run, active).await } else { Driven::ToRest };
        if self.0.stopping.is_cancelled() && !run.state.is_final() {
            self.hand_over(&run).await;
        }
        driven
    }

    /// Takes one action after the other until there is none left to take here.
    async fn execute(&self, run: &mut Run, active: &Active) -> Driven {
        loop {
            match self.advance(run, active).await {
                Ok(Progressed::To(moved)) => *run = *moved,
                Ok(Progressed::Rest) => return Driven::ToRest,
                Err(error) => {
                    // Whatever it was, the run is as it was last committed.
                    tracing::error!(run = %run.id, code = %error.code, error = %error, "run cannot go on");
                    return Driven::Broken;
                }
            }
        }
    }

    async fn advance(&self, run: &Run, active: &Active) -> Result<Progressed> {
        if active.cancel.is_cancelled() && !run.cancel_requested && !run.state.is_final() {
            return self.reload(run, active).await;
        }
        let Some(action) = next(run).into_iter().next() else { return Ok(Progressed::Rest) };
        match action {
            Action::Prepare { step } => self.prepare(run, step, active).await,
            Action::Perform { step } => self.perform(run, step, active).await,
            Action::Verify { step } => self.verify(run, step, active).await,
            Action::RequestApproval | Action::Interrupt => Ok(Progressed::Rest),
        }
    }

    /// Authorizes the step once more, checks its guardrails, and makes lock and intent durable: the first one,
    /// or another after one that is known to have had no effect.
    async fn prepare(&self, run: &Run, step: usize, active: &Active) -> Result<Progressed> {
        if self.0.stopping.is_cancelled() {
            return Ok(Progressed::Rest);
        }
        if is_to_stop(run, step) {
            return self.cancelled(run, step, active, "cancelled before the step began").await;
        }
        if let Err(error) = self.in_time(run, step) {
            return self.conclude(run, Event::StepFailed { step, error }, active).await;
        }
        if !self.until_steady().await {
            return Ok(Progressed::Rest);
        }
        let (context, _reports) = self.context(run, step, active)?;
        let (tool, intent, clearance) = match self.authorize_again(run, &context).await {
            Ok(cleared) => cleared,
            Err(error) => return self.conclude(run, Event::StepFailed { step, error }, active).await,
        };
        let event = Event::StepIntended { step, intent: intent.clone() };
        let intended = decide(run, By::Holder(run.fence), event, self.0.clock.now())?.0;
        let (attempt, undoes) = (attempt(&intended, step), context.undoes.is_some());
        let data = json!({
            "step": step, "attempt": attempt, "call": self.shown_call(&context.call), "undoes": undoes,
            "intent": intent, "policies": clearance.policies(), "policy_set": clearance.policy_set,
        });
        let targets = context.call.targets.iter();
        let mut change = Change {
            evidence: vec![self.draft(run, Kind::Intended, data)],
            locks: targets
                .map(|target| LockChange::Acquire { target: target.clone(), run: run.id })
                .collect(),
            spends: clearance.spends,
            ..self.change(run, &intended)
        };
        if !clearance.overridden.is_empty() {
            let data = overridden(run, Some(step), &clearance.overridden);
            tracing::warn!(run = %run.id, by = run.principal.subject, %data, "guardrails are overridden");
            change.evidence.push(self.draft(run, Kind::GuardOverridden, data));
        }
        match self.persist(change, active).await {
            Ok(true) => {
                active.intend(step, tool);
                Ok(Progressed::To(Box::new(intended)))
            }
            Ok(false) => Ok(Progressed::Rest),
            Err(CommitError::Locked { target, holder }) => {
                if self.settle_first(holder, context.deadline, active).await? {
                    // The wait is not the step's own time.
                    active.forget_limit();
                    return Ok(Progressed::To(Box::new(run.clone())));
                }
                if self.0.stopping.is_cancelled() {
                    return Ok(Progressed::Rest);
                }
                let error = locked(&target, holder);
                self.conclude(run, Event::StepFailed { step, error }, active).await
            }
            Err(CommitError::Exhausted { allowance, oldest }) => {
                let error = allowance.exhausted(oldest);
                self.conclude(run, Event::StepFailed { step, error }, active).await
            }
            Err(CommitError::Stale) => self.reload(run, active).await,
            Err(error) => Err(uncommitted(error)),
        }
    }

    /// What has begun may be undone at any time; anything else must begin in time.
    fn in_time(&self, run: &Run, step: usize) -> Result<()> {
        if self.0.clock.now() <= run.deadline || run.steps.get(step).is_some_and(|step| step.undoes.is_some())
        {
            return Ok(());
        }
        let minutes = run.deadline.duration_since(run.created_at).as_secs() / 60;
        let message = format!("step {step} had not begun {minutes} min after the run was admitted");
        Err(Error::new(Code::RunTimedOut, message))
    }

    /// Waits until the clock can be trusted; `false` when AstraDesk is stopping.
    async fn until_steady(&self) -> bool {
        while let Err(error) = self.0.steady.check(&*self.0.clock) {
            tracing::warn!(%error, "nothing is begun");
            tokio::select! {
                () = self.0.stopping.cancelled() => return false,
                () = tokio::time::sleep(UNSTEADY) => {}
            }
        }
        true
    }

    /// A freeze may have begun since the run was admitted, policy may have changed, a tool may have been replaced.
    /// Gives the tool and its intent, and what let the step through.
    async fn authorize_again(
        &self,
        run: &Run,
        context: &StepContext,
    ) -> Result<(Arc<dyn Tool>, Value, Clearance)> {
        let call = &context.call;
        let looking = async {
            let tool = self.0.registry.tool(call.tool.as_str())?;
            let clearance = match self.clear(run, context).await {
                Err(error) if error.code.as_str().starts_with("policy.") => {
                    // Policies deny what they do not know: that it was replaced is the better reason.
                    same_version(&*self.0.registry.tool(call.tool.as_str())?, call)?;
                    return Err(error);
                }
                cleared => cleared?,
            };
            same_version(&tool, call)?;
            tool.tool.intend(context).await.map(|intent| (tool.tool.clone(), intent, clearance))
        };
        tokio::time::timeout_at(context.deadline, looking).await.unwrap_or_else(|_| {
            let message = format!("the time limit passed before `{}` could begin", call.tool);
            Err(Error::new(Code::ToolTimedOut, message))
        })
    }

    /// Performs the effect. It is not interrupted: neither by a cancellation nor by a shutdown.
    async fn perform(&self, run: &Run, step: usize, active: &Active) -> Result<Progressed> {
        if active.unconfirmed_for() > self.0.limits.lease {
            // This process was held up: by now the run may be another's.
            return self.reload(run, active).await;
        }
        let (context, mut reports) = self.context(run, step, active)?;
        let tool = match self.tool_of(&context, active) {
            Ok(tool) => tool,
            Err(error) => return self.conclude(run, Event::StepUnknown { step, error }, active).await,
        };
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
        let event = match self.publishing(run.id, active, &mut reports, performing).await {
            Ok(receipt) => Event::StepPerformed { step, receipt },
            Err(Fault::Moved(_)) if attempt(run, step) < INTENTS => {
                return self.prepare(run, step, active).await;
            }
            Err(Fault::Failed(error) | Fault::Moved(error)) => Event::StepFailed { step, error },
            Err(Fault::Unknown(error)) => Event::StepUnknown { step, error },
        };
        self.conclude(run, event, active).await
    }

    /// Goes on with the effect if it has many parts, and watches until the outcome is known. A cancellation stops that; a
    /// shutdown leaves the run to another process.
    async fn verify(&self, run: &Run, step: usize, active: &Active) -> Result<Progressed> {
        let Some(StepState::Performed { receipt, .. }) = run.steps.get(step).map(|s| &s.state) else {
            return Err(Error::internal(format!("run {} has nothing to verify", run.id)));
        };
        let (context, mut reports) = self.context(run, step, active)?;
        if is_to_stop(run, step) {
            return self.stop_step(run, &context, receipt, active).await;
        }
        let tool = match self.tool_of(&context, active) {
            Ok(tool) => tool,
            Err(error) => return self.conclude(run, Event::StepUnknown { step, error }, active).await,
        };
        let end = context.deadline + self.0.limits.grace;
        let looking = async {
            tool.carry_on(&Permit(()), &context, receipt).await?;
            tool.verify(&context, receipt).await
        };
        let verifying = async {
            tokio::select! {
                biased;
                () = self.0.stopping.cancelled() => None,
                () = active.cancel.cancelled(), if !run.cancel_requested => None,
                () = active.lost.cancelled() => None,
                verified = tokio::time::timeout_at(end, looking) => Some(match verified {
                    Ok(Ok(output)) => Event::StepVerified { step, output },
                    Ok(Err(Fault::Failed(error) | Fault::Moved(error))) => Event::StepFailed { step, error },
                    Ok(Err(Fault::Unknown(error))) => Event::StepUnknown { step, error },
                    Err(_) => {
                        let message = format!("`{}` was performed, but its outcome could not be seen in time", context.call.tool);
                        Event::StepUnknown { step, error: Error::new(Code::RunOutcomeUnknown, message) }
                    }
                }),
            }
        };
        match self.publishing(run.id, active, &mut reports, verifying).await {
            Some(event) => self.conclude(run, event, active).await,
            None if self.0.stopping.is_cancelled() => Ok(Progressed::Rest),
            None => self.reload(run, active).await,
        }
    }

    /// Ends a step that was performed and need not be watched any longer: its tool stops it, if it can be stopped.
    async fn stop_step(
        &self,
        run: &Run,
        context: &StepContext,
        receipt: &Value,
        active: &Active,
    ) -> Result<Progressed> {
        let step = context.step;
        let stopped = match self.tool_of(context, active) {
            Ok(tool) => {
                timeout(self.0.limits.grace, tool.stop(&Permit(()), context, receipt)).await.ok().flatten()
            }
            Err(_) => None,
        };
        if let Some(error) = stopped {
            return self.conclude(run, Event::StepCancelled { step, error }, active).await;
        }
        let what = if run.undo_requested {
            "cancelled while it was verified: the effect was performed and is undone"
        } else {
            "cancelled while it was verified: the effect was performed and goes on unwatched"
        };
        self.cancelled(run, step, active, what).await
    }

    async fn cancelled(&self, run: &Run, step: usize, active: &Active, what: &str) -> Result<Progressed> {
        let begun = run.steps.get(step).is_some_and(|step| matches!(step.state, StepState::Performed { .. }));
        let mut error = Error::new(Code::RunCancelled, what);
        if begun && !run.undo_requested {
            error =
                error.with_remedy("look at the target before you submit it again: what was begun goes on");
        }
        self.conclude(run, Event::StepCancelled { step, error }, active).await
    }
}

/// Whether the step is not to be begun, or not to be watched any longer. An undo that was asked for goes on.
fn is_to_stop(run: &Run, step: usize) -> bool {
    let wanted = run.undo_requested && run.steps.get(step).is_some_and(|step| step.undoes.is_some());
    run.cancel_requested && !wanted
}

/// Counts the intents of a step.
fn attempt(run: &Run, step: usize) -> u32 {
    match run.steps.get(step).map(|step| &step.state) {
        Some(StepState::Intended { attempt, .. }) => *attempt,
        _ => 0,
    }
}
