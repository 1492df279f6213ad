//! Agents at `/mcp`, by clients that nobody here wrote.

use crate::once::Before;
use astradesk_e2e::others::{Language, Others};
use astradesk_e2e::{Gateway, Place, Settings, deployment, on_both};
use serde_json::{Value, json};

on_both!(the_clients_of_others_list_read_and_restart, the_inspector_sees_what_its_token_may);

async fn the_clients_of_others_list_read_and_restart(place: &Place) {
    let Some(others) = Others::find() else { return };
    // New pods take a while, so that there is progress to see.
    let webapp = deployment("webapp", 2).once_restarted("slow:0.5");
    place.run(&[&webapp]).await;
    let gateway = Gateway::start(place, Settings::of(place, &["webapp"])).await;
    let token = gateway.settings.token("ada", "sre");
    for language in [Language::TypeScript, Language::Python] {
        for version in ["2026-07-28", "legacy"] {
            let before = Before::of(place, &webapp).await;
            let seen = others.look(language, &gateway.client.url, &token, version, "webapp").await;
            let spoken = if version == "legacy" { "2025-11-25" } else { version };
            assert_eq!(seen["protocol"], spoken, "{language:?} {seen:#}");
            check(&seen);
            let run = seen["restart"]["structured"]["run"].as_str().unwrap();
            before.verify(place, &webapp, &gateway.client.run(run).await).await;
        }
    }
    assert!(gateway.stop().await);
}

/// What each of them sees.
fn check(seen: &Value) {
    let hint = |tool: &str, hint: &str| seen["tools"][tool][hint].clone();
    assert_eq!(hint("get_service_status", "readOnlyHint"), true, "{seen:#}");
    assert_eq!(hint("restart_service", "readOnlyHint"), false, "{seen:#}");
    assert_eq!(seen["status"]["isError"], false, "{seen:#}");
    assert_eq!(seen["restart"]["isError"], false, "{seen:#}");
    assert_eq!(seen["restart"]["structured"]["state"], "succeeded", "{seen:#}");
    let progress = seen["progress"].as_array().unwrap();
    let values: Vec<f64> = progress.iter().map(|told| told["progress"].as_f64().unwrap()).collect();
    assert!(!values.is_empty() && values.is_sorted_by(|a, b| a < b), "{seen:#}");
    assert_eq!(seen["resource"]["id"], seen["restart"]["structured"]["run"], "{seen:#}");
    assert_eq!(seen["completed"], json!(["webapp"]), "{seen:#}");
}

async fn the_inspector_sees_what_its_token_may(place: &Place) {
    let Some(others) = Others::find() else { return };
    let webapp = deployment("webapp", 1);
    place.run(&[&webapp]).await;
    let gateway = Gateway::start(place, Settings::of(place, &["webapp"])).await;
    let names = async |role: &str| -> Vec<String> {
        let token = gateway.settings.token("ada", role);
        let listed = others.inspect(&gateway.client.url, &token, &["--method", "tools/list"]).await;
        let tools = listed["tools"].as_array().unwrap().iter();
        tools.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    let (sre, nobody) = (names("sre").await, names("nobody").await);
    assert!(sre.contains(&"restart_service".to_owned()), "{sre:?}");
    assert!(!nobody.contains(&"restart_service".to_owned()), "{nobody:?}");

    let token = gateway.settings.token("ada", "sre");
    let arguments =
        ["--method", "tools/call", "--tool-name", "get_service_status", "--tool-arg", "service=webapp"];
    let status = others.inspect(&gateway.client.url, &token, &arguments).await;
    assert_ne!(status["isError"], true, "{status:#}");
    assert!(gateway.stop().await);
}
