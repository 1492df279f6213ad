//! Plans that change nothing: performed at once, answered with their output, one record of evidence.

use super::plan::Candidate;
use super::refuse::uncommitted;
use super::{Engine, Permit, Submitted};
use crate::port::{Change, CommitError, Fault, IdempotencyKey, Progress, StepContext};
use astradesk_core::canonical::{self, Digest};
use astradesk_core::evidence::Kind;
use astradesk_core::run::{By, Event, Step, StepState, advance};
use astradesk_core::{Code, Error, Result, Run};
use serde_json::{Value, json};
use tokio::time::Instant;

impl Engine {
    /// Performs a plan of reads. The reply waits for the evidence; the output itself is not stored, only
    /// its digest and size.
    pub(super) async fn read(
        &self,
        candidate: Candidate,
        policies: &[String],
        key: Option<IdempotencyKey>,
    ) -> Result<Submitted> {
        let Candidate { mut run, tools, .. } = candidate;
        advance(&mut run, By::Anyone, Event::Admitted, self.0.clock.now())?;
        advance(&mut run, By::Anyone, Event::Claimed(self.0.holder.clone()), self.0.clock.now())?;
        let by = By::Holder(run.fence);
        for (step, tool) in tools.iter().enumerate() {
            advance(&mut run, by, Event::StepIntended { step, intent: Value::Null }, self.0.clock.now())?;
            let Some(call) = run.steps.get(step).map(|s| s.call.clone()) else { break };
            let timeout = tool.tool.timeout(&call.arguments);
            let context = StepContext {
                run: run.id,
                step,
                call,
                principal: run.principal.clone(),
                intent: Value::Null,
                undoes: None,
                repeated: false,
                deadline: Instant::now() + timeout,
                progress: Progress::default(),
            };
            let performed = tokio::time::timeout(timeout, tool.tool.perform(&Permit(()), &context)).await;
            let now = self.0.clock.now();
            match performed {
                Ok(Ok(output)) => {
                    advance(&mut run, by, Event::StepPerformed { step, receipt: Value::Null }, now)?;
                    advance(&mut run, by, Event::StepVerified { step, output }, now)?;
                }
                Ok(Err(Fault::Failed(error) | Fault::Moved(error) | Fault::Unknown(error))) => {
                    advance(&mut run, by, Event::StepFailed { step, error }, now)?;
                    break;
                }
                Err(_) => {
                    let message =
                        format!("`{}` did not answer within {} s", tool.spec().name, timeout.as_secs());
                    let error = Error::new(Code::ToolTimedOut, message);
                    advance(&mut run, by, Event::StepFailed { step, error }, now)?;
                    break;
                }
            }
        }
        run.version = 1;
        self.record_read(run, policies, key).await
    }

    async fn record_read(
        &self,
        mut run: Run,
        policies: &[String],
        key: Option<IdempotencyKey>,
    ) -> Result<Submitted> {
        let stored = self.without_secrets(without_outputs(&mut run));
        let data = json!({
            "input": run.input,
            "policies": policies,
            "state": run.state.name(),
            "error": run.state.error().map(|error| json!({"code": error.code, "message": error.message})),
            "calls": stored.steps.iter().map(|step| json!({
                "tool": step.call.tool,
                "arguments": step.call.arguments,
                "targets": step.call.targets,
                "outcome": match &step.state { StepState::Succeeded { output, .. } => output.clone(), _ => Value::Null },
            })).collect::<Value>(),
        });
        let change = Change {
            evidence: vec![self.draft(&run, Kind::ReadFinished, data)],
            run: Some(stored),
            idempotency: key.clone(),
            ..Change::default()
        };
        match (self.0.store.commit(change).await, key) {
            (Ok(_), _) => Ok(Submitted::Run { run: Box::new(run), replayed: false }),
            (Err(CommitError::Duplicate { run, request }), Some(key)) => {
                self.replay(&key, run, request).await
            }
            (Err(error), _) => Err(uncommitted(error)),
        }
    }
}

/// The run with each output replaced by its digest and its size in bytes; the outputs themselves, which may
/// be large, are not copied for it.
fn without_outputs(run: &mut Run) -> Run {
    let outputs: Vec<Value> =
        run.steps.iter_mut().map(|step| output(step).map_or(Value::Null, Value::take)).collect();
    let mut stored = run.clone();
    for ((step, stored), taken) in run.steps.iter_mut().zip(&mut stored.steps).zip(outputs) {
        if let (Some(own), Some(stored)) = (output(step), output(stored)) {
            let text = canonical::text(&taken);
            *stored = json!({"digest": Digest::of(&text), "bytes": text.len()});
            *own = taken;
        }
    }
    stored
}

fn output(step: &mut Step) -> Option<&mut Value> {
    match &mut step.state {
        StepState::Succeeded { output, .. } => Some(output),
        _ => None,
    }
}
