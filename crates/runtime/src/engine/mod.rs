//! The Engine: the one door to every effect.
//!
//! Whatever the way in, a request becomes a [`Submission`] and goes through [`Engine::submit`]:
//! authenticated principal → schema-valid arguments → targets derived → policy → guardrails → approval →
//! lock → durable audit of the intent → execute → verify → durable audit of the outcome.
//!
//! | module | part of that order |
//! |---|---|
//! | `idempotency` | requests that are repeated find the run of the first one |
//! | `plan` | the plan, its arguments checked, its targets derived |
//! | `admit` | policy, guardrails, up to approval |
//! | `guard` | facts, guardrails, what is overridden |
//! | `approve` | who else must agree: what they say and are shown |
//! | `hold` | whether what they agreed to still holds |
//! | `announce` | what others are told of |
//! | `preview` | what a plan would do |
//! | `explain` | why policy decides as it does |
//! | `tend` | what is looked after from time to time |
//! | `keep` | checkpoints that are kept, and what is old |
//! | `queue` | whose turn it is |
//! | `active` | a run that this process executes, a step as its tool sees it |
//! | `execute` | from the lock to the outcome, one task a run |
//! | `record` | what a transition makes durable, and what becomes of it when the store or another process objects |
//! | `cancel` | a run stopped, and its effect left or undone |
//! | `claim` | runs of dead Engines taken over, heartbeats, runs handed over |
//! | `steady` | whether the clock can be trusted |
//! | `read` | plans that change nothing: answered at once, one record of evidence |
//! | `reading` | what packs give agents to read, for who may |
//! | `refuse` | the Engine's own refusals |
//! | `view` | runs, events, tools and evidence, for who may see them |

mod active;
mod admit;
mod announce;
mod approve;
mod cancel;
mod claim;
mod execute;
mod explain;
mod guard;
mod hold;
mod idempotency;
mod keep;
mod plan;
mod preview;
mod queue;
mod read;
mod reading;
mod record;
mod refuse;
mod steady;
mod tend;
mod view;

pub use approve::Awaiting;
pub use view::{EventPage, Stats};

use crate::evidence::Signer;
use crate::port::{Clock, Policy, Store};
use crate::registry::ToolRegistry;
use active::Active;
use astradesk_core::run::Holder;
use astradesk_core::{
    Call, Code, Decision, Error, Facts, Guardrail, Plan, Principal, Result, Run, RunId, Source,
};
use queue::{Queue, Room};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use steady::Steady;
use tokio::sync::{Notify, watch};
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
    /// The guardrails that are configured, the built-in ones included.
    pub guardrails: Vec<Guardrail>,
    /// The names of the webhooks that are told of runs that await approval.
    pub webhooks: Vec<String>,
    /// The limits.
    pub limits: Limits,
}

/// The Engine's limits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Runs that are executed at the same time.
    pub concurrent_runs: usize,
    /// Runs with a step of the same tool that are executed at the same time.
    pub concurrent_per_tool: usize,
    /// Runs that may wait for their turn; one more is refused with `guard.queue_full`.
    pub queued_runs: usize,
    /// Runs that may wait for a target on which another run works; one more is refused with
    /// `guard.target_locked`.
    pub queued_per_target: usize,
    /// How long a run may take from its admission to its last step's beginning, waiting included, also across
    /// restarts of AstraDesk.
    pub run_timeout: Duration,
    /// How long an idempotency key is remembered.
    pub idempotency_ttl: Duration,
    /// How long a run can be approved, and the approved run begun.
    pub approval: Duration,
    /// Runs that may await approval; one more is refused with `guard.queue_full`.
    pub awaiting_runs: u32,
    /// How often a signed checkpoint of the evidence is kept; one is kept at the end as well.
    pub checkpoint: Duration,
    /// How long runs are kept after they ended; for ever if absent.
    pub keep_runs: Option<Duration>,
    /// How long evidence is kept; for ever if absent.
    pub keep_evidence: Option<Duration>,
    /// Added to a step's own time limit before the Engine ends it.
    pub grace: Duration,
    /// How long a silent Engine is taken to be alive; it says so five times as often.
    pub lease: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrent_runs: 64,
            concurrent_per_tool: 64,
            queued_runs: 1024,
            queued_per_target: 0,
            run_timeout: Duration::from_hours(2),
            idempotency_ttl: Duration::from_hours(24),
            approval: Duration::from_hours(1),
            awaiting_runs: 256,
            checkpoint: Duration::from_mins(10),
            keep_runs: None,
            keep_evidence: None,
            grace: Duration::from_secs(15),
            lease: Duration::from_secs(10),
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
    /// Why: 1 to [`MAX_REASON`](astradesk_core::approval::MAX_REASON) characters, for approvers and for the
    /// evidence. Breaking the glass needs one.
    pub reason: Option<String>,
    /// Override guardrails that can be overridden, if policy permits that.
    pub break_glass: bool,
    /// The trace that the request belongs to: 32 hexadecimal digits.
    pub trace: Option<String>,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// The plan.
    pub plan: Plan,
    /// Step by step.
    pub steps: Vec<PreviewedStep>,
}

/// What one step would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreviewedStep {
    /// The call, with its targets and digest.
    pub call: astradesk_core::FrozenCall,
    /// What policy says.
    pub decision: Decision,
    /// What is known of its targets, in their order; empty if that could not be found out.
    pub facts: Vec<Facts>,
    /// What the configured guardrails object now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objections: Vec<Error>,
    /// What the tool itself objects now, if it does.
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
    guardrails: Vec<Guardrail>,
    webhooks: Vec<String>,
    limits: Limits,
    /// As whom runs are held.
    holder: Holder,
    queue: Mutex<Queue>,
    active: Mutex<HashMap<RunId, Arc<Active>>>,
    keys: Arc<idempotency::Keys>,
    steady: Steady,
    seen: Mutex<tend::Seen>,
    /// Counts the runs that were taken over from others.
    claimed: AtomicU64,
    consulted: plan::Consulted,
    /// Told when there is room for another run.
    vacated: Notify,
    /// Counts the changes of what there is to use and to read.
    offers: watch::Sender<u64>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Engine {
    /// Puts an Engine together. It does nothing until asked; see [`Engine::begin`].
    pub fn new(parts: Parts) -> Self {
        let Parts { store, policy, registry, clock, signer, guardrails, webhooks, limits } = parts;
        let room = Room {
            at_work: limits.concurrent_runs,
            per_tool: limits.concurrent_per_tool,
            waiting: limits.queued_runs,
            per_target: limits.queued_per_target,
        };
        Self(Arc::new(Inner {
            holder: store.holder(),
            queue: Mutex::new(Queue::new(room)),
            steady: Steady::new(&*clock),
            store,
            policy,
            registry,
            clock,
            signer,
            guardrails,
            webhooks,
            limits,
            active: Mutex::default(),
            seen: Mutex::default(),
            keys: Arc::default(),
            claimed: AtomicU64::new(0),
            consulted: plan::Consulted::default(),
            vacated: Notify::new(),
            offers: watch::Sender::new(0),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Stops taking new runs, and waits until each run under way has reached a point from which another process
    /// can take it up, and is handed over: an effect in flight is awaited, a rollout that is watched is not.
    /// Gives up after `patience`; returns whether every run got there.
    pub async fn stop(&self, patience: Duration) -> bool {
        self.0.stopping.cancel();
        self.0.tasks.close();
        let clean = tokio::time::timeout(patience, self.0.tasks.wait()).await.is_ok();
        if let Err(error) = self.keep_checkpoint().await {
            tracing::error!(%error, "no last checkpoint could be kept");
        }
        clean
    }

    /// Whether new runs can be taken, by what that takes: each with its name, and what is wrong with it.
    pub async fn health(&self) -> Vec<(&'static str, Result<()>)> {
        vec![("store", self.0.store.ready().await), ("clock", self.0.steady.check(&*self.0.clock))]
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

    fn active(&self) -> MutexGuard<'_, HashMap<RunId, Arc<Active>>> {
        self.0.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
