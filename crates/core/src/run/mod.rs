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
//!
//! Only the holder of a run may bring what happened to its steps: the one that claimed it last. Each claim
//! raises the run's fence, and what comes with an older one is refused.

mod decide;
mod event;

pub use decide::{Action, advance, decide, next};
pub use event::{By, Event};

use crate::canonical::Digest;
use crate::{AgentName, Approval, Approvals, Error, FrozenCall, Principal, Source, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
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

/// Who executes runs: one Engine, for as long as it lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Holder(String);

impl Holder {
    /// The holder with this name, which no other has.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
    /// Until when it must be done: no step begins later, also after a restart of AstraDesk.
    #[serde(default)]
    pub deadline: Timestamp,
    /// Who executes it; nobody before it is claimed, after it was handed over, and when it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// Counts the claims, from 0.
    #[serde(default)]
    pub fence: u64,
    /// Where it stands.
    #[serde(flatten)]
    pub state: State,
    /// Its steps, in order.
    pub steps: Vec<Step>,
    /// Why, in the words of who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether guardrails that can be overridden are to be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
    /// The trace that the request belongs to: 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Who else must agree, and who has, if somebody must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Approvals>,
    /// Whether somebody asked for it to be cancelled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel_requested: bool,
    /// Whether they asked for an effect that is under way to be undone, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undo_requested: bool,
}

impl Run {
    /// What an approval binds to: this run, for whom it is, what it does to what, and why.
    pub fn digest(&self) -> Digest {
        let calls: Value = self.steps.iter().map(|step| json!(step.call.digest)).collect();
        Digest::of_value(&json!({
            "run": self.id,
            "principal": self.principal,
            "calls": calls,
            "reason": self.reason,
            "break_glass": self.break_glass,
        }))
    }

    /// Who has approved it.
    pub fn approved_by(&self) -> &[Approval] {
        self.approvals.as_ref().map_or(&[], |approvals| &approvals.given)
    }
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

impl Step {
    /// A step that has not begun.
    pub const fn new(call: FrozenCall, on_failure: OnFailure) -> Self {
        Self { call, on_failure, undoes: None, begun_at: None, state: StepState::Pending }
    }
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

/// What becomes of an effect that was performed and did not come out well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It stays as it is, for somebody to look at.
    #[default]
    Leave,
    /// It is undone, as a step of its own.
    Undo,
}

/// One call of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What is done, to what; in an undo, what is undone.
    pub call: FrozenCall,
    /// What becomes of its effect if that fails.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// The step, from 0, that this one undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<usize>,
    /// When its first intent was made durable: its time limit counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_at: Option<Timestamp>,
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
        /// Counts the intents of this step, from 1: each one before it is known to have had no effect.
        #[serde(default)]
        attempt: u32,
        /// What the effect is bound to, so that what became of it can be found out by reading.
        #[serde(default)]
        intent: Value,
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
        /// The receipt of the effect, if it happened.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        receipt: Option<Value>,
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
