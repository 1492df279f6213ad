//! How things go: pods gracefully, owners before or after what they own, namespaces when they are empty.

use jiff::{SignedDuration, Timestamp};

use crate::json::Value;
use crate::object::{self, int, list, set, text};
use crate::resource::{NAMESPACES, PODS};
use crate::storage::{Key, Object, Storage};

/// The finalizer that keeps an owner until what it owns is gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";

/// The finalizer that keeps an owner until what it owned is nobody's.
pub(crate) const ORPHAN: &str = "orphan";

/// What becomes of what an object owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// It goes afterwards (the collector sees to it).
    Background,
    /// It goes first.
    Foreground,
    /// It stays, without an owner.
    Orphan,
}

/// What a delete came to.
pub(crate) enum Deleted {
    /// It is gone; this is its last state.
    Gone(Object),
    /// It is on its way.
    Going(Object),
}

/// Deletes an object. `grace` is in seconds and is for pods only: `None` takes the pod's own.
/// `None`: there is no such object.
pub(crate) fn delete(
    storage: &Storage,
    key: &Key,
    grace: Option<i64>,
    propagation: Propagation,
) -> Option<Deleted> {
    let present = storage.get(key)?;
    if *key.resource == PODS {
        let grace = grace.unwrap_or_else(|| int(&present, "/spec/terminationGracePeriodSeconds", 30)).max(0);
        if grace == 0 || text(&present, "/spec/nodeName").is_empty() {
            return stop(storage, key);
        }
        return mark(storage, key, grace, |_| {}).map(Deleted::Going);
    }
    if *key.resource == NAMESPACES {
        let going = mark(storage, key, 0, |object| {
            set(object, &["status", "phase"], "Terminating");
            object::child(object, "metadata").remove("deletionGracePeriodSeconds");
        });
        return going.map(Deleted::Going);
    }
    let first = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    if let Some(first) = first {
        let going = mark(storage, key, 0, |object| {
            let mut finalizers = list(object, "/metadata/finalizers").to_vec();
            if !finalizers.iter().any(|f| f == first) {
                finalizers.push(first.into());
            }
            set(object, &["metadata", "finalizers"], finalizers);
        });
        return going.map(Deleted::Going);
    }
    if list(&present, "/metadata/finalizers").is_empty() {
        return storage.remove(key).map(Deleted::Gone);
    }
    mark(storage, key, 0, |_| {}).map(Deleted::Going)
}

/// A pod has stopped: it goes, unless a finalizer holds it until whoever set it lets it go.
pub(crate) fn stop(storage: &Storage, key: &Key) -> Option<Deleted> {
    let present = storage.get(key)?;
    if list(&present, "/metadata/finalizers").is_empty() {
        return storage.remove(key).map(Deleted::Gone);
    }
    let held = mark(storage, key, 0, |pod| set(pod, &["metadata", "deletionGracePeriodSeconds"], 0));
    held.map(Deleted::Going)
}

fn mark(storage: &Storage, key: &Key, grace: i64, also: impl FnOnce(&mut Value)) -> Option<Object> {
    storage.update(key, |object| {
        let sooner = grace < int(object, "/metadata/deletionGracePeriodSeconds", 0);
        if !object::is_deleting(object) || sooner {
            let at = Timestamp::now().saturating_add(SignedDuration::from_secs(grace)).unwrap_or_default();
            let at = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            set(object, &["metadata", "deletionTimestamp"], at);
            set(object, &["metadata", "deletionGracePeriodSeconds"], grace);
        }
        also(object);
    })
}

/// Takes an owner's identity out of all that names it.
pub(crate) fn orphan(storage: &Storage, owner: &str) {
    for (key, _) in storage.dependents(owner) {
        orphan_of(storage, &key, owner);
    }
}

/// Takes an owner's identity out of an object.
pub(crate) fn orphan_of(storage: &Storage, key: &Key, owner: &str) {
    storage.update(key, |object| {
        let mut owners = list(object, "/metadata/ownerReferences").to_vec();
        owners.retain(|o| text(o, "/uid") != owner);
        if owners.is_empty() {
            object::child(object, "metadata").remove("ownerReferences");
        } else {
            set(object, &["metadata", "ownerReferences"], owners);
        }
    });
}
