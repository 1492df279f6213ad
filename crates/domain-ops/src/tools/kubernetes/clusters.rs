//! A tool on several clusters: one tool, whose calls say which cluster they mean.

use crate::tools::words::{slot, value};
use astradesk_core::name::ClusterName;
use astradesk_core::run::OnFailure;
use astradesk_core::tool::{Measure, Slot};
use astradesk_core::{Arguments, Code, Error, Facts, FrozenCall, Result, Target, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The most clusters of one process: each has its own watches and connections.
pub const MOST_CLUSTERS: usize = 16;
/// The argument.
const CLUSTER: &str = "cluster";

/// The same tool on each of several clusters. A call of it names the cluster, and its target has it.
pub(super) struct OnClusters {
    tools: Vec<(ClusterName, Arc<dyn Tool>)>,
    spec: Arc<ToolSpec>,
}

impl OnClusters {
    /// One tool of these, which are the same but for their cluster. On one cluster it is that one's own.
    pub(super) fn of(mut tools: Vec<(ClusterName, Arc<dyn Tool>)>) -> Result<Arc<dyn Tool>> {
        if let [_] = tools.as_slice()
            && let Some((_, only)) = tools.pop()
        {
            return Ok(only);
        }
        let Some((_, first)) = tools.first() else { return Err(Error::internal("a tool without a cluster")) };
        let names: Vec<&str> = tools.iter().map(|(name, _)| name.as_str()).collect();
        let spec = Arc::new(naming(first.spec(), &names)?);
        Ok(Arc::new(Self { tools, spec }))
    }

    fn on(&self, cluster: &str) -> Result<&dyn Tool> {
        let found = self.tools.iter().find(|(name, _)| name.as_str() == cluster);
        found.map(|(_, tool)| tool.as_ref()).ok_or_else(|| {
            let names = self.tools.iter().map(|(name, _)| name.as_str());
            Error::new(Code::KubernetesNotFound, format!("the cluster `{cluster}` is not managed any more"))
                .with_candidates(names)
        })
    }

    /// The tool on the cluster that the arguments name, which the schema has checked.
    fn named(&self, arguments: &Arguments) -> Result<&dyn Tool> {
        self.on(arguments.get(CLUSTER).and_then(Value::as_str).unwrap_or_default())
    }

    /// The tool on the cluster of a frozen call.
    fn meant(&self, call: &FrozenCall) -> Result<&dyn Tool> {
        self.on(call.targets.first().map(Target::cluster).unwrap_or_default())
    }
}

/// The definition with an argument for the cluster, which every call must have: none is the default one.
fn naming(spec: &ToolSpec, clusters: &[&str]) -> Result<ToolSpec> {
    let mut spec = spec.clone();
    let schema = spec.input_schema.as_object_mut().ok_or_else(|| Error::internal("a schema is an object"))?;
    let argument = json!({"type": "string", "description": "the cluster", "enum": clusters});
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Some(properties) = properties.as_object_mut() {
        properties.insert(CLUSTER.to_owned(), argument);
    }
    if let Some(required) = schema.entry("required").or_insert_with(|| json!([])).as_array_mut() {
        required.push(CLUSTER.into());
    }
    spec.grammar.slots.push(cluster_slot());
    Ok(spec)
}

/// How a sentence says which cluster.
fn cluster_slot() -> Slot {
    let after = "in cluster, in the cluster, on cluster, on the cluster, cluster, in the * cluster, in * cluster, on the * cluster, \
                 on * cluster, w klastrze, na klastrze, z klastra, klaster";
    Slot { required: true, locates: true, ..slot(CLUSTER, value(Measure::Word, after, "")) }
}

// A method that is not passed on would answer for every tool.
#[warn(clippy::missing_trait_methods)]
#[async_trait]
impl Tool for OnClusters {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        self.named(arguments)?.targets(arguments).await
    }

    /// Those of every cluster that answers.
    async fn candidates(&self, argument: &str) -> Result<Vec<String>> {
        let asked = self.tools.iter().map(|(_, tool)| tool.candidates(argument));
        let (names, errors): (Vec<_>, Vec<_>) =
            futures::future::join_all(asked).await.into_iter().partition(Result::is_ok);
        if names.is_empty()
            && let Some(Err(error)) = errors.into_iter().next()
        {
            return Err(error);
        }
        let mut names: Vec<String> = names.into_iter().flatten().flatten().collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn timeout(&self, arguments: &Arguments) -> Duration {
        self.named(arguments).map_or(self.spec.timeout, |tool| tool.timeout(arguments))
    }

    async fn facts(&self, call: &FrozenCall, now: bool) -> Result<Vec<Facts>> {
        self.meant(call)?.facts(call, now).await
    }

    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        self.meant(call)?.guard(call).await
    }

    fn on_failure(&self, arguments: &Arguments) -> OnFailure {
        self.named(arguments).map_or(OnFailure::Leave, |tool| tool.on_failure(arguments))
    }

    fn can_undo(&self) -> bool {
        self.tools.iter().all(|(_, tool)| tool.can_undo())
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        self.meant(&step.call)?.intend(step).await
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        self.meant(call)?.preview(call).await
    }

    async fn perform(&self, permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        self.meant(&step.call).map_err(|error| gone(step, error))?.perform(permit, step).await
    }

    async fn carry_on(&self, permit: &Permit, step: &StepContext, receipt: &Value) -> Result<(), Fault> {
        self.meant(&step.call).map_err(Fault::Unknown)?.carry_on(permit, step, receipt).await
    }

    async fn verify(&self, step: &StepContext, receipt: &Value) -> Result<Value, Fault> {
        self.meant(&step.call).map_err(Fault::Unknown)?.verify(step, receipt).await
    }

    async fn stop(&self, permit: &Permit, step: &StepContext, receipt: &Value) -> Option<Error> {
        self.meant(&step.call).ok()?.stop(permit, step, receipt).await
    }
}

/// The cluster was taken out of the configuration: what an earlier process may have done there nobody can tell.
fn gone(step: &StepContext, error: Error) -> Fault {
    if step.repeated { Fault::Unknown(error) } else { Fault::Failed(error) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{frozen, step, unreachable_named};
    use super::super::tools;
    use super::*;
    use crate::checks::Checks;
    use crate::kubernetes::testing::World;
    use crate::kubernetes::{Bounds, Cluster};
    use astradesk_runtime::port::SystemClock;
    use k8s_openapi::api::core::v1::Node;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::Api;
    use kube::api::PostParams;

    fn on(names: &[&str]) -> Vec<Arc<dyn Tool>> {
        let clusters: Vec<_> = names.iter().map(|name| unreachable_named(name)).collect();
        tools(&clusters, OnFailure::Leave, Bounds::default(), &Checks::default()).unwrap()
    }

    #[tokio::test]
    async fn every_tool_wants_the_cluster_named_when_there_are_several() {
        for tool in on(&["prod"]) {
            let spec = tool.spec();
            assert!(spec.input_schema["properties"].get(CLUSTER).is_none(), "{}", spec.name);
            assert!(spec.grammar.slots.iter().all(|slot| slot.argument != CLUSTER), "{}", spec.name);
        }
        for tool in on(&["eu", "us"]) {
            let schema = &tool.spec().input_schema;
            assert_eq!(schema["properties"][CLUSTER]["enum"], json!(["eu", "us"]), "{}", tool.spec().name);
            assert!(schema["required"].as_array().unwrap().contains(&json!(CLUSTER)), "{}", tool.spec().name);
            assert!(tool.spec().grammar.slots.iter().any(|slot| slot.argument == CLUSTER && slot.required));
        }
    }

    #[tokio::test]
    async fn the_target_is_in_the_cluster_that_the_call_names() {
        let tools = on(&["eu", "us"]);
        let restart = tools.iter().find(|tool| tool.spec().name.as_str() == "restart_service").unwrap();
        for cluster in ["eu", "us"] {
            let arguments = json!({"service": "webapp", "kind": "deployment", "cluster": cluster});
            let arguments: Arguments = serde_json::from_value(arguments).unwrap();
            let target = restart.targets(&arguments).await.unwrap();
            let expected: Target = format!("kubernetes/{cluster}/default/deployment/webapp").parse().unwrap();
            assert_eq!(target, [expected]);
        }
    }

    #[tokio::test]
    async fn a_node_is_looked_for_in_the_cluster_that_the_call_names() {
        let worlds = [World::start(Vec::new()).await, World::start(Vec::new()).await];
        let named = |(world, name): (&World, &str)| {
            Cluster::with(
                world.cluster.requests().clone(),
                ClusterName::parse(name).unwrap(),
                world.cluster.namespace().clone(),
                Arc::new(SystemClock),
            )
        };
        let clusters: Vec<_> = worlds.iter().zip(["eu", "us"]).map(named).collect();
        let nodes: Api<Node> = Api::all(worlds[1].client.clone());
        let mut node = nodes.get("sandbox-node-1").await.unwrap();
        node.metadata = ObjectMeta { name: Some("only-there".into()), ..ObjectMeta::default() };
        nodes.create(&PostParams::default(), &node).await.unwrap();
        let tools = tools(&clusters, OnFailure::Leave, Bounds::default(), &Checks::default()).unwrap();
        for name in ["cordon_node", "uncordon_node", "drain_node"] {
            let tool = tools.iter().find(|tool| tool.spec().name.as_str() == name).unwrap();
            let known = tool.candidates("node").await.unwrap();
            assert!(known.iter().any(|node| node == "only-there"), "{name}: {known:?}");
            let there = frozen(tool.as_ref(), &json!({"node": "only-there", "cluster": "us"})).await;
            assert_eq!(there.targets[0].to_string(), "kubernetes/us/node/only-there", "{name}");
            tool.guard(&there).await.unwrap();
            assert!(tool.can_undo(), "{name}");
            let uid = nodes.get("only-there").await.unwrap().metadata.uid;
            let intent = tool.intend(&step(there)).await.unwrap();
            assert_eq!(intent["uid"].as_str(), uid.as_deref(), "{name}");

            let here = frozen(tool.as_ref(), &json!({"node": "only-there", "cluster": "eu"})).await;
            assert_eq!(here.targets[0].to_string(), "kubernetes/eu/node/only-there", "{name}");
            assert_eq!(tool.guard(&here).await.unwrap_err().code, Code::KubernetesNotFound, "{name}");
            assert!(tool.preview(&here).await.is_err(), "{name}");
        }
    }

    #[tokio::test]
    async fn names_of_clusters_differ_and_are_not_too_many() {
        let clusters = |names: &[&str]| names.iter().map(|name| unreachable_named(name)).collect::<Vec<_>>();
        let many: Vec<String> = (0..=MOST_CLUSTERS).map(|number| format!("c{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for bad in [&[][..], &["eu", "eu"], &many] {
            let error =
                tools(&clusters(bad), OnFailure::Leave, Bounds::default(), &Checks::default()).err().unwrap();
            assert_eq!(error.code, Code::ConfigInvalid, "{bad:?}");
        }
    }
}
