//! `cargo xtask cluster`: a real Kubernetes control plane on loopback.
//!
//! [`build`] gets the binaries from what [`source`] downloads, [`control_plane`] starts them, [`pids`] remembers what `stop` ends,
//! [`packages`] installs Debian's part, [`client`] asks the API server whether it is ready.

mod build;
mod client;
mod control_plane;
mod packages;
mod pids;
mod source;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

pub(crate) use build::cache;
pub(crate) use control_plane::{Ready, prepare};

use crate::kubectl;
use crate::proc::{self, Life};
use crate::ui;

/// The variable that tells the tests where the control plane is: its administrator's kubeconfig.
///
/// Beside it lies `kubeconfig-astradesk`, of a user without any right.
pub(crate) const TEST_CLUSTER: &str = "ASTRADESK_TEST_CLUSTER";

/// How the folder of a temporary control plane begins; its process's id follows.
const TEMPORARY: &str = "astradesk-cluster-";

/// What to do with the control plane.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Build its binaries, once, into ~/.cache/astradesk
    Build,
    /// Start one that stays, and print the path of its kubeconfig
    Start {
        #[command(flatten)]
        place: Place,
        /// The API server's port; the next two are etcd's; 0 takes free ones
        #[arg(long, default_value_t = 16_443)]
        port: u16,
    },
    /// Stop the one that `start` started
    Stop {
        #[command(flatten)]
        place: Place,
    },
    /// Start one in a temporary folder on free ports, run a command, stop it; ends with the command's code
    Run {
        /// The command; it finds `KUBECONFIG` and `ASTRADESK_TEST_CLUSTER` set
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

/// Where a control plane keeps its state.
#[derive(Args)]
pub(crate) struct Place {
    /// Its folder, for logs, keys and data (~/.cache/astradesk/cluster unless given)
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl Place {
    fn dir(&self) -> Result<PathBuf> {
        self.dir.clone().map_or_else(|| Ok(cache()?.join("cluster")), Ok)
    }
}

/// Does it.
pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Build => build::ensure().map(|_| ExitCode::SUCCESS),
        Command::Start { place, port } => {
            let port = Some(*port).filter(|&port| port != 0);
            let kubeconfig = control_plane::start(&prepare()?, &place.dir()?, port, Life::Detached)?;
            proc::let_go();
            println!("{}", kubeconfig.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Stop { place } => {
            let dir = place.dir()?;
            match pids::end(&dir) {
                0 => ui::note(&format!("no control plane runs in `{}`", dir.display())),
                count => ui::done(&format!("stopped {count} processes of `{}`", dir.display())),
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Run { command } => {
            let (program, arguments) = command.split_first().context("there is no command to run")?;
            with(&prepare()?, |kubeconfig| {
                let mut command = std::process::Command::new(program);
                command.args(arguments);
                if let Ok(kubectl) = kubectl::ensure(&cache()?) {
                    command.env(kubectl::TEST_KUBECTL, kubectl);
                }
                foreground(&mut command, kubeconfig)
            })
        }
    }
}

/// Starts a control plane in a temporary folder, hands its kubeconfig to `work`, and stops it whatever happens.
pub(crate) fn with<T>(ready: &Ready, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    remove_leftovers();
    let dir = std::env::temp_dir().join(format!("{TEMPORARY}{}", std::process::id()));
    proc::remove_at_end(&dir);
    let result =
        control_plane::start(ready, &dir, None, Life::Bound).and_then(|kubeconfig| work(&kubeconfig));
    pids::end(&dir);
    result
}

/// Removes the folders of runs that were killed: their process is gone.
fn remove_leftovers() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner =
            name.to_str().and_then(|name| name.strip_prefix(TEMPORARY)).and_then(|pid| pid.parse().ok());
        if owner.is_some_and(|pid| !proc::is_alive(pid)) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Runs a command that finds the control plane, to its end, on this terminal.
pub(crate) fn foreground(command: &mut std::process::Command, kubeconfig: &Path) -> Result<ExitCode> {
    command.env("KUBECONFIG", kubeconfig).env(TEST_CLUSTER, kubeconfig);
    Ok(proc::exit_code(proc::foreground(command)?))
}
