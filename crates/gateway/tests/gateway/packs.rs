//! `/v1/packs`: what is in force, for whom, and why a pack is not in force as it is now.

use crate::openapi::check;
use crate::support::start;
use astradesk_core::canonical::Digest;
use astradesk_core::{Code, Error, Timestamp, ToolName};
use astradesk_gateway::openapi;
use astradesk_runtime::port::{PackStatus, Packs};
use serde_json::{Value, json};
use std::sync::Arc;

/// A pack that was replaced by one that is not valid.
struct Replaced;

impl Packs for Replaced {
    fn reload(&self) -> bool {
        false
    }

    fn status(&self) -> Vec<PackStatus> {
        vec![PackStatus {
            name: "flags".into(),
            version: Some("1.0.0".into()),
            digest: Some(Digest::ZERO),
            since: Some(Timestamp::UNIX_EPOCH),
            tools: vec![ToolName::parse("set_flag").unwrap()],
            problem: Some(Error::new(Code::PackInvalid, "`flags/pack.toml`: it has no `name`")),
            doubts: vec!["no policy permits `set_flag` to anybody, so every call of it is denied".into()],
            ..PackStatus::default()
        }]
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_pack_is_told_to_who_may_read_the_evidence() {
    let harness = start().await;
    harness.engine.registry().follow(Arc::new(Replaced));
    let shown = harness.get("/v1/packs", &harness.admin()).await;
    check(&openapi(), "GET", "/v1/packs", &shown);
    let packs = &shown.body["packs"];
    assert_eq!((&packs[0]["name"], &packs[1]["name"]), (&json!("flags"), &json!("test")), "{}", shown.text);
    assert_eq!(packs[0]["problem"]["code"], "pack.invalid");
    assert_eq!(packs[0]["doubts"].as_array().map(Vec::len), Some(1));
    assert_eq!((&packs[1]["version"], &packs[1]["problem"]), (&json!("1"), &Value::Null));

    // A principal without a role sees no pack of which they may use nothing.
    let nobody = harness.get("/v1/packs", &harness.token("eve", &[])).await;
    assert_eq!((nobody.status, &nobody.body["packs"]), (200, &json!([])));
}
