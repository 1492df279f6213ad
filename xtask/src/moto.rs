//! moto's server, from PyPI: AWS as somebody else has rebuilt it, for the tests of its tools.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::http::Request;
use crate::ui::{self, Pace};
use crate::{proc, venv};

/// The variable that tells the tests where it is.
pub(crate) const TEST_AWS: &str = "ASTRADESK_TEST_AWS";
/// The version that the tools are tested with.
const VERSION: &str = "5.2.5";
/// How long it may take to answer: it imports for seconds, and longer where others build.
const READY_WITHIN: Duration = Duration::from_mins(3);

/// A server on loopback, which ends with this value.
pub(crate) struct Moto {
    process: Child,
    /// Its address.
    pub(crate) url: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = proc::kill(&mut self.process);
    }
}

/// Installs and starts one.
pub(crate) fn start(cache: &Path) -> Result<Moto> {
    let program = ensure(cache)?;
    ui::stage("start moto", Pace::Slow, || {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let log = cache.join("moto.log");
        let mut command = Command::new(&program);
        command.args(["--host", "127.0.0.1", "--port", &address.port().to_string()]).env("HOME", cache);
        // So many tasks of each service run at once: the deployments of services with two are complete.
        command.env("MOTO_ECS_SERVICE_RUNNING", "2");
        let process = proc::background(&command, &log, proc::Life::Bound)?;
        let mut moto = Moto { process, url: format!("http://{address}") };
        let begun = Instant::now();
        while !is_alive(address) {
            let tail = || proc::tail(&log, 20);
            ensure!(proc::ended(&mut moto.process)?.is_none(), "it has ended:\n{}", tail());
            ensure!(begun.elapsed() < READY_WITHIN, "it does not answer:\n{}", tail());
            std::thread::sleep(proc::POLL);
        }
        Ok(moto)
    })
}

fn is_alive(address: SocketAddr) -> bool {
    let request = Request { method: "GET", path: "/moto-api/data.json", headers: &[], body: "" };
    request.send(address).is_ok_and(|answer| answer.status == 200)
}

fn ensure(cache: &Path) -> Result<PathBuf> {
    let folder = cache.join(format!("moto-{VERSION}"));
    venv::ensure(&folder, "moto", &format!("moto[server]=={VERSION}"))?;
    Ok(folder.join("bin/moto_server"))
}
