//! The restart against the sandbox: what perform and verify promise.

use super::restart::{perform, verify};
use super::testing::{World, once_restarted, webapp};
use super::{RESTARTED_AT, RUN};
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error};
use astradesk_runtime::port::{Fault, Progress, ProgressReport};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const KINDS: [(&str, Kind); 3] =
    [("Deployment", Kind::Deployment), ("StatefulSet", Kind::StatefulSet), ("DaemonSet", Kind::DaemonSet)];

/// The ids of the pods.
async fn pods(world: &World) -> BTreeSet<String> {
    let api: Api<Pod> = Api::namespaced(world.client.clone(), "default");
    let list = api.list(&ListParams::default()).await.unwrap();
    list.items.into_iter().filter_map(|pod| pod.metadata.uid).collect()
}

fn failed(fault: Fault) -> Error {
    match fault {
        Fault::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_kind_is_restarted_once_and_verified() {
    for (kind_name, kind) in KINDS {
        let world = World::start(vec![webapp(kind_name, 3, &json!({}), &json!({}))]).await;
        let before = world.healthy(kind).await;
        let old = pods(&world).await;
        assert_eq!(old.len(), 3, "{kind}");

        let (sender, mut reports) = tokio::sync::mpsc::channel::<ProgressReport>(100);
        let mut job = world.job(kind, "run-1", 30);
        job.once.progress = Progress::to(sender);
        let intent = world.intend(&job).await.unwrap();
        let receipt = perform(&world.cluster, &job, &intent).await.unwrap();
        job.once.repeated = true;
        let again = perform(&world.cluster, &job, &intent).await.unwrap();
        assert_eq!((again.generation, &again.uid), (receipt.generation, &receipt.uid), "{kind}");
        assert_eq!(world.patches(), 1, "{kind}: the second call found the effect");
        assert_eq!(receipt.generation, before.generation + 1, "{kind}");

        let output = verify(&world.cluster, &job, &receipt).await.unwrap();
        let new = pods(&world).await;
        assert!(new.is_disjoint(&old), "{kind}: an old pod is left: {new:?} of {old:?}");
        assert_eq!(new.len(), 3, "{kind}");
        assert_eq!(output["run"], "run-1");
        let after = world.now(kind).await;
        assert_eq!(after.run(), Some("run-1"));
        assert_eq!(after.restarted_at(), Some(receipt.restarted_at.as_str()));
        assert_eq!(after.changed_by.as_ref().map(|c| c.manager.as_str()), Some("astradesk"));
        assert_eq!(after.generation, receipt.generation, "{kind}: changed once");

        let mut last = Value::Null;
        while let Ok(report) = reports.try_recv() {
            assert_ne!(last, report.data, "{kind}: the same progress twice");
            last = report.data;
        }
        assert_eq!((&last["old"], &last["ready"]), (&json!(0), &json!(3)), "{kind}");
    }
}

#[tokio::test]
async fn a_rollout_that_fails_says_why() {
    for (behaviour, code, seconds) in [
        ("image-pull", Code::RolloutImagePull, 30),
        ("crash:3", Code::RolloutCrashLoop, 30),
        ("never-ready", Code::RolloutNotReady, 3),
    ] {
        let object = webapp("Deployment", 2, &once_restarted(behaviour), &json!({}));
        let world = World::start(vec![object]).await;
        world.healthy(Kind::Deployment).await;
        let job = world.job(Kind::Deployment, "run-1", seconds);
        let receipt = world.perform(&job).await.unwrap();
        let error = failed(verify(&world.cluster, &job, &receipt).await.unwrap_err());
        assert_eq!(error.code, code, "{behaviour}: {error:?}");
        let pod = &error.details["pods"][0];
        assert!(pod["name"].as_str().unwrap().starts_with("webapp-"), "{behaviour}: {pod}");
        assert_eq!(error.details["undo"], "kubectl -n default rollout undo deployment/webapp");
        if behaviour == "crash:3" {
            assert_eq!(pod["exit_code"], 3);
            assert!(!pod["log"].as_array().unwrap().is_empty(), "{pod}");
        }
    }
}

#[tokio::test]
async fn a_rollout_without_room_is_unschedulable_at_its_own_deadline() {
    let container = json!({
        "metadata": {"labels": {"app": "webapp"}},
        "spec": {"containers": [
            {"name": "app", "image": "webapp:1", "resources": {"requests": {"cpu": "3"}}},
        ]},
    });
    let spec = json!({"template": container, "progressDeadlineSeconds": 1});
    let world = World::start(vec![webapp("Deployment", 3, &json!({}), &spec)]).await;
    world.healthy(Kind::Deployment).await;
    let job = world.job(Kind::Deployment, "run-1", 30);
    let receipt = world.perform(&job).await.unwrap();
    let error = failed(verify(&world.cluster, &job, &receipt).await.unwrap_err());
    assert_eq!(error.code, Code::RolloutUnschedulable, "{error:?}");
}

#[tokio::test]
async fn whoever_takes_the_place_of_a_restart_is_named() {
    let mut object = webapp("Deployment", 2, &once_restarted("slow:20"), &json!({}));
    object["metadata"]["labels"] = json!({
        "kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
    });
    let world = World::start(vec![object]).await;
    world.healthy(Kind::Deployment).await;
    let job = world.job(Kind::Deployment, "run-1", 20);
    let receipt = world.perform(&job).await.unwrap();
    let api: Api<Deployment> = Api::namespaced(world.client.clone(), "default");
    let annotations = json!({RUN: "run-2", RESTARTED_AT: "2030-01-01T00:00:00Z"});
    let other = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    let params = PatchParams { field_manager: Some("somebody".into()), ..PatchParams::default() };
    api.patch("webapp", &params, &Patch::Merge(&other)).await.unwrap();
    let error = failed(verify(&world.cluster, &job, &receipt).await.unwrap_err());
    assert_eq!(error.code, Code::RolloutSuperseded);
    assert!(
        error.message.contains("run `run-2`") && error.message.contains("`somebody`"),
        "{}",
        error.message
    );
    let managed = "; flux manages it from `flux-system/apps` and may have reverted the change";
    assert!(error.message.ends_with(managed), "{}", error.message);
}

#[tokio::test]
async fn a_workload_that_is_deleted_fails_its_restart() {
    let world = World::start(vec![webapp("Deployment", 2, &once_restarted("slow:20"), &json!({}))]).await;
    world.healthy(Kind::Deployment).await;
    let job = world.job(Kind::Deployment, "run-1", 20);
    let receipt = world.perform(&job).await.unwrap();
    let api: Api<Deployment> = Api::namespaced(world.client.clone(), "default");
    api.delete("webapp", &DeleteParams::background()).await.unwrap();
    let error = failed(verify(&world.cluster, &job, &receipt).await.unwrap_err());
    assert_eq!(error.code, Code::RolloutWorkloadDeleted, "{error:?}");
}

#[tokio::test]
async fn a_cluster_that_is_gone_is_said_to_be() {
    let world = World::start(vec![webapp("Deployment", 2, &json!({}), &json!({}))]).await;
    world.healthy(Kind::Deployment).await;
    let job = world.job(Kind::Deployment, "run-1", 6);
    let receipt = world.perform(&job).await.unwrap();
    world.wire.lock().unwrap().cut = true;
    let World { cluster, sandbox, .. } = world;
    drop(sandbox);
    // Either the rollout was seen to be complete before the watches noticed, or nothing is claimed.
    match verify(&cluster, &job, &receipt).await {
        Err(Fault::Unknown(error)) => assert_eq!(error.code, Code::RunOutcomeUnknown),
        other => panic!("{other:?}"),
    }
    let error = cluster.scope(cluster.namespace()).ready(std::time::Duration::ZERO).await.unwrap_err();
    assert_eq!(error.code, Code::KubernetesUnavailable, "old data is not served");
}
