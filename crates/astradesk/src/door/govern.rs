//! Approvals, packs, policies, evidence and webhooks, by either way.

use super::Door;
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::Record;
use astradesk_core::{Code, Error, Result, Run, RunId, Timestamp};
use astradesk_runtime::case::{Case, CaseOutcome};
use astradesk_runtime::engine::Awaiting;
use astradesk_runtime::evidence::Checkpoint;
use astradesk_runtime::port::{
    Announcement, EvidenceFilter, Explanation, PackStatus, PolicyStatus, Store as _,
};

/// Records of the evidence.
pub struct EvidencePage {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Where the chain begins, if old records were removed and the page begins before that.
    pub cut: Option<Checkpoint>,
}

impl Door {
    /// The runs that await approval, oldest first.
    pub async fn approvals(&self, limit: u32) -> Result<Vec<Awaiting>> {
        match self {
            Self::Embedded { app, principal } => app.engine.approvals(principal, None, limit).await,
            Self::Remote(remote) => remote.approvals(limit).await,
        }
    }

    /// A run that awaits approval, with what it would do.
    pub async fn awaiting(&self, id: RunId) -> Result<Awaiting> {
        match self {
            Self::Embedded { app, principal } => app.engine.awaiting(principal, id).await,
            Self::Remote(remote) => remote.awaiting(id).await,
        }
    }

    /// Agrees to a run.
    pub async fn approve(&self, id: RunId, digest: Digest, reason: &str) -> Result<Run> {
        match self {
            Self::Embedded { app, principal } => app.engine.approve(principal, id, digest, reason).await,
            Self::Remote(remote) => remote.judge("approve", id, digest, reason).await,
        }
    }

    /// Says no to a run.
    pub async fn reject(&self, id: RunId, digest: Digest, reason: &str) -> Result<Run> {
        match self {
            Self::Embedded { app, principal } => app.engine.reject(principal, id, digest, reason).await,
            Self::Remote(remote) => remote.judge("reject", id, digest, reason).await,
        }
    }

    /// Takes one's approval back.
    pub async fn revoke(&self, id: RunId) -> Result<Run> {
        match self {
            Self::Embedded { app, principal } => app.engine.revoke(principal, id).await,
            Self::Remote(remote) => remote.revoke(id).await,
        }
    }

    /// Why policy says what it says of each step of a run.
    pub async fn explain_run(&self, id: RunId) -> Result<Vec<Explanation>> {
        match self {
            Self::Embedded { app, principal } => app.engine.explain_run(principal, id).await,
            Self::Remote(remote) => remote.explain_run(id).await,
        }
    }

    /// The policies in force.
    pub async fn policy(&self) -> Result<PolicyStatus> {
        match self {
            Self::Embedded { app, .. } => Ok(app.engine.policy_status()),
            Self::Remote(remote) => remote.policy().await,
        }
    }

    /// The packs.
    pub async fn packs(&self) -> Result<Vec<PackStatus>> {
        match self {
            Self::Embedded { app, principal } => {
                // Nobody else looks after their servers here.
                app.engine.tend_packs().await?;
                Ok(app.engine.packs(principal))
            }
            Self::Remote(remote) => remote.packs().await,
        }
    }

    /// What policy says of cases.
    pub async fn test_policy(&self, cases: &[Case]) -> Result<Vec<CaseOutcome>> {
        match self {
            Self::Embedded { app, principal } => app.engine.test_policy(principal, cases),
            Self::Remote(remote) => remote.test_policy(cases).await,
        }
    }

    /// Records of the evidence.
    pub async fn evidence(&self, filter: &EvidenceFilter) -> Result<EvidencePage> {
        match self {
            Self::Embedded { app, principal } => {
                let records = app.engine.evidence(principal, filter).await?;
                let cut = app.store.cut().await?.filter(|cut| filter.after < cut.head.seq);
                let cut = cut.map(|cut| Checkpoint::parse(&cut.checkpoint)).transpose()?;
                Ok(EvidencePage { records, cut })
            }
            Self::Remote(remote) => remote.evidence(filter).await,
        }
    }

    /// A signed checkpoint of the evidence, now.
    pub async fn checkpoint(&self) -> Result<Checkpoint> {
        match self {
            Self::Embedded { app, principal } => app.engine.checkpoint(principal).await,
            Self::Remote(remote) => remote.checkpoint().await,
        }
    }

    /// The checkpoints that were kept of records after number `after`, in order, at most `limit` (which is at most
    /// 200 for a gateway).
    pub async fn kept_checkpoints(&self, after: u64, limit: u32) -> Result<Vec<Checkpoint>> {
        match self {
            Self::Embedded { app, principal } => app.engine.kept_checkpoints(principal, after, limit).await,
            Self::Remote(remote) => remote.kept_checkpoints(after, limit).await,
        }
    }

    /// Removes the records before this time, up to a checkpoint; gives the number of the last of them.
    ///
    /// # Errors
    /// [`Code::RequestMalformed`] behind a gateway: whoever holds the state folder may remove evidence, nobody
    /// else; a denial.
    pub async fn prune_evidence(&self, before: Timestamp) -> Result<Option<u64>> {
        let Self::Embedded { app, principal } = self else {
            let message = "evidence is removed where it is kept, and not through a gateway";
            return Err(Error::new(Code::RequestMalformed, message)
                .with_remedy("run it beside the store without `--server`, or set `evidence.keep_days`"));
        };
        app.engine.prune_evidence(Some(principal), before).await
    }

    /// What could not be told to webhooks, newest first.
    pub async fn dead_announcements(&self, limit: u32) -> Result<Vec<Announcement>> {
        match self {
            Self::Embedded { app, principal } => app.engine.dead_announcements(principal, limit).await,
            Self::Remote(remote) => remote.dead_announcements(limit).await,
        }
    }

    /// Makes what could not be told due again.
    pub async fn retry(&self, id: &str) -> Result<()> {
        match self {
            Self::Embedded { app, principal } => app.engine.revive_announcement(principal, id).await,
            Self::Remote(remote) => remote.retry(id).await,
        }
    }
}
