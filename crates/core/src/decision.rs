//! Permit, deny or needs approval, each with its reasons.

use crate::Error;
use crate::approval::Requirement;
use serde::{Deserialize, Serialize};

/// Why a decision fell as it did.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reason {
    /// The id of the policy that decided, such as `builtin.restart_service`.
    pub policy: String,
    /// A sentence.
    pub text: String,
}

/// What policy says of one call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// It may be done.
    Permit {
        /// The policies that permit it; never empty.
        reasons: Vec<Reason>,
    },
    /// It may not be done.
    Deny {
        /// The code and the sentence for who asked.
        error: Error,
        /// The policies that forbid it; empty when none permits it.
        reasons: Vec<Reason>,
    },
    /// It may be done once somebody else agrees.
    NeedsApproval {
        /// The least that would be enough.
        required: Requirement,
        /// The policies that ask for it.
        reasons: Vec<Reason>,
    },
}
