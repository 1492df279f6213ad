//! Policy: may this principal do this to that?

use astradesk_core::{Decision, FrozenCall, Principal, Source, Timestamp, ToolSpec};

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
    /// Whether it is only a preview.
    pub dry_run: bool,
    /// When.
    pub now: Timestamp,
}

/// Decides. Deny by default; whatever goes wrong in deciding is a denial too.
pub trait Policy: Send + Sync + 'static {
    /// The decision on one call.
    fn decide(&self, request: &PolicyRequest<'_>) -> Decision;

    /// Whether the principal may use the tool on some target: decides what they are shown.
    fn may_use(&self, principal: &Principal, tool: &ToolSpec) -> bool;

    /// Whether the principal may read this run, which another principal submitted.
    fn may_see_runs_of_others(&self, principal: &Principal) -> bool;

    /// Whether the principal may read the evidence.
    fn may_read_evidence(&self, principal: &Principal) -> bool;
}
