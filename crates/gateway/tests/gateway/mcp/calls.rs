//! Tools: which there are, and what becomes of calls.

use super::{Agent, VERSIONS, facts, params, refused};
use crate::support::{Harness, Setup, start, start_with, until};
use astradesk_gateway::Limits;
use rmcp::model::ErrorCode;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn each_principal_has_the_tools_that_they_may_use_and_only_those() {
    let harness = start().await;
    for version in &VERSIONS {
        for (roles, expected) in [
            (&["sre"][..], &["get_status", "open_thing", "restart_thing"][..]),
            (&["viewer"], &["get_status", "open_thing"]),
            (&[], &[]),
        ] {
            let token = harness.token("ada", roles);
            let agent = Agent::connect(&harness, &token, version).await;
            let tools = agent.tools().await;
            assert_eq!(tools, expected, "{version} {roles:?}");
            let http = harness.get("/v1/tools", &token).await.body;
            let http: Vec<&str> =
                http["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
            assert_eq!(tools, http, "the same as the HTTP API");
        }
    }
}

#[tokio::test]
async fn a_tool_is_described_by_what_is_true_of_it() {
    let harness = start().await;
    let agent = Agent::connect(&harness, &harness.admin(), &VERSIONS[0]).await;
    let tools = agent.client.list_all_tools().await.unwrap();
    for (name, read) in [("get_status", true), ("restart_thing", false)] {
        let tool = tools.iter().find(|tool| tool.name == name).unwrap();
        let said = tool.annotations.as_ref().unwrap();
        assert_eq!(said.read_only_hint, Some(read), "{name}");
        assert_eq!(said.destructive_hint, Some(!read), "{name}");
        assert_eq!(said.idempotent_hint, Some(read), "{name}");
        assert_eq!(said.open_world_hint, Some(false), "{name}");
        assert!(tool.title.as_deref().unwrap().starts_with(|first: char| first.is_uppercase()));
        let spec = harness.get(&format!("/v1/tools/{name}"), &harness.admin()).await.body;
        assert_eq!(json!(tool.input_schema), spec["input_schema"]);
    }
}

/// Every structured result fits the output schema that the tool is listed with.
#[tokio::test]
async fn what_becomes_of_a_call_is_told_as_facts_that_fit_the_schema() {
    let harness = start().await;
    for version in &VERSIONS {
        let agent = Agent::connect(&harness, &harness.admin(), version).await;
        let tools = agent.client.list_all_tools().await.unwrap();
        let schema = json!(tools[0].output_schema.as_ref().unwrap());
        let schema = jsonschema::draft202012::options().build(&schema).unwrap();
        for (tool, service, state, is_error, code) in [
            ("get_status", "web", "succeeded", false, ""),
            ("get_status", "ghost", "failed", true, "kubernetes.not_found"),
            ("restart_thing", "web", "succeeded", false, ""),
            ("restart_thing", "broken", "failed", true, "rollout.crash_loop"),
            ("restart_thing", "paused", "denied", true, "guard.paused"),
            ("restart_thing", "Not a name", "refused", true, "tool.arguments_invalid"),
            ("get_status", "defect", "failed", true, "internal.error"),
        ] {
            let result = agent.call(tool, service).await;
            let place = format!("{version} {tool} {service}: {result:?}");
            let facts = facts(&result);
            assert!(schema.is_valid(facts), "{place}");
            assert_eq!((facts["state"].as_str(), result.is_error), (Some(state), Some(is_error)), "{place}");
            assert_eq!(facts["error"]["code"].as_str().unwrap_or_default(), code, "{place}");
            if is_error {
                assert!(!facts["error"]["remedy"].as_str().unwrap().is_empty(), "{place}");
            } else {
                assert_eq!(facts["output"]["ready"], true, "{place}");
            }
            assert!(!place.contains("innards"), "{place}");
            if state != "refused" {
                let id = facts["run"].as_str().unwrap();
                assert_eq!(facts["uri"], format!("astradesk://runs/{id}"));
                let run = harness.get(&format!("/v1/runs/{id}"), &harness.admin()).await.body;
                assert_eq!((&run["source"], &run["state"]), (&json!("mcp"), &facts["state"]), "{place}");
            }
        }
    }
}

#[tokio::test]
async fn who_may_not_is_denied_as_over_http_and_it_is_on_record() {
    let harness = start().await;
    for version in &VERSIONS {
        let viewer = harness.token("vera", &["viewer"]);
        let agent = Agent::connect(&harness, &viewer, version).await;
        let result = agent.call("restart_thing", "web").await;
        let facts = facts(&result);
        assert_eq!(result.is_error, Some(true));
        assert_eq!(
            (&facts["state"], &facts["error"]["code"]),
            (&json!("denied"), &json!("policy.role_required"))
        );
        let http =
            harness.post("/v1/tools/restart_thing/runs", &viewer, json!({"arguments": {"service": "web"}}));
        let http = http.await;
        assert_eq!(http.code(), facts["error"]["code"]);
        assert_eq!(http.body["remedy"], facts["error"]["remedy"]);
        let run = facts["run"].as_str().unwrap();
        let evidence = harness.evidence().await.unwrap();
        assert!(evidence.iter().any(|record| record["kind"] == "run.denied" && record["run"] == run));
    }
    assert_eq!(harness.pack.effects(), 0);
}

#[tokio::test]
async fn mistakes_of_the_protocol_are_its_errors() {
    let harness = start().await;
    for version in &VERSIONS {
        let agent = Agent::connect(&harness, &harness.admin(), version).await;
        for tool in ["nope", "Not A Name", ""] {
            let error = refused(agent.call_with(tool, &json!({}), &json!({})).await);
            assert_eq!(error.code, ErrorCode::INVALID_PARAMS, "{tool}");
            assert_eq!(error.data.unwrap()["code"], "tool.not_found", "{tool}");
        }
        for meta in [
            json!({"dev.astradesk/idempotency-key": 7}),
            json!({"dev.astradesk/dryrun": true}),
            json!({"dev.astradesk/break-glass": true}),
        ] {
            let error = refused(agent.call_with("restart_thing", &json!({"service": "web"}), &meta).await);
            assert_eq!(error.code, ErrorCode::INVALID_PARAMS, "{meta}");
        }
    }
    assert_eq!(harness.pack.effects(), 0);
}

#[tokio::test]
async fn a_call_that_is_repeated_with_its_key_acts_once() {
    let harness = start().await;
    for (count, version) in (1..).zip(&VERSIONS) {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let key = json!({
            "dev.astradesk/idempotency-key": format!("k{version}"),
            "traceparent": format!("00-{trace}-00f067aa0ba902b7-01"),
        });
        let agent = Agent::connect(&harness, &harness.admin(), version).await;
        let arguments = || json!({"service": "web"});
        let first = agent.call_with("restart_thing", &arguments(), &key).await.unwrap();
        // Another connection, even another door: the key is the principal's.
        let other = Agent::connect(&harness, &harness.admin(), version).await;
        let again = other.call_with("restart_thing", &arguments(), &key).await.unwrap();
        assert_eq!(facts(&first)["run"], facts(&again)["run"]);
        let id = facts(&first)["run"].as_str().unwrap();
        assert_eq!(harness.get(&format!("/v1/runs/{id}"), &harness.admin()).await.body["trace"], trace);
        assert_eq!((&facts(&first)["replayed"], &facts(&again)["replayed"]), (&json!(false), &json!(true)));
        assert_eq!(harness.pack.effects(), count);
        let another = agent.call_with("restart_thing", &json!({"service": "api"}), &key).await.unwrap();
        assert_eq!(facts(&another)["error"]["code"], "request.idempotency_conflict");
        assert_eq!(harness.pack.effects(), count);
    }
}

#[tokio::test]
async fn a_dry_run_does_nothing_and_says_what_it_would_do() {
    let harness = start().await;
    let agent = Agent::connect(&harness, &harness.admin(), &VERSIONS[0]).await;
    let dry = json!({"dev.astradesk/dry-run": true});
    let result = agent.call_with("restart_thing", &json!({"service": "web"}), &dry).await.unwrap();
    assert_eq!(facts(&result)["state"], "previewed");
    assert_eq!(facts(&result)["preview"]["steps"][0]["changes"]["would"], "restart");
    assert_eq!((result.is_error, harness.pack.effects()), (Some(false), 0));
}

#[tokio::test]
async fn what_needs_approval_says_so_at_once_and_asks_the_client_for_nothing() {
    let harness = start().await;
    for (count, version) in (1..).zip(&VERSIONS) {
        // A client that follows tasks is told the same.
        for agent in [
            Agent::connect(&harness, &harness.admin(), version).await,
            Agent::with_tasks(&harness, &harness.admin(), version).await,
        ] {
            let reason = json!({"dev.astradesk/reason": "stale cache"});
            let result =
                agent.call_with("restart_thing", &json!({"service": "lead-web"}), &reason).await.unwrap();
            let facts = facts(&result);
            assert_eq!((&facts["state"], result.is_error), (&json!("awaiting_approval"), Some(false)));
            let id = facts["run"].as_str().unwrap();
            let approval = &facts["approval"];
            assert_eq!(approval["needed"], "1 approval by `lead`");
            assert_eq!(approval["required"]["count"], 1);
            assert!(approval["expires_at"].as_str().unwrap().parse::<astradesk_core::Timestamp>().is_ok());
            let command = approval["command"].as_str().unwrap();
            assert!(command.contains(id) && command.contains(approval["digest"].as_str().unwrap()));
            assert!(result.content[0].as_text().unwrap().text.contains("`lead`"));
            assert_eq!(harness.pack.effects(), count - 1);
            let run = harness.get(&format!("/v1/runs/{id}"), &harness.admin()).await.body;
            assert_eq!(run["reason"], "stale cache");
            let cancelled = harness.post(&format!("/v1/runs/{id}/cancel"), &harness.admin(), json!({})).await;
            assert_eq!(cancelled.status, 200, "{cancelled:?}");
        }
        // A person agrees, and it is done.
        let agent = Agent::connect(&harness, &harness.admin(), version).await;
        let asked = agent.call("restart_thing", "lead-web").await;
        let id = facts(&asked)["run"].as_str().unwrap();
        let word = json!({"digest": facts(&asked)["approval"]["digest"], "reason": "seen"});
        let lea = harness.token("lea", &["lead"]);
        assert_eq!(harness.post(&format!("/v1/runs/{id}/approve"), &lea, word).await.status, 200);
        assert_eq!(harness.ended(id).await["state"], "succeeded");
        assert_eq!(harness.pack.effects(), count);
    }
}

#[tokio::test]
async fn a_run_tells_how_it_goes_while_its_call_waits() {
    let harness = start().await;
    for version in &VERSIONS {
        let mut agent = Agent::connect(&harness, &harness.admin(), version).await;
        let calling = {
            let peer = agent.client.peer().clone();
            let params = params("restart_thing", &json!({"service": "slow"}), &json!({}));
            tokio::spawn(async move { peer.call_tool(params).await })
        };
        harness.pack.slow_call().await;
        // Told while it is under way: the call cannot have ended, since nobody has let it.
        let mut told = Vec::new();
        while !told.iter().any(|text| text == "1 of 1 pods") {
            let one = agent.progress.recv().await.unwrap();
            told.push(one.message.unwrap());
        }
        assert!(!calling.is_finished());
        harness.pack.release();
        let result = calling.await.unwrap().unwrap();
        assert_eq!(facts(&result)["state"], "succeeded", "{told:?}");
    }
}

#[tokio::test]
async fn progress_only_rises() {
    let harness = start().await;
    let mut agent = Agent::connect(&harness, &harness.admin(), &VERSIONS[0]).await;
    agent.call("restart_thing", "web").await;
    let mut last = 0.0;
    while let Ok(told) = agent.progress.try_recv() {
        assert!(told.progress > last, "{} after {last}", told.progress);
        last = told.progress;
    }
    assert!(last > 0.0);
}

#[tokio::test]
async fn a_call_waits_no_longer_than_it_may_and_the_run_goes_on() {
    let limits = Limits { mcp_wait_seconds: 1, ..Limits::default() };
    let harness = start_with(Setup { limits, ..Setup::default() }).await;
    for version in &VERSIONS {
        let agent = Agent::connect(&harness, &harness.admin(), version).await;
        for (tool, meta) in
            [("restart_thing", json!({})), ("restart_thing", json!({"dev.astradesk/wait-seconds": 0}))]
        {
            let result = agent.call_with(tool, &json!({"service": "slow"}), &meta).await.unwrap();
            let state = facts(&result)["state"].as_str().unwrap();
            assert!(matches!(state, "queued" | "running") && result.is_error == Some(false), "{result:?}");
            harness.pack.slow_call().await;
            harness.pack.release();
            let id = facts(&result)["run"].as_str().unwrap();
            assert_eq!(harness.ended(id).await["state"], "succeeded");
        }
    }
}

/// Somebody who stops waiting has not stopped the run.
#[tokio::test]
async fn a_cancelled_call_leaves_its_run_to_go_on() {
    let harness = start().await;
    for version in &VERSIONS {
        let agent = Agent::connect(&harness, &harness.admin(), version).await;
        let calling = {
            let peer = agent.client.peer().clone();
            let params = params("restart_thing", &json!({"service": "slow"}), &json!({}));
            tokio::spawn(async move { peer.call_tool(params).await })
        };
        harness.pack.slow_call().await;
        calling.abort();
        drop(agent);
        waiters_are_gone(&harness).await;
        harness.pack.release();
        let runs = harness.get("/v1/runs?limit=1", &harness.admin()).await.body;
        let id = runs["runs"][0]["id"].as_str().unwrap();
        assert_eq!(harness.ended(id).await["state"], "succeeded");
    }
}

/// Until no call waits any more, by the requests that are in flight.
async fn waiters_are_gone(harness: &Harness) {
    until("every connection but ours is closed", async || {
        let metrics = harness.get("/metrics", "").await.text;
        let open = metrics.lines().find_map(|line| line.strip_prefix("astradesk_connections "));
        open.unwrap().parse::<u32>().unwrap() <= 2
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_stops_answers_the_calls_that_wait() {
    for version in &VERSIONS {
        let harness = start().await;
        let agent = Agent::connect(&harness, &harness.admin(), version).await;
        let calling = {
            let peer = agent.client.peer().clone();
            let params = params("restart_thing", &json!({"service": "slow"}), &json!({}));
            tokio::spawn(async move { peer.call_tool(params).await })
        };
        harness.pack.slow_call().await;
        harness.shutdown.cancel();
        let result = tokio::time::timeout(Duration::from_secs(5), calling).await.unwrap().unwrap().unwrap();
        assert_eq!(facts(&result)["state"], "running", "{version}");
        harness.pack.release();
    }
}

/// Who has hung up does not keep others from waiting.
#[tokio::test]
async fn a_call_that_nobody_waits_for_gives_its_place_back() {
    let limits = Limits { waits: 1, ..Limits::default() };
    for version in &VERSIONS {
        let harness = start_with(Setup { limits: limits.clone(), ..Setup::default() }).await;
        let (one, two) = (
            Agent::connect(&harness, &harness.admin(), version).await,
            Agent::connect(&harness, &harness.admin(), version).await,
        );
        let calling = {
            let peer = one.client.peer().clone();
            let params = params("restart_thing", &json!({"service": "slow"}), &json!({}));
            tokio::spawn(async move { peer.call_tool(params).await })
        };
        harness.pack.slow_call().await;
        let full = two.call("restart_thing", "web").await;
        assert!(matches!(facts(&full)["state"].as_str(), Some("queued" | "running")), "{full:?}");
        harness.ended(facts(&full)["run"].as_str().unwrap()).await;
        calling.abort();
        drop(one);
        until("there is a place to wait", async || {
            facts(&two.call("restart_thing", "api").await)["state"] == "succeeded"
        })
        .await;
        harness.pack.release();
    }
}
