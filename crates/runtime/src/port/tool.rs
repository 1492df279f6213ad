//! Tools: what can be done.

use crate::engine::Permit;
use astradesk_core::run::OnFailure;
use astradesk_core::{Arguments, Code, Error, Facts, FrozenCall, Principal, Result, RunId, Target, ToolSpec};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Something that can be done.
///
/// The Engine calls, in this order: [`targets`](Tool::targets), then policy, [`guard`](Tool::guard), and, when the
/// step's turn has come, [`intend`](Tool::intend); then, with the intent on disk, [`perform`](Tool::perform), and
/// [`verify`](Tool::verify). After a crash it calls `perform` again with the same intent: see there.
///
/// `perform` is not interrupted. What takes long goes on by itself when it has begun, such as a rollout or a playbook:
/// `perform` begins it, `verify` watches it, and a cancellation [stops](Tool::stop) it if it can be. What takes long because
/// it has many parts, such as the evictions of a drain, `perform` begins and [`carry_on`](Tool::carry_on) goes on with.
///
/// A step that undoes another one goes the same way, with [`StepContext::undoes`] set.
#[async_trait]
pub trait Tool: Send + Sync + 'static {
    /// The tool's description.
    fn spec(&self) -> &Arc<ToolSpec>;

    /// What a call with these arguments, which fit the schema, acts on. It may look at the system to
    /// find out which kind of object a name means; a name that means nothing is still a target (policy
    /// decides first), and is refused by `guard`.
    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>>;

    /// The names that a sentence may use for `argument`, each with the arguments' own spelling.
    async fn candidates(&self, argument: &str) -> Result<Vec<String>> {
        let _ = argument;
        Ok(Vec::new())
    }

    /// The longest that a call with these arguments may take.
    fn timeout(&self, arguments: &Arguments) -> Duration {
        let _ = arguments;
        self.spec().timeout
    }

    /// What is known of each target of the call, in their order: what policies and guardrails ask about. `now`
    /// asks for what is true now, for a step that is about to begin; else what a watch has last seen is good enough.
    async fn facts(&self, call: &FrozenCall, now: bool) -> Result<Vec<Facts>> {
        let _ = now;
        Ok(vec![Facts::default(); call.targets.len()])
    }

    /// The tool's own guardrails: is this a sane moment for this target?
    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        let _ = call;
        Ok(())
    }

    /// What becomes of the effect of such a call if it does not come out well. A tool that gives
    /// [`OnFailure::Undo`] can undo; so does one whose [`can_undo`](Tool::can_undo) says so.
    fn on_failure(&self, arguments: &Arguments) -> OnFailure {
        let _ = arguments;
        OnFailure::Leave
    }

    /// Whether an effect that was performed can be undone.
    fn can_undo(&self) -> bool {
        false
    }

    /// Checks the guardrails as [`guard`](Tool::guard) does, and binds the effect to the system as it is now, so
    /// that what becomes of it can be found out by reading, whatever happens in between. It changes nothing.
    ///
    /// What it gives becomes durable before [`perform`](Tool::perform) is called, as [`StepContext::intent`].
    async fn intend(&self, step: &StepContext) -> Result<Value> {
        self.guard(&step.call).await.map(|()| Value::Null)
    }

    /// What the call would do. It must change nothing.
    async fn preview(&self, call: &FrozenCall) -> Result<Value>;

    /// Performs the effect and gives a receipt with which it can be verified; for a read, the output.
    ///
    /// It performs what [`StepContext::intent`] is bound to and nothing else. Called again with the same intent
    /// after a crash ([`StepContext::repeated`]), it must find out whether the effect is there, and not perform it
    /// twice; what cannot be found out is [`Fault::Unknown`]. [`Fault::Moved`] asks for a fresh intent.
    ///
    /// The [`Permit`] can be made by the Engine only: it stands for the whole order of checks.
    async fn perform(&self, permit: &Permit, step: &StepContext) -> Result<Value, Fault>;

    /// Goes on with an effect of many parts that `perform` has begun, until all of them are done; called before
    /// [`verify`](Tool::verify). The future may be dropped at any await, by a cancellation too, and called again with the
    /// same receipt, by another process too: each part is found out about by reading, and none is done twice.
    ///
    /// # Errors
    /// As `verify`.
    async fn carry_on(&self, permit: &Permit, step: &StepContext, receipt: &Value) -> Result<(), Fault> {
        let _ = (permit, step, receipt);
        Ok(())
    }

    /// Watches until the outcome is known, and gives the output. The future may be dropped at any
    /// await, and called again with the same receipt.
    async fn verify(&self, step: &StepContext, receipt: &Value) -> Result<Value, Fault> {
        let _ = step;
        Ok(receipt.clone())
    }

    /// Stops what was performed and goes on by itself, since its run was cancelled: called in the place of
    /// [`verify`](Tool::verify), and again after a crash. Gives the error with which the step ends, which says what
    /// had been done by then; `None` if it cannot be stopped, so that it goes on unwatched.
    async fn stop(&self, permit: &Permit, step: &StepContext, receipt: &Value) -> Option<Error> {
        let _ = (permit, step, receipt);
        None
    }
}

/// How a step ends that does not succeed.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// In `perform`: the effect did certainly not happen. In `verify`: it did, and did not come out well.
    Failed(Error),
    /// In `perform` only: the effect did certainly not happen, and as the system has moved on, this intent can
    /// have none any more. The Engine intends anew, a few times; the error is for when it does not.
    Moved(Error),
    /// Whether the effect happened, or what came of it, could not be established.
    Unknown(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        if error.code == Code::RunOutcomeUnknown { Self::Unknown(error) } else { Self::Failed(error) }
    }
}

/// What a tool knows of the step that it performs.
#[derive(Debug, Clone)]
pub struct StepContext {
    /// The run; its id goes onto the objects that are changed.
    pub run: RunId,
    /// The step, from 0.
    pub step: usize,
    /// What is to be done, to what.
    pub call: FrozenCall,
    /// Who asked.
    pub principal: Principal,
    /// What the effect is bound to, as [`intend`](Tool::intend) gave it; null before.
    pub intent: Value,
    /// The receipt of the effect that is to be undone, in a step that undoes another one.
    pub undoes: Option<Value>,
    /// Whether an earlier process, or another one, may have performed this step already.
    pub repeated: bool,
    /// When the step must be done. The tool ends by itself then, with the best diagnosis it has; a
    /// little later the Engine ends it.
    pub deadline: Instant,
    /// Where the tool tells how it goes.
    pub progress: Progress,
}

/// How a step goes, for people who watch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgressReport {
    /// A sentence: `2 of 3 pods updated, 1 ready`.
    pub message: String,
    /// The same as facts.
    pub data: Value,
}

/// Where a tool tells how it goes. Reports that come faster than they can be kept are dropped.
#[derive(Debug, Clone, Default)]
pub struct Progress(Option<tokio::sync::mpsc::Sender<ProgressReport>>);

impl Progress {
    /// Reports go to `sender`.
    pub fn to(sender: tokio::sync::mpsc::Sender<ProgressReport>) -> Self {
        Self(Some(sender))
    }

    /// Tells how it goes.
    pub fn report(&self, message: impl Into<String>, data: Value) {
        if let Some(sender) = &self.0 {
            // A full channel means that a newer report follows soon: dropping this one loses nothing.
            let _ = sender.try_send(ProgressReport { message: message.into(), data });
        }
    }
}
