//! The versioned store: every object, one counter of versions, and the last changes, from which watches,
//! controllers and consistent paging all read. A reader keeps a version as its cursor and asks for what came
//! after; whoever fell behind the history learns it ([`TooOld`]) instead of missing something.

mod index;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::json::{Value, intern};
use tokio::sync::watch;
use uuid::Uuid;

use crate::object::{self, set, text};
use crate::resource::{PODS, Resource};
use index::Index;

/// Changes remembered for watches, for all kinds together.
const HISTORY: usize = 8_192;

/// An object as it is at some version; shared, never changed.
pub(crate) type Object = Arc<Value>;

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) resource: &'static Resource,
    /// Empty for what has no namespace.
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl Key {
    pub(crate) fn new(resource: &'static Resource, namespace: &str, name: &str) -> Key {
        Key { resource, namespace: intern(namespace), name: intern(name) }
    }

    pub(crate) fn of(resource: &'static Resource, object: &Value) -> Key {
        Key::new(resource, object::namespace(object), object::name(object))
    }
}

/// One change: both sides, so that a filter can tell coming, staying and going apart.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) before: Option<Object>,
    /// `None` when it was deleted; `before` then carries the version of the deletion.
    pub(crate) after: Option<Object>,
}

/// The history does not reach back to the version that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TooOld {
    pub(crate) oldest: u64,
}

/// Objects of a kind as they were at a version, in the order of their keys.
pub(crate) struct Snapshot {
    pub(crate) version: u64,
    pub(crate) items: Vec<Object>,
}

pub(crate) struct Storage {
    inner: Mutex<Inner>,
    /// Held from a check to the write that rests on it.
    turn: Mutex<()>,
    latest: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    version: u64,
    objects: BTreeMap<Key, Object>,
    index: Index,
    history: VecDeque<Change>,
}

impl Storage {
    pub(crate) fn new() -> Storage {
        // A young cluster does not begin at one either, and `0` has a meaning of its own.
        let inner = Inner { version: 100, ..Inner::default() };
        Storage { inner: Mutex::new(inner), turn: Mutex::default(), latest: watch::Sender::new(100) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is one's turn to check something and then write: what was checked holds until the guard is
    /// dropped, as far as others take their turn too. Never taken twice by one.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whenever the version rises.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Object> {
        self.lock().objects.get(key).cloned()
    }

    /// The objects of a kind, in one namespace or (with the empty string) in all.
    pub(crate) fn list(&self, resource: &'static Resource, namespace: &str) -> Vec<Object> {
        self.lock().range(resource, namespace).map(|(_, object)| object.clone()).collect()
    }

    /// The objects of a kind, and the version of the picture.
    pub(crate) fn snapshot(&self, resource: &'static Resource, namespace: &str) -> Snapshot {
        let inner = self.lock();
        let items = inner.range(resource, namespace).map(|(_, object)| object.clone()).collect();
        Snapshot { version: inner.version, items }
    }

    /// The same as it was at an earlier version: the changes since are undone.
    pub(crate) fn snapshot_at(
        &self,
        resource: &'static Resource,
        namespace: &str,
        version: u64,
    ) -> Result<Snapshot, TooOld> {
        let inner = self.lock();
        inner.reaches(version)?;
        let since = inner.history.partition_point(|change| change.version <= version);
        if !inner.history.range(since..).any(|change| change.key.resource == resource) {
            let items = inner.range(resource, namespace).map(|(_, object)| object.clone()).collect();
            return Ok(Snapshot { version, items });
        }
        let mut objects: BTreeMap<Key, Object> =
            inner.range(resource, namespace).map(|(key, object)| (key.clone(), object.clone())).collect();
        for change in inner.history.range(since..).rev() {
            let inside = namespace.is_empty() || *change.key.namespace == *namespace;
            if change.key.resource != resource || !inside {
                continue;
            }
            // The last state of a deleted object carries the deletion's version: near enough for a page.
            match &change.before {
                Some(before) => objects.insert(change.key.clone(), before.clone()),
                None => objects.remove(&change.key),
            };
        }
        Ok(Snapshot { version, items: objects.into_values().collect() })
    }

    /// What happened after a version, oldest first.
    pub(crate) fn changes_since(&self, version: u64) -> Result<Vec<Change>, TooOld> {
        let inner = self.lock();
        inner.reaches(version)?;
        let start = inner.history.partition_point(|change| change.version <= version);
        Ok(inner.history.range(start..).cloned().collect())
    }

    /// What happened after a version to objects of one kind, oldest first, and the version up to which that goes.
    pub(crate) fn changes_of(
        &self,
        resource: &'static Resource,
        version: u64,
    ) -> Result<(Vec<Change>, u64), TooOld> {
        let inner = self.lock();
        inner.reaches(version)?;
        let start = inner.history.partition_point(|change| change.version <= version);
        let since = inner.history.range(start..).filter(|change| change.key.resource == resource);
        Ok((since.cloned().collect(), inner.version.max(version)))
    }

    /// Every object of every kind.
    pub(crate) fn all(&self) -> Vec<(Key, Object)> {
        self.lock().objects.iter().map(|(key, object)| (key.clone(), object.clone())).collect()
    }

    /// What names the object with this identity among its owners, whatever its kind.
    pub(crate) fn dependents(&self, owner: &str) -> Vec<(Key, Object)> {
        let inner = self.lock();
        let keys = inner.index.owned(owner);
        keys.filter_map(|key| Some((key.clone(), inner.objects.get(key)?.clone()))).collect()
    }

    /// Whether there is an object with this identity.
    pub(crate) fn is_present(&self, uid: &str) -> bool {
        self.lock().index.is_present(uid)
    }

    /// Stores a new object, filling in what the server decides. `Err` gives the one that is there already.
    pub(crate) fn create(&self, resource: &'static Resource, mut value: Value) -> Result<Object, Object> {
        let key = Key::of(resource, &value);
        let mut inner = self.lock();
        if let Some(present) = inner.objects.get(&key) {
            return Err(present.clone());
        }
        fill_in(resource, &mut value);
        let object = inner.put(key, value);
        self.latest.send_replace(inner.version);
        Ok(object)
    }

    /// The object as it would be stored, but for its version.
    pub(crate) fn would_create(resource: &Resource, mut value: Value) -> Object {
        fill_in(resource, &mut value);
        Arc::new(value)
    }

    /// Changes an object under the lock, so that nothing comes between the reading and the writing. Nothing
    /// is written when the closure changed nothing. What the server decides (identity, versions, the
    /// generation) is put back in order afterwards. `Ok(None)`: there is no such object.
    pub(crate) fn modify<E>(
        &self,
        key: &Key,
        change: impl FnOnce(&mut Value) -> Result<(), E>,
    ) -> Result<Option<Object>, E> {
        let mut inner = self.lock();
        let Some(before) = inner.objects.get(key).cloned() else { return Ok(None) };
        let mut value = (*before).clone();
        change(&mut value)?;
        keep_identity(key.resource, &before, &mut value);
        if value == *before {
            return Ok(Some(before));
        }
        let object = inner.put(key.clone(), value);
        let finished = object::is_deleting(&object)
            && object::list(&object, "/metadata/finalizers").is_empty()
            && (*key.resource != PODS
                || object::int(&object, "/metadata/deletionGracePeriodSeconds", 1) == 0)
            && object::list(&before, "/metadata/finalizers") != object::list(&object, "/metadata/finalizers");
        let object = if finished {
            inner.take(key);
            // Whoever let it go sees it as it was last stored.
            let mut last = (*object).clone();
            set(&mut last, &["metadata", "resourceVersion"], text(&before, "/metadata/resourceVersion"));
            Arc::new(last)
        } else {
            object
        };
        self.latest.send_replace(inner.version);
        Ok(Some(object))
    }

    /// Changes an object, where the change cannot fail; a missing object is none of the caller's business.
    pub(crate) fn update(&self, key: &Key, change: impl FnOnce(&mut Value)) -> Option<Object> {
        let changed = self.modify(key, |value| {
            change(value);
            Ok::<(), std::convert::Infallible>(())
        });
        match changed {
            Ok(object) => object,
        }
    }

    /// Takes an object out at once. Gives its last state, with the version of the deletion.
    pub(crate) fn remove(&self, key: &Key) -> Option<Object> {
        let mut inner = self.lock();
        let object = inner.take(key)?;
        self.latest.send_replace(inner.version);
        Some(object)
    }
}

impl Inner {
    fn range<'a>(
        &'a self,
        resource: &'static Resource,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Object)> {
        self.objects.range(Key::new(resource, namespace, "")..).take_while(move |(key, _)| {
            key.resource == resource && (namespace.is_empty() || *key.namespace == *namespace)
        })
    }

    fn reaches(&self, version: u64) -> Result<(), TooOld> {
        match self.history.front() {
            Some(oldest) if version + 1 < oldest.version => Err(TooOld { oldest: oldest.version }),
            _ => Ok(()),
        }
    }

    fn put(&mut self, key: Key, mut value: Value) -> Object {
        self.version += 1;
        set(&mut value, &["metadata", "resourceVersion"], self.version.to_string());
        if let Some(before) = self.objects.get(&key) {
            value.share(before);
        }
        let object = Arc::new(value);
        let before = self.objects.insert(key.clone(), object.clone());
        self.index.note(&key, before.as_deref(), Some(&object));
        self.remember(Change { version: self.version, key, before, after: Some(object.clone()) });
        object
    }

    fn take(&mut self, key: &Key) -> Option<Object> {
        let mut last = (*self.objects.remove(key)?).clone();
        self.index.note(key, Some(&last), None);
        self.version += 1;
        set(&mut last, &["metadata", "resourceVersion"], self.version.to_string());
        let last = Arc::new(last);
        self.remember(Change {
            version: self.version,
            key: key.clone(),
            before: Some(last.clone()),
            after: None,
        });
        Some(last)
    }

    fn remember(&mut self, change: Change) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(change);
    }
}

/// Gives a new object what the server decides.
fn fill_in(resource: &Resource, value: &mut Value) {
    set(value, &["apiVersion"], resource.api_version());
    set(value, &["kind"], resource.kind);
    set(value, &["metadata", "uid"], Uuid::new_v4().to_string());
    set(value, &["metadata", "creationTimestamp"], object::now());
    if resource.generation {
        set(value, &["metadata", "generation"], 1);
    }
}

/// Puts back what a change may not touch, and counts the generation.
pub(crate) fn keep_identity(resource: &Resource, before: &Value, value: &mut Value) {
    for field in ["uid", "creationTimestamp", "name", "namespace", "generation", "resourceVersion"] {
        if let Some(kept) = before.pointer(&format!("/metadata/{field}")) {
            set(value, &["metadata", field], kept.clone());
        }
    }
    set(value, &["apiVersion"], resource.api_version());
    set(value, &["kind"], resource.kind);
    let began_deletion = object::is_deleting(value) && !object::is_deleting(before);
    let wants_other = value.get("spec") != before.get("spec") || annotated(resource, before, value);
    if resource.generation && (wants_other || began_deletion) {
        set(value, &["metadata", "generation"], object::int(before, "/metadata/generation", 1) + 1);
    }
    if text(value, "/metadata/name").is_empty() {
        tracing::warn!("an object without a name was stored");
    }
}

/// Whether a Deployment was annotated, which counts as a change of its specification, since its annotations are
/// copied to its `ReplicaSets`. What its controller annotates comes by the status, which does not count.
fn annotated(resource: &Resource, before: &Value, value: &Value) -> bool {
    const REVISION: &str = "deployment.kubernetes.io/revision";
    let by_controller = object::annotation(value, REVISION).is_some();
    let others = |object: &Value| {
        let mut annotations = object.pointer("/metadata/annotations").and_then(Value::as_object).cloned();
        if let Some(annotations) = annotations.as_mut().filter(|_| by_controller) {
            annotations.remove(REVISION);
        }
        annotations.filter(|annotations| !annotations.is_empty())
    };
    resource.kind == "Deployment" && others(before) != others(value)
}

#[cfg(test)]
mod tests {
    use crate::json::json;

    use super::*;
    use crate::resource::EVENTS;

    #[test]
    fn the_history_is_bounded_and_says_so() {
        let storage = Storage::new();
        let start = storage.version();
        let object = json!({ "metadata": { "name": "a", "namespace": "default" }, "count": 0 });
        let key = Key::of(&EVENTS, &object);
        storage.create(&EVENTS, object).unwrap();
        for count in 1..HISTORY {
            storage.update(&key, |object| set(object, &["count"], count));
        }
        assert_eq!(storage.changes_since(start).unwrap().len(), HISTORY);
        storage.update(&key, |object| set(object, &["count"], 0));
        assert_eq!(storage.changes_since(start).unwrap_err().oldest, start + 2);
        assert_eq!(storage.changes_since(start + 1).unwrap().len(), HISTORY);
        assert!(storage.changes_since(storage.version()).unwrap().is_empty());
    }

    #[test]
    fn the_past_can_be_read() {
        let storage = Storage::new();
        let object = |name: &str| json!({ "metadata": { "name": name, "namespace": "default" } });
        storage.create(&EVENTS, object("a")).unwrap();
        storage.create(&EVENTS, object("b")).unwrap();
        let then = storage.version();
        storage.remove(&Key::new(&EVENTS, "default", "a"));
        storage.create(&EVENTS, object("c")).unwrap();
        storage.update(&Key::new(&EVENTS, "default", "b"), |b| set(b, &["count"], 1));
        let names = |snapshot: &Snapshot| -> Vec<String> {
            snapshot.items.iter().map(|item| object::name(item).to_owned()).collect()
        };
        let past = storage.snapshot_at(&EVENTS, "", then).unwrap();
        assert_eq!(names(&past), ["a", "b"]);
        assert!(past.items.iter().all(|item| item.get("count").is_none()));
        assert_eq!(names(&storage.snapshot(&EVENTS, "default")), ["b", "c"]);
    }

    #[test]
    fn dependents_are_known_as_long_as_they_name_their_owner() {
        let storage = Storage::new();
        let owners = |uids: &[&str]| -> Value {
            uids.iter().map(|uid| json!({ "uid": uid })).collect::<Vec<_>>().into()
        };
        let object = json!({ "metadata": { "name": "a", "ownerReferences": owners(&["x", "y"]) } });
        let made = storage.create(&EVENTS, object).unwrap();
        let key = Key::of(&EVENTS, &made);
        let has = |owner: &str| storage.dependents(owner).iter().any(|(found, _)| *found == key);
        assert!(has("x") && has("y") && storage.is_present(object::uid(&made)));
        storage.update(&key, |object| set(object, &["metadata", "ownerReferences"], owners(&["y"])));
        assert!(!has("x") && has("y"));
        storage.remove(&key);
        assert!(!has("y") && !storage.is_present(object::uid(&made)));
    }

    #[test]
    fn changes_of_a_kind_leave_out_the_others() {
        let storage = Storage::new();
        let start = storage.version();
        storage.create(&EVENTS, json!({ "metadata": { "name": "a" } })).unwrap();
        storage.create(&PODS, json!({ "metadata": { "name": "b" } })).unwrap();
        let (changes, until) = storage.changes_of(&EVENTS, start).unwrap();
        assert_eq!((changes.len(), until), (1, storage.version()));
        assert!(storage.changes_of(&EVENTS, until).unwrap().0.is_empty());
    }

    #[test]
    fn an_unchanged_object_keeps_its_version() {
        let storage = Storage::new();
        let made = storage.create(&EVENTS, json!({ "metadata": { "name": "a" } })).unwrap();
        let same = storage.update(&Key::of(&EVENTS, &made), |_| {}).unwrap();
        assert_eq!(made, same);
    }
}
