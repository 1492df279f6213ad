//! A stand-in kubelet: it makes pods of a real control plane run without running anything.
//!
//! It registers one node, keeps it ready, and brings every pod that the scheduler puts there to the state
//! that the pod's annotation [`BEHAVIOUR`] asks for, with the statuses, events and logs that a real kubelet
//! would leave. The API server, the controllers and the scheduler are real: what a test sees of a rollout
//! is what Kubernetes does.
//!
//! | module | what |
//! |---|---|
//! | [`behaviour`] | the annotation's values, and which states follow one another for each |
//! | [`status`] | a state as the pod's status: a pure function |
//! | [`event`] | a state as the events that report it: a pure function |
//! | [`logs`] | what a container has written: a pure function |
//! | `pods` | watches the node's pods and brings them from state to state |
//! | `node` | registers the node and keeps it ready |
//! | `server` | serves the logs to the API server over HTTPS |

pub mod behaviour;
pub mod event;
pub mod logs;
mod node;
mod pods;
mod server;
pub mod status;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::Client;
use tokio::net::TcpListener;

/// The pod's annotation that says how it behaves: a value of [`behaviour::Behaviour`].
pub const BEHAVIOUR: &str = "sandbox.astradesk.dev/behaviour";
/// Takes the place of [`BEHAVIOUR`] on a pod that also carries [`RESTARTED_AT`]: a restart that heals, or breaks.
pub const BEHAVIOUR_ONCE_RESTARTED: &str = "sandbox.astradesk.dev/behaviour-once-restarted";
/// The pod's annotation with the lines of its log.
pub const LOGS: &str = "sandbox.astradesk.dev/logs";
/// What a rollout restart sets on the pod template, and the pods inherit.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// How the kubelet runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of its node.
    pub node: String,
    /// The key of a taint (`NoSchedule`) that keeps off all pods that do not tolerate it; none unless it is given.
    pub taint: Option<String>,
    /// From the scheduling of a pod to its first state, and between two states of one that fails.
    pub delay: Duration,
    /// From the deletion of a pod to its end.
    pub termination: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let millis = Duration::from_millis;
        Self { node: "stand-in".to_owned(), taint: None, delay: millis(200), termination: millis(100) }
    }
}

/// Runs until an error ends it; dropped, it stops at once and leaves the node and the pods as they are.
///
/// # Errors
///
/// When no port is free on loopback, or the node cannot be registered. Errors of the watch and of single
/// pods are retried and logged.
pub async fn run(client: Client, options: Options) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port is free for the logs")?;
    let port = listener.local_addr().context("the port of the logs is unknown")?.port();
    let node = node::Node::new(client.clone(), &options.node, port);
    node.register(options.taint.as_deref())
        .await
        .with_context(|| format!("cannot register the node `{}`", options.node))?;
    tracing::info!(node = options.node, port, "registered");
    let book = Arc::new(pods::Book::default());
    tokio::select! {
        ended = node.keep_ready() => ended,
        ended = server::serve(listener, Arc::clone(&book)) => ended,
        ended = pods::keep(client, options, book) => ended,
    }
}
