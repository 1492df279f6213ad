//! The `KeywordPlanner`, sentence by sentence.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap in a test is a failed test")]

use astradesk_core::canonical;
use astradesk_core::tool::{Effect, Form, Grammar, Measure, Slot};
use astradesk_core::{Result, ToolName, ToolSpec};
use astradesk_runtime::planner::KeywordPlanner;
use astradesk_runtime::port::{Names, Planner};
use async_trait::async_trait;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Names, for a principal who may know them or not.
struct Inventory(bool);

#[async_trait]
impl Names for Inventory {
    async fn candidates(&self, _: &ToolName, _: &str) -> Result<Option<Vec<String>>> {
        Ok(self.0.then(|| ["payments-api", "secret-svc", "webapp"].map(str::to_owned).to_vec()))
    }

    async fn permitted(&self, _: &ToolName, _: &str, names: &[String]) -> Vec<String> {
        names.iter().filter(|name| *name != "secret-svc").cloned().collect()
    }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|&word| word.to_owned()).collect()
}

fn tool(name: &str, phrases: &[&str], slots: Vec<Slot>) -> Arc<ToolSpec> {
    Arc::new(ToolSpec {
        name: ToolName::parse(name).unwrap(),
        version: "1".into(),
        description: String::new(),
        effect: Some(Effect::Write),
        input_schema: json!({}),
        timeout: Duration::from_secs(1),
        grammar: Grammar {
            phrases: words(phrases),
            nouns: Vec::new(),
            slots,
            fillers: words(&["the", "service", "please", "usługę", "proszę"]),
        },
    })
}

fn value(of: Measure, after: &[&str]) -> Form {
    Form::Value { of, after: words(after), before: Vec::new() }
}

fn slot(argument: &str, form: Form) -> Slot {
    Slot { argument: argument.to_owned(), required: form == Form::Name, form, locates: false }
}

fn tools() -> Vec<Arc<ToolSpec>> {
    let restart = vec![
        slot("service", Form::Name),
        slot("namespace", value(Measure::Word, &["namespace", "in namespace", "w przestrzeni"])),
        slot("kind", Form::OneOf(vec![("statefulset".into(), json!("statefulset"))])),
        slot("timeout", value(Measure::Duration, &["timeout", "within"])),
        slot("accept_downtime", Form::Flag(words(&["accept downtime", "accepting downtime"]))),
    ];
    vec![
        tool("restart_service", &["restart", "bounce", "uruchom ponownie", "zrestartuj"], restart),
        tool(
            "get_service_status",
            &["status of", "status", "sprawdź", "what about"],
            vec![slot("service", Form::Name)],
        ),
        tool("list_services", &["list services"], vec![]),
    ]
}

async fn say(input: &str) -> String {
    match KeywordPlanner::default().plan(input, &tools(), &Inventory(true)).await {
        Ok(plan) => {
            let calls = plan.calls.iter().map(|call| {
                format!("{} {}", call.tool, canonical::text(&Value::Object(call.arguments.clone())))
            });
            calls.collect::<Vec<_>>().join(" | ")
        }
        Err(error) => {
            let candidates = error.details.get("candidates").map(ToString::to_string).unwrap_or_default();
            format!("{} {candidates}", error.code).trim_end().to_owned()
        }
    }
}

#[tokio::test]
async fn instructions_become_calls() {
    for (input, expected) in [
        ("restart webapp", r#"restart_service {"service":"webapp"}"#),
        ("  Please RESTART the WebApp service! ", r#"restart_service {"service":"webapp"}"#),
        ("please, restart webapp", r#"restart_service {"service":"webapp"}"#),
        ("uruchom ponownie usługę payments-api", r#"restart_service {"service":"payments-api"}"#),
        ("proszę zrestartuj webapp", r#"restart_service {"service":"webapp"}"#),
        (
            "restart the statefulset webapp within 90s accepting downtime",
            r#"restart_service {"accept_downtime":true,"kind":"statefulset","service":"webapp","timeout":"90s"}"#,
        ),
        ("restart ledger in namespace shop", r#"restart_service {"namespace":"shop","service":"ledger"}"#),
        ("restart webapp timeout 5min", r#"restart_service {"service":"webapp","timeout":"5m"}"#),
        (
            "restart webapp then restart payments-api",
            r#"restart_service {"service":"webapp"} | restart_service {"service":"payments-api"}"#,
        ),
        (
            "zrestartuj webapp i sprawdź payments-api",
            r#"restart_service {"service":"webapp"} | get_service_status {"service":"payments-api"}"#,
        ),
        (
            "restart webapp, payments-api",
            r#"restart_service {"service":"webapp"} | restart_service {"service":"payments-api"}"#,
        ),
        ("restart webapp, within 5m", r#"restart_service {"service":"webapp","timeout":"5m"}"#),
        ("within 5 minutes, restart webapp", r#"restart_service {"service":"webapp","timeout":"5m"}"#),
        ("what about webapp", r#"get_service_status {"service":"webapp"}"#),
        ("list services", "list_services {}"),
    ] {
        assert_eq!(say(input).await, expected, "{input}");
    }
}

#[tokio::test]
async fn nothing_is_guessed() {
    let names = r#"["payments-api","webapp"]"#;
    for (input, expected) in [
        ("restart the billing service", format!("plan.unknown_target {names}")),
        ("restart", format!("plan.missing_target {names}")),
        ("restart webapp payments-api", format!("plan.ambiguous_target {names}")),
        ("restart webapp quickly", "plan.ambiguous".into()),
        ("restart webapp timeout soon", "plan.ambiguous".into()),
        ("restart webapp timeout", "plan.ambiguous".into()),
        ("restart webapp timeout 5m timeout 6m", "plan.ambiguous".into()),
        ("restart webapp and payments", format!("plan.unknown_target {names}")),
        ("restart webapp and status", format!("plan.missing_target {names}")),
        ("restart status webapp", "plan.ambiguous".into()),
        ("restart bounce webapp", "plan.ambiguous".into()),
        ("restart webapp, restart webapp", "plan.ambiguous".into()),
        ("list services webapp", "plan.ambiguous".into()),
        ("do NOT restart webapp", "plan.negated".into()),
        ("please don’t restart webapp", "plan.negated".into()),
        ("nie restart webapp", "plan.negated".into()),
        ("restart webapp without downtime", "plan.negated".into()),
        ("should I restart webapp", "plan.not_an_instruction".into()),
        ("restart webapp?", "plan.not_an_instruction".into()),
        ("restart webapp ?", "plan.not_an_instruction".into()),
        ("restart webapp if latency is high", "plan.not_an_instruction".into()),
        ("restart webapp or payments-api", "plan.not_an_instruction".into()),
        ("he said \"restart webapp\"", "plan.not_an_instruction".into()),
        ("czy zrestartuj webapp", "plan.not_an_instruction".into()),
    ] {
        assert_eq!(say(input).await, expected, "{input}");
    }
    for input in [
        "please, webapp, restart it",
        "restart webapp and the service",
        "restart webapp, usługę",
        "in shop namespace restart webapp",
        "restart everything",
        "I restart webapp",
    ] {
        assert!(say(input).await.starts_with("plan.ambiguous"), "{input}: {}", say(input).await);
    }
    for input in ["make coffee", "webapp", "..."] {
        assert!(say(input).await.starts_with("plan.no_action [\"bounce\""), "{input}: {}", say(input).await);
    }
}

#[tokio::test]
async fn who_may_use_nothing_does_not_learn_which_names_exist() {
    for name in ["webapp", "secret-svc", "no-such"] {
        let plan = KeywordPlanner::default()
            .plan(&format!("restart {name}"), &tools(), &Inventory(false))
            .await
            .unwrap();
        assert_eq!(plan.calls[0].arguments["service"], name, "policy refuses each of them alike");
    }
}

proptest! {
    #[test]
    fn whatever_is_said_no_target_is_invented(input in "(restart|bounce|webapp|payments-api|and|the|,|not|if|\\PC{1,6}| ){0,12}") {
        let planned = tokio::runtime::Builder::new_current_thread().build().unwrap()
            .block_on(KeywordPlanner::default().plan(&input, &tools(), &Inventory(true)));
        if let Ok(plan) = planned {
            for call in plan.calls {
                if let Some(Value::String(service)) = call.arguments.get("service") {
                    let namespaced = call.arguments.contains_key("namespace");
                    prop_assert!(input.to_lowercase().contains(service.as_str()));
                    prop_assert!(namespaced || ["webapp", "payments-api", "secret-svc"].contains(&service.as_str()));
                }
            }
        }
    }
}
