//! Who owns what, and who is there: so that no controller has to look through everything for its own.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::json::Value;

use super::Key;
use crate::object::{list, text, uid};

#[derive(Default)]
pub(super) struct Index {
    /// The identities of all objects.
    present: HashSet<String>,
    /// By an owner's identity, whether it is there or not.
    owned: HashMap<String, BTreeSet<Key>>,
}

impl Index {
    /// Takes in that an object came, changed or went.
    pub(super) fn note(&mut self, key: &Key, before: Option<&Value>, after: Option<&Value>) {
        if before.map(uid) != after.map(uid) {
            if let Some(before) = before {
                self.present.remove(uid(before));
            }
            if let Some(after) = after {
                self.present.insert(uid(after).to_owned());
            }
        }
        let owners = |object: Option<&Value>| -> BTreeSet<String> {
            let references = object.map_or(&[][..], |object| list(object, "/metadata/ownerReferences"));
            references.iter().map(|owner| text(owner, "/uid").to_owned()).collect()
        };
        let (before, after) = (owners(before), owners(after));
        for owner in before.difference(&after) {
            if let Some(keys) = self.owned.get_mut(owner) {
                keys.remove(key);
                if keys.is_empty() {
                    self.owned.remove(owner);
                }
            }
        }
        for owner in after.difference(&before) {
            self.owned.entry(owner.clone()).or_default().insert(key.clone());
        }
    }

    pub(super) fn is_present(&self, uid: &str) -> bool {
        self.present.contains(uid)
    }

    /// What names this identity among its owners, in the order of the keys.
    pub(super) fn owned(&self, uid: &str) -> impl Iterator<Item = &Key> {
        self.owned.get(uid).into_iter().flatten()
    }
}
