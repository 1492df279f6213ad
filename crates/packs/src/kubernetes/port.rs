//! The port to the cluster: whoever puts AstraDesk together gives it, so that requests share one pace, one set of
//! credentials and one way to tell errors.

use astradesk_core::name::{ClusterName, Namespace, ObjectName};
use astradesk_core::{Code, Error, Facts, Result};
use async_trait::async_trait;
use serde_json::Value;
use std::fmt;
use tokio::time::Instant;

/// One object, by where the API server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRef {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version of the API.
    pub version: String,
    /// The kind, as objects have it.
    pub kind: String,
    /// The resource's name.
    pub plural: String,
    /// The namespace.
    pub namespace: Namespace,
    /// The object's name.
    pub name: ObjectName,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.group.is_empty() { "" } else { "." };
        write!(f, "{}{dot}{} `{}` in namespace `{}`", self.plural, self.group, self.name, self.namespace)
    }
}

/// Whether a patch is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The API server does everything but store it.
    DryRun,
    /// It is stored, if its turn to be sent comes before this.
    Until(Instant),
}

/// Why the API server did not answer with an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The request certainly changed nothing.
    Not(Error),
    /// The object has another version by now, and the request changed nothing.
    Conflict(Error),
    /// Whether it changed something is not known; asking again may help.
    Maybe(Error),
}

impl Refusal {
    /// The error.
    pub fn into_error(self) -> Error {
        match self {
            Self::Not(error) | Self::Conflict(error) | Self::Maybe(error) => error,
        }
    }
}

/// The objects of the cluster.
#[async_trait]
pub trait Objects: Send + Sync + 'static {
    /// The cluster's name, as targets show it.
    fn cluster(&self) -> ClusterName;

    /// The object as it is now.
    async fn get(&self, object: &ObjectRef) -> Result<Value, Refusal>;

    /// Sends one merge patch, once, under AstraDesk's field manager.
    async fn patch(&self, object: &ObjectRef, patch: &Value, change: Change) -> Result<Value, Refusal>;

    /// What policies and guardrails ask about; of an object that is not there, nothing is known.
    ///
    /// # Errors
    /// The cluster did not say.
    async fn facts(&self, object: &ObjectRef) -> Result<Facts>;
}

/// No cluster: for checks and cases, which reach nobody.
#[derive(Debug, Clone)]
pub struct NoCluster(ClusterName);

impl NoCluster {
    /// The name of the cluster in cases.
    pub const NAME: &'static str = "cluster";

    /// A cluster that cannot be reached.
    pub fn new() -> Result<Self> {
        ClusterName::parse(Self::NAME).map(Self)
    }
}

fn nobody() -> Error {
    Error::new(Code::KubernetesUnavailable, "there is no cluster here, only the pack is looked at")
}

#[async_trait]
impl Objects for NoCluster {
    fn cluster(&self) -> ClusterName {
        self.0.clone()
    }

    async fn get(&self, _: &ObjectRef) -> Result<Value, Refusal> {
        Err(Refusal::Not(nobody()))
    }

    async fn patch(&self, _: &ObjectRef, _: &Value, _: Change) -> Result<Value, Refusal> {
        Err(Refusal::Not(nobody()))
    }

    async fn facts(&self, _: &ObjectRef) -> Result<Facts> {
        Err(nobody())
    }
}
