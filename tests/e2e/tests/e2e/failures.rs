//! Rollouts that fail: each with its code and its cause, and nothing claims success.

use astradesk_e2e::observer::{Kind, mark_of};
use astradesk_e2e::{
    Gateway, Place, Reply, Settings, Workload, deployment, on_both, on_real_cluster, stateful_set,
};
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

on_both!(a_failed_rollout_names_its_cause, an_old_pod_that_does_not_stop);
on_real_cluster!(a_quota_is_named, what_admission_refuses_is_named);

/// Checks that a restart failed with this code, in the answer, in the run and on record.
async fn failed(place: &Place, gateway: &Gateway, workload: &Workload, reply: &Reply, code: &str) {
    place.note(&workload.name, &reply.body);
    reply.expect(502, code);
    let run = gateway.client.run(reply.run()).await;
    assert_eq!(run["state"], "failed");
    assert_eq!(run["error"]["code"], code);
    assert_eq!(run["steps"][0]["step"], "failed");
    let records = gateway.client.evidence().await;
    let last = records.iter().rfind(|record| record["run"] == reply.run()).unwrap();
    assert_eq!(last["kind"], "run.finished");
    assert_eq!(last["data"]["state"], "failed");
    assert_eq!(last["data"]["error"]["code"], code);
    // It was done, once, and by this run.
    let object = place.get(workload.kind, &workload.name).await;
    assert_eq!(mark_of(&object).1, reply.run());
    place.observer.look(|view| assert!(view.marks(workload.kind, &workload.name).len() <= 2));
}

/// The first sick pod that an error tells of.
fn pod(reply: &Reply) -> &Value {
    &reply.body["details"]["pods"][0]
}

async fn a_failed_rollout_names_its_cause(place: &Place) {
    let label = format!("e2e.astradesk.dev/{}", place.namespace);
    place.label_nodes(&label, Some("yes")).await;
    let impatient = json!({"progressDeadlineSeconds": 3});
    let log = "listening\nthe table `orders` does not exist";
    let crashing = |workload: Workload| workload.once_restarted("crash:3").logs(log);
    // Name, how it fails, what is said to restart it, code, cause, and words of the message.
    let cases = [
        (
            deployment("image", 2).once_restarted("image-pull"),
            "",
            "rollout.image_pull",
            "image_pull",
            "pull the image",
        ),
        (crashing(deployment("crash", 2)), "", "rollout.crash_loop", "crash_loop", "exit code 3"),
        (crashing(stateful_set("crash-set", 2)), "", "rollout.crash_loop", "crash_loop", "exit code 3"),
        (
            deployment("sick", 2).once_restarted("never-ready").spec(&impatient),
            "",
            "rollout.not_ready",
            "not_ready",
            "is not ready",
        ),
        (
            deployment("homeless", 2).pods(&json!({"nodeSelector": {&label: "yes"}})).spec(&impatient),
            "",
            "rollout.unschedulable",
            "unschedulable",
            "finds no node",
        ),
        (
            deployment("slow", 2).once_restarted("slow:600"),
            " timeout 3s",
            "rollout.not_ready",
            "not_ready",
            "not complete within its time limit",
        ),
    ];
    let names: Vec<&str> = cases.iter().map(|(workload, ..)| &*workload.name).collect();
    place.run(&cases.iter().map(|(workload, ..)| workload).collect::<Vec<_>>()).await;
    place.label_nodes(&label, None).await;
    let gateway = Gateway::start(place, Settings::of(place, &names)).await;
    let restarts = cases.iter().map(async |(workload, how, code, cause, words)| {
        let old = place.observer.uids(&workload.name);
        let reply = gateway.client.say(&format!("restart {}{how}", workload.name)).await;
        failed(place, &gateway, workload, &reply, code).await;
        let detail = reply.body["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{detail}");
        let pod = pod(&reply);
        assert_eq!(pod["cause"], *cause, "{pod:#}");
        assert!(detail.contains(pod["name"].as_str().unwrap()), "{detail}");
        if *cause == "crash_loop" {
            assert_eq!(pod["exit_code"], 3, "{pod:#}");
            assert_eq!(pod["log"], json!(log.lines().collect::<Vec<_>>()), "{pod:#}");
        }
        // With one pod more than wanted, a rollout that fails has taken nothing away.
        if workload.kind == Kind::Deployment {
            assert!(place.observer.uids(&workload.name).is_superset(&old), "old pods are gone");
        }
    });
    futures::future::join_all(restarts).await;
}

async fn an_old_pod_that_does_not_stop(place: &Place) {
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let held = place.pods("webapp").await.remove(0);
    let name = held["metadata"]["name"].as_str().unwrap();
    let set = |finalizers: &Value| json!({"metadata": {"finalizers": finalizers}});
    place.patch(Kind::Pod, name, &set(&json!(["e2e.astradesk.dev/hold"]))).await;
    let gateway = Gateway::start(place, Settings::of(place, &["webapp"])).await;
    let reply = gateway.client.say("restart webapp timeout 5s").await;
    failed(place, &gateway, &webapp, &reply, "rollout.timed_out").await;
    let detail = reply.body["detail"].as_str().unwrap();
    assert!(detail.contains(name) && detail.contains("has not stopped yet"), "{detail}");
    place.patch(Kind::Pod, name, &set(&Value::Null)).await;
}

async fn a_quota_is_named(place: &Place) {
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let quota = json!({"metadata": {"name": "small"}, "spec": {"hard": {"pods": "2"}}});
    let quotas: Api<ResourceQuota> = Api::namespaced(place.client.clone(), &place.namespace);
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    let gateway = Gateway::start(place, Settings::of(place, &["webapp"])).await;
    let reply = gateway.client.say("restart webapp").await;
    failed(place, &gateway, &webapp, &reply, "rollout.quota_exceeded").await;
    assert!(reply.body["detail"].as_str().unwrap().contains("exceeded quota: small"), "{:#}", reply.body);
}

/// Not a cause with a code of its own: the workload's deadline passes, and the API server's words are told.
async fn what_admission_refuses_is_named(place: &Place) {
    let cpu = json!([{"name": "app", "image": "webapp:1", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}}]);
    let webapp = deployment("webapp", 2)
        .pods(&json!({"containers": cpu}))
        .spec(&json!({"progressDeadlineSeconds": 3}));
    place.run(&[&webapp]).await;
    let limit = json!({"metadata": {"name": "modest"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}});
    let limits: Api<LimitRange> = Api::namespaced(place.client.clone(), &place.namespace);
    limits.create(&PostParams::default(), &serde_json::from_value(limit).unwrap()).await.unwrap();
    let gateway = Gateway::start(place, Settings::of(place, &["webapp"])).await;
    let reply = gateway.client.say("restart webapp").await;
    failed(place, &gateway, &webapp, &reply, "rollout.deadline_exceeded").await;
    assert!(reply.body["detail"].as_str().unwrap().contains("maximum cpu usage"), "{:#}", reply.body);
}
