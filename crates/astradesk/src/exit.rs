//! Exit codes: 0 done, 1 failed, 2 usage, 3 denied, 4 approval needed, 5 outcome unknown, 6 unavailable.

use astradesk_core::run::State;
use astradesk_core::{Class, Code};

pub(crate) const DONE: u8 = 0;
pub(crate) const FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
const DENIED: u8 = 3;
pub(crate) const APPROVAL_NEEDED: u8 = 4;
const OUTCOME_UNKNOWN: u8 = 5;
const UNAVAILABLE: u8 = 6;

/// The exit code of an error.
pub(crate) const fn code(code: Code) -> u8 {
    match code.class() {
        Class::Invalid
        | Class::Unprocessable
        | Class::MethodNotAllowed
        | Class::TooLarge
        | Class::UnsupportedMediaType => USAGE,
        Class::Unauthenticated | Class::Denied => DENIED,
        Class::NotFound | Class::RequestTimeout | Class::Conflict | Class::Failed | Class::Internal => FAILED,
        Class::Unknown => OUTCOME_UNKNOWN,
        Class::ApprovalNeeded => APPROVAL_NEEDED,
        Class::Overloaded | Class::Unavailable => UNAVAILABLE,
    }
}

/// The exit code of a run as it stands.
pub(crate) fn state(state: &State) -> u8 {
    match state {
        State::Succeeded | State::Submitted | State::Queued | State::Running { .. } => DONE,
        State::AwaitingApproval => APPROVAL_NEEDED,
        State::OutcomeUnknown { .. } => OUTCOME_UNKNOWN,
        State::Failed { error } | State::Denied { error } | State::Rejected { error } => code(error.code),
        State::Expired | State::Cancelled => FAILED,
    }
}
