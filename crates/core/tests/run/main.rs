//! The run's state machine: the paths by table, and its promises under any order of events and claims.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed unwrap in a test is a failed test"
)]

mod approvals;
mod paths;
mod promises;

use astradesk_core::run::{By, Event, Holder, OnFailure, Run, RunId, State, Step};
use astradesk_core::{
    Approval, Approvals, Call, Code, Effect, Error, FrozenCall, Principal, Requirement, RoleName, Source,
    Timestamp, ToolName,
};
use serde_json::json;

/// A run that was just submitted, with a step for each of these.
fn run(steps: &[OnFailure]) -> Run {
    let call = FrozenCall::new(
        Call { tool: ToolName::parse("restart_service").unwrap(), arguments: serde_json::Map::new() },
        "1".into(),
        Effect::Write,
        vec!["kubernetes/prod/default/deployment/webapp".parse().unwrap()],
    );
    Run {
        id: RunId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap(),
        version: 1,
        principal: Principal { subject: "ada".into(), issuer: "local".into(), roles: [].into(), actor: None },
        source: Source::Cli,
        agent: None,
        input: None,
        planner: "direct".into(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        deadline: Timestamp::UNIX_EPOCH,
        holder: None,
        fence: 0,
        state: State::Submitted,
        steps: steps.iter().map(|on_failure| Step::new(call.clone(), *on_failure)).collect(),
        reason: None,
        break_glass: false,
        trace: None,
        approvals: None,
        cancel_requested: false,
        undo_requested: false,
    }
}

fn failed() -> Error {
    Error::new(Code::RolloutCrashLoop, "it crashes")
}

fn cancelled() -> Error {
    Error::new(Code::RunCancelled, "cancelled while it was verified")
}

fn claimed(by: &str) -> Event {
    Event::Claimed(Holder::new(by))
}

fn intended(step: usize) -> Event {
    Event::StepIntended { step, intent: json!({"version": 7}) }
}

fn performed(step: usize) -> Event {
    Event::StepPerformed { step, receipt: json!({"generation": 2}) }
}

fn verified(step: usize) -> Event {
    Event::StepVerified { step, output: json!({"ready": 3}) }
}

fn person(subject: &str, roles: &[&str]) -> Principal {
    let roles = roles.iter().map(|role| RoleName::parse(*role).unwrap()).collect();
    Principal { subject: subject.into(), issuer: "local".into(), roles, actor: None }
}

/// So many approvals are asked for, so many of them by `lead`, until second 100.
fn asked(count: u32, leads: u32) -> Event {
    let roles = if leads == 0 { [].into() } else { [(RoleName::parse("lead").unwrap(), leads)].into() };
    Event::ApprovalNeeded(Approvals {
        digest: run(&[OnFailure::Leave]).digest(),
        required: Requirement { count, roles },
        reasons: Vec::new(),
        asked_at: Timestamp::UNIX_EPOCH,
        expires_at: Timestamp::from_second(100).unwrap(),
        given: Vec::new(),
    })
}

/// Somebody agrees to what [`asked`] asks for, at this second.
fn given(by: &Principal, second: i64) -> Event {
    Event::ApprovalGiven(Approval {
        by: by.clone(),
        at: Timestamp::from_second(second).unwrap(),
        digest: run(&[OnFailure::Leave]).digest(),
        reason: "seen".into(),
    })
}

/// Who may bring this event to `run`: its holder, if it is for them to bring.
fn whose(run: &Run, event: &Event) -> By {
    if is_holders(event) { By::Holder(run.fence) } else { By::Anyone }
}

fn is_holders(event: &Event) -> bool {
    matches!(
        event,
        Event::HandedOver
            | Event::StepIntended { .. }
            | Event::StepPerformed { .. }
            | Event::StepVerified { .. }
            | Event::StepFailed { .. }
            | Event::StepUnknown { .. }
            | Event::StepCancelled { .. }
    )
}
