//! Scaling against the sandbox: once, found again, verified, and undone.

use super::autoscalers::Autoscaler;
use super::once::Job;
use super::scale::{Intent, Receipt, perform, undo_minimum_sane, undo_sane, verify};
use super::testing::{Spoil, World, as_the_engine, webapp};
use astradesk_core::Code;
use astradesk_core::target::Kind;
use astradesk_runtime::port::{Fault, Progress};
use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const KINDS: [(&str, Kind); 2] = [("Deployment", Kind::Deployment), ("StatefulSet", Kind::StatefulSet)];

fn job(world: &World, kind: Kind, mark: &str) -> Job {
    Job {
        target: format!("kubernetes/sandbox/default/{kind}/webapp"),
        kind,
        namespace: world.cluster.namespace().clone(),
        name: "webapp".to_owned(),
        mark: mark.to_owned(),
        is_undo: false,
        repeated: false,
        deadline: Instant::now() + Duration::from_secs(20),
        progress: Progress::default(),
    }
}

async fn of_kind(kind_name: &str, kind: Kind) -> World {
    let world = World::start(vec![webapp(kind_name, 2, &json!({}), &json!({}))]).await;
    world.healthy(kind).await;
    world
}

async fn scaled(world: &World, job: &Job, replicas: i32) -> Receipt {
    let attempt = async || {
        let intent = Intent::of(&world.now(job.kind).await, replicas);
        perform(&world.cluster, job, &intent).await
    };
    as_the_engine(attempt).await.unwrap()
}

#[tokio::test]
async fn it_succeeds_once_as_many_pods_are_available_and_no_other_one_is_left_and_can_be_undone() {
    for (kind_name, kind) in KINDS {
        let world = of_kind(kind_name, kind).await;
        for (mark, replicas) in [("run-1", 4), ("run-2", 1), ("run-3", 0), ("run-4", 2), ("run-5", 2)] {
            let (job, before) = (job(&world, kind, mark), world.now(kind).await);
            let patches = world.patches();
            let receipt = scaled(&world, &job, replicas).await;
            let output = verify(&world.cluster, &job, &receipt).await.unwrap();
            assert_eq!(
                (&output["replicas"], &output["before"]),
                (&json!(replicas), &json!(before.wanted)),
                "{kind}"
            );
            assert_eq!(
                output["pods"].as_array().map(Vec::len),
                usize::try_from(replicas).ok(),
                "{kind}: {output}"
            );
            let after = world.now(kind).await;
            assert_eq!(
                (after.total, after.available, after.template),
                (replicas, replicas, before.template),
                "{kind}"
            );
            let changes = i64::from(before.wanted != replicas);
            assert_eq!(after.generation, before.generation + changes, "{kind}: changed exactly once");
            assert_eq!(world.patches() > patches, changes > 0, "{kind}: what is so already needs no patch");
        }

        let done = scaled(&world, &job(&world, kind, "run-6"), 3).await;
        let undo = Job { is_undo: true, ..job(&world, kind, "run-6/1") };
        undo_sane(&world.now(kind).await, &done).unwrap();
        let undone = scaled(&world, &undo, done.before).await;
        verify(&world.cluster, &undo, &undone).await.unwrap();
        assert_eq!(world.now(kind).await.wanted, 2, "{kind}");
        let error = undo_sane(&world.now(kind).await, &done).unwrap_err();
        assert_eq!(error.code, Code::RolloutSuperseded, "{kind}: there is nothing left to undo");
    }
}

#[tokio::test]
async fn an_unclear_patch_is_settled_by_looking_and_applied_exactly_once() {
    for (spoil, patches) in [
        (vec![Spoil::Reply], 1),
        (vec![Spoil::Request], 2),
        (vec![Spoil::Request, Spoil::Reply], 2),
        (vec![Spoil::Conflict, Spoil::Conflict], 3),
    ] {
        let world = of_kind("Deployment", Kind::Deployment).await;
        let before = world.now(Kind::Deployment).await;
        world.spoil(&spoil);
        let receipt = scaled(&world, &job(&world, Kind::Deployment, "run-1"), 3).await;
        assert_eq!(receipt.generation, before.generation + 1, "{spoil:?}: applied exactly once");
        assert_eq!(world.patches(), patches, "{spoil:?}");
    }
}

#[tokio::test]
async fn after_a_crash_what_was_sent_is_found_and_what_others_did_since_is_not_undone() {
    for (kind_name, kind) in KINDS {
        let world = of_kind(kind_name, kind).await;
        let first = job(&world, kind, "run-1");
        let intent = Intent::of(&world.now(kind).await, 3);
        let stored: Intent = serde_json::from_value(serde_json::to_value(&intent).unwrap()).unwrap();
        perform(&world.cluster, &first, &intent).await.unwrap();
        world.change(kind, &json!({"spec": {"replicas": 5}})).await;

        let again = Job { repeated: true, ..job(&world, kind, "run-1") };
        let found = perform(&world.cluster, &again, &stored).await.unwrap();
        assert_eq!(
            (world.patches(), found.replicas),
            (1, 3),
            "{kind}: the mark is found, and nothing is sent"
        );
        let Err(Fault::Failed(error)) = verify(&world.cluster, &again, &found).await else {
            panic!("{kind}: somebody has scaled it since");
        };
        assert_eq!(error.code, Code::RolloutSuperseded, "{kind}");
        assert!(error.message.contains("to 5"), "{kind}: {}", error.message);
    }
}

#[tokio::test]
async fn whoever_was_faster_makes_the_intent_void_and_what_nobody_can_tell_is_unknown() {
    let world = of_kind("Deployment", Kind::Deployment).await;
    let late = job(&world, Kind::Deployment, "run-1");
    let intent = Intent::of(&world.now(Kind::Deployment).await, 3);
    world.change(Kind::Deployment, &json!({"spec": {"minReadySeconds": 1}})).await;
    let fault = perform(&world.cluster, &late, &intent).await.unwrap_err();
    assert!(matches!(fault, Fault::Moved(_)), "{fault:?}");

    let again = Job { repeated: true, ..late };
    let fault = perform(&world.cluster, &again, &intent).await.unwrap_err();
    assert!(matches!(fault, Fault::Moved(_)), "one change, and not of the number: {fault:?}");
    world.change(Kind::Deployment, &json!({"spec": {"minReadySeconds": 2}})).await;
    let Err(Fault::Unknown(error)) = perform(&world.cluster, &again, &intent).await else {
        panic!("nobody can tell");
    };
    assert_eq!((error.code, &error.details["replicas_now"]), (Code::RunOutcomeUnknown, &json!(2)));
    assert!(error.remedy.contains("astradesk.dev/run: run-1"), "{}", error.remedy);
}

#[tokio::test]
async fn pods_that_cannot_start_are_named_with_the_way_back() {
    let broken = json!({"sandbox.astradesk.dev/behaviour": "image-pull"});
    let world = World::start(vec![webapp("Deployment", 1, &broken, &json!({}))]).await;
    world.until(Kind::Deployment, |_, family| !family.pods.is_empty()).await;
    let job = job(&world, Kind::Deployment, "run-1");
    let receipt = scaled(&world, &job, 2).await;
    let Err(Fault::Failed(error)) = verify(&world.cluster, &job, &receipt).await else { panic!("it failed") };
    assert_eq!(error.code, Code::RolloutImagePull, "{error}");
    assert!(
        error.remedy.contains("kubectl -n default scale deployment/webapp --replicas=1"),
        "{}",
        error.remedy
    );
}

/// `webapp`, and its autoscaler.
async fn autoscaled(replicas: u32, min: i32, max: i32) -> World {
    let autoscaler = json!({
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "hpa", "namespace": "default"},
        "spec": {
            "minReplicas": min,
            "maxReplicas": max,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "webapp"},
        },
    });
    let world = World::start(vec![webapp("Deployment", replicas, &json!({}), &json!({})), autoscaler]).await;
    world.healthy(Kind::Deployment).await;
    // Its controller has said all that it will: what it writes makes an intent void.
    while !the_autoscaler(&world).await.conditions.contains_key("ScalingActive") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world
}

async fn the_autoscaler(world: &World) -> Autoscaler {
    world.cluster.autoscaler(world.cluster.namespace(), "hpa").await.unwrap()
}

async fn change_autoscaler(world: &World, patch: &Value) {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(world.client.clone(), "default");
    api.patch("hpa", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn minimum_of(world: &World, replicas: i32) -> Intent {
    Intent::of_minimum(&world.now(Kind::Deployment).await, &the_autoscaler(world).await, replicas)
}

#[tokio::test]
async fn a_minimum_is_changed_once_verified_when_its_autoscaler_has_scaled_and_undone() {
    for (spoil, patches) in [
        (vec![], 1),
        (vec![Spoil::Reply], 1),
        (vec![Spoil::Request], 2),
        (vec![Spoil::Request, Spoil::Reply], 2),
        (vec![Spoil::Conflict, Spoil::Conflict], 3),
    ] {
        let world = autoscaled(2, 2, 6).await;
        let first = job(&world, Kind::Deployment, "run-1");
        world.spoil(&spoil);
        let intent = minimum_of(&world, 4).await;
        let receipt = perform(&world.cluster, &first, &intent).await.unwrap();
        assert_eq!((intent.before, receipt.before, receipt.replicas), (2, 2, 4), "{spoil:?}");
        let after = the_autoscaler(&world).await;
        assert_eq!((after.min, after.mark.as_deref()), (4, Some("run-1")), "{spoil:?}");
        assert_eq!(world.patches(), patches, "{spoil:?}");
        let workload = world.now(Kind::Deployment).await;
        assert_eq!(workload.own_run, None, "{spoil:?}: the workload itself is not changed");

        // After a crash the mark is found, and nothing is sent.
        let stored: Intent = serde_json::from_value(serde_json::to_value(&intent).unwrap()).unwrap();
        let again = Job { repeated: true, ..job(&world, Kind::Deployment, "run-1") };
        let found = perform(&world.cluster, &again, &stored).await.unwrap();
        let stored: Receipt = serde_json::from_value(serde_json::to_value(&found).unwrap()).unwrap();
        assert_eq!((stored.uid, world.patches()), (receipt.uid.clone(), patches), "{spoil:?}");

        let output = verify(&world.cluster, &again, &receipt).await.unwrap();
        assert_eq!((&output["autoscaler"]["name"], &output["before"]), (&json!("hpa"), &json!(2)));
        assert_eq!(
            output["summary"],
            "the minimum of deployment/webapp in namespace `default` (HorizontalPodAutoscaler `hpa`) was changed from 2 to \
             4: 4 of 4 pods are available"
        );
        assert_eq!(world.now(Kind::Deployment).await.available, 4, "{spoil:?}");

        undo_minimum_sane(&the_autoscaler(&world).await, "other", &receipt).unwrap_err();
        let uid = after.uid.clone();
        undo_minimum_sane(&the_autoscaler(&world).await, &uid, &receipt).unwrap();
        let undo = Job { is_undo: true, ..job(&world, Kind::Deployment, "run-1/1") };
        let undone = loop {
            match perform(&world.cluster, &undo, &minimum_of(&world, receipt.before).await).await {
                Err(Fault::Moved(_)) => {}
                known => break known.unwrap(),
            }
        };
        let output = verify(&world.cluster, &undo, &undone).await.unwrap();
        assert_eq!(output["autoscaler"]["minimum"], 2, "{spoil:?}");
        assert_eq!(world.now(Kind::Deployment).await.wanted, 4, "{spoil:?}: no metrics, nothing to stop");
        let error = undo_minimum_sane(&the_autoscaler(&world).await, &uid, &receipt).unwrap_err();
        assert_eq!(error.code, Code::RolloutSuperseded, "{spoil:?}: there is nothing left to undo");
    }
}

#[tokio::test]
async fn a_minimum_that_is_so_already_needs_no_patch_and_one_that_others_change_is_lost() {
    let world = autoscaled(3, 2, 6).await;
    let first = job(&world, Kind::Deployment, "run-1");
    let same = perform(&world.cluster, &first, &minimum_of(&world, 2).await).await.unwrap();
    let output = verify(&world.cluster, &first, &same).await.unwrap();
    assert!(output["summary"].as_str().unwrap().contains("is 2 already"), "{output}");
    assert_eq!(world.patches(), 0);

    let intent = minimum_of(&world, 5).await;
    change_autoscaler(&world, &json!({"spec": {"maxReplicas": 7}})).await;
    let fault = perform(&world.cluster, &first, &intent).await.unwrap_err();
    assert!(matches!(fault, Fault::Moved(_)), "somebody was faster: {fault:?}");

    let done = perform(&world.cluster, &first, &minimum_of(&world, 5).await).await.unwrap();
    change_autoscaler(&world, &json!({"spec": {"minReplicas": 3}})).await;
    let Err(Fault::Failed(error)) = verify(&world.cluster, &first, &done).await else { panic!("it is lost") };
    assert_eq!(error.code, Code::RolloutSuperseded, "{error}");
    assert!(error.message.contains("set it to 3"), "{}", error.message);

    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(world.client.clone(), "default");
    api.delete("hpa", &kube::api::DeleteParams::default()).await.unwrap();
    let Err(Fault::Failed(error)) = verify(&world.cluster, &first, &done).await else { panic!("it is gone") };
    assert!(error.message.contains("was deleted"), "{}", error.message);
}

#[tokio::test]
async fn an_autoscaler_that_does_nothing_is_told_of_with_what_its_controller_says() {
    let world = autoscaled(2, 2, 6).await;
    // It is switched off before it has seen its new minimum, and stays so.
    world.change(Kind::Deployment, &json!({"spec": {"replicas": 0}})).await;
    world.until(Kind::Deployment, |workload, family| workload.wanted == 0 && family.pods.is_empty()).await;
    let short =
        Job { deadline: Instant::now() + Duration::from_secs(2), ..job(&world, Kind::Deployment, "run-1") };
    let done = loop {
        match perform(&world.cluster, &short, &minimum_of(&world, 4).await).await {
            Err(Fault::Moved(_)) => {}
            known => break known.unwrap(),
        }
    };
    let Err(Fault::Failed(error)) = verify(&world.cluster, &short, &done).await else { panic!("it is off") };
    assert_eq!(error.code, Code::ToolTimedOut, "{error}");
    for said in ["the autoscaler has left it at 0", "`hpa`, ScalingActive is not true (ScalingDisabled)"] {
        assert!(error.message.contains(said), "{}", error.message);
    }
    let back = "kubectl -n default patch hpa/hpa --type=merge -p '{\"spec\":{\"minReplicas\":2}}'";
    assert!(error.remedy.contains(back), "{}", error.remedy);
    assert_eq!(error.details["autoscaler"]["minimum"], 4);
}

#[tokio::test]
async fn pods_that_cannot_start_fail_a_minimum_and_its_undo_succeeds_with_those_that_serve() {
    let world = autoscaled(2, 2, 6).await;
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "pods"},
        "spec": {"hard": {"pods": "3"}},
    });
    let quotas: Api<ResourceQuota> = Api::namespaced(world.client.clone(), "default");
    quotas.create(&kube::api::PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    let first = job(&world, Kind::Deployment, "run-1");
    let done = loop {
        match perform(&world.cluster, &first, &minimum_of(&world, 4).await).await {
            Err(Fault::Moved(_)) => {}
            known => break known.unwrap(),
        }
    };
    let Err(Fault::Failed(error)) = verify(&world.cluster, &first, &done).await else { panic!("it failed") };
    assert_eq!(error.code, Code::RolloutQuotaExceeded, "{error}");
    let undo = Job { is_undo: true, ..job(&world, Kind::Deployment, "run-1/1") };
    let undone = perform(&world.cluster, &undo, &minimum_of(&world, done.before).await).await.unwrap();
    let output = verify(&world.cluster, &undo, &undone).await.unwrap();
    assert_eq!((&output["autoscaler"]["minimum"], &output["before"]), (&json!(2), &json!(4)), "{output}");
}
