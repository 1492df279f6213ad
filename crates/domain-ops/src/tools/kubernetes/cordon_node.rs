//! `cordon_node` and `uncordon_node`: whether the scheduler puts pods on a node, set once. Each undoes the other.

use super::words::{fillers, list, node_slot};
use super::{kept, node_facts, node_name, node_schema};
use crate::kubernetes::Cluster;
use crate::kubernetes::node::{self, Intent, NodeJob, NodeView, Receipt, word};
use astradesk_core::tool::Grammar;
use astradesk_core::{Arguments, Effect, Error, Facts, FrozenCall, Result, Target, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long it may take.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The tools `cordon_node` and `uncordon_node`.
pub struct CordonNode {
    cluster: Cluster,
    spec: Arc<ToolSpec>,
    /// Whether the scheduler is to leave the node alone.
    unschedulable: bool,
}

impl CordonNode {
    /// The tool `cordon_node` on a cluster.
    pub fn cordon(cluster: Cluster) -> Result<Self> {
        let description =
            "cordons a node: the scheduler puts no more pods on it, and those that are there stay";
        let phrases = "cordon, cordon node, cordon the node, cordon off, cordon off node, cordoning of, zakordonuj, zakordonuj węzeł, \
                       odgrodź węzeł, wyłącz węzeł z planowania";
        Self::new(cluster, true, "cordon_node", description, phrases)
    }

    /// The tool `uncordon_node` on a cluster.
    pub fn uncordon(cluster: Cluster) -> Result<Self> {
        let description = "uncordons a node: the scheduler may put pods on it again";
        let phrases = "uncordon, uncordon node, uncordon the node, uncordoning of, odkordonuj, odkordonuj węzeł, przywróć węzeł, \
                       włącz węzeł do planowania";
        Self::new(cluster, false, "uncordon_node", description, phrases)
    }

    fn new(
        cluster: Cluster,
        unschedulable: bool,
        name: &str,
        description: &str,
        phrases: &str,
    ) -> Result<Self> {
        let spec = ToolSpec {
            name: ToolName::parse(name)?,
            version: "1".to_owned(),
            description: description.to_owned(),
            effect: Some(Effect::Write),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["node"],
                "properties": {"node": node_schema()},
            }),
            timeout: TIMEOUT,
            grammar: Grammar {
                phrases: list(phrases),
                nouns: list("cordoning of, uncordoning of")
                    .into_iter()
                    .filter(|noun| list(phrases).contains(noun))
                    .collect(),
                slots: vec![node_slot()],
                fillers: fillers("node, worker, węzeł, węzła, off"),
            },
        };
        Ok(Self { cluster, spec: Arc::new(spec), unschedulable })
    }

    async fn node(&self, call: &FrozenCall) -> Result<NodeView> {
        self.cluster.node(&node_name(&call.arguments)?).await
    }
}

#[async_trait]
impl Tool for CordonNode {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        Ok(vec![self.cluster.node_target(node_name(arguments)?)])
    }

    async fn candidates(&self, argument: &str) -> Result<Vec<String>> {
        if argument == "node" { self.cluster.node_names().await } else { Ok(Vec::new()) }
    }

    async fn facts(&self, call: &FrozenCall, _now: bool) -> Result<Vec<Facts>> {
        Ok(vec![node_facts(self.node(call).await)?])
    }

    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        self.node(call).await.map(drop)
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        let (node, name) = (self.node(call).await?, node_name(&call.arguments)?);
        let intent = Intent::of(&node, self.unschedulable);
        let summary = if intent.is_so_already() {
            format!("node `{name}` is {} already: nothing would be changed", word(self.unschedulable))
        } else {
            intent.check(&self.cluster, &name).await?;
            format!("node `{name}` would be {}", word(self.unschedulable))
        };
        Ok(
            json!({"summary": summary, "object": format!("node/{name}"), "ready": node.ready, "patch": intent.patch("RUN")}),
        )
    }

    fn can_undo(&self) -> bool {
        true
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        let node = self.node(&step.call).await?;
        let intent = match &step.undoes {
            None => Intent::of(&node, self.unschedulable),
            Some(undoes) => Intent::undoing(&node, &kept("receipt", undoes)?)?,
        };
        serde_json::to_value(intent).map_err(|error| Error::internal(error.to_string()))
    }

    async fn perform(&self, _permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        let intent: Intent = kept("intent", &step.intent).map_err(Fault::Unknown)?;
        let job = NodeJob::of(step, node_name(&step.call.arguments)?);
        let done = intent.perform(&self.cluster, &job).await?;
        serde_json::to_value(done).map_err(|error| Fault::Unknown(Error::internal(error.to_string())))
    }

    async fn verify(&self, step: &StepContext, value: &Value) -> Result<Value, Fault> {
        let receipt: Receipt = kept("receipt", value).map_err(Fault::Unknown)?;
        let node = node::settled(&self.cluster, &node_name(&step.call.arguments)?, step.deadline).await?;
        receipt.holds(&node)?;
        let (name, is) = (&node.name, word(receipt.unschedulable));
        let summary = if receipt.unschedulable == receipt.before {
            format!("node `{name}` is {is} already")
        } else {
            format!("node `{name}` is {is}")
        };
        Ok(json!({
            "summary": summary,
            "target": step.call.targets,
            "unschedulable": receipt.unschedulable,
            "before": receipt.before,
            "observed_at": self.cluster.now().to_string(),
        }))
    }
}
