//! `PodDisruptionBudget`s, seen through the API.

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

use common::{Cluster, behaves, cluster, pod_ready, workload};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

fn budget(name: &str, spec: Value) -> Value {
    let mut budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": { "name": name, "namespace": "default" },
        "spec": { "selector": { "matchLabels": { "app": "web" } } },
    });
    json_patch::merge(&mut budget["spec"], &spec);
    budget
}

fn counts(budget: &PodDisruptionBudget) -> Option<(i32, i32, i32, i32)> {
    let status: &PodDisruptionBudgetStatus = budget.status.as_ref()?;
    let observed = status.observed_generation == budget.metadata.generation;
    observed.then_some((
        status.expected_pods,
        status.current_healthy,
        status.desired_healthy,
        status.disruptions_allowed,
    ))
}

async fn until(cluster: &Cluster, name: &str, wanted: (i32, i32, i32, i32)) -> PodDisruptionBudget {
    cluster
        .until::<PodDisruptionBudget>(name, &format!("{wanted:?}"), |budget| counts(budget) == Some(wanted))
        .await
}

#[tokio::test]
async fn what_a_budget_allows_follows_the_pods() {
    let cluster = cluster(vec![
        workload("Deployment", "web", json!({}), json!({ "replicas": 3 })),
        budget("most", json!({ "maxUnavailable": 1 })),
        budget("share", json!({ "maxUnavailable": "34%" })),
        budget("least", json!({ "minAvailable": 3 })),
        budget("half", json!({ "minAvailable": "50%" })),
        budget("others", json!({ "selector": { "matchLabels": { "app": "api" } }, "maxUnavailable": 1 })),
    ])
    .await;
    // Expected, healthy, desired, allowed. Shares are rounded up, both ways.
    until(&cluster, "most", (3, 3, 2, 1)).await;
    until(&cluster, "share", (3, 3, 1, 2)).await;
    until(&cluster, "least", (3, 3, 3, 0)).await;
    let half = until(&cluster, "half", (3, 3, 2, 1)).await;
    let conditions = half.status.unwrap().conditions.unwrap();
    assert_eq!((&*conditions[0].type_, &*conditions[0].reason), ("DisruptionAllowed", "SufficientPods"));
    until(&cluster, "others", (0, 0, 0, 0)).await;

    // Replicas that are wanted and missing count as disrupted.
    let crash = json!({ "spec": { "replicas": 5, "template": { "metadata": { "annotations": behaves("never-ready") } } } });
    let deployments = cluster.api::<Deployment>();
    deployments.patch("web", &PatchParams::default(), &Patch::Merge(crash)).await.unwrap();
    cluster
        .until::<PodDisruptionBudget>("most", "exhausted", |budget| {
            counts(budget)
                .is_some_and(|(expected, _, desired, allowed)| (expected, desired, allowed) == (5, 4, 0))
        })
        .await;

    // A changed specification is observed.
    let budgets = cluster.api::<PodDisruptionBudget>();
    let wider = json!({ "spec": { "maxUnavailable": "100%" } });
    let changed = budgets.patch("most", &PatchParams::default(), &Patch::Merge(wider)).await.unwrap();
    assert_eq!(changed.metadata.generation, Some(2));
    cluster
        .until::<PodDisruptionBudget>("most", "observed", |budget| {
            counts(budget).is_some_and(|(expected, healthy, desired, allowed)| {
                (expected, desired) == (5, 0) && allowed == healthy
            })
        })
        .await;
    budgets.delete("most", &DeleteParams::default()).await.unwrap();
    assert_eq!(budgets.list(&ListParams::default()).await.unwrap().items.len(), 4);
}

#[tokio::test]
async fn a_share_of_what_has_no_scale_allows_nothing() {
    let cluster = cluster(vec![
        workload("DaemonSet", "web", json!({}), json!({})),
        budget("share", json!({ "maxUnavailable": 1 })),
        budget("least", json!({ "minAvailable": 2 })),
    ])
    .await;
    cluster.until_pods("web", "ready", |pods| pods.len() == 3 && pods.iter().all(pod_ready)).await;
    until(&cluster, "least", (3, 3, 2, 1)).await;
    let failed = cluster
        .until::<PodDisruptionBudget>("share", "failed", |budget| {
            let conditions = budget.status.as_ref().and_then(|status| status.conditions.clone());
            conditions.is_some_and(|conditions| conditions[0].reason == "SyncFailed")
        })
        .await;
    assert_eq!(failed.status.unwrap().disruptions_allowed, 0);
}

#[tokio::test]
async fn a_budget_says_one_thing_and_its_status_is_the_controllers() {
    let cluster = cluster(vec![]).await;
    let budgets = cluster.api::<PodDisruptionBudget>();
    for (spec, field) in [
        (json!({ "minAvailable": 1, "maxUnavailable": 1 }), "spec"),
        (json!({ "minAvailable": -1 }), "spec.minAvailable"),
        (json!({ "maxUnavailable": "101%" }), "spec.maxUnavailable"),
        (json!({ "maxUnavailable": "half" }), "spec.maxUnavailable"),
    ] {
        let object = serde_json::from_value(budget("web", spec)).unwrap();
        let kube::Error::Api(status) = budgets.create(&PostParams::default(), &object).await.unwrap_err()
        else {
            panic!("no answer");
        };
        assert_eq!(status.code, 422);
        assert_eq!(status.details.unwrap().causes[0].field, field);
    }
    let mut object = budget("web", json!({ "maxUnavailable": 1 }));
    object["status"] =
        json!({ "disruptionsAllowed": 7, "currentHealthy": 7, "desiredHealthy": 0, "expectedPods": 7 });
    budgets.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    until(&cluster, "web", (0, 0, 0, 0)).await;
}
