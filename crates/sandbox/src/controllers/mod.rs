//! What makes the cluster live: one task that follows the store's changes, reconciles what they touch, and
//! sleeps until the next change or the next timer. Idle, it costs nothing.
//!
//! Every controller reads the present state and writes what should come next; what is remembered between
//! two passes (stages of life, orphans, nodes that are down) can be found out anew. Order is by arrival, and the only randomness is seeded.

mod adoption;
mod autoscaler;
mod collector;
mod daemon_set;
mod deployment;
mod disruption;
mod events;
mod nodes;
mod pods;
mod replica_set;
mod revisions;
mod rollout;
mod scheduler;
mod stateful_set;
mod timers;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::json::{Value, json};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::object::{controller, is_deleting, list, namespace, set, strings, text, uid};
use crate::resource::{DAEMON_SETS, NAMESPACES, NODES, PODS, Resource};
use crate::storage::{Change, Key, Object, Storage};

/// The task's state.
pub(crate) struct Controllers {
    storage: Arc<Storage>,
    /// Stretches every delay that stands for work.
    pace: f64,
    random: Random,
    queue: VecDeque<Key>,
    queued: BTreeSet<Key>,
    timers: timers::Timers,
    lives: HashMap<Arc<str>, pods::Life>,
    unscheduled: BTreeSet<Key>,
    /// What could be managed and is not.
    orphans: BTreeSet<Key>,
    usage: scheduler::Usage,
    outages: HashMap<Arc<str>, nodes::Outage>,
    recorder: events::Recorder,
}

impl Controllers {
    pub(crate) fn new(storage: Arc<Storage>, seed: u64, pace: f64) -> Controllers {
        Controllers {
            storage,
            pace,
            random: Random::new(seed),
            queue: VecDeque::new(),
            queued: BTreeSet::new(),
            timers: timers::Timers::default(),
            lives: HashMap::new(),
            unscheduled: BTreeSet::new(),
            orphans: BTreeSet::new(),
            usage: scheduler::Usage::default(),
            outages: HashMap::new(),
            recorder: events::Recorder::default(),
        }
    }

    /// Follows the store until it is told to stop. The first pass takes everything that is there already.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut latest = self.storage.subscribe();
        let mut cursor = self.storage.version();
        self.enqueue_everything();
        loop {
            latest.borrow_and_update();
            cursor = self.catch_up(cursor);
            while let Some(key) = self.next_key() {
                self.reconcile(&key);
                cursor = self.catch_up(cursor);
            }
            let now = Instant::now();
            if let Some(due) = self.timers.pop_due(now) {
                self.fire(due);
                continue;
            }
            let wake_at = self.timers.next_at();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = latest.changed() => if changed.is_err() { return },
                () = sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => {}
            }
        }
    }

    fn enqueue_everything(&mut self) {
        self.usage = scheduler::Usage::default();
        self.orphans.clear();
        self.lives.retain(|uid, _| self.storage.is_present(uid));
        for (key, object) in self.storage.all() {
            self.usage.note(&key, Some(&object));
            self.enqueue(key.clone());
            // Its owner may have gone unseen.
            collector::collect_stray(&self.storage, &key, &object);
            self.match_owners(&Change { version: 0, key, before: None, after: Some(object) });
        }
    }

    fn enqueue(&mut self, key: Key) {
        if self.queued.insert(key.clone()) {
            self.queue.push_back(key);
        }
    }

    fn next_key(&mut self) -> Option<Key> {
        let key = self.queue.pop_front()?;
        self.queued.remove(&key);
        Some(key)
    }

    /// Takes in what happened since, and gives the new cursor.
    fn catch_up(&mut self, cursor: u64) -> u64 {
        let Ok(changes) = self.storage.changes_since(cursor) else {
            // Fell behind the history: everything may have changed.
            let version = self.storage.version();
            self.enqueue_everything();
            return version;
        };
        for change in &changes {
            self.note(change);
        }
        changes.last().map_or(cursor, |change| change.version)
    }

    /// Puts on the queue what a change concerns: the object, what manages it, and what waits for it.
    fn note(&mut self, change: &Change) {
        let resource = change.key.resource;
        self.usage.note(&change.key, change.after.as_deref());
        self.enqueue(change.key.clone());
        self.enqueue_budgets(&change.key);
        self.enqueue_autoscalers(&change.key);
        for side in [&change.before, &change.after].into_iter().flatten() {
            self.enqueue_owners(side);
        }
        self.match_owners(change);
        if let (None, Some(made)) = (&change.before, &change.after) {
            collector::collect_stray(&self.storage, &change.key, made);
        }
        if change.after.is_none() {
            if let Some(gone) = &change.before {
                collector::collect_dependents(&self.storage, uid(gone));
                // Whoever waits for the last of what it owns is told, whether it manages it or not.
                for owner in list(gone, "/metadata/ownerReferences") {
                    if let Some(resource) = Resource::of(owner) {
                        let place = if resource.namespaced { namespace(gone) } else { "" };
                        self.enqueue(Key::new(resource, place, text(owner, "/name")));
                    }
                }
                self.forget_pod(uid(gone));
            }
            self.enqueue(Key::new(&NAMESPACES, "", &change.key.namespace));
        }
        if *resource == NODES || (*resource == PODS && change.after.is_none()) {
            for key in std::mem::take(&mut self.unscheduled) {
                self.retry_scheduling(&key);
            }
        }
        if *resource == NODES {
            for daemon_set in self.storage.list(&DAEMON_SETS, "") {
                self.enqueue(Key::of(&DAEMON_SETS, &daemon_set));
            }
        }
    }

    fn enqueue_owners(&mut self, object: &Object) {
        let mut object = object.clone();
        // A pod concerns its ReplicaSet and that one's Deployment: two steps are all there are.
        for _ in 0..2 {
            let Some(key) = controller(&object).and_then(|owner| {
                let resource = Resource::of(owner)?;
                Some(Key::new(resource, namespace(&object), text(owner, "/name")))
            }) else {
                return;
            };
            self.enqueue(key.clone());
            match self.storage.get(&key) {
                Some(owner) => object = owner,
                None => return,
            }
        }
    }

    fn reconcile(&mut self, key: &Key) {
        let Some(object) = self.storage.get(key) else { return };
        tracing::trace!(
            kind = key.resource.kind,
            namespace = &*key.namespace,
            name = &*key.name,
            "reconcile"
        );
        if collector::tend(&self.storage, key, &object) {
            return;
        }
        match key.resource.kind {
            "Pod" => self.sync_pod(key, &object),
            "ReplicaSet" => self.sync_replica_set(key, &object),
            "Deployment" => self.sync_deployment(key, &object),
            "StatefulSet" => self.sync_stateful_set(key, &object),
            "DaemonSet" => self.sync_daemon_set(key, &object),
            "PodDisruptionBudget" => self.sync_disruption_budget(key, &object),
            "HorizontalPodAutoscaler" => self.sync_autoscaler(key, &object),
            "ResourceQuota" => self.sync_resource_quota(key, &object),
            "Node" => self.sync_node(key, &object),
            _ => {}
        }
    }

    fn fire(&mut self, due: timers::Due) {
        match due {
            timers::Due::Reconcile(key) => self.enqueue(key),
            timers::Due::Pod { key, uid, step } => self.step_pod(&key, &uid, step),
        }
    }

    /// Looks at an object again after some real seconds, with a little to spare for whole-second times.
    fn look_again(&mut self, key: &Key, seconds: f64) {
        let at = Instant::now() + Duration::from_secs_f64(seconds.clamp(0.01, 86_400.0));
        self.timers.push(at, timers::Due::Reconcile(key.clone()));
    }

    fn sync_resource_quota(&self, key: &Key, quota: &Value) {
        let used = crate::quota::used(&self.storage, quota);
        self.storage.update(key, |quota| {
            let hard = quota.pointer("/spec/hard").cloned().unwrap_or_default();
            set(quota, &["status"], json!({ "hard": hard, "used": used }));
        });
    }

    /// A delay between two numbers of seconds, at this sandbox's pace.
    fn delay(&mut self, from: f64, to: f64) -> Duration {
        Duration::from_secs_f64(((from + (to - from) * self.random.unit()) * self.pace).clamp(0.0, 86_400.0))
    }

    /// What an object manages, of one kind, by name.
    fn owned(&self, resource: &'static Resource, owner: &Value) -> Vec<Object> {
        let managed =
            |object: &Value| controller(object).is_some_and(|manager| text(manager, "/uid") == uid(owner));
        let dependents = self.storage.dependents(uid(owner)).into_iter();
        let dependents = dependents.filter(|(key, object)| key.resource == resource && managed(object));
        dependents.map(|(_, object)| object).collect()
    }

    /// Creates what is managed, or adopts what is there under its name: it was left behind by a manager that went
    /// alone, and nobody manages it. Also says whether it was created.
    fn create_or_adopt(&self, resource: &'static Resource, object: &Value) -> Option<(Object, bool)> {
        let present = match self.storage.create(resource, object.clone()) {
            Ok(made) => return Some((made, true)),
            Err(present) => present,
        };
        let carried = strings(&present, "/metadata/labels");
        let labels = strings(object, "/metadata/labels");
        let fits = labels.iter().all(|(key, value)| carried.get(key) == Some(value));
        // Asked after the orphan was seen: a manager that lets it go is marked as going before.
        let stays = self.manager(object).is_some_and(|manager| !is_deleting(&manager));
        if !fits || !stays || controller(&present).is_some() || is_deleting(&present) {
            return None;
        }
        let owners = object.pointer("/metadata/ownerReferences").cloned().unwrap_or_default();
        let adopt = |present: &mut Value| set(present, &["metadata", "ownerReferences"], owners);
        self.storage.update(&Key::of(resource, &present), adopt).map(|adopted| (adopted, false))
    }

    fn event(&mut self, regarding: &Value, kind: &str, reason: &str, message: &str, component: &str) {
        self.recorder.record(&self.storage, &mut self.random, regarding, kind, reason, message, component);
    }

    /// A fresh suffix for a name, as the API server makes them.
    fn suffix(&mut self) -> String {
        crate::object::encode(self.random.next(), 5)
    }
}

/// Numbers that look random and are the same for the same seed (`SplitMix64`).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From zero up to one.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
