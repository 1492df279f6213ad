//! The restart and its undo: intended, performed once, settled when it is unclear, verified by the shared watches.
//!
//! | module | what it holds |
//! |---|---|
//! | `intent` | what the patch is bound to; durable before it is sent |
//! | `perform` | what there is to know of that patch, which `kubernetes::once` sends |
//! | `settle` | pure: whether the one change that there was since is another one, and what the history of its templates tells |
//! | `verify` | judges what is seen until the outcome is known |
//! | `report` | that outcome in words |
//!
//! A restart sets two annotations of the pod template, an undo puts them back. The run's mark is one of the two in a
//! restart (`astradesk.dev/run`), and an annotation of the object itself in an undo (`astradesk.dev/undo`), since
//! the template must become exactly what it was: then the controller goes back to the `ReplicaSet` or
//! `ControllerRevision` that it still has, and keeps its pods.

mod intent;
mod perform;
mod report;
mod settle;
mod verify;

pub(crate) use intent::{Intent, restart_patch};
pub(crate) use perform::perform;
pub(crate) use verify::verify;

use super::once;
use super::rollout::Receipt;
use super::workload::Workload;
use astradesk_core::Timestamp;

/// One restart, or the undo of one.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) once: once::Job,
    pub(crate) accept_downtime: bool,
    /// The restart that is to be undone; none in a restart.
    pub(crate) undoes: Option<Receipt>,
    /// In a rollback, which is watched only, and performed elsewhere: the revision that it goes back to.
    pub(crate) back_to: Option<String>,
}

impl Job {
    /// What is done, as the beginning of a sentence.
    fn doing(&self) -> String {
        let doing = match (&self.undoes, &self.back_to) {
            (Some(_), _) => "undo of the restart",
            (None, Some(_)) => "rollback",
            (None, None) => "restart",
        };
        format!("the {doing} of {}", self.once.what())
    }

    /// What becomes of the workload.
    const fn done(&self) -> &'static str {
        match (&self.undoes, &self.back_to) {
            (Some(_), _) => "restored",
            (None, Some(_)) => "rolled back",
            (None, None) => "restarted",
        }
    }

    /// Whether it goes back to a template that there was before.
    const fn goes_back(&self) -> bool {
        self.undoes.is_some() || self.back_to.is_some()
    }

    /// The annotation that carries the mark, and where it is.
    const fn place(&self) -> (&'static str, &'static str) {
        if self.undoes.is_some() {
            (super::UNDO, "among its own annotations")
        } else {
            (super::RUN, "in its pod template")
        }
    }

    /// The mark that the workload carries.
    fn marked<'a>(&self, workload: &'a Workload) -> Option<&'a str> {
        if self.undoes.is_some() { workload.undo.as_deref() } else { workload.run() }
    }
}

/// The time as kubectl writes it: RFC 3339, to the second.
pub(crate) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
