//! The shared watches of one namespace, and what they hold, indexed by owner.
//!
//! One set of watches serves every run and every read of its namespace. A watch that fails starts over
//! with a list, after a short delay; readers are told once it has been down for longer than
//! [`GRACE`], and never served what may be old. A connection that dies without a word is noticed within
//! [`SILENCE`], since the API server ends each watch request after [`REWATCH`] anyway.

use super::errors::{Failure, Operation};
use super::workload::{Family, PodView, Replicas, Warning, Workload};
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error, Result};
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::AbortOnDropHandle;

/// How long a watch may be down before its readers are refused.
pub const GRACE: Duration = Duration::from_secs(3);
/// How long a first list may take.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// After this time the API server ends a watch request, and the next one begins.
pub const REWATCH: Duration = Duration::from_secs(30);
/// A connection on which nothing comes for so long is dead.
pub const SILENCE: Duration = Duration::from_secs(40);
/// The first and the longest delay before a watch starts over.
const DELAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The most warnings that are kept of a namespace; the oldest go first.
const MAX_WARNINGS: usize = 5000;
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
    /// Rises with every change of the contents and of the watches' health.
    version: watch::Sender<u64>,
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
    Pods,
    Warnings,
}

impl Slot {
    const ALL: [Self; 6] = [
        Self::Deployments,
        Self::StatefulSets,
        Self::DaemonSets,
        Self::ReplicaSets,
        Self::Pods,
        Self::Warnings,
    ];

    const fn resource(self) -> &'static str {
        match self {
            Self::Deployments => "deployments.apps",
            Self::StatefulSets => "statefulsets.apps",
            Self::DaemonSets => "daemonsets.apps",
            Self::ReplicaSets => "replicasets.apps",
            Self::Pods => "pods",
            Self::Warnings => "events",
        }
    }
}

#[derive(Debug, Clone)]
enum Health {
    /// The first list has not come yet.
    Starting { last: Option<Error> },
    /// What is held is what the API server last said.
    Live,
    /// The watch is down.
    Broken { since: Instant, error: Error },
}

/// Whether the contents may be read.
enum Readable {
    Yes,
    /// Not yet; the last error, if there was one.
    NotYet(Option<Error>),
    /// Asking again changes nothing.
    Never(Error),
}

impl Scope {
    /// Starts the watches of a namespace.
    pub(crate) fn start(client: &Client, namespace: &str) -> Self {
        let starting = || Health::Starting { last: None };
        let shared = Arc::new(Shared {
            namespace: namespace.to_owned(),
            contents: RwLock::default(),
            health: Mutex::new([starting(), starting(), starting(), starting(), starting(), starting()]),
            version: watch::Sender::new(0),
            answers: Mutex::default(),
        });
        let workload = |slot| (shared.clone(), slot);
        let tasks = vec![
            keep::<Deployment>(client, workload(Slot::Deployments), |o| {
                Some(Item::Workload(Box::new(o.into())))
            }),
            keep::<StatefulSet>(client, workload(Slot::StatefulSets), |o| {
                Some(Item::Workload(Box::new(o.into())))
            }),
            keep::<DaemonSet>(client, workload(Slot::DaemonSets), |o| {
                Some(Item::Workload(Box::new(o.into())))
            }),
            keep::<ReplicaSet>(client, workload(Slot::ReplicaSets), |o| Replicas::of(o).map(Item::Replicas)),
            keep::<Pod>(client, workload(Slot::Pods), |o| PodView::of(o).map(|p| Item::Pod(Box::new(p)))),
            keep::<Event>(client, workload(Slot::Warnings), |o| Warning::of(o).map(Item::Warning)),
        ];
        Self { shared, _tasks: tasks }
    }

    /// Waits until what is held may be read, for at most `patience`.
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
            let last = match self.shared.readable() {
                Readable::Yes => return Ok(()),
                Readable::Never(error) => return Err(error),
                Readable::NotYet(last) => last,
            };
            if timeout_at(until, changes.changed()).await.is_err() {
                return Err(last.unwrap_or_else(|| {
                    Error::new(
                        Code::KubernetesUnavailable,
                        format!(
                            "the cluster has not listed namespace `{}` within {} s",
                            self.shared.namespace,
                            patience.as_secs()
                        ),
                    )
                }));
            }
        }
    }

    /// Rises with every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// Why warnings are not among what is held, if our identity may not read them.
    pub fn without_warnings(&self) -> Option<Error> {
        match self.shared.health().get(Slot::Warnings as usize) {
            Some(Health::Starting { last: Some(error) } | Health::Broken { error, .. }) => {
                Some(error.clone())
            }
            _ => None,
        }
    }

    /// The kinds of workloads of this name.
    pub fn kinds(&self, name: &str) -> Vec<Kind> {
        let contents = self.shared.read();
        contents.workloads.get(name).into_iter().flatten().flatten().map(|workload| workload.kind).collect()
    }

    /// The names of all workloads, sorted.
    pub fn names(&self) -> Vec<String> {
        self.shared.read().workloads.keys().cloned().collect()
    }

    /// All workloads, by name.
    pub fn workloads(&self) -> Vec<Arc<Workload>> {
        self.shared.read().workloads.values().flatten().flatten().cloned().collect()
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
            let error = match health {
                Health::Live => continue,
                Health::Broken { since, .. } if since.elapsed() < GRACE => continue,
                Health::Broken { error, .. } => Some(error),
                Health::Starting { last } => last.as_ref(),
            };
            match error {
                // Warnings explain; without the permission to read them the rest is still worth having.
                Some(error) if slot == Slot::Warnings && error.code == Code::KubernetesForbidden => {}
                Some(error)
                    if matches!(error.code, Code::KubernetesForbidden | Code::KubernetesUnauthorized) =>
                {
                    return Readable::Never(error.clone());
                }
                error => all = Readable::NotYet(error.cloned()),
            }
        }
        all
    }

    fn set_health(&self, slot: Slot, change: impl FnOnce(&Health) -> Health) {
        if let Some(health) = self.health().get_mut(slot as usize) {
            *health = change(health);
        }
        self.version.send_modify(|version| *version += 1);
    }

    fn broken(&self, slot: Slot, error: &Error) {
        self.set_health(slot, |health| match health {
            Health::Starting { .. } => Health::Starting { last: Some(error.clone()) },
            Health::Live => Health::Broken { since: Instant::now(), error: error.clone() },
            Health::Broken { since, .. } => Health::Broken { since: *since, error: error.clone() },
        });
    }

    fn change(&self, edit: impl FnOnce(&mut Contents)) {
        edit(&mut self.contents.write().unwrap_or_else(PoisonError::into_inner));
        self.version.send_modify(|version| *version += 1);
    }
}

/// Keeps one watch going, for as long as its handle lives.
fn keep<K>(client: &Client, of: (Arc<Shared>, Slot), view: fn(&K) -> Option<Item>) -> AbortOnDropHandle<()>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + serde::de::DeserializeOwned
        + Clone
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let (shared, slot) = of;
    let api: Api<K> = Api::namespaced(client.clone(), &shared.namespace);
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut delay = DELAY.0;
        loop {
            let was_live = follow(&api, &shared, slot, view).await;
            delay = if was_live { DELAY.0 } else { (delay * 2).min(DELAY.1) };
            sleep(delay).await;
        }
    }))
}

/// Follows one watch until it fails. Returns whether it was live.
async fn follow<K>(api: &Api<K>, shared: &Shared, slot: Slot, view: fn(&K) -> Option<Item>) -> bool
where
    K: kube::Resource<DynamicType = ()>
        + serde::de::DeserializeOwned
        + Clone
        + std::fmt::Debug
        + Send
        + 'static,
{
    let mut config = watcher::Config::default().timeout(REWATCH.as_secs() as u32);
    if slot == Slot::Warnings {
        config = config.fields("type=Warning");
    }
    let mut events = std::pin::pin!(watcher(api.clone(), config));
    let mut listed: Vec<(String, Item)> = Vec::new();
    let mut was_live = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                listed.extend(view(&object).map(|item| (object.name_any(), item)));
            }
            Ok(watcher::Event::InitDone) => {
                let listed = std::mem::take(&mut listed);
                shared.change(|contents| contents.replace(slot, listed));
                shared.set_health(slot, |_| Health::Live);
                was_live = true;
            }
            Ok(watcher::Event::Apply(object)) => {
                let item = view(&object);
                shared.change(|contents| contents.apply(slot, &object.name_any(), item));
            }
            Ok(watcher::Event::Delete(object)) => {
                shared.change(|contents| contents.apply(slot, &object.name_any(), None));
            }
            Err(error) => {
                let operation = Operation::new(verb(&error), slot.resource(), &shared.namespace, "");
                let error = failure(error).into_error(&operation);
                tracing::debug!(namespace = %shared.namespace, %error, "a watch starts over");
                shared.broken(slot, &error);
                break;
            }
        }
    }
    was_live
}

const fn verb(error: &watcher::Error) -> &'static str {
    match error {
        watcher::Error::InitialListFailed(_) => "list",
        _ => "watch",
    }
}

fn failure(error: watcher::Error) -> Failure {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Failure::Api(error),
        watcher::Error::WatchError(status) => Failure::Api(kube::Error::Api(status)),
        watcher::Error::NoResourceVersion => Failure::TimedOut,
    }
}

/// What a watch brings.
enum Item {
    Workload(Box<Workload>),
    Replicas(Replicas),
    Pod(Box<PodView>),
    Warning(Warning),
}

/// Things by name, and by what they belong to.
struct Index<T> {
    by_name: HashMap<String, (String, Arc<T>)>,
    by_group: HashMap<String, BTreeMap<String, Arc<T>>>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { by_name: HashMap::new(), by_group: HashMap::new() }
    }
}

impl<T> Index<T> {
    fn insert(&mut self, name: &str, group: String, item: T) {
        self.remove(name);
        let item = Arc::new(item);
        self.by_group.entry(group.clone()).or_default().insert(name.to_owned(), item.clone());
        self.by_name.insert(name.to_owned(), (group, item));
    }

    fn remove(&mut self, name: &str) -> Option<(String, Arc<T>)> {
        let (group, item) = self.by_name.remove(name)?;
        if let Some(members) = self.by_group.get_mut(&group) {
            members.remove(name);
            if members.is_empty() {
                self.by_group.remove(&group);
            }
        }
        Some((group, item))
    }

    fn group<'a>(&'a self, group: &str) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        self.by_group.get(group).into_iter().flat_map(BTreeMap::values)
    }

    fn has_group(&self, group: &str) -> bool {
        self.by_group.contains_key(group)
    }
}

/// What the watches of a namespace hold.
#[derive(Default)]
struct Contents {
    /// By name; one place for each kind.
    workloads: BTreeMap<String, [Option<Arc<Workload>>; 3]>,
    replica_sets: Index<Replicas>,
    pods: Index<PodView>,
    warnings: Index<Warning>,
    /// `ReplicaSets` that are gone while pods of theirs still stop, by the Deployment's id: with
    /// `revisionHistoryLimit: 0` a ReplicaSet goes before its last pod does.
    gone: HashMap<String, BTreeSet<String>>,
}

impl Contents {
    fn workload(&self, kind: Kind, name: &str) -> Option<&Arc<Workload>> {
        self.workloads.get(name)?.iter().flatten().find(|workload| workload.kind == kind)
    }

    fn family(&self, workload: &Workload) -> Family {
        let mut family = Family::default();
        if workload.kind == Kind::Deployment {
            family.replica_sets = self.replica_sets.group(&workload.uid).cloned().collect();
            let owners = family.replica_sets.iter().map(|replicas| &replicas.uid);
            let gone = self.gone.get(&workload.uid).into_iter().flatten();
            family.pods = owners.chain(gone).flat_map(|uid| self.pods.group(uid)).cloned().collect();
        } else {
            family.pods = self.pods.group(&workload.uid).cloned().collect();
        }
        let about = std::iter::once(&workload.uid)
            .chain(family.replica_sets.iter().map(|replicas| &replicas.uid))
            .chain(family.pods.iter().map(|pod| &pod.uid));
        family.warnings = about.flat_map(|uid| self.warnings.group(uid)).cloned().collect();
        family.warnings.sort_by_key(|warning| std::cmp::Reverse(warning.last_seen));
        family
    }

    /// Puts a whole list in the place of what is held.
    fn replace(&mut self, slot: Slot, items: Vec<(String, Item)>) {
        let kept: BTreeSet<String> = items.iter().map(|(name, _)| name.clone()).collect();
        for name in self.names(slot) {
            if !kept.contains(&name) {
                self.apply(slot, &name, None);
            }
        }
        for (name, item) in items {
            self.apply(slot, &name, Some(item));
        }
    }

    fn names(&self, slot: Slot) -> Vec<String> {
        match slot {
            Slot::Deployments | Slot::StatefulSets | Slot::DaemonSets => {
                let held = |slots: &[Option<Arc<Workload>>; 3]| {
                    slots.get(slot as usize).is_some_and(Option::is_some)
                };
                self.workloads.iter().filter(|(_, slots)| held(slots)).map(|(name, _)| name.clone()).collect()
            }
            Slot::ReplicaSets => self.replica_sets.by_name.keys().cloned().collect(),
            Slot::Pods => self.pods.by_name.keys().cloned().collect(),
            Slot::Warnings => self.warnings.by_name.keys().cloned().collect(),
        }
    }

    /// Puts one object in its place, or takes it out.
    fn apply(&mut self, slot: Slot, name: &str, item: Option<Item>) {
        match item {
            Some(Item::Workload(workload)) => {
                let slots = self.workloads.entry(name.to_owned()).or_default();
                if let Some(place) = slots.get_mut(slot as usize) {
                    *place = Some(Arc::new(*workload));
                }
            }
            Some(Item::Replicas(replicas)) => {
                self.replica_sets.insert(name, replicas.owner.clone(), replicas);
            }
            Some(Item::Pod(pod)) => self.pods.insert(name, pod.owner.clone(), *pod),
            Some(Item::Warning(warning)) => {
                self.warnings.insert(name, warning.object.clone(), warning);
                self.drop_oldest_warning();
            }
            None => self.remove(slot, name),
        }
    }

    fn remove(&mut self, slot: Slot, name: &str) {
        match slot {
            Slot::Deployments | Slot::StatefulSets | Slot::DaemonSets => {
                if let Some(slots) = self.workloads.get_mut(name) {
                    if let Some(place) = slots.get_mut(slot as usize) {
                        *place = None;
                    }
                    if slots.iter().all(Option::is_none) {
                        self.workloads.remove(name);
                    }
                }
            }
            Slot::ReplicaSets => {
                if let Some((owner, replicas)) = self.replica_sets.remove(name)
                    && self.pods.has_group(&replicas.uid)
                {
                    self.gone.entry(owner).or_default().insert(replicas.uid.clone());
                }
            }
            Slot::Pods => {
                if let Some((owner, _)) = self.pods.remove(name)
                    && !self.pods.has_group(&owner)
                {
                    self.gone.retain(|_, gone| {
                        gone.remove(&owner);
                        !gone.is_empty()
                    });
                }
            }
            Slot::Warnings => {
                self.warnings.remove(name);
            }
        }
    }

    fn drop_oldest_warning(&mut self) {
        if self.warnings.by_name.len() <= MAX_WARNINGS {
            return;
        }
        let oldest = self.warnings.by_name.iter().min_by_key(|(_, (_, warning))| warning.last_seen);
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.warnings.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rollout::tests::{Shape, pod, workload};
    use super::*;
    use astradesk_core::canonical::Digest;

    fn replicas(uid: &str) -> Item {
        Item::Replicas(Replicas { uid: uid.into(), owner: "uid".into(), template: Digest::of(uid) })
    }

    #[test]
    fn pods_are_found_through_their_owners_even_when_those_are_gone() {
        let mut contents = Contents::default();
        let web = workload(&Shape::default());
        contents.apply(Slot::Deployments, "webapp", Some(Item::Workload(Box::new(web.clone()))));
        contents.apply(Slot::ReplicaSets, "webapp-old", Some(replicas("old-rs")));
        contents.apply(Slot::ReplicaSets, "webapp-new", Some(replicas("new-rs")));
        contents.apply(Slot::Pods, "p-old", Some(Item::Pod(Box::new(pod("p-old", "old-rs", true)))));
        contents.apply(Slot::Pods, "p-new", Some(Item::Pod(Box::new(pod("p-new", "new-rs", true)))));
        contents.apply(Slot::Pods, "other", Some(Item::Pod(Box::new(pod("other", "x", true)))));
        let names = |contents: &Contents| -> Vec<String> {
            contents.family(&web).pods.iter().map(|pod| pod.name.clone()).collect()
        };
        assert_eq!(names(&contents), ["p-new", "p-old"]);

        contents.apply(Slot::ReplicaSets, "webapp-old", None);
        assert_eq!(names(&contents), ["p-new", "p-old"], "its ReplicaSet went first");
        contents.apply(Slot::Pods, "p-old", None);
        assert_eq!(names(&contents), ["p-new"]);
        assert!(contents.gone.is_empty());
    }

    #[test]
    fn a_list_replaces_what_is_held_of_its_kind_only() {
        let mut contents = Contents::default();
        let item = |kind| Item::Workload(Box::new(workload(&Shape { kind, ..Shape::default() })));
        contents.apply(Slot::Deployments, "webapp", Some(item(Kind::Deployment)));
        contents.apply(Slot::Deployments, "gone", Some(item(Kind::Deployment)));
        contents.apply(Slot::StatefulSets, "webapp", Some(item(Kind::StatefulSet)));
        contents.replace(Slot::Deployments, vec![("new".into(), item(Kind::Deployment))]);
        let names: Vec<_> = contents.workloads.keys().cloned().collect();
        assert_eq!(names, ["new", "webapp"]);
        assert!(contents.workload(Kind::Deployment, "webapp").is_none());
        assert!(contents.workload(Kind::StatefulSet, "webapp").is_some());
    }
}
