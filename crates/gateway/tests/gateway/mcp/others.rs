//! Resources: runs, their evidence, services.

use super::{Agent, Operations, VERSIONS, facts, refused};
use crate::support::{Harness, start};
use rmcp::model::{CacheScope, ErrorCode, ReadResourceRequestParams, ResourceContents};
use serde_json::{Value, json};

async fn read(agent: &Agent, uri: &str) -> Value {
    let read = agent.client.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap();
    let ResourceContents::TextResourceContents { text, uri: of, mime_type, .. } = &read.contents[0] else {
        panic!("{read:?}")
    };
    assert_eq!((of.as_str(), mime_type.as_deref()), (uri, Some("application/json")));
    assert_ne!(read.cache_scope, Some(CacheScope::Public));
    serde_json::from_str(text).unwrap()
}

async fn code(agent: &Agent, uri: &str) -> (ErrorCode, String) {
    let error = refused(agent.client.read_resource(ReadResourceRequestParams::new(uri)).await);
    (error.code, error.data.unwrap()["code"].as_str().unwrap().to_owned())
}

async fn records(harness: &Harness, kind: &str) -> usize {
    let evidence = harness.evidence().await.unwrap();
    evidence.iter().filter(|record| record["kind"] == kind).count()
}

#[tokio::test]
async fn a_run_and_its_evidence_are_read_as_over_http() {
    let harness = start().await;
    for version in &VERSIONS {
        let agent = Agent::connect(&harness, &harness.admin(), version).await;
        let result = agent.call("restart_thing", "web").await;
        let id = facts(&result)["run"].as_str().unwrap();
        let uri = facts(&result)["uri"].as_str().unwrap();
        let run = harness.get(&format!("/v1/runs/{id}"), &harness.admin()).await.body;
        assert_eq!(read(&agent, uri).await, run);
        let evidence = read(&agent, &format!("{uri}/evidence")).await;
        let http = harness.get(&format!("/v1/audit?run={id}"), &harness.admin()).await.body;
        assert_eq!(evidence["records"], http["records"]);
        assert_eq!(evidence["more"], false);
        let listed = agent.client.list_all_resources().await.unwrap();
        assert!(listed.iter().any(|resource| resource.uri == uri));
    }
}

#[tokio::test]
async fn who_may_not_read_the_evidence_reads_none_here() {
    let harness = start().await;
    let not_found = |version: &rmcp::model::ProtocolVersion| {
        if *version == VERSIONS[0] { ErrorCode::INVALID_PARAMS } else { ErrorCode::RESOURCE_NOT_FOUND }
    };
    for version in &VERSIONS {
        let agent = Agent::connect(&harness, &harness.token("ada", &["sre"]), version).await;
        let result = agent.call("get_status", "web").await;
        let uri = facts(&result)["uri"].as_str().unwrap();
        assert_eq!(
            code(&agent, &format!("{uri}/evidence")).await,
            (ErrorCode(-32003), "policy.denied".into())
        );
        let templates = agent.client.list_all_resource_templates().await.unwrap();
        assert!(!templates.iter().any(|template| template.uri_template.contains("evidence")));
        let missing = "astradesk://runs/01920000-0000-7000-8000-000000000001";
        assert_eq!(code(&agent, missing).await, (not_found(version), "run.not_found".into()));
        for wrong in ["astradesk://nope", "file:///etc/passwd"] {
            assert_eq!(
                code(&agent, wrong).await,
                (not_found(version), "request.not_found".into()),
                "{wrong}"
            );
        }
        let auditor = Agent::connect(&harness, &harness.admin(), version).await;
        assert_eq!(code(&auditor, &format!("{missing}/evidence")).await.1, "run.not_found");
        let templates = auditor.client.list_all_resource_templates().await.unwrap();
        assert!(templates.iter().any(|template| template.uri_template == "astradesk://runs/{id}/evidence"));
    }
}

/// A service is read by its tool, through the same door as a call of it.
#[tokio::test]
async fn services_are_read_through_the_engine_by_who_may() {
    let harness = start().await;
    let without = Agent::connect(&harness, &harness.admin(), &VERSIONS[0]).await;
    assert_eq!(code(&without, "astradesk://services").await.1, "tool.not_found");
    let _pack = Operations::register(&harness);
    for version in &VERSIONS {
        let agent = Agent::connect(&harness, &harness.token("vera", &["viewer"]), version).await;
        let before = records(&harness, "read.finished").await;
        let all = read(&agent, "astradesk://services").await;
        assert_eq!((&all["state"], &all["output"]["ready"]), (&json!("succeeded"), &json!(true)));
        let one = read(&agent, "astradesk://services/web").await;
        assert_eq!(one["output"]["service"], "web");
        assert_eq!(records(&harness, "read.finished").await, before + 2);
        assert_eq!(code(&agent, "astradesk://services/ghost").await.1, "kubernetes.not_found");
        let listed = agent.client.list_all_resources().await.unwrap();
        assert!(listed.iter().any(|resource| resource.uri == "astradesk://services"));

        let nobody = Agent::connect(&harness, &harness.token("nobody", &[]), version).await;
        let denied = records(&harness, "run.denied").await;
        assert_eq!(
            code(&nobody, "astradesk://services/web").await,
            (ErrorCode(-32003), "policy.role_required".into())
        );
        assert_eq!(records(&harness, "run.denied").await, denied + 1);
        let listed = nobody.client.list_all_resources().await.unwrap();
        assert!(!listed.iter().any(|resource| resource.uri == "astradesk://services"));
    }
}
