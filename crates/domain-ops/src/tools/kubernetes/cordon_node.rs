//! `cordon_node` and `uncordon_node`: whether the scheduler puts pods on a node, set once. Each undoes the other.

use super::words::{fillers, list, node_slot};
use super::write::{At, Write, Writing};
use super::{node_facts, node_name, node_names, node_schema};
use crate::kubernetes::Cluster;
use crate::kubernetes::node::{self, Intent, NodeJob, NodeView, Receipt, word};
use astradesk_core::tool::Grammar;
use astradesk_core::{Arguments, Effect, Facts, FrozenCall, Result, Target, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::Fault;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::time::Duration;

/// How long it may take.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The tools `cordon_node` and `uncordon_node`.
pub(super) struct CordonNode {
    /// Whether the scheduler is to leave the node alone.
    unschedulable: bool,
}

impl CordonNode {
    /// The tool `cordon_node` on a cluster.
    pub(super) fn cordon(cluster: Cluster) -> Result<Writing<Self>> {
        let description =
            "cordons a node: the scheduler puts no more pods on it, and those that are there stay";
        let phrases = "cordon, cordon node, cordon the node, cordon off, cordon off node, cordoning of, zakordonuj, zakordonuj węzeł, \
                       odgrodź węzeł, wyłącz węzeł z planowania";
        Self::new(cluster, true, "cordon_node", description, phrases)
    }

    /// The tool `uncordon_node` on a cluster.
    pub(super) fn uncordon(cluster: Cluster) -> Result<Writing<Self>> {
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
    ) -> Result<Writing<Self>> {
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
        Ok(Writing::new(Self { unschedulable }, cluster, spec))
    }
}

#[async_trait]
impl Write for CordonNode {
    type Seen = NodeView;
    type Intent = Intent;
    type Receipt = Receipt;
    const UNDOES: bool = true;

    async fn target(&self, cluster: &Cluster, arguments: &Arguments) -> Result<Target> {
        Ok(cluster.node_target(node_name(arguments)?))
    }

    async fn candidates(&self, cluster: &Cluster, argument: &str) -> Result<Vec<String>> {
        node_names(cluster, argument).await
    }

    async fn facts(&self, cluster: &Cluster, call: &FrozenCall, _now: bool) -> Result<Facts> {
        node_facts(cluster, call).await
    }

    async fn sane(&self, cluster: &Cluster, call: &FrozenCall) -> Result<NodeView> {
        cluster.node(&node_name(&call.arguments)?).await
    }

    async fn preview(&self, cluster: &Cluster, call: &FrozenCall, node: NodeView) -> Result<Value> {
        let name = node_name(&call.arguments)?;
        let intent = Intent::of(&node, self.unschedulable);
        let summary = if intent.is_so_already() {
            format!("node `{name}` is {} already: nothing would be changed", word(self.unschedulable))
        } else {
            intent.check(cluster, &name).await?;
            format!("node `{name}` would be {}", word(self.unschedulable))
        };
        Ok(
            json!({"summary": summary, "object": format!("node/{name}"), "ready": node.ready, "patch": intent.patch("RUN")}),
        )
    }

    async fn intend(&self, _: At<'_>, node: NodeView) -> Result<Intent> {
        Ok(Intent::of(&node, self.unschedulable))
    }

    async fn undo(&self, (cluster, step): At<'_>, done: Receipt) -> Result<Intent> {
        Intent::undoing(&self.sane(cluster, &step.call).await?, &done)
    }

    async fn perform(&self, (cluster, step): At<'_>, _: &Permit, intent: Intent) -> Result<Receipt, Fault> {
        intent.perform(cluster, &NodeJob::of(step, node_name(&step.call.arguments)?)).await
    }

    async fn verify(&self, (cluster, step): At<'_>, receipt: Receipt) -> Result<Value, Fault> {
        let node = node::settled(cluster, &node_name(&step.call.arguments)?, step.deadline).await?;
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
            "observed_at": cluster.now().to_string(),
        }))
    }
}
