//! `ControllerRevision`s: the templates that a StatefulSet or DaemonSet had, so that its pods can be told apart.

use crate::json::{Value, json};

use super::Controllers;
use crate::object::{self, int, name, namespace, owner_reference, set};
use crate::resource::{CONTROLLER_REVISIONS, DAEMON_SETS, Resource};
use crate::rules::TEMPLATE_GENERATION;
use crate::storage::{Key, Object};

/// The label that names a pod's revision.
pub(super) const LABEL: &str = "controller-revision-hash";

impl Controllers {
    /// The revision of the present template, found or made; it is the newest one afterwards.
    pub(super) fn update_revision(&mut self, resource: &'static Resource, owner: &Value) -> Option<Object> {
        let revisions = self.owned(&CONTROLLER_REVISIONS, owner);
        // Whoever goes back to a revision applies its data as a strategic patch, which shall leave nothing of the other.
        let mut template = owner.pointer("/spec/template")?.clone();
        set(&mut template, &["$patch"], "replace");
        let newest = revisions.iter().map(|r| int(r, "/revision", 0)).max().unwrap_or(0);
        let same = revisions.iter().find(|r| r.pointer("/data/spec/template") == Some(&template));
        if let Some(same) = same {
            let key = Key::of(&CONTROLLER_REVISIONS, same);
            return self.storage.update(&key, |revision| {
                if int(revision, "/revision", 0) < newest {
                    set(revision, &["revision"], newest + 1);
                }
            });
        }
        if object::is_deleting(owner) {
            // What is going makes nothing new: its namespace would never be empty.
            return None;
        }
        let hash = object::hash(&template);
        let mut labels =
            owner.pointer("/spec/template/metadata/labels").cloned().unwrap_or_else(|| json!({}));
        let label = if *resource == DAEMON_SETS { LABEL } else { "controller.kubernetes.io/hash" };
        set(&mut labels, &[label], hash.clone());
        let mut revision = json!({
            "metadata": {
                "name": format!("{}-{hash}", name(owner)), "namespace": namespace(owner), "labels": labels,
                "ownerReferences": [owner_reference(resource, owner)],
            },
            "data": { "spec": { "template": template } },
            "revision": newest + 1,
        });
        if let Some(count) = object::annotation(owner, TEMPLATE_GENERATION) {
            set(&mut revision, &["metadata", "annotations", TEMPLATE_GENERATION], count);
        }
        self.create_or_adopt(&CONTROLLER_REVISIONS, &revision).map(|(revision, _)| revision)
    }

    /// Drops the oldest revisions that no pod has, beyond the limit.
    pub(super) fn trim_revisions(&mut self, owner: &Value, pods: &[Object], live: &[&str]) {
        let keep = usize::try_from(int(owner, "/spec/revisionHistoryLimit", 10)).unwrap_or(usize::MAX);
        let in_use = |revision: &Object| {
            live.contains(&name(revision)) || pods.iter().any(|pod| is_at(pod, owner, name(revision)))
        };
        let mut old = self.owned(&CONTROLLER_REVISIONS, owner);
        old.retain(|revision| !in_use(revision));
        old.sort_by_key(|revision| int(revision, "/revision", 0));
        for revision in old.iter().take(old.len().saturating_sub(keep)) {
            self.storage.remove(&Key::of(&CONTROLLER_REVISIONS, revision));
        }
    }
}

/// What a pod's label says for this revision: a StatefulSet's pods carry the revision's whole name, a
/// DaemonSet's only the hash, as the real ones do.
pub(super) fn label_value<'a>(owner: &Value, revision: &'a str) -> &'a str {
    if object::text(owner, "/kind") == "StatefulSet" {
        return revision;
    }
    revision.strip_prefix(name(owner)).map_or(revision, |hash| hash.trim_start_matches('-'))
}

/// Whether a pod was made from this revision.
pub(super) fn is_at(pod: &Value, owner: &Value, revision: &str) -> bool {
    object::label(pod, LABEL) == label_value(owner, revision)
}
