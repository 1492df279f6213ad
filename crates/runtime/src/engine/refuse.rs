//! The Engine's own refusals, in the user's words.

use crate::port::CommitError;
use astradesk_core::{Code, Error, RunId, Target};

/// A change that had to be kept and was not: nothing is done then.
pub(super) fn uncommitted(error: CommitError) -> Error {
    match error {
        CommitError::Unavailable(error) => error,
        CommitError::Locked { target, holder } => locked(&target, holder),
        CommitError::Exhausted { allowance, oldest } => allowance.exhausted(oldest),
        CommitError::Stale => Error::new(Code::RunStateConflict, "the run changed in between"),
        CommitError::Duplicate { run, .. } => {
            Error::new(Code::RequestIdempotencyConflict, format!("the idempotency key belongs to run {run}"))
        }
    }
}

/// Another run holds the lock.
pub(super) fn locked(target: &Target, holder: RunId) -> Error {
    Error::new(Code::GuardTargetLocked, format!("run {holder} is writing to `{target}`"))
        .with_detail("holder", holder.to_string())
}

/// There is no such run, or it may not be seen by who asks.
pub(super) fn not_found(id: RunId) -> Error {
    Error::new(Code::RunNotFound, format!("there is no run `{id}`"))
}
