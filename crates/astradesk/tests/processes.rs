//! The program as its user has it: a process that is killed, another one that goes on, and what they say.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: a failed unwrap is a failed test"
)]

use astradesk_sandbox::{Config, Sandbox, scenario};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A folder with its state and its kubeconfig, and the cluster behind it.
struct Place {
    folder: TempDir,
    _sandbox: Sandbox,
}

impl Place {
    async fn new() -> Self {
        let objects = scenario::demo();
        let sandbox = Sandbox::start(Config { objects, ..Config::default() }).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kubeconfig"), sandbox.kubeconfig()).unwrap();
        Self { folder, _sandbox: sandbox }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.folder.path(), arguments);
        command
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .env("ASTRADESK_STORE_PATH", self.folder.path().join("state"))
            .env("ALLOWED_SERVICES", "webapp,search");
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["-o", "json"], arguments].concat()).await;
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments:?}: {output:?}"))
    }

    /// Starts a restart, and kills its process once the patch is on record. Gives the run's id.
    async fn killed_restart(&self, service: &str) -> String {
        let status = format!("service={service}");
        while !self.json(&["call", "get_service_status", &status]).await.to_string().contains("\"complete\"")
        {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        let mut command = self.command(&["run", "restart", service]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        for _ in 0..400 {
            let runs = self.json(&["runs"]).await;
            let run = &runs["runs"][0];
            if run["steps"][0]["step"] == "performed" {
                child.kill().unwrap();
                child.wait().unwrap();
                return run["id"].as_str().unwrap().to_owned();
            }
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed: {runs}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the restart was not begun within 10 s");
    }
}

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_astradesk"));
    command.args(arguments).current_dir(folder).env_clear().env("HOME", folder);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_is_watched_to_its_end() {
    let place = Place::new().await;
    let id = place.killed_restart("webapp").await;
    let watched = place.run(&["runs", "watch", &id]).await;
    assert_eq!(watched.status.code(), Some(0), "{}", said(&watched));
    assert!(said(&watched).contains("was restarted: all 3 pods are new"), "{}", said(&watched));
    let run = place.json(&["runs", "show", &id]).await;
    assert_eq!((&run["state"], &run["fence"]), (&"succeeded".into(), &2.into()), "{run}");
    let verified = place.run(&["audit", "verify"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
}

/// Answers one request with these bytes.
fn answer_once(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
    });
    server
}

#[test]
fn a_full_gateway_says_when_to_come_back() {
    let server = answer_once(
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\nconnection: close\r\n\
         content-type: application/problem+json\r\n\r\n\
         {\"code\":\"guard.queue_full\",\"detail\":\"2 runs wait\",\"remedy\":\"wait and repeat\"}",
    );
    let folder = tempfile::tempdir().unwrap();
    let output = program(folder.path(), &["--server", &server, "runs"]).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert!(said(&output).contains("guard.queue_full 2 runs wait"), "{}", said(&output));
    assert!(said(&output).contains("it may be repeated in 7 s"), "{}", said(&output));
}

#[test]
fn values_that_mean_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value, said_of_it) in [
        ("ASTRADESK_POLICY_ON_FAILURE", "perhaps", "perhaps"),
        ("ASTRADESK_LIMITS_RUN_MINUTES", "0", "limits.run_minutes"),
        ("ASTRADESK_LIMITS_RUN_MINUTES", "-1", "-1"),
        ("ASTRADESK_LIMITS_CONCURRENT_PER_TOOL", "0", "limits.concurrent_per_tool"),
        ("ASTRADESK_LIMITS_QUEUED_PER_TARGET", "many", "ASTRADESK_LIMITS_QUEUED_PER_TARGET"),
        ("ASTRADESK_KUBERNETES_REQUESTS_PER_SECOND", "0", "kubernetes.requests_per_second"),
        ("ASTRADESK_KUBERNETES_REQUEST_BURST", "0", "kubernetes.request_burst"),
    ] {
        let output = program(folder.path(), &["config", "check"]).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {}", said(&output));
        assert!(said(&output).contains("config.invalid"), "{name}={value}: {}", said(&output));
        assert!(said(&output).contains(said_of_it), "{name}={value}: {}", said(&output));
    }
}
