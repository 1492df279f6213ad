//! `astradesk audit` on the command line: databases, keys, exports and checkpoints.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: a failed unwrap is a failed test"
)]

use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A cluster that nobody asks for anything.
const KUBECONFIG: &str = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "none",
"clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}], "users": [{"name": "none", "user": {}}],
"contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}]}"#;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kubeconfig"), KUBECONFIG).unwrap();
    folder
}

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_astradesk"));
    command.current_dir(folder).env_clear().env("HOME", folder).stdin(Stdio::null());
    command.env("KUBECONFIG", folder.join("kubeconfig")).env("ASTRADESK_STORE_PATH", folder.join("state"));
    command
}

fn run(command: &mut Command, arguments: &[&str]) -> (i32, String) {
    let output = command.args(arguments).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), said)
}

fn json(command: &mut Command, arguments: &[&str]) -> Value {
    let (_, said) = run(command, &[&["-o", "json"], arguments].concat());
    serde_json::from_str(&said).unwrap_or_else(|_| panic!("{arguments:?}: {said}"))
}

/// Puts something on record, and a checkpoint behind it.
fn record(folder: &Path) {
    let (code, said) = run(&mut program(folder), &["call", "no_such_tool"]);
    assert_eq!(code, 1, "{said}");
}

/// A gateway over the state of a folder.
struct Gateway(Child, String);

impl Gateway {
    fn start(folder: &Path) -> Self {
        let mut serve = program(folder);
        serve.args(["serve", "--dev", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped());
        let mut gateway = serve.spawn().unwrap();
        let mut lines = BufReader::new(gateway.stderr.take().unwrap()).lines().map(|line| line.unwrap());
        let said = lines.find(|line| line.contains("serving")).unwrap();
        // The rest is read, so that the gateway does not wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self(gateway, format!("http://{}", said.split("address=").nth(1).unwrap().trim()))
    }

    fn ask(&self, folder: &Path) -> Command {
        let (_, token) = run(&mut program(folder), &["token", "--subject", "ada", "--role", "sre"]);
        let mut command = program(folder);
        command.env("ASTRADESK_SERVER", &self.1).env("ASTRADESK_TOKEN", token.trim());
        // It has another loopback, and nothing is there to be asked.
        command.env("HTTP_PROXY", "http://127.0.0.1:1").env("http_proxy", "http://127.0.0.1:1");
        command
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn what_a_gateway_keeps_is_verified_with_every_checkpoint_of_it() {
    let folder = folder();
    let folder = folder.path();
    record(folder);
    record(folder);
    let gateway = Gateway::start(folder);
    let verified = json(&mut gateway.ask(folder), &["audit", "verify"]);
    assert!(verified["checkpoints"].as_u64().unwrap() >= 3, "two kept and a fresh one: {verified}");
    let (code, said) = run(&mut gateway.ask(folder), &["audit", "export", "--file", "export.jsonl"]);
    assert_eq!(code, 0, "{said}");
    let exported = json(&mut program(folder), &["audit", "verify", "--file", "export.jsonl"]);
    assert!(exported["checkpoints"].as_u64().unwrap() >= 3, "{exported}");
    let first = std::fs::read_to_string(folder.join("export.jsonl")).unwrap();
    let checkpoint = first
        .lines()
        .find_map(|line| serde_json::from_str::<Value>(line).unwrap().get("checkpoint").cloned());
    assert!(checkpoint.unwrap()["key"].is_string(), "{first}");
}

#[test]
fn the_key_beside_a_database_is_trusted_at_home_only() {
    let folder = folder();
    let folder = folder.path();
    record(folder);
    let own = folder.join("state/astradesk.db");
    let verified = json(&mut program(folder), &["audit", "verify", "--database", own.to_str().unwrap()]);
    assert_eq!((&verified["verified"], &verified["key_trusted"]), (&true.into(), &true.into()), "{verified}");

    std::fs::create_dir(folder.join("copy")).unwrap();
    for name in std::fs::read_dir(folder.join("state")).unwrap().map(|entry| entry.unwrap().file_name()) {
        std::fs::copy(folder.join("state").join(&name), folder.join("copy").join(&name)).unwrap();
    }
    let copy = ["audit", "verify", "--database", "copy/astradesk.db"];
    let verified = json(&mut program(folder), &copy);
    assert_eq!(
        (&verified["verified"], &verified["key_trusted"]),
        (&true.into(), &false.into()),
        "{verified}"
    );
    let (code, said) = run(&mut program(folder), &copy);
    assert_eq!((code, said.contains("the key came with the evidence")), (0, true), "{said}");

    std::fs::remove_file(folder.join("copy/evidence.key")).unwrap();
    let (code, said) = run(&mut program(folder), &copy);
    assert_eq!((code, said.contains("--key")), (2, true), "{said}");
    let key = verified["key"].as_str().unwrap();
    let verified = json(&mut program(folder), &[&copy[..], &["--key", key]].concat());
    assert_eq!((&verified["verified"], &verified["key_trusted"]), (&true.into(), &true.into()), "{verified}");
}

#[test]
fn what_is_left_after_pruning_is_exported_from_where_it_begins() {
    let folder = folder();
    let folder = folder.path();
    record(folder);
    let (code, said) = run(&mut program(folder), &["audit", "prune", "--before", "2126-01-01", "--yes"]);
    assert_eq!(code, 0, "{said}");
    record(folder);
    let first = json(&mut program(folder), &["audit", "verify"])["first"].as_u64().unwrap();
    assert!(first > 1, "nothing was removed");
    let after = (first - 1).to_string();
    let (code, said) =
        run(&mut program(folder), &["audit", "export", "--after", &after, "--file", "export.jsonl"]);
    assert_eq!(code, 0, "{said}");
    let verified = json(&mut program(folder), &["audit", "verify", "--file", "export.jsonl"]);
    assert_eq!((&verified["verified"], &verified["cut"]), (&true.into(), &true.into()), "{verified}");
}

#[tokio::test]
async fn a_record_that_searches_do_not_find_is_named() {
    let folder = folder();
    let folder = folder.path();
    record(folder);
    let database = folder.join("state/astradesk.db");
    let verify = ["audit", "verify"];
    let file = [&verify[..], &["--database", database.to_str().unwrap()]].concat();
    for arguments in [&verify[..], &file] {
        let (code, said) = run(&mut program(folder), arguments);
        assert_eq!(code, 0, "{said}");
    }
    let mut connection =
        SqliteConnection::connect(&format!("sqlite://{}", database.display())).await.unwrap();
    sqlx::query("UPDATE evidence SET kind = 'read.finished' WHERE seq = 1")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    for arguments in [&verify[..], &file] {
        let (code, said) = run(&mut program(folder), arguments);
        assert_ne!(code, 0, "{said}");
        assert!(said.contains("evidence.broken record 1: the kind, run or time"), "{said}");
    }
}
