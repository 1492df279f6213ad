//! Requests that are repeated find the run of the first one.

use super::refuse::not_found;
use super::{Engine, Submission, Submitted};
use crate::port::IdempotencyKey;
use astradesk_core::canonical::Digest;
use astradesk_core::{Code, Error, Result, RunId};
use serde_json::json;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What must be the same for a request to be a repetition.
fn request_digest(submission: &Submission) -> Digest {
    let request = json!(submission.request);
    if submission.reason.is_none() && !submission.break_glass {
        return Digest::of_value(&request);
    }
    let Submission { reason, break_glass, .. } = submission;
    Digest::of_value(&json!({"request": request, "reason": reason, "break_glass": break_glass}))
}

impl Engine {
    pub(super) fn idempotency_key(&self, submission: &Submission) -> Result<Option<IdempotencyKey>> {
        let Some(key) = &submission.idempotency_key else { return Ok(None) };
        if submission.dry_run {
            return Ok(None);
        }
        if !(1..=255).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::new(
                Code::RequestMalformed,
                "the idempotency key is not 1 to 255 visible ASCII characters",
            ));
        }
        let now = self.0.clock.now();
        Ok(Some(IdempotencyKey {
            principal: submission.principal.id(),
            key: key.clone(),
            request: request_digest(submission),
            run: self.0.clock.run_id(),
            now,
            expires_at: now.saturating_add(self.0.limits.idempotency_ttl).unwrap_or(now),
        }))
    }

    /// The run of the first request with this key, if there was one.
    pub(super) async fn first_request(&self, key: &IdempotencyKey) -> Result<Option<Submitted>> {
        match self.0.store.idempotency(&key.principal, &key.key, key.now).await? {
            Some((run, request)) => self.replay(key, run, request).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn replay(
        &self,
        key: &IdempotencyKey,
        run: RunId,
        request: Digest,
    ) -> Result<Submitted> {
        if request != key.request {
            return Err(Error::new(
                Code::RequestIdempotencyConflict,
                format!("the idempotency key `{}` was used for another request", key.key),
            )
            .with_detail("run", run.to_string()));
        }
        let run = self.0.store.run(run).await?.ok_or_else(|| not_found(run))?;
        Ok(Submitted::Run { run: Box::new(run), replayed: true })
    }
}

/// The idempotency keys of requests that are being admitted.
#[derive(Debug, Default)]
pub(super) struct Keys {
    busy: Mutex<HashSet<(String, String)>>,
    left: Notify,
}

/// A key that is taken for as long as its request is being admitted.
pub(super) struct Admitting {
    keys: Arc<Keys>,
    key: (String, String),
}

impl Keys {
    /// Waits until no other request with this principal and key is being admitted.
    pub(super) async fn enter(self: &Arc<Self>, key: (String, String)) -> Admitting {
        loop {
            let left = self.left.notified();
            if self.busy().insert(key.clone()) {
                return Admitting { keys: self.clone(), key };
            }
            left.await;
        }
    }

    fn busy(&self) -> MutexGuard<'_, HashSet<(String, String)>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitting {
    fn drop(&mut self) {
        self.keys.busy().remove(&self.key);
        self.keys.left.notify_waiters();
    }
}
