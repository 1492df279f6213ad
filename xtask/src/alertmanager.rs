//! The Alertmanager as Debian packages it, for the tests of its tools.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context as _, Result, ensure};

use crate::http::Request;
use crate::ui::{self, Pace};
use crate::{debian, proc};

/// The variable that tells the tests where it is.
pub(crate) const TEST_ALERTMANAGER: &str = "ASTRADESK_TEST_ALERTMANAGER";

/// Nobody is notified of anything.
const CONFIGURATION: &str =
    "route:\n  receiver: nobody\n  group_by: [namespace]\nreceivers:\n- name: nobody\n";
/// Where Debian's program looks for its templates, and the same place below its working folder: as many letters.
const TEMPLATES: (&[u8], &[u8]) =
    (b"/usr/share/prometheus/alertmanager", b"usr//share/prometheus/alertmanager");
/// How long it may take to answer.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// An Alertmanager on loopback, which ends with this value.
pub(crate) struct Alertmanager {
    process: Child,
    /// Its address.
    pub(crate) url: String,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = proc::kill(&mut self.process);
    }
}

/// Starts one, with no alert and no silence.
pub(crate) fn start(cache: &Path) -> Result<Alertmanager> {
    let folder = debian::unpacked(cache, "alertmanager", &["prometheus-alertmanager"])?;
    let program = relocated(&folder)?;
    ui::stage("start the Alertmanager", Pace::Quick, || {
        let state = cache.join(format!("alertmanager-{}", std::process::id()));
        fs::create_dir_all(&state)?;
        proc::remove_at_end(&state);
        let configuration = state.join("alertmanager.yml");
        fs::write(&configuration, CONFIGURATION)?;
        // It does not tell which port it got for port 0.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let log = cache.join("alertmanager.log");
        let mut command = Command::new(&program);
        command.current_dir(&folder).arg("--config.file").arg(&configuration);
        command.arg("--storage.path").arg(state.join("data"));
        // Without a cluster of its own kind it need not listen elsewhere.
        command.arg(format!("--web.listen-address={address}")).arg("--cluster.listen-address=");
        let process = proc::background(&command, &log, proc::Life::Bound)?;
        let mut alertmanager = Alertmanager { process, url: format!("http://{address}") };
        let begun = Instant::now();
        while !is_ready(address) {
            let tail = || proc::tail(&log, 20);
            ensure!(proc::ended(&mut alertmanager.process)?.is_none(), "it has ended:\n{}", tail());
            ensure!(begun.elapsed() < READY_WITHIN, "it does not answer:\n{}", tail());
            thread::sleep(proc::POLL);
        }
        Ok(alertmanager)
    })
}

fn is_ready(address: SocketAddr) -> bool {
    let request = Request { method: "GET", path: "/-/ready", headers: &[], body: "" };
    request.send(address).is_ok_and(|answer| answer.status == 200)
}

/// Debian's program, which finds its templates in the folder where it is started: nothing is installed, and nobody need
/// be root.
fn relocated(folder: &Path) -> Result<PathBuf> {
    let program = folder.join("alertmanager");
    if program.is_file() {
        return Ok(program);
    }
    let mut bytes = fs::read(folder.join("usr/bin/prometheus-alertmanager"))?;
    let (from, to) = TEMPLATES;
    let places: Vec<usize> =
        bytes.windows(from.len()).enumerate().filter(|(_, here)| *here == from).map(|(at, _)| at).collect();
    ensure!(!places.is_empty(), "Debian's Alertmanager does not name the folder of its templates any more");
    for at in places {
        bytes.get_mut(at..at + to.len()).context("a place is in the program")?.copy_from_slice(to);
    }
    let made = folder.join("alertmanager.new");
    fs::write(&made, bytes)?;
    fs::set_permissions(&made, fs::Permissions::from_mode(0o755))?;
    fs::rename(&made, &program)?;
    Ok(program)
}
