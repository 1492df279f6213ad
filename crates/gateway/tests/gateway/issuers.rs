//! Issuers that publish their keys: rotation, caching, one fetch at a time, and issuers that are down.

use crate::support::signer::{Signer, TestIssuer};
use crate::support::{Harness, Setup, start_with};
use astradesk_gateway::auth::{Auth, Issuer, KeySource};
use astradesk_runtime::port::{Clock as _, SystemClock};
use serde_json::{Value, json};
use std::sync::Arc;

fn claims(issuer: &TestIssuer, harness: &Harness) -> Value {
    claims_of(&issuer.url, harness)
}

fn claims_of(issuer: &str, harness: &Harness) -> Value {
    let now = harness.clock.now().as_second();
    json!({"iss": issuer, "aud": "astradesk", "sub": "anna", "exp": now + 20_000, "roles": ["viewer"]})
}

async fn harness(issuers: Vec<Issuer>) -> Harness {
    start_with(Setup { issuers, ..Setup::default() }).await
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_when_they_grow_old() {
    let key = Signer::ed();
    let issuer = TestIssuer::start(&[key.jwk("1")]).await;
    let harness = harness(vec![Issuer::new(&issuer.url, "astradesk")]).await;
    for i in 0..20 {
        let mut claims = claims(&issuer, &harness);
        claims["jti"] = json!(i);
        assert_eq!(harness.get("/v1/tools", &key.sign("1", &claims)).await.status, 200);
    }
    assert_eq!(issuer.fetched(), 1);
    harness.clock.advance(101);
    let token = key.sign("1", &claims(&issuer, &harness));
    assert_eq!(harness.get("/v1/tools", &token).await.status, 200);
    assert_eq!(issuer.fetched(), 2, "the issuer said `max-age=100`");
}

#[tokio::test]
async fn a_new_key_is_found_and_unknown_ids_do_not_hammer_the_issuer() {
    let (old, new) = (Signer::ed(), Signer::ec());
    let issuer = TestIssuer::start(&[old.jwk("old")]).await;
    let harness = harness(vec![Issuer::new(&issuer.url, "astradesk")]).await;
    let claims = claims(&issuer, &harness);
    let cached = old.sign("old", &claims);
    assert_eq!(harness.get("/v1/tools", &cached).await.status, 200);

    for i in 0..20 {
        harness
            .get("/v1/tools", &new.sign(&format!("x{i}"), &claims))
            .await
            .is_problem(401, "auth.key_unknown");
    }
    assert_eq!(issuer.fetched(), 1, "the last fetch was less than 10 s ago");

    issuer.set_keys(&[new.jwk("new")]);
    harness.clock.advance(11);
    assert_eq!(harness.get("/v1/tools", &new.sign("new", &claims)).await.status, 200);
    assert_eq!(issuer.fetched(), 2);
    // The token that was verified with the key that is gone is not taken from the cache any more.
    harness.get("/v1/tools", &cached).await.is_problem(401, "auth.key_unknown");
}

#[tokio::test]
async fn many_requests_at_once_make_one_fetch() {
    let key = Signer::ed();
    let issuer = TestIssuer::start(&[key.jwk("1")]).await;
    issuer.hold();
    let harness = harness(vec![Issuer::new(&issuer.url, "astradesk")]).await;
    let requests = (0..16).map(|i| {
        let mut claims = claims(&issuer, &harness);
        claims["jti"] = json!(i);
        let token = key.sign("1", &claims);
        let (client, url) = (harness.client.clone(), harness.url("/v1/tools"));
        tokio::spawn(async move { client.get(url).bearer_auth(token).send().await.unwrap().status() })
    });
    let requests: Vec<_> = requests.collect();
    while issuer.fetched() == 0 {
        tokio::task::yield_now().await;
    }
    issuer.let_go();
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    assert_eq!(issuer.fetched(), 1);
}

#[tokio::test]
async fn an_issuer_that_is_down_is_unavailable_and_its_keys_last_for_a_while() {
    let key = Signer::ed();
    let issuer = TestIssuer::start(&[key.jwk("1")]).await;
    issuer.set_up(false);
    let harness = harness(vec![Issuer::new(&issuer.url, "astradesk")]).await;
    let token = key.sign("1", &claims(&issuer, &harness));
    let reply = harness.get("/v1/tools", &token).await;
    reply.is_problem(503, "auth.issuer_unreachable");
    assert_eq!(reply.header("retry-after"), "5");
    assert_eq!(harness.evidence().await.unwrap()[0]["data"]["code"], "auth.issuer_unreachable");

    issuer.set_up(true);
    harness.clock.advance(2);
    assert_eq!(harness.get("/v1/tools", &token).await.status, 200);

    issuer.set_up(false);
    harness.clock.advance(3600);
    assert_eq!(harness.get("/v1/tools", &token).await.status, 200, "old keys still do");
    harness.clock.advance(2 * 3600);
    harness.get("/v1/tools", &token).await.is_problem(503, "auth.issuer_unreachable");
}

#[tokio::test]
async fn answers_that_are_no_keys_are_refused() {
    let key = Signer::ed();
    let many: Vec<Value> = (0..65).map(|i| key.jwk(&i.to_string())).collect();
    for jwks in [
        "<html>".to_owned(),
        "{}".into(),
        json!({"keys": []}).to_string(),
        json!({"keys": many}).to_string(),
        " ".repeat(300_000),
    ] {
        let issuer = TestIssuer::start(&[]).await;
        issuer.set_jwks(jwks);
        let harness = harness(vec![Issuer::new(&issuer.url, "astradesk")]).await;
        let token = key.sign("1", &claims(&issuer, &harness));
        harness.get("/v1/tools", &token).await.is_problem(503, "auth.issuer_unreachable");
    }
    let issuer = TestIssuer::start(&[key.jwk("1")]).await;
    issuer.set_claimed("https://evil.example.com");
    let harness = harness(vec![Issuer::new(&issuer.url, "astradesk")]).await;
    let token = key.sign("1", &claims(&issuer, &harness));
    harness.get("/v1/tools", &token).await.is_problem(503, "auth.issuer_unreachable");
    assert_eq!(issuer.fetched(), 0, "the document is of another issuer");
}

#[tokio::test]
async fn a_jwks_url_needs_no_discovery() {
    let key = Signer::ec();
    let issuer = TestIssuer::start(&[key.jwk("1")]).await;
    let keys = KeySource::JwksUrl(format!("{}/jwks", issuer.url));
    let harness = harness(vec![Issuer { keys, ..Issuer::new("somebody", "astradesk") }]).await;
    let token = key.sign("1", &claims_of("somebody", &harness));
    assert_eq!(harness.get("/v1/tools", &token).await.status, 200);
}

#[test]
fn a_gateway_that_nobody_could_enter_is_refused() {
    let new =
        |issuers| Auth::new(issuers, None, Arc::new(SystemClock)).err().map(|error| error.code.to_string());
    let issuer = || Issuer::new("https://login.example.com", "astradesk");
    assert_eq!(new(vec![]).as_deref(), Some("config.invalid"));
    assert_eq!(new(vec![issuer(), issuer()]).as_deref(), Some("config.invalid"));
    assert_eq!(new(vec![issuer()]), None);
}
