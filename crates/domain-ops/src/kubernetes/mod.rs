//! What the Kubernetes tools share.
//!
//! | module | what it holds |
//! |---|---|
//! | [`cluster`] | [`Cluster`]: live reads, the patch, the watches, logs |
//! | `client`, [`gate`] | how requests are sent: retries, limits, pace, `Retry-After` |
//! | [`objects`] | objects of any kind, for packs |
//! | [`permissions`] | what our identity may do, and should |
//! | [`scope`] | the shared watches of one namespace and what they hold, indexed |
//! | [`workload`] | one view of Deployment, StatefulSet and DaemonSet, of their pods and events |
//! | [`rollout`] | pure: where a rollout stands, and whether *this* change came out well |
//! | `once` | a change of a workload, of its autoscaler, or of a node: made once, and settled when it is unclear |
//! | `watch` | a workload is watched until what becomes of it is known |
//! | `restart` | the restart and its undo |
//! | `scale` | scaling and its undo |
//! | `node` | a node, cordoned and uncordoned |
//! | `drain` | a node, drained |
//! | `residents` | pods one by one, and those of a node |
//! | `eviction` | a pod, evicted |
//! | `whole` | waits until a workload has every pod again |
//! | `rollback` | going back to a template that it had |
//! | `autoscalers` | who else sets the number of its pods, and that one's minimum |
//! | `history` | the templates that a workload had |
//! | `logs` | the logs of all its pods, bounded and made safe |
//! | `events` | the events of a namespace or of what belongs to a workload, those that say the same together |
//! | [`guard`] | pure: is this a sane moment to restart it, or to undo that |
//! | [`facts`], [`gitops`] | pure: what policies and guardrails ask about |
//! | `budgets` | which PodDisruptionBudgets cover its pods, and what they allow |
//! | [`diagnosis`] | pure: why pods are not well |
//! | [`redact`] | pure: text of the cluster made safe to show |
//! | [`errors`] | pure: the API's errors as ours |

pub(crate) mod autoscalers;
mod budgets;
mod client;
pub mod cluster;
pub mod diagnosis;
pub(crate) mod drain;
pub mod errors;
pub(crate) mod events;
pub(crate) mod eviction;
pub mod facts;
pub mod gate;
pub mod gitops;
pub mod guard;
mod history;
pub(crate) mod logs;
pub(crate) mod node;
pub mod objects;
pub(crate) mod once;
pub(crate) mod pause;
pub mod permissions;
pub use astradesk_core::redact;
pub(crate) mod residents;
pub(crate) mod restart;
pub(crate) mod rollback;
pub mod rollout;
pub mod scale;
pub mod scope;
pub(crate) mod watch;
pub(crate) mod whole;
pub mod workload;

#[cfg(test)]
mod node_tests;
#[cfg(test)]
mod rollback_tests;
#[cfg(test)]
mod scale_tests;
#[cfg(test)]
mod settle_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod undo_tests;

pub use cluster::Cluster;
pub use gate::{Pace, Sent};
pub use permissions::Permission;
pub use scale::Bounds;

/// The field manager of every write.
pub const FIELD_MANAGER: &str = "astradesk";
/// The annotation by which kubectl and AstraDesk restart: the time, RFC 3339.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// The annotation that makes a change idempotent: `RUN/STEP`. A restart sets it in the pod template, any other change
/// among the object's own.
pub const RUN: &str = "astradesk.dev/run";
/// The object's own annotation that makes an undo idempotent: `RUN/STEP`.
pub const UNDO: &str = "astradesk.dev/undo";
