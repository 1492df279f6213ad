//! The transitions.

use super::{By, Event, OnFailure, Run, State, Step, StepState};
use crate::{Approval, Code, Error, Principal, Result, Timestamp};
use serde_json::{Value, json};

/// What remains to be done about a failure that was undone.
const UNDONE: &str = "it was undone; correct the cause before you repeat it";

/// What has to be done after a transition was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the approvers.
    RequestApproval,
    /// Authorize the step once more, check its guardrails, lock its targets and record the intent.
    Prepare {
        /// The step, from 0.
        step: usize,
    },
    /// Perform the step's effect, unless it is found to be there already.
    Perform {
        /// The step, from 0.
        step: usize,
    },
    /// Watch until the step's outcome is known.
    Verify {
        /// The step, from 0.
        step: usize,
    },
    /// Tell the step in progress to stop waiting.
    Interrupt,
}

/// The run after `event`, and what to do once it is committed.
///
/// # Errors
/// [`Code::RunStateConflict`] when the event does not fit the run's state: it is a duplicate, or late.
/// [`Code::RunClaimLost`] when it is for the run's holder to say, and who brings it is not, or not any more.
pub fn decide(run: &Run, by: By, event: Event, at: Timestamp) -> Result<(Run, Vec<Action>)> {
    let mut after = run.clone();
    advance(&mut after, by, event, at)?;
    let actions = next(&after);
    Ok((after, actions))
}

/// The same in place, for a run that nobody else can see yet.
///
/// # Errors
/// As [`decide`]; the run is not to be used then.
pub fn advance(run: &mut Run, by: By, event: Event, at: Timestamp) -> Result<()> {
    if event.is_holders() && (run.holder.is_none() || by != By::Holder(run.fence)) {
        return Err(run.claim_lost());
    }
    // The clock may step back; a run's history may not.
    run.updated_at = at.max(run.updated_at);
    run.version += 1;
    run.apply(event)
}

/// The actions that follow from where a run stands: after a transition, and after a restart of AstraDesk.
pub fn next(run: &Run) -> Vec<Action> {
    let step = match run.state {
        State::AwaitingApproval => return vec![Action::RequestApproval],
        State::Queued => 0,
        State::Running { step } => step,
        State::Submitted
        | State::Succeeded
        | State::Failed { .. }
        | State::Denied { .. }
        | State::Rejected { .. }
        | State::Expired
        | State::Cancelled
        | State::OutcomeUnknown { .. } => return Vec::new(),
    };
    let mut actions = match run.steps.get(step).map(|s| &s.state) {
        Some(StepState::Pending) => vec![Action::Prepare { step }],
        Some(StepState::Intended { .. }) => vec![Action::Perform { step }],
        Some(StepState::Performed { .. }) => vec![Action::Verify { step }],
        Some(
            StepState::Succeeded { .. }
            | StepState::Failed { .. }
            | StepState::Unknown { .. }
            | StepState::Skipped,
        )
        | None => Vec::new(),
    };
    if run.cancel_requested {
        actions.push(Action::Interrupt);
    }
    actions
}

impl Run {
    fn apply(&mut self, event: Event) -> Result<()> {
        match (&self.state, event) {
            (State::Submitted, Event::Admitted) => self.state = State::Queued,
            (State::Submitted | State::AwaitingApproval, Event::ApprovalNeeded(approvals)) => {
                self.state = State::AwaitingApproval;
                self.approvals = Some(approvals);
            }
            (State::AwaitingApproval, Event::ApprovalGiven(approval)) => self.approve(approval)?,
            (State::AwaitingApproval | State::Queued, Event::ApprovalRevoked(by)) => self.revoke(&by)?,
            (State::Submitted | State::AwaitingApproval, Event::Denied(error)) => {
                self.end(State::Denied { error });
            }
            (State::AwaitingApproval, Event::Rejected(error)) => self.end(State::Rejected { error }),
            (State::AwaitingApproval, Event::ApprovalExpired) => self.end(State::Expired),
            (State::Queued | State::Running { .. }, Event::Claimed(holder)) => {
                self.holder = Some(holder);
                self.fence += 1;
            }
            (State::Queued | State::Running { .. }, Event::HandedOver) => self.holder = None,
            (State::Submitted | State::AwaitingApproval | State::Queued, Event::CancelRequested { undo }) => {
                (self.cancel_requested, self.undo_requested) = (true, undo);
                self.end(State::Cancelled);
            }
            (State::Running { .. }, Event::CancelRequested { undo }) if !self.cancel_requested => {
                (self.cancel_requested, self.undo_requested) = (true, undo);
            }
            (State::Queued | State::Running { .. }, event) => self.apply_to_step(event)?,
            (_, event) => return Err(self.conflict(&event)),
        }
        Ok(())
    }

    fn approve(&mut self, approval: Approval) -> Result<()> {
        let Some(approvals) = &mut self.approvals else {
            return Err(Error::internal(format!("run {} awaits no approval", self.id)));
        };
        approvals.check(&self.principal, &approval)?;
        approvals.given.push(approval);
        if approvals.are_met() {
            // The run's time does not pass while somebody thinks about it.
            let waited = self.updated_at.duration_since(approvals.asked_at);
            self.deadline = self.deadline.saturating_add(waited).unwrap_or(self.deadline);
            self.state = State::Queued;
        }
        Ok(())
    }

    /// The approval is gone, and so is the claim of whoever was about to execute the run.
    fn revoke(&mut self, by: &Principal) -> Result<()> {
        let given = self.approvals.as_mut().map(|approvals| &mut approvals.given);
        let place = given.as_ref().and_then(|given| given.iter().position(|one| one.by.id() == by.id()));
        let (Some(given), Some(place)) = (given, place) else {
            let message = format!("`{}` has not approved run {}", by.subject, self.id);
            return Err(Error::new(Code::ApprovalNotGiven, message));
        };
        given.remove(place);
        if self.state == State::Queued
            && let Some(approvals) = &mut self.approvals
        {
            approvals.asked_at = self.updated_at;
        }
        self.state = State::AwaitingApproval;
        self.holder = None;
        Ok(())
    }

    fn apply_to_step(&mut self, event: Event) -> Result<()> {
        let current = match self.state {
            State::Running { step } => step,
            _ => 0,
        };
        let at = self.updated_at;
        let Some(state) = self.steps.get(current).map(|s| s.state.clone()) else {
            return Err(Error::internal(format!("run {} has no step {current}", self.id)));
        };
        match (state, event) {
            (StepState::Pending, Event::StepIntended { step, intent }) if step == current => {
                self.state = State::Running { step };
                self.set_step(step, StepState::Intended { at, attempt: 1, intent });
                if let Some(slot) = self.steps.get_mut(step) {
                    slot.begun_at = Some(at);
                }
            }
            (StepState::Intended { attempt, .. }, Event::StepIntended { step, intent })
                if step == current =>
            {
                self.set_step(step, StepState::Intended { at, attempt: attempt + 1, intent });
            }
            (StepState::Intended { .. }, Event::StepPerformed { step, receipt }) if step == current => {
                self.set_step(step, StepState::Performed { at, receipt });
            }
            (StepState::Performed { .. }, Event::StepVerified { step, output }) if step == current => {
                self.set_step(step, StepState::Succeeded { at, output });
                self.go_on(step);
            }
            (
                before @ (StepState::Pending | StepState::Intended { .. } | StepState::Performed { .. }),
                Event::StepFailed { step, error },
            ) if step == current => self.fail(step, before, error),
            (
                StepState::Intended { .. } | StepState::Performed { .. },
                Event::StepUnknown { step, error },
            ) if step == current => {
                self.set_step(step, StepState::Unknown { at, error: error.clone() });
                self.end(State::OutcomeUnknown { error });
            }
            (
                before @ (StepState::Pending | StepState::Intended { .. } | StepState::Performed { .. }),
                Event::StepCancelled { step, error },
            ) if step == current && self.cancel_requested => {
                let receipt = receipt_of(before);
                let undo = self.undo_requested && receipt.is_some() && self.undone_by(step).is_none();
                self.set_step(step, StepState::Failed { at, error, receipt });
                if undo { self.undo(step) } else { self.end(State::Cancelled) }
            }
            (_, event) => return Err(self.conflict(&event)),
        }
        Ok(())
    }

    /// A step failed: if its effect happened and is to be undone, that is the next step; else the run ends.
    fn fail(&mut self, step: usize, before: StepState, error: Error) {
        let receipt = receipt_of(before);
        let undoes = self.undone_by(step);
        let wanted = self.undo_requested
            || self.steps.get(step).is_some_and(|step| step.on_failure == OnFailure::Undo);
        let undo = wanted && receipt.is_some() && undoes.is_none();
        self.set_step(step, StepState::Failed { at: self.updated_at, error: error.clone(), receipt });
        match undoes {
            _ if undo => self.undo(step),
            Some(undone) => {
                let undo = json!({"code": error.code, "message": error.message});
                let error = self.error_of(undone).unwrap_or(error).with_detail("undo_failed", undo);
                self.end(State::Failed { error });
            }
            None => self.end(State::Failed { error }),
        }
    }

    /// Skips what has not begun, and adds a step that undoes `step`.
    fn undo(&mut self, step: usize) {
        let Some(call) = self.steps.get(step).map(|step| step.call.clone()) else { return };
        self.skip_pending();
        self.state = State::Running { step: self.steps.len() };
        self.steps.push(Step { undoes: Some(step), ..Step::new(call, OnFailure::Leave) });
    }

    fn set_step(&mut self, step: usize, state: StepState) {
        if let Some(slot) = self.steps.get_mut(step) {
            slot.state = state;
        }
    }

    fn undone_by(&self, step: usize) -> Option<usize> {
        self.steps.get(step).and_then(|step| step.undoes)
    }

    fn error_of(&self, step: usize) -> Option<Error> {
        match self.steps.get(step).map(|step| &step.state) {
            Some(StepState::Failed { error, .. }) => Some(error.clone()),
            _ => None,
        }
    }

    fn go_on(&mut self, step: usize) {
        let following = step + 1;
        if let Some(undone) = self.undone_by(step) {
            self.end_undone(undone);
        } else if following == self.steps.len() {
            self.end(State::Succeeded);
        } else if self.cancel_requested {
            self.end(State::Cancelled);
        } else {
            self.state = State::Running { step: following };
        }
    }

    /// The effect is undone: the run ends as the step did that had it.
    fn end_undone(&mut self, undone: usize) {
        let ended = match self.error_of(undone) {
            Some(error) if error.code != Code::RunCancelled => {
                State::Failed { error: error.with_detail("undone", true).with_remedy(UNDONE) }
            }
            _ => State::Cancelled,
        };
        self.end(ended);
    }

    fn skip_pending(&mut self) {
        for Step { state, .. } in &mut self.steps {
            if matches!(state, StepState::Pending) {
                *state = StepState::Skipped;
            }
        }
    }

    fn end(&mut self, state: State) {
        self.skip_pending();
        self.holder = None;
        self.state = state;
    }

    fn claim_lost(&self) -> Error {
        Error::new(Code::RunClaimLost, format!("run {} is executed by another process by now", self.id))
            .with_detail("fence", self.fence)
    }

    fn conflict(&self, event: &Event) -> Error {
        let what = match event {
            Event::CancelRequested { .. } if self.cancel_requested && !self.state.is_final() => {
                "is being cancelled already".to_owned()
            }
            Event::CancelRequested { .. } => {
                format!("is {} and can no longer be cancelled", self.state.name())
            }
            _ => format!("is {}, in which this cannot happen", self.state.name()),
        };
        Error::new(Code::RunStateConflict, format!("run {} {what}", self.id))
            .with_detail("state", self.state.name())
    }
}

/// The receipt of a step whose effect happened.
fn receipt_of(state: StepState) -> Option<Value> {
    match state {
        StepState::Performed { receipt, .. } => Some(receipt),
        _ => None,
    }
}
