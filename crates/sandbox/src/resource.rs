//! The table of kinds that the sandbox serves. A row here is all that a kind needs to be stored, listed,
//! watched and patched; behaviour, where a kind has any, is in [`crate::controllers`].

use crate::json::{Map, Value};
use k8s_openapi::api::{
    apps::v1 as apps, autoscaling::v1 as autoscaling, core::v1 as core, networking::v1 as networking,
    policy::v1 as policy, rbac::v1 as rbac,
};
use serde::{Serialize, de::DeserializeOwned};

/// A kind, and how it is addressed.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "a row of a table: each is a property of its own")]
pub(crate) struct Resource {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    /// A version at which the same objects are served to older clients.
    pub(crate) older: Option<&'static str>,
    pub(crate) plural: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) short_names: &'static [&'static str],
    pub(crate) namespaced: bool,
    /// Has a `/status`, which writes to the object itself cannot change.
    pub(crate) status: bool,
    /// Has a `/scale`.
    pub(crate) scale: bool,
    /// Counts its specification's changes in `metadata.generation`.
    pub(crate) generation: bool,
    /// Reads an object as the kind's type and writes it back: wrong types are errors, unknown fields go.
    pub(crate) normalise: fn(Value) -> Result<Value, serde_json::Error>,
}

fn typed<T: DeserializeOwned + Serialize>(object: Value) -> Result<Value, serde_json::Error> {
    let object = serde_json::to_value(object).and_then(serde_json::from_value::<T>)?;
    let mut object = Value::from(serde_json::to_value(object)?);
    for path in ["/metadata", "/spec/template/metadata"] {
        if let Some(Value::Object(meta)) = object.pointer_mut(path) {
            // The real server does not write empty ones either; a template with one would differ from one without.
            meta.retain(|_, value| !is_empty(value));
        }
    }
    Ok(object)
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

const CORE: Resource = Resource {
    group: "",
    version: "v1",
    older: None,
    plural: "",
    kind: "",
    short_names: &[],
    namespaced: true,
    status: false,
    scale: false,
    generation: false,
    normalise: Ok,
};

/// No kind: in their order it comes before all.
pub(crate) static NONE: Resource = CORE;

const APPS: Resource = Resource { group: "apps", status: true, generation: true, ..CORE };

pub(crate) static NAMESPACES: Resource = Resource {
    plural: "namespaces",
    kind: "Namespace",
    short_names: &["ns"],
    namespaced: false,
    status: true,
    normalise: typed::<core::Namespace>,
    ..CORE
};
pub(crate) static NODES: Resource = Resource {
    plural: "nodes",
    kind: "Node",
    short_names: &["no"],
    namespaced: false,
    status: true,
    normalise: typed::<core::Node>,
    ..CORE
};
pub(crate) static PODS: Resource = Resource {
    plural: "pods",
    kind: "Pod",
    short_names: &["po"],
    status: true,
    normalise: typed::<core::Pod>,
    ..CORE
};
pub(crate) static EVENTS: Resource = Resource {
    plural: "events",
    kind: "Event",
    short_names: &["ev"],
    normalise: typed::<core::Event>,
    ..CORE
};
static SERVICES: Resource = Resource {
    plural: "services",
    kind: "Service",
    short_names: &["svc"],
    status: true,
    normalise: typed::<core::Service>,
    ..CORE
};
static CONFIG_MAPS: Resource = Resource {
    plural: "configmaps",
    kind: "ConfigMap",
    short_names: &["cm"],
    normalise: typed::<core::ConfigMap>,
    ..CORE
};
pub(crate) static RESOURCE_QUOTAS: Resource = Resource {
    plural: "resourcequotas",
    kind: "ResourceQuota",
    short_names: &["quota"],
    status: true,
    normalise: typed::<core::ResourceQuota>,
    ..CORE
};
pub(crate) static DEPLOYMENTS: Resource = Resource {
    plural: "deployments",
    kind: "Deployment",
    short_names: &["deploy"],
    scale: true,
    normalise: typed::<apps::Deployment>,
    ..APPS
};
pub(crate) static REPLICA_SETS: Resource = Resource {
    plural: "replicasets",
    kind: "ReplicaSet",
    short_names: &["rs"],
    scale: true,
    normalise: typed::<apps::ReplicaSet>,
    ..APPS
};
pub(crate) static STATEFUL_SETS: Resource = Resource {
    plural: "statefulsets",
    kind: "StatefulSet",
    short_names: &["sts"],
    scale: true,
    normalise: typed::<apps::StatefulSet>,
    ..APPS
};
pub(crate) static DAEMON_SETS: Resource = Resource {
    plural: "daemonsets",
    kind: "DaemonSet",
    short_names: &["ds"],
    normalise: typed::<apps::DaemonSet>,
    ..APPS
};
pub(crate) static CONTROLLER_REVISIONS: Resource = Resource {
    plural: "controllerrevisions",
    kind: "ControllerRevision",
    status: false,
    generation: false,
    normalise: typed::<apps::ControllerRevision>,
    ..APPS
};
pub(crate) static DISRUPTION_BUDGETS: Resource = Resource {
    group: "policy",
    older: Some("v1beta1"),
    plural: "poddisruptionbudgets",
    kind: "PodDisruptionBudget",
    short_names: &["pdb"],
    status: true,
    generation: true,
    normalise: typed::<policy::PodDisruptionBudget>,
    ..CORE
};
static INGRESSES: Resource = Resource {
    group: "networking.k8s.io",
    plural: "ingresses",
    kind: "Ingress",
    short_names: &["ing"],
    status: true,
    generation: true,
    normalise: typed::<networking::Ingress>,
    ..CORE
};
/// Their controller is in [`crate::controllers`]; it has no metrics.
pub(crate) static AUTOSCALERS: Resource = Resource {
    group: "autoscaling",
    plural: "horizontalpodautoscalers",
    kind: "HorizontalPodAutoscaler",
    short_names: &["hpa"],
    status: true,
    normalise: typed::<autoscaling::HorizontalPodAutoscaler>,
    ..CORE
};

static SERVICE_ACCOUNTS: Resource = Resource {
    plural: "serviceaccounts",
    kind: "ServiceAccount",
    short_names: &["sa"],
    normalise: typed::<core::ServiceAccount>,
    ..CORE
};
/// The group of roles and bindings.
pub(crate) const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

const RBAC: Resource = Resource { group: RBAC_GROUP, ..CORE };

pub(crate) static ROLES: Resource =
    Resource { plural: "roles", kind: "Role", normalise: typed::<rbac::Role>, ..RBAC };
pub(crate) static ROLE_BINDINGS: Resource =
    Resource { plural: "rolebindings", kind: "RoleBinding", normalise: typed::<rbac::RoleBinding>, ..RBAC };
pub(crate) static CLUSTER_ROLES: Resource = Resource {
    plural: "clusterroles",
    kind: "ClusterRole",
    namespaced: false,
    normalise: typed::<rbac::ClusterRole>,
    ..RBAC
};
pub(crate) static CLUSTER_ROLE_BINDINGS: Resource = Resource {
    plural: "clusterrolebindings",
    kind: "ClusterRoleBinding",
    namespaced: false,
    normalise: typed::<rbac::ClusterRoleBinding>,
    ..RBAC
};
/// What `/scale` speaks; it is not stored.
pub(crate) static SCALE: Resource =
    Resource { group: "autoscaling", kind: "Scale", plural: "scales", ..CORE };

/// Every kind that is stored, in the order of discovery.
pub(crate) static ALL: [&Resource; 20] = [
    &NAMESPACES,
    &NODES,
    &PODS,
    &EVENTS,
    &SERVICES,
    &CONFIG_MAPS,
    &SERVICE_ACCOUNTS,
    &RESOURCE_QUOTAS,
    &DEPLOYMENTS,
    &REPLICA_SETS,
    &STATEFUL_SETS,
    &DAEMON_SETS,
    &CONTROLLER_REVISIONS,
    &DISRUPTION_BUDGETS,
    &AUTOSCALERS,
    &INGRESSES,
    &ROLES,
    &ROLE_BINDINGS,
    &CLUSTER_ROLES,
    &CLUSTER_ROLE_BINDINGS,
];

impl Resource {
    /// The kind at this address.
    pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
        ALL.into_iter().find(|r| r.group == group && r.plural == plural && r.versions().any(|v| v == version))
    }

    /// The kind of this object, by its `apiVersion` and `kind`.
    pub(crate) fn of(object: &Value) -> Option<&'static Resource> {
        let (version, kind) = (object.get("apiVersion")?.as_str()?, object.get("kind")?.as_str()?);
        ALL.into_iter().find(|r| r.kind == kind && r.api_version() == version)
    }

    /// The versions at which the kind is served, the preferred one first.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.version).chain(self.older)
    }

    /// `v1`, or `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.into() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The plural as messages name it: `pods`, or `deployments.apps`.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.into() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The kind as messages name it: `Pod`, or `Deployment.apps`.
    pub(crate) fn qualified_kind(&self) -> String {
        if self.group.is_empty() { self.kind.into() } else { format!("{}.{}", self.kind, self.group) }
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        // There is one row of each, which is mostly compared with itself.
        std::ptr::eq(self, other) || (self.group, self.plural) == (other.group, other.plural)
    }
}

impl Eq for Resource {}

impl PartialOrd for Resource {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Resource {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if std::ptr::eq(self, other) {
            return std::cmp::Ordering::Equal;
        }
        (self.group, self.plural).cmp(&(other.group, other.plural))
    }
}
