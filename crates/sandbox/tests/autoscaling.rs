//! `HorizontalPodAutoscaler`s, seen through the API, and what they make of the workloads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::manual_assert,
    clippy::needless_pass_by_value,
    unreachable_pub,
    reason = "tests and their helpers: a failed unwrap is a failed test"
)]

mod common;

use common::{Cluster, cluster, workload};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

const AT: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";

fn autoscaler(kind: &str, name: &str, min: i32, max: i32) -> Value {
    json!({
        "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "minReplicas": min, "maxReplicas": max,
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": kind, "name": name },
        },
    })
}

async fn change(cluster: &Cluster, name: &str, spec: Value) {
    let autoscalers = cluster.api::<HorizontalPodAutoscaler>();
    let patch = Patch::Merge(json!({ "spec": spec }));
    autoscalers.patch(name, &PatchParams::default(), &patch).await.unwrap();
}

/// The status and reason of a condition.
fn said(autoscaler: &HorizontalPodAutoscaler, kind: &str) -> Option<(String, String)> {
    let annotations = autoscaler.metadata.annotations.as_ref()?;
    let conditions = annotations.get("autoscaling.alpha.kubernetes.io/conditions")?;
    let conditions: Vec<Value> = serde_json::from_str(conditions).unwrap();
    let condition = conditions.into_iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| condition[field].as_str().unwrap().to_owned();
    Some((text("status"), text("reason")))
}

async fn until_said(cluster: &Cluster, name: &str, kind: &str, status: &str, reason: &str) {
    let expected = Some((status.to_owned(), reason.to_owned()));
    cluster
        .until::<HorizontalPodAutoscaler>(name, reason, |autoscaler| said(autoscaler, kind) == expected)
        .await;
}

#[tokio::test]
async fn a_workload_is_brought_between_the_minimum_and_the_maximum_and_left_alone_there() {
    let cluster = cluster(vec![
        workload("Deployment", "web", json!({}), json!({ "replicas": 1 })),
        workload("StatefulSet", "db", json!({}), json!({ "replicas": 5 })),
        autoscaler("Deployment", "web", 3, 6),
        autoscaler("StatefulSet", "db", 1, 2),
    ])
    .await;
    let web = |wanted| {
        move |object: &Deployment| object.spec.as_ref().is_some_and(|spec| spec.replicas == Some(wanted))
    };
    cluster.until("web", "raised", web(3)).await;
    let db = |object: &StatefulSet| object.spec.as_ref().is_some_and(|spec| spec.replicas == Some(2));
    cluster.until("db", "lowered", db).await;
    let event = cluster.until_event("SuccessfulRescale").await;
    let known = [
        "New size: 3; reason: Current number of replicas below Spec.MinReplicas",
        "New size: 2; reason: Current number of replicas above Spec.MaxReplicas",
    ];
    assert!(known.contains(&event.message.as_deref().unwrap()), "{event:?}");
    assert_eq!(event.involved_object.kind.as_deref(), Some("HorizontalPodAutoscaler"));

    // There are no metrics, which is what it says.
    until_said(&cluster, "web", "ScalingActive", "False", "FailedGetResourceMetric").await;
    until_said(&cluster, "web", "AbleToScale", "True", "SucceededGetScale").await;
    let status = |autoscaler: &HorizontalPodAutoscaler| {
        let status = autoscaler.status.as_ref().unwrap();
        (status.current_replicas, status.desired_replicas)
    };
    cluster.until("web", "counted", |autoscaler| status(autoscaler) == (3, 3)).await;
    change(&cluster, "web", json!({ "minReplicas": 2 })).await;
    change(&cluster, "web", json!({ "minReplicas": 4 })).await;
    cluster.until("web", "raised again", web(4)).await;
    let (_, table) = cluster.get(AT).await;
    assert_eq!(table["items"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn none_switches_it_off_and_what_has_no_scale_is_named() {
    let cluster = cluster(vec![
        workload("Deployment", "web", json!({}), json!({ "replicas": 0 })),
        autoscaler("Deployment", "web", 2, 6),
        autoscaler("Deployment", "missing", 2, 6),
        autoscaler("Job", "odd", 2, 6),
    ])
    .await;
    until_said(&cluster, "web", "ScalingActive", "False", "ScalingDisabled").await;
    for name in ["missing", "odd"] {
        until_said(&cluster, name, "AbleToScale", "False", "FailedGetScale").await;
    }
    let event = cluster.until_event("FailedGetScale").await;
    assert!(event.message.unwrap().contains("no"), "a warning says why");
    let web = cluster.api::<Deployment>().get("web").await.unwrap();
    assert_eq!(web.spec.unwrap().replicas, Some(0));
    let up = Patch::Merge(json!({ "spec": { "replicas": 1 } }));
    cluster.api::<Deployment>().patch("web", &PatchParams::default(), &up).await.unwrap();
    let raised = |object: &Deployment| object.spec.as_ref().is_some_and(|spec| spec.replicas == Some(2));
    cluster.until("web", "raised", raised).await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_what_is_left_out_is_filled_in() {
    let cluster = cluster(Vec::new()).await;
    for (spec, field) in [
        (json!({ "minReplicas": 0 }), "spec.minReplicas"),
        (json!({ "maxReplicas": 0 }), "spec.maxReplicas"),
        (json!({ "minReplicas": 7 }), "spec.maxReplicas"),
        (json!({ "scaleTargetRef": { "kind": null } }), "spec.scaleTargetRef.kind"),
        (json!({ "scaleTargetRef": { "name": "" } }), "spec.scaleTargetRef.name"),
    ] {
        let mut object = autoscaler("Deployment", "web", 1, 6);
        json_patch::merge(&mut object["spec"], &spec);
        let (code, status) = cluster.call("POST", AT, "application/json", &object).await;
        // What the type itself cannot be without is missed before it is checked.
        assert!([400, 422].contains(&code), "{spec}: {code} {status}");
        if code == 422 {
            assert_eq!(status["details"]["causes"][0]["field"], field, "{status}");
        }
    }
    let mut object = autoscaler("Deployment", "web", 1, 6);
    object["spec"].as_object_mut().unwrap().remove("minReplicas");
    let (code, made) = cluster.call("POST", AT, "application/json", &object).await;
    assert_eq!((code, &made["spec"]["minReplicas"]), (201, &json!(1)), "{made}");
    assert_eq!(made["spec"]["targetCPUUtilizationPercentage"], 80);
    assert_eq!(made["status"], json!({ "currentReplicas": 0, "desiredReplicas": 0 }));
    assert!(made["metadata"]["generation"].is_null(), "as in Kubernetes");
}
