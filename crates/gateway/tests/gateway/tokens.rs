//! Every fault that a token can have: its status, its code, and its record.

use crate::support::signer::{Signer, TestIssuer, unsigned};
use crate::support::{Harness, Reply, Setup, start, start_with};
use astradesk_gateway::auth::{Issuer, KeySource, RolesClaim};
use astradesk_runtime::port::{Clock as _, SystemClock};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

fn now() -> i64 {
    SystemClock.now().as_second()
}

/// Claims that are good for the issuer, changed by the test.
fn claims(issuer: &str, change: &Value) -> Value {
    let mut claims = json!({
        "iss": issuer, "aud": "astradesk", "sub": "anna", "exp": now() + 600, "iat": now(),
        "realm_access": {"roles": ["viewer"]},
    });
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

struct Fixture {
    harness: Harness,
    issuer: String,
    rsa: Signer,
    ec: Signer,
    ed: Signer,
}

async fn fixture() -> Fixture {
    let (rsa, ec, ed) = (Signer::rsa(), Signer::ec(), Signer::ed());
    let issuer = TestIssuer::start(&[rsa.jwk("rsa"), ec.jwk("ec"), ed.jwk("ed")]).await;
    let configured = Issuer {
        roles_claim: RolesClaim::parse("realm_access.roles").unwrap(),
        ..Issuer::new(&issuer.url, "astradesk")
    };
    let harness = start_with(Setup { issuers: vec![configured], ..Setup::default() }).await;
    Fixture { harness, issuer: issuer.url, rsa, ec, ed }
}

#[tokio::test]
async fn good_tokens_of_every_algorithm_are_taken() {
    let Fixture { harness, issuer, rsa, ec, ed } = fixture().await;
    let good = claims(&issuer, &json!({}));
    for token in [rsa.sign("rsa", &good), ec.sign("ec", &good), ed.sign("ed", &good)] {
        // The second time it is the cache that answers.
        for _ in 0..2 {
            let reply = harness.get("/v1/tools", &token).await;
            assert_eq!(reply.status, 200, "{}", reply.text);
            assert_eq!(reply.body["tools"][0]["name"], "get_status");
        }
    }
    for change in [
        json!({"aud": ["other", "astradesk"]}),
        json!({"exp": (now() + 600) as f64 + 0.5}),
        json!({"realm_access": {"roles": "viewer sre"}}),
        json!({"act": {"sub": "agent-7"}}),
        json!({"exp": now() - 5, "iat": now() - 600}),
        json!({"nbf": now() + 5, "iat": now() + 5}),
    ] {
        let reply = harness.get("/v1/tools", &ed.sign("ed", &claims(&issuer, &change))).await;
        assert_eq!(reply.status, 200, "{change}: {}", reply.text);
    }
    let reply =
        harness.get("/v1/tools", &ed.sign("ed", &claims(&issuer, &json!({"realm_access": null})))).await;
    assert_eq!(reply.body, json!({"tools": []}), "no role means no access");
}

#[tokio::test]
async fn every_fault_has_its_status_its_code_and_its_record() {
    let Fixture { harness, issuer, rsa, ec, ed } = fixture().await;
    let with = |change: Value| ed.sign("ed", &claims(&issuer, &change));
    let good = claims(&issuer, &json!({}));
    let signed = ed.sign("ed", &good);
    let (message, signature) = signed.rsplit_once('.').unwrap();
    let flipped =
        format!("{message}.{}{}", if signature.starts_with('A') { 'B' } else { 'A' }, &signature[1..]);
    let other_claims =
        unsigned(&json!({"alg": "EdDSA", "kid": "ed"}), &claims(&issuer, &json!({"sub": "root"})));

    // The RSA public key, which everybody has, as the secret of an HMAC.
    let public = rsa.jwk("rsa")["n"].as_str().unwrap().to_owned();
    let hmac_message = unsigned(&json!({"alg": "HS256", "kid": "rsa"}), &good);
    let key =
        aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &URL_SAFE_NO_PAD.decode(public).unwrap());
    let tag = aws_lc_rs::hmac::sign(&key, hmac_message.as_bytes());
    let hmac = format!("{hmac_message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));

    let none = |alg: &str| format!("{}.", unsigned(&json!({"alg": alg}), &good));
    let header = |header: Value| ed.sign_with(&header, &good);
    let long = "x".repeat(257);
    let many: Vec<String> = (0..129).map(|i| format!("role{i}")).collect();

    let table: Vec<(&str, String, &str)> = vec![
        ("not a JWT", "abc".into(), "auth.token_malformed"),
        ("two parts", "a.b".into(), "auth.token_malformed"),
        ("five parts", "a.b.c.d.e".into(), "auth.token_malformed"),
        ("no base64", "$.$.$".into(), "auth.token_malformed"),
        ("oversized", format!("{signed}{}", "A".repeat(17 * 1024)), "auth.token_malformed"),
        ("crit", header(json!({"alg": "EdDSA", "kid": "ed", "crit": ["x"], "x": 1})), "auth.token_malformed"),
        ("b64", header(json!({"alg": "EdDSA", "kid": "ed", "b64": false})), "auth.token_malformed"),
        ("no alg", header(json!({"kid": "ed"})), "auth.token_malformed"),
        ("alg none", none("none"), "auth.algorithm_not_allowed"),
        ("alg nOnE", none("nOnE"), "auth.algorithm_not_allowed"),
        ("HMAC with the public key", hmac, "auth.algorithm_not_allowed"),
        (
            "a known alg that is not spoken",
            header(json!({"alg": "RS512", "kid": "rsa"})),
            "auth.algorithm_not_allowed",
        ),
        (
            "an alg other than the key's",
            header(json!({"alg": "RS256", "kid": "ed"})),
            "auth.algorithm_not_allowed",
        ),
        (
            "another key's id",
            ec.sign_with(&json!({"alg": "ES256", "kid": "rsa"}), &good),
            "auth.algorithm_not_allowed",
        ),
        ("unknown kid", header(json!({"alg": "EdDSA", "kid": "nope"})), "auth.key_unknown"),
        ("tampered signature", flipped, "auth.signature_invalid"),
        ("tampered claims", format!("{other_claims}.{signature}"), "auth.signature_invalid"),
        ("no signature", format!("{message}."), "auth.signature_invalid"),
        ("a key of our own", Signer::ed().sign("ed", &good), "auth.signature_invalid"),
        ("expired", with(json!({"exp": now() - 31})), "auth.token_expired"),
        ("not yet valid", with(json!({"nbf": now() + 120})), "auth.token_not_yet_valid"),
        ("issued in the future", with(json!({"iat": now() + 120})), "auth.token_not_yet_valid"),
        ("wrong audience", with(json!({"aud": "other"})), "auth.audience_mismatch"),
        ("wrong audiences", with(json!({"aud": ["other", 7]})), "auth.audience_mismatch"),
        ("wrong issuer", with(json!({"iss": "https://evil.example.com"})), "auth.issuer_unknown"),
        ("the issuer with a slash", with(json!({"iss": format!("{issuer}/")})), "auth.issuer_unknown"),
        ("no iss", with(json!({"iss": null})), "auth.claims_invalid"),
        ("no exp", with(json!({"exp": null})), "auth.claims_invalid"),
        ("exp as text", with(json!({"exp": "tomorrow"})), "auth.claims_invalid"),
        ("exp in milliseconds", with(json!({"exp": (now() + 600) * 1000})), "auth.claims_invalid"),
        ("exp before iat", with(json!({"exp": now() - 10, "iat": now()})), "auth.claims_invalid"),
        ("no aud", with(json!({"aud": null})), "auth.claims_invalid"),
        ("no sub", with(json!({"sub": null})), "auth.claims_invalid"),
        ("empty sub", with(json!({"sub": ""})), "auth.claims_invalid"),
        ("long sub", with(json!({"sub": long})), "auth.claims_invalid"),
        ("control characters in sub", with(json!({"sub": "a\u{1b}[31m"})), "auth.claims_invalid"),
        ("sub as number", with(json!({"sub": 7})), "auth.claims_invalid"),
        ("bad role", with(json!({"realm_access": {"roles": ["viewer", "a\"b"]}})), "auth.claims_invalid"),
        ("role as number", with(json!({"realm_access": {"roles": ["viewer", 7]}})), "auth.claims_invalid"),
        ("roles as object", with(json!({"realm_access": {"roles": {}}})), "auth.claims_invalid"),
        ("too many roles", with(json!({"realm_access": {"roles": many}})), "auth.claims_invalid"),
        ("bad act", with(json!({"act": {"sub": 7}})), "auth.claims_invalid"),
    ];
    for (fault, token, code) in &table {
        let reply = harness.get("/v1/tools", token).await;
        assert_eq!(reply.code(), *code, "{fault}: {}", reply.text);
        reply.is_problem(401, code);
        assert_eq!(reply.header("www-authenticate"), "Bearer error=\"invalid_token\"", "{fault}");
        if token.len() > 20 {
            assert!(!reply.text.contains(&token[..20]), "{fault}: the answer shows the token");
        }
    }
    let records: Vec<Value> = harness.evidence().await.unwrap();
    let codes: Vec<&str> = records.iter().map(|record| record["data"]["code"].as_str().unwrap()).collect();
    assert_eq!(codes, table.iter().map(|(_, _, code)| *code).collect::<Vec<_>>());
    assert!(records.iter().all(|record| record["kind"] == "auth.denied"));
    let text = json!(records).to_string();
    assert!(!text.contains(signature), "the evidence shows a token");
}

#[tokio::test]
async fn a_request_without_a_bearer_token_is_told_so_without_detail() {
    let harness = start().await;
    for authorization in [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic YWxhZGRpbjpvcGVu")] {
        let mut request = harness.client.get(harness.url("/v1/tools"));
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let reply = Reply::read(request.send().await.unwrap()).await;
        reply.is_problem(401, "auth.token_missing");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    let token = harness.admin();
    let twice = harness.request(reqwest::Method::GET, "/v1/tools", &token).bearer_auth(&token);
    Reply::read(twice.send().await.unwrap()).await.is_problem(401, "auth.token_malformed");
    assert_eq!(harness.evidence().await.unwrap().len(), 6);
}

#[tokio::test]
async fn a_token_ends_when_it_ends_although_it_was_taken_before() {
    let harness = start().await;
    let token = harness.admin();
    assert_eq!(harness.get("/v1/tools", &token).await.status, 200);
    harness.clock.advance(3570);
    assert_eq!(harness.get("/v1/tools", &token).await.status, 200);
    harness.clock.advance(31);
    harness.get("/v1/tools", &token).await.is_problem(401, "auth.token_expired");
}

#[tokio::test]
async fn keys_are_read_from_files() {
    let (rsa, ec, ed) = (Signer::rsa(), Signer::ec(), Signer::ed());
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("jwks.json");
    std::fs::write(&jwks, json!({"keys": [ec.jwk("ec"), ed.jwk("ed")]}).to_string()).unwrap();
    let pem = folder.path().join("key.pem");
    std::fs::write(&pem, rsa_pem(&rsa)).unwrap();
    let issuer = |name: &str, path: &std::path::Path| Issuer {
        keys: KeySource::File(path.to_owned()),
        ..Issuer::new(name, "astradesk")
    };
    let issuers = vec![issuer("by-jwks", &jwks), issuer("by-pem", &pem)];
    let harness = start_with(Setup { issuers, ..Setup::default() }).await;
    let good = |issuer: &str| claims(issuer, &json!({"roles": ["viewer"]}));
    for token in [
        ec.sign("ec", &good("by-jwks")),
        ed.sign("ed", &good("by-jwks")),
        rsa.sign_with(&json!({"alg": "RS256"}), &good("by-pem")),
    ] {
        assert_eq!(harness.get("/v1/tools", &token).await.status, 200);
    }
    // A key file in PEM names no id, so a token that names one has no key here.
    harness
        .get("/v1/tools", &rsa.sign("whatever", &good("by-pem")))
        .await
        .is_problem(401, "auth.key_unknown");
    // The key of one issuer is not good for another.
    harness.get("/v1/tools", &ed.sign("ed", &good("by-pem"))).await.is_problem(401, "auth.key_unknown");
}

fn rsa_pem(signer: &Signer) -> String {
    use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    use aws_lc_rs::signature::KeyPair as _;
    let Signer::Rsa(key) = signer else { panic!("not an RSA key") };
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}
