//! The Engine: the one door to every effect.
//!
//! Whatever the way in, a request becomes a [`Submission`] and goes through [`Engine::submit`]:
//! authenticated principal → schema-valid arguments → targets derived → policy → guardrails → approval →
//! lock → durable audit of the intent → execute → verify → durable audit of the outcome.
//!
//! | module | part of that order |
//! |---|---|
//! | `admit` | up to approval, and the idempotency key |
//! | `execute` | from the lock to the outcome, one task a run |
//! | `read` | the same for plans that change nothing: answered at once, one record of evidence |
//! | `refuse` | the Engine's own refusals |
//! | `view` | runs, events, tools and evidence, for who may see them |

mod admit;
mod execute;
mod read;
mod refuse;
mod view;

pub use view::EventPage;

use crate::evidence::Signer;
use crate::port::{Clock, Policy, Store};
use crate::registry::ToolRegistry;
use astradesk_core::{Call, Code, Decision, Error, Plan, Principal, Result, Run, RunId, Source};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Proof that a step went through the whole order of checks. Only the Engine can make one.
#[derive(Debug)]
pub struct Permit(());

/// What the Engine is made of.
pub struct Parts {
    /// Keeps runs and evidence.
    pub store: Arc<dyn Store>,
    /// Decides who may do what.
    pub policy: Arc<dyn Policy>,
    /// The tools and agents.
    pub registry: Arc<ToolRegistry>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Signs checkpoints.
    pub signer: Arc<Signer>,
    /// The limits.
    pub limits: Limits,
}

/// The Engine's limits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Runs that are executed at the same time.
    pub concurrent_runs: usize,
    /// Runs that may wait for their turn; one more is refused with `run.queue_full`.
    pub queued_runs: usize,
    /// How long an idempotency key is remembered.
    pub idempotency_ttl: Duration,
    /// Added to a step's own time limit before the Engine ends it, and to its locks.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrent_runs: 64,
            queued_runs: 1024,
            idempotency_ttl: Duration::from_hours(24),
            grace: Duration::from_secs(15),
        }
    }
}

/// A request, from whichever door.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Who asks; authenticated by the door.
    pub principal: Principal,
    /// Which door.
    pub source: Source,
    /// What is asked for.
    pub request: Request,
    /// Plan, decide and preview only.
    pub dry_run: bool,
    /// The key under which a repeated request finds the first one's run: 1 to 255 visible ASCII characters.
    pub idempotency_key: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Request {
    /// A sentence for an agent.
    Say {
        /// The agent's name.
        agent: String,
        /// The sentence: 1 to [`MAX_INPUT`] characters.
        input: String,
    },
    /// A tool and its arguments.
    Call(Call),
}

/// The longest sentence, in characters.
pub const MAX_INPUT: usize = 8192;

/// What became of a submission that was not refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// A run: still going on, or, for a read, finished with its output.
    Run {
        /// The run.
        run: Box<Run>,
        /// Whether it is the run of an earlier request with the same idempotency key.
        replayed: bool,
    },
    /// What would happen; nothing was done.
    Preview(Preview),
}

/// What a plan would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// The plan.
    pub plan: Plan,
    /// Step by step.
    pub steps: Vec<PreviewedStep>,
}

/// What one step would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreviewedStep {
    /// The call, with its targets and digest.
    pub call: astradesk_core::FrozenCall,
    /// What policy says.
    pub decision: Decision,
    /// What a guardrail or the tool objects now, if something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Error>,
    /// What would change, as the tool shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Value>,
}

/// The one door to every effect. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    policy: Arc<dyn Policy>,
    registry: Arc<ToolRegistry>,
    clock: Arc<dyn Clock>,
    signer: Arc<Signer>,
    limits: Limits,
    turns: Semaphore,
    active: Mutex<HashMap<RunId, Arc<Active>>>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// A run that this process executes.
struct Active {
    /// Rises whenever the run changes or reports progress.
    changed: watch::Sender<u64>,
    /// Set when somebody asked for the run to be cancelled.
    cancel: CancellationToken,
    /// The step whose intent this process made durable; any other may have been performed by another process.
    intended: AtomicUsize,
}

impl Engine {
    /// Puts an Engine together. It does nothing until asked; see [`Engine::resume`].
    pub fn new(parts: Parts) -> Self {
        let Parts { store, policy, registry, clock, signer, limits } = parts;
        Self(Arc::new(Inner {
            turns: Semaphore::new(limits.concurrent_runs),
            store,
            policy,
            registry,
            clock,
            signer,
            limits,
            active: Mutex::default(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Takes up every run that an earlier process left unfinished. Returns how many there are.
    pub async fn resume(&self) -> Result<usize> {
        let most = self.0.limits.concurrent_runs + self.0.limits.queued_runs;
        let runs = self.0.store.unfinished(most as u32).await?;
        let count = runs.len();
        for run in runs {
            tracing::info!(run = %run.id, state = run.state.name(), "resuming");
            self.start(run);
        }
        Ok(count)
    }

    /// Takes up one run, if it is unfinished and this process does not execute it yet. Another process that
    /// executes it too does no harm: whichever commits a step first goes on, and nothing is performed twice.
    pub async fn take_up(&self, principal: &Principal, id: RunId) -> Result<()> {
        let run = self.run(principal, id).await?;
        if !run.state.is_final() && !self.active().contains_key(&id) {
            self.start(run);
        }
        Ok(())
    }

    /// Stops taking new runs, and waits until each run under way has reached a point from which the next
    /// process can take it up: an effect in flight is awaited, a rollout that is watched is not.
    /// Gives up after `patience`; returns whether every run got there.
    pub async fn stop(&self, patience: Duration) -> bool {
        self.0.stopping.cancel();
        self.0.tasks.close();
        tokio::time::timeout(patience, self.0.tasks.wait()).await.is_ok()
    }

    /// Whether new runs can be taken.
    pub async fn ready(&self) -> Result<()> {
        self.refuse_when_stopping()?;
        self.0.store.ready().await
    }

    /// The registry.
    pub fn registry(&self) -> &ToolRegistry {
        &self.0.registry
    }

    fn refuse_when_stopping(&self) -> Result<()> {
        if self.0.stopping.is_cancelled() {
            return Err(Error::new(Code::StoreUnavailable, "AstraDesk is shutting down")
                .with_remedy("repeat the request when it is up again"));
        }
        Ok(())
    }

    fn active(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Arc<Active>>> {
        self.0.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
