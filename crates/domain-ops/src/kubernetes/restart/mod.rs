//! The restart and its undo: intended, performed once, settled when it is unclear, verified by the shared watches.
//!
//! | module | what it holds |
//! |---|---|
//! | `intent` | what the patch is bound to; durable before it is sent |
//! | `settle` | pure: what became of a patch, from the object and from the history of its templates |
//! | `perform` | sends that patch, and no other, until it is known what became of it |
//! | `verify` | watches until the outcome is known |
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
pub(crate) use perform::{PAUSE, perform};
pub(crate) use report::late;
pub(crate) use settle::Sent;
pub(crate) use verify::{DEAD, END, LAG, suspect, verify};

use super::once;
use super::rollout::Receipt;
use super::workload::Workload;
use astradesk_core::Timestamp;
use astradesk_core::name::Namespace;
use astradesk_core::target::Kind;
use astradesk_runtime::port::Progress;
use std::time::Duration;
use tokio::time::Instant;

/// How long the last look at the object may take after the time limit.
pub(crate) const LAST_LOOK: Duration = Duration::from_secs(3);

/// One restart, or the undo of one.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) target: String,
    pub(crate) kind: Kind,
    pub(crate) namespace: Namespace,
    pub(crate) name: String,
    pub(crate) accept_downtime: bool,
    /// What marks the object as changed by this step.
    pub(crate) mark: String,
    /// The restart that is to be undone; none in a restart.
    pub(crate) undoes: Option<Receipt>,
    /// In a rollback, which is watched only, and performed elsewhere: the revision that it goes back to.
    pub(crate) back_to: Option<String>,
    /// Whether an earlier process may have performed this step already.
    pub(crate) repeated: bool,
    pub(crate) deadline: Instant,
    pub(crate) progress: Progress,
}

impl Job {
    /// A restart.
    pub(crate) fn new(job: once::Job, accept_downtime: bool) -> Self {
        let once::Job { target, kind, namespace, name, mark, repeated, deadline, progress, .. } = job;
        let (undoes, back_to) = (None, None);
        Self {
            target,
            kind,
            namespace,
            name,
            accept_downtime,
            mark,
            undoes,
            back_to,
            repeated,
            deadline,
            progress,
        }
    }

    /// The same for a change of another shape.
    pub(crate) fn once(&self) -> once::Job {
        once::Job {
            target: self.target.clone(),
            kind: self.kind,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            mark: self.mark.clone(),
            is_undo: false,
            repeated: self.repeated,
            deadline: self.deadline,
            progress: self.progress.clone(),
        }
    }

    fn what(&self) -> String {
        format!("{}/{} in namespace `{}`", self.kind, self.name, self.namespace)
    }

    /// What is done, as the beginning of a sentence.
    fn doing(&self) -> String {
        let doing = match (&self.undoes, &self.back_to) {
            (Some(_), _) => "undo of the restart",
            (None, Some(_)) => "rollback",
            (None, None) => "restart",
        };
        format!("the {doing} of {}", self.what())
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

    /// Whether the workload carries this step's mark.
    fn is_marked(&self, workload: &Workload) -> bool {
        let found = if self.undoes.is_some() { workload.undo.as_deref() } else { workload.run() };
        found == Some(self.mark.as_str())
    }
}

/// The time as kubectl writes it: RFC 3339, to the second.
pub(crate) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
