//! Who manages what nobody manages: a workload takes in what it selects, and lets go what it does not select any more.

use super::Controllers;
use crate::json::Value;
use crate::object::{controller, is_deleting, list, name, namespace, owner_reference, set, text, uid};
use crate::resource::{DAEMON_SETS, DEPLOYMENTS, PODS, REPLICA_SETS, Resource, STATEFUL_SETS};
use crate::server::Selector;
use crate::storage::{Change, Key, Object};

/// What manages objects of a kind.
fn managers(kind: &Resource) -> &'static [&'static Resource] {
    static OF_PODS: [&Resource; 3] = [&REPLICA_SETS, &STATEFUL_SETS, &DAEMON_SETS];
    static OF_REPLICA_SETS: [&Resource; 1] = [&DEPLOYMENTS];
    static OF_REVISIONS: [&Resource; 2] = [&STATEFUL_SETS, &DAEMON_SETS];
    match kind.kind {
        "Pod" => &OF_PODS,
        "ReplicaSet" => &OF_REPLICA_SETS,
        "ControllerRevision" => &OF_REVISIONS,
        _ => &[],
    }
}

impl Controllers {
    /// Keeps account of what nobody manages, and brings it together with who selects it.
    pub(super) fn match_owners(&mut self, change: &Change) {
        let key = &change.key;
        let Some(object) = &change.after else {
            self.orphans.remove(key);
            return;
        };
        let possible = managers(key.resource);
        if !possible.is_empty() {
            self.find_manager(key, change.before.as_ref(), object, possible);
        }
        if change.before.is_none()
            && [&DEPLOYMENTS, &REPLICA_SETS, &STATEFUL_SETS, &DAEMON_SETS].contains(&key.resource)
        {
            let here: Vec<Key> =
                self.orphans.iter().filter(|orphan| orphan.namespace == key.namespace).cloned().collect();
            for orphan in here.iter().filter(|orphan| managers(orphan.resource).contains(&key.resource)) {
                self.adopt(key.resource, object, orphan);
            }
        }
    }

    fn find_manager(
        &mut self,
        key: &Key,
        before: Option<&Object>,
        object: &Object,
        possible: &[&'static Resource],
    ) {
        let Some(reference) = controller(object) else {
            if is_deleting(object) {
                self.orphans.remove(key);
                return;
            }
            self.orphans.insert(key.clone());
            for resource in possible {
                for manager in self.storage.list(resource, namespace(object)) {
                    self.adopt(resource, &manager, key);
                }
            }
            return;
        };
        self.orphans.remove(key);
        let labels = |object: &Object| object.pointer("/metadata/labels").cloned();
        if before.is_some_and(|before| labels(before) != labels(object)) {
            let manager = Resource::of(reference).and_then(|resource| {
                self.storage.get(&Key::new(resource, namespace(object), text(reference, "/name")))
            });
            if manager
                .is_some_and(|manager| uid(&manager) == text(reference, "/uid") && !selects(&manager, object))
            {
                self.let_go(key);
            }
        }
    }

    fn adopt(&self, resource: &'static Resource, manager: &Value, orphan: &Key) {
        let Some(object) = self.storage.get(orphan) else { return };
        let of_set = *resource == STATEFUL_SETS && *orphan.resource == PODS;
        let named_alike = || name(&object).rsplit_once('-').is_some_and(|(stem, _)| stem == name(manager));
        if is_deleting(manager)
            || controller(&object).is_some()
            || !selects(manager, &object)
            || (of_set && !named_alike())
        {
            return;
        }
        self.storage.update(orphan, |object| {
            let mut owners = list(object, "/metadata/ownerReferences").to_vec();
            owners.push(owner_reference(resource, manager));
            set(object, &["metadata", "ownerReferences"], owners);
        });
    }

    fn let_go(&self, key: &Key) {
        self.storage.update(key, |object| {
            let mut owners = list(object, "/metadata/ownerReferences").to_vec();
            owners.retain(|owner| !crate::object::flag(owner, "/controller"));
            if owners.is_empty() {
                crate::object::child(object, "metadata").remove("ownerReferences");
            } else {
                set(object, &["metadata", "ownerReferences"], owners);
            }
        });
    }
}

fn selects(manager: &Value, object: &Value) -> bool {
    Selector::of(manager.pointer("/spec/selector")).is_some_and(|selector| selector.matches(object))
}
