//! What `astradesk doctor` says of the language model that plans.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a failed unwrap is a failed test")]

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Command;

/// A server that has one answer for everything, and one connection for each; its address.
fn server(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head = BufReader::new(stream.try_clone().unwrap()).lines();
            head.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    address
}

/// What `doctor` finds with these settings, of the language model and of policies that ask who planned.
fn findings(base_url: &str, policy: Option<&str>) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_astradesk"));
    command.args(["-o", "json", "doctor"]).current_dir(folder.path()).env_clear().env("HOME", folder.path());
    command.env("ASTRADESK_AGENTS_OPS_PLANNER", "keyword_then_llm").env("ASTRADESK_LLM_MODEL", "small");
    command.env("ASTRADESK_LLM_BASE_URL", base_url).env("ASTRADESK_STORE_PATH", folder.path().join("state"));
    if let Some(policy) = policy {
        std::fs::write(folder.path().join("p.cedar"), policy).unwrap();
        command.env("ASTRADESK_POLICY_DIR", folder.path());
    }
    let said: Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let all = said["findings"].as_array().unwrap().iter();
    let all = all.map(|finding| (text(finding, "status"), text(finding, "what")));
    all.filter(|(_, what)| what.contains("language model")).collect()
}

#[test]
fn the_doctor_asks_for_the_models_and_whether_policy_asks_who_planned() {
    const AGREE: &str = "@id(\"agree\") forbid (principal, action in Action::\"write\", resource)\n\
                         when { context.planner == \"llm\" } unless { context.approvals.count >= 1 };";
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, status, said) in [
        (server("200 OK", r#"{"data":[{"id":"small"}]}"#), "good", "the language model `small` is at"),
        (server("200 OK", r#"{"data":[{"id":"large"}]}"#), "warning", "does not list `small`, but `large`"),
        (server("404 Not Found", ""), "warning", "answers, and lists no models"),
        (server("401 Unauthorized", ""), "bad", "llm.rejected"),
        (server("200 OK", "<html>"), "bad", "llm.answer_invalid"),
        (format!("http://{nowhere}/v1"), "bad", "llm.unreachable"),
    ] {
        let found = findings(&url, Some(AGREE));
        assert!(found.len() == 1 && found[0].0 == status && found[0].1.contains(said), "{said}: {found:?}");
    }
    let found = findings(&server("200 OK", r#"{"data":[{"id":"small"}]}"#), None);
    assert!(found.len() == 2 && found[1].1.starts_with("no policy asks who planned a call"), "{found:?}");
}
