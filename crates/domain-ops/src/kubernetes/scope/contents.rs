//! What the watches of a namespace hold, indexed by owner.

use super::Slot;
use crate::kubernetes::facts::Described;
use crate::kubernetes::workload::{Family, PodView, Replicas, Revision, Warning, Workload};
use astradesk_core::target::Kind;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The most warnings that are kept of a namespace; the oldest go first.
const MAX_WARNINGS: usize = 5000;

/// What a watch brings.
pub(super) enum Item {
    Workload(Box<Described>),
    Replicas(Replicas),
    Revision(Revision),
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

/// A workload's kind and name.
pub(super) type Title = (Kind, String);

/// What the watches of a namespace hold.
#[derive(Default)]
pub(super) struct Contents {
    /// By name; one place for each kind.
    pub(super) workloads: BTreeMap<String, [Option<Arc<Described>>; 3]>,
    replica_sets: Index<Replicas>,
    revisions: Index<Revision>,
    pods: Index<PodView>,
    warnings: Index<Warning>,
    /// Which workload has this id.
    titles: HashMap<String, Title>,
    /// The id of the owner of each `ReplicaSet` and pod, by its own.
    owners: HashMap<String, String>,
    /// `ReplicaSets` that are gone while pods of theirs still stop, by the Deployment's id: with
    /// `revisionHistoryLimit: 0` a ReplicaSet goes before its last pod does.
    gone: HashMap<String, BTreeSet<String>>,
}

impl Contents {
    pub(super) fn described(&self, kind: Kind, name: &str) -> Option<&Arc<Described>> {
        self.workloads.get(name)?.iter().flatten().find(|described| described.workload.kind == kind)
    }

    pub(super) fn workload(&self, kind: Kind, name: &str) -> Option<&Arc<Workload>> {
        self.described(kind, name).map(|described| &described.workload)
    }

    pub(super) fn pod_names(&self) -> Vec<String> {
        let mut names = self.names(Slot::Pods);
        names.sort();
        names
    }

    pub(super) fn family(&self, workload: &Workload) -> Family {
        let mut family = Family::default();
        if workload.kind == Kind::Deployment {
            family.replica_sets = self.replica_sets.group(&workload.uid).cloned().collect();
            let owners = family.replica_sets.iter().map(|replicas| &replicas.uid);
            let gone = self.gone.get(&workload.uid).into_iter().flatten();
            family.pods = owners.chain(gone).flat_map(|uid| self.pods.group(uid)).cloned().collect();
        } else {
            family.revisions = self.revisions.group(&workload.uid).cloned().collect();
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
    pub(super) fn replace(&mut self, slot: Slot, items: Vec<(String, Item)>) {
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
                let held = |slots: &[Option<Arc<Described>>; 3]| {
                    slots.get(slot as usize).is_some_and(Option::is_some)
                };
                self.workloads.iter().filter(|(_, slots)| held(slots)).map(|(name, _)| name.clone()).collect()
            }
            Slot::ReplicaSets => self.replica_sets.by_name.keys().cloned().collect(),
            Slot::Revisions => self.revisions.by_name.keys().cloned().collect(),
            Slot::Pods => self.pods.by_name.keys().cloned().collect(),
            Slot::Warnings => self.warnings.by_name.keys().cloned().collect(),
        }
    }

    /// Puts one object in its place, or takes it out. Gives the workloads that this concerns: at most two, since
    /// an object that is replaced by another one of its name may have belonged to another workload.
    pub(super) fn apply(&mut self, slot: Slot, name: &str, item: Option<Item>) -> [Option<Title>; 2] {
        let before = self.concerned(slot, name);
        match item {
            Some(Item::Workload(workload)) => self.put_workload(slot, name, *workload),
            Some(Item::Replicas(replicas)) => {
                self.owners.insert(replicas.uid.clone(), replicas.owner.clone());
                self.replica_sets.insert(name, replicas.owner.clone(), replicas);
            }
            Some(Item::Revision(revision)) => {
                self.revisions.insert(name, revision.owner.clone(), revision);
            }
            Some(Item::Pod(pod)) => {
                if let Some((_, old)) = self.pods.by_name.get(name).filter(|(_, old)| old.uid != pod.uid) {
                    self.owners.remove(&old.uid);
                }
                self.owners.insert(pod.uid.clone(), pod.owner.clone());
                self.pods.insert(name, pod.owner.clone(), *pod);
            }
            Some(Item::Warning(warning)) => {
                self.warnings.insert(name, warning.object.clone(), warning);
                self.drop_oldest_warning();
            }
            None => self.remove(slot, name),
        }
        let after = self.concerned(slot, name).filter(|after| before.as_ref() != Some(after));
        [before, after]
    }

    /// The workload that an object is, or belongs to.
    fn concerned(&self, slot: Slot, name: &str) -> Option<Title> {
        let mut uid = match slot {
            Slot::Deployments | Slot::StatefulSets | Slot::DaemonSets => {
                let workload = &self.workloads.get(name)?.get(slot as usize)?.as_ref()?.workload;
                return Some((workload.kind, workload.name.clone()));
            }
            Slot::ReplicaSets => &self.replica_sets.by_name.get(name)?.0,
            Slot::Revisions => &self.revisions.by_name.get(name)?.0,
            Slot::Pods => &self.pods.by_name.get(name)?.0,
            Slot::Warnings => &self.warnings.by_name.get(name)?.0,
        };
        // A warning on a pod of a ReplicaSet of a Deployment is the longest way.
        for _ in 0..3 {
            if let Some(title) = self.titles.get(uid) {
                return Some(title.clone());
            }
            uid = self.owners.get(uid)?;
        }
        None
    }

    fn put_workload(&mut self, slot: Slot, name: &str, described: Described) {
        let workload = &described.workload;
        let slots = self.workloads.entry(name.to_owned()).or_default();
        if let Some(place) = slots.get_mut(slot as usize) {
            if let Some(old) = place.as_ref().filter(|old| old.workload.uid != workload.uid) {
                self.titles.remove(&old.workload.uid);
            }
            self.titles.insert(workload.uid.clone(), (workload.kind, workload.name.clone()));
            *place = Some(Arc::new(described));
        }
    }

    fn remove(&mut self, slot: Slot, name: &str) {
        match slot {
            Slot::Deployments | Slot::StatefulSets | Slot::DaemonSets => {
                if let Some(slots) = self.workloads.get_mut(name) {
                    if let Some(gone) = slots.get_mut(slot as usize).and_then(Option::take) {
                        self.titles.remove(&gone.workload.uid);
                    }
                    if slots.iter().all(Option::is_none) {
                        self.workloads.remove(name);
                    }
                }
            }
            Slot::ReplicaSets => {
                if let Some((owner, replicas)) = self.replica_sets.remove(name) {
                    if self.pods.has_group(&replicas.uid) {
                        self.gone.entry(owner).or_default().insert(replicas.uid.clone());
                    } else {
                        self.owners.remove(&replicas.uid);
                    }
                }
            }
            Slot::Pods => {
                if let Some((owner, pod)) = self.pods.remove(name) {
                    self.owners.remove(&pod.uid);
                    if !self.pods.has_group(&owner) {
                        self.forget_gone(&owner);
                    }
                }
            }
            Slot::Revisions => {
                self.revisions.remove(name);
            }
            Slot::Warnings => {
                self.warnings.remove(name);
            }
        }
    }

    /// The last pod of a `ReplicaSet` is gone; if that one went before, it need not be known any more.
    fn forget_gone(&mut self, replica_set: &str) {
        let Some(deployment) = self.owners.get(replica_set).cloned() else {
            return;
        };
        let Some(gone) = self.gone.get_mut(&deployment) else {
            return;
        };
        if gone.remove(replica_set) {
            self.owners.remove(replica_set);
        }
        if gone.is_empty() {
            self.gone.remove(&deployment);
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
    use super::*;
    use crate::kubernetes::rollout::tests::{Shape, pod, workload};
    use astradesk_core::canonical::Digest;

    fn replicas(uid: &str) -> Item {
        Item::Replicas(Replicas { uid: uid.into(), owner: "uid".into(), template: Digest::of(uid) })
    }

    #[test]
    fn pods_are_found_through_their_owners_even_when_those_are_gone() {
        let mut contents = Contents::default();
        let web = workload(&Shape::default());
        contents.apply(Slot::Deployments, "webapp", Some(Item::Workload(Box::new(web.clone().into()))));
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
    fn each_change_concerns_the_workload_that_it_belongs_to() {
        type Step = (Slot, &'static str, Option<Item>, [Option<Title>; 2]);
        let mut contents = Contents::default();
        let web = workload(&Shape::default());
        let title = || Some((Kind::Deployment, "webapp".to_owned()));
        let warning = |object: &str| {
            Some(Item::Warning(Warning {
                name: "w".into(),
                object: object.into(),
                about: "pod/p".into(),
                reason: "BackOff".into(),
                message: String::new(),
                count: 1,
                first_seen: None,
                last_seen: None,
            }))
        };
        let pod_item = |name: &str, owner: &str| Some(Item::Pod(Box::new(pod(name, owner, true))));
        let steps: Vec<Step> = vec![
            (Slot::Pods, "early", pod_item("early", "rs"), [None, None]),
            (Slot::Deployments, "webapp", Some(Item::Workload(Box::new(web.into()))), [None, title()]),
            (Slot::ReplicaSets, "webapp-1", Some(replicas("rs")), [None, title()]),
            (Slot::Pods, "early", pod_item("early", "rs"), [title(), None]),
            (Slot::Pods, "other", pod_item("other", "elsewhere"), [None, None]),
            (Slot::Warnings, "w", warning("uid-early"), [None, title()]),
            (Slot::Warnings, "w", warning("uid-other"), [title(), None]),
            (Slot::Warnings, "w", None, [None, None]),
            (Slot::ReplicaSets, "webapp-1", None, [title(), None]),
            (Slot::Pods, "early", None, [title(), None]),
            (Slot::Deployments, "webapp", None, [title(), None]),
        ];
        for (number, (slot, name, item, expected)) in steps.into_iter().enumerate() {
            assert_eq!(contents.apply(slot, name, item), expected, "step {number}: {name}");
        }
        assert!(contents.titles.is_empty() && contents.gone.is_empty());
        assert_eq!(contents.owners.keys().collect::<Vec<_>>(), ["uid-other"]);
    }

    #[test]
    fn a_list_replaces_what_is_held_of_its_kind_only() {
        let mut contents = Contents::default();
        let item = |kind| Item::Workload(Box::new(workload(&Shape { kind, ..Shape::default() }).into()));
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
