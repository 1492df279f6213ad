//! The restart against the sandbox: what perform promises when replies are lost and others change things.

use super::restart::{Intent, Job, perform, verify};
use super::testing::{Spoil, World, once_restarted, repeated, webapp};

use astradesk_core::target::Kind;
use astradesk_core::{Code, Error};
use astradesk_runtime::port::Fault;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

const KINDS: [(&str, Kind); 3] =
    [("Deployment", Kind::Deployment), ("StatefulSet", Kind::StatefulSet), ("DaemonSet", Kind::DaemonSet)];

fn unknown(fault: Fault) -> Error {
    match fault {
        Fault::Unknown(error) => {
            assert_eq!(error.code, Code::RunOutcomeUnknown);
            error
        }
        other => panic!("{other:?}"),
    }
}

async fn of_kind(kind_name: &str, kind: Kind) -> World {
    let world = World::start(vec![webapp(kind_name, 2, &json!({}), &json!({}))]).await;
    world.healthy(kind).await;
    world
}

/// A job that an earlier process has begun, and what it was bound to.
async fn begun(world: &World, kind: Kind) -> (Job, Intent) {
    let job = world.job(kind, "run-1", 20);
    let intent = world.intend(&job).await.unwrap();
    (repeated(job), intent)
}

#[tokio::test]
async fn an_unclear_patch_is_settled_by_looking() {
    for (spoil, patches) in [
        (vec![Spoil::Reply], 1),
        (vec![Spoil::Request], 2),
        (vec![Spoil::Request, Spoil::Reply], 2),
        (vec![Spoil::Conflict, Spoil::Conflict], 3),
    ] {
        let world = of_kind("Deployment", Kind::Deployment).await;
        let before = world.now(Kind::Deployment).await;
        world.spoil(&spoil);
        let job = world.job(Kind::Deployment, "run-1", 20);
        let intent = world.intend(&job).await.unwrap();
        let receipt = perform(&world.cluster, &job, &intent).await.unwrap();
        assert_eq!(receipt.generation, before.generation + 1, "{spoil:?}: applied exactly once");
        assert_eq!(world.patches(), patches, "{spoil:?}");
    }
}

#[tokio::test]
async fn after_a_crash_what_was_not_sent_is_sent_once_and_what_was_is_found() {
    for (kind_name, kind) in KINDS {
        let world = of_kind(kind_name, kind).await;
        let (job, intent) = begun(&world, kind).await;
        let first = perform(&world.cluster, &job, &intent).await.unwrap();
        assert_eq!((world.patches(), first.generation), (1, intent.bound.generation + 1), "{kind}");
        let stored: Intent = serde_json::from_value(serde_json::to_value(&intent).unwrap()).unwrap();
        let second = perform(&world.cluster, &job, &stored).await.unwrap();
        assert_eq!(world.patches(), 1, "{kind}: the second process found the effect");
        assert_eq!(second, first, "{kind}");
        assert_eq!(second.previous_revision, intent.revision, "{kind}");
        verify(&world.cluster, &job, &second).await.unwrap();
    }
}

#[tokio::test]
async fn a_restart_that_was_undone_during_a_crash_is_found_in_the_history_and_not_sent_again() {
    for (kind_name, kind) in KINDS {
        let world = of_kind(kind_name, kind).await;
        let (job, intent) = begun(&world, kind).await;
        perform(&world.cluster, &job, &intent).await.unwrap();
        world.kept(kind, "run-1").await;
        world.roll_back(kind).await;

        let receipt = perform(&world.cluster, &job, &intent).await.unwrap();
        assert_eq!(world.patches(), 1, "{kind}");
        assert_eq!(
            (receipt.run.as_str(), receipt.generation),
            ("run-1", intent.bound.generation + 1),
            "{kind}"
        );
        let Err(Fault::Failed(error)) = verify(&world.cluster, &job, &receipt).await else {
            panic!("{kind}: not superseded");
        };
        assert_eq!(error.code, Code::RolloutSuperseded, "{kind}");
        assert!(error.message.contains("`somebody`"), "{kind}: {}", error.message);
    }
}

#[tokio::test]
async fn what_nobody_can_know_is_unknown_and_tells_what_was_seen() {
    for (kind_name, kind) in KINDS {
        let world = of_kind(kind_name, kind).await;
        let (job, intent) = begun(&world, kind).await;
        for restarts in 1..=2 {
            let annotations = json!({"somebody/else": restarts.to_string()});
            world
                .change(kind, &json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}))
                .await;
        }
        let error = unknown(perform(&world.cluster, &job, &intent).await.unwrap_err());
        assert_eq!(world.patches(), 0, "{kind}");
        let details = &error.details;
        assert_eq!(details["generation_before"], intent.bound.generation, "{kind}");
        assert_eq!(details["generation_now"], intent.bound.generation + 2, "{kind}");
        assert_eq!(details["changed_by"], "somebody", "{kind}");
        assert!(details["templates_read"].as_u64().unwrap() >= 1, "{kind}: {details:?}");
        assert!(error.remedy.contains("astradesk.dev/run: run-1"), "{kind}: {}", error.remedy);
    }
}

#[tokio::test]
async fn whoever_was_faster_makes_the_intent_void_and_a_fresh_one_succeeds() {
    let scaled = json!({"spec": {"replicas": 3}});
    let annotated = json!({"metadata": {"annotations": {"somebody/was": "here"}}});
    let labelled = json!({"metadata": {"labels": {"somebody": "was-here"}}});
    let relaxed = json!({"spec": {"minReadySeconds": 0, "revisionHistoryLimit": 7}});
    for (kind_name, kind, change, raises) in [
        ("Deployment", Kind::Deployment, &scaled, true),
        ("Deployment", Kind::Deployment, &annotated, true),
        ("Deployment", Kind::Deployment, &labelled, false),
        ("StatefulSet", Kind::StatefulSet, &scaled, true),
        ("StatefulSet", Kind::StatefulSet, &annotated, false),
        ("DaemonSet", Kind::DaemonSet, &relaxed, true),
        ("DaemonSet", Kind::DaemonSet, &annotated, false),
    ] {
        for repeated in [false, true] {
            let world = of_kind(kind_name, kind).await;
            let (job, intent) = begun(&world, kind).await;
            let mut job = job;
            job.once.repeated = repeated;
            world.change(kind, change).await;
            let raised = world.now(kind).await.generation - intent.bound.generation;
            assert_eq!(raised, i64::from(raises), "{kind} {change}");
            let fault = perform(&world.cluster, &job, &intent).await.unwrap_err();
            let Fault::Moved(error) = fault else { panic!("{kind} {change}: {fault:?}") };
            assert_eq!(error.code, Code::KubernetesConflict);
            assert_eq!(world.patches(), u32::from(!repeated), "{kind} {change}: refused, or not sent at all");

            world.healthy(kind).await;
            let fresh = world.intend(&job).await.unwrap();
            let receipt = perform(&world.cluster, &job, &fresh).await.unwrap();
            assert_eq!(receipt.generation, fresh.bound.generation + 1, "{kind} {change}");
            assert_eq!(world.now(kind).await.run(), Some("run-1"));
        }
    }
}

#[tokio::test]
async fn a_refused_patch_is_certain_also_after_many_changes() {
    let world = of_kind("Deployment", Kind::Deployment).await;
    let job = world.job(Kind::Deployment, "run-1", 20);
    let intent = world.intend(&job).await.unwrap();
    for replicas in [3, 4, 5] {
        world.change(Kind::Deployment, &json!({"spec": {"replicas": replicas}})).await;
    }
    let fault = perform(&world.cluster, &job, &intent).await.unwrap_err();
    assert!(matches!(fault, Fault::Moved(_)), "{fault:?}");
}

#[tokio::test]
async fn an_object_that_is_gone_is_a_failure_only_if_nothing_was_sent() {
    for again in [false, true] {
        let world = of_kind("Deployment", Kind::Deployment).await;
        let (job, intent) = begun(&world, Kind::Deployment).await;
        let api: Api<Deployment> = Api::namespaced(world.client.clone(), "default");
        api.delete("webapp", &DeleteParams::background()).await.unwrap();
        if again {
            let object = webapp("Deployment", 2, &json!({}), &json!({}));
            let object = serde_json::from_value(object).unwrap();
            api.create(&PostParams::default(), &object).await.unwrap();
        }
        let error = unknown(perform(&world.cluster, &job, &intent).await.unwrap_err());
        assert!(error.message.contains("was deleted"), "{}", error.message);
        let mut fresh = job;
        fresh.once.repeated = false;
        let fault = perform(&world.cluster, &fresh, &intent).await.unwrap_err();
        let Fault::Failed(error) = fault else { panic!("{fault:?}") };
        assert_eq!(error.code, Code::KubernetesNotFound);
        assert_eq!(world.now_or_none(Kind::Deployment).await.and_then(|w| w.run().map(str::to_owned)), None);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_unknown_and_its_remedy_names_the_mark() {
    let world = of_kind("Deployment", Kind::Deployment).await;
    world.spoil(&[Spoil::Everything]);
    let job = world.job(Kind::Deployment, "run-2", 1);
    let intent = Intent::of(&job, &*world.peek(Kind::Deployment).await, world.cluster.now()).unwrap();
    let error = unknown(perform(&world.cluster, &job, &intent).await.unwrap_err());
    assert!(error.remedy.contains("astradesk.dev/run: run-2"), "{}", error.remedy);
    assert_eq!(world.patches(), 1);
}

#[tokio::test]
async fn a_mark_that_a_later_restart_has_left_in_place_is_a_restart_that_was_replaced() {
    let object = webapp("Deployment", 2, &once_restarted("slow:20"), &json!({}));
    let world = World::start(vec![object]).await;
    world.healthy(Kind::Deployment).await;
    let (job, intent) = begun(&world, Kind::Deployment).await;
    perform(&world.cluster, &job, &intent).await.unwrap();
    let annotations = json!({super::RESTARTED_AT: "2030-01-01T00:00:00Z"});
    let restart = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    world.change(Kind::Deployment, &restart).await;
    let receipt = perform(&world.cluster, &job, &intent).await.unwrap();
    let Err(Fault::Failed(error)) = verify(&world.cluster, &job, &receipt).await else { panic!() };
    assert_eq!(error.code, Code::RolloutSuperseded);
    assert!(error.message.contains("2030-01-01"), "{}", error.message);
}

#[tokio::test]
async fn the_intent_is_told_in_stable_words() {
    let world = of_kind("Deployment", Kind::Deployment).await;
    let (job, intent) = begun(&world, Kind::Deployment).await;
    let object = world.now(Kind::Deployment).await;
    let stored = serde_json::to_value(&intent).unwrap();
    let expected: Value = json!({
        "uid": object.uid, "resource_version": object.resource_version, "generation": object.generation,
        "revision": "1", "rest": intent.rest, "restarted_at": intent.sets.restarted_at, "run": "run-1",
        "before": {"restarted_at": null, "run": null},
    });
    assert_eq!(stored, expected);

    let receipt = perform(&world.cluster, &job, &intent).await.unwrap();
    let undo = world.undo(Kind::Deployment, &receipt, 20);
    let stored = serde_json::to_value(world.intend(&undo).await.unwrap()).unwrap();
    assert_eq!((&stored["restarted_at"], &stored["run"]), (&Value::Null, &Value::Null));
    assert_eq!(stored["before"]["run"], "run-1");
}
