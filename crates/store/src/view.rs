//! The pure decision whether a change may be kept: against what the database holds, and what the changes
//! before it in the same group have made of that.

use crate::change::{EventRow, EvidenceRow, Prepared, RunRow};
use crate::spend::{Allowances, SpendRow};
use astradesk_core::RunId;
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::Head;
use astradesk_runtime::port::{Announcement, CommitError, Committed, IdempotencyKey, LockChange};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The state that changes are checked against. Only what a change of the group names is in it.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// The version of each run that is stored.
    pub(crate) versions: HashMap<String, i64>,
    /// The unfinished run that holds the lock of a target.
    pub(crate) locks: HashMap<String, RunId>,
    /// The idempotency keys, by principal and key.
    pub(crate) keys: HashMap<(String, String), Key>,
    /// What was taken from allowances.
    pub(crate) allowances: Allowances,
}

/// An idempotency key that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) run: RunId,
    pub(crate) request: Digest,
    pub(crate) expires_at: i64,
}

/// What is to be written for the changes that were kept.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// The last version of each run.
    pub(crate) runs: Vec<RunRow>,
    pub(crate) evidence: Vec<EvidenceRow>,
    pub(crate) events: Vec<EventRow>,
    /// The runs that gave their locks back.
    pub(crate) released: BTreeSet<String>,
    /// The targets whose lock was taken; who holds it in the end is in the view.
    pub(crate) acquired: HashSet<String>,
    /// The keys that were taken.
    pub(crate) keys: Vec<IdempotencyKey>,
    /// The latest time that a change with a key told: keys that expired before it can go.
    pub(crate) now: Option<i64>,
    pub(crate) spends: Vec<SpendRow>,
    pub(crate) announcements: Vec<Announcement>,
}

impl View {
    /// Keeps `change` whole, behind `head`, or refuses it and changes nothing.
    ///
    /// A repeated request is told of its first run before anything else: that run may well hold the lock.
    pub(crate) fn admit(
        &mut self,
        change: Prepared,
        head: &mut Head,
        writes: &mut Writes,
    ) -> Result<Committed, CommitError> {
        let key = change.key.as_ref().map(|key| self.check_key(key)).transpose()?;
        if let Some(run) = &change.run {
            self.check_version(run)?;
        }
        let locks = self.locks_after(&change.locks)?;
        self.allowances.check(&change.spends)?;

        if let (Some(draft), Some((name, key))) = (change.key, key) {
            writes.now = writes.now.max(Some(draft.now.as_microsecond()));
            // One row for each key, and below for each run: an `INSERT` must not meet the same one twice.
            if self.keys.insert(name, key).is_some() {
                writes
                    .keys
                    .retain(|earlier| (&earlier.principal, &earlier.key) != (&draft.principal, &draft.key));
            }
            writes.keys.push(draft);
        }
        if let Some(locks) = locks {
            self.locks = locks;
            writes.note_locks(&change.locks);
        }
        if let Some(run) = change.run {
            if self.versions.insert(run.id.clone(), run.version).is_some() {
                writes.runs.retain(|earlier| earlier.id != run.id);
                if run.finished {
                    self.free(&run.id, writes);
                }
            }
            writes.runs.push(run);
        }
        for draft in &change.evidence {
            let record = head.append(draft);
            *head = Head { seq: record.seq, hash: record.hash };
            writes.evidence.push(EvidenceRow::new(record, draft));
        }
        writes.events.extend(change.events);
        for spend in self.allowances.take(&change.spends) {
            writes.spends.retain(|earlier| !earlier.is_same(&spend));
            writes.spends.push(spend);
        }
        writes.announcements.extend(change.announcements);
        Ok(Committed { head: *head })
    }

    /// A run that has finished holds no lock, whatever its change says of them.
    fn free(&mut self, run: &str, writes: &mut Writes) {
        self.locks.retain(|_, holder| holder.to_string() != run);
        writes.released.insert(run.to_owned());
    }

    fn check_key(&self, draft: &IdempotencyKey) -> Result<((String, String), Key), CommitError> {
        let name = (draft.principal.clone(), draft.key.clone());
        match self.keys.get(&name) {
            Some(held) if held.expires_at > draft.now.as_microsecond() => {
                Err(CommitError::Duplicate { run: held.run, request: held.request })
            }
            Some(_) | None => {
                let expires_at = draft.expires_at.as_microsecond();
                Ok((name, Key { run: draft.run, request: draft.request, expires_at }))
            }
        }
    }

    /// A run that is not stored may come with any version: the Engine commits a read when it is done.
    fn check_version(&self, run: &RunRow) -> Result<(), CommitError> {
        match self.versions.get(&run.id) {
            Some(stored) if run.version != stored + 1 => Err(CommitError::Stale),
            Some(_) | None => Ok(()),
        }
    }

    /// The locks after `changes`, if there are any.
    fn locks_after(&self, changes: &[LockChange]) -> Result<Option<HashMap<String, RunId>>, CommitError> {
        if changes.is_empty() {
            return Ok(None);
        }
        let mut locks = self.locks.clone();
        for change in changes {
            match change {
                LockChange::Acquire { target, run } => match locks.get(&target.to_string()) {
                    Some(holder) if holder != run => {
                        return Err(CommitError::Locked { target: target.clone(), holder: *holder });
                    }
                    Some(_) | None => {
                        locks.insert(target.to_string(), *run);
                    }
                },
                LockChange::Release { run } => locks.retain(|_, holder| holder != run),
            }
        }
        Ok(Some(locks))
    }
}

impl Writes {
    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
            && self.evidence.is_empty()
            && self.events.is_empty()
            && self.released.is_empty()
            && self.acquired.is_empty()
            && self.keys.is_empty()
            && self.spends.is_empty()
            && self.announcements.is_empty()
    }

    fn note_locks(&mut self, changes: &[LockChange]) {
        for change in changes {
            match change {
                LockChange::Acquire { target, .. } => {
                    self.acquired.insert(target.to_string());
                }
                LockChange::Release { run } => {
                    self.released.insert(run.to_string());
                }
            }
        }
    }
}
