//! The shared watches of one namespace, and what they hold, indexed by owner.
//!
//! One set of watches serves every run and every read of its namespace. A watch that fails starts over
//! with a list, after a short delay; readers are told once it has been down for longer than
//! [`GRACE`], and never served what may be old. A connection that dies without a word is noticed within
//! 40 seconds, since the API server ends each watch request after [`REWATCH`] anyway.
//!
//! Whoever follows a workload is woken by what concerns that one only ([`Scope::follow`]): a thousand rollouts at
//! once in a namespace cost as much as their changes, not a thousand times that.

mod contents;
mod follow;
#[cfg(test)]
mod tests;
mod watches;

pub use follow::Followed;

use super::client::Requests;
use super::facts::Described;
use super::workload::{Family, PodView, Replicas, Revision, Warning, Workload};
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error, Result};
use contents::{Contents, Item};
use follow::Followers;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Event, Pod};
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use watches::keep;

/// How long a watch may be down before its readers are refused.
pub const GRACE: Duration = Duration::from_secs(3);
/// How long a first list may take.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// After this time the API server ends a watch request, and the next one begins.
pub const REWATCH: Duration = Duration::from_secs(30);
/// Those who doubt what is held within this time share one renewal.
const SHARED: Duration = Duration::from_secs(1);
/// How long a renewal may take before another one begins.
const RENEWING: Duration = Duration::from_secs(30);
/// How long the API server may fail to answer before whoever waits for a first list is told.
const FAILING: Duration = Duration::from_secs(1);
/// The most answers that are kept of a namespace.
const MAX_ANSWERS: usize = 1024;

/// The watches of one namespace. They end when the last handle is dropped.
pub struct Scope {
    shared: Arc<Shared>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

struct Shared {
    namespace: String,
    contents: RwLock<Contents>,
    health: Mutex<[Health; Slot::ALL.len()]>,
    /// When each list that is held was begun.
    listed: Mutex<[Option<Instant>; Slot::ALL.len()]>,
    /// When every watch was last told to start over.
    renewed: watch::Sender<Option<Instant>>,
    /// Rises with every change of the contents and of the watches' health.
    version: watch::Sender<u64>,
    followers: Followers,
    answers: Mutex<HashMap<(Kind, String), Answer>>,
}

/// Something derived from the contents, and the version that it was derived from.
struct Answer {
    version: u64,
    value: Arc<dyn Any + Send + Sync>,
}

/// One watch of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Deployments,
    StatefulSets,
    DaemonSets,
    ReplicaSets,
    Revisions,
    Pods,
    Warnings,
}

impl Slot {
    const ALL: [Self; 7] = [
        Self::Deployments,
        Self::StatefulSets,
        Self::DaemonSets,
        Self::ReplicaSets,
        Self::Revisions,
        Self::Pods,
        Self::Warnings,
    ];

    const fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Deployment => Some(Self::Deployments),
            Kind::StatefulSet => Some(Self::StatefulSets),
            Kind::DaemonSet => Some(Self::DaemonSets),
            Kind::Workload | Kind::Pod | Kind::Namespace => None,
        }
    }

    const fn resource(self) -> &'static str {
        match self {
            Self::Deployments => "deployments.apps",
            Self::StatefulSets => "statefulsets.apps",
            Self::DaemonSets => "daemonsets.apps",
            Self::ReplicaSets => "replicasets.apps",
            Self::Revisions => "controllerrevisions.apps",
            Self::Pods => "pods",
            Self::Warnings => "events",
        }
    }
}

#[derive(Debug, Clone)]
enum Health {
    /// The first list has not come yet; if it failed, since when and how it does.
    Starting { failing: Option<(Instant, Error)> },
    /// What is held is what the API server last said.
    Live,
    /// The watch is down.
    Broken { since: Instant, error: Error },
}

/// Whether the contents may be read.
enum Readable {
    Yes,
    /// Not yet; if the API server fails, since when and how.
    NotYet(Option<(Instant, Error)>),
    /// Asking again changes nothing.
    Never(Error),
}

impl Scope {
    /// Starts the watches of a namespace.
    pub(crate) fn start(requests: &Requests, namespace: &str) -> Self {
        let shared = Arc::new(Shared::new(namespace));
        let workload = |slot| (shared.clone(), slot);
        let tasks = vec![
            keep::<Deployment>(requests, workload(Slot::Deployments), |o| {
                Some(Item::Workload(Box::new(o.into())))
            }),
            keep::<StatefulSet>(requests, workload(Slot::StatefulSets), |o| {
                Some(Item::Workload(Box::new(o.into())))
            }),
            keep::<DaemonSet>(requests, workload(Slot::DaemonSets), |o| {
                Some(Item::Workload(Box::new(o.into())))
            }),
            keep::<ReplicaSet>(requests, workload(Slot::ReplicaSets), |o| {
                Replicas::of(o).map(Item::Replicas)
            }),
            keep::<ControllerRevision>(requests, workload(Slot::Revisions), |o| {
                Revision::of(o).map(Item::Revision)
            }),
            keep::<Pod>(requests, workload(Slot::Pods), |o| PodView::of(o).map(|p| Item::Pod(Box::new(p)))),
            keep::<Event>(requests, workload(Slot::Warnings), |o| Warning::of(o).map(Item::Warning)),
        ];
        Self { shared, _tasks: tasks }
    }

    /// Waits until what is held may be read, for at most `patience`; for less when the API server fails to answer.
    ///
    /// # Errors
    /// `kubernetes.forbidden` or `kubernetes.unauthorized` when that is why it cannot, else
    /// `kubernetes.unavailable`.
    pub async fn ready(&self, patience: Duration) -> Result<()> {
        if let Readable::Yes = self.shared.readable() {
            return Ok(());
        }
        let until = Instant::now() + patience;
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let failing = match self.shared.readable() {
                Readable::Yes => return Ok(()),
                Readable::Never(error) => return Err(error),
                Readable::NotYet(failing) => failing,
            };
            let until = failing.as_ref().map_or(until, |(since, _)| until.min(*since + FAILING));
            if timeout_at(until, changes.changed()).await.is_err() {
                return Err(failing.map_or_else(|| self.not_listed(patience), |(_, error)| error));
            }
        }
    }

    /// Makes every watch start over with a list, because one may have died without a word.
    pub fn renew(&self) -> Instant {
        let now = Instant::now();
        self.shared.renewed.send_if_modified(|last| {
            // One that is under way is not made to start over.
            let done = |last: Instant| self.shared.listed_since(last) || last + RENEWING < now;
            let due = last.is_none_or(|last| last + SHARED < now && done(last));
            if due {
                *last = Some(now);
            }
            due
        });
        self.shared.renewed.borrow().unwrap_or(now)
    }

    /// The same, and waits until everything that is held was listed since, for at most `patience`.
    ///
    /// # Errors
    /// As [`Scope::ready`].
    pub async fn renewed(&self, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        let mut changes = self.changes();
        let asked = self.renew();
        loop {
            changes.mark_unchanged();
            if self.shared.listed_since(asked) {
                return Ok(());
            }
            if timeout_at(until, changes.changed()).await.is_err() {
                return Err(match self.shared.readable() {
                    Readable::Never(error) | Readable::NotYet(Some((_, error))) => error,
                    Readable::Yes | Readable::NotYet(None) => self.not_listed(patience),
                });
            }
        }
    }

    fn not_listed(&self, patience: Duration) -> Error {
        let (namespace, seconds) = (&self.shared.namespace, patience.as_secs());
        let message = format!("the cluster has not listed namespace `{namespace}` within {seconds} s");
        Error::new(Code::KubernetesUnavailable, message)
    }

    /// Follows one workload: its changes, those of what belongs to it, and the watches' health.
    pub fn follow(&self, kind: Kind, name: &str) -> Followed {
        self.shared.followers.follow((kind, name.to_owned()))
    }

    /// Rises with every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// Why warnings are not among what is held, if our identity may not read them.
    pub fn without_warnings(&self) -> Option<Error> {
        match self.shared.health().get(Slot::Warnings as usize) {
            Some(Health::Starting { failing: Some((_, error)) } | Health::Broken { error, .. }) => {
                Some(error.clone())
            }
            _ => None,
        }
    }

    /// The kinds of workloads of this name.
    pub fn kinds(&self, name: &str) -> Vec<Kind> {
        let contents = self.shared.read();
        contents.workloads.get(name).into_iter().flatten().flatten().map(|one| one.workload.kind).collect()
    }

    /// The names of all workloads, sorted.
    pub fn names(&self) -> Vec<String> {
        self.shared.read().workloads.keys().cloned().collect()
    }

    /// The names of all pods that a controller owns, sorted.
    pub fn pod_names(&self) -> Vec<String> {
        self.shared.read().pod_names()
    }

    /// All workloads, by name.
    pub fn workloads(&self) -> Vec<Arc<Workload>> {
        self.shared.read().workloads.values().flatten().flatten().map(|one| one.workload.clone()).collect()
    }

    /// A workload with what is known of it, as the watch of its kind has it. None while that watch is not up, and if
    /// it has not brought such a workload: it may have been made a moment ago.
    pub fn described(&self, kind: Kind, name: &str) -> Option<Arc<Described>> {
        let slot = Slot::of(kind)?;
        let up = matches!(self.shared.health().get(slot as usize), Some(Health::Live));
        if up { self.shared.read().described(kind, name).cloned() } else { None }
    }

    /// A workload with everything that belongs to it.
    pub fn family(&self, kind: Kind, name: &str) -> Option<(Arc<Workload>, Family)> {
        let contents = self.shared.read();
        let workload = contents.workload(kind, name)?.clone();
        let family = contents.family(&workload);
        Some((workload, family))
    }

    /// What `derive` makes of a workload; derived again only after something in the namespace has changed.
    pub fn derived<T: Any + Send + Sync>(
        &self,
        kind: Kind,
        name: &str,
        derive: impl FnOnce(&Workload, &Family) -> T,
    ) -> Option<Arc<T>> {
        // The version is read first: a change in between makes the answer look older than it is, never newer.
        let version = *self.shared.version.borrow();
        let key = (kind, name.to_owned());
        let known = self.shared.answers().get(&key).filter(|a| a.version == version).map(|a| a.value.clone());
        if let Some(value) = known.and_then(|value| value.downcast::<T>().ok()) {
            return Some(value);
        }
        let (workload, family) = self.family(kind, name)?;
        let value = Arc::new(derive(&workload, &family));
        let mut answers = self.shared.answers();
        if answers.len() >= MAX_ANSWERS {
            answers.retain(|_, answer| answer.version == version);
            if answers.len() >= MAX_ANSWERS {
                answers.clear();
            }
        }
        answers.insert(key, Answer { version, value: value.clone() });
        Some(value)
    }
}

impl Shared {
    fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            contents: RwLock::default(),
            health: Mutex::new(Slot::ALL.map(|_| Health::Starting { failing: None })),
            listed: Mutex::new([None; Slot::ALL.len()]),
            renewed: watch::Sender::new(None),
            version: watch::Sender::new(0),
            followers: Followers::default(),
            answers: Mutex::default(),
        }
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Contents> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, [Health; Slot::ALL.len()]> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<(Kind, String), Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readable(&self) -> Readable {
        let mut all = Readable::Yes;
        for (slot, health) in Slot::ALL.into_iter().zip(self.health().iter()) {
            let failing = match health {
                Health::Live => continue,
                Health::Broken { since, .. } if since.elapsed() < GRACE => continue,
                Health::Broken { since, error } => Some((*since, error)),
                Health::Starting { failing } => failing.as_ref().map(|(since, error)| (*since, error)),
            };
            match failing {
                // Warnings explain; without the permission to read them the rest is still worth having.
                Some((_, error)) if slot == Slot::Warnings && error.code == Code::KubernetesForbidden => {}
                Some((_, error))
                    if matches!(error.code, Code::KubernetesForbidden | Code::KubernetesUnauthorized) =>
                {
                    return Readable::Never(error.clone());
                }
                Some((since, error)) => all = Readable::NotYet(Some((since, error.clone()))),
                None if matches!(all, Readable::Yes) => all = Readable::NotYet(None),
                None => {}
            }
        }
        all
    }

    fn set_health(&self, slot: Slot, change: impl FnOnce(&Health) -> Health) {
        if let Some(health) = self.health().get_mut(slot as usize) {
            *health = change(health);
        }
        self.tell_everybody();
    }

    fn broken(&self, slot: Slot, error: &Error) {
        let now = Instant::now();
        self.set_health(slot, |health| match health {
            Health::Starting { failing } => {
                let since = failing.as_ref().map_or(now, |(since, _)| *since);
                Health::Starting { failing: Some((since, error.clone())) }
            }
            Health::Live => Health::Broken { since: now, error: error.clone() },
            Health::Broken { since, .. } => Health::Broken { since: *since, error: error.clone() },
        });
    }

    /// Puts a list in the place of what is held.
    fn replace(&self, slot: Slot, begun: Instant, items: Vec<(String, Item)>) {
        self.write().replace(slot, items);
        if let Some(listed) = self.listed().get_mut(slot as usize) {
            *listed = Some(begun);
        }
        self.set_health(slot, |_| Health::Live);
    }

    /// Whether what is held was listed since then; warnings, which only explain, aside.
    fn listed_since(&self, asked: Instant) -> bool {
        let listed = *self.listed();
        let mut all = Slot::ALL.into_iter().zip(listed);
        all.all(|(slot, begun)| slot == Slot::Warnings || begun.is_some_and(|begun| begun >= asked))
    }

    fn listed(&self) -> MutexGuard<'_, [Option<Instant>; Slot::ALL.len()]> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, slot: Slot, name: &str, item: Option<Item>) {
        let concerned = self.write().apply(slot, name, item);
        self.version.send_modify(|version| *version += 1);
        for title in concerned.iter().flatten() {
            self.followers.tell(title);
        }
    }

    fn tell_everybody(&self) {
        self.version.send_modify(|version| *version += 1);
        self.followers.tell_everybody();
    }
}
