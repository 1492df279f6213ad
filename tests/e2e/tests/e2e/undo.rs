//! The undo of a restart that failed, and what it rests on.

use astradesk_e2e::observer::{Kind, mark_of};
use astradesk_e2e::{Gateway, Place, Settings, Workload, daemon_set, deployment, on_both, stateful_set};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

on_both!(
    a_failed_rollout_is_undone,
    a_pod_that_blocks_the_way_back_is_named,
    the_generation_counts_what_a_restart_relies_on,
);

/// Restarts with undo, and gives the run.
async fn undone(place: &Place, gateway: &Gateway, workload: &Workload, how: &str, code: &str) -> Value {
    let reply = gateway.client.say(&format!("restart {}{how} with undo", workload.name)).await;
    place.note(&workload.name, &reply.body);
    reply.expect(502, code);
    let run = gateway.client.run(reply.run()).await;
    assert_eq!((&run["state"], &run["error"]["code"]), (&json!("failed"), &json!(code)), "{run:#}");
    assert_eq!(run["steps"][0]["step"], "failed", "{run:#}");
    assert_eq!(run["steps"][1]["undoes"], 0, "{run:#}");
    run
}

async fn a_failed_rollout_is_undone(place: &Place) {
    // On a single node, any restart of a DaemonSet is downtime.
    let cases = [
        (deployment("crash", 2).once_restarted("crash:3"), "", "rollout.crash_loop"),
        (deployment("image", 2).once_restarted("image-pull"), "", "rollout.image_pull"),
        (daemon_set("daemon").once_restarted("crash:3"), " accept downtime", "rollout.crash_loop"),
    ];
    let names: Vec<&str> = cases.iter().map(|(workload, ..)| &*workload.name).collect();
    place.run(&cases.iter().map(|(workload, ..)| workload).collect::<Vec<_>>()).await;
    let gateway = Gateway::start(place, Settings::of(place, &names)).await;
    let restarts = cases.iter().map(async |(workload, how, code)| {
        let old = place.observer.uids(&workload.name);
        let before = place.get(workload.kind, &workload.name).await;
        let run = undone(place, &gateway, workload, how, code).await;
        assert_eq!(run["steps"][1]["step"], "succeeded", "{run:#}");
        let output = &run["steps"][1]["output"];
        assert!(output["summary"].as_str().unwrap().contains("was restored to "), "{output:#}");

        let after = place.get(workload.kind, &workload.name).await;
        assert_eq!(mark_of(&after), (Value::Null, Value::Null));
        assert_eq!(after["spec"]["template"], before["spec"]["template"], "{}", workload.name);
        let mark = format!("{}/1", run["id"].as_str().unwrap());
        assert_eq!(after["metadata"]["annotations"]["astradesk.dev/undo"], mark);
        place.observer.running(workload.kind, &workload.name).await;
        // With one pod more than wanted, the rollout had taken nothing away.
        if workload.kind == Kind::Deployment {
            let kept = place.pods(&workload.name).await;
            let kept: Vec<_> = kept.iter().map(astradesk_e2e::observer::uid).collect();
            assert_eq!(old, kept.into_iter().collect(), "{}", workload.name);
        }
        // One restart, one undo.
        place.observer.look(|view| assert_eq!(view.marks(workload.kind, &workload.name).len(), 3));
    });
    futures::future::join_all(restarts).await;
}

async fn a_pod_that_blocks_the_way_back_is_named(place: &Place) {
    let set = stateful_set("store", 2).once_restarted("crash:3");
    place.run(&[&set]).await;
    let gateway = Gateway::start(place, Settings::of(place, &["store"])).await;
    let run = undone(place, &gateway, &set, "", "rollout.crash_loop").await;
    let undo = &run["steps"][1];
    assert_eq!(undo["step"], "failed", "{undo:#}");
    let remedy = undo["error"]["remedy"].as_str().unwrap();
    let command = format!("kubectl -n {} delete pod store-1", place.namespace);
    assert!(remedy.contains(&command), "{remedy}");

    // As it says.
    place.api(Kind::Pod).delete("store-1", &DeleteParams::default()).await.unwrap();
    place.observer.running(Kind::StatefulSet, "store").await;
    assert_eq!(mark_of(&place.get(Kind::StatefulSet, "store").await), (Value::Null, Value::Null));
}

/// What every settling of an unclear patch rests on: see `restart/settle.rs` of the pack.
async fn the_generation_counts_what_a_restart_relies_on(place: &Place) {
    let cases = [deployment("web", 1), stateful_set("set", 1), daemon_set("daemon")];
    place.run(&cases.iter().collect::<Vec<_>>()).await;
    for workload in &cases {
        let (kind, name) = (workload.kind, &*workload.name);
        let generation = async || place.get(kind, name).await["metadata"]["generation"].as_i64().unwrap();
        let counts = i64::from(kind == Kind::Deployment);
        // Of a StatefulSet, older API servers let only a few fields be changed.
        let other_field = match kind {
            Kind::StatefulSet => json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}}),
            _ => json!({"spec": {"revisionHistoryLimit": 7}}),
        };
        for (change, raised) in [
            (json!({"metadata": {"labels": {"a": "b"}}}), 0),
            (json!({"metadata": {"annotations": {"a": "b"}}}), counts),
            (json!({"metadata": {"annotations": {"a": "b"}}}), 0),
            (other_field, 1),
            (json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}), 1),
            (json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}), 0),
            (
                json!({
                    "metadata": {"annotations": {"a": "c"}},
                    "spec": {"template": {"metadata": {"annotations": {"a": null}}}},
                }),
                1,
            ),
            (json!({"metadata": {"generation": 1}}), 0),
        ] {
            let before = generation().await;
            place.patch(kind, name, &change).await;
            assert_eq!(generation().await - before, raised, "{name}: {change}");
        }
        let api = place.api(kind);
        let before = generation().await;
        let status = json!({"status": {"collisionCount": 1}});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
        assert_eq!(generation().await, before, "{name}: a change of the status");
        if kind != Kind::DaemonSet {
            let scale = Patch::Merge(json!({"spec": {"replicas": 2}}));
            api.patch_scale(name, &PatchParams::default(), &scale).await.unwrap();
            assert_eq!(generation().await, before + 1, "{name}: scaled");
        }
    }
}
