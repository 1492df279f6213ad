//! The controllers, seen through the API.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::manual_assert,
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "tests and their helpers: a failed unwrap is a failed test"
)]

mod common;

use common::{behaves, cluster, names, pod_ready, restart, workload};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

/// Complete as `kubectl rollout status` sees it.
fn complete(deployment: &Deployment) -> bool {
    let (Some(spec), Some(status)) = (&deployment.spec, &deployment.status) else { return false };
    let wanted = spec.replicas;
    status.observed_generation == deployment.metadata.generation
        && status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
}

fn condition<'a>(deployment: &'a Deployment, kind: &str) -> (&'a str, &'a str) {
    let mut conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let found = conditions.find(|condition| condition.type_ == kind);
    found.map_or(("", ""), |c| (c.status.as_str(), c.reason.as_deref().unwrap_or_default()))
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some("astradesk".into()), ..PatchParams::default() }
}

#[tokio::test]
async fn a_restart_replaces_every_pod() {
    let cluster = cluster(vec![workload("Deployment", "web", json!({}), json!({ "replicas": 3 }))]).await;
    let before = cluster.until::<Deployment>("web", "complete", complete).await;
    let old = names(&cluster.pods("web").await);
    assert_eq!(old.len(), 3);
    assert_eq!(condition(&before, "Progressing"), ("True", "NewReplicaSetAvailable"));
    assert_eq!(condition(&before, "Available"), ("True", "MinimumReplicasAvailable"));

    // 25% of 3: one more at most, and none fewer. The watch sees every step.
    let watch = WatchParams::default().fields("metadata.name=web").timeout(60);
    let deployments = cluster.api::<Deployment>();
    let version = before.metadata.resource_version.clone().unwrap();
    let mut changes = Box::pin(deployments.watch(&watch, &version).await.unwrap());
    let patched = deployments.patch("web", &params(), &Patch::Strategic(restart())).await.unwrap();
    assert_eq!(patched.metadata.generation, Some(2));
    assert!(!complete(&patched));
    loop {
        let WatchEvent::Modified(deployment) = common::next(&mut changes).await.unwrap() else { continue };
        let status = deployment.status.clone().unwrap();
        assert!(status.available_replicas >= Some(3), "{status:?}");
        assert!(status.replicas <= Some(4), "{status:?}");
        if complete(&deployment) && condition(&deployment, "Progressing").1 == "NewReplicaSetAvailable" {
            assert_eq!(status.unavailable_replicas, None);
            let annotations = deployment.metadata.annotations.unwrap();
            assert_eq!(annotations["deployment.kubernetes.io/revision"], "2");
            let managers = deployment.metadata.managed_fields.unwrap();
            assert!(managers.iter().any(|m| m.manager.as_deref() == Some("astradesk")));
            break;
        }
    }

    let new = cluster.until_pods("web", "only new", |pods| pods.len() == 3).await;
    assert!(new.iter().all(|pod| pod_ready(pod) && !old.contains(pod.metadata.name.as_ref().unwrap())));
    let sets = cluster.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap();
    let mut sizes: Vec<_> = sets.iter().map(|rs| rs.spec.as_ref().unwrap().replicas.unwrap()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [0, 3]);
    let events = ListParams::default().fields("reason=ScalingReplicaSet,involvedObject.name=web");
    let events = cluster.api::<Event>().list(&events).await.unwrap();
    assert_eq!(events.items.len(), 1 + 6, "one for the first, six for 3 pods replaced one by one");
}

#[tokio::test]
async fn a_restart_that_crashes_keeps_the_old_pods_and_misses_its_deadline() {
    let annotations = json!({ "sandbox.astradesk.dev/behaviour-once-restarted": "crash:1" });
    let spec = json!({ "replicas": 3, "progressDeadlineSeconds": 1 });
    let cluster = cluster(vec![workload("Deployment", "pay", annotations, spec)]).await;
    cluster.until::<Deployment>("pay", "complete", complete).await;
    cluster.api::<Deployment>().patch("pay", &params(), &Patch::Strategic(restart())).await.unwrap();
    let exceeded = |d: &Deployment| condition(d, "Progressing") == ("False", "ProgressDeadlineExceeded");
    let failed = cluster.until::<Deployment>("pay", "past its deadline", exceeded).await;
    assert_eq!(failed.status.unwrap().available_replicas, Some(3));

    // And the undo, which is the old template again, finds the old ReplicaSet.
    let undo = json!({ "spec": { "template": { "metadata": { "annotations": {
        "kubectl.kubernetes.io/restartedAt": null,
    } } } } });
    cluster.api::<Deployment>().patch("pay", &params(), &Patch::Merge(undo)).await.unwrap();
    let undone = cluster.until::<Deployment>("pay", "complete again", complete).await;
    assert_eq!(undone.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"], "3");
    let sets = cluster.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap();
    assert_eq!(sets.items.len(), 2);
}

#[tokio::test]
async fn recreate_takes_all_away_first() {
    let spec = json!({ "replicas": 2, "strategy": { "type": "Recreate" } });
    let cluster = cluster(vec![workload("Deployment", "web", json!({}), spec)]).await;
    cluster.until::<Deployment>("web", "complete", complete).await;
    let pods = cluster.api::<Pod>();
    let version = pods.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let mut changes = Box::pin(pods.watch(&WatchParams::default(), &version).await.unwrap());
    cluster.api::<Deployment>().patch("web", &params(), &Patch::Strategic(restart())).await.unwrap();
    let (mut deleted, mut added) = (0, 0);
    while added < 2 {
        match common::next(&mut changes).await.unwrap() {
            WatchEvent::Deleted(_) => deleted += 1,
            WatchEvent::Added(_) => {
                assert_eq!(deleted, 2, "a new pod came before the old ones were gone");
                added += 1;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_paused_deployment_does_nothing_until_it_goes_on() {
    let spec = json!({ "replicas": 1, "paused": true });
    let cluster = cluster(vec![workload("Deployment", "web", json!({}), json!({ "replicas": 1 }))]).await;
    cluster.until::<Deployment>("web", "complete", complete).await;
    let deployments = cluster.api::<Deployment>();
    deployments.patch("web", &params(), &Patch::Merge(json!({ "spec": spec }))).await.unwrap();
    deployments.patch("web", &params(), &Patch::Strategic(restart())).await.unwrap();
    let seen = |d: &Deployment| d.status.as_ref().unwrap().observed_generation == Some(3);
    let paused = cluster.until::<Deployment>("web", "observed", seen).await;
    assert_eq!(condition(&paused, "Progressing"), ("Unknown", "DeploymentPaused"));
    let sets =
        || async { cluster.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap().items.len() };
    assert_eq!(sets().await, 1);
    deployments.patch("web", &params(), &Patch::Merge(json!({ "spec": { "paused": false } }))).await.unwrap();
    cluster.until::<Deployment>("web", "complete after the pause", complete).await;
    assert_eq!(sets().await, 2);
}

#[tokio::test]
async fn scaling_up_down_and_by_the_subresource() {
    let cluster = cluster(vec![workload("Deployment", "web", json!({}), json!({ "replicas": 1 }))]).await;
    for replicas in [4, 2, 0, 1] {
        let scale = json!({ "spec": { "replicas": replicas } });
        let scaled = cluster.api::<Deployment>();
        let scaled = scaled.patch_scale("web", &params(), &Patch::Merge(scale)).await.unwrap();
        // As the real server writes it: none is left out.
        assert_eq!(scaled.spec.unwrap().replicas.unwrap_or(0), replicas);
        let pods = cluster.until_pods("web", "as many", |pods| {
            pods.len() == replicas as usize && pods.iter().all(pod_ready)
        });
        pods.await;
    }
}

#[tokio::test]
async fn min_ready_seconds_are_waited_for() {
    let spec = json!({ "replicas": 1, "minReadySeconds": 1 });
    let cluster = cluster(vec![workload("Deployment", "web", json!({}), spec)]).await;
    let ready = |d: &Deployment| d.status.as_ref().is_some_and(|s| s.ready_replicas == Some(1));
    let ready = cluster.until::<Deployment>("web", "ready", ready).await;
    assert_eq!(ready.status.unwrap().available_replicas, None);
    cluster.until::<Deployment>("web", "available", complete).await;
}

#[tokio::test]
async fn a_stateful_set_goes_up_and_is_replaced_downwards() {
    let spec = json!({ "replicas": 3, "serviceName": "ledger" });
    let cluster = cluster(vec![workload("StatefulSet", "ledger", json!({}), spec)]).await;
    let done = |set: &StatefulSet| {
        let status = set.status.clone().unwrap_or_default();
        status.observed_generation == set.metadata.generation
            && status.ready_replicas == Some(3)
            && status.current_revision == status.update_revision
            && status.updated_replicas == Some(3)
    };
    let before = cluster.until::<StatefulSet>("ledger", "complete", done).await;
    assert_eq!(names(&cluster.pods("ledger").await), ["ledger-0", "ledger-1", "ledger-2"]);

    let pods = cluster.api::<Pod>();
    let version = pods.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let changes = pods.watch(&WatchParams::default(), &version).await.unwrap();
    cluster.api::<StatefulSet>().patch("ledger", &params(), &Patch::Strategic(restart())).await.unwrap();
    let after = cluster.until::<StatefulSet>("ledger", "complete again", |set| {
        set.metadata.generation == Some(2) && done(set)
    });
    assert_ne!(after.await.status.unwrap().current_revision, before.status.unwrap().current_revision);
    let mut order = Vec::new();
    let mut changes = Box::pin(changes);
    while order.len() < 6 {
        match common::next(&mut changes).await.unwrap() {
            WatchEvent::Deleted(pod) => order.push(format!("-{}", pod.metadata.name.unwrap())),
            WatchEvent::Added(pod) => order.push(format!("+{}", pod.metadata.name.unwrap())),
            _ => {}
        }
    }
    assert_eq!(order, ["-ledger-2", "+ledger-2", "-ledger-1", "+ledger-1", "-ledger-0", "+ledger-0"]);
    let revisions = cluster.api::<ControllerRevision>().list(&ListParams::default()).await.unwrap();
    assert_eq!(revisions.items.len(), 2);
}

#[tokio::test]
async fn a_partition_holds_the_lower_pods_back() {
    let spec = json!({ "replicas": 3, "serviceName": "l", "updateStrategy": { "rollingUpdate": { "partition": 2 } } });
    let cluster = cluster(vec![workload("StatefulSet", "l", json!({}), spec)]).await;
    let ready = |set: &StatefulSet| set.status.as_ref().is_some_and(|s| s.ready_replicas == Some(3));
    cluster.until::<StatefulSet>("l", "ready", ready).await;
    let old = cluster.pods("l").await;
    cluster.api::<StatefulSet>().patch("l", &params(), &Patch::Strategic(restart())).await.unwrap();
    let updated = |set: &StatefulSet| {
        let status = set.status.clone().unwrap_or_default();
        status.observed_generation == Some(2) && status.updated_replicas == Some(1) && ready(set)
    };
    let set = cluster.until::<StatefulSet>("l", "updated by one", updated).await;
    let status = set.status.unwrap();
    assert_ne!(status.current_revision, status.update_revision);
    let same = |a: &Pod, b: &Pod| a.metadata.uid == b.metadata.uid;
    let kept = cluster.pods("l").await.iter().zip(&old).map(|(a, b)| same(a, b)).collect::<Vec<_>>();
    assert_eq!(kept, [true, true, false]);
}

#[tokio::test]
async fn a_daemon_set_replaces_one_node_after_the_other() {
    let cluster = cluster(vec![workload("DaemonSet", "agent", json!({}), json!({}))]).await;
    let done = |set: &DaemonSet| {
        let status = set.status.clone().unwrap_or_default();
        status.observed_generation == set.metadata.generation
            && status.desired_number_scheduled == 3
            && status.number_available == Some(3)
            && status.updated_number_scheduled == Some(3)
    };
    cluster.until::<DaemonSet>("agent", "complete", done).await;
    let old = cluster.pods("agent").await;
    let mut nodes: Vec<_> = old.iter().map(|p| p.spec.as_ref().unwrap().node_name.clone().unwrap()).collect();
    nodes.sort();
    assert_eq!(nodes, ["sandbox-node-1", "sandbox-node-2", "sandbox-node-3"]);

    let sets = cluster.api::<DaemonSet>();
    let patched = sets.patch("agent", &params(), &Patch::Strategic(restart())).await.unwrap();
    let watch = WatchParams::default().fields("metadata.name=agent");
    let changes = sets.watch(&watch, &patched.metadata.resource_version.unwrap()).await.unwrap();
    let mut changes = Box::pin(changes.filter_map(|event| async {
        match event.unwrap() {
            WatchEvent::Modified(set) => Some(set),
            _ => None,
        }
    }));
    loop {
        let set = common::next(&mut changes).await;
        assert!(set.status.as_ref().unwrap().number_unavailable.unwrap_or(0) <= 1, "{:?}", set.status);
        if done(&set) {
            break;
        }
    }
    let gone = names(&old);
    assert!(names(&cluster.pods("agent").await).iter().all(|name| !gone.contains(name)));
}

#[tokio::test]
async fn on_delete_leaves_the_pods_until_they_are_deleted() {
    let spec = json!({ "replicas": 2, "serviceName": "l", "updateStrategy": { "type": "OnDelete" } });
    let mut agent = json!({ "updateStrategy": { "type": "OnDelete" } });
    agent["minReadySeconds"] = Value::from(0);
    let cluster = cluster(vec![
        workload("StatefulSet", "l", json!({}), spec),
        workload("DaemonSet", "agent", json!({}), agent),
    ])
    .await;
    cluster.until_pods("l", "ready", |pods| pods.len() == 2 && pods.iter().all(pod_ready)).await;
    cluster.until_pods("agent", "ready", |pods| pods.len() == 3 && pods.iter().all(pod_ready)).await;
    let before = [names(&cluster.pods("l").await), names(&cluster.pods("agent").await)];
    let uids = |pods: &[Pod]| pods.iter().map(|pod| pod.metadata.uid.clone().unwrap()).collect::<Vec<_>>();
    let old = uids(&cluster.pods("l").await);
    cluster.api::<StatefulSet>().patch("l", &params(), &Patch::Strategic(restart())).await.unwrap();
    cluster.api::<DaemonSet>().patch("agent", &params(), &Patch::Strategic(restart())).await.unwrap();
    let seen = |set: &StatefulSet| {
        let status = set.status.clone().unwrap_or_default();
        status.observed_generation == Some(2) && status.current_revision != status.update_revision
    };
    cluster.until::<StatefulSet>("l", "observed", seen).await;
    let seen = |set: &DaemonSet| {
        let status = set.status.clone().unwrap_or_default();
        status.observed_generation == Some(2) && status.updated_number_scheduled.is_none()
    };
    cluster.until::<DaemonSet>("agent", "observed", seen).await;
    assert_eq!(uids(&cluster.pods("l").await), old);
    assert_eq!([names(&cluster.pods("l").await), names(&cluster.pods("agent").await)], before);

    cluster.api::<Pod>().delete("l-0", &DeleteParams::default()).await.unwrap();
    let updated = |set: &StatefulSet| set.status.as_ref().is_some_and(|s| s.updated_replicas == Some(1));
    cluster.until::<StatefulSet>("l", "updated by the delete", updated).await;
}

#[tokio::test]
async fn a_delete_takes_what_is_owned_along() {
    let cluster =
        cluster(vec![workload("Deployment", "web", behaves("ready"), json!({ "replicas": 2 }))]).await;
    cluster.until::<Deployment>("web", "complete", complete).await;
    cluster.api::<Deployment>().delete("web", &DeleteParams::background()).await.unwrap();
    cluster.until_pods("web", "gone", <[Pod]>::is_empty).await;
    let sets = cluster.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap();
    assert!(sets.items.is_empty());
    let (code, _) = cluster.get("/apis/apps/v1/namespaces/default/deployments/web").await;
    assert_eq!(code, 404);
}

#[tokio::test]
async fn a_foreground_delete_goes_last_and_an_orphan_stays() {
    let cluster = cluster(vec![
        workload("Deployment", "web", json!({}), json!({ "replicas": 1 })),
        workload("Deployment", "left", json!({}), json!({ "replicas": 1 })),
    ])
    .await;
    cluster.until::<Deployment>("web", "complete", complete).await;
    cluster.until::<Deployment>("left", "complete", complete).await;
    let deployments = cluster.api::<Deployment>();
    let going = deployments.delete("web", &DeleteParams::foreground()).await.unwrap();
    assert!(going.left().unwrap().metadata.deletion_timestamp.is_some());
    let gone = kube::runtime::watcher::watch_object(deployments.clone(), "web");
    let mut gone = Box::pin(gone.filter(|object| {
        let gone = object.as_ref().unwrap().is_none();
        async move { gone }
    }));
    common::next(&mut gone).await.unwrap();
    assert!(cluster.pods("web").await.is_empty());

    deployments.delete("left", &DeleteParams::orphan()).await.unwrap();
    let sets = cluster.api::<ReplicaSet>().list(&ListParams::default()).await.unwrap();
    assert_eq!(sets.items.len(), 1);
    assert!(sets.items[0].metadata.owner_references.is_none());
    assert_eq!(cluster.pods("left").await.len(), 1);
}
