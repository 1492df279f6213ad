//! Nodes and evictions against the sandbox: what was sent is found again, and nothing is done twice.

use super::eviction::{Answer, evict, gone};
use super::node::{Intent, NodeJob, NodeView};
use super::residents::{PodRef, Resident};
use super::testing::{Spoil, World, webapp};
use astradesk_core::Code;
use astradesk_core::name::ObjectName;
use astradesk_core::target::Kind;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const NODE: &str = "sandbox-node-1";

fn name(text: &str) -> ObjectName {
    ObjectName::parse(text).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn job(mark: &str, repeated: bool) -> NodeJob {
    NodeJob { name: name(NODE), mark: mark.to_owned(), repeated, deadline: soon() }
}

async fn node(world: &World) -> NodeView {
    world.cluster.node(&name(NODE)).await.unwrap()
}

/// Changes the node behind our back.
async fn change(world: &World, patch: &Value) {
    let nodes: Api<Node> = Api::all(world.client.clone());
    nodes.patch(NODE, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

#[tokio::test]
async fn a_cordon_whose_reply_is_lost_is_found_by_its_mark_and_applied_once() {
    for (spoil, patches) in [
        (vec![Spoil::Reply], 1),
        (vec![Spoil::Request], 2),
        (vec![Spoil::Request, Spoil::Reply], 2),
        (vec![Spoil::Conflict, Spoil::Conflict], 3),
    ] {
        let world = World::start(Vec::new()).await;
        let intent = Intent::of(&node(&world).await, true);
        world.spoil(&spoil);
        let receipt = intent.perform(&world.cluster, &job("run-1", false)).await.unwrap();
        let after = node(&world).await;
        assert!(after.unschedulable && after.mark.as_deref() == Some("run-1"), "{spoil:?}: {after:?}");
        assert_eq!((receipt.before, world.patches()), (false, patches), "{spoil:?}");
        receipt.holds(&after).unwrap();

        let stored: Intent = serde_json::from_value(serde_json::to_value(&intent).unwrap()).unwrap();
        let again = stored.perform(&world.cluster, &job("run-1", true)).await.unwrap();
        assert_eq!((again.uid, world.patches()), (receipt.uid, patches), "{spoil:?}: nothing is sent again");
    }
}

#[tokio::test]
async fn what_is_so_already_is_left_alone_and_what_others_did_since_is_not_undone() {
    let world = World::start(Vec::new()).await;
    let first = Intent::of(&node(&world).await, true);
    let receipt = first.perform(&world.cluster, &job("run-1", false)).await.unwrap();
    let second = Intent::of(&node(&world).await, true);
    let already = second.perform(&world.cluster, &job("run-2", false)).await.unwrap();
    assert_eq!((already.before, world.patches()), (true, 1), "a node that is cordoned is not patched");
    assert!(Intent::undoing(&node(&world).await, &already).unwrap().is_so_already(), "nor uncordoned");

    change(&world, &json!({"spec": {"unschedulable": null}})).await;
    assert_eq!(receipt.holds(&node(&world).await).unwrap_err().code, Code::KubernetesConflict);
    assert!(Intent::undoing(&node(&world).await, &receipt).unwrap().is_so_already());

    let mark = json!({"astradesk.dev/run": "run-3"});
    change(&world, &json!({"metadata": {"annotations": mark}, "spec": {"unschedulable": true}})).await;
    let error = Intent::undoing(&node(&world).await, &receipt).unwrap_err();
    assert_eq!(error.code, Code::KubernetesConflict, "somebody else has cordoned it");
    let error = world.cluster.node(&name("sandbox-node-11")).await.unwrap_err();
    assert_eq!((error.code, &error.details["candidates"][0]), (Code::KubernetesNotFound, &json!(NODE)));
}

async fn pod(world: &World, pod: &str) -> Option<Resident> {
    world.cluster.resident(world.cluster.namespace(), &name(pod)).await.unwrap()
}

/// Waits until another pod has the name, and serves.
async fn replaced(world: &World, old: &PodRef) -> Resident {
    let wait = async {
        loop {
            match pod(world, old.name.as_str()).await {
                Some(new) if new.pod.uid != old.uid => return new,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap()
}

#[tokio::test]
async fn a_pod_is_evicted_once_and_what_has_its_name_since_is_left_alone() {
    for (spoil, sent) in [(vec![], 1), (vec![Spoil::Reply], 1), (vec![Spoil::Request], 2)] {
        let world = World::start(vec![webapp("StatefulSet", 2, &json!({}), &json!({}))]).await;
        world.healthy(Kind::StatefulSet).await;
        let old = pod(&world, "webapp-0").await.unwrap().pod;
        world.spoil(&spoil);
        let answer = evict(&world.cluster, &old, false, soon()).await.unwrap();
        assert!(matches!(answer, Answer::Going { by_us: true }), "{spoil:?}: {answer:?}");
        assert_eq!(world.evictions(), sent, "{spoil:?}");
        assert!(gone(&world.cluster, &old, soon()).await.unwrap(), "{spoil:?}");

        let new = replaced(&world, &old).await.pod;
        let again = evict(&world.cluster, &old, true, soon()).await.unwrap();
        assert!(matches!(again, Answer::Going { by_us: true }), "{spoil:?}: {again:?}");
        assert_eq!(world.evictions(), sent, "{spoil:?}: after a crash it is found gone, and nothing is sent");
        let late = evict(&world.cluster, &old, false, soon()).await.unwrap();
        assert!(matches!(late, Answer::Going { by_us: false }), "{spoil:?}: {late:?}");
        let there = pod(&world, "webapp-0").await.unwrap();
        assert!(there.pod == new && !there.terminating, "{spoil:?}: {there:?}");
    }
}

#[tokio::test]
async fn a_budget_that_lets_no_pod_go_is_named_and_two_of_them_never_do() {
    let budget = |name: &str| {
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "webapp"}}},
        })
    };
    let workload = webapp("StatefulSet", 2, &json!({}), &json!({}));
    for (budgets, code, said) in [
        (vec![budget("strict")], Code::GuardDisruptionBudget, "`strict`"),
        (vec![budget("one"), budget("two")], Code::KubernetesRejected, "more than one PodDisruptionBudget"),
    ] {
        let world = World::start([vec![workload.clone()], budgets].concat()).await;
        world.healthy(Kind::StatefulSet).await;
        let subject = pod(&world, "webapp-0").await.unwrap().pod;
        let error = match evict(&world.cluster, &subject, false, soon()).await.unwrap() {
            Answer::Refused { error, certain: true } | Answer::Never(error) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(error.code, code);
        assert!(error.message.contains(said), "{}", error.message);
        assert_eq!(
            world.cluster.try_evicting(&subject).await.unwrap_err().code,
            code,
            "a dry run says so too"
        );
        assert_eq!(pod(&world, "webapp-0").await.unwrap().pod, subject);
    }
}
