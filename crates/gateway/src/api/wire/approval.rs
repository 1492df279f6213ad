//! Approvals, previews and what is told of them.

use super::{Decision, Error, FrozenCall, Principal, Reason, Run};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What a run needs before it may be executed, and what it has of that.
#[derive(ToSchema)]
pub(crate) struct Approvals {
    /// What an approval binds to: the run, for whom it is, what it does to what, and why.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    digest: String,
    /// What policy asks for.
    required: Requirement,
    /// The policies that ask for it.
    reasons: Vec<Reason>,
    /// Since when the run waits.
    #[schema(format = DateTime)]
    asked_at: String,
    /// Until when it can be approved, and the approved run begun.
    #[schema(format = DateTime)]
    expires_at: String,
    /// Who agreed so far.
    given: Vec<Approval>,
}

/// What policy asks for.
#[derive(ToSchema)]
pub(crate) struct Requirement {
    /// So many people, at least.
    #[schema(minimum = 0, maximum = 4_294_967_295_u64)]
    count: u32,
    /// So many of them with each of these roles, at least.
    #[schema(required = false)]
    roles: BTreeMap<String, u32>,
}

/// Somebody agreed.
#[derive(ToSchema)]
pub(crate) struct Approval {
    /// Who, with the roles that they had then.
    by: Principal,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// The digest that they saw.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    digest: String,
    /// Why.
    reason: String,
}

/// A run that awaits approval.
#[derive(ToSchema)]
pub(crate) struct Awaiting {
    /// The run.
    run: Run,
    /// Why who asks may not approve it, if they may not.
    refused: Option<Error>,
    /// What it would do now, step by step; only when one run is asked for.
    preview: Option<Vec<PreviewedStep>>,
    /// What to think about before saying yes.
    risks: Vec<String>,
}

/// What one step would do.
#[derive(ToSchema)]
pub(crate) struct PreviewedStep {
    /// The call, with its targets and digest.
    call: FrozenCall,
    /// What policy says.
    decision: Decision,
    /// What is known of its targets, in their order; empty if that could not be found out.
    facts: Vec<Facts>,
    /// What the configured guardrails object now.
    objections: Option<Vec<Error>>,
    /// What the tool itself objects now.
    refused: Option<Error>,
    /// What would change, as the tool shows it.
    changes: Option<Value>,
}

/// What is known of a target. What a system does not tell is absent.
#[derive(ToSchema)]
pub(crate) struct Facts {
    /// Its labels.
    #[schema(required = false)]
    labels: BTreeMap<String, String>,
    /// Who answers for it.
    owner: Option<String>,
    /// How much depends on it, such as `critical`.
    tier: Option<String>,
    /// The GitOps controller that manages it, if one does.
    gitops: Option<GitOps>,
    /// Whether the call means that nothing serves for a while.
    #[schema(required = false)]
    downtime_expected: bool,
    /// How many pods the call takes away at once.
    availability: Option<Availability>,
    /// The disruption budgets that cover its pods.
    #[schema(required = false)]
    disruption_budgets: Vec<DisruptionBudget>,
}

/// A GitOps controller that manages a target.
#[derive(ToSchema)]
pub(crate) struct GitOps {
    /// `flux` or `argocd`.
    controller: String,
    /// What it calls the source of the object.
    source: String,
}

/// Pods, before and during a call.
#[derive(ToSchema)]
pub(crate) struct Availability {
    /// So many are wanted.
    #[schema(minimum = 0, maximum = 4_294_967_295_u64)]
    wanted: u32,
    /// So many are not available now.
    #[schema(minimum = 0, maximum = 4_294_967_295_u64)]
    unavailable: u32,
    /// So many may be unavailable at once while the call goes on.
    #[schema(minimum = 0, maximum = 4_294_967_295_u64)]
    at_most_unavailable: u32,
}

/// A disruption budget that covers the target's pods.
#[derive(ToSchema)]
pub(crate) struct DisruptionBudget {
    /// Its name.
    name: String,
    /// So many pods may be disrupted now.
    #[schema(minimum = 0, maximum = 4_294_967_295_u64)]
    disruptions_allowed: u32,
}

/// Something that a webhook is told.
#[derive(ToSchema)]
pub(crate) struct Announcement {
    /// Its id, the same in every attempt: `webhook-id`.
    id: String,
    /// The webhook.
    to: String,
    /// When it came to be.
    #[schema(format = DateTime)]
    at: String,
    /// The exact body: a CloudEvent.
    body: String,
    /// Counts the attempts that failed.
    attempts: u32,
    /// Not before.
    #[schema(format = DateTime)]
    due_at: String,
    /// Why the last attempt failed.
    error: Option<String>,
    /// Whether no further attempt is made.
    dead: bool,
}
