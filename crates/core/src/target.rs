//! What an action is done to.

use crate::name::{ClusterName, Namespace, ObjectName};
use crate::text::shown;
use crate::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A target, written `kubernetes/CLUSTER/NAMESPACE/KIND/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// An object, or a whole namespace (kind [`Kind::Namespace`]), of a Kubernetes cluster.
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
}

/// The kinds of Kubernetes objects that tools act on.
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
    /// A whole namespace.
    Namespace,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Deployment, Self::StatefulSet, Self::DaemonSet, Self::Workload, Self::Namespace];

    /// The kind as it is written in a target.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
            Self::Workload => "workload",
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
    /// Every system that there are targets of.
    pub const SYSTEMS: [&str; 1] = ["kubernetes"];

    /// The system that the target belongs to.
    pub const fn system(&self) -> &'static str {
        match self {
            Self::Kubernetes { .. } => "kubernetes",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubernetes { cluster, namespace, kind, name } => {
                write!(f, "kubernetes/{cluster}/{namespace}/{kind}/{name}")
            }
        }
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.splitn(5, '/').collect();
        match parts.as_slice() {
            ["kubernetes", cluster, namespace, kind, name] => Ok(Self::Kubernetes {
                cluster: ClusterName::parse(*cluster)?,
                namespace: Namespace::parse(*namespace)?,
                kind: kind.parse()?,
                name: ObjectName::parse(*name)?,
            }),
            _ => Err(Error::new(
                Code::RequestMalformed,
                format!(
                    "`{}` is not a target, such as `kubernetes/prod/default/deployment/webapp`",
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
        for text in ["kubernetes/prod/default/deployment/webapp", "kubernetes/a:b/x/namespace/x"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "webapp",
            "kubernetes/prod/default/deployment",
            "kubernetes/p/d/pod/x",
            "aws/p/d/deployment/x",
            "kubernetes/p/d/deployment/a/b",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
