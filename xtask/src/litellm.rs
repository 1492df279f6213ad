//! LiteLLM's proxy, from PyPI: a server of the OpenAI protocol that nobody here wrote, for the tests of the LLMPlanner.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cargo::root;
use crate::http::Request;
use crate::proc::{self, Life};
use crate::ui::{self, Pace};
use crate::venv;

/// The variable that tells the tests where it is.
pub(crate) const TEST_LITELLM: &str = "ASTRADESK_TEST_LITELLM";
/// The version that the planner is tested with.
const VERSION: &str = "1.108.7";

/// The models that it has, whose answers are fixed.
const CONFIGURATION: &str = "tests/e2e/litellm.yaml";
/// How long it may take to answer: it imports for many seconds, and longer where others build.
const READY_WITHIN: Duration = Duration::from_mins(5);

/// A proxy on loopback, which ends with this value.
pub(crate) struct Proxy {
    process: Child,
    /// The address to which `/chat/completions` is added.
    pub(crate) base_url: String,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = proc::kill(&mut self.process);
    }
}

/// Installs and starts one.
pub(crate) fn start(cache: &Path) -> Result<Proxy> {
    let program = ensure(cache)?;
    ui::stage("start LiteLLM's proxy", Pace::Slow, || {
        // Its own port 0 is taken for the default one.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let log = cache.join("litellm.log");
        let mut command = Command::new(&program);
        command.args(["--host", "127.0.0.1", "--num_workers", "1", "--port", &address.port().to_string()]);
        command.arg("--config").arg(root().join(CONFIGURATION)).env("HOME", cache);
        command.env("LITELLM_TELEMETRY", "False").env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
        let process = proc::background(&command, &log, Life::Bound)?;
        let mut proxy = Proxy { process, base_url: format!("http://{address}/v1") };
        let begun = Instant::now();
        while !is_alive(address) {
            anyhow::ensure!(
                proc::ended(&mut proxy.process)?.is_none(),
                "it has ended:\n{}",
                proc::tail(&log, 20)
            );
            anyhow::ensure!(begun.elapsed() < READY_WITHIN, "it does not answer:\n{}", proc::tail(&log, 20));
            std::thread::sleep(proc::POLL);
        }
        Ok(proxy)
    })
}

fn is_alive(address: SocketAddr) -> bool {
    let request = Request { method: "GET", path: "/health/liveliness", headers: &[], body: "" };
    request.send(address).is_ok_and(|answer| answer.status == 200)
}

/// The program, in an environment that is made once.
fn ensure(cache: &Path) -> Result<PathBuf> {
    let folder = cache.join(format!("litellm-{VERSION}"));
    venv::ensure(&folder, "LiteLLM's proxy", &format!("litellm[proxy]=={VERSION}"))?;
    Ok(folder.join("bin/litellm"))
}
