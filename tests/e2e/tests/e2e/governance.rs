//! Approvals, guardrails and policies that change, against a cluster.

use crate::once::Before;
use astradesk_core::Timestamp;
use astradesk_e2e::{
    Client, Gateway, PATIENCE, Place, Reply, Settings, Which, Workload, deployment, on_both,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

on_both!(
    an_approved_restart_is_done_once_and_only_for_what_was_seen,
    a_freeze_that_begins_after_the_approval_stops_the_restart,
    a_policy_that_changes_while_a_run_waits_ends_it,
    a_disruption_budget_stops_a_restart_until_the_glass_is_broken,
    a_target_rests_after_a_restart,
);

/// A lead must agree to every write.
const LEAD_AGREES: &str = r#"
@id("lead-agrees")
forbid (principal, action in Action::"write", resource)
unless { context.approvals.hasTag("lead") && context.approvals.getTag("lead") >= 1 };
"#;

async fn awaiting(client: &Client, workload: &Workload) -> Value {
    let request = json!({"arguments": {"service": workload.name}, "reason": "memory grows"});
    let reply = client.ask("restart_service", &request).await;
    assert_eq!(reply.status, 202, "{:#}", reply.body);
    let run = reply.body["run"].clone();
    assert_eq!(run["state"], "awaiting_approval", "{run:#}");
    run
}

fn somebody(gateway: &Gateway, subject: &str, role: &str) -> Client {
    gateway.client.with_token(Some(&gateway.settings.token(subject, role)))
}

async fn say(client: &Client, verb: &str, run: &Value, digest: &Value) -> Reply {
    let path = format!("/v1/runs/{}/{verb}", run["id"].as_str().unwrap());
    client.post(&path, &json!({"digest": digest, "reason": "seen"})).await
}

/// Asks again until the answer is as wanted.
async fn until(client: &Client, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let limit = Instant::now() + PATIENCE;
    loop {
        let reply = client.get(path).await;
        if wanted(&reply.body) {
            return reply.body;
        }
        assert!(Instant::now() < limit, "waited {PATIENCE:?} for {what}: {:#}", reply.body);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn an_approved_restart_is_done_once_and_only_for_what_was_seen(place: &Place) {
    let (one, other) = (deployment("one", 2), deployment("other", 2));
    place.run(&[&one, &other]).await;
    let gateway = Gateway::start(place, Settings::of(place, &["one", "other"]).policies(LEAD_AGREES)).await;
    let before = [Before::of(place, &one).await, Before::of(place, &other).await];
    let run = awaiting(&gateway.client, &one).await;
    let second = awaiting(&gateway.client, &other).await;
    let digest = &run["approvals"]["digest"];

    // Who asked, with a second token that has the role; what was never seen; the digest of another run.
    let again = somebody(&gateway, "ada", "lead");
    say(&again, "approve", &run, digest).await.expect(403, "approval.by_self");
    let lead = somebody(&gateway, "bo", "lead");
    let wrong = json!("0".repeat(64));
    say(&lead, "approve", &run, &wrong).await.expect(409, "approval.digest_mismatch");
    say(&lead, "approve", &run, &second["approvals"]["digest"]).await.expect(409, "approval.digest_mismatch");
    // Who has the role that restarts has not the one that approves.
    say(&somebody(&gateway, "cy", "sre"), "approve", &run, digest)
        .await
        .expect(403, "approval.role_required");
    before[0].never_changed(place, &one).await;

    let shown = lead.get(&format!("/v1/approvals/{}", run["id"].as_str().unwrap())).await;
    assert_eq!(shown.status, 200, "{:#}", shown.body);
    let changes = &shown.body["preview"][0]["changes"];
    assert!(changes["summary"].as_str().unwrap().contains("would replace all 2 pods"), "{:#}", shown.body);

    let approved = say(&lead, "approve", &run, digest).await;
    assert_eq!(approved.status, 200, "{:#}", approved.body);
    say(&lead, "approve", &run, digest).await.expect(409, "run.state_conflict");
    let ended = gateway.client.ended(run["id"].as_str().unwrap()).await;
    before[0].verify(place, &one, &ended).await;

    let rejected = say(&lead, "reject", &second, &second["approvals"]["digest"]).await;
    assert_eq!(rejected.body["state"], "rejected", "{:#}", rejected.body);
    before[1].never_changed(place, &other).await;

    let kinds = gateway.client.evidence_of(run["id"].as_str().unwrap()).await;
    let refused: Vec<&str> = vec!["approval.refused"; 4];
    let story = [
        vec!["run.admitted", "approval.requested"],
        refused,
        vec![
            "approval.given",
            "approval.refused",
            "run.claimed",
            "step.intended",
            "step.performed",
            "run.finished",
        ],
    ];
    let mut told = kinds.clone();
    // The repeated approval is refused while the run goes on: it may stand anywhere behind the first.
    let mut expected: Vec<&str> = story.concat();
    told.sort();
    expected.sort_unstable();
    assert_eq!(told, expected, "{kinds:?}");
    assert!(gateway.stop().await);
}

async fn a_freeze_that_begins_after_the_approval_stops_the_restart(place: &Place) {
    let workload = deployment("frozen", 2);
    place.run(&[&workload]).await;
    let begins = Timestamp::now() + Duration::from_secs(4);
    let ends = begins + Duration::from_hours(1);
    let mut settings = Settings::of(place, &["frozen"]).policies(LEAD_AGREES);
    let freeze = format!("freeze = {{ from = \"{begins}\", until = \"{ends}\" }}\n");
    settings.toml.extend(["[[guardrails]]\nname = \"holidays\"\n", &freeze]);
    let gateway = Gateway::start(place, settings).await;
    let before = Before::of(place, &workload).await;
    let run = awaiting(&gateway.client, &workload).await;
    let (id, lead) = (run["id"].as_str().unwrap(), somebody(&gateway, "bo", "lead"));
    let path = format!("/v1/approvals/{id}");
    until(&lead, &path, "the freeze", |shown| shown["preview"][0]["objections"][0]["code"] == "guard.frozen")
        .await;
    assert_eq!(say(&lead, "approve", &run, &run["approvals"]["digest"]).await.status, 200);
    let ended = gateway.client.ended(id).await;
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("failed"), &json!("guard.frozen")));
    before.never_changed(place, &workload).await;
    let refused = gateway.client.say("restart frozen").await;
    refused.expect(409, "guard.frozen");
    assert!(gateway.stop().await);
}

async fn a_policy_that_changes_while_a_run_waits_ends_it(place: &Place) {
    let workload = deployment("governed", 2);
    place.run(&[&workload]).await;
    let settings = Settings::of(place, &["governed"]).policies(LEAD_AGREES);
    let file = settings.state.join("policies/test.cedar");
    let gateway = Gateway::start(place, settings).await;
    let before = Before::of(place, &workload).await;
    let run = awaiting(&gateway.client, &workload).await;
    let id = run["id"].as_str().unwrap();

    // What is not a policy changes nothing, and is told.
    std::fs::write(&file, "forbid (principal, action, resource").unwrap();
    until(&gateway.client, "/v1/policy", "the fault to be told", |status| {
        status["problem"]["message"].as_str().is_some_and(|message| message.contains("test.cedar"))
    })
    .await;
    let ready = gateway.client.get("/readyz").await;
    assert_eq!(ready.status, 200, "the policies before are still in force: {:#}", ready.body);
    assert_eq!(gateway.client.run(id).await["state"], "awaiting_approval");
    assert_eq!(
        gateway.client.ask("restart_service", &json!({"arguments": {"service": "governed"}})).await.status,
        202
    );

    std::fs::write(&file, "@id(\"nobody\")\nforbid (principal, action in Action::\"write\", resource);")
        .unwrap();
    let ended = gateway.client.ended(id).await;
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("denied"), &json!("policy.denied")));
    let late = say(&somebody(&gateway, "bo", "lead"), "approve", &run, &run["approvals"]["digest"]).await;
    late.expect(409, "run.state_conflict");
    before.never_changed(place, &workload).await;
    assert!(gateway.stop().await);
}

async fn a_disruption_budget_stops_a_restart_until_the_glass_is_broken(place: &Place) {
    let strategy = json!({"strategy": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}});
    let workload = deployment("guarded", 2).spec(&strategy);
    place.run(&[&workload]).await;
    budget(place, "guarded", 2).await;
    let policies = r#"
        @id("sre-breaks-glass")
        permit (principal in Role::"sre", action == Action::"break_glass", resource);
    "#;
    let gateway = Gateway::start(place, Settings::of(place, &["guarded"]).policies(policies)).await;
    let before = Before::of(place, &workload).await;
    gateway.client.say("restart guarded").await.expect(409, "guard.disruption_budget");
    let request = json!({"arguments": {"service": "guarded"}, "break_glass": true});
    gateway.client.ask("restart_service", &request).await.expect(422, "request.reason_required");
    before.never_changed(place, &workload).await;

    let request = json!({"arguments": {"service": "guarded"}, "break_glass": true, "reason": "it leaks"});
    let reply = gateway.client.ask("restart_service", &request).await;
    assert_eq!(reply.status, 202, "{:#}", reply.body);
    let ended = gateway.client.ended(reply.run()).await;
    before.verify(place, &workload, &ended).await;
    let records = gateway.client.evidence().await;
    let overridden = records.iter().find(|record| record["kind"] == "guard.overridden").unwrap();
    assert_eq!(overridden["data"]["guardrails"][0]["code"], "guard.disruption_budget", "{overridden:#}");
    assert_eq!(overridden["data"]["reason"], "it leaks");
    assert!(gateway.stop().await);
}

/// A disruption budget for a workload's pods, once the cluster has counted them.
async fn budget(place: &Place, name: &str, min_available: u32) {
    // The real control plane is of a version that has no `policy/v1` yet.
    let version = if place.which == Which::Real { "v1beta1" } else { "v1" };
    let path = format!("/apis/policy/{version}/namespaces/{}/poddisruptionbudgets", place.namespace);
    let object = json!({
        "apiVersion": format!("policy/{version}"),
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"minAvailable": min_available, "selector": {"matchLabels": {"app": name}}},
    });
    let request = http::Request::post(&path).header("content-type", "application/json");
    let created: Value =
        place.client.request(request.body(object.to_string().into_bytes()).unwrap()).await.unwrap();
    place.note("budget", &created);
    let limit = Instant::now() + PATIENCE;
    loop {
        let request = http::Request::get(format!("{path}/{name}")).body(Vec::new()).unwrap();
        let now: Value = place.client.request(request).await.unwrap();
        let status = &now["status"];
        if status["observedGeneration"] == now["metadata"]["generation"]
            && status["currentHealthy"] == min_available
        {
            return;
        }
        assert!(Instant::now() < limit, "the budget was not counted: {now:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn a_target_rests_after_a_restart(place: &Place) {
    let (one, other) = (deployment("tired", 1), deployment("fresh", 1));
    place.run(&[&one, &other]).await;
    let mut settings = Settings::of(place, &["tired", "fresh"]);
    settings.toml += "[[guardrails]]\nname = \"rest\"\ncool_down = \"1h\"\n";
    let gateway = Gateway::start(place, settings).await;
    gateway.client.say("restart tired accept downtime").await.expect_success();
    let refused = gateway.client.say("restart tired accept downtime").await;
    refused.expect(409, "guard.cool_down");
    gateway.client.say("restart fresh accept downtime").await.expect_success();
    let settings = gateway.settings.clone();
    assert!(gateway.stop().await);
    // It is on disk, and not in a process.
    let gateway = Gateway::start(place, settings).await;
    gateway.client.say("restart tired accept downtime").await.expect(409, "guard.cool_down");
    assert!(gateway.stop().await);
}
