//! Going back to a pod template that a workload had: chosen among those that its controller keeps, shown, performed once
//! (`kubernetes::once`), and verified as a restart is.
//!
//! Neither intent nor receipt has a template in it, which may hold secrets: a digest says which one is meant, and it is
//! read again from where the controller keeps it.

mod choose;
mod difference;

pub(crate) use choose::{choose, current};
pub(crate) use difference::{difference, merge_patch};

use super::cluster::{Cluster, operation};
use super::history::{History, Revision};
use super::once::{self, Bound, Change};
use super::restart::Job;
use super::rollout;
use super::workload::Workload;
use astradesk_core::canonical::Digest;
use astradesk_core::name::Namespace;
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::port::Fault;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

/// One template among those that a workload had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Its number at that time: a controller that goes back to it gives it a new one.
    pub(crate) number: Option<i64>,
    /// Its digest.
    pub(crate) template: Digest,
}

impl Point {
    pub(crate) fn of(revision: &Revision) -> Self {
        Self { number: revision.number, template: revision.template }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "revision {number}"),
            None => f.write_str("a revision without a number"),
        }
    }
}

/// What a rollback is bound to. Its fields are in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The object as it is.
    #[serde(flatten)]
    pub(crate) bound: Bound,
    /// Where it is.
    pub(crate) from: Point,
    /// Where it is to go.
    pub(crate) to: Point,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// What is to be watched.
    pub(crate) rollout: rollout::Receipt,
    /// Where it was.
    pub(crate) from: Point,
    /// Where it went.
    pub(crate) to: Point,
}

/// A workload with its pod template, and those that it had.
pub(crate) struct Past {
    pub(crate) workload: Workload,
    pub(crate) template: PodTemplateSpec,
    pub(crate) history: History,
}

impl Past {
    /// Reads them from the API server.
    pub(crate) async fn read(
        cluster: &Cluster,
        kind: Kind,
        namespace: &Namespace,
        name: &str,
    ) -> Result<Self> {
        let error = |failure: super::errors::Failure, verb| {
            failure.into_error(&operation(verb, kind, namespace, name))
        };
        let Templated { workload, template } =
            cluster.get_view(kind, namespace, name).await.map_err(|failure| error(failure, "get"))?;
        let history = cluster.history(&workload).await.map_err(|failure| error(failure, "list"))?;
        Ok(Self { workload, template, history })
    }

    /// The template that it had, if its controller still keeps it.
    pub(crate) fn find(&self, template: Digest) -> Result<&Revision> {
        let mut same = self.history.revisions.iter().filter(|revision| revision.template == template);
        same.next().ok_or_else(|| {
            let title = self.workload.title();
            let message = format!("the controller of {title} does not keep the wanted revision any more");
            Error::new(Code::KubernetesRevisionNotFound, message)
        })
    }

    /// The patch of the specification that goes back to it.
    pub(crate) fn spec_patch(&self, to: &Revision) -> Value {
        json!({"template": merge_patch(&value(&self.template), &value(&to.spec))})
    }

    /// What going back to it would change.
    pub(crate) fn difference(&self, to: &Revision) -> (Vec<Value>, usize) {
        difference(&value(&self.template), &value(&to.spec))
    }
}

fn value(template: &PodTemplateSpec) -> Value {
    serde_json::to_value(template).unwrap_or_default()
}

/// Performs what the intent is bound to, unless it is found to be there already.
pub(crate) async fn perform(
    cluster: &Cluster,
    job: &Job,
    intent: &Intent,
) -> std::result::Result<Receipt, Fault> {
    let patch = async {
        let past = Past::read(cluster, job.once.kind, &job.once.namespace, &job.once.name).await?;
        Ok(intent.bound.patch(&job.once.mark, &past.spec_patch(past.find(intent.to.template)?)))
    };
    let change = Change {
        task: &job.once,
        bound: &intent.bound,
        done: "rolled back",
        patch: patch.await,
        unchanged: &|workload| workload.template == intent.from.template,
    };
    let workload = once::perform(cluster, &change).await?;
    let is_there = workload.template == intent.to.template;
    let rollout = rollout::Receipt {
        target: job.once.target.clone(),
        uid: intent.bound.uid.clone(),
        generation: workload.generation,
        // An earlier template may have been restarted in its time.
        restarted_at: workload.restarted_at().unwrap_or_default().to_owned(),
        run: workload.run().unwrap_or_default().to_owned(),
        previous_revision: intent.from.number.map(|number| number.to_string()),
        // If somebody has changed it since, this was replaced, and its template is not to be seen any more.
        template: if is_there { intent.to.template } else { Digest::ZERO },
        before: None,
        undo: None,
        undone_at: Some(cluster.now()),
    };
    Ok(Receipt { rollout, from: intent.from, to: intent.to })
}

/// A workload with its pod template.
struct Templated {
    workload: Workload,
    template: PodTemplateSpec,
}

impl From<&Deployment> for Templated {
    fn from(object: &Deployment) -> Self {
        let template = object.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
        Self { workload: object.into(), template }
    }
}

impl From<&StatefulSet> for Templated {
    fn from(object: &StatefulSet) -> Self {
        let template = object.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
        Self { workload: object.into(), template }
    }
}

impl From<&DaemonSet> for Templated {
    fn from(object: &DaemonSet) -> Self {
        let template = object.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
        Self { workload: object.into(), template }
    }
}
