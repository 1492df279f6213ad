//! Claims: who executes which run, for how long, and what becomes of the runs of an Engine that died.
//!
//! Each unfinished run has a holder and a fence that counts its claims. A holder says that it is alive by
//! beating; the runs of a holder that does not are claimed by another Engine, which goes on with them from
//! what is true in the system. Whoever was only slow finds its fence outdated at its next commit, and lets go;
//! what it was about to do is bound to its own intent, which has no effect by then.

use super::active::Active;
use super::refuse::uncommitted;
use super::{Engine, Inner};
use crate::port::{Change, CommitError};
use astradesk_core::evidence::Kind;
use astradesk_core::run::{By, Event, decide};
use astradesk_core::{Code, Error, Principal, Result, Run, RunId, Timestamp};
use serde_json::json;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// The most orphans that are claimed in one go.
const PAGE: usize = 256;
/// How often somebody looks for orphans.
const SWEEP: Duration = Duration::from_secs(1);
/// How often a run that another process executes is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(250);

impl Engine {
    /// Says that this Engine is alive, and goes on saying so until it is dropped.
    ///
    /// # Errors
    /// The store's, when it cannot be written: nothing is to be executed then.
    pub async fn begin(&self) -> Result<()> {
        self.beat().await?;
        let inner = Arc::downgrade(&self.0);
        let pause = self.0.limits.lease / 5;
        tokio::spawn(async move {
            loop {
                sleep(pause).await;
                let Some(engine) = Self::alive(&inner) else { return };
                if let Err(error) = engine.beat().await {
                    tracing::error!(%error, "this process could not say that it is alive");
                }
            }
        });
        Ok(())
    }

    /// Takes over the runs that nobody alive executes: now, and whenever there are some and there is room for
    /// them. Ends when the Engine is stopped or dropped.
    pub fn recover(&self) {
        let inner = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                let Some(engine) = Self::alive(&inner) else { return };
                let pause = match engine.sweep().await {
                    Ok(more) if more => Duration::ZERO,
                    Ok(_) => SWEEP,
                    Err(error) => {
                        tracing::error!(%error, "runs of dead processes could not be looked for");
                        SWEEP
                    }
                };
                // The Engine must not be kept alive by the wait.
                let stopping = engine.0.stopping.clone();
                drop(engine);
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = sleep(pause) => {}
                }
            }
        });
    }

    /// Takes up one run that nobody alive executes, so that it can be watched or cancelled. A run that ended, or
    /// that another process executes, is left alone.
    pub async fn take_up(&self, principal: &Principal, id: RunId) -> Result<()> {
        self.run(principal, id).await?;
        self.claim_orphan(id).await.map(drop)
    }

    fn alive(inner: &Weak<Inner>) -> Option<Self> {
        inner.upgrade().map(Self).filter(|engine| !engine.0.tasks.is_closed() || !engine.0.tasks.is_empty())
    }

    /// Says that this Engine is alive, and learns which of its runs others asked to be cancelled.
    async fn beat(&self) -> Result<()> {
        let now = self.0.clock.now();
        // The clock is looked at often, so that a step is seen as one.
        let _ = self.0.steady.check(&*self.0.clock);
        self.0.store.beat(now, now.saturating_add(self.0.limits.lease).unwrap_or(now)).await?;
        for id in self.0.store.cancelled().await? {
            if let Some(active) = self.active().get(&id) {
                active.cancel.cancel();
            }
        }
        Ok(())
    }

    /// Claims orphans as far as there is room. Whether there may be more of them, and room for them.
    async fn sweep(&self) -> Result<bool> {
        if self.0.steady.check(&*self.0.clock).is_err() {
            // By a clock that has stepped, the living look dead.
            return Ok(false);
        }
        let room = self.queue().vacant().min(PAGE);
        if room == 0 {
            tokio::select! {
                () = self.0.stopping.cancelled() => {}
                () = self.0.vacated.notified() => {}
                () = sleep(SWEEP) => {}
            }
            return Ok(true);
        }
        let orphans = self.0.store.orphans(self.0.clock.now(), room as u32).await?;
        let more = orphans.len() == room;
        let mut claims = JoinSet::new();
        for run in orphans {
            let engine = self.clone();
            claims.spawn(async move { engine.claim(run, false).await });
        }
        let mut claimed = 0;
        while let Some(result) = claims.join_next().await {
            claimed += usize::from(result.map_err(|error| Error::internal(error.to_string()))??);
        }
        if claimed > 0 {
            tracing::info!(runs = claimed, "took over runs of processes that are gone");
        }
        Ok(more && claimed > 0)
    }

    /// Claims one orphan and executes it; `false` when somebody else was faster. One that others wait for
    /// does not wait for its turn.
    pub(super) async fn claim(&self, run: Run, at_once: bool) -> Result<bool> {
        if let Some(active) = self.active().get(&run.id) {
            // Either it was claimed away from this process, whose task has yet to notice, or it was read before this
            // process claimed it.
            if run.fence > active.fence {
                active.lost.cancel();
            }
            return Ok(false);
        }
        let now = self.0.clock.now();
        let mut claimed = decide(&run, By::Anyone, Event::Claimed(self.0.holder.clone()), now)?.0;
        if claimed.deadline == Timestamp::default() {
            // A version of AstraDesk that knew no deadlines has left it.
            claimed.deadline = now.saturating_add(self.0.limits.run_timeout).unwrap_or(now);
        }
        let data = json!({
            "from": run.holder, "by": claimed.holder, "fence": claimed.fence, "state": run.state.name(),
        });
        let change = Change {
            run: Some(claimed.clone()),
            evidence: vec![self.draft(&claimed, Kind::Claimed, data)],
            ..Change::default()
        };
        match self.0.store.commit(change).await {
            Ok(_) => {
                self.0.claimed.fetch_add(1, Ordering::Relaxed);
                self.start(claimed, at_once);
                Ok(true)
            }
            Err(CommitError::Stale) => Ok(false),
            Err(error) => {
                self.adopt(run.id);
                Err(uncommitted(error))
            }
        }
    }

    /// Lets go of a run that awaits approval again: its task may still wait for its turn, and others for its
    /// target.
    pub(super) fn let_go(&self, run: &Run) {
        let claimed_before = |active: &&Arc<Active>| active.fence <= run.fence;
        let Some(active) = self.active().get(&run.id).filter(claimed_before).cloned() else { return };
        active.lost.cancel();
        self.queue().leave(run.id);
    }

    /// Claims this run if it is an orphan. Whether this process executes it from now on.
    async fn claim_orphan(&self, id: RunId) -> Result<bool> {
        match self.0.store.orphan(id, self.0.clock.now()).await? {
            Some(run) => self.claim(run, true).await,
            None => Ok(false),
        }
    }

    /// Settles the run that holds a lock, if its holder is dead or it waits for its turn here, and waits for that
    /// until `until`. Whether the lock may be free by now.
    pub(super) async fn settle_first(&self, id: RunId, until: Instant, waiting: &Active) -> Result<bool> {
        let ours = self.hasten(id) || self.claim_orphan(id).await?;
        loop {
            let changed = self.active().get(&id).map(|active| active.changed.subscribe());
            let ended = self.0.store.run(id).await?.is_none_or(|run| run.state.is_final());
            match changed {
                _ if ended => return Ok(true),
                Some(mut changed) if ours => {
                    tokio::select! {
                        () = self.0.stopping.cancelled() => return Ok(false),
                        () = waiting.cancel.cancelled() => return Ok(false),
                        _ = changed.changed() => {}
                        () = tokio::time::sleep_until(until) => return Ok(false),
                    }
                }
                _ => return Ok(false),
            }
        }
    }

    /// A commit whose fate is not known may have given this process a run: finds out as soon as the store
    /// answers again, and executes it then.
    pub(super) fn adopt(&self, id: RunId) {
        let engine = self.clone();
        self.0.tasks.spawn(async move {
            let Some(Ok(found)) = engine.insist(|| engine.0.store.run(id)).await else { return };
            if let Some(run) = found
                && run.holder.as_ref() == Some(&engine.0.holder)
            {
                engine.start(run, false);
            }
        });
    }

    /// Leaves a run to whoever claims it next.
    pub(super) async fn hand_over(&self, run: &Run) {
        let Ok((left, _)) = decide(run, By::Holder(run.fence), Event::HandedOver, self.0.clock.now()) else {
            return;
        };
        // Without it the run is claimed as well, only later: when this process is found to be gone.
        if let Err(error) =
            self.0.store.commit(Change { run: Some(left), ..Change::default() }).await.map_err(uncommitted)
        {
            tracing::warn!(run = %run.id, %error, "the run could not be handed over");
        }
    }

    /// Asks the store, again and again while it is unavailable; `None` when AstraDesk is stopping.
    pub(super) async fn insist<T, F>(&self, ask: impl Fn() -> F) -> Option<Result<T>>
    where
        F: Future<Output = Result<T>>,
    {
        let mut pause = Duration::from_millis(50);
        loop {
            match ask().await {
                Err(Error { code: Code::StoreUnavailable, message, .. }) => {
                    tracing::error!(error = message, "the store is unavailable, trying again");
                }
                answer => return Some(answer),
            }
            tokio::select! {
                () = self.0.stopping.cancelled() => return None,
                () = sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
            }
        }
    }
}
