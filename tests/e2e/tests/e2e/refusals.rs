//! Restarts that are refused: each with its status, its code and its record, and without any effect.

use astradesk_e2e::client::Client;
use astradesk_e2e::observer::Kind;
use astradesk_e2e::{Gateway, Place, Reply, Settings, Workload, deployment, on_both, stateful_set};
use serde_json::{Value, json};

on_both!(the_wrong_moment, the_wrong_person_or_target, a_sentence_that_is_not_understood);

/// Checks status and code, and that one record of the evidence says the same of the denied run.
async fn refused(place: &Place, client: &Client, reply: &Reply, status: u16, code: &str) {
    place.note(code, &reply.body);
    reply.expect(status, code);
    let records = client.evidence().await;
    let of: Vec<&Value> = records.iter().filter(|record| record["run"] == reply.run()).collect();
    assert_eq!(of.len(), 1, "{of:#?}");
    assert_eq!((&of[0]["kind"], &of[0]["data"]["code"]), (&json!("run.denied"), &json!(code)));
    assert_eq!(client.run(reply.run()).await["state"], "denied");
}

async fn the_wrong_moment(place: &Place) {
    let workloads = [
        stateful_set("by-hand", 2).spec(&json!({"updateStrategy": {"type": "OnDelete"}})),
        stateful_set("partly", 3)
            .spec(&json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}})),
        deployment("paused", 2),
        deployment("single", 1),
        deployment("none", 0),
        deployment("twin", 2),
        stateful_set("twin", 2),
        deployment("busy", 2),
    ];
    place.run(&workloads.iter().collect::<Vec<_>>()).await;
    place.patch(Kind::Deployment, "paused", &json!({"spec": {"paused": true}})).await;
    let slow = json!({"metadata": {"annotations": {"sandbox.astradesk.dev/behaviour": "slow:600"}}});
    place.patch(Kind::Deployment, "busy", &json!({"spec": {"template": slow}})).await;
    place
        .observer
        .until("the pause and the rollout are seen", |view| {
            let seen = |name| {
                let object = view.workload(Kind::Deployment, name)?;
                (object["status"]["observedGeneration"] == 2).then_some(())
            };
            seen("paused").and(seen("busy")).filter(|()| view.pods("busy").len() == 3)
        })
        .await;

    let names = ["by-hand", "partly", "paused", "single", "none", "twin", "busy", "ghost"];
    let gateway = Gateway::start(place, Settings::of(place, &names)).await;
    let before = states(place, &workloads).await;
    for (service, status, code, words) in [
        ("by-hand", 409, "guard.strategy_on_delete", "OnDelete"),
        ("partly", 409, "guard.partitioned", "partition: 2"),
        ("paused", 409, "guard.paused", "is paused"),
        ("single", 409, "guard.downtime", "single replica"),
        ("none", 409, "guard.scaled_to_zero", "scaled to 0"),
        ("twin", 409, "kubernetes.ambiguous_kind", "several kinds"),
        ("busy", 409, "guard.rollout_in_progress", "in progress"),
        ("ghost", 404, "kubernetes.not_found", "there is no"),
    ] {
        let reply = gateway.client.call("restart_service", &json!({"service": service})).await;
        refused(place, &gateway.client, &reply, status, code).await;
        assert!(reply.body["detail"].as_str().unwrap().contains(words), "{:#}", reply.body);
    }
    assert_eq!(states(place, &workloads).await, before);

    // What the refusal says would make it pass, does.
    let accepted = json!({"service": "single", "accept_downtime": true});
    gateway.client.call("restart_service", &accepted).await.expect_success();
    let one_kind = json!({"service": "twin", "kind": "statefulset"});
    gateway.client.call("restart_service", &one_kind).await.expect_success();
}

/// What nobody may have changed. A rollout that is under way has a status that moves by itself.
async fn states(place: &Place, workloads: &[Workload]) -> Vec<Value> {
    let mut states = Vec::new();
    for workload in workloads {
        let state = place.state(workload).await;
        states.push(if workload.name == "busy" { state.without_version() } else { state.whole() });
    }
    states
}

async fn the_wrong_person_or_target(place: &Place) {
    let workloads = [deployment("webapp", 2), deployment("ledger", 2)];
    place.run(&workloads.iter().collect::<Vec<_>>()).await;
    let gateway = Gateway::start(place, Settings::of(place, &["webapp"])).await;
    let closed = Gateway::start(place, Settings::of(place, &[])).await;
    let ada = &gateway.client;
    let eve = ada.with_token(Some(&gateway.settings.token("eve", "intern")));
    let before = states(place, &workloads).await;
    let webapp = json!({"service": "webapp"});
    let elsewhere = json!({"service": "webapp", "namespace": "kube-system"});
    for (client, records, arguments, code) in [
        (&eve, ada, &webapp, "policy.role_required"),
        (ada, ada, &json!({"service": "ledger"}), "policy.target_not_allowed"),
        (ada, ada, &elsewhere, "policy.namespace_not_allowed"),
        (&closed.client, &closed.client, &webapp, "policy.target_not_allowed"),
    ] {
        let reply = client.call("restart_service", arguments).await;
        refused(place, records, &reply, 403, code).await;
    }
    // The same in a sentence.
    for (client, sentence, code) in [
        (&eve, "restart webapp", "policy.role_required"),
        (ada, "restart ledger", "policy.target_not_allowed"),
        (&closed.client, "restart webapp", "policy.target_not_allowed"),
    ] {
        client.say(sentence).await.expect(403, code);
    }
    assert_eq!(states(place, &workloads).await, before);
}

async fn a_sentence_that_is_not_understood(place: &Place) {
    let workloads = [deployment("webapp", 2), deployment("payments", 2)];
    place.run(&workloads.iter().collect::<Vec<_>>()).await;
    let gateway = Gateway::start(place, Settings::of(place, &["webapp", "payments"])).await;
    let before = states(place, &workloads).await;
    for (sentence, code) in [
        ("", "plan.input_invalid"),
        ("restart\u{7}webapp", "plan.input_invalid"),
        ("do NOT restart webapp", "plan.negated"),
        ("restart", "plan.missing_target"),
        ("restart the billing service", "plan.unknown_target"),
        ("restart ../../webapp", "plan.unknown_target"),
        ("restart webapp and the other thing", "plan.ambiguous"),
        ("should I restart webapp?", "plan.not_an_instruction"),
        ("make me a sandwich", "plan.no_action"),
    ] {
        let reply = gateway.client.say(sentence).await;
        place.note(sentence, &reply.body);
        reply.expect(422, code);
        let records = gateway.client.evidence().await;
        let last = records.last().unwrap();
        assert_eq!((&last["kind"], &last["data"]["code"]), (&json!("request.refused"), &json!(code)));
    }
    assert_eq!(states(place, &workloads).await, before);
    assert_eq!(gateway.client.get("/v1/runs").await.body["runs"], json!([]));
}
