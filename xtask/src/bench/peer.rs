//! The peer: `kubernetes-mcp-server`, from npm, over MCP's Streamable HTTP.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::cluster::NAMESPACE;
use super::mcp::Session;
use super::{load, memory};
use crate::gateway::free_address;
use crate::proc::{self, Life};
use crate::ui::{self, Pace};

/// The package and its version.
pub(super) const PACKAGE: &str = "kubernetes-mcp-server@0.0.67";
/// How long it may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_micros(500);

/// The peer's binary.
pub(super) struct Program {
    binary: PathBuf,
    kubeconfig: PathBuf,
    work: PathBuf,
}

/// The peer at work.
pub(super) struct Peer {
    pid: u32,
    /// From before the process was started until `initialize` was answered.
    pub(super) answered_after: Duration,
    session: Session,
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
        let session = loop {
            if let Some(session) = Session::open(address, None)? {
                break session;
            }
            ensure!(
                begun.elapsed() < READY_WITHIN && proc::is_alive(child.id() as i32),
                "the peer does not answer; the end of its log:\n{}",
                proc::tail(&log, 10)
            );
            std::thread::sleep(ASK_EVERY);
        };
        let answered_after = begun.elapsed();
        Ok(Peer { pid: child.id(), answered_after, session })
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
        let text = self.session.call(GET, &of(deployment))?;
        ensure!(text.contains(deployment), "the peer answered with another Deployment: {text}");
        Ok(())
    }

    /// `tools/call resources_get` of a Deployment, as a load.
    pub(super) fn get_call(&self, deployment: &str) -> load::Call {
        self.session.calls(GET, &of(deployment), "availableReplicas")
    }

    /// `tools/list`, as a load.
    pub(super) fn tools_list(&self) -> load::Call {
        self.session.lists()
    }
}

/// Its tool that reads an object.
const GET: &str = "resources_get";

fn of(deployment: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "namespace": NAMESPACE, "name": deployment})
}
