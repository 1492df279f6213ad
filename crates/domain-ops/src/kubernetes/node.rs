//! Nodes: read, and cordoned or uncordoned, once.
//!
//! The one patch is sent as `kubernetes::once` says: bound to the version, with the run's mark.

use super::cluster::Cluster;
use super::errors::{Failure, Operation};
use super::once::{self, Bound, Change, PAUSE, Task};
use super::{FIELD_MANAGER, RUN, facts};
use astradesk_core::name::ObjectName;
use astradesk_core::text::near;
use astradesk_core::{Class, Code, Error, Facts, Result, Target, Timestamp};
use astradesk_runtime::port::{Fault, StepContext};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

/// The most nodes whose names are listed.
const MOST: u32 = 5000;

/// A node, as it is cordoned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeView {
    pub(crate) name: String,
    pub(crate) uid: String,
    resource_version: String,
    /// Whether the scheduler puts no pod on it.
    pub(crate) unschedulable: bool,
    /// Whether its kubelet is heard of and well.
    pub(crate) ready: bool,
    /// The annotation that marks a change by AstraDesk.
    pub(crate) mark: Option<String>,
    pub(crate) facts: Facts,
}

impl From<&Node> for NodeView {
    fn from(object: &Node) -> Self {
        let meta = &object.metadata;
        let conditions = object.status.iter().flat_map(|status| status.conditions.iter().flatten());
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            unschedulable: object.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false),
            ready: conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True"),
            mark: meta.annotations.as_ref().and_then(|all| all.get(RUN)).cloned(),
            facts: facts::of_object("Node", meta),
        }
    }
}

impl Cluster {
    /// A target that is a node of this cluster.
    pub(crate) fn node_target(&self, name: ObjectName) -> Target {
        Target::Node { cluster: self.name().clone(), name }
    }

    /// A node as it is now.
    pub(crate) async fn node(&self, name: &ObjectName) -> Result<NodeView> {
        match self.read_node(name).await {
            Ok(node) => Ok(node),
            Err(failure) if failure.is_not_found() => Err(self.no_such_node(name).await),
            Err(failure) => Err(failure.into_error(&operation("get", name))),
        }
    }

    async fn read_node(&self, name: &ObjectName) -> Result<NodeView, Failure> {
        let nodes: Api<Node> = Api::all(self.requests().client().clone());
        let node = self.requests().read(&operation("get", name), || nodes.get(name.as_str())).await?;
        Ok((&node).into())
    }

    /// The names of all nodes, sorted.
    pub(crate) async fn node_names(&self) -> Result<Vec<String>> {
        let requests = self.requests();
        let nodes: Api<Node> = Api::all(requests.client().clone());
        let (operation, params) =
            (Operation::new("list", "nodes", "", ""), ListParams::default().limit(MOST));
        let listed = requests.read(&operation, || nodes.list_metadata(&params)).await;
        let listed = listed.map_err(|failure| failure.into_error(&operation))?;
        let mut names: Vec<String> = listed.items.into_iter().filter_map(|node| node.metadata.name).collect();
        names.sort();
        Ok(names)
    }

    async fn no_such_node(&self, name: &ObjectName) -> Error {
        let message = format!("there is no node `{name}` in the cluster");
        let error = Error::new(Code::KubernetesNotFound, message).with_remedy("check the name");
        match self.node_names().await {
            Ok(names) => error.with_candidates(near(name.as_str(), &names)),
            Err(_) => error,
        }
    }

    /// Sends one merge patch, once, if its turn comes before `until`. Without that it is a dry run.
    async fn patch_node(
        &self,
        name: &ObjectName,
        patch: &Value,
        until: Option<Instant>,
    ) -> Result<NodeView, Failure> {
        let manager = Some(FIELD_MANAGER.to_owned());
        let params =
            PatchParams { dry_run: until.is_none(), field_manager: manager, ..PatchParams::default() };
        let nodes: Api<Node> = Api::all(self.requests().client().clone());
        let patch = Patch::Merge(patch);
        let node = self.requests().in_turn(nodes.patch(name.as_str(), &params, &patch), until).await?;
        Ok((&node).into())
    }
}

/// A node that a step is to change, and within which time.
pub(crate) struct NodeJob {
    pub(crate) name: ObjectName,
    /// What marks the node as changed by this step.
    pub(crate) mark: String,
    /// Whether an earlier process may have performed this step already.
    pub(crate) repeated: bool,
    pub(crate) deadline: Instant,
}

impl NodeJob {
    /// The node that a step is about.
    pub(crate) fn of(step: &StepContext, name: ObjectName) -> Self {
        let (mark, repeated, deadline) = (once::mark(step), step.repeated, step.deadline);
        Self { name, mark, repeated, deadline }
    }
}

impl Task for NodeJob {
    type Object = NodeView;
    type Made = NodeView;

    fn what(&self) -> String {
        format!("node `{}`", self.name)
    }

    fn mark(&self) -> &str {
        &self.mark
    }

    fn repeated(&self) -> bool {
        self.repeated
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn command(&self) -> String {
        command(&self.name)
    }

    fn operation(&self, verb: &'static str) -> Operation {
        operation(verb, &self.name)
    }

    async fn get(&self, cluster: &Cluster) -> Result<NodeView, Failure> {
        cluster.read_node(&self.name).await
    }

    async fn patch(
        &self,
        cluster: &Cluster,
        patch: &Value,
        until: Option<Instant>,
    ) -> Result<NodeView, Failure> {
        cluster.patch_node(&self.name, patch, until).await
    }

    fn bound(node: &NodeView) -> Bound {
        Bound { uid: node.uid.clone(), resource_version: node.resource_version.clone(), generation: 0 }
    }

    fn marked<'a>(&self, node: &'a NodeView) -> Option<&'a str> {
        node.mark.as_deref()
    }

    fn made(&self, _: &Cluster, node: NodeView) -> NodeView {
        node
    }

    fn seen(node: &NodeView, error: Error) -> Error {
        error.with_detail("unschedulable_now", node.unschedulable)
    }
}

fn operation(verb: &'static str, name: &ObjectName) -> Operation {
    Operation::new(verb, "nodes", "", name.as_str())
}

/// The command that shows a node.
fn command(name: &ObjectName) -> String {
    format!("kubectl get node {name} -o yaml")
}

/// What a cordon, or its end, is bound to. Its fields are in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The node as it is.
    #[serde(flatten)]
    bound: Bound,
    /// Whether the scheduler is to leave it alone.
    pub(crate) unschedulable: bool,
    /// Whether it did before.
    pub(crate) before: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// The node's id.
    pub(crate) uid: String,
    /// Whether the scheduler is to leave it alone.
    pub(crate) unschedulable: bool,
    /// Whether it did before.
    pub(crate) before: bool,
    /// The run, and its step: the value of the annotation `astradesk.dev/run`.
    pub(crate) mark: String,
    /// When the change was seen.
    pub(crate) at: Timestamp,
}

impl Intent {
    /// Binds a cordon, or its end, to the node as it is.
    pub(crate) fn of(node: &NodeView, unschedulable: bool) -> Self {
        Self { bound: NodeJob::bound(node), unschedulable, before: node.unschedulable }
    }

    /// Binds the undo of what the receipt tells of.
    ///
    /// # Errors
    /// [`Code::KubernetesConflict`]: somebody else has cordoned or uncordoned the node since.
    pub(crate) fn undoing(node: &NodeView, receipt: &Receipt) -> Result<Self> {
        let marked = receipt.before == receipt.unschedulable || node.mark.as_deref() == Some(&receipt.mark);
        let is_ours = node.uid == receipt.uid && node.unschedulable == receipt.unschedulable && marked;
        if is_ours || node.unschedulable == receipt.before {
            return Ok(Self::of(node, receipt.before));
        }
        let message =
            format!("node `{}` is not as it was left: somebody else has changed it since", node.name);
        Err(Error::new(Code::KubernetesConflict, message).with_remedy("look at the node"))
    }

    /// The one patch that this intent stands for.
    pub(crate) fn patch(&self, mark: &str) -> Value {
        self.bound.patch(mark, &json!({"unschedulable": self.unschedulable}))
    }

    /// Whether nothing has to be changed.
    pub(crate) fn is_so_already(&self) -> bool {
        self.unschedulable == self.before
    }

    /// Has the API server try the patch.
    pub(crate) async fn check(&self, cluster: &Cluster, name: &ObjectName) -> Result<()> {
        let checked = cluster.patch_node(name, &once::unbound(&self.patch("RUN")), None).await;
        checked.map(drop).map_err(|failure| failure.into_error(&operation("patch", name)))
    }

    /// Performs it, unless it is found to be there already.
    pub(crate) async fn perform(&self, cluster: &Cluster, job: &NodeJob) -> Result<Receipt, Fault> {
        let (unschedulable, before) = (self.unschedulable, self.before);
        if !self.is_so_already() {
            let change = Change {
                task: job,
                bound: &self.bound,
                done: word(unschedulable),
                patch: Ok(self.patch(&job.mark)),
                unchanged: &move |node: &NodeView| node.unschedulable == before,
            };
            once::perform(cluster, &change).await?;
        }
        let (uid, mark) = (self.bound.uid.clone(), job.mark.clone());
        Ok(Receipt { uid, unschedulable, before, mark, at: cluster.now() })
    }
}

impl Receipt {
    /// Looks whether the node is as it was left.
    ///
    /// # Errors
    /// [`Code::KubernetesConflict`]: somebody else has changed that, or the node is another one.
    pub(crate) fn holds(&self, node: &NodeView) -> Result<()> {
        if node.uid == self.uid && node.unschedulable == self.unschedulable {
            return Ok(());
        }
        let (name, is, was) = (&node.name, word(node.unschedulable), word(self.unschedulable));
        let message = if node.uid == self.uid {
            format!("node `{name}` was {was}, and somebody else has {is} it since")
        } else {
            format!("node `{name}` was {was}, and is another one by now")
        };
        Err(Error::new(Code::KubernetesConflict, message).with_remedy("look at who changed the node"))
    }
}

/// The node after what was done to it, asked for until it can be read, and not much longer than the time limit allows.
pub(crate) async fn settled(
    cluster: &Cluster,
    name: &ObjectName,
    deadline: Instant,
) -> Result<NodeView, Fault> {
    loop {
        match cluster.node(name).await {
            Err(error) if error.code.class() == Class::Unavailable => {
                if Instant::now() >= deadline {
                    let message =
                        format!("what became of node `{name}` could not be seen: {}", error.message);
                    let unknown = Error::new(Code::RunOutcomeUnknown, message)
                        .with_remedy(format!("see `{}` when the cluster answers again", command(name)));
                    return Err(Fault::Unknown(unknown.with_detail("seen", error.code.as_str())));
                }
                sleep_until(deadline.min(Instant::now() + PAUSE.1)).await;
            }
            found => return Ok(found?),
        }
    }
}

/// What becomes of a node.
pub(crate) const fn word(unschedulable: bool) -> &'static str {
    if unschedulable { "cordoned" } else { "uncordoned" }
}
