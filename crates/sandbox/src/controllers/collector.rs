//! The garbage collector, and the end of namespaces.

use crate::json::Value;

use crate::deletion::{self, FOREGROUND, ORPHAN, Propagation};
use crate::object::{is_deleting, list, set, text};
use crate::resource::NAMESPACES;
use crate::storage::{Key, Storage};

/// Deletes what had the object with this identity as its last owner; what has others is theirs.
pub(super) fn collect_dependents(storage: &Storage, owner: &str) {
    for (key, object) in storage.dependents(owner) {
        let owners = list(&object, "/metadata/ownerReferences");
        let lives = |uid: &str| uid != owner && storage.is_present(uid);
        if owners.iter().any(|o| lives(text(o, "/uid"))) {
            deletion::orphan_of(storage, &key, owner);
        } else if !is_deleting(&object) {
            deletion::delete(storage, &key, None, Propagation::Background);
        }
    }
}

/// Deletes what has owners of which none is there.
pub(super) fn collect_stray(storage: &Storage, key: &Key, object: &Value) {
    let owners = list(object, "/metadata/ownerReferences");
    if !owners.is_empty()
        && !is_deleting(object)
        && !owners.iter().any(|o| storage.is_present(text(o, "/uid")))
    {
        deletion::delete(storage, key, None, Propagation::Background);
    }
}

/// Takes an object that is being deleted further on its way. True: it is nobody else's business any more.
pub(super) fn tend(storage: &Storage, key: &Key, object: &Value) -> bool {
    if !is_deleting(object) {
        return false;
    }
    if *key.resource == NAMESPACES {
        empty(storage, key);
        return true;
    }
    let finalizers = list(object, "/metadata/finalizers");
    let finish = |done: &str| {
        storage.update(key, |object| {
            let mut left = list(object, "/metadata/finalizers").to_vec();
            left.retain(|finalizer| finalizer != done);
            set(object, &["metadata", "finalizers"], left);
        });
    };
    if finalizers.iter().any(|finalizer| finalizer == ORPHAN) {
        deletion::orphan(storage, text(object, "/metadata/uid"));
        finish(ORPHAN);
        return true;
    }
    if finalizers.iter().any(|finalizer| finalizer == FOREGROUND) {
        let dependents = storage.dependents(text(object, "/metadata/uid"));
        if dependents.is_empty() {
            finish(FOREGROUND);
        }
        for (dependent, object) in dependents {
            if !is_deleting(&object) {
                deletion::delete(storage, &dependent, None, Propagation::Foreground);
            }
        }
        return true;
    }
    false
}

/// A namespace goes when all that is in it is gone.
fn empty(storage: &Storage, namespace: &Key) {
    let inside: Vec<_> =
        storage.all().into_iter().filter(|(key, _)| key.namespace == namespace.name).collect();
    if inside.is_empty() {
        storage.remove(namespace);
    }
    for (key, object) in inside {
        if !is_deleting(&object) {
            deletion::delete(storage, &key, None, Propagation::Background);
        }
    }
}
