//! A run: one admitted plan and its life, as a pure state machine.
//!
//! ```text
//! submitted ─ denied
//!     ├─ awaiting_approval ─ rejected │ expired │ cancelled
//!     └─ queued ─ running ─ succeeded │ failed │ cancelled │ outcome_unknown
//! ```
//!
//! [`decide`] takes a run and an event and gives the run after it, with the actions that follow.
//! Whoever calls it commits the new run first and performs the actions only then; [`next`] derives the
//! same actions again from a stored run, so nothing is lost when the process dies in between.

mod decide;

pub use decide::{Action, Event, advance, decide, next};

use crate::{AgentName, Error, FrozenCall, Principal, Source, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The id of a run: a UUID (version 7, so ids sort by time).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(uuid::Uuid);

impl RunId {
    /// The id with these bits; making them is the caller's business, since this crate has no randomness.
    pub const fn from_uuid(uuid: uuid::Uuid) -> Self {
        Self(uuid)
    }

    /// Reads the hyphenated form.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 36).then(|| uuid::Uuid::try_parse(text).ok().map(Self)).flatten()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One admitted (or denied) plan and its life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The id; also found on the objects that the run changed.
    pub id: RunId,
    /// Counts the changes of this run, from 1; a write of an older version is refused by the store.
    pub version: u64,
    /// Who asked.
    pub principal: Principal,
    /// By which door.
    pub source: Source,
    /// The agent that was asked, unless the tool was called directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// What was said, unless the tool was called directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Who planned it: `direct`, `keyword`, …
    pub planner: String,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Where it stands.
    #[serde(flatten)]
    pub state: State,
    /// Its steps, in order.
    pub steps: Vec<Step>,
    /// Whether somebody asked for it to be cancelled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel_requested: bool,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Planned, not yet decided.
    Submitted,
    /// Waits for somebody to agree.
    AwaitingApproval,
    /// Permitted, waits for its turn.
    Queued,
    /// A step is under way.
    Running {
        /// The step, from 0.
        step: usize,
    },
    /// Every step was performed and verified.
    Succeeded,
    /// A step failed; the ones after it were not performed.
    Failed {
        /// The failed step's error, as the tool gave it.
        error: Error,
    },
    /// Policy or a guardrail refused it; nothing was done.
    Denied {
        /// Why.
        error: Error,
    },
    /// The approver said no.
    Rejected {
        /// The approver's reason.
        error: Error,
    },
    /// Nobody agreed in time.
    Expired,
    /// Cancelled; the steps say what had been done by then.
    Cancelled,
    /// Whether a step's effect happened could not be established.
    OutcomeUnknown {
        /// What was seen, and what an operator should check.
        error: Error,
    },
}

impl State {
    /// The state's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Queued => "queued",
            Self::Running { .. } => "running",
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Denied { .. } => "denied",
            Self::Rejected { .. } => "rejected",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::OutcomeUnknown { .. } => "outcome_unknown",
        }
    }

    /// Whether nothing more will happen.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Submitted | Self::AwaitingApproval | Self::Queued | Self::Running { .. } => false,
            Self::Succeeded
            | Self::Failed { .. }
            | Self::Denied { .. }
            | Self::Rejected { .. }
            | Self::Expired
            | Self::Cancelled
            | Self::OutcomeUnknown { .. } => true,
        }
    }

    /// The error that the run ended with, if it did not succeed.
    pub const fn error(&self) -> Option<&Error> {
        match self {
            Self::Failed { error }
            | Self::Denied { error }
            | Self::Rejected { error }
            | Self::OutcomeUnknown { error } => Some(error),
            Self::Submitted
            | Self::AwaitingApproval
            | Self::Queued
            | Self::Running { .. }
            | Self::Succeeded
            | Self::Expired
            | Self::Cancelled => None,
        }
    }
}

/// One call of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What is done, to what.
    pub call: FrozenCall,
    /// Where it stands.
    #[serde(flatten)]
    pub state: StepState,
}

/// Where a step stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// The intent is durable; the effect may or may not have happened.
    Intended {
        /// When.
        at: Timestamp,
    },
    /// The effect happened; the outcome is not known yet.
    Performed {
        /// When the effect was known to have happened.
        at: Timestamp,
        /// What the tool needs to verify it, also after a restart of AstraDesk.
        receipt: Value,
    },
    /// Performed and verified.
    Succeeded {
        /// When.
        at: Timestamp,
        /// What the tool reports.
        output: Value,
    },
    /// Not performed, or performed and failed.
    Failed {
        /// When.
        at: Timestamp,
        /// Why, as the tool gave it.
        error: Error,
    },
    /// Whether it happened could not be established.
    Unknown {
        /// When this was given up.
        at: Timestamp,
        /// What was seen.
        error: Error,
    },
    /// Not performed, because the run ended before it.
    Skipped,
}
