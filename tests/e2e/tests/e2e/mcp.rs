//! Agents at `/mcp`, by clients that nobody here wrote.

use crate::once::Before;
use astradesk_e2e::others::{Language, Others};
use astradesk_e2e::{Gateway, Place, Settings, deployment, on_both};
use serde_json::{Value, json};

on_both!(
    the_clients_of_others_list_read_and_restart,
    the_clients_of_others_run_tasks_to_their_end_and_cancel_them,
    the_inspector_sees_what_its_token_may,
);

async fn the_clients_of_others_list_read_and_restart(place: &Place) {
    let Some(others) = Others::find() else { return };
    let stories = [
        ("ts-of-now", Language::TypeScript, "2026-07-28"),
        ("ts-of-before", Language::TypeScript, "legacy"),
        ("python-of-now", Language::Python, "2026-07-28"),
        ("python-of-before", Language::Python, "legacy"),
    ];
    // New pods take a while, so that there is progress to see.
    let services = stories.map(|(name, _, _)| deployment(name, 2).once_restarted("slow:1"));
    place.run(&services.each_ref()).await;
    let gateway = Gateway::start(place, Settings::of(place, &stories.map(|(name, _, _)| name))).await;
    let token = gateway.settings.token("ada", "sre");
    for ((name, language, version), service) in stories.into_iter().zip(&services) {
        let before = Before::of(place, service).await;
        let seen = others.look(language, &gateway.client.url, &token, version, name).await;
        let spoken = if version == "legacy" { "2025-11-25" } else { version };
        assert_eq!(seen["protocol"], spoken, "{name} {seen:#}");
        check(&seen, name);
        let run = seen["restart"]["structured"]["run"].as_str().unwrap();
        before.verify(place, service, &gateway.client.run(run).await).await;
    }
    assert!(gateway.stop().await);
}

/// What each of them sees.
fn check(seen: &Value, service: &str) {
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
    let completed = seen["completed"].as_array().unwrap();
    assert!(completed.contains(&json!(service)), "{seen:#}");
}

async fn the_clients_of_others_run_tasks_to_their_end_and_cancel_them(place: &Place) {
    let Some(others) = Others::find() else { return };
    let stories = [(Language::TypeScript, "ts", "ts-stuck"), (Language::Python, "python", "python-stuck")];
    let services = stories.map(|(_, name, _)| deployment(name, 2).once_restarted("slow:1"));
    let stuck = stories.map(|(_, _, name)| deployment(name, 2).once_restarted("never-ready"));
    place.run(&services.each_ref()).await;
    place.run(&stuck.each_ref()).await;
    let allowed: Vec<&str> = stories.iter().flat_map(|(_, name, stuck)| [*name, *stuck]).collect();
    let gateway = Gateway::start(place, Settings::of(place, &allowed)).await;
    let token = gateway.settings.token("ada", "sre");
    for ((language, name, stuck), service) in stories.into_iter().zip(&services) {
        let before = Before::of(place, service).await;
        let seen = others.run_tasks(language, &gateway.client.url, &token, name, stuck).await;
        assert_eq!(seen["kind"], "task", "{language:?} {seen:#}");
        assert_eq!(seen["result"]["isError"], false, "{language:?} {seen:#}");
        let result = &seen["result"]["structured"];
        assert_eq!((&result["state"], &result["run"]), (&json!("succeeded"), &seen["task"]), "{seen:#}");
        assert_eq!(&seen["again"], result, "{language:?}");
        // It was polled while the pods were replaced.
        assert!(seen["states"].as_array().unwrap().contains(&json!("running")), "{seen:#}");
        before.verify(place, service, &gateway.client.run(result["run"].as_str().unwrap()).await).await;

        let stuck = &seen["stuck"];
        let (state, ended) = (&json!("working"), &json!("cancelled"));
        assert_eq!((&stuck["before"], &stuck["outcome"], &stuck["after"]), (state, ended, ended), "{seen:#}");
        assert_eq!(gateway.client.run(stuck["task"].as_str().unwrap()).await["state"], "cancelled");
    }
    assert!(gateway.stop().await);
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
