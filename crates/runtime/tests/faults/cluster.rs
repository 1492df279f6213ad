//! A cluster outside the process: what was done to it is what was done.

use std::collections::{BTreeMap, BTreeSet};

/// A service as the cluster has it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Service {
    /// Rises with every change.
    pub(crate) version: u64,
    /// Rises with every change of what is wanted.
    pub(crate) generation: u64,
    /// Who restarted it last: `{run}/{step}`.
    pub(crate) mark: Option<String>,
    /// Who undid a restart last.
    pub(crate) undo: Option<String>,
}

/// An effect that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effect {
    pub(crate) service: String,
    pub(crate) by: String,
    pub(crate) undoes: bool,
    pub(crate) generation: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) history: Vec<Effect>,
    /// The steps that were seen to come out well.
    pub(crate) verified: BTreeSet<String>,
    /// Services whose rollouts fail, and those whose restarts cannot be undone.
    pub(crate) failing: BTreeSet<String>,
    pub(crate) failing_undo: BTreeSet<String>,
}

/// The service is not as it was when the change was bound to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conflict;

impl Cluster {
    pub(crate) fn read(&self, service: &str) -> Service {
        self.services.get(service).cloned().unwrap_or_default()
    }

    /// Restarts the service, or undoes a restart, if it still has this version. Gives the new generation.
    pub(crate) fn patch(
        &mut self,
        service: &str,
        version: u64,
        by: &str,
        undoes: bool,
    ) -> Result<u64, Conflict> {
        let found = self.services.entry(service.to_owned()).or_default();
        if found.version != version {
            return Err(Conflict);
        }
        found.version += 1;
        found.generation += 1;
        if undoes {
            (found.mark, found.undo) = (None, Some(by.to_owned()));
        } else {
            found.mark = Some(by.to_owned());
        }
        let generation = found.generation;
        let effect = Effect { service: service.to_owned(), by: by.to_owned(), undoes, generation };
        self.history.push(effect);
        Ok(generation)
    }

    /// Somebody else changes the service: its status only, or what is wanted of it too.
    pub(crate) fn meddle(&mut self, service: &str, generation: bool) {
        let found = self.services.entry(service.to_owned()).or_default();
        found.version += 1;
        if generation {
            found.generation += 1;
            found.mark = None;
        }
    }

    pub(crate) fn effect(&self, by: &str) -> Option<&Effect> {
        self.history.iter().find(|effect| effect.by == by)
    }
}
