//! What happens to runs, and who may say so.

use super::Holder;
use crate::{Approval, Approvals, Error, Principal};
use serde_json::Value;

/// Who brings an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A door, on behalf of a principal, or an Engine that claims the run.
    Anyone,
    /// The holder of the claim with this fence.
    Holder(u64),
}

/// Something that happened to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Policy and guardrails let the plan in.
    Admitted,
    /// Policy wants somebody to agree first; asked anew, what was given before no longer counts.
    ApprovalNeeded(Approvals),
    /// Policy or a guardrail refused the plan.
    Denied(Error),
    /// Somebody agrees; with the last one that is needed, the run goes on.
    ApprovalGiven(Approval),
    /// Somebody no longer agrees, before the run has begun.
    ApprovalRevoked(Principal),
    /// An approver said no.
    Rejected(Error),
    /// Nobody agreed in time.
    ApprovalExpired,
    /// An Engine takes the run, to execute it: from nobody, or from a holder that is dead.
    Claimed(Holder),
    /// The holder leaves the run to whoever claims it next.
    HandedOver,
    /// The step was authorized again and its intent is to be made durable; a second one replaces the
    /// first, which is known to have had no effect.
    StepIntended {
        /// The step, from 0.
        step: usize,
        /// What the effect is bound to.
        intent: Value,
    },
    /// The step's effect happened.
    StepPerformed {
        /// The step, from 0.
        step: usize,
        /// What the tool needs to verify it.
        receipt: Value,
    },
    /// The step's outcome was seen to be good.
    StepVerified {
        /// The step, from 0.
        step: usize,
        /// What the tool reports.
        output: Value,
    },
    /// The step was refused, or its effect failed.
    StepFailed {
        /// The step, from 0.
        step: usize,
        /// Why.
        error: Error,
    },
    /// Whether the step's effect happened cannot be established.
    StepUnknown {
        /// The step, from 0.
        step: usize,
        /// What was seen.
        error: Error,
    },
    /// Somebody wants the run to stop.
    CancelRequested {
        /// Whether an effect that is under way is to be undone; else it is left as it is.
        undo: bool,
    },
    /// The step stopped because the run is being cancelled.
    StepCancelled {
        /// The step, from 0.
        step: usize,
        /// What had been done by then.
        error: Error,
    },
}

impl Event {
    /// Whether only the holder of the run may bring it.
    pub(super) const fn is_holders(&self) -> bool {
        match self {
            Self::HandedOver
            | Self::StepIntended { .. }
            | Self::StepPerformed { .. }
            | Self::StepVerified { .. }
            | Self::StepFailed { .. }
            | Self::StepUnknown { .. }
            | Self::StepCancelled { .. } => true,
            Self::Admitted
            | Self::ApprovalNeeded(_)
            | Self::Denied(_)
            | Self::ApprovalGiven(_)
            | Self::ApprovalRevoked(_)
            | Self::Rejected(_)
            | Self::ApprovalExpired
            | Self::Claimed(_)
            | Self::CancelRequested { .. } => false,
        }
    }
}
