//! `PodDisruptionBudget`s, seen through the API, and the evictions that ask them.

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
use k8s_openapi::api::core::v1::Pod;
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

fn eviction(name: &str) -> Value {
    json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name, "namespace": "default" } })
}

async fn evict(cluster: &Cluster, name: &str) -> (u16, Value) {
    let path = format!("/api/v1/namespaces/default/pods/{name}/eviction");
    cluster.call("POST", &path, "application/json", eviction(name)).await
}

#[tokio::test]
async fn of_evictions_at_once_as_many_pass_as_the_budget_allows() {
    let cluster = cluster(vec![
        workload("Deployment", "web", json!({}), json!({ "replicas": 6 })),
        budget("web", json!({ "minAvailable": 5 })),
    ])
    .await;
    until(&cluster, "web", (6, 6, 5, 1)).await;
    let pods = common::names(&cluster.pods("web").await);
    let replies = futures::future::join_all(pods.iter().map(|name| evict(&cluster, name))).await;
    let passed: Vec<&Value> =
        replies.iter().filter(|(code, _)| *code == 201).map(|(_, reply)| reply).collect();
    assert_eq!(passed.len(), 1, "{replies:?}");
    assert_eq!(passed[0]["status"], "Success");
    for (_, refused) in replies.iter().filter(|(code, _)| *code != 201) {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        assert_eq!((&refused["code"], &refused["message"]), (&json!(429), &json!(message)));
        assert_eq!(refused["reason"], "TooManyRequests");
        let cause = &refused["details"]["causes"][0];
        assert_eq!(cause["reason"], "DisruptionBudget");
        assert!(cause["message"].as_str().unwrap().starts_with("The disruption budget web "), "{cause}");
    }
    // The one that went is replaced, and then another may go.
    until(&cluster, "web", (6, 6, 5, 1)).await;
    let left = cluster.pods("web").await;
    let kept = left.iter().filter(|pod| pods.contains(pod.metadata.name.as_ref().unwrap())).count();
    assert_eq!(kept, 5);
    let next = left[0].metadata.name.clone().unwrap();
    assert_eq!(evict(&cluster, &next).await.0, 201);
}

#[tokio::test]
async fn an_eviction_is_remembered_until_the_pod_goes() {
    let held = json!({ "template": { "spec": { "terminationGracePeriodSeconds": 3600 } }, "replicas": 2 });
    let cluster = cluster(vec![
        workload("Deployment", "web", json!({}), held),
        budget("web", json!({ "maxUnavailable": 1 })),
    ])
    .await;
    until(&cluster, "web", (2, 2, 1, 1)).await;
    let pod = cluster.pods("web").await[0].metadata.name.clone().unwrap();
    let path = format!("/api/v1/namespaces/default/pods/{pod}/eviction");
    let (code, _) =
        cluster.call("POST", &format!("{path}?dryRun=All"), "application/json", eviction(&pod)).await;
    assert_eq!(code, 201);
    until(&cluster, "web", (2, 2, 1, 1)).await;
    // As a controller that has not seen the pod go: it must not count it.
    let status = json!({ "status": { "disruptedPods": { pod.as_str(): "2999-01-01T00:00:00Z" } } });
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/web";
    let (code, _) =
        cluster.call("PATCH", &format!("{budgets}/status"), "application/merge-patch+json", status).await;
    assert_eq!(code, 200);
    until(&cluster, "web", (2, 1, 1, 0)).await;
    let (code, refused) = evict(&cluster, &pod).await;
    assert_eq!(code, 429, "{refused}");
    let cause = &refused["details"]["causes"][0]["message"];
    assert_eq!(cause, "The disruption budget web needs 1 healthy pods and has 1 currently");
}

#[tokio::test]
async fn an_eviction_is_of_a_pod_that_a_single_budget_covers() {
    let cluster = cluster(vec![
        workload("Deployment", "web", json!({}), json!({ "replicas": 1 })),
        workload("Deployment", "sick", behaves("never-ready"), json!({ "replicas": 1 })),
        budget("one", json!({ "minAvailable": 0 })),
        budget("other", json!({ "minAvailable": 0 })),
    ])
    .await;
    until(&cluster, "other", (1, 1, 0, 1)).await;
    let web = cluster.pods("web").await[0].metadata.name.clone().unwrap();
    let (code, reply) = evict(&cluster, &web).await;
    assert_eq!(code, 500);
    assert!(reply["message"].as_str().unwrap().contains("more than one PodDisruptionBudget"), "{reply}");
    let sick = cluster.pods("sick").await[0].metadata.name.clone().unwrap();
    assert_eq!(evict(&cluster, &sick).await.0, 201, "no budget covers it");
    assert_eq!(evict(&cluster, "nothing").await.0, 404);
    let path = format!("/api/v1/namespaces/default/pods/{web}/eviction");
    for (method, body, expected) in [
        ("POST", eviction("other"), 400),
        ("POST", json!({ "kind": "Sofa" }), 400),
        ("GET", json!(null), 405),
    ] {
        assert_eq!(
            cluster.call(method, &path, "application/json", &body).await.0,
            expected,
            "{method} {body}"
        );
    }
}

#[tokio::test]
async fn an_unready_pod_costs_nothing_where_enough_serve() {
    let sick = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": { "app": "web" }, "annotations": behaves("never-ready") },
            "spec": { "containers": [{ "name": "app", "image": "example.com/app:1" }] },
        })
    };
    let web = workload("Deployment", "web", json!({}), json!({ "replicas": 2 }));
    let cluster =
        cluster(vec![web, sick("one"), sick("two"), budget("web", json!({ "minAvailable": 2 }))]).await;
    let running = |pods: &[Pod]| {
        pods.iter()
            .filter(|pod| pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Running")))
            .count()
            == 4
    };
    cluster.until_pods("web", "running", running).await;
    until(&cluster, "web", (4, 2, 2, 0)).await;
    assert_eq!(evict(&cluster, "one").await.0, 201);

    // Too few serve already: its going is only allowed where that is always so.
    let path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/web";
    let merge = "application/merge-patch+json";
    let (code, _) = cluster.call("PATCH", path, merge, json!({ "spec": { "minAvailable": 3 } })).await;
    assert_eq!(code, 200);
    until(&cluster, "web", (3, 2, 3, 0)).await;
    assert_eq!(evict(&cluster, "two").await.0, 429);
    let always = json!({ "spec": { "unhealthyPodEvictionPolicy": "AlwaysAllow" } });
    assert_eq!(cluster.call("PATCH", path, merge, always).await.0, 200);
    assert_eq!(evict(&cluster, "two").await.0, 201);
}

#[tokio::test]
async fn budgets_have_an_older_name() {
    let cluster = cluster(vec![budget("web", json!({ "maxUnavailable": 1 }))]).await;
    let older = "/apis/policy/v1beta1/namespaces/default/poddisruptionbudgets";
    let (code, found) = cluster.get(&format!("{older}/web")).await;
    assert_eq!((code, &found["apiVersion"]), (200, &json!("policy/v1beta1")));
    let (_, list) = cluster.get(older).await;
    assert_eq!(
        (&list["apiVersion"], &list["items"][0]["metadata"]["name"]),
        (&json!("policy/v1beta1"), &json!("web"))
    );
    let mut made = budget("made", json!({ "maxUnavailable": 1 }));
    made["apiVersion"] = json!("policy/v1beta1");
    let (code, reply) = cluster.call("POST", older, "application/json", made).await;
    assert_eq!((code, &reply["apiVersion"]), (201, &json!("policy/v1beta1")));
    let newer = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    assert_eq!(cluster.get(&format!("{newer}/made")).await.1["apiVersion"], "policy/v1");
    let group = cluster.get("/apis/policy").await.1;
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let pods = cluster.get("/api/v1").await.1;
    let resources = pods["resources"].as_array().unwrap().iter();
    let eviction = resources.into_iter().find(|resource| resource["name"] == "pods/eviction").unwrap();
    assert_eq!((&eviction["group"], &eviction["kind"]), (&json!("policy"), &json!("Eviction")));
}
