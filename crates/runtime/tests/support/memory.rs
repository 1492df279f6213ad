//! A store in memory that keeps the port's promises: each change whole or not at all, versions compared, locks
//! that only their run gives back, keys that expire, allowances that no two runs take the last of, one chain of
//! evidence, and holders that are dead when their lease has ended. It survives the Engine that writes to it.

use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Head, Record};
use astradesk_core::guardrail::Allowance;
use astradesk_core::run::{Holder, State};
use astradesk_core::{Code, Error, Result, Run, RunId, Timestamp};
use astradesk_runtime::port::{
    Announcement, Attempted, Change, CommitError, Committed, Cut, EvidenceFilter, IdempotencyKey, LockChange,
    RunEvent, RunFilter, RunPage, Spend, Store,
};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A lease that ends later than this from now was written before the clock stepped back.
const LONGEST_LEASE: Duration = Duration::from_mins(1);

/// How long an announcement that was given is left to whoever got it.
const LEASE: Duration = Duration::from_secs(30);

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
    /// When each step of a run took from an allowance.
    pub(crate) spends: BTreeMap<(String, RunId, usize), Timestamp>,
    pub(crate) outbox: BTreeMap<String, Announcement>,
    pub(crate) cut: Option<Cut>,
    pub(crate) checkpoints: BTreeMap<u64, String>,
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
        self.check_spends(&change.spends)?;

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
        for spend in change.spends {
            let since = spend.allowance.since(spend.at);
            let at = self.spends.entry((spend.allowance.key, spend.run, spend.step)).or_insert(spend.at);
            if *at <= since {
                *at = spend.at;
            }
        }
        for announcement in change.announcements {
            self.outbox.entry(announcement.id.clone()).or_insert(announcement);
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

    fn check_spends(&self, spends: &[Spend]) -> Result<(), CommitError> {
        for Spend { allowance, run, step, at } in spends {
            if let Some(oldest) = self.exhausted(allowance, (*run, *step), *at) {
                return Err(CommitError::Exhausted { allowance: allowance.clone(), oldest });
            }
        }
        Ok(())
    }

    fn exhausted(&self, allowance: &Allowance, except: (RunId, usize), now: Timestamp) -> Option<Timestamp> {
        let since = allowance.since(now);
        let counted = self.spends.iter().filter(|((key, run, step), at)| {
            *key == allowance.key && (*run, *step) != except && **at > since
        });
        let times: Vec<Timestamp> = counted.map(|(_, at)| *at).collect();
        let oldest = times.iter().min().copied();
        oldest.filter(|_| times.len() >= allowance.limit as usize)
    }

    pub(crate) fn head(&self) -> Head {
        let cut = self.cut.as_ref().map_or(Head::EMPTY, |cut| cut.head);
        self.evidence.last().map_or(cut, |last| Head { seq: last.seq, hash: last.hash })
    }

    fn wants(filter: &EvidenceFilter, record: &Record) -> bool {
        let body: serde_json::Value = serde_json::from_str(&record.body).unwrap();
        let at: Timestamp = serde_json::from_value(body["at"].clone()).unwrap();
        record.seq > filter.after
            && filter.up_to.is_none_or(|last| record.seq <= last)
            && filter.run.is_none_or(|run| body["run"] == run.to_string())
            && (filter.kinds.is_empty() || filter.kinds.iter().any(|kind| body["kind"] == **kind))
            && filter.since.is_none_or(|since| at >= since)
            && filter.until.is_none_or(|until| at < until)
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

    async fn exhausted(
        &self,
        allowance: &Allowance,
        except: (RunId, usize),
        now: Timestamp,
    ) -> Result<Option<Timestamp>> {
        Ok(self.data().exhausted(allowance, except, now))
    }

    async fn awaiting(&self, after: Option<RunId>, limit: u32) -> Result<Vec<Run>> {
        let data = self.data();
        let waiting = data.runs.values().filter(|run| run.state == State::AwaitingApproval);
        let waiting = waiting.filter(|run| after.is_none_or(|after| run.id > after));
        Ok(waiting.take(limit as usize).cloned().collect())
    }

    async fn announcements(&self, now: Timestamp, limit: u32) -> Result<Vec<Announcement>> {
        let mut data = self.data();
        let mut due: Vec<&mut Announcement> =
            data.outbox.values_mut().filter(|one| !one.dead && one.due_at <= now).collect();
        due.sort_by_key(|one| one.due_at);
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        due.sort_by_cached_key(|one| {
            let place = places.entry(one.to.clone()).or_default();
            *place += 1;
            *place
        });
        let given = due.into_iter().take(limit as usize).map(|one| {
            one.due_at = now.saturating_add(LEASE).unwrap();
            one.clone()
        });
        let mut given: Vec<Announcement> = given.collect();
        given.sort_by_key(|one| one.at);
        Ok(given)
    }

    async fn dead_announcements(&self, limit: u32) -> Result<Vec<Announcement>> {
        let data = self.data();
        let mut dead: Vec<Announcement> = data.outbox.values().filter(|one| one.dead).cloned().collect();
        dead.sort_by_key(|one| std::cmp::Reverse(one.at));
        dead.truncate(limit as usize);
        Ok(dead)
    }

    async fn attempted(&self, id: &str, attempted: Attempted) -> Result<()> {
        let mut data = self.data();
        if attempted == Attempted::Told {
            data.outbox.remove(id);
            return Ok(());
        }
        let Some(one) = data.outbox.get_mut(id).filter(|one| !one.dead) else { return Ok(()) };
        one.attempts += 1;
        match attempted {
            Attempted::Told => {}
            Attempted::Again { due_at, error } => (one.due_at, one.error) = (due_at, Some(error)),
            Attempted::Dead { error } => (one.dead, one.error) = (true, Some(error)),
        }
        Ok(())
    }

    async fn revive(&self, id: &str, now: Timestamp) -> Result<bool> {
        let mut data = self.data();
        let Some(one) = data.outbox.get_mut(id).filter(|one| one.dead) else { return Ok(false) };
        (one.dead, one.due_at, one.attempts) = (false, now, 0);
        Ok(true)
    }

    async fn evidence(&self, filter: &EvidenceFilter) -> Result<Vec<Record>> {
        let data = self.data();
        let wanted = data.evidence.iter().filter(|record| Data::wants(filter, record));
        Ok(wanted.take(filter.limit as usize).cloned().collect())
    }

    async fn cut(&self) -> Result<Option<Cut>> {
        Ok(self.data().cut.clone())
    }

    async fn prune_evidence(&self, cut: &Cut) -> Result<()> {
        let mut data = self.data();
        let found =
            data.evidence.iter().any(|record| (record.seq, record.hash) == (cut.head.seq, cut.head.hash));
        if !found && data.cut.as_ref() != Some(cut) {
            let message = format!("record {} is not in the chain with the hash of the cut", cut.head.seq);
            return Err(Error::new(Code::EvidenceBroken, message));
        }
        data.evidence.retain(|record| record.seq > cut.head.seq);
        data.checkpoints.retain(|seq, _| *seq >= cut.head.seq);
        data.cut = Some(cut.clone());
        Ok(())
    }

    async fn prune_runs(&self, ended_before: Timestamp, limit: u32) -> Result<u32> {
        let mut data = self.data();
        let ended = data.runs.values().filter(|run| run.state.is_final() && run.updated_at < ended_before);
        let is_keyed =
            |id: RunId| data.keys.values().any(|(run, _, until)| *run == id && *until > ended_before);
        let ended = ended.filter(|run| !is_keyed(run.id));
        let ended: BTreeSet<RunId> = ended.map(|run| run.id).take(limit as usize).collect();
        data.runs.retain(|id, _| !ended.contains(id));
        data.events.retain(|id, _| !ended.contains(id));
        data.keys.retain(|_, (id, ..)| !ended.contains(id));
        Ok(ended.len() as u32)
    }

    async fn keep_checkpoint(&self, seq: u64, _: Timestamp, checkpoint: &str) -> Result<()> {
        self.data().checkpoints.insert(seq, checkpoint.to_owned());
        Ok(())
    }

    async fn checkpoints(&self, after: u64, limit: u32) -> Result<Vec<String>> {
        let data = self.data();
        let kept = data.checkpoints.iter().filter(|(seq, _)| **seq > after);
        Ok(kept.take(limit as usize).map(|(_, checkpoint)| checkpoint.clone()).collect())
    }

    async fn head(&self) -> Result<Head> {
        Ok(self.data().head())
    }

    async fn ready(&self) -> Result<()> {
        Ok(())
    }
}
