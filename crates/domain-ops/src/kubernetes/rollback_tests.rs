//! The rollback against the sandbox: chosen, once, found again, verified, and undone.

use super::once::Bound;
use super::restart::{Job, verify};
use super::rollback::{Intent, Past, Point, Receipt, choose, current, perform};
use super::testing::{Spoil, World, repeated, webapp};
use astradesk_core::target::Kind;
use astradesk_runtime::port::Fault;
use serde_json::{Value, json};

const KINDS: [(&str, Kind); 3] =
    [("Deployment", Kind::Deployment), ("StatefulSet", Kind::StatefulSet), ("DaemonSet", Kind::DaemonSet)];

/// `webapp`, brought out as `webapp:1` and then, with something in its environment, as `webapp:2`.
async fn twice(kind_name: &str, kind: Kind) -> World {
    let world = World::start(vec![webapp(kind_name, 2, &json!({}), &json!({}))]).await;
    world.healthy(kind).await;
    image(&world, kind, &json!({"name": "app", "image": "webapp:2", "env": [{"name": "A", "value": "b"}]}))
        .await;
    world
}

async fn image(world: &World, kind: Kind, container: &Value) {
    world.change(kind, &json!({"spec": {"template": {"spec": {"containers": [container]}}}})).await;
    let wanted = world.now(kind).await.generation;
    world.until(kind, |workload, _| workload.observed_generation >= wanted).await;
    world.healthy(kind).await;
}

async fn past(world: &World, kind: Kind) -> Past {
    Past::read(&world.cluster, kind, world.cluster.namespace(), "webapp").await.unwrap()
}

async fn intend(world: &World, kind: Kind, wanted: Option<i64>) -> Intent {
    let Past { workload, history, .. } = past(world, kind).await;
    let to = Point::of(choose(&workload, &history, wanted).unwrap());
    Intent { bound: Bound::to(&workload), from: current(&workload, &history), to }
}

fn job(world: &World, kind: Kind, mark: &str) -> Job {
    Job { back_to: Some("revision 1".to_owned()), ..world.job(kind, mark, 20) }
}

#[tokio::test]
async fn it_goes_back_to_the_very_template_once_and_can_be_undone() {
    for (kind_name, kind) in KINDS {
        let world = twice(kind_name, kind).await;
        let (before, intent) = (past(&world, kind).await, intend(&world, kind, None).await);
        let (difference, count) = before.difference(before.find(intent.to.template).unwrap());
        assert_eq!(count, 2, "{kind}: {difference:?}");
        assert_eq!(difference[1]["after"], "webapp:1", "{kind}");

        let first = job(&world, kind, "run-1");
        let receipt = perform(&world.cluster, &first, &intent).await.unwrap();
        let output = verify(&world.cluster, &first, &receipt.rollout).await.unwrap();
        let summary = output["summary"].as_str().unwrap();
        assert!(summary.contains("was rolled back to revision 1: all"), "{kind}: {summary}");
        let after = world.now(kind).await;
        assert_eq!(
            (after.template, after.images),
            (intent.to.template, vec!["webapp:1".to_owned()]),
            "{kind}"
        );
        assert_eq!((world.patches(), after.generation), (1, intent.bound.generation + 1), "{kind}");

        // Whoever takes it up after a crash finds it.
        let stored: Intent = serde_json::from_value(serde_json::to_value(&intent).unwrap()).unwrap();
        let again = repeated(job(&world, kind, "run-1"));
        let found = perform(&world.cluster, &again, &stored).await.unwrap();
        assert_eq!((world.patches(), found.to, found.from), (1, receipt.to, receipt.from), "{kind}");

        let back = past(&world, kind).await;
        let to = Point::of(back.find(receipt.from.template).unwrap());
        let undo = Intent { bound: Bound::to(&back.workload), from: intent.to, to };
        let undone = job(&world, kind, "run-1/1");
        let receipt: Receipt = perform(&world.cluster, &undone, &undo).await.unwrap();
        verify(&world.cluster, &undone, &receipt.rollout).await.unwrap();
        assert_eq!(world.now(kind).await.template, before.workload.template, "{kind}");
    }
}

#[tokio::test]
async fn it_goes_back_to_a_template_that_was_restarted_in_its_time() {
    for (kind_name, kind) in KINDS {
        let world = World::start(vec![webapp(kind_name, 2, &json!({}), &json!({}))]).await;
        world.healthy(kind).await;
        let restart = world.job(kind, "run-0", 20);
        let restarted = world.perform(&restart).await.unwrap();
        verify(&world.cluster, &restart, &restarted).await.unwrap();
        image(&world, kind, &json!({"name": "app", "image": "webapp:2"})).await;
        let sent = world.patches();
        let (job, intent) = (job(&world, kind, "run-1"), intend(&world, kind, None).await);
        let receipt = perform(&world.cluster, &job, &intent).await.unwrap();
        verify(&world.cluster, &job, &receipt.rollout).await.unwrap();
        let now = world.now(kind).await;
        assert_eq!(
            (now.template, now.run(), world.patches()),
            (restarted.template, Some("run-0"), sent + 1),
            "{kind}"
        );
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
        let world = twice("Deployment", Kind::Deployment).await;
        let intent = intend(&world, Kind::Deployment, Some(1)).await;
        world.spoil(&spoil);
        let job = job(&world, Kind::Deployment, "run-1");
        let receipt = perform(&world.cluster, &job, &intent).await.unwrap();
        assert_eq!(
            receipt.rollout.generation,
            intent.bound.generation + 1,
            "{spoil:?}: applied exactly once"
        );
        assert_eq!(world.patches(), patches, "{spoil:?}");
    }
}

#[tokio::test]
async fn whoever_was_faster_makes_the_intent_void_and_what_nobody_can_tell_is_unknown() {
    let world = twice("Deployment", Kind::Deployment).await;
    let (job, intent) =
        (job(&world, Kind::Deployment, "run-1"), intend(&world, Kind::Deployment, None).await);
    world.change(Kind::Deployment, &json!({"spec": {"replicas": 3}})).await;
    let fault = perform(&world.cluster, &job, &intent).await.unwrap_err();
    assert!(matches!(fault, Fault::Moved(_)), "{fault:?}");
    let again = repeated(job);
    let fault = perform(&world.cluster, &again, &intent).await.unwrap_err();
    assert!(matches!(fault, Fault::Moved(_)), "one change, and not of the template: {fault:?}");
    world.change(Kind::Deployment, &json!({"spec": {"replicas": 2}})).await;
    let fault = perform(&world.cluster, &again, &intent).await.unwrap_err();
    assert!(matches!(fault, Fault::Unknown(_)), "nobody can tell: {fault:?}");
    assert_eq!(world.patches(), 1, "only the first was sent, and refused");
}
