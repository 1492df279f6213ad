//! Why policy decides as it does, and what it would decide.

use super::Engine;
use super::refuse::uncommitted;
use crate::case::{Case, CaseOutcome};
use crate::port::{Change, Explanation, PolicyStatus};
use astradesk_core::evidence::{Draft, Kind};
use astradesk_core::{Error, Principal, Result, RunId};
use serde_json::json;
use tokio::sync::watch;

impl Engine {
    /// What policy says now of each step of a run that the principal may see, and why.
    pub async fn explain_run(&self, by: &Principal, id: RunId) -> Result<Vec<Explanation>> {
        let run = self.run(by, id).await?;
        let mut explanations = Vec::with_capacity(run.steps.len());
        for step in run.steps.iter().filter(|step| step.undoes.is_none()) {
            let tool = self.0.registry.tool(step.call.tool.as_str())?;
            let facts = self.facts_for_policy(&tool, &step.call, false).await?;
            let (engine, run, call) = (self.clone(), run.clone(), step.call.clone());
            // What would have changed a decision takes many more of them.
            let explaining = tokio::task::spawn_blocking(move || {
                engine.0.policy.explain(&engine.policy_request(&run, &call, &facts, false))
            });
            explanations.push(explaining.await.map_err(|error| Error::internal(error.to_string()))?);
        }
        Ok(explanations)
    }

    /// What policy says of cases that somebody made up.
    ///
    /// # Errors
    /// [`Code::PolicyDenied`](astradesk_core::Code::PolicyDenied) when the principal may not read the evidence:
    /// the answers tell as much of the policies.
    pub fn test_policy(&self, by: &Principal, cases: &[Case]) -> Result<Vec<CaseOutcome>> {
        self.authorize_evidence(by)?;
        Ok(cases.iter().map(|case| case.judge(&*self.0.policy, &self.0.registry)).collect())
    }

    /// The policies in force, for who may read the evidence.
    ///
    /// # Errors
    /// [`Code::PolicyDenied`](astradesk_core::Code::PolicyDenied).
    pub fn policy(&self, by: &Principal) -> Result<PolicyStatus> {
        self.authorize_evidence(by)?;
        Ok(self.policy_status())
    }

    /// The policies in force.
    pub fn policy_status(&self) -> PolicyStatus {
        self.0.policy.status()
    }

    /// Loads the policies again, and puts on record what came of it. Whether anything has changed.
    ///
    /// # Errors
    /// Why the new policies cannot be loaded; those before them stay in force.
    pub async fn reload_policy(&self) -> Result<bool> {
        let loaded = self.load_policy().await?;
        self.record_policy().await?;
        loaded
    }

    /// Looks at the packs that come and go, where nothing else waits for it. Whether anything else is in force now.
    pub async fn reload_packs(&self) -> Result<bool> {
        let Some(packs) = self.0.registry.followed().cloned() else { return Ok(false) };
        let loading = tokio::task::spawn_blocking(move || packs.reload());
        let loaded = loading.await.map_err(|error| Error::internal(format!("loading the packs: {error}")))?;
        self.offer(loaded);
        Ok(loaded)
    }

    /// Looks after the servers that packs have.
    pub async fn tend_packs(&self) -> Result<()> {
        if let Some(packs) = self.0.registry.followed().cloned() {
            packs.tend().await;
        }
        Ok(())
    }

    /// Files are read and policies put together where nothing else waits for it.
    pub(super) async fn load_policy(&self) -> Result<Result<bool>> {
        let policy = self.0.policy.clone();
        let loading = tokio::task::spawn_blocking(move || policy.reload());
        let loaded = loading.await;
        let loaded = loaded.map_err(|error| Error::internal(format!("loading the policies: {error}")))?;
        self.offer(loaded == Ok(true));
        Ok(loaded)
    }

    /// Tells whoever follows it that tools, resources or prompts may be others, or there for others.
    fn offer(&self, changed: bool) {
        if changed {
            self.0.offers.send_modify(|count| *count += 1);
        }
    }

    /// Changes when packs or policies do.
    pub fn offers(&self) -> watch::Receiver<u64> {
        self.0.offers.subscribe()
    }

    /// Puts on record what is in force, unless it is.
    pub(super) async fn record_policy(&self) -> Result<()> {
        let status = self.0.policy.status();
        if self.seen().policy.as_ref() == Some(&status) {
            return Ok(());
        }
        match &status.problem {
            None => {
                tracing::info!(policies = status.policies, digest = %status.digest, "the policies in force");
            }
            Some(problem) => {
                tracing::error!(error = %problem, "the policies as they are now cannot be loaded");
            }
        }
        let draft = Draft {
            at: self.0.clock.now(),
            kind: Kind::PolicyLoaded,
            run: None,
            principal: None,
            trace: None,
            data: json!(status),
        };
        let change = Change { evidence: vec![draft], ..Change::default() };
        self.0.store.commit(change).await.map_err(uncommitted)?;
        self.seen().policy = Some(status);
        Ok(())
    }
}
