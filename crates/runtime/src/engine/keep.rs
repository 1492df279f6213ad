//! What is done from time to time: approvals that expire, policies loaded again, checkpoints kept, old runs and
//! evidence removed.

use super::refuse::uncommitted;
use super::{Engine, Inner};
use crate::evidence::Checkpoint;
use crate::port::{Change, Cut};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Draft, Head, Kind};
use astradesk_core::{Error, Result};
use serde_json::json;
use std::sync::Weak;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often approvals and policies are looked at.
const TEND: Duration = Duration::from_secs(1);
/// How often old runs and evidence are looked for.
const CLEAN: Duration = Duration::from_mins(10);
/// The most runs that are removed in one go.
const RUNS: u32 = 500;

/// What has been seen so far.
struct Seen {
    policy: Digest,
    checkpoint: Head,
    checkpointed: Instant,
    cleaned: Option<Instant>,
}

impl Engine {
    /// Tends approvals, policies, checkpoints and what is old, until the Engine is stopped or dropped.
    pub fn tend(&self) {
        let inner = std::sync::Arc::downgrade(&self.0);
        let mut seen = Seen {
            // What was changed while no process was there is a change, too.
            policy: Digest::ZERO,
            checkpoint: Head::EMPTY,
            checkpointed: Instant::now(),
            cleaned: None,
        };
        tokio::spawn(async move {
            if let Some(engine) = Self::tended(&inner)
                && let Err(error) = engine.record_policy(&engine.0.policy.status()).await
            {
                tracing::error!(%error, "the policies in force could not be put on record");
            }
            loop {
                let Some(engine) = Self::tended(&inner) else { return };
                engine.tend_once(&mut seen).await;
                let stopping = engine.0.stopping.clone();
                drop(engine);
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = sleep(TEND) => {}
                }
            }
        });
    }

    fn tended(inner: &Weak<Inner>) -> Option<Self> {
        inner.upgrade().map(Self).filter(|engine| !engine.0.stopping.is_cancelled())
    }

    /// Each of these is tried again at the next time, whatever becomes of it now.
    async fn tend_once(&self, seen: &mut Seen) {
        if let Err(error) = self.reload_policy().await {
            tracing::debug!(%error, "the policies could not be loaded again");
        }
        let policy = self.0.policy.status().digest;
        if self.0.steady.check(&*self.0.clock).is_err() {
            // By a clock that has stepped, nothing is late.
            return;
        }
        match self.tend_approvals(policy != seen.policy).await {
            Ok(_) => seen.policy = policy,
            Err(error) => tracing::error!(%error, "approvals could not be looked after"),
        }
        if seen.checkpointed.elapsed() >= self.0.limits.checkpoint {
            match self.keep_checkpoint(seen.checkpoint).await {
                Ok(head) => (seen.checkpoint, seen.checkpointed) = (head, Instant::now()),
                Err(error) => tracing::error!(%error, "no checkpoint could be kept"),
            }
        }
        if seen.cleaned.is_none_or(|at| at.elapsed() >= CLEAN) {
            if let Err(error) = self.clean().await {
                tracing::error!(%error, "old runs and evidence could not be removed");
            }
            seen.cleaned = Some(Instant::now());
        }
    }

    /// Signs the end of the evidence and keeps that, unless it has not moved.
    pub(super) async fn keep_checkpoint(&self, before: Head) -> Result<Head> {
        let head = self.0.store.head().await?;
        if head != before && head != Head::EMPTY {
            let at = self.0.clock.now();
            let checkpoint = self.0.signer.checkpoint(head, at);
            self.0.store.keep_checkpoint(head.seq, at, checkpoint.text()).await?;
        }
        Ok(head)
    }

    /// Keeps a checkpoint of the end, unless the last one that was kept is of the same.
    pub(super) async fn keep_last_checkpoint(&self) -> Result<()> {
        let head = self.0.store.head().await?;
        let kept = self.0.store.checkpoints(head.seq.saturating_sub(1), 1).await?;
        if kept.is_empty() { self.keep_checkpoint(Head::EMPTY).await.map(drop) } else { Ok(()) }
    }

    /// Removes what is older than it is to be kept.
    async fn clean(&self) -> Result<()> {
        let now = self.0.clock.now();
        if let Some(keep) = self.0.limits.keep_runs {
            let before = now.checked_sub(keep).map_err(|error| Error::internal(error.to_string()))?;
            while self.0.store.prune_runs(before, RUNS).await? == RUNS {}
        }
        if let Some(keep) = self.0.limits.keep_evidence {
            let before = now.checked_sub(keep).map_err(|error| Error::internal(error.to_string()))?;
            self.prune_evidence(before).await?;
        }
        Ok(())
    }

    /// Removes the records up to the last checkpoint that was kept before this time: it pins what was removed.
    /// Gives the place of the last record that was.
    pub async fn prune_evidence(&self, before: astradesk_core::Timestamp) -> Result<Option<u64>> {
        const PAGE: u32 = 1000;
        let mut after = self.0.store.cut().await?.map_or(0, |cut| cut.head.seq);
        let mut last: Option<Checkpoint> = None;
        'pages: loop {
            let page = self.0.store.checkpoints(after, PAGE).await?;
            let full = page.len() as u32 == PAGE;
            for text in page {
                let checkpoint = Checkpoint::parse(&text)?;
                if checkpoint.at() >= before {
                    break 'pages;
                }
                after = checkpoint.head().seq;
                // Whoever can write to the store cannot choose what is removed.
                if let Err(error) = checkpoint.verify(self.0.signer.key()) {
                    tracing::error!(%error, "evidence is not removed up to this checkpoint");
                    continue;
                }
                last = Some(checkpoint);
            }
            if !full {
                break;
            }
        }
        let Some(checkpoint) = last else { return Ok(None) };
        let head = checkpoint.head();
        let now = self.0.clock.now();
        let cut = self.0.signer.cut(head, now).text().to_owned();
        let draft = Draft {
            at: now,
            kind: Kind::EvidencePruned,
            run: None,
            principal: None,
            trace: None,
            data: json!({"up_to": head.seq, "hash": head.hash, "checkpoint": cut}),
        };
        self.0
            .store
            .commit(Change { evidence: vec![draft], ..Change::default() })
            .await
            .map_err(uncommitted)?;
        self.0.store.prune_evidence(&Cut { head, checkpoint: cut }).await?;
        tracing::info!(up_to = head.seq, "removed old evidence");
        Ok(Some(head.seq))
    }
}
