//! What an action is done to.

use crate::name::{ClusterName, ExternalName, Namespace, ObjectKind, ObjectName, SystemName};
use crate::text::shown;
use crate::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A target, written `kubernetes/CLUSTER/NAMESPACE/KIND/NAME`, `kubernetes/CLUSTER/node/NAME` or
/// `external/SYSTEM/KIND/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// A workload, a pod, or a whole namespace (kind [`Kind::Namespace`]), of a Kubernetes cluster.
    Kubernetes {
        /// The cluster, always explicit.
        cluster: ClusterName,
        /// The namespace.
        namespace: Namespace,
        /// The kind of the object.
        kind: Kind,
        /// The object's name.
        name: ObjectName,
    },
    /// Any other object of a Kubernetes cluster, with the group of its kind.
    Object {
        /// The cluster, always explicit.
        cluster: ClusterName,
        /// The namespace.
        namespace: Namespace,
        /// The kind of the object.
        kind: ObjectKind,
        /// The object's name.
        name: ObjectName,
    },
    /// A node of a Kubernetes cluster, which is in no namespace.
    Node {
        /// The cluster, always explicit.
        cluster: ClusterName,
        /// The node's name.
        name: ObjectName,
    },
    /// A thing in a system that is no Kubernetes cluster: a flag, a session of a database.
    External {
        /// The system.
        system: SystemName,
        /// The kind of the thing.
        kind: SystemName,
        /// Its name.
        name: ExternalName,
    },
}

/// The kinds of Kubernetes objects that have a short name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `apps/v1` DaemonSet.
    DaemonSet,
    /// A workload whose kind is not known, because no object or more than one has the name.
    Workload,
    /// A pod.
    Pod,
    /// A whole namespace.
    Namespace,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::Workload, Self::Pod, Self::Namespace];

    /// Whether it is what people call a service.
    pub const fn is_workload(self) -> bool {
        matches!(self, Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::Workload)
    }

    /// The kind as it is written in a target.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
            Self::Workload => "workload",
            Self::Pod => "pod",
            Self::Namespace => "namespace",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known
            .ok_or_else(|| Error::new(Code::RequestMalformed, format!("`{}` is not a kind", shown(text, 80))))
    }
}

impl Target {
    /// With what a target that is no object of a cluster begins.
    pub const EXTERNAL: &'static str = "external";

    /// With what an object of a cluster begins, and its system.
    pub const KUBERNETES: &'static str = "kubernetes";

    /// The kind of a node.
    pub const NODE: &'static str = "node";

    /// The system that the target belongs to: `kubernetes`, or as an external one is called.
    pub fn system(&self) -> &str {
        match self {
            Self::Kubernetes { .. } | Self::Object { .. } | Self::Node { .. } => Self::KUBERNETES,
            Self::External { system, .. } => system.as_str(),
        }
    }

    /// The cluster; empty outside of clusters.
    pub fn cluster(&self) -> &str {
        match self {
            Self::Kubernetes { cluster, .. } | Self::Object { cluster, .. } | Self::Node { cluster, .. } => {
                cluster.as_str()
            }
            Self::External { .. } => "",
        }
    }

    /// The namespace; empty for a node, and outside of clusters.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Kubernetes { namespace, .. } | Self::Object { namespace, .. } => namespace.as_str(),
            Self::Node { .. } | Self::External { .. } => "",
        }
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        match self {
            Self::Kubernetes { kind, .. } => kind.as_str(),
            Self::Object { kind, .. } => kind.as_str(),
            Self::Node { .. } => Self::NODE,
            Self::External { kind, .. } => kind.as_str(),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        match self {
            Self::Kubernetes { name, .. } | Self::Object { name, .. } | Self::Node { name, .. } => {
                name.as_str()
            }
            Self::External { name, .. } => name.as_str(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubernetes { cluster, namespace, kind, name } => {
                write!(f, "kubernetes/{cluster}/{namespace}/{kind}/{name}")
            }
            Self::Object { cluster, namespace, kind, name } => {
                write!(f, "kubernetes/{cluster}/{namespace}/{kind}/{name}")
            }
            Self::Node { cluster, name } => write!(f, "kubernetes/{cluster}/{}/{name}", Self::NODE),
            Self::External { system, kind, name } => write!(f, "external/{system}/{kind}/{name}"),
        }
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.splitn(5, '/').collect();
        match parts.as_slice() {
            [Self::KUBERNETES, cluster, namespace, kind, name] => {
                let cluster = ClusterName::parse(*cluster)?;
                let namespace = Namespace::parse(*namespace)?;
                let name = ObjectName::parse(*name)?;
                if kind.contains('.') {
                    let kind = ObjectKind::parse(*kind)?;
                    return Ok(Self::Object { cluster, namespace, kind, name });
                }
                Ok(Self::Kubernetes { cluster, namespace, kind: kind.parse()?, name })
            }
            [Self::KUBERNETES, cluster, Self::NODE, name] => {
                Ok(Self::Node { cluster: ClusterName::parse(*cluster)?, name: ObjectName::parse(*name)? })
            }
            [Self::EXTERNAL, system, kind, name] => Ok(Self::External {
                system: SystemName::parse(*system)?,
                kind: SystemName::parse(*kind)?,
                name: ExternalName::parse(*name)?,
            }),
            _ => Err(Error::new(
                Code::RequestMalformed,
                format!(
                    "`{}` is not a target, such as `kubernetes/prod/default/deployment/webapp` or \
                     `external/unleash/flag/checkout`",
                    shown(text, 80)
                ),
            )),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_reads_back_as_it_is_written() {
        for text in [
            "kubernetes/prod/default/deployment/webapp",
            "kubernetes/a:b/x/namespace/x",
            "kubernetes/prod/default/ingress.networking.k8s.io/shop",
            "kubernetes/prod/default/configmap.core/settings",
            "kubernetes/prod/default/pod/webapp-1",
            "kubernetes/prod/node/worker-1.example.com",
            "kubernetes/prod/node/deployment/webapp",
            "external/unleash/flag/default.production.new-checkout",
            "external/postgresql/backend/shop:4711",
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.to_string(), text);
            let named = text.ends_with(target.name()) && text.contains(&format!("/{}/", target.kind()));
            assert!(named, "{target:?}");
        }
        for text in [
            "",
            "webapp",
            "kubernetes/prod/default/deployment",
            "kubernetes/p/d/job/x",
            "kubernetes/p/node",
            "kubernetes/p/node/",
            "kubernetes/p/Node/x",
            "kubernetes/p/default/node/x",
            "kubernetes/p/d/pod.core/x",
            "kubernetes/p/d/node.core/x",
            "node/p/node/x",
            "aws/p/d/deployment/x",
            "kubernetes/p/d/deployment/a/b",
            "kubernetes/p/d/deployment.apps/x",
            "kubernetes/p/d/namespace.core/d",
            "kubernetes/p/d/Ingress.networking.k8s.io/x",
            "kubernetes/p/d/ingress./x",
            "external/unleash/flag",
            "external/unleash/flag/",
            "external/unleash/flag/..",
            "external/unleash/flag/a/b",
            "external/unleash/flag/a b",
            "external/Unleash/flag/a",
            "external/kubernetes/deployment/webapp",
            "external/x/external/a",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_node_is_in_a_cluster_and_in_no_namespace() {
        let target: Target = "kubernetes/prod/node/worker-1".parse().unwrap();
        let parts = (target.system(), target.cluster(), target.namespace(), target.kind(), target.name());
        assert_eq!(parts, ("kubernetes", "prod", "", "node", "worker-1"));
    }

    #[test]
    fn what_is_no_object_of_a_cluster_is_in_none() {
        let target: Target = "external/unleash/flag/checkout".parse().unwrap();
        let parts = (target.system(), target.cluster(), target.namespace(), target.kind(), target.name());
        assert_eq!(parts, ("unleash", "", "", "flag", "checkout"));
    }
}
