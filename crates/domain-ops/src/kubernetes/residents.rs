//! Pods one by one, and those of a node: what an eviction asks about.

use super::cluster::Cluster;
use super::errors::{Failure, Operation};
use astradesk_core::name::{Namespace, ObjectKind, ObjectName};
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error, Result, Target};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The most pods of one node that are looked at.
pub(crate) const MOST: u32 = 1000;
/// The annotation of a pod that a kubelet mirrors from a file.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// One pod, and not another one of its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct PodRef {
    pub(crate) namespace: Namespace,
    pub(crate) name: ObjectName,
    pub(crate) uid: String,
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod `{}` in namespace `{}`", self.name, self.namespace)
    }
}

/// What brings a pod back when it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    group: String,
    kind: String,
    name: String,
    uid: String,
}

impl Owner {
    /// The controller of an object.
    fn of(meta: &ObjectMeta) -> Option<Self> {
        let owner = meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        Some(Self {
            group: group.to_owned(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        })
    }

    fn is(&self, kind: &str) -> bool {
        self.group == "apps" && self.kind == kind
    }

    fn is_node(&self) -> bool {
        self.group.is_empty() && self.kind == "Node"
    }

    /// Whether it wants a pod on every node, and minds no cordon.
    pub(crate) fn is_daemon_set(&self) -> bool {
        self.is("DaemonSet")
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.to_ascii_lowercase(), self.name)
    }
}

/// How far a pod has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has not begun to run yet.
    Pending,
    /// It runs.
    Running,
    /// It runs, and serves.
    Ready,
    /// It has ended for good.
    Ended,
}

/// A pod, as an eviction asks about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resident {
    pub(crate) pod: PodRef,
    pub(crate) owner: Option<Owner>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) node: Option<String>,
    /// Whether it is being deleted.
    pub(crate) terminating: bool,
    pub(crate) stage: Stage,
    /// Whether the kubelet keeps it, from a file of the node: no eviction stops it.
    pub(crate) is_mirror: bool,
    /// Whether it keeps data that go with it.
    pub(crate) has_empty_dir: bool,
}

impl Resident {
    fn of(object: &Pod) -> Option<Self> {
        let (meta, status) = (&object.metadata, object.status.as_ref());
        let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
        let mut conditions = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
        let is_ready = conditions.any(|c| c.type_ == "Ready" && c.status == "True");
        let spec = object.spec.as_ref();
        let mut volumes = spec.into_iter().flat_map(|spec| spec.volumes.iter().flatten());
        Some(Self {
            pod: PodRef {
                namespace: Namespace::parse(meta.namespace.as_deref()?).ok()?,
                name: ObjectName::parse(meta.name.as_deref()?).ok()?,
                uid: meta.uid.clone()?,
            },
            owner: Owner::of(meta),
            labels: meta.labels.clone().unwrap_or_default(),
            node: spec.and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty()),
            terminating: meta.deletion_timestamp.is_some(),
            stage: match phase {
                "Succeeded" | "Failed" => Stage::Ended,
                _ if is_ready => Stage::Ready,
                "Pending" => Stage::Pending,
                _ => Stage::Running,
            },
            is_mirror: meta.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR)),
            has_empty_dir: volumes.any(|volume| volume.empty_dir.is_some()),
        })
    }
}

impl Cluster {
    /// A pod as it is now, if there is one of this name.
    pub(crate) async fn resident(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
    ) -> Result<Option<Resident>, Failure> {
        let pod: Option<Pod> = self.named("pods", namespace, name.as_str()).await?;
        Ok(pod.as_ref().and_then(Resident::of))
    }

    /// The pods that are bound to a node, by namespace and name; and whether there are more than [`MOST`].
    pub(crate) async fn residents(&self, node: &ObjectName) -> Result<(Vec<Resident>, bool), Failure> {
        let requests = self.requests();
        let api: Api<Pod> = Api::all(requests.client().clone());
        let params = ListParams::default().fields(&format!("spec.nodeName={node}")).limit(MOST);
        let listed = requests.read(&residents_of(node), || api.list(&params)).await?;
        let more = listed.metadata.continue_.is_some_and(|next| !next.is_empty());
        let mut pods: Vec<Resident> = listed.items.iter().filter_map(Resident::of).collect();
        pods.sort_by(|one, other| one.pod.cmp(&other.pod));
        Ok((pods, more))
    }

    /// The service that a pod belongs to, or whatever else brings it back; the pod itself if nothing does.
    pub(crate) async fn keeper(&self, resident: &Resident) -> Result<Target> {
        let PodRef { namespace, name, .. } = &resident.pod;
        // A pod that its node keeps from a file is nobody's: the node is where it is.
        let Some(owner) = resident.owner.as_ref().filter(|owner| !owner.is_node()) else {
            return Ok(self.target(namespace, Kind::Pod, name.clone()));
        };
        let above = if owner.is("ReplicaSet") { self.above(namespace, owner).await? } else { None };
        let owner = above.as_ref().unwrap_or(owner);
        let name = ObjectName::parse(owner.name.as_str())?;
        for (kind, known) in [
            ("Deployment", Kind::Deployment),
            ("StatefulSet", Kind::StatefulSet),
            ("DaemonSet", Kind::DaemonSet),
        ] {
            if owner.is(kind) {
                return Ok(self.target(namespace, known, name));
            }
        }
        let group = if owner.group.is_empty() { "core" } else { &owner.group };
        let kind = ObjectKind::parse(format!("{}.{group}", owner.kind.to_ascii_lowercase()))?;
        Ok(Target::Object { cluster: self.name().clone(), namespace: namespace.clone(), kind, name })
    }

    /// What owns a ReplicaSet, if something does.
    async fn above(&self, namespace: &Namespace, owner: &Owner) -> Result<Option<Owner>> {
        let found: Option<ReplicaSet> =
            self.named("replicasets.apps", namespace, &owner.name).await.map_err(|failure| {
                let operation =
                    Operation::new("list", "replicasets.apps", namespace.as_str(), owner.name.as_str());
                failure.into_error(&operation)
            })?;
        let found = found.filter(|found| found.metadata.uid.as_deref() == Some(owner.uid.as_str()));
        let Some(found) = found else {
            let message = format!("the ReplicaSet `{}` of the pod is gone", owner.name);
            return Err(Error::new(Code::KubernetesConflict, message));
        };
        Ok(Owner::of(&found.metadata))
    }

    /// An object by its name, by the permission to list such objects.
    async fn named<K>(
        &self,
        resource: &'static str,
        namespace: &Namespace,
        name: &str,
    ) -> Result<Option<K>, Failure>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + fmt::Debug,
    {
        let requests = self.requests();
        let api: Api<K> = requests.api(namespace.as_str());
        let params = ListParams::default().fields(&format!("metadata.name={name}"));
        let operation = Operation::new("list", resource, namespace.as_str(), name);
        let listed = requests.read(&operation, || api.list(&params)).await?;
        Ok(listed.items.into_iter().next())
    }
}

/// What is asked for the pods of a node.
pub(crate) fn residents_of(node: &ObjectName) -> Operation {
    Operation::new("list", "pods", "", node.as_str())
}

/// A pod that serves, with changes.
#[cfg(test)]
pub(crate) fn resident(name: &str, changes: &serde_json::Value) -> Resident {
    let mut object = serde_json::json!({
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}")},
        "spec": {"nodeName": "worker-1", "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    });
    for (part, fields) in changes.as_object().into_iter().flatten() {
        for (key, value) in fields.as_object().into_iter().flatten() {
            object[part][key] = value.clone();
        }
    }
    Resident::of(&serde_json::from_value(object).unwrap()).unwrap()
}
