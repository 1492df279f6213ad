//! A client outside: it repeats what was not answered, with its key, and turns to another process.

use crate::memory::Data;
use crate::world::{World, ada, lead};
use astradesk_core::run::OnFailure;
use astradesk_core::{Call, Code, Error, Result, Run, RunId, Source};
use astradesk_runtime::Engine;
use astradesk_runtime::engine::{Request, Submission, Submitted};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a reply is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a request is made.
const TRIES: usize = 12;
/// How long anything may take at all.
const LIMIT: Duration = Duration::from_mins(5);

pub(crate) struct Client {
    pub(crate) world: Arc<World>,
    engines: Vec<Engine>,
    at: AtomicUsize,
}

impl Client {
    pub(crate) fn new(world: &Arc<World>, engines: Vec<Engine>) -> Self {
        Self { world: world.clone(), engines, at: AtomicUsize::new(0) }
    }

    pub(crate) async fn call(&self, key: &str, call: Call) -> Result<Run> {
        self.submit(key, Request::Call(call)).await
    }

    pub(crate) async fn say(&self, key: &str, input: &str) -> Result<Run> {
        self.submit(key, Request::Say { agent: "ops".into(), input: input.into() }).await
    }

    /// Submits, and is told of a run: the same for the same key.
    pub(crate) async fn submit(&self, key: &str, request: Request) -> Result<Run> {
        let submission = submission(request, Some(key));
        match self.ask(|engine| submit(engine, submission.clone())).await? {
            Submitted::Run { run, .. } => {
                let mut told = self.world.told.lock().unwrap();
                let first = *told.entry(key.to_owned()).or_insert(run.id);
                if first != run.id {
                    self.world.violate(format!("key {key} was run {first}, and is run {} now", run.id));
                }
                Ok(*run)
            }
            Submitted::Preview(_) => panic!("a preview was not asked for"),
        }
    }

    pub(crate) async fn preview(&self, call: Call) -> Result<()> {
        let submission = Submission { dry_run: true, ..submission(Request::Call(call), None) };
        self.ask(|engine| submit(engine, submission.clone())).await.map(drop)
    }

    /// Cancels a run, unless it is too late.
    pub(crate) async fn cancel(&self, id: RunId, on_effect: OnFailure) {
        let cancelled = self.ask(|engine| async move { engine.cancel(&ada(), id, on_effect).await }).await;
        if let Err(error) = cancelled
            && error.code != Code::RunStateConflict
        {
            self.world.violate(format!("run {id} could not be cancelled: {error:?}"));
        }
    }

    /// Agrees to a run as it is, or takes that back, unless it is too late.
    pub(crate) async fn agree(&self, by: &str, id: RunId, yes: bool) {
        let by = lead(by);
        for _ in 0..TRIES {
            let Some(approvals) = self.world.data().runs.get(&id).and_then(|run| run.approvals.clone())
            else {
                return;
            };
            let said = self.ask(|engine| {
                let (by, digest) = (by.clone(), approvals.digest);
                async move {
                    if yes {
                        engine.approve(&by, id, digest, "it looks fine").await
                    } else {
                        engine.revoke(&by, id).await
                    }
                }
            });
            match said.await.map_err(|error| error.code) {
                Ok(_) | Err(Code::ApprovalAlreadyGiven | Code::ApprovalNotGiven | Code::RunStateConflict) => {
                    return;
                }
                // The call's targets, or the decision, could not be found out.
                Err(Code::KubernetesUnavailable | Code::PolicyDenied) => sleep(Duration::from_secs(1)).await,
                Err(code) => return self.world.violate(format!("run {id} could not be agreed to: {code:?}")),
            }
        }
    }

    /// Waits until the run has ended.
    pub(crate) async fn ended(&self, id: RunId) {
        self.until(|data| data.runs.get(&id).is_none_or(|run| run.state.is_final())).await;
    }

    /// Waits until something is durable.
    pub(crate) async fn until(&self, there: impl Fn(&Data) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !there(&self.world.data()) {
            if Instant::now() > limit {
                self.world.violate("what was waited for did not come");
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn ask<T, F>(&self, ask: impl Fn(Engine) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        for _ in 0..TRIES {
            let at = self.at.load(Ordering::SeqCst);
            match timeout(PATIENCE, ask(self.engines[at].clone())).await {
                Err(_) => self.at.store((at + 1) % self.engines.len(), Ordering::SeqCst),
                Ok(Err(error)) if error.code == Code::StoreUnavailable => {
                    sleep(Duration::from_secs(1)).await;
                }
                Ok(reply) => return reply,
            }
        }
        self.world.violate("a client was never answered");
        Err(Error::internal("no answer"))
    }
}

async fn submit(engine: Engine, submission: Submission) -> Result<Submitted> {
    engine.submit(submission).await
}

/// A request as the client makes it.
pub(crate) fn submission_of(call: Call, key: &str) -> Submission {
    submission(Request::Call(call), Some(key))
}

fn submission(request: Request, key: Option<&str>) -> Submission {
    Submission {
        principal: ada(),
        source: Source::Http,
        request,
        dry_run: false,
        reason: None,
        break_glass: false,
        trace: None,
        idempotency_key: key.map(ToOwned::to_owned),
    }
}
