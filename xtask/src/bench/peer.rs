//! The peer: `kubernetes-mcp-server`, from npm, over MCP's Streamable HTTP.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::cluster::NAMESPACE;
use super::{load, memory};
use crate::gateway::free_address;
use crate::http::{self, Request};
use crate::proc::{self, Life};
use crate::ui::{self, Pace};

/// The package and its version.
pub(super) const PACKAGE: &str = "kubernetes-mcp-server@0.0.67";
/// How long it may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_micros(500);
/// What its transport asks a client to accept.
const ACCEPT: &str = "application/json, text/event-stream";

/// The peer's binary.
pub(super) struct Program {
    binary: PathBuf,
    kubeconfig: PathBuf,
    work: PathBuf,
}

/// The peer at work.
pub(super) struct Peer {
    address: SocketAddr,
    pid: u32,
    /// From before the process was started until `initialize` was answered.
    pub(super) answered_after: Duration,
    session: Option<String>,
}

impl Program {
    /// Installs it, once, into `cache`.
    pub(super) fn ensure(cache: &Path, kubeconfig: &Path, work: &Path) -> Result<Self> {
        let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let name = format!("kubernetes-mcp-server-linux-{machine}");
        // The program itself: the package's own launcher would add Node to its time and memory.
        let binary = cache.join("node_modules").join(&name).join("bin").join(&name);
        if !proc::is_program(&binary) {
            fs::create_dir_all(cache).with_context(|| format!("cannot create `{}`", cache.display()))?;
            ui::stage(&format!("install {PACKAGE}"), Pace::Quick, || {
                let mut npm = Command::new("npm");
                npm.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(cache).arg(PACKAGE);
                proc::logged(&npm, &work.join("npm.log"))
            })?;
        }
        ensure!(proc::is_program(&binary), "{PACKAGE} brought no `{}`", binary.display());
        Ok(Self { binary, kubeconfig: kubeconfig.to_owned(), work: work.to_owned() })
    }

    /// Starts it, and waits until it has answered `initialize`.
    pub(super) fn start(&self) -> Result<Peer> {
        let address = free_address()?;
        let mut command = Command::new(&self.binary);
        command.args(["--bind-address", "127.0.0.1", "--port", &address.port().to_string(), "--kubeconfig"]);
        command.arg(&self.kubeconfig).env("HOME", &self.work).current_dir(&self.work);
        let log = self.work.join("peer.log");
        let begun = Instant::now();
        let child = proc::background(&command, &log, Life::Bound)?;
        let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"},
        }})
        .to_string();
        let session = loop {
            if let Ok(answer) = post(address, None, &initialize)
                && answer.status == 200
            {
                break answer.header("Mcp-Session-Id").map(str::to_owned);
            }
            ensure!(
                begun.elapsed() < READY_WITHIN && proc::is_alive(child.id() as i32),
                "the peer does not answer; the end of its log:\n{}",
                proc::tail(&log, 10)
            );
            std::thread::sleep(ASK_EVERY);
        };
        let answered_after = begun.elapsed();
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
        let answer = post(address, session.as_deref(), &initialized)?;
        ensure!(
            (200..300).contains(&answer.status),
            "the peer answered `initialized` with {}",
            answer.status
        );
        Ok(Peer { address, pid: child.id(), answered_after, session })
    }
}

impl Peer {
    pub(super) fn stop(&self) {
        proc::end_all(&[(self.pid as i32, true)]);
    }

    pub(super) fn memory(&self) -> Result<memory::Memory> {
        memory::of(self.pid)
    }

    /// Reads a Deployment once; the answer must be that Deployment.
    pub(super) fn read(&self, deployment: &str) -> Result<()> {
        let answer = post(self.address, self.session.as_deref(), &get(deployment, "0"))?;
        let (status, text) = (answer.status, answer.text()?);
        ensure!(
            status == 200
                && text.contains(RESULT)
                && text.contains(deployment)
                && !text.contains("\"isError\":true"),
            "the peer answered {status}: {text}"
        );
        Ok(())
    }

    /// `tools/call resources_get` of a Deployment, as a load.
    pub(super) fn get_call(&self, deployment: &str) -> load::Call {
        self.load(get(deployment, ID), "availableReplicas")
    }

    /// `tools/list`, as a load.
    pub(super) fn tools_list(&self) -> load::Call {
        self.load(json!({"jsonrpc": "2.0", "id": ID, "method": "tools/list"}).to_string(), "\"tools\"")
    }

    fn load(&self, body: String, good: &'static str) -> load::Call {
        let mut headers: Vec<(String, String)> =
            vec![("Accept".into(), ACCEPT.into()), ("Content-Type".into(), "application/json".into())];
        headers.extend(self.session.clone().map(|session| ("Mcp-Session-Id".into(), session)));
        load::Call {
            url: format!("http://{}/mcp", self.address),
            method: "POST",
            headers,
            body,
            good: Some(good),
        }
    }
}

/// Where the load puts the number of a request.
const ID: &str = "@ID@";
/// What an answer with a result has.
const RESULT: &str = "\"result\"";

fn get(deployment: &str, id: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
        "name": "resources_get",
        "arguments": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": NAMESPACE, "name": deployment},
    }})
    .to_string()
}

fn post(address: SocketAddr, session: Option<&str>, body: &str) -> Result<http::Answer> {
    let mut headers = vec![("Accept", ACCEPT), ("Content-Type", "application/json")];
    headers.extend(session.map(|session| ("Mcp-Session-Id", session)));
    Request { method: "POST", path: "/mcp", headers: &headers, body }.send(address)
}
