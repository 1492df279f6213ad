//! `OpsAgent`: plans with its planner, and reports what came of it. It never answers a failure with
//! prose, and never falls back to retrieval: the tool's own error is the answer.

use astradesk_core::run::{State, Step, StepState};
use astradesk_core::{AgentName, Approvals, Error, Plan, Result, Run, Target, ToolSpec};
use astradesk_runtime::port::{Agent, Names, Planner};
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;

/// The agent `ops`.
pub struct OpsAgent {
    name: AgentName,
    planner: Arc<dyn Planner>,
}

impl OpsAgent {
    /// The agent, planning with `planner`.
    pub fn new(planner: Arc<dyn Planner>) -> Result<Self> {
        Ok(Self { name: AgentName::parse("ops")?, planner })
    }
}

#[async_trait]
impl Agent for OpsAgent {
    fn name(&self) -> &AgentName {
        &self.name
    }

    fn description(&self) -> &'static str {
        "executes operational instructions, such as `restart webapp`, and reports each outcome as it is"
    }

    async fn plan(&self, input: &str, tools: &[Arc<ToolSpec>], names: &dyn Names) -> Result<Plan> {
        self.planner.plan(input, tools, names).await
    }

    fn reply(&self, run: &Run) -> String {
        reply(run)
    }
}

/// What is said of a run: the same words for the same facts.
pub fn reply(run: &Run) -> String {
    let planned: Vec<(usize, &Step)> =
        run.steps.iter().enumerate().filter(|(_, step)| step.undoes.is_none()).collect();
    if let [(index, only)] = planned.as_slice() {
        let said = match &only.state {
            StepState::Succeeded { output, .. } => done(only, output),
            _ => state(run),
        };
        return with_undo(said, run, *index);
    }
    let mut lines = Vec::with_capacity(planned.len() + 1);
    for (number, (index, step)) in planned.iter().enumerate() {
        let said = line(step, is_undone(run, *index));
        lines.push(format!("{} of {}: {}", number + 1, planned.len(), with_undo(said, run, *index)));
    }
    lines.push(state(run));
    lines.join("\n")
}

fn line(step: &Step, undone: bool) -> String {
    let what = subject(step);
    match &step.state {
        StepState::Succeeded { output, .. } => done(step, output),
        StepState::Failed { error, .. } => format!("{what} failed: {}", told(error, undone)),
        StepState::Unknown { error, .. } => format!("{what} is unclear: {}", told(error, undone)),
        StepState::Skipped => format!("{what} was not performed"),
        StepState::Pending => format!("{what} has not begun"),
        StepState::Intended { .. } | StepState::Performed { .. } => format!("{what} is under way"),
    }
}

/// The step that undoes this one, if there is one.
fn undo_of(run: &Run, index: usize) -> Option<&Step> {
    run.steps.iter().find(|step| step.undoes == Some(index))
}

fn is_undone(run: &Run, index: usize) -> bool {
    undo_of(run, index).is_some_and(|undo| matches!(undo.state, StepState::Succeeded { .. }))
}

/// What is said of a step, and below it what became of its undo.
fn with_undo(said: String, run: &Run, index: usize) -> String {
    let Some(undo) = undo_of(run, index) else {
        return said;
    };
    let undone = match &undo.state {
        StepState::Succeeded { output, .. } => format!("undone: {}", done(undo, output)),
        StepState::Failed { error, .. } => format!("the undo failed, too: {}", told(error, false)),
        StepState::Unknown { error, .. } => {
            format!("whether it was undone is unknown: {}", told(error, false))
        }
        StepState::Skipped => "it was not undone".to_owned(),
        StepState::Pending | StepState::Intended { .. } | StepState::Performed { .. } => {
            "it is being undone".to_owned()
        }
    };
    format!("{said}\n{undone}")
}

/// The tool's own sentence, or the plainest one.
fn done(step: &Step, output: &Value) -> String {
    match output.get("summary").and_then(Value::as_str) {
        Some(summary) => summary.to_owned(),
        None => format!("{} is done", subject(step)),
    }
}

fn subject(step: &Step) -> String {
    let targets: Vec<String> = step.call.targets.iter().map(Target::to_string).collect();
    format!("`{}` on {}", step.call.tool, targets.join(", "))
}

fn state(run: &Run) -> String {
    match &run.state {
        State::Succeeded => "every step is done and verified".to_owned(),
        State::Failed { error } => {
            // Who reads that it was undone need not be told how to undo it.
            let undone = (0..run.steps.len()).any(|index| is_undone(run, index));
            format!("failed: {}", told(error, undone))
        }
        State::Denied { error } => format!("denied: {}", told(error, false)),
        // The message says already who rejected it.
        State::Rejected { error } => told(error, false),
        State::OutcomeUnknown { error } => format!("the outcome is unknown: {}", told(error, false)),
        State::Expired => expired(run),
        State::Cancelled => cancelled(run),
        State::AwaitingApproval => awaiting(run),
        State::Submitted | State::Queued | State::Running { .. } => format!("run {} is under way", run.id),
    }
}

/// What it waits for, and until when.
fn awaiting(run: &Run) -> String {
    let Some(asked) = &run.approvals else { return "it waits for an approval".to_owned() };
    let until = asked.expires_at.strftime("%Y-%m-%d %H:%M UTC");
    format!("it waits for {}, and has {}, until {until}; nothing was done yet", asked.required, given(asked))
}

fn expired(run: &Run) -> String {
    let Some(asked) = &run.approvals else {
        return "it was not approved in time; nothing was done".to_owned();
    };
    let until = asked.expires_at.strftime("%Y-%m-%d %H:%M UTC");
    format!("it needed {}, until {until}, and had {}; nothing was done", asked.required, given(asked))
}

/// Who has approved it.
fn given(asked: &Approvals) -> String {
    let names: Vec<String> = asked.given.iter().map(|one| format!("`{}`", one.by.subject)).collect();
    if names.is_empty() { "none".to_owned() } else { format!("that of {}", names.join(" and ")) }
}

fn cancelled(run: &Run) -> String {
    let planned = run.steps.iter().enumerate().filter(|(_, step)| step.undoes.is_none());
    let told = planned.rev().find_map(|(index, step)| match &step.state {
        StepState::Failed { error, .. } => Some(told(error, is_undone(run, index))),
        _ => None,
    });
    told.unwrap_or_else(|| "cancelled; nothing more was done".to_owned())
}

/// The error, its code, and what to do next, unless that is done.
fn told(error: &Error, undone: bool) -> String {
    let Error { message, code, remedy, .. } = error;
    if undone { format!("{message} ({code})") } else { format!("{message} ({code}); {remedy}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use astradesk_core::run::OnFailure;
    use astradesk_core::{Call, Code, Effect, FrozenCall, Principal, RunId, Source, Timestamp, ToolName};
    use serde_json::json;

    fn step(name: &str, state: StepState) -> Step {
        let call = Call {
            tool: ToolName::parse("restart_service").unwrap(),
            arguments: serde_json::from_value(json!({"service": name})).unwrap(),
        };
        let target = format!("kubernetes/prod/default/deployment/{name}").parse().unwrap();
        let call = FrozenCall::new(call, "1".into(), Effect::Write, vec![target]);
        Step { state, ..Step::new(call, OnFailure::Leave) }
    }

    fn run(state: State, steps: Vec<Step>) -> Run {
        Run {
            id: RunId::parse("01920000-0000-7000-8000-000000000001").unwrap(),
            version: 1,
            principal: Principal {
                subject: "ana".into(),
                issuer: "test".into(),
                roles: std::collections::BTreeSet::new(),
                actor: None,
            },
            source: Source::Http,
            agent: None,
            input: None,
            planner: "keyword".into(),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            deadline: Timestamp::UNIX_EPOCH,
            holder: None,
            fence: 0,
            state,
            steps,
            reason: None,
            break_glass: false,
            trace: None,
            approvals: None,
            cancel_requested: false,
            undo_requested: false,
        }
    }

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn a_step_that_is_done_is_told_in_the_tools_words() {
        let output = json!({"summary": "webapp was restarted"});
        let steps = vec![step("webapp", StepState::Succeeded { at: AT, output })];
        assert_eq!(reply(&run(State::Succeeded, steps)), "webapp was restarted");
    }

    #[test]
    fn a_failure_is_told_with_its_code_and_remedy() {
        let error = Error::new(Code::RolloutCrashLoop, "webapp-1 crashes").with_remedy("undo it");
        let steps = vec![step("webapp", StepState::Failed { at: AT, error: error.clone(), receipt: None })];
        assert_eq!(
            reply(&run(State::Failed { error }, steps)),
            "failed: webapp-1 crashes (rollout.crash_loop); undo it"
        );
    }

    #[test]
    fn what_is_awaited_is_told_with_what_there_is_of_it() {
        let approvals: Approvals = serde_json::from_value(json!({
            "digest": "0".repeat(64), "required": {"count": 2, "roles": {"sre": 1}}, "reasons": [],
            "asked_at": "2026-03-01T09:00:00Z", "expires_at": "2026-03-01T10:00:00Z",
            "given": [{"by": {"subject": "bob", "issuer": "test", "roles": ["sre"]}, "at": "2026-03-01T09:30:00Z",
                       "digest": "0".repeat(64), "reason": "seen"}],
        }))
        .unwrap();
        let with = |state: State, given: usize| {
            let mut approvals = approvals.clone();
            approvals.given.truncate(given);
            reply(&Run { approvals: Some(approvals), ..run(state, vec![step("webapp", StepState::Pending)]) })
        };
        assert_eq!(
            with(State::AwaitingApproval, 1),
            "it waits for 2 approvals, 1 of them by `sre`, and has that of `bob`, until 2026-03-01 10:00 UTC; nothing was \
             done yet"
        );
        assert_eq!(
            with(State::Expired, 0),
            "it needed 2 approvals, 1 of them by `sre`, until 2026-03-01 10:00 UTC, and had none; nothing was done"
        );
        let error =
            Error::new(Code::ApprovalRejected, "`bob` rejected it: not today").with_remedy("talk to `bob`");
        assert_eq!(
            with(State::Rejected { error }, 0),
            "`bob` rejected it: not today (approval.rejected); talk to `bob`"
        );
    }

    #[test]
    fn several_steps_are_told_one_by_one() {
        let error = Error::new(Code::GuardPaused, "`b` is paused").with_remedy("resume it");
        let steps = vec![
            step("a", StepState::Succeeded { at: AT, output: json!({}) }),
            step("b", StepState::Failed { at: AT, error: error.clone(), receipt: None }),
            step("c", StepState::Skipped),
        ];
        assert_eq!(
            reply(&run(State::Failed { error }, steps)),
            "1 of 3: `restart_service` on kubernetes/prod/default/deployment/a is done\n\
             2 of 3: `restart_service` on kubernetes/prod/default/deployment/b failed: `b` is paused \
             (guard.paused); resume it\n\
             3 of 3: `restart_service` on kubernetes/prod/default/deployment/c was not performed\n\
             failed: `b` is paused (guard.paused); resume it"
        );
    }

    fn failed(name: &str) -> (Error, Step) {
        let error = Error::new(Code::RolloutCrashLoop, "the restart failed").with_remedy("undo it");
        (error.clone(), step(name, StepState::Failed { at: AT, error, receipt: Some(json!({})) }))
    }

    fn undo(of: usize, state: StepState) -> Step {
        Step { undoes: Some(of), ..step("webapp", state) }
    }

    #[test]
    fn an_undo_is_told_below_what_it_undoes() {
        let (error, restart) = failed("webapp");
        let output = json!({"summary": "webapp was restored to revision 1"});
        let steps = vec![restart.clone(), undo(0, StepState::Succeeded { at: AT, output })];
        assert_eq!(
            reply(&run(State::Failed { error: error.clone() }, steps.clone())),
            "failed: the restart failed (rollout.crash_loop)\nundone: webapp was restored to revision 1"
        );
        let cancelled = reply(&run(State::Cancelled, steps));
        let end = "the restart failed (rollout.crash_loop)\nundone: webapp was restored to revision 1";
        assert!(cancelled.ends_with(end), "{cancelled}");
        let second = Error::new(Code::RolloutSuperseded, "somebody changed it").with_remedy("look");
        let steps =
            vec![restart.clone(), undo(0, StepState::Failed { at: AT, error: second, receipt: None })];
        assert_eq!(
            reply(&run(State::Failed { error }, steps)),
            "failed: the restart failed (rollout.crash_loop); undo it\n\
             the undo failed, too: somebody changed it (rollout.superseded); look"
        );
        let going = vec![restart, undo(0, StepState::Pending)];
        assert!(reply(&run(State::Running { step: 1 }, going)).ends_with("is under way\nit is being undone"));
    }

    #[test]
    fn the_undo_of_one_of_several_steps_is_no_step_of_its_own() {
        let (error, restart) = failed("b");
        let output = json!({"summary": "b was restored"});
        let steps = vec![
            step("a", StepState::Succeeded { at: AT, output: json!({}) }),
            restart,
            step("c", StepState::Skipped),
            undo(1, StepState::Succeeded { at: AT, output }),
        ];
        assert_eq!(
            reply(&run(State::Failed { error }, steps)),
            "1 of 3: `restart_service` on kubernetes/prod/default/deployment/a is done\n\
             2 of 3: `restart_service` on kubernetes/prod/default/deployment/b failed: the restart failed \
             (rollout.crash_loop)\nundone: b was restored\n\
             3 of 3: `restart_service` on kubernetes/prod/default/deployment/c was not performed\n\
             failed: the restart failed (rollout.crash_loop)"
        );
    }
}
