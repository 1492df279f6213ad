//! What the Kubernetes tools share.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cluster`] | [`Cluster`]: the client, live reads, the patch, permissions |
//! | [`scope`] | the shared watches of one namespace and what they hold, indexed |
//! | [`workload`] | one view of Deployment, StatefulSet and DaemonSet, of their pods and events |
//! | [`rollout`] | pure: where a rollout stands, and whether *this* change came out well |
//! | `restart` | the restart itself: perform once, settle what is unclear, verify by the watches |
//! | [`guard`] | pure: is this a sane moment to restart it |
//! | [`diagnosis`] | pure: why pods are not well |
//! | [`redact`] | pure: text of the cluster made safe to show |
//! | [`errors`] | pure: the API's errors as ours |

pub mod cluster;
pub mod diagnosis;
pub mod errors;
pub mod guard;
pub mod redact;
pub(crate) mod restart;
pub mod rollout;
pub mod scope;
pub mod workload;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use cluster::{Cluster, Permission};

/// The field manager of every write.
pub const FIELD_MANAGER: &str = "astradesk";
/// The annotation by which kubectl and AstraDesk restart: the time, RFC 3339.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// The annotation that makes a restart idempotent: `RUN/STEP`.
pub const RUN: &str = "astradesk.dev/run";
