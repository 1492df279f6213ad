//! An approval as its users have it: a gateway, somebody who asks, somebody who approves, and what they see.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: a failed unwrap is a failed test"
)]

use astradesk_sandbox::{Config, Sandbox, scenario};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;

const POLICY: &str = r#"@id("two_people")
forbid (principal, action in Action::"write", resource)
unless { context.approvals.hasTag("sre") && context.approvals.getTag("sre") >= 1 };
"#;

struct Place {
    folder: TempDir,
    gateway: Child,
    server: String,
    _sandbox: Sandbox,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.gateway.kill();
        let _ = self.gateway.wait();
    }
}

fn program(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_astradesk"));
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    command.current_dir(folder.path()).env_clear().env("HOME", folder.path());
    command.env("KUBECONFIG", path("kubeconfig")).env("ASTRADESK_STORE_PATH", path("state"));
    command.env("ASTRADESK_POLICY_DIR", path("policies")).env("ALLOWED_SERVICES", "webapp,reports");
    command
}

impl Place {
    async fn new() -> Self {
        let objects = scenario::demo();
        let sandbox = Sandbox::start(Config { objects, ..Config::default() }).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("policies")).unwrap();
        std::fs::write(folder.path().join("policies/prod.cedar"), POLICY).unwrap();
        std::fs::write(folder.path().join("kubeconfig"), sandbox.kubeconfig()).unwrap();
        let mut serve = program(&folder);
        serve.args(["serve", "--dev", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped());
        let (gateway, server) = tokio::task::spawn_blocking(move || {
            let mut gateway = serve.spawn().unwrap();
            let mut lines = BufReader::new(gateway.stderr.take().unwrap()).lines().map(|line| line.unwrap());
            let said = lines.find(|line| line.contains("serving")).unwrap();
            // The rest is read, so that the gateway does not wait for a reader.
            std::thread::spawn(move || lines.for_each(drop));
            (gateway, format!("http://{}", said.split("address=").nth(1).unwrap().trim()))
        })
        .await
        .unwrap();
        Self { folder, gateway, server, _sandbox: sandbox }
    }

    /// Runs a command as somebody with a role; gives the exit code and what was said.
    async fn run(&self, subject: &str, role: &str, arguments: &[&str]) -> (i32, String) {
        let mut token = program(&self.folder);
        token.args(["token", "--subject", subject, "--role", role]);
        let mut command = program(&self.folder);
        command.args(arguments).env("ASTRADESK_SERVER", &self.server).stdin(Stdio::null());
        tokio::task::spawn_blocking(move || {
            let token = String::from_utf8(token.output().unwrap().stdout).unwrap();
            let output = command.env("ASTRADESK_TOKEN", token.trim()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            (output.status.code().unwrap(), said + &String::from_utf8_lossy(&output.stderr))
        })
        .await
        .unwrap()
    }

    /// Somebody who watches a run, and has seen that it waits: what they are shown from then on.
    async fn watcher(&self, subject: &str, id: &str) -> Lines<BufReader<ChildStdout>> {
        let (_, token) = self.run(subject, "sre", &["token", "--subject", subject, "--role", "sre"]).await;
        let mut command = program(&self.folder);
        command.args(["runs", "watch", id]).env("ASTRADESK_SERVER", &self.server);
        command.env("ASTRADESK_TOKEN", token.trim()).stdin(Stdio::null()).stdout(Stdio::piped());
        tokio::task::spawn_blocking(move || {
            let mut lines = BufReader::new(command.spawn().unwrap().stdout.unwrap()).lines();
            assert!(lines.any(|line| line.unwrap().contains("has none")), "it does not wait");
            lines
        })
        .await
        .unwrap()
    }

    async fn json(&self, subject: &str, arguments: &[&str]) -> (i32, Value) {
        let (code, said) = self.run(subject, "sre", &[&["-o", "json"], arguments].concat()).await;
        (code, serde_json::from_str(&said).unwrap_or_else(|_| panic!("{arguments:?}: {said}")))
    }

    /// Asks for a restart; gives the run's id and its digest.
    async fn ask(&self, service: &str) -> (String, String) {
        let status = format!("service={service}");
        for _ in 0..200 {
            let (_, run) = self.json("ada", &["call", "get_service_status", &status]).await;
            if run.to_string().contains("\"complete\"") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
        let (code, run) = self.json("ada", &["run", "restart", service, "--reason", "it is slow"]).await;
        assert_eq!((code, &run["state"]), (4, &"awaiting_approval".into()), "{run}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&run["id"]), text(&run["approvals"]["digest"]))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_approves_what_they_saw() {
    let place = Place::new().await;
    let (id, digest) = place.ask("webapp").await;
    let prefix = &digest[..8];

    let (code, said) = place.run("bob", "sre", &["approvals", "show", &id]).await;
    assert_eq!(code, 0, "{said}");
    for part in [
        "asked by ada",
        "it is slow",
        "would replace all 3 pods",
        "two_people",
        "with     service=\"webapp\"",
        "asks for 1 approval by `sre` (two_people)",
        "1 approval by `sre`",
        &digest,
    ] {
        assert!(said.contains(part), "no `{part}` in\n{said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 110), "too wide:\n{said}");
    assert!(said.contains(&format!("approvals approve {id} --digest {prefix} --reason")), "{said}");

    let approve = |digest: &'static str| ["approvals", "approve", "", "--reason", "seen", "--digest", digest];
    let with = |mut arguments: [&'static str; 7], id: &'static str| {
        arguments[2] = id;
        arguments
    };
    let id: &'static str = id.leak();
    let own: &'static str = prefix.to_owned().leak();
    for (who, role, digest, code, said_of_it) in [
        ("ada", "sre", own, 3, "approval.by_self"),
        ("ADA", "sre", own, 3, "approval.by_self"),
        ("bob", "sre", "00000000", 1, "approval.digest_mismatch"),
        ("bob", "sre", "bad", 2, "first 8 characters"),
        ("eve", "intern", own, 1, "run.not_found"),
    ] {
        let (found, said) = place.run(who, role, &with(approve(digest), id)).await;
        assert_eq!((found, said.contains(said_of_it)), (code, true), "{who}: {said}");
    }
    let (code, said) = place.run("bob", "sre", &["approvals", "approve", id, "--reason", "seen"]).await;
    assert_eq!((code, said.contains("`--digest` is missing")), (2, true), "{said}");

    let watcher = place.watcher("ada", id).await;
    let (code, said) = place.run("bob", "sre", &with(approve(own), id)).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("all 3 pods are new"), "{said}");
    let shown = tokio::task::spawn_blocking(move || watcher.map_while(Result::ok).collect::<Vec<_>>());
    let shown = shown.await.unwrap().join("\n");
    assert!(shown.contains("bob approved it: 1 of 1 approval by `sre`"), "{shown}");
    assert!(shown.contains("all 3 pods are new"), "{shown}");
    let (code, said) = place.run("ada", "sre", &["audit", "show", id]).await;
    assert_eq!((code, said.contains("bob (roles sre")), (0, true), "{said}");
    let (code, said) = place.run("ada", "sre", &["audit", "verify"]).await;
    assert_eq!((code, said.contains("unbroken")), (0, true), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_ends_and_says_by_whom() {
    let place = Place::new().await;
    let (id, digest) = place.ask("webapp").await;
    let (code, said) = place.run("bob", "sre", &["approvals", "revoke", &id]).await;
    assert_eq!((code, said.contains("approval.not_given")), (1, true), "{said}");
    let reject = ["approvals", "reject", &id, "--digest", &digest, "--reason", "not during the sale"];
    let (code, said) = place.run("bob", "sre", &reject).await;
    assert_eq!((code, said.contains("rejected")), (0, true), "{said}");
    let (code, said) = place.run("ada", "sre", &["runs", "watch", &id]).await;
    assert_eq!((code, said.contains("`bob` rejected it: not during the sale")), (3, true), "{said}");
    let (code, said) = place.run("ada", "sre", &["audit", "show", &id]).await;
    assert_eq!((code, said.contains("asked for by two_people")), (0, true), "{said}");
    let (code, listed) = place.json("bob", &["approvals"]).await;
    assert_eq!((code, &listed["approvals"]), (0, &Value::Array(Vec::new())), "{listed}");
}
