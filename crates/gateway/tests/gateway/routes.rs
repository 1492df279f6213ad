//! The golden list of routes, each with the authorization that it passes.

use crate::support::{Reply, start};
use astradesk_gateway::openapi;
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeSet;

/// What stands before a route.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Passes {
    /// Nothing: it shows no target and no principal.
    Open,
    /// A token, and the Engine shows only what its principal may see.
    Filtered,
    /// A token, and the Engine's one door.
    Door,
    /// A token, and the policy on evidence.
    Evidence,
    /// A token, and the policy on other people's runs; what may not be seen is not found.
    Run,
    /// The same, and then what is asked of approvers: not who asked, no agent, one of the roles.
    Approver,
    /// The same as `Run`, and then that one has approved it.
    Approved,
    /// A token, and then what `METHODS` in `mcp/methods.rs` says of each method.
    Agent,
    /// A token, and that one has opened the session.
    Session,
}

const ROUTES: [(&str, &str, Passes); 32] = [
    ("GET", "/.well-known/oauth-protected-resource", Passes::Open),
    ("GET", "/.well-known/oauth-protected-resource/mcp", Passes::Open),
    ("GET", "/healthz", Passes::Open),
    ("DELETE", "/mcp", Passes::Session),
    ("GET", "/mcp", Passes::Session),
    ("POST", "/mcp", Passes::Agent),
    ("GET", "/metrics", Passes::Open),
    ("GET", "/openapi.json", Passes::Open),
    ("GET", "/readyz", Passes::Open),
    ("GET", "/v1/agents", Passes::Filtered),
    ("GET", "/v1/approvals", Passes::Filtered),
    ("GET", "/v1/approvals/{id}", Passes::Run),
    ("GET", "/v1/audit", Passes::Evidence),
    ("GET", "/v1/audit/checkpoint", Passes::Evidence),
    ("GET", "/v1/audit/checkpoints", Passes::Evidence),
    ("GET", "/v1/packs", Passes::Filtered),
    ("GET", "/v1/policy", Passes::Evidence),
    ("POST", "/v1/policy/test", Passes::Evidence),
    ("POST", "/v1/run", Passes::Door),
    ("GET", "/v1/runs", Passes::Filtered),
    ("GET", "/v1/runs/{id}", Passes::Run),
    ("POST", "/v1/runs/{id}/approve", Passes::Approver),
    ("POST", "/v1/runs/{id}/cancel", Passes::Run),
    ("GET", "/v1/runs/{id}/events", Passes::Run),
    ("GET", "/v1/runs/{id}/explanation", Passes::Run),
    ("POST", "/v1/runs/{id}/reject", Passes::Approver),
    ("POST", "/v1/runs/{id}/revoke", Passes::Approved),
    ("GET", "/v1/tools", Passes::Filtered),
    ("GET", "/v1/tools/{tool}", Passes::Filtered),
    ("POST", "/v1/tools/{tool}/runs", Passes::Door),
    ("GET", "/v1/webhooks/dead", Passes::Evidence),
    ("POST", "/v1/webhooks/dead/{id}/retry", Passes::Evidence),
];

#[test]
fn the_list_has_every_route() {
    let document = openapi();
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            found.insert((path.clone(), method.to_uppercase()));
        }
    }
    let listed: BTreeSet<(String, String)> =
        ROUTES.iter().map(|(method, path, _)| ((*path).to_owned(), (*method).to_owned())).collect();
    assert_eq!(found, listed, "a new route needs a line here, with the authorization that it passes");
}

#[tokio::test]
async fn every_route_passes_what_the_list_says() {
    let harness = start().await;
    let nobody = harness.token("nobody", &[]);
    let stranger = harness.token("stranger", &[]);
    let auditor = harness.token("auditor", &["auditor"]);
    let owner = harness.token("owner", &["sre"]);
    let call = json!({"arguments": {"service": "lead-web"}});
    let run = harness.post("/v1/tools/restart_thing/runs", &owner, call).await;
    let id = run.body["run"]["id"].as_str().unwrap().to_owned();
    let digest = &run.body["run"]["approvals"]["digest"];

    for (method, path, passes) in ROUTES {
        let path = path.replace("{id}", &id).replace("{tool}", "get_status");
        let method: Method = method.parse().unwrap();
        let body = match path.as_str() {
            "/v1/run" => json!({"agent": "ops", "input": "restart web"}),
            "/v1/policy/test" => json!({"cases": []}),
            path if path.ends_with("/cancel") => json!({"on_effect": "leave"}),
            path if path.ends_with("/approve") || path.ends_with("/reject") => {
                json!({"digest": digest, "reason": "seen"})
            }
            _ => json!({"arguments": {"service": "web"}}),
        };
        let without = harness.client.request(method.clone(), harness.url(&path)).json(&body);
        let without = Reply::read(without.send().await.unwrap()).await;
        // Somebody whose runs were denied sees those; a stranger sees nothing.
        let token = if passes == Passes::Filtered { &stranger } else { &nobody };
        let with = harness.request(method.clone(), &path, token).json(&body).send().await.unwrap();
        let with = Reply::read(with).await;
        if passes == Passes::Open {
            assert_eq!(without.status, 200, "{path}");
            continue;
        }
        without.is_problem(401, "auth.token_missing");
        match passes {
            Passes::Open | Passes::Agent => {}
            // What has no session has nothing to listen to or to end.
            Passes::Session => {
                assert!(matches!(with.status, 400 | 406), "{method} {path}: {with:?}");
            }
            Passes::Filtered if path == "/v1/tools/get_status" => with.is_problem(404, "tool.not_found"),
            Passes::Filtered => {
                let lists = with.body.as_object().unwrap();
                assert!(lists.values().all(|list| *list == json!([])), "{path} shows nobody {}", with.text);
            }
            Passes::Door => with.is_problem(403, "policy.role_required"),
            Passes::Evidence => with.is_problem(403, "policy.denied"),
            Passes::Run | Passes::Approver | Passes::Approved => with.is_problem(404, "run.not_found"),
        }
        if matches!(passes, Passes::Approver | Passes::Approved) {
            // Somebody who may see the run, and nothing else.
            let seen = harness.request(method, &path, &auditor).json(&body).send().await.unwrap();
            let seen = Reply::read(seen).await;
            match passes {
                Passes::Approver => seen.is_problem(403, "approval.role_required"),
                _ => seen.is_problem(409, "approval.not_given"),
            }
        }
    }
    assert_eq!(harness.pack.effects(), 0);
}
