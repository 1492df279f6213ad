//! The transitions.

use super::{Run, State, Step, StepState};
use crate::{Code, Error, Result, Timestamp};
use serde_json::Value;

/// Something that happened to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Policy and guardrails let the plan in.
    Admitted,
    /// Policy wants somebody to agree first.
    ApprovalNeeded,
    /// Policy or a guardrail refused the plan.
    Denied(Error),
    /// Enough approvers agreed.
    Approved,
    /// An approver said no.
    Rejected(Error),
    /// Nobody agreed in time.
    ApprovalExpired,
    /// The step was authorized again and its intent is to be made durable.
    StepIntended {
        /// The step, from 0.
        step: usize,
    },
    /// The step's effect happened.
    StepPerformed {
        /// The step, from 0.
        step: usize,
        /// What the tool needs to verify it.
        receipt: Value,
    },
    /// The step's outcome was seen to be good.
    StepVerified {
        /// The step, from 0.
        step: usize,
        /// What the tool reports.
        output: Value,
    },
    /// The step was refused, or its effect failed.
    StepFailed {
        /// The step, from 0.
        step: usize,
        /// Why.
        error: Error,
    },
    /// Whether the step's effect happened cannot be established.
    StepUnknown {
        /// The step, from 0.
        step: usize,
        /// What was seen.
        error: Error,
    },
    /// Somebody wants the run to stop.
    CancelRequested,
    /// The step stopped because the run is being cancelled.
    StepCancelled {
        /// The step, from 0.
        step: usize,
        /// What had been done by then.
        error: Error,
    },
}

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
pub fn decide(run: &Run, event: Event, at: Timestamp) -> Result<(Run, Vec<Action>)> {
    let mut after = run.clone();
    advance(&mut after, event, at)?;
    let actions = next(&after);
    Ok((after, actions))
}

/// The same in place, for a run that nobody else can see yet.
///
/// # Errors
/// As [`decide`]; the run is not to be used then.
pub fn advance(run: &mut Run, event: Event, at: Timestamp) -> Result<()> {
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
            (State::Submitted, Event::Admitted) | (State::AwaitingApproval, Event::Approved) => {
                self.state = State::Queued;
            }
            (State::Submitted, Event::ApprovalNeeded) => self.state = State::AwaitingApproval,
            (State::Submitted | State::AwaitingApproval, Event::Denied(error)) => {
                self.end(State::Denied { error });
            }
            (State::AwaitingApproval, Event::Rejected(error)) => self.end(State::Rejected { error }),
            (State::AwaitingApproval, Event::ApprovalExpired) => self.end(State::Expired),
            (State::Submitted | State::AwaitingApproval | State::Queued, Event::CancelRequested) => {
                self.cancel_requested = true;
                self.end(State::Cancelled);
            }
            (State::Running { .. }, Event::CancelRequested) if !self.cancel_requested => {
                self.cancel_requested = true;
            }
            (State::Queued | State::Running { .. }, event) => self.apply_to_step(event)?,
            (_, event) => return Err(self.conflict(&event)),
        }
        Ok(())
    }

    fn apply_to_step(&mut self, event: Event) -> Result<()> {
        let current = match self.state {
            State::Running { step } => step,
            _ => 0,
        };
        let at = self.updated_at;
        let Some(state) = self.steps.get(current).map(|s| &s.state) else {
            return Err(Error::internal(format!("run {} has no step {current}", self.id)));
        };
        match (state, event) {
            (StepState::Pending, Event::StepIntended { step }) if step == current => {
                self.state = State::Running { step };
                self.set_step(step, StepState::Intended { at });
            }
            (StepState::Intended { .. }, Event::StepPerformed { step, receipt }) if step == current => {
                self.set_step(step, StepState::Performed { at, receipt });
            }
            (StepState::Performed { .. }, Event::StepVerified { step, output }) if step == current => {
                self.set_step(step, StepState::Succeeded { at, output });
                self.advance(step);
            }
            (
                StepState::Pending | StepState::Intended { .. } | StepState::Performed { .. },
                Event::StepFailed { step, error },
            ) if step == current => {
                self.set_step(step, StepState::Failed { at, error: error.clone() });
                self.end(State::Failed { error });
            }
            (
                StepState::Intended { .. } | StepState::Performed { .. },
                Event::StepUnknown { step, error },
            ) if step == current => {
                self.set_step(step, StepState::Unknown { at, error: error.clone() });
                self.end(State::OutcomeUnknown { error });
            }
            (
                StepState::Pending | StepState::Intended { .. } | StepState::Performed { .. },
                Event::StepCancelled { step, error },
            ) if step == current && self.cancel_requested => {
                self.set_step(step, StepState::Failed { at, error });
                self.end(State::Cancelled);
            }
            (_, event) => return Err(self.conflict(&event)),
        }
        Ok(())
    }

    fn set_step(&mut self, step: usize, state: StepState) {
        if let Some(slot) = self.steps.get_mut(step) {
            slot.state = state;
        }
    }

    fn advance(&mut self, step: usize) {
        let following = step + 1;
        if following == self.steps.len() {
            self.state = State::Succeeded;
        } else if self.cancel_requested {
            self.end(State::Cancelled);
        } else {
            self.state = State::Running { step: following };
        }
    }

    fn end(&mut self, state: State) {
        for Step { state, .. } in &mut self.steps {
            if matches!(state, StepState::Pending) {
                *state = StepState::Skipped;
            }
        }
        self.state = state;
    }

    fn conflict(&self, event: &Event) -> Error {
        let what = match event {
            Event::CancelRequested if self.cancel_requested && !self.state.is_final() => {
                "is being cancelled already".to_owned()
            }
            Event::CancelRequested => format!("is {} and can no longer be cancelled", self.state.name()),
            _ => format!("is {}, in which this cannot happen", self.state.name()),
        };
        Error::new(Code::RunStateConflict, format!("run {} {what}", self.id))
            .with_detail("state", self.state.name())
    }
}
