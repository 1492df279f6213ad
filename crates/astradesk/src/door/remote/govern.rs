//! Approvals, packs, policies, evidence and webhooks behind a gateway.

use super::{Remote, read};
use crate::door::EvidencePage;
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::Record;
use astradesk_core::{Result, Run, RunId};
use astradesk_runtime::case::{Case, CaseOutcome};
use astradesk_runtime::engine::Awaiting;
use astradesk_runtime::evidence::Checkpoint;
use astradesk_runtime::port::{Announcement, EvidenceFilter, Explanation, PackStatus, PolicyStatus};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a change may take: a commit, and the look at the targets before it.
const CHANGE: Duration = Duration::from_secs(30);

impl Remote {
    pub(in crate::door) async fn approvals(&self, limit: u32) -> Result<Vec<Awaiting>> {
        #[derive(Deserialize)]
        struct Page {
            approvals: Vec<Awaiting>,
        }
        let query = [("limit", limit.to_string())];
        Ok(self.get::<Page>("v1/approvals", &query).await?.approvals)
    }

    pub(in crate::door) async fn awaiting(&self, id: RunId) -> Result<Awaiting> {
        self.get(&format!("v1/approvals/{id}"), &[]).await
    }

    /// `verb` is `approve` or `reject`.
    pub(in crate::door) async fn judge(
        &self,
        verb: &str,
        id: RunId,
        digest: Digest,
        reason: &str,
    ) -> Result<Run> {
        self.post(&format!("v1/runs/{id}/{verb}"), &json!({"digest": digest, "reason": reason})).await
    }

    pub(in crate::door) async fn revoke(&self, id: RunId) -> Result<Run> {
        let request = self.request(Method::POST, &format!("v1/runs/{id}/revoke"))?.timeout(CHANGE);
        read(self.send(request).await?).await
    }

    pub(in crate::door) async fn explain_run(&self, id: RunId) -> Result<Vec<Explanation>> {
        #[derive(Deserialize)]
        struct Page {
            steps: Vec<Explanation>,
        }
        Ok(self.get::<Page>(&format!("v1/runs/{id}/explanation"), &[]).await?.steps)
    }

    pub(in crate::door) async fn policy(&self) -> Result<PolicyStatus> {
        self.get("v1/policy", &[]).await
    }

    pub(in crate::door) async fn packs(&self) -> Result<Vec<PackStatus>> {
        #[derive(Deserialize)]
        struct Page {
            packs: Vec<PackStatus>,
        }
        Ok(self.get::<Page>("v1/packs", &[]).await?.packs)
    }

    pub(in crate::door) async fn test_policy(&self, cases: &[Case]) -> Result<Vec<CaseOutcome>> {
        #[derive(Deserialize)]
        struct Page {
            outcomes: Vec<CaseOutcome>,
        }
        Ok(self.post::<Page>("v1/policy/test", &json!({"cases": cases})).await?.outcomes)
    }

    pub(in crate::door) async fn evidence(&self, filter: &EvidenceFilter) -> Result<EvidencePage> {
        #[derive(Deserialize)]
        struct Page {
            records: Vec<Item>,
            #[serde(default)]
            cut: Option<String>,
        }
        #[derive(Deserialize)]
        struct Item {
            seq: u64,
            hash: Digest,
            body: String,
        }
        let EvidenceFilter { after, up_to, run, kinds, since, until, limit } = filter;
        let mut query = vec![("after", after.to_string()), ("limit", limit.to_string())];
        query.extend(run.map(|run| ("run", run.to_string())));
        query.extend((!kinds.is_empty()).then(|| ("kind", kinds.join(","))));
        query.extend(since.map(|since| ("since", since.to_string())));
        query.extend(until.map(|until| ("until", until.to_string())));
        let page: Page = self.get("v1/audit", &query).await?;
        let cut = page.cut.map(|note| Checkpoint::parse(&note)).transpose()?;
        // The gateway gives pages as long as there is more; where to stop is the client's business.
        let records =
            page.records.into_iter().take_while(|record| up_to.is_none_or(|up_to| record.seq <= up_to));
        let records = records.map(|r| Record { seq: r.seq, body: r.body, hash: r.hash }).collect();
        Ok(EvidencePage { records, cut })
    }

    pub(in crate::door) async fn checkpoint(&self) -> Result<Checkpoint> {
        self.get("v1/audit/checkpoint", &[]).await
    }

    pub(in crate::door) async fn kept_checkpoints(&self, after: u64, limit: u32) -> Result<Vec<Checkpoint>> {
        #[derive(Deserialize)]
        struct Page {
            checkpoints: Vec<Checkpoint>,
        }
        let query = [("after", after.to_string()), ("limit", limit.to_string())];
        Ok(self.get::<Page>("v1/audit/checkpoints", &query).await?.checkpoints)
    }

    pub(in crate::door) async fn dead_announcements(&self, limit: u32) -> Result<Vec<Announcement>> {
        #[derive(Deserialize)]
        struct Page {
            announcements: Vec<Announcement>,
        }
        let query = [("limit", limit.to_string())];
        Ok(self.get::<Page>("v1/webhooks/dead", &query).await?.announcements)
    }

    pub(in crate::door) async fn retry(&self, id: &str) -> Result<()> {
        let request = self.request(Method::POST, &format!("v1/webhooks/dead/{id}/retry"))?.timeout(CHANGE);
        self.send(request).await.map(drop)
    }

    async fn post<T: serde::de::DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        let request = self.request(Method::POST, path)?.json(body).timeout(CHANGE);
        read(self.send(request).await?).await
    }
}
