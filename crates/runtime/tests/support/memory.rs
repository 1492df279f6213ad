//! A store in memory that keeps the port's promises: each change whole or not at all, versions compared, locks
//! that only their run gives back, keys that expire, one chain of evidence, and holders that are dead when their
//! lease has ended. It survives the Engine that writes to it.

use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Head, Record};
use astradesk_core::run::{Holder, State};
use astradesk_core::{Result, Run, RunId, Timestamp};
use astradesk_runtime::port::{
    Change, CommitError, Committed, IdempotencyKey, LockChange, RunEvent, RunFilter, RunPage, Store,
};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A lease that ends later than this from now was written before the clock stepped back.
const LONGEST_LEASE: Duration = Duration::from_mins(1);

/// A run and request digest under an idempotency key, and until when it is remembered.
type Remembered = (RunId, Digest, Timestamp);

/// All that is durable.
#[derive(Debug, Default)]
pub(crate) struct Data {
    pub(crate) runs: BTreeMap<RunId, Run>,
    pub(crate) evidence: Vec<Record>,
    pub(crate) events: BTreeMap<RunId, Vec<RunEvent>>,
    pub(crate) locks: BTreeMap<String, RunId>,
    pub(crate) keys: BTreeMap<(String, String), Remembered>,
    /// When the lease of each holder ends.
    pub(crate) leases: BTreeMap<Holder, Timestamp>,
    /// Holders that are known to have died, without waiting for their lease.
    pub(crate) gone: BTreeSet<Holder>,
    events_so_far: u64,
}

impl Data {
    /// Keeps `change` whole, or refuses it and changes nothing.
    pub(crate) fn commit(&mut self, change: Change) -> Result<Committed, CommitError> {
        let key = change.idempotency.map(|key| self.check_key(key)).transpose()?;
        if let Some(run) = &change.run {
            self.check_version(run)?;
        }
        self.check_locks(&change.locks)?;

        self.keys.extend(key);
        self.runs.extend(change.run.map(|run| (run.id, run)));
        for lock in change.locks {
            match lock {
                LockChange::Acquire { target, run } => {
                    self.locks.insert(target.to_string(), run);
                }
                LockChange::Release { run } => self.locks.retain(|_, holder| *holder != run),
            }
        }
        for draft in &change.evidence {
            let record = self.head().append(draft);
            self.evidence.push(record);
        }
        for draft in change.events {
            self.events_so_far += 1;
            let event =
                RunEvent { seq: self.events_so_far, at: draft.at, kind: draft.kind, data: draft.data };
            self.events.entry(draft.run).or_default().push(event);
        }
        Ok(Committed { head: self.head() })
    }

    fn check_key(&self, key: IdempotencyKey) -> Result<((String, String), Remembered), CommitError> {
        let name = (key.principal, key.key);
        match self.keys.get(&name) {
            Some((run, request, expires_at)) if *expires_at > key.now => {
                Err(CommitError::Duplicate { run: *run, request: *request })
            }
            _ => Ok((name, (key.run, key.request, key.expires_at))),
        }
    }

    fn check_version(&self, run: &Run) -> Result<(), CommitError> {
        let stored = self.runs.get(&run.id).map_or(0, |stored| stored.version);
        if run.version == stored + 1 { Ok(()) } else { Err(CommitError::Stale) }
    }

    fn check_locks(&self, changes: &[LockChange]) -> Result<(), CommitError> {
        for change in changes {
            let LockChange::Acquire { target, run } = change else { continue };
            match self.locks.get(&target.to_string()) {
                Some(holder) if holder != run => {
                    return Err(CommitError::Locked { target: target.clone(), holder: *holder });
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn head(&self) -> Head {
        self.evidence.last().map_or(Head::EMPTY, |last| Head { seq: last.seq, hash: last.hash })
    }

    fn is_orphan(&self, run: &Run, who: &Holder, now: Timestamp) -> bool {
        let claimable = matches!(run.state, State::Queued | State::Running { .. });
        claimable && !run.holder.as_ref().is_some_and(|holder| holder == who || self.lives(holder, now))
    }

    fn lives(&self, holder: &Holder, now: Timestamp) -> bool {
        let latest = now.saturating_add(LONGEST_LEASE).unwrap();
        let covers = |until: &Timestamp| now < *until && *until <= latest;
        !self.gone.contains(holder) && self.leases.get(holder).is_some_and(covers)
    }
}

/// The store of one Engine.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    data: Arc<Mutex<Data>>,
    holder: Holder,
}

impl Memory {
    /// The store that `holder` opens on `data`.
    pub(crate) fn open(data: &Arc<Mutex<Data>>, holder: &str) -> Self {
        Self { data: data.clone(), holder: Holder::new(holder) }
    }

    pub(crate) fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap()
    }
}

#[async_trait]
impl Store for Memory {
    async fn commit(&self, change: Change) -> Result<Committed, CommitError> {
        self.data().commit(change)
    }

    async fn run(&self, id: RunId) -> Result<Option<Run>> {
        Ok(self.data().runs.get(&id).cloned())
    }

    async fn runs(&self, filter: &RunFilter) -> Result<RunPage> {
        let data = self.data();
        let wanted = data.runs.values().rev().filter(|run| {
            filter.principal.as_ref().is_none_or(|principal| run.principal.id() == *principal)
                && filter.state.as_ref().is_none_or(|state| run.state.name() == state)
                && filter.tool.as_ref().is_none_or(|tool| run.steps.iter().any(|s| s.call.tool == *tool))
                && filter.before.is_none_or(|before| run.id < before)
        });
        Ok(RunPage { runs: wanted.take(filter.limit as usize).cloned().collect(), next: None })
    }

    fn holder(&self) -> Holder {
        self.holder.clone()
    }

    async fn beat(&self, _: Timestamp, until: Timestamp) -> Result<()> {
        self.data().leases.insert(self.holder.clone(), until);
        Ok(())
    }

    async fn orphans(&self, now: Timestamp, limit: u32) -> Result<Vec<Run>> {
        let data = self.data();
        let orphans = data.runs.values().filter(|run| data.is_orphan(run, &self.holder, now));
        Ok(orphans.take(limit as usize).cloned().collect())
    }

    async fn cancelled(&self) -> Result<Vec<RunId>> {
        let data = self.data();
        let ours = data.runs.values().filter(|run| {
            !run.state.is_final() && run.cancel_requested && run.holder.as_ref() == Some(&self.holder)
        });
        Ok(ours.map(|run| run.id).collect())
    }

    async fn events(&self, run: RunId, after: u64, limit: u32) -> Result<Vec<RunEvent>> {
        let data = self.data();
        let events = data.events.get(&run).into_iter().flatten().filter(|event| event.seq > after);
        Ok(events.take(limit as usize).cloned().collect())
    }

    async fn idempotency(
        &self,
        principal: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<(RunId, Digest)>> {
        let data = self.data();
        let found = data.keys.get(&(principal.to_owned(), key.to_owned()));
        Ok(found.filter(|(.., expires_at)| *expires_at > now).map(|(run, request, _)| (*run, *request)))
    }

    async fn evidence(&self, after: u64, limit: u32) -> Result<Vec<Record>> {
        let data = self.data();
        Ok(data.evidence.iter().filter(|record| record.seq > after).take(limit as usize).cloned().collect())
    }

    async fn head(&self) -> Result<Head> {
        Ok(self.data().head())
    }

    async fn ready(&self) -> Result<()> {
        Ok(())
    }
}
