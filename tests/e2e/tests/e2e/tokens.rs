//! Every fault of a token: its status, its code, its record, and no effect on the cluster.

use astradesk_e2e::tokens::{ISSUER, Issuer, KEY, claims, unsigned};
use astradesk_e2e::{Gateway, Place, Settings, deployment, on_both};
use serde_json::json;

on_both!(a_bad_token_does_nothing);

async fn a_bad_token_does_nothing(place: &Place) {
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let issuer = Issuer::new();
    let mut settings = Settings::of(place, &["webapp"]);
    settings.toml = issuer.configure(&settings.state);
    let gateway = Gateway::start(place, settings).await;
    let header = json!({"alg": "RS256", "kid": KEY});
    let with = |changes| issuer.sign(&header, &claims(&changes));
    let now = astradesk_core::Timestamp::now().as_second();
    let good = with(json!({}));
    let (body, _) = good.rsplit_once('.').unwrap();

    let before = place.state(&webapp).await;
    for (fault, token, code) in [
        ("none", None, "auth.token_missing"),
        ("not a token", Some("ada".to_owned()), "auth.token_malformed"),
        ("expired", Some(with(json!({"exp": now - 3600}))), "auth.token_expired"),
        ("not yet", Some(with(json!({"nbf": now + 3600}))), "auth.token_not_yet_valid"),
        ("audience", Some(with(json!({"aud": "another"}))), "auth.audience_mismatch"),
        ("issuer", Some(with(json!({"iss": format!("{ISSUER}/")}))), "auth.issuer_unknown"),
        (
            "alg none",
            Some(format!("{}.", unsigned(&json!({"alg": "none"}), &claims(&json!({}))))),
            "auth.algorithm_not_allowed",
        ),
        (
            "HMAC with the public key",
            Some(issuer.sign_with_public_key(&claims(&json!({})))),
            "auth.algorithm_not_allowed",
        ),
        (
            "another kid",
            Some(issuer.sign(&json!({"alg": "RS256", "kid": "k2"}), &claims(&json!({})))),
            "auth.key_unknown",
        ),
        ("another's key", Some(Issuer::new().sign(&header, &claims(&json!({})))), "auth.signature_invalid"),
        ("no signature", Some(format!("{body}.")), "auth.signature_invalid"),
        ("roles that are no list", Some(with(json!({"roles": 7}))), "auth.claims_invalid"),
    ] {
        let seen = gateway.client.evidence().await.len();
        let reply = gateway.client.with_token(token.as_deref()).say("restart webapp").await;
        place.note(fault, &reply.body);
        reply.expect(401, code);
        let records = gateway.client.evidence().await;
        assert_eq!(records.len(), seen + 1, "{fault}");
        let record = &records[seen];
        assert_eq!(
            (&record["kind"], &record["data"]["code"]),
            (&json!("auth.denied"), &json!(code)),
            "{fault}"
        );
        if let Some(token) = &token {
            assert!(
                !reply.body.to_string().contains(token) && !record.to_string().contains(token),
                "{fault}"
            );
        }
        assert_eq!(place.state(&webapp).await, before, "{fault}");
    }
    // It was the tokens: a good one of the same issuer is obeyed.
    gateway.client.with_token(Some(&good)).say("restart webapp").await.expect_success();
    assert_ne!(place.state(&webapp).await, before);
}
