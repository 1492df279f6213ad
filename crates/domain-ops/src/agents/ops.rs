//! `OpsAgent`: plans with its planner, and reports what came of it. It never answers a failure with
//! prose, and never falls back to retrieval: the tool's own error is the answer.

use astradesk_core::run::{State, Step, StepState};
use astradesk_core::{AgentName, Error, Plan, Result, Run, Target, ToolSpec};
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
    if let [only] = run.steps.as_slice() {
        return match &only.state {
            StepState::Succeeded { output, .. } => done(only, output),
            _ => state(run),
        };
    }
    let mut lines = Vec::with_capacity(run.steps.len() + 1);
    let of = run.steps.len();
    for (index, step) in run.steps.iter().enumerate() {
        lines.push(format!("{} of {of}: {}", index + 1, line(step)));
    }
    lines.push(state(run));
    lines.join("\n")
}

fn line(step: &Step) -> String {
    let what = subject(step);
    match &step.state {
        StepState::Succeeded { output, .. } => done(step, output),
        StepState::Failed { error, .. } => format!("{what} failed: {}", told(error)),
        StepState::Unknown { error, .. } => format!("{what} is unclear: {}", told(error)),
        StepState::Skipped => format!("{what} was not performed"),
        StepState::Pending => format!("{what} has not begun"),
        StepState::Intended { .. } | StepState::Performed { .. } => format!("{what} is under way"),
    }
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
        State::Failed { error } => format!("failed: {}", told(error)),
        State::Denied { error } => format!("denied: {}", told(error)),
        State::Rejected { error } => format!("rejected: {}", told(error)),
        State::OutcomeUnknown { error } => format!("the outcome is unknown: {}", told(error)),
        State::Expired => "nobody approved it in time; nothing was done".to_owned(),
        State::Cancelled => cancelled(run),
        State::AwaitingApproval => "it waits for an approval".to_owned(),
        State::Submitted | State::Queued | State::Running { .. } => format!("run {} is under way", run.id),
    }
}

fn cancelled(run: &Run) -> String {
    let told = run.steps.iter().rev().find_map(|step| match &step.state {
        StepState::Failed { error, .. } => Some(format!("cancelled: {}", told(error))),
        _ => None,
    });
    told.unwrap_or_else(|| "cancelled; nothing more was done".to_owned())
}

fn told(error: &Error) -> String {
    format!("{} ({}); {}", error.message, error.code, error.remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use astradesk_core::{Call, Code, Effect, FrozenCall, Principal, RunId, Source, Timestamp, ToolName};
    use serde_json::json;

    fn step(name: &str, state: StepState) -> Step {
        let call = Call {
            tool: ToolName::parse("restart_service").unwrap(),
            arguments: serde_json::from_value(json!({"service": name})).unwrap(),
        };
        let target = format!("kubernetes/prod/default/deployment/{name}").parse().unwrap();
        Step { call: FrozenCall::new(call, "1".into(), Effect::Write, vec![target]), state }
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
            state,
            steps,
            cancel_requested: false,
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
        let steps = vec![step("webapp", StepState::Failed { at: AT, error: error.clone() })];
        assert_eq!(
            reply(&run(State::Failed { error }, steps)),
            "failed: webapp-1 crashes (rollout.crash_loop); undo it"
        );
    }

    #[test]
    fn several_steps_are_told_one_by_one() {
        let error = Error::new(Code::GuardPaused, "`b` is paused").with_remedy("resume it");
        let steps = vec![
            step("a", StepState::Succeeded { at: AT, output: json!({}) }),
            step("b", StepState::Failed { at: AT, error: error.clone() }),
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
}
