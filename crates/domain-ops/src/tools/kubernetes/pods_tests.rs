//! Pods that something else than a service keeps, as `evict_pod` and `drain_node` see them: a node from a file, a Job.

use super::tests::{frozen, step};
use super::{DrainNode, EvictPod};
use crate::kubernetes::testing::World;
use astradesk_core::Code;
use astradesk_runtime::port::Tool;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

const NODE: &str = "sandbox-node-1";

/// A node with `proxy`, which its kubelet mirrors from a file, and `nightly`, which a Job keeps. There are no Jobs in the
/// sandbox, and what has an owner that is not there is collected: so this one has the id of something that is.
async fn world() -> World {
    let world = World::start(Vec::new()).await;
    let nodes: Api<Node> = Api::all(world.client.clone());
    let node = nodes.get(NODE).await.unwrap().metadata.uid.unwrap();
    let mirror = json!({"kubernetes.io/config.mirror": "5f1e"});
    for (name, annotations, owner) in [
        ("proxy", mirror, json!({"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": node.clone()})),
        (
            "nightly",
            json!({}),
            json!({"apiVersion": "batch/v1", "kind": "Job", "name": "report", "uid": node}),
        ),
    ] {
        let mut owner = owner;
        owner["controller"] = json!(true);
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": annotations, "ownerReferences": [owner]},
            "spec": {"nodeName": NODE, "containers": [{"name": "app", "image": "app:1"}]},
        }))
        .unwrap();
        Api::namespaced(world.client.clone(), "default").create(&PostParams::default(), &pod).await.unwrap();
    }
    world
}

#[tokio::test]
async fn no_eviction_stops_what_a_node_keeps_from_a_file_and_what_a_job_keeps_may_go() {
    let world = world().await;
    let tool = EvictPod::new(world.cluster.clone()).unwrap();
    for arguments in [json!({"pod": "proxy"}), json!({"pod": "proxy", "force": true})] {
        let call = frozen(&tool, &arguments).await;
        assert_eq!(call.targets[0].to_string(), "kubernetes/sandbox/default/pod/proxy");
        let error = tool.guard(&call).await.unwrap_err();
        assert_eq!(error.code, Code::ToolArgumentsInvalid, "{error}");
        assert!(error.remedy.contains("folder of static pods"), "{}", error.remedy);
        assert_eq!(tool.intend(&step(call)).await.unwrap_err().code, error.code);
    }

    let call = frozen(&tool, &json!({"pod": "nightly"})).await;
    assert_eq!(call.targets[0].to_string(), "kubernetes/sandbox/default/job.batch/report");
    let plan = tool.preview(&call).await.unwrap();
    assert!(plan["summary"].as_str().unwrap().ends_with("job/report may bring another one"), "{plan:#}");
    assert_eq!(tool.intend(&step(call)).await.unwrap()["name"], "nightly");
    assert_eq!(world.evictions(), 1, "the dry run's");
}

#[tokio::test]
async fn a_drain_leaves_what_the_node_keeps_from_a_file_and_evicts_what_a_job_keeps() {
    let world = world().await;
    let tool = DrainNode::new(world.cluster.clone()).unwrap();
    let call = frozen(&tool, &json!({"node": NODE})).await;
    let plan = tool.preview(&call).await.unwrap();
    let why = "the node keeps it, from a file";
    assert_eq!(plan["staying"], json!([{"pod": "proxy", "namespace": "default", "why": why}]), "{plan:#}");
    let evicted = json!([{"pod": "nightly", "namespace": "default", "owner": "job/report"}]);
    assert_eq!(plan["evicted"], evicted, "{plan:#}");
    let intent: Value = tool.intend(&step(call)).await.unwrap();
    assert_eq!(intent["pods"].as_array().map(Vec::len), Some(1), "{intent:#}");
}
