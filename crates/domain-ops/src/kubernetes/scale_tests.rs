//! Scaling against the sandbox: once, found again, verified, and undone.

use super::once::Job;
use super::scale::{Intent, Receipt, perform, undo_sane, verify};
use super::testing::{Spoil, World, webapp};
use astradesk_core::Code;
use astradesk_core::target::Kind;
use astradesk_runtime::port::{Fault, Progress};
use serde_json::json;
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
    let intent = Intent::of(&world.now(job.kind).await, replicas);
    perform(&world.cluster, job, &intent).await.unwrap()
}

#[tokio::test]
async fn it_succeeds_once_as_many_pods_are_available_and_no_other_one_is_left_and_can_be_undone() {
    for (kind_name, kind) in KINDS {
        let world = of_kind(kind_name, kind).await;
        for (mark, replicas) in [("run-1", 4), ("run-2", 1), ("run-3", 0), ("run-4", 2), ("run-5", 2)] {
            let (job, before) = (job(&world, kind, mark), world.now(kind).await);
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
        }
        assert_eq!(world.patches(), 4, "{kind}: what is so already needs no patch");

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
