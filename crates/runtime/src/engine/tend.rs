//! What is looked after from time to time, each in a loop of its own, so that none waits for another: policies,
//! approvals that expire or are asked for anew, checkpoints, what is old.

use super::{Engine, Inner};
use crate::port::PolicyStatus;
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::Head;
use astradesk_core::{Error, Result, Run};
use std::pin::Pin;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How often policies and approvals are looked at.
const OFTEN: Duration = Duration::from_secs(1);
/// How often old runs and evidence are looked for.
const CLEAN: Duration = Duration::from_mins(10);
/// When it is tried again after a failure.
const AGAIN: Duration = Duration::from_secs(5);
/// The runs that are looked at in one go, and how long each may take.
const LOOKS: usize = 16;
const LOOK: Duration = Duration::from_secs(5);
/// The runs that are read in one go.
const PAGE: u32 = 256;

/// What was seen so far.
#[derive(Default)]
pub(super) struct Seen {
    /// The policies under which approvals were asked for; none yet, so that what was changed while no process was
    /// there is a change, too.
    asked_under: Option<Digest>,
    /// What is on record of the policies in force.
    pub(super) policy: Option<PolicyStatus>,
    /// The end of the evidence that was signed last.
    pub(super) signed: Option<Head>,
}

type Round = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

impl Engine {
    /// Tends approvals, policies, checkpoints and what is old, until the Engine is stopped or dropped.
    pub fn tend(&self) {
        let (now, checkpoint) = (Duration::ZERO, self.0.limits.checkpoint);
        self.every(now, OFTEN, "the policies in force could not be put on record", |engine| {
            Box::pin(async move {
                // What is wrong with them is on record, and in the log, when it is new.
                let _ = engine.load_policy().await?;
                engine.record_policy().await
            })
        });
        self.every(now, OFTEN, "the packs could not be looked at", |engine| {
            Box::pin(async move { engine.reload_packs().await.map(drop) })
        });
        self.every(now, OFTEN, "the servers of packs could not be looked after", |engine| {
            Box::pin(async move { engine.tend_packs().await })
        });
        self.every(now, OFTEN, "approvals could not be expired", |engine| {
            Box::pin(async move { engine.expire_approvals().await })
        });
        self.every(now, OFTEN, "approvals could not be asked for anew", |engine| {
            Box::pin(async move { engine.follow_policy().await })
        });
        self.every(checkpoint, checkpoint, "no checkpoint could be kept", |engine| {
            Box::pin(async move { engine.keep_checkpoint().await })
        });
        self.every(now, CLEAN, "old runs and evidence could not be removed", |engine| {
            Box::pin(async move { engine.clean().await })
        });
    }

    /// Goes round, again and again. A round that fails, or panics, is not the last.
    fn every(&self, first: Duration, pause: Duration, failed: &'static str, round: fn(Self) -> Round) {
        let inner = Arc::downgrade(&self.0);
        let stopping = self.0.stopping.clone();
        tokio::spawn(async move {
            let mut wait = first;
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = sleep(wait) => wait = pause,
                }
                let Some(engine) = Self::tended(&inner) else { return };
                let done = tokio::spawn(round(engine)).await;
                if let Err(error) = done.map_err(|error| Error::internal(error.to_string())).flatten() {
                    tracing::error!(%error, "{failed}");
                    wait = pause.min(AGAIN);
                }
            }
        });
    }

    fn tended(inner: &Weak<Inner>) -> Option<Self> {
        inner.upgrade().map(Self).filter(|engine| !engine.0.stopping.is_cancelled())
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the runs whose time to be approved has passed, and lets go of those that do not wait here any more.
    async fn expire_approvals(&self) -> Result<()> {
        // By a clock that has stepped, nothing is late.
        let steady = self.0.steady.check(&*self.0.clock).is_ok();
        let mut after = None;
        loop {
            let page = self.0.store.awaiting(after, PAGE).await?;
            for run in &page {
                self.let_go(run);
                if steady {
                    self.expire(run).await?;
                }
            }
            if (page.len() as u32) < PAGE {
                return Ok(());
            }
            after = page.last().map(|run| run.id);
        }
    }

    /// Looks at every run that awaits approval once more when the policies have changed, until all were looked at.
    async fn follow_policy(&self) -> Result<()> {
        let now = self.0.policy.digest();
        if self.seen().asked_under == Some(now) || self.0.steady.check(&*self.0.clock).is_err() {
            return Ok(());
        }
        let (mut after, mut all) = (None, true);
        loop {
            let page = self.0.store.awaiting(after, PAGE).await?;
            for few in page.chunks(LOOKS) {
                all &= self.look_at(few).await;
            }
            if (page.len() as u32) < PAGE {
                break;
            }
            after = page.last().map(|run| run.id);
        }
        if all {
            self.seen().asked_under = Some(now);
        }
        Ok(())
    }

    /// Looks at some runs side by side, each for a while. Whether each of them was looked at.
    async fn look_at(&self, runs: &[Run]) -> bool {
        let mut looks = JoinSet::new();
        for run in runs {
            let (engine, run) = (self.clone(), run.clone());
            looks.spawn(async move {
                match timeout(LOOK, engine.tend_approval(&run)).await {
                    Ok(Ok(_)) => true,
                    Ok(Err(error)) => {
                        tracing::warn!(run = %run.id, %error, "an approval could not be looked after");
                        false
                    }
                    Err(_) => {
                        tracing::warn!(run = %run.id, "an approval could not be looked after in time");
                        false
                    }
                }
            });
        }
        let mut all = true;
        while let Some(looked) = looks.join_next().await {
            all &= looked.unwrap_or(false);
        }
        all
    }
}
