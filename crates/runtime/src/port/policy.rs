//! Policy: may this principal do this to that?

use astradesk_core::canonical::Digest;
use astradesk_core::decision::Reason;
use astradesk_core::{Approval, Decision, Error, Facts, FrozenCall, Principal, Source, Timestamp, ToolSpec};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is to be decided.
#[derive(Debug, Clone, Copy)]
pub struct PolicyRequest<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// By which door.
    pub source: Source,
    /// Who planned the call: `direct`, `keyword`, …
    pub planner: &'a str,
    /// What is to be done, to what.
    pub call: &'a FrozenCall,
    /// What is known of each target, in their order; empty unless [`Policy::needs_facts`].
    pub facts: &'a [Facts],
    /// Who has agreed to it.
    pub approvals: &'a [Approval],
    /// Whether guardrails are to be overridden.
    pub break_glass: bool,
    /// Whether it is only a preview.
    pub dry_run: bool,
    /// When.
    pub now: Timestamp,
}

/// Decides. Deny by default; whatever goes wrong in deciding is a denial too.
pub trait Policy: Send + Sync + 'static {
    /// The decision on one call.
    fn decide(&self, request: &PolicyRequest<'_>) -> Decision;

    /// Whether the principal may override guardrails for this call, with the policies that say so.
    ///
    /// # Errors
    /// `policy.break_glass_denied`, which is the default: no built-in policy permits it.
    fn may_break_glass(&self, request: &PolicyRequest<'_>) -> Result<Vec<Reason>, Error>;

    /// Whether the principal may do such calls themselves, and so may agree to this one when policy names no
    /// role that must.
    fn may_approve(&self, principal: &Principal, request: &PolicyRequest<'_>) -> bool;

    /// Why: the policies that decided, and what would have changed the decision.
    fn explain(&self, request: &PolicyRequest<'_>) -> Explanation;

    /// Whether any policy asks for what is known of targets, which takes a look at the system.
    fn needs_facts(&self) -> bool;

    /// What is in force.
    fn status(&self) -> PolicyStatus;

    /// The digest of what is in force: [`PolicyStatus::digest`].
    fn digest(&self) -> Digest {
        self.status().digest
    }

    /// Loads the policies again. `Ok` says whether anything has changed.
    ///
    /// # Errors
    /// Why the new set cannot be loaded; the one before it stays in force.
    fn reload(&self) -> Result<bool, Error>;

    /// Gets ready for calls of these tools, and of no others, then calls `swap`, which lets them be called, exactly once.
    ///
    /// # Errors
    /// The policies cannot be put together with these tools; `swap` was not called, and nothing has changed.
    fn adopt_tools(&self, tools: Vec<Arc<ToolSpec>>, swap: &mut dyn FnMut()) -> Result<(), Error> {
        let _ = tools;
        swap();
        Ok(())
    }

    /// Whether there is any policy that could permit the tool, which is not among the built-in ones, to anybody.
    fn could_permit(&self, tool: &ToolSpec) -> bool {
        let _ = tool;
        true
    }

    /// Whether the principal may use the tool on some target: decides what they are shown.
    fn may_use(&self, principal: &Principal, tool: &ToolSpec) -> bool;

    /// Whether the principal may read this run, which another principal submitted.
    fn may_see_runs_of_others(&self, principal: &Principal) -> bool;

    /// Whether the principal may read the evidence.
    fn may_read_evidence(&self, principal: &Principal) -> bool;
}

/// Why a decision fell as it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The decision.
    #[serde(flatten)]
    pub decision: Decision,
    /// The policies that took part, on each target.
    pub policies: Vec<Considered>,
    /// Sentences: what would have changed the decision.
    pub otherwise: Vec<String>,
    /// The policy set that decided.
    pub set: Digest,
}

/// A policy that took part in a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Considered {
    /// Its id, such as `builtin.write`.
    pub policy: String,
    /// `permit` or `forbid`.
    pub effect: String,
    /// The file that it stands in, with its line; absent for built-in ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The target on which it decided.
    pub target: String,
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Digest of the set: of every policy, the schema and the settings.
    pub digest: Digest,
    /// How many policies it has, the built-in ones included.
    pub policies: usize,
    /// Since when it is in force.
    pub loaded_at: Timestamp,
    /// Why the files as they are now are not in force, if they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Error>,
    /// What can never match, and other doubts about the set in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
