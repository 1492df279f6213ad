//! The Operations pack: `OpsAgent` and its tools.
//!
//! | module | what it holds |
//! |---|---|
//! | [`pack`] | [`OperationsPack`]: what registers together |
//! | [`agents`] | [`agents::ops::OpsAgent`]: plans with its planner, replies from a run's facts |
//! | [`tools`] | one module a system, one file a tool |
//! | [`ansible`] | playbooks of one folder: what they may be run on, how they are begun once, watched and stopped |
//! | [`kubernetes`] | what the Kubernetes tools share: the cluster, its watches, and every decision on them |
//! | [`alertmanager`] | what its tools share: alerts, silences, and a silence that is made once |
//! | [`prometheus`] | queries, and what is answered to them |
//! | [`checks`] | what must be so of a metric after a change |
//! | `aws` | what its tools share, with the feature of this name |
//! | [`upstream`] | the one HTTP client, and what its failures mean |
//!
//! ```text
//! tools/kubernetes/restart_service ─┐            ┌ watches: one set per namespace, shared by all runs
//!                 get_service_status├─ Cluster ──┤ live reads with bounded retries
//!                 list_services ────┘     │      └ one patch, bound to its intent, never retried blindly
//!                                         └─ workload · rollout · guard · diagnosis · redact (pure)
//! ```
//!
//! **Invariant.** Whatever decides is a pure function of views of the objects ([`kubernetes::workload`]);
//! only [`kubernetes::cluster`], [`kubernetes::permissions`] and [`kubernetes::scope`] speak to the API server.
//!
//! **Invariant.** Nothing here waits without a limit, and no watch belongs to one run.

pub mod agents;
pub mod alertmanager;
pub mod ansible;
#[cfg(feature = "aws")]
pub mod aws;
pub mod checks;
pub mod kubernetes;
pub mod pack;
pub mod prometheus;
pub mod tools;
pub mod upstream;

pub use alertmanager::Alertmanager;
pub use ansible::Ansible;
pub use checks::Checks;
pub use kubernetes::{Bounds, Cluster, Pace, Sent};
pub use pack::OperationsPack;
pub use prometheus::Prometheus;
pub use upstream::Upstream;
