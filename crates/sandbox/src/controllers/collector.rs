//! The garbage collector, and the end of namespaces.

use crate::json::Value;

use crate::deletion::{self, FOREGROUND, Propagation};
use crate::object::{is_deleting, list, set, text};
use crate::resource::NAMESPACES;
use crate::storage::{Key, Storage};

/// Deletes what had the object with this identity as its last owner.
pub(super) fn collect_dependents(storage: &Storage, owner: &str) {
    for (key, object) in storage.dependents(owner) {
        let owners = list(&object, "/metadata/ownerReferences");
        let lives = |uid: &str| uid != owner && storage.is_present(uid);
        if !owners.iter().any(|o| lives(text(o, "/uid"))) && !is_deleting(&object) {
            deletion::delete(storage, &key, None, Propagation::Background);
        }
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
    if finalizers.iter().any(|finalizer| finalizer == FOREGROUND) {
        let dependents = storage.dependents(text(object, "/metadata/uid"));
        if dependents.is_empty() {
            let rest: Vec<Value> = finalizers.iter().filter(|f| *f != FOREGROUND).cloned().collect();
            storage.update(key, |object| set(object, &["metadata", "finalizers"], rest));
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
