//! What is known of a target at the moment: what policies and guardrails ask about.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is known of a target. Whoever cannot look gives an error instead, so what is absent is not there: no owner, no
/// GitOps controller, no disruption budget. An availability that is absent is not known, and is no good one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// How much depends on it, such as `critical`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// The GitOps controller that manages it, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gitops: Option<GitOps>,
    /// Whether the call means that nothing serves for a while.
    pub downtime_expected: bool,
    /// How many pods the call takes away at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability: Option<Availability>,
    /// The disruption budgets that cover its pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disruption_budgets: Vec<DisruptionBudget>,
}

/// A GitOps controller that manages a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitOps {
    /// `flux` or `argocd`.
    pub controller: String,
    /// What it calls the source of the object: `flux-system/apps`.
    pub source: String,
}

/// Pods, before and during a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Availability {
    /// So many are wanted.
    pub wanted: u32,
    /// So many are not available now.
    pub unavailable: u32,
    /// So many may be unavailable at once while the call goes on, by the workload's own strategy.
    pub at_most_unavailable: u32,
}

/// A disruption budget that covers the target's pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisruptionBudget {
    /// Its name.
    pub name: String,
    /// So many pods may be disrupted now.
    pub disruptions_allowed: u32,
}
