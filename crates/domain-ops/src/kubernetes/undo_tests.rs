//! The undo of a restart against the sandbox.

use super::restart::{perform, verify};
use super::rollout::Receipt;
use super::testing::{Spoil, World, once_restarted, repeated, webapp};
use super::workload::PodView;
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error};
use astradesk_runtime::port::Fault;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const KINDS: [(&str, Kind); 3] =
    [("Deployment", Kind::Deployment), ("StatefulSet", Kind::StatefulSet), ("DaemonSet", Kind::DaemonSet)];

/// A workload whose pods crash once it was restarted, and its pods before.
async fn crashing(kind_name: &str, kind: Kind, spec: &Value) -> (World, BTreeSet<String>) {
    let world = World::start(vec![webapp(kind_name, 3, &once_restarted("crash:3"), spec)]).await;
    world.healthy(kind).await;
    let pods = pods(&world).await;
    (world, pods)
}

async fn pods(world: &World) -> BTreeSet<String> {
    let api: Api<Pod> = Api::namespaced(world.client.clone(), "default");
    let pods = api.list(&ListParams::default()).await.unwrap().items;
    let live = pods.iter().filter_map(PodView::of).filter(|pod| pod.is_live() && !pod.terminating);
    live.map(|pod| pod.uid).collect()
}

/// Restarts, and waits until that has failed.
async fn fail(world: &World, kind: Kind) -> Receipt {
    let job = world.job(kind, "run-1", 30);
    let receipt = world.perform(&job).await.unwrap();
    let error = failed(verify(&world.cluster, &job, &receipt).await.unwrap_err());
    assert_eq!(error.code, Code::RolloutCrashLoop, "{kind}: {error:?}");
    receipt
}

/// A workload that was restarted well: its status is at rest, so nothing but ourselves changes it.
async fn restarted(kind_name: &str, kind: Kind) -> (World, Receipt) {
    let world = World::start(vec![webapp(kind_name, 2, &json!({}), &json!({}))]).await;
    world.healthy(kind).await;
    let job = world.job(kind, "run-1", 30);
    let receipt = world.perform(&job).await.unwrap();
    verify(&world.cluster, &job, &receipt).await.unwrap();
    world.healthy(kind).await;
    (world, receipt)
}

fn failed(fault: Fault) -> Error {
    match fault {
        Fault::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_failed_restart_is_undone_and_the_old_pods_are_kept() {
    for (kind_name, kind, spec, kept) in [
        ("Deployment", Kind::Deployment, json!({}), 3),
        // A StatefulSet that does not wait for the pod that fails.
        ("StatefulSet", Kind::StatefulSet, json!({"podManagementPolicy": "Parallel"}), 2),
        ("DaemonSet", Kind::DaemonSet, json!({}), 2),
    ] {
        let (world, old) = crashing(kind_name, kind, &spec).await;
        let before = world.now(kind).await;
        let restart = fail(&world, kind).await;
        let job = world.undo(kind, &restart, 30);
        let receipt = world.perform(&job).await.unwrap();
        assert_eq!(receipt.template, before.template, "{kind}: the template is as before");
        assert_eq!(receipt.undo.as_deref(), Some("run-1/1"), "{kind}");
        let output = verify(&world.cluster, &job, &receipt).await.unwrap();

        let summary = output["summary"].as_str().unwrap();
        assert!(summary.contains("was restored to "), "{kind}: {summary}");
        assert_eq!(output["restored_revision"], json!(restart.previous_revision), "{kind}");
        let now = pods(&world).await;
        assert_eq!((now.len(), now.intersection(&old).count()), (old.len(), kept), "{kind}");
        let after = world.now(kind).await;
        assert_eq!((after.run(), after.restarted_at(), after.undo.as_deref()), (None, None, Some("run-1/1")));
    }
}

/// The pods that were never replaced count as they did before, however many templates came and went since.
#[tokio::test]
async fn a_second_undo_of_a_daemon_set_keeps_the_pods_of_before_the_first() {
    // A restart gets no further than its first pod, which is not ready: two of them leave one of the three as it was.
    let stuck = once_restarted("never-ready");
    let world = World::start(vec![webapp("DaemonSet", 3, &stuck, &json!({}))]).await;
    world.healthy(Kind::DaemonSet).await;
    for run in ["run-1", "run-2"] {
        let restart = world.perform(&world.job(Kind::DaemonSet, run, 30)).await.unwrap();
        let undo = world.undo(Kind::DaemonSet, &restart, 10);
        let receipt = world.perform(&undo).await.unwrap();
        verify(&world.cluster, &undo, &receipt).await.unwrap();
    }
    let first = |pod: &PodView| pod.template_generation.as_deref() == Some("1");
    let (workload, family) =
        world.cluster.scope(&world.cluster.namespace().clone()).family(Kind::DaemonSet, "webapp").unwrap();
    assert!(family.pods.iter().any(|pod| first(pod)), "no pod is old enough to show anything");
    assert!(family.pods.iter().all(|pod| family.is_new(&workload, pod)), "{:?}", family.pods);
}

#[tokio::test]
async fn an_undo_puts_back_the_marks_of_the_restart_before() {
    let world = World::start(vec![webapp("Deployment", 2, &json!({}), &json!({}))]).await;
    world.healthy(Kind::Deployment).await;
    let first = world.job(Kind::Deployment, "run-0", 30);
    let receipt = world.perform(&first).await.unwrap();
    verify(&world.cluster, &first, &receipt).await.unwrap();
    let before = world.now(Kind::Deployment).await;
    let second = world.job(Kind::Deployment, "run-1", 30);
    let restart = world.perform(&second).await.unwrap();
    let undo = world.undo(Kind::Deployment, &restart, 30);
    let receipt = world.perform(&undo).await.unwrap();
    verify(&world.cluster, &undo, &receipt).await.unwrap();
    let after = world.now(Kind::Deployment).await;
    assert_eq!((after.run(), after.restarted_at()), (Some("run-0"), before.restarted_at()));
    assert_eq!(after.template, before.template);
}

#[tokio::test]
async fn after_a_crash_an_undo_finds_its_mark_or_is_sent_once() {
    for (kind_name, kind) in KINDS {
        for lost in [None, Some(Spoil::Reply), Some(Spoil::Request)] {
            let (world, restart) = restarted(kind_name, kind).await;
            let job = repeated(world.undo(kind, &restart, 30));
            let intent = world.intend(&job).await.unwrap();
            let sent = world.patches();
            world.spoil(lost.as_slice());
            let first = perform(&world.cluster, &job, &intent).await.unwrap();
            let again = perform(&world.cluster, &job, &intent).await.unwrap();
            assert_eq!((again.generation, &again.template), (first.generation, &first.template));
            let times = if lost == Some(Spoil::Request) { 2 } else { 1 };
            assert_eq!(world.patches() - sent, times, "{kind} {lost:?}");
            assert_eq!(world.now(kind).await.generation, intent.bound.generation + 1, "{kind} {lost:?}");
        }
    }
}

#[tokio::test]
async fn an_undo_whose_mark_was_taken_away_is_not_sent_again() {
    let (world, restart) = restarted("StatefulSet", Kind::StatefulSet).await;
    let job = repeated(world.undo(Kind::StatefulSet, &restart, 30));
    let intent = world.intend(&job).await.unwrap();
    perform(&world.cluster, &job, &intent).await.unwrap();
    let sent = world.patches();
    world.change(Kind::StatefulSet, &json!({"metadata": {"annotations": {super::UNDO: null}}})).await;
    let fault = perform(&world.cluster, &job, &intent).await.unwrap_err();
    let Fault::Unknown(error) = fault else { panic!("{fault:?}") };
    assert!(error.remedy.contains("`astradesk.dev/undo: run-1/1` among its own"), "{}", error.remedy);
    assert_eq!(world.patches(), sent);
}

#[tokio::test]
async fn an_undo_that_was_replaced_during_a_crash_is_found_in_the_history() {
    let (world, restart) = restarted("Deployment", Kind::Deployment).await;
    let job = repeated(world.undo(Kind::Deployment, &restart, 30));
    let intent = world.intend(&job).await.unwrap();
    let receipt = perform(&world.cluster, &job, &intent).await.unwrap();
    verify(&world.cluster, &job, &receipt).await.unwrap();
    let changed = json!({
        "metadata": {"annotations": {super::UNDO: null}},
        "spec": {"template": {"metadata": {"annotations": {"somebody/else": "1"}}}},
    });
    world.change(Kind::Deployment, &changed).await;
    let receipt = perform(&world.cluster, &job, &intent).await.unwrap();
    let error = failed(verify(&world.cluster, &job, &receipt).await.unwrap_err());
    assert_eq!(error.code, Code::RolloutSuperseded, "{error:?}");
}

#[tokio::test]
async fn what_somebody_else_has_changed_is_not_undone() {
    for (kind_name, kind) in KINDS {
        let world = World::start(vec![webapp(kind_name, 2, &json!({}), &json!({}))]).await;
        world.healthy(kind).await;
        let restart = world.perform(&world.job(kind, "run-1", 30)).await.unwrap();
        let sent = world.patches();
        world.roll_back(kind).await;
        let error = failed(world.perform(&world.undo(kind, &restart, 30)).await.unwrap_err());
        assert_eq!(error.code, Code::RolloutSuperseded, "{kind}");
        assert!(error.message.contains("`somebody`"), "{kind}: {}", error.message);
        assert_eq!(world.patches(), sent, "{kind}");
    }
}

#[tokio::test]
async fn a_pod_that_blocks_the_way_back_of_a_stateful_set_is_named_with_the_command() {
    let (world, old) = crashing("StatefulSet", Kind::StatefulSet, &json!({})).await;
    let restart = fail(&world, Kind::StatefulSet).await;
    let job = world.undo(Kind::StatefulSet, &restart, 60);
    let begun = tokio::time::Instant::now();
    let receipt = world.perform(&job).await.unwrap();
    let error = failed(verify(&world.cluster, &job, &receipt).await.unwrap_err());
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    assert_eq!(error.code, Code::RolloutCrashLoop, "{error:?}");
    assert!(error.message.starts_with("the undo of the restart of statefulset/webapp"), "{}", error.message);
    assert!(error.remedy.contains("`kubectl -n default delete pod webapp-2`"), "{}", error.remedy);

    // As it says: the controller goes on once that pod is deleted, and the others are as they were.
    let api: Api<Pod> = Api::namespaced(world.client.clone(), "default");
    api.delete("webapp-2", &DeleteParams::default()).await.unwrap();
    verify(&world.cluster, &world.undo(Kind::StatefulSet, &restart, 30), &receipt).await.unwrap();
    assert_eq!(pods(&world).await.intersection(&old).count(), 2);
}
