//! `astradesk mcp`: an agent at standard input and output, with the program itself on the sandbox.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: a failed unwrap is a failed test"
)]

use astradesk_sandbox::Sandbox;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, Implementation, ProtocolVersion,
    ReadResourceRequestParams,
};
use rmcp::service::{ClientLifecycleMode, RunningService};
use rmcp::{ClientServiceExt as _, RoleClient};
use serde_json::{Value, json};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

async fn place() -> (Sandbox, TempDir) {
    let sandbox = Sandbox::start(astradesk_sandbox::Config {
        objects: astradesk_sandbox::scenario::demo(),
        ..astradesk_sandbox::Config::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kubeconfig"), sandbox.kubeconfig()).unwrap();
    (sandbox, folder)
}

fn start(folder: &TempDir, roles: &str, errors: Stdio) -> Child {
    Command::new(env!("CARGO_BIN_EXE_astradesk"))
        .arg("mcp")
        .current_dir(folder.path())
        .env_clear()
        .env("HOME", folder.path())
        .env("KUBECONFIG", folder.path().join("kubeconfig"))
        .env("ALLOWED_SERVICES", "webapp")
        .env("ASTRADESK_LOCAL_ROLES", roles)
        .env("ASTRADESK_LOG_LEVEL", "trace")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

type Client = RunningService<RoleClient, ClientConfig>;

async fn connect(child: &mut Child, version: ProtocolVersion) -> Client {
    let pipes = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
    let config = ClientConfig::new(ClientCapabilities::default(), Implementation::new("test", "1"))
        .with_protocol_version(version.clone());
    let lifecycle = if version == ProtocolVersion::V_2026_07_28 {
        ClientLifecycleMode::Discover { preferred_versions: vec![version] }
    } else {
        ClientLifecycleMode::Initialize
    };
    config.serve_with_lifecycle(pipes, lifecycle).await.unwrap()
}

async fn call(client: &Client, tool: &str, arguments: &Value) -> CallToolResult {
    let params =
        CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments.as_object().unwrap().clone());
    client.call_tool(params).await.unwrap()
}

/// Restarts `webapp`, once the sandbox has rolled it out for the first time.
async fn restarted(client: &Client) -> Value {
    for _ in 0..200 {
        let result = call(client, "restart_service", &json!({"service": "webapp"})).await;
        let facts = result.structured_content.unwrap();
        if facts["error"]["code"] != "guard.rollout_in_progress" {
            return facts;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the sandbox does not come to rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_restarts_a_service_as_its_person_and_it_is_on_record() {
    let (_sandbox, folder) = place().await;
    for version in [ProtocolVersion::V_2026_07_28, ProtocolVersion::V_2025_11_25] {
        let mut child = start(&folder, "sre", Stdio::null());
        let client = connect(&mut child, version).await;
        let tools = client.list_all_tools().await.unwrap();
        let tools: Vec<&str> = tools.iter().map(|tool| &*tool.name).collect();
        let expected =
            ["get_events", "get_service_logs", "get_service_status", "list_services", "restart_service"];
        assert_eq!(tools, expected);
        let facts = restarted(&client).await;
        assert_eq!(facts["state"], "succeeded", "{facts}");
        let denied = call(&client, "restart_service", &json!({"service": "payments-api"})).await;
        assert_eq!(denied.structured_content.unwrap()["error"]["code"], "policy.target_not_allowed");
        let uri = format!("{}/evidence", facts["uri"].as_str().unwrap());
        let evidence = client.read_resource(ReadResourceRequestParams::new(uri)).await.unwrap();
        let text = json!(evidence)["contents"][0]["text"].as_str().unwrap().to_owned();
        let evidence: Value = serde_json::from_str(&text).unwrap();
        let admitted = &evidence["records"][0]["record"];
        assert_eq!(
            (&admitted["kind"], &admitted["data"]["source"]),
            (&json!("run.admitted"), &json!("mcp")),
            "{text}"
        );
        assert_eq!(admitted["principal"]["actor"], "mcp", "{text}");
        let prompts = client.list_all_prompts().await.unwrap();
        assert_eq!(prompts.len(), 3);
        drop(client);
        assert!(child.wait().await.unwrap().success(), "it ends with its client");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_protocol_is_written_to_standard_output() {
    let (_sandbox, folder) = place().await;
    let mut child = start(&folder, "intern", Stdio::piped());
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut errors = child.stderr.take().unwrap();
    let errors = tokio::spawn(async move {
        let mut text = String::new();
        errors.read_to_string(&mut text).await.unwrap();
        text
    });
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let restart =
        json!({"name": "restart_service", "arguments": {"service": "webapp", "marker": "not-to-be-logged"}});
    for (id, method, params) in [
        (json!(1), "initialize", hello),
        (Value::Null, "notifications/initialized", json!({})),
        (json!(2), "tools/list", json!({})),
        (json!(3), "tools/call", restart),
        (json!(4), "nobody/knows", json!({})),
    ] {
        let mut message = json!({"jsonrpc": "2.0", "method": method, "params": params});
        let answered = !id.is_null();
        if answered {
            message["id"] = id.clone();
        }
        input.write_all(format!("{message}\n").as_bytes()).await.unwrap();
        if answered {
            let line = output.next_line().await.unwrap().unwrap();
            let answer: Value = serde_json::from_str(&line).unwrap();
            assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &id), "{line}");
            if method == "tools/list" {
                assert_eq!(answer["result"]["tools"], json!([]), "an intern may use nothing");
            }
        }
    }
    drop(input);
    assert_eq!(output.next_line().await.unwrap(), None);
    assert!(child.wait().await.unwrap().success());
    let errors = errors.await.unwrap();
    assert!(!errors.is_empty(), "logs go to standard error");
    assert!(!errors.contains("not-to-be-logged"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_for_a_gateway_is_sent_there() {
    let (_sandbox, folder) = place().await;
    let output = Command::new(env!("CARGO_BIN_EXE_astradesk"))
        .args(["mcp", "--server", "http://127.0.0.1:1/"])
        .current_dir(folder.path())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{said}");
    assert!(said.contains("http://127.0.0.1:1/mcp"), "{said}");
}
