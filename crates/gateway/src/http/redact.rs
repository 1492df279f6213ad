//! What a caller may not see: the messages of defects, and arguments that a tool's schema calls write-only.

use super::App;
use astradesk_core::run::{State, StepState};
use astradesk_core::{Code, Decision, Error, Run};
use astradesk_runtime::Engine;
use astradesk_runtime::engine::PreviewedStep;
use serde_json::Value;

const HIDDEN: &str = "this is a defect of AstraDesk, and its log has the details";

impl App {
    /// Makes a run fit to be shown.
    pub(crate) fn fit(&self, run: &mut Run) {
        fit(&self.engine, run);
    }
}

/// Makes a run fit to be shown.
pub(crate) fn fit(engine: &Engine, run: &mut Run) {
    redact(run);
    for step in &mut run.steps {
        if let Ok(tool) = engine.registry().tool(step.call.tool.as_str()) {
            step.call = tool.shown(&step.call);
        }
    }
}

/// Hides the messages of defects from a run before a caller sees it.
pub(crate) fn redact(run: &mut Run) {
    match &mut run.state {
        State::Failed { error }
        | State::Denied { error }
        | State::Rejected { error }
        | State::OutcomeUnknown { error } => hide(error),
        State::Submitted
        | State::AwaitingApproval
        | State::Queued
        | State::Running { .. }
        | State::Succeeded
        | State::Expired
        | State::Cancelled => {}
    }
    for step in &mut run.steps {
        match &mut step.state {
            StepState::Failed { error, .. } | StepState::Unknown { error, .. } => hide(error),
            StepState::Pending
            | StepState::Intended { .. }
            | StepState::Performed { .. }
            | StepState::Succeeded { .. }
            | StepState::Skipped => {}
        }
    }
}

/// The same for what steps would do; their calls are redacted already.
pub(crate) fn redact_preview(steps: &mut [PreviewedStep]) {
    for step in steps {
        step.objections.iter_mut().chain(&mut step.refused).for_each(hide);
        if let Decision::Deny { error, .. } = &mut step.decision {
            hide(error);
        }
    }
}

/// The same for one error.
pub(crate) fn hide(error: &mut Error) {
    if error.code == Code::Internal {
        HIDDEN.clone_into(&mut error.message);
        error.details.clear();
    }
}

/// The same for the data of an event.
pub(crate) fn redact_value(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("code").and_then(Value::as_str) == Some(Code::Internal.as_str()) {
                map.insert("message".to_owned(), Value::from(HIDDEN));
                map.remove("details");
            }
            map.values_mut().for_each(redact_value);
        }
        Value::Array(items) => items.iter_mut().for_each(redact_value),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
