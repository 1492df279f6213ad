//! Who may say yes to a run, to what exactly, and how often.

use crate::support::signer::Signer;
use crate::support::{Harness, ISSUER, Reply, Setup, start, start_with, until};
use astradesk_gateway::auth::{Issuer, KeySource};
use astradesk_runtime::engine::Limits;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub(crate) const WRITE: &str = "/v1/tools/restart_thing/runs";

fn call(service: &str) -> Value {
    json!({"arguments": {"service": service}, "reason": "change 4711"})
}

/// A run that awaits approval.
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) digest: String,
}

impl Asked {
    fn approve(&self) -> String {
        format!("{}/approve", self.path)
    }

    fn word(&self) -> Value {
        json!({"digest": self.digest, "reason": "seen and agreed"})
    }
}

pub(crate) async fn ask(harness: &Harness, token: &str, service: &str) -> Asked {
    let reply = harness.post(WRITE, token, call(service)).await;
    assert_eq!(
        (reply.status, &reply.body["run"]["state"]),
        (202, &json!("awaiting_approval")),
        "{}",
        reply.text
    );
    let digest = reply.body["run"]["approvals"]["digest"].as_str().unwrap().to_owned();
    Asked { path: reply.header("location").to_owned(), digest }
}

/// The run as somebody with every right to look sees it.
pub(crate) async fn run(harness: &Harness, asked: &Asked) -> Value {
    harness.get(&asked.path, &harness.admin()).await.body
}

async fn kinds(harness: &Harness) -> Vec<String> {
    let records = harness.evidence().await.unwrap();
    records.iter().map(|record| record["kind"].as_str().unwrap().to_owned()).collect()
}

async fn succeeded(harness: &Harness, asked: &Asked) {
    until("the run has succeeded", async || run(harness, asked).await["state"] == "succeeded").await;
}

#[tokio::test]
async fn an_approver_without_any_other_role_sees_it_and_approves_it() {
    let harness = start().await;
    let (anna, lea) = (harness.token("anna", &["sre"]), harness.token("lea", &["lead"]));
    let begun = Instant::now();
    let request = harness.request(Method::POST, "/v1/run", &anna).header("prefer", "wait=20");
    let request =
        request.json(&json!({"agent": "ops", "input": "restart lead-web", "reason": "change 4711"}));
    let reply = Reply::read(request.send().await.unwrap()).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody waits for a person");
    assert_eq!((reply.status, reply.header("preference-applied")), (202, ""), "{}", reply.text);
    let shown = &reply.body["run"];
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("awaiting_approval"), &json!("change 4711")));
    assert!(reply.body["output"].as_str().unwrap().contains("awaits 1 approval by `lead`"), "{}", reply.text);
    let path = reply.header("location").to_owned();
    let asked = Asked { digest: shown["approvals"]["digest"].as_str().unwrap().to_owned(), path };

    let list = harness.get("/v1/approvals", &lea).await;
    let listed = &list.body["approvals"][0];
    assert_eq!((&listed["run"]["id"], listed.get("refused")), (&shown["id"], None), "{}", list.text);
    let of_anna = harness.get("/v1/approvals", &anna).await;
    assert_eq!(of_anna.body["approvals"][0]["refused"]["code"], "approval.by_self", "{}", of_anna.text);
    let one = harness.get(&asked.path.replace("/v1/runs/", "/v1/approvals/"), &lea).await;
    assert_eq!(one.status, 200, "{}", one.text);
    assert_eq!(one.body["preview"][0]["changes"], json!({"would": "restart"}));
    assert_eq!(one.body["run"]["principal"]["subject"], "anna");
    assert!(one.body["risks"].is_array());

    let approved = harness.post(&asked.approve(), &lea, asked.word()).await;
    assert_eq!(approved.status, 200, "{}", approved.text);
    let given = &approved.body["approvals"]["given"];
    assert_eq!((&given[0]["by"]["subject"], &given[0]["reason"]), (&json!("lea"), &json!("seen and agreed")));
    succeeded(&harness, &asked).await;
    assert_eq!(harness.pack.effects(), 1);
    assert_eq!(harness.get("/v1/approvals", &lea).await.body["approvals"], json!([]));
    assert_eq!(harness.get(&asked.path, &lea).await.status, 200, "an approver sees what became of it");
    let kinds = kinds(&harness).await;
    for kind in ["approval.requested", "approval.given", "run.finished"] {
        assert!(kinds.iter().any(|one| one == kind), "no {kind} in {kinds:?}");
    }
}

/// A gateway with an issuer whose tokens the test signs, for subjects with somebody who acts for them.
async fn with_issuer(signer: &Signer, folder: &tempfile::TempDir) -> Harness {
    let file = folder.path().join("keys.json");
    std::fs::write(&file, json!({"keys": [signer.jwk("k1")]}).to_string()).unwrap();
    let issuer = Issuer { keys: KeySource::File(file), ..Issuer::new(ISSUER, "astradesk") };
    start_with(Setup { issuers: vec![issuer], ..Setup::default() }).await
}

#[tokio::test]
async fn nobody_approves_who_may_not() {
    let (signer, folder) = (Signer::ed(), tempfile::tempdir().unwrap());
    let harness = with_issuer(&signer, &folder).await;
    let of = |claims: Value| harness.token_of(&signer, &claims);
    let all = &["viewer", "sre", "lead", "auditor"][..];
    let asked = ask(&harness, &harness.token("anna", all), "lead-web").await;
    let zeros = json!({"digest": "0".repeat(64), "reason": "seen"});
    for (what, token, word, status, code) in [
        ("oneself", harness.token("anna", all), asked.word(), 403, "approval.by_self"),
        (
            "oneself, with fewer roles",
            harness.token("anna", &["lead"]),
            asked.word(),
            403,
            "approval.by_self",
        ),
        (
            "oneself, by a second token of another issuer",
            of(json!({"sub": "anna", "roles": ["lead"]})),
            asked.word(),
            403,
            "approval.by_self",
        ),
        (
            "oneself, in other letters",
            of(json!({"sub": "Anna", "roles": ["lead"]})),
            asked.word(),
            403,
            "approval.by_self",
        ),
        (
            "an agent for oneself",
            of(json!({"sub": "anna", "roles": ["lead"], "act": {"sub": "bot"}})),
            asked.word(),
            403,
            "approval.by_self",
        ),
        (
            "oneself as somebody's agent",
            of(json!({"sub": "lea", "roles": ["lead"], "act": {"sub": "anna"}})),
            asked.word(),
            403,
            "approval.by_self",
        ),
        (
            "an agent for an approver",
            of(json!({"sub": "lea", "roles": ["lead"], "act": {"sub": "bot"}})),
            asked.word(),
            403,
            "approval.by_agent",
        ),
        (
            "somebody who sees it without the role",
            harness.token("olaf", &["auditor", "sre", "viewer"]),
            asked.word(),
            403,
            "approval.role_required",
        ),
        ("somebody who may not see it", harness.token("ben", &["sre"]), asked.word(), 404, "run.not_found"),
        ("nobody", harness.token("eve", &[]), asked.word(), 404, "run.not_found"),
        ("another digest", harness.token("lea", &["lead"]), zeros, 409, "approval.digest_mismatch"),
    ] {
        for verb in ["approve", "reject"] {
            let reply = harness.post(&format!("{}/{verb}", asked.path), &token, word.clone()).await;
            assert_eq!((reply.status, reply.code()), (status, code), "{what} may {verb}: {}", reply.text);
        }
    }
    let after = run(&harness, &asked).await;
    assert_eq!((&after["state"], &after["approvals"]["given"]), (&json!("awaiting_approval"), &json!([])));
    assert_eq!(harness.pack.effects(), 0);
    let refused = kinds(&harness).await.iter().filter(|kind| *kind == "approval.refused").count();
    assert_eq!(refused, 2 * 9, "each that saw the run is on record");
}

#[tokio::test]
async fn an_agent_cannot_approve_what_it_asked_for_on_behalf_of_somebody() {
    let (signer, folder) = (Signer::ed(), tempfile::tempdir().unwrap());
    let harness = with_issuer(&signer, &folder).await;
    let agent = harness.token_of(&signer, &json!({"sub": "anna", "roles": ["sre"], "act": {"sub": "bot"}}));
    let asked = ask(&harness, &agent, "lead-web").await;
    for subject in ["bot", "anna"] {
        let token = harness.token_of(&signer, &json!({"sub": subject, "roles": ["lead", "auditor"]}));
        harness.post(&asked.approve(), &token, asked.word()).await.is_problem(403, "approval.by_self");
    }
    let one = harness.get(&asked.path.replace("/v1/runs/", "/v1/approvals/"), &harness.admin()).await;
    assert!(one.text.contains("an agent asks for it on behalf of somebody"), "{}", one.text);
    assert_eq!(harness.pack.effects(), 0);
}

#[tokio::test]
async fn an_approval_is_for_one_run_and_used_once() {
    let harness = start().await;
    let (anna, lea) = (harness.token("anna", &["sre"]), harness.token("lea", &["lead"]));
    let first = ask(&harness, &anna, "lead-web").await;
    assert_eq!(harness.post(&first.approve(), &lea, first.word()).await.status, 200);
    succeeded(&harness, &first).await;
    harness.post(&first.approve(), &lea, first.word()).await.is_problem(409, "run.state_conflict");

    // The same call of the same person is another run, and what was seen is not that.
    let second = ask(&harness, &anna, "lead-web").await;
    assert_ne!(first.digest, second.digest);
    harness.post(&second.approve(), &lea, first.word()).await.is_problem(409, "approval.digest_mismatch");
    assert_eq!(harness.pack.effects(), 1);
}

#[tokio::test]
async fn a_quorum_is_of_different_people_who_can_change_their_mind() {
    let harness = start().await;
    let anna = harness.token("anna", &["sre"]);
    let (lea, leo) = (harness.token("lea", &["lead"]), harness.token("leo", &["lead"]));
    let asked = ask(&harness, &anna, "quorum-web").await;
    assert_eq!(harness.post(&asked.approve(), &lea, asked.word()).await.body["state"], "awaiting_approval");
    harness.post(&asked.approve(), &lea, asked.word()).await.is_problem(409, "approval.already_given");
    let again = harness.token("lea", &["lead", "sre"]);
    harness.post(&asked.approve(), &again, asked.word()).await.is_problem(409, "approval.already_given");

    let revoke = format!("{}/revoke", asked.path);
    harness.post(&revoke, &leo, json!({})).await.is_problem(409, "approval.not_given");
    let revoked = harness.post(&revoke, &lea, json!({})).await;
    assert_eq!((revoked.status, &revoked.body["approvals"]["given"]), (200, &json!([])), "{}", revoked.text);
    assert_eq!(harness.post(&asked.approve(), &leo, asked.word()).await.body["state"], "awaiting_approval");
    assert_eq!(harness.pack.effects(), 0);
    assert_eq!(harness.post(&asked.approve(), &lea, asked.word()).await.status, 200);
    succeeded(&harness, &asked).await;
    harness.post(&revoke, &lea, json!({})).await.is_problem(409, "run.state_conflict");
    let metrics = harness.get("/metrics", "").await.text;
    for line in [
        "astradesk_approvals_total{said=\"given\"} 3",
        "astradesk_approvals_total{said=\"revoked\"} 1",
        "astradesk_refusals_total{code=\"approval.already_given\"} 2",
        "astradesk_runs_awaiting_approval 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn a_rejected_run_ends_with_the_reason() {
    let harness = start().await;
    let (anna, lea) = (harness.token("anna", &["sre"]), harness.token("lea", &["lead"]));
    let submit = async || {
        let request = harness.request(Method::POST, WRITE, &anna).header("idempotency-key", "k1");
        Reply::read(request.json(&call("lead-web")).send().await.unwrap()).await
    };
    let first = submit().await;
    let digest = first.body["run"]["approvals"]["digest"].as_str().unwrap().to_owned();
    let asked = Asked { path: first.header("location").to_owned(), digest };
    let word = json!({"digest": asked.digest, "reason": "not on a Friday"});
    let rejected = harness.post(&format!("{}/reject", asked.path), &lea, word).await;
    assert_eq!((rejected.status, &rejected.body["state"]), (200, &json!("rejected")), "{}", rejected.text);
    assert!(rejected.body["error"]["message"].as_str().unwrap().contains("not on a Friday"));
    harness.post(&asked.approve(), &lea, asked.word()).await.is_problem(409, "run.state_conflict");
    let replayed = submit().await;
    replayed.is_problem(403, "approval.rejected");
    assert_eq!(replayed.header("idempotency-replayed"), "true");
    assert_eq!(harness.pack.effects(), 0);
}

#[tokio::test]
async fn nobody_approves_what_has_expired() {
    let engine = Limits { approval: Duration::from_mins(5), ..Limits::default() };
    let harness = start_with(Setup { engine, ..Setup::default() }).await;
    let asked = ask(&harness, &harness.token("anna", &["sre"]), "lead-web").await;
    harness.clock.advance(301);
    let lea = harness.token("lea", &["lead"]);
    harness.post(&asked.approve(), &lea, asked.word()).await.is_problem(409, "approval.expired");
    harness.engine.tend();
    until("the run has expired", async || run(&harness, &asked).await["state"] == "expired").await;
    harness.post(&asked.approve(), &lea, asked.word()).await.is_problem(409, "run.state_conflict");
    assert_eq!(harness.pack.effects(), 0);
}

#[tokio::test]
async fn who_may_do_it_may_approve_it_where_no_role_is_named() {
    let harness = start().await;
    let asked = ask(&harness, &harness.token("anna", &["sre"]), "peer-web").await;
    let olaf = harness.token("olaf", &["auditor"]);
    harness.post(&asked.approve(), &olaf, asked.word()).await.is_problem(403, "approval.role_required");
    let ben = harness.token("ben", &["sre"]);
    assert_eq!(harness.post(&asked.approve(), &ben, asked.word()).await.status, 200);
    succeeded(&harness, &asked).await;
}

#[tokio::test]
async fn approvals_come_page_by_page_oldest_first() {
    let harness = start().await;
    let (anna, lea) = (harness.token("anna", &["sre"]), harness.token("lea", &["lead"]));
    let mut paths = Vec::new();
    for i in 0..5 {
        paths.push(ask(&harness, &anna, &format!("lead-{i}")).await.path);
    }
    let (mut seen, mut query) = (Vec::new(), "limit=2".to_owned());
    loop {
        let page = harness.get(&format!("/v1/approvals?{query}"), &lea).await;
        assert_eq!(page.status, 200, "{}", page.text);
        for one in page.body["approvals"].as_array().unwrap() {
            seen.push(format!("/v1/runs/{}", one["run"]["id"].as_str().unwrap()));
        }
        let Some(next) = page.body["next"].as_str() else { break };
        query = format!("limit=2&cursor={next}");
    }
    assert_eq!(seen, paths);
    for query in ["limit=0", "limit=201", "cursor=x", "state=queued"] {
        let reply = harness.get(&format!("/v1/approvals?{query}"), &lea).await;
        reply.is_problem(400, "request.malformed");
    }
}
