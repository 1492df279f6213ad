//! What a timeline does, and a cluster to try it on.

use std::sync::Arc;

use axum::http::Method;
use tokio_util::sync::CancellationToken;

use crate::json::Value;
use crate::server::{self, Shared, faults};
use crate::storage::{Key, Storage};

/// What is not in a file, and may be named in it.
const MADE_BY_CONTROLLERS: [&str; 4] = ["ControllerRevision", "Event", "Pod", "ReplicaSet"];

/// Something that is done.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Makes an object, or merges into the one that is there.
    Apply(Key, Value),
    Merge(Key, Value),
    Delete(Key),
    AddFaults(Vec<faults::Rule>),
    /// Removes the faults of these names; all of them, where there is none.
    Heal(Vec<String>),
}

impl Action {
    pub(super) fn perform(&self, shared: &Arc<Shared>) -> Result<(), String> {
        match self {
            Action::Apply(key, object) => {
                server::ask(shared, Method::PATCH, key, "application/apply-patch+yaml", object)
            }
            Action::Merge(key, patch) => {
                server::ask(shared, Method::PATCH, key, "application/merge-patch+json", patch)
            }
            Action::Delete(key) => server::ask(shared, Method::DELETE, key, "application/json", &Value::Null),
            Action::AddFaults(rules) => rules.iter().try_for_each(|rule| shared.faults.add(rule.clone())),
            Action::Heal(names) if names.is_empty() => {
                shared.faults.clear();
                Ok(())
            }
            Action::Heal(names) => names.iter().try_for_each(|name| shared.faults.remove(name)),
        }
    }
}

/// A cluster without a life, on which everything is tried before it is done.
pub(super) struct Rehearsal(Arc<Shared>);

impl Rehearsal {
    /// With so many nodes, and these faults.
    pub(super) fn new(nodes: u32, faults: Vec<faults::Rule>) -> Result<Rehearsal, String> {
        let shared = Shared {
            storage: Arc::new(Storage::new()),
            accounts: server::Accounts::default(),
            faults: faults::Faults::new(faults, 0),
            stop: CancellationToken::new(),
        };
        for object in crate::first_objects(nodes) {
            server::create_object(&shared.storage, object)?;
        }
        Ok(Rehearsal(Arc::new(shared)))
    }

    pub(super) fn create(&self, object: Value) -> Result<(), String> {
        server::create_object(&self.0.storage, object).map(drop)
    }

    /// Does it, unless it is about what only a living cluster has.
    pub(super) fn perform(&self, action: &Action) -> Result<(), String> {
        match action {
            Action::Merge(key, _) | Action::Delete(key)
                if MADE_BY_CONTROLLERS.contains(&key.resource.kind) && self.0.storage.get(key).is_none() =>
            {
                Ok(())
            }
            other => other.perform(&self.0),
        }
    }
}
