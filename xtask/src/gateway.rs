//! `astradesk serve --dev` as a process: what the bench measures and `chaos` kills.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::http::{Answer, Request};
use crate::proc::{self, Life};

/// How long it may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Between two questions whether it is.
const ASK_EVERY: Duration = Duration::from_micros(500);

/// The binary, and how it is to run.
pub(crate) struct Program {
    pub(crate) binary: PathBuf,
    pub(crate) kubeconfig: PathBuf,
    /// The folder of states and logs; the processes' working folder, too.
    pub(crate) work: PathBuf,
    /// The namespace that is managed.
    pub(crate) namespace: String,
    /// What may be restarted, separated by commas.
    pub(crate) allowed: String,
    /// What else is in its environment, such as what its packs name.
    pub(crate) environment: Vec<(&'static str, PathBuf)>,
}

/// A gateway's process.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    /// From before the process was started until `/readyz` had answered 200; zero before that.
    pub(crate) ready_after: Duration,
    pub(crate) state: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) child: Child,
    begun: Instant,
}

impl Program {
    /// The command with a configuration of defaults, but for the cluster and what may be restarted.
    pub(crate) fn command(&self, state: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ASTRADESK_") {
                command.env_remove(name);
            }
        }
        // No configuration file and no `.env` of the folder in which the task was started.
        command.current_dir(&self.work);
        command.env("ASTRADESK_STORE_PATH", state).env("KUBECONFIG", &self.kubeconfig);
        command.envs([("KUBERNETES_NAMESPACE", &self.namespace), ("ALLOWED_SERVICES", &self.allowed)]);
        command
            .env_remove("REQUIRED_ROLE_RESTART")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts it on a state folder, and does not wait.
    pub(crate) fn launch(&self, state: &Path, log: &Path) -> Result<Gateway> {
        let address = free_address()?;
        let mut command = self.command(state);
        command.args(["serve", "--dev", "--listen", &address.to_string()]);
        let begun = Instant::now();
        let child = proc::background(&command, log, Life::Bound)?;
        Ok(Gateway {
            address,
            pid: child.id(),
            ready_after: Duration::ZERO,
            state: state.to_owned(),
            log: log.to_owned(),
            child,
            begun,
        })
    }

    /// Starts it with a state folder of its own, and waits until it is ready.
    pub(crate) fn start(&self, name: &str) -> Result<Gateway> {
        let mut gateway = self.launch(&self.work.join(name), &self.work.join(format!("{name}.log")))?;
        while !gateway.is_ready()? {
            std::thread::sleep(ASK_EVERY);
        }
        Ok(gateway)
    }

    /// A token of the development issuer of this state folder.
    pub(crate) fn token(&self, state: &Path, subject: &str, minutes: u32) -> Result<String> {
        let mut command = self.command(state);
        command.args(["token", "--subject", subject, "--role", "sre", "--minutes", &minutes.to_string()]);
        Ok(proc::output(&mut command)?.trim().to_owned())
    }
}

impl Gateway {
    /// Whether it is ready; an error when it has ended or takes too long.
    pub(crate) fn is_ready(&mut self) -> Result<bool> {
        if get(self.address, "/readyz", &[]).is_ok_and(|answer| answer.status == 200) {
            self.ready_after = self.begun.elapsed();
            return Ok(true);
        }
        let what = if !proc::is_alive(self.pid as i32) {
            "has ended"
        } else if self.begun.elapsed() > READY_WITHIN {
            "is not ready"
        } else {
            return Ok(false);
        };
        bail!("the gateway {what}; the end of its log:\n{}", proc::tail(&self.log, 10));
    }

    pub(crate) fn stop(&self) {
        proc::end_all(&[(self.pid as i32, true)]);
    }
}

/// Where a tool is called.
pub(crate) fn call_path(tool: &str) -> String {
    format!("/v1/tools/{tool}/runs")
}

/// The value of `Authorization` with this token.
pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Reads a path.
pub(crate) fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    Request { method: "GET", path, headers, body: "" }.send(address)
}

/// An address on loopback with a port that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("there is no free port")?;
    listener.local_addr().context("a listener has no address")
}
