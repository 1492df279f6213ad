//! A run that this process executes, and a step of it as its tool sees it.

use super::Engine;
use crate::port::{Change, EventDraft, Progress, ProgressReport, StepContext, Tool};
use astradesk_core::run::{Step, StepState};
use astradesk_core::{Code, Error, Result, Run, RunId};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// No step: none of a run's was intended by this process yet.
const NONE: usize = usize::MAX;
/// Reports of a step's progress that may wait to be stored.
const REPORTS: usize = 64;

/// A run that this process executes.
pub(super) struct Active {
    /// The fence of the claim under which it does.
    pub(super) fence: u64,
    /// Rises whenever the run changes or reports progress.
    pub(super) changed: watch::Sender<u64>,
    /// Set when somebody asked for the run to be cancelled.
    pub(super) cancel: CancellationToken,
    /// Set when the run was found to have been claimed away from this process, or to await approval again.
    pub(super) lost: CancellationToken,
    /// Told when its turn has come.
    pub(super) turn: Notify,
    /// The step whose intent this process made durable; any other may have been performed by another process.
    intended: AtomicUsize,
    /// When the store last confirmed that this process holds the run.
    confirmed: Mutex<Instant>,
    /// The step in progress, and when its time limit ends: by a clock that never steps.
    limit: Mutex<Option<(usize, Instant)>>,
    /// The step that this process began last, and its tool: a pack may be replaced meanwhile.
    begun: Mutex<Option<(usize, Arc<dyn Tool>)>>,
}

impl Active {
    pub(super) fn new(fence: u64) -> Self {
        Self {
            fence,
            changed: watch::Sender::new(0),
            cancel: CancellationToken::new(),
            lost: CancellationToken::new(),
            turn: Notify::new(),
            intended: AtomicUsize::new(NONE),
            confirmed: Mutex::new(Instant::now()),
            limit: Mutex::new(None),
            begun: Mutex::new(None),
        }
    }

    /// The store has confirmed that this process holds the run, when it was asked at this moment: its answer may
    /// have come much later.
    pub(super) fn confirm(&self, asked: Instant) {
        *self.confirmed.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }

    /// How long ago that was.
    pub(super) fn unconfirmed_for(&self) -> Duration {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// This process has made an intent of `step` durable, as `tool` gave it.
    pub(super) fn intend(&self, step: usize, tool: Arc<dyn Tool>) {
        self.intended.store(step, Ordering::Relaxed);
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = Some((step, tool));
    }

    /// The tool with which this process began `step`, if it did.
    fn begun_with(&self, step: usize) -> Option<Arc<dyn Tool>> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.as_ref().filter(|(begun, _)| *begun == step).map(|(_, tool)| tool.clone())
    }

    /// The step in progress has not begun after all.
    pub(super) fn forget_limit(&self) {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// When the time limit of `step` ends; `left` is what is left of it if this process did not begin it.
    fn limit(&self, step: usize, left: impl FnOnce() -> Duration) -> Instant {
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        match *limit {
            Some((known, end)) if known == step => end,
            _ => {
                let end = Instant::now() + left();
                *limit = Some((step, end));
                end
            }
        }
    }
}

impl Engine {
    /// The tool of a step that has begun: the one that this process began it with, else the registered one if it is
    /// still what it was.
    pub(super) fn tool_of(&self, context: &StepContext, active: &Active) -> Result<Arc<dyn Tool>> {
        if let Some(tool) = active.begun_with(context.step) {
            return Ok(tool);
        }
        let StepContext { call, .. } = context;
        let unknown = |how: &str| {
            let message = format!("`{}` {how}, so what came of it cannot be seen", call.tool);
            Error::new(Code::RunOutcomeUnknown, message)
        };
        let tool = self.0.registry.tool(call.tool.as_str());
        let tool = tool.map_err(|_| unknown("is not registered any more"))?;
        if tool.spec().version != call.version {
            return Err(unknown("has another version now than the step was begun with"));
        }
        Ok(tool.tool.clone())
    }

    pub(super) fn context(
        &self,
        run: &Run,
        step: usize,
        active: &Active,
    ) -> Result<(StepContext, mpsc::Receiver<ProgressReport>)> {
        let Some(Step { call, undoes, begun_at, state, .. }) = run.steps.get(step) else {
            return Err(Error::internal(format!("run {} has no step {step}", run.id)));
        };
        let (sender, reports) = mpsc::channel(REPORTS);
        let context = StepContext {
            run: run.id,
            step,
            principal: run.principal.clone(),
            intent: match state {
                StepState::Intended { intent, .. } => intent.clone(),
                _ => Value::Null,
            },
            undoes: undoes.and_then(|undone| receipt_of(run, undone)),
            repeated: active.intended.load(Ordering::Relaxed) != step,
            deadline: active.limit(step, || {
                let timeout = match self.0.registry.tool(call.tool.as_str()) {
                    // Going back is not what the caller's limit was meant for.
                    Ok(tool) if undoes.is_some() => {
                        tool.spec().timeout.max(tool.tool.timeout(&call.arguments))
                    }
                    Ok(tool) => tool.tool.timeout(&call.arguments),
                    Err(_) => Duration::ZERO,
                };
                let gone = begun_at.map(|begun| self.0.clock.now().duration_since(begun));
                timeout.saturating_sub(gone.and_then(|gone| gone.try_into().ok()).unwrap_or_default())
            }),
            progress: Progress::to(sender),
            call: call.clone(),
        };
        Ok((context, reports))
    }

    /// Awaits `work`, and makes what is reported meanwhile an event of the run.
    pub(super) async fn publishing<T>(
        &self,
        run: RunId,
        active: &Active,
        reports: &mut mpsc::Receiver<ProgressReport>,
        work: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                Some(report) = reports.recv() => self.publish(run, active, report).await,
                done = &mut work => {
                    while let Ok(report) = reports.try_recv() {
                        self.publish(run, active, report).await;
                    }
                    return done;
                }
            }
        }
    }

    async fn publish(&self, run: RunId, active: &Active, report: ProgressReport) {
        let data = json!({"message": report.message, "data": report.data});
        let event = EventDraft { run, at: self.0.clock.now(), kind: "progress".to_owned(), data };
        if let Err(error) = self.0.store.commit(Change { events: vec![event], ..Change::default() }).await {
            // Progress is a courtesy: what matters is committed with the state, and that is not lost.
            tracing::warn!(run = %run, error = ?error, "progress was not stored");
        }
        active.changed.send_modify(|n| *n += 1);
    }
}

/// The receipt of a step whose effect happened.
fn receipt_of(run: &Run, step: usize) -> Option<Value> {
    match run.steps.get(step).map(|step| &step.state) {
        Some(StepState::Failed { receipt, .. }) => receipt.clone(),
        _ => None,
    }
}
