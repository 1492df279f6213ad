//! Checkpoints that are kept, and old runs and evidence that are not.

use super::Engine;
use super::refuse::uncommitted;
use crate::evidence::Checkpoint;
use crate::port::{Change, Cut, EvidenceFilter};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Draft, Head, Kind};
use astradesk_core::{Code, Error, Principal, Result, Timestamp};
use serde_json::json;

/// The most runs that are removed in one go.
const RUNS: u32 = 500;
/// The checkpoints that are read in one go.
const PAGE: u32 = 1000;

impl Engine {
    /// A signed statement on the end of the evidence. What was signed before must still be there: else somebody has
    /// rewritten the chain, and a signature would make theirs look like ours.
    ///
    /// # Errors
    /// [`Code::EvidenceBroken`](astradesk_core::Code::EvidenceBroken).
    pub(super) async fn sign(&self) -> Result<Checkpoint> {
        let known = self.seen().signed;
        let before = match known {
            Some(before) => before,
            None => self.last_kept().await?,
        };
        self.still_there(before).await?;
        let head = self.0.store.head().await?;
        self.seen().signed = Some(head);
        Ok(self.0.signer.checkpoint(head, self.0.clock.now()))
    }

    /// What the last checkpoint that was kept with the own key is of; an empty chain when there is none. It is
    /// looked for from the end on, in ever larger parts.
    async fn last_kept(&self) -> Result<Head> {
        let end = self.0.store.head().await?.seq;
        for part in [1_000, 100_000, 10_000_000, u64::MAX] {
            let (mut after, mut last) = (end.saturating_sub(part), None);
            loop {
                let page = self.0.store.checkpoints(after, PAGE).await?;
                for text in &page {
                    let checkpoint = Checkpoint::parse(text)?;
                    after = checkpoint.head().seq;
                    last = checkpoint.verify(self.0.signer.key()).ok().or(last);
                }
                if (page.len() as u32) < PAGE {
                    break;
                }
            }
            if let Some(head) = last {
                return Ok(head);
            }
        }
        Ok(Head::EMPTY)
    }

    async fn still_there(&self, signed: Head) -> Result<()> {
        let begins = self.0.store.cut().await?.map_or(0, |cut| cut.head.seq);
        if signed.seq <= begins {
            return Ok(());
        }
        let filter = EvidenceFilter {
            after: signed.seq - 1,
            up_to: Some(signed.seq),
            limit: 1,
            ..EvidenceFilter::default()
        };
        let found = self.0.store.evidence(&filter).await?;
        if found.first().is_some_and(|record| Digest::of(&record.body) == signed.hash) {
            return Ok(());
        }
        let message =
            format!("record {} is not the one that was signed, so nothing more is signed", signed.seq);
        Err(Error::new(Code::EvidenceBroken, message).with_detail("seq", signed.seq))
    }

    /// Signs the end of the evidence and keeps that, unless the last one that was kept is of the same.
    pub(super) async fn keep_checkpoint(&self) -> Result<()> {
        let head = self.0.store.head().await?;
        let kept = self.0.store.checkpoints(head.seq.saturating_sub(1), 1).await?;
        if head == Head::EMPTY || !kept.is_empty() {
            return Ok(());
        }
        let checkpoint = self.sign().await?;
        self.0.store.keep_checkpoint(checkpoint.head().seq, checkpoint.at(), checkpoint.text()).await
    }

    /// Removes what is older than it is to be kept.
    pub(super) async fn clean(&self) -> Result<()> {
        let now = self.0.clock.now();
        if let Some(keep) = self.0.limits.keep_runs {
            let before = now.checked_sub(keep).map_err(|error| Error::internal(error.to_string()))?;
            while self.0.store.prune_runs(before, RUNS).await? == RUNS {}
        }
        if let Some(keep) = self.0.limits.keep_evidence {
            let before = now.checked_sub(keep).map_err(|error| Error::internal(error.to_string()))?;
            self.prune_evidence(None, before).await?;
        }
        Ok(())
    }

    /// Removes the records up to the last checkpoint that was kept before this time: it pins what was removed.
    /// Gives the place of the last record that was. `by` is who asked for it, if somebody did: who may not read the
    /// evidence may not remove it.
    pub async fn prune_evidence(&self, by: Option<&Principal>, before: Timestamp) -> Result<Option<u64>> {
        if let Some(by) = by {
            self.authorize_evidence(by)?;
        }
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
            principal: by.cloned(),
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
