//! What a transition makes durable, and what becomes of it when the store or another process objects.

use super::Engine;
use super::active::Active;
use super::execute::Progressed;
use super::refuse::{not_found, uncommitted};
use crate::port::{Change, CommitError, EventDraft, LockChange};
use astradesk_core::canonical::{self, Digest};
use astradesk_core::evidence::{Draft, Kind};
use astradesk_core::run::{By, Event, Step, StepState, decide};
use astradesk_core::{Code, Effect, FrozenCall, Result, Run};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

impl Engine {
    /// Makes what happened to the step in progress durable, with its evidence, and gives locks back when the
    /// run ended. If somebody else changed the run meanwhile, it happened to the run as it is now; if somebody
    /// else claimed it, it is for them to find out.
    pub(super) async fn conclude(&self, run: &Run, event: Event, active: &Active) -> Result<Progressed> {
        let mut known = run.clone();
        loop {
            let moved = match decide(&known, By::Holder(run.fence), event.clone(), self.0.clock.now()) {
                Ok((moved, _)) => moved,
                Err(error) if error.code == Code::RunClaimLost => return Ok(Progressed::Rest),
                // A commit that was thought to have failed was kept after all.
                Err(error) if error.code == Code::RunStateConflict && known.version != run.version => {
                    return Ok(Progressed::To(Box::new(known)));
                }
                Err(error) => return Err(error),
            };
            match self.persist(self.settled(&known, &event, &moved), active).await {
                Ok(true) => return Ok(Progressed::To(Box::new(moved))),
                Ok(false) => return Ok(Progressed::Rest),
                Err(CommitError::Stale) => match self.reload(run, active).await? {
                    Progressed::To(now) => known = *now,
                    Progressed::Rest => return Ok(Progressed::Rest),
                },
                Err(error) => return Err(uncommitted(error)),
            }
        }
    }

    /// The run after what happened, its evidence, and its locks, which it keeps until it has ended.
    fn settled(&self, before: &Run, event: &Event, after: &Run) -> Change {
        let mut change = self.change(before, after);
        if let Event::StepPerformed { step, receipt } = event {
            let read = after.steps.get(*step).is_some_and(|step| step.call.effect == Effect::Read);
            let receipt = if read { digested(receipt) } else { receipt.clone() };
            let data = json!({"step": step, "receipt": receipt});
            change.evidence.push(self.draft(after, Kind::Performed, data));
        }
        self.close(&mut change, after);
        change
    }

    /// Adds what belongs to the end of a run, if it has ended.
    pub(super) fn close(&self, change: &mut Change, run: &Run) {
        if run.state.is_final() {
            change.evidence.push(self.draft(run, Kind::Finished, outcome(run)));
            change.locks.push(LockChange::Release { run: run.id });
        }
    }

    /// The run as it is now, with an event for those who watch it.
    pub(super) fn change(&self, before: &Run, after: &Run) -> Change {
        let kind = if before.state.name() == after.state.name() { "step" } else { "state" };
        let steps: Value = after.steps.iter().map(|step| json!(step_name(&step.state))).collect();
        let mut data = json!({"state": after.state.name(), "steps": steps, "error": after.state.error()});
        if let (Some(asked), Value::Object(data)) = (&after.approvals, &mut data) {
            let given: Vec<&str> = asked.given.iter().map(|one| one.by.subject.as_str()).collect();
            data.insert("approvals".to_owned(), json!({"required": asked.required, "given": given}));
        }
        Change { run: Some(after.clone()), events: vec![self.event(after, kind, data)], ..Change::default() }
    }

    /// Commits, again and again while the store is unavailable: an effect may have happened, and its
    /// outcome must not be lost while there is hope. `false` when AstraDesk is stopping: the run stays as it
    /// was last committed, and the next process finds the effect.
    pub(super) async fn persist(&self, change: Change, active: &Active) -> Result<bool, CommitError> {
        let mut pause = Duration::from_millis(50);
        loop {
            let asked = Instant::now();
            match self.0.store.commit(change.clone()).await {
                Ok(_) => {
                    active.confirm(asked);
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

    /// The run as it is stored, if this process still holds it with the same claim.
    pub(super) async fn reload(&self, run: &Run, active: &Active) -> Result<Progressed> {
        let asked = Instant::now();
        let Some(stored) = self.insist(|| self.0.store.run(run.id)).await else {
            return Ok(Progressed::Rest);
        };
        let now = stored?.ok_or_else(|| not_found(run.id))?;
        if !now.state.is_final() && (now.fence != run.fence || now.holder != run.holder) {
            tracing::warn!(run = %run.id, by = ?now.holder, "another process has taken the run over");
            return Ok(Progressed::Rest);
        }
        active.confirm(asked);
        Ok(Progressed::To(Box::new(now)))
    }

    pub(super) fn draft(&self, run: &Run, kind: Kind, data: Value) -> Draft {
        Draft {
            at: self.0.clock.now(),
            kind,
            run: Some(run.id),
            principal: Some(run.principal.clone()),
            trace: run.trace.clone(),
            data,
        }
    }

    /// What a run does, as it is shown: without secrets.
    pub(super) fn shown_calls(&self, run: &Run) -> Value {
        run.steps.iter().map(|step| json!(self.shown_call(&step.call))).collect()
    }

    /// The run as it can be kept: without secrets. Only reads have some, and they are done when they are kept.
    pub(super) fn without_secrets(&self, mut run: Run) -> Run {
        for step in &mut run.steps {
            if self.has_secrets(&step.call) {
                step.call = self.shown_call(&step.call);
            }
        }
        run
    }

    pub(super) fn has_secrets(&self, call: &FrozenCall) -> bool {
        self.0.registry.tool(call.tool.as_str()).is_ok_and(|tool| tool.has_secrets(&call.arguments))
    }

    /// A call as it is shown.
    pub(super) fn shown_call(&self, call: &FrozenCall) -> FrozenCall {
        match self.0.registry.tool(call.tool.as_str()) {
            Ok(tool) => tool.shown(call),
            Err(_) => call.clone(),
        }
    }

    pub(super) fn event(&self, run: &Run, kind: &str, data: Value) -> EventDraft {
        EventDraft { run: run.id, at: self.0.clock.now(), kind: kind.to_owned(), data }
    }
}

/// A step's state in one word.
const fn step_name(state: &StepState) -> &'static str {
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
    json!({
        "state": run.state.name(),
        "error": run.state.error(),
        "steps": run.steps.iter().map(|step| json!({
            "digest": step.call.digest,
            "undoes": step.undoes,
            "state": recorded(step),
        })).collect::<Value>(),
        "milliseconds": run.updated_at.duration_since(run.created_at).as_millis() as i64,
    })
}

/// Where a step stands, as the evidence shows it: of what was read, only the digest and the size.
fn recorded(step: &Step) -> Value {
    let mut state = json!(step.state);
    if step.call.effect == Effect::Read {
        for name in ["receipt", "output"] {
            if let Some(read) = state.get_mut(name) {
                *read = digested(read);
            }
        }
    }
    state
}

fn digested(output: &Value) -> Value {
    let text = canonical::text(output);
    json!({"digest": Digest::of(&text), "bytes": text.len()})
}
