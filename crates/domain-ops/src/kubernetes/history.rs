//! The templates that a workload had: what its controller keeps of them, read from the API server.
//!
//! A Deployment's templates are in its `ReplicaSets`, a StatefulSet's and a DaemonSet's in `ControllerRevisions`.
//! They are asked for live: what decides whether something is done again must not come from a cache.

use super::client::Requests;
use super::errors::{Failure, Operation};
use super::workload::{Workload, kept_template, rest_digest, template_digest};
use astradesk_core::canonical::Digest;
use astradesk_core::target::Kind;
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, ObjectList};
use std::collections::BTreeMap;

/// How many are asked for at a time, and how often: controllers keep 10 unless they are told otherwise.
const PAGE: u32 = 250;
const PAGES: usize = 8;
/// The annotation with the number of a `ReplicaSet`'s revision.
const NUMBER: &str = "deployment.kubernetes.io/revision";

/// The templates that a workload had.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) revisions: Vec<Revision>,
    /// Whether there are more than were read.
    pub(crate) truncated: bool,
}

/// One template that a workload had.
#[derive(Debug, Clone)]
pub(crate) struct Revision {
    /// Its number, if it has one.
    pub(crate) number: Option<i64>,
    /// The template, without the label by which the Deployment controller tells `ReplicaSets` apart.
    pub(crate) spec: PodTemplateSpec,
    pub(crate) template: Digest,
    pub(crate) rest: Digest,
    pub(crate) template_annotations: BTreeMap<String, String>,
    /// Of the object that keeps it; those of a Deployment are copied there.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Reads the templates that a workload had.
pub(crate) async fn read(requests: &Requests, workload: &Workload) -> Result<History, Failure> {
    if workload.kind == Kind::Deployment {
        read_as(requests, workload, "replicasets.apps", |object: &ReplicaSet| {
            let number = object.metadata.annotations.as_ref().and_then(|all| all.get(NUMBER)?.parse().ok());
            (&object.metadata, number, object.spec.as_ref().and_then(|spec| spec.template.clone()))
        })
        .await
    } else {
        read_as(requests, workload, "controllerrevisions.apps", |object: &ControllerRevision| {
            (&object.metadata, Some(object.revision), kept_template(object))
        })
        .await
    }
}

async fn read_as<K>(
    requests: &Requests,
    workload: &Workload,
    resource: &'static str,
    view: impl Fn(&K) -> (&ObjectMeta, Option<i64>, Option<PodTemplateSpec>),
) -> Result<History, Failure>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let api = requests.api::<K>(&workload.namespace);
    let operation = Operation::new("list", resource, &workload.namespace, "");
    let mut params = ListParams::default().limit(PAGE);
    if !workload.selector.is_empty() {
        params = params.labels(&workload.selector);
    }
    let mut history = History::default();
    for _ in 0..PAGES {
        let page: ObjectList<K> = requests.read(&operation, || api.list(&params)).await?;
        history.revisions.extend(page.items.iter().map(&view).filter_map(|(meta, number, template)| {
            let owned = meta
                .owner_references
                .iter()
                .flatten()
                .any(|owner| owner.controller == Some(true) && owner.uid == workload.uid);
            owned.then(|| revision(meta, number, template)).flatten()
        }));
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(history),
        }
    }
    history.truncated = true;
    Ok(history)
}

fn revision(meta: &ObjectMeta, number: Option<i64>, template: Option<PodTemplateSpec>) -> Option<Revision> {
    let mut spec = template?;
    if let Some(labels) = spec.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove("pod-template-hash");
    }
    let of = |meta: Option<&ObjectMeta>| meta.and_then(|meta| meta.annotations.clone()).unwrap_or_default();
    Some(Revision {
        number,
        template: template_digest(&spec),
        rest: rest_digest(&spec),
        template_annotations: of(spec.metadata.as_ref()),
        annotations: of(Some(meta)),
        spec,
    })
}
