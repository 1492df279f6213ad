//! A run stopped, and its effect left or undone.

use super::Engine;
use super::refuse::uncommitted;
use crate::port::CommitError;
use astradesk_core::evidence::Kind;
use astradesk_core::run::{By, Event, OnFailure, decide};
use astradesk_core::{Code, Error, Principal, Result, Run, RunId};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// How long the reply waits for the run to end.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the run may change in between.
const TRIES: usize = 32;

impl Engine {
    /// Asks for a run to be cancelled. A step that has not begun is not performed. An effect that has begun is
    /// left to go on unwatched, or undone as a step of its own: `on_effect` says which. Gives the run as it
    /// stands, which may take a moment to end.
    ///
    /// # Errors
    /// [`Code::RunStateConflict`] when the run has ended, is being cancelled already, or has no step that could
    /// be undone; [`Code::RunNotFound`]; or a denial when the run is not the principal's own.
    pub async fn cancel(&self, principal: &Principal, id: RunId, on_effect: OnFailure) -> Result<Run> {
        for _ in 0..TRIES {
            let run = self.run(principal, id).await?;
            self.may_cancel(principal, &run, on_effect)?;
            let undo = on_effect == OnFailure::Undo;
            let now = self.0.clock.now();
            let cancelled = decide(&run, By::Anyone, Event::CancelRequested { undo }, now)?.0;
            let mut change = self.change(&run, &cancelled);
            let data = json!({"by": principal.id(), "actor": principal.actor, "state": run.state.name(), "on_effect": on_effect});
            change.evidence.push(self.draft(&run, Kind::CancelRequested, data));
            self.close(&mut change, &cancelled);
            match self.0.store.commit(change).await {
                Ok(_) => {}
                Err(CommitError::Stale) => continue,
                Err(error) => return Err(uncommitted(error)),
            }
            // If another process executes it, that one learns of it at its next beat.
            if let Some(active) = self.active().get(&id) {
                active.cancel.cancel();
            }
            if cancelled.state.is_final() {
                // Who asks next finds its target free.
                self.queue().leave(id);
                return Ok(cancelled);
            }
            return self.wait(principal, id, Instant::now() + PATIENCE).await;
        }
        Err(Error::new(Code::RunStateConflict, format!("run {id} changes too fast to be cancelled"))
            .with_remedy("repeat the request"))
    }

    fn may_cancel(&self, principal: &Principal, run: &Run, on_effect: OnFailure) -> Result<()> {
        let id = run.id;
        if run.principal.id() != principal.id() {
            let message =
                format!("`{}` may see run {id}, but only who submitted it may cancel it", principal.subject);
            return Err(Error::new(Code::PolicyDenied, message));
        }
        let can_undo = |tool: &str| self.0.registry.tool(tool).is_ok_and(|tool| tool.tool.can_undo());
        if on_effect == OnFailure::Undo && !run.steps.iter().any(|step| can_undo(step.call.tool.as_str())) {
            let message = format!("no step of run {id} can be undone");
            return Err(
                Error::new(Code::RunStateConflict, message).with_remedy("cancel it without undoing anything")
            );
        }
        Ok(())
    }
}
