//! Who owns what, and who is there: so that no controller has to look through everything for its own.

use std::collections::{BTreeSet, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use super::Key;
use crate::json::{Value, intern};
use crate::object::{list, text, uid};
use crate::resource::NONE;

#[derive(Default)]
pub(super) struct Index {
    /// The identities of all objects.
    present: HashSet<Arc<str>>,
    /// An owner's identity, whether it is there or not, with each object that names it.
    owned: BTreeSet<(Arc<str>, Key)>,
}

impl Index {
    /// Takes in that an object came, changed or went.
    pub(super) fn note(&mut self, key: &Key, before: Option<&Value>, after: Option<&Value>) {
        if before.map(uid) != after.map(uid) {
            if let Some(before) = before {
                self.present.remove(uid(before));
            }
            if let Some(after) = after {
                self.present.insert(intern(uid(after)));
            }
        }
        let references = |object: Option<&Value>| object?.pointer("/metadata/ownerReferences").cloned();
        if references(before) == references(after) {
            return;
        }
        let owners = |object: Option<&Value>| -> BTreeSet<Arc<str>> {
            let references = object.map_or(&[][..], |object| list(object, "/metadata/ownerReferences"));
            references.iter().map(|owner| intern(text(owner, "/uid"))).collect()
        };
        let (before, after) = (owners(before), owners(after));
        for owner in before.difference(&after) {
            self.owned.remove(&(owner.clone(), key.clone()));
        }
        for owner in after.difference(&before) {
            self.owned.insert((owner.clone(), key.clone()));
        }
    }

    pub(super) fn is_present(&self, uid: &str) -> bool {
        self.present.contains(uid)
    }

    /// What names this identity among its owners, in the order of the keys.
    pub(super) fn owned(&self, uid: &str) -> impl Iterator<Item = &Key> {
        let uid = intern(uid);
        let first = (uid.clone(), Key::new(&NONE, "", ""));
        let found = self.owned.range((Bound::Included(first), Bound::Unbounded));
        found.take_while(move |(owner, _)| *owner == uid).map(|(_, key)| key)
    }
}
