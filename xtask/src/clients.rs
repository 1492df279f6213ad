//! The MCP clients, and a server, that others wrote, for the tests: from npm and PyPI, into the cache, each set of versions once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cargo::root;
use crate::proc;
use crate::ui::{self, Pace};

/// The variable that tells the tests where they are.
pub(crate) const TEST_CLIENTS: &str = "ASTRADESK_TEST_MCP_CLIENTS";
/// What is installed, and what is run with it.
const SOURCE: &str = "tests/e2e/clients";
/// What says which versions.
const VERSIONS: [&str; 3] = ["package.json", "package-lock.json", "requirements.txt"];
/// Written when everything is there.
const COMPLETE: &str = "complete";

/// What is run there.
const SCRIPTS: [&str; 2] = ["agent.mjs", "tasks.mjs"];

/// The folder with `node_modules`, with Node itself, and `venv`; the scripts run in it, those of Python by it.
pub(crate) fn ensure(cache: &Path) -> Result<PathBuf> {
    let source = root().join(SOURCE);
    let folder = cache.join("mcp-clients");
    if !is_current(&source, &folder) {
        ui::stage("install MCP clients (once)", Pace::Slow, || install(&source, &folder, cache))?;
    }
    // A module finds its packages beside itself.
    for script in SCRIPTS {
        fs::copy(source.join(script), folder.join(script))
            .with_context(|| format!("cannot copy `{script}`"))?;
    }
    Ok(folder)
}

/// Whether what is installed is what the source says.
fn is_current(source: &Path, folder: &Path) -> bool {
    let same = |name: &&str| match (fs::read(source.join(name)), fs::read(folder.join(name))) {
        (Ok(wanted), Ok(there)) => wanted == there,
        _ => false,
    };
    folder.join(COMPLETE).is_file() && VERSIONS.iter().all(same)
}

fn install(source: &Path, folder: &Path, cache: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    for name in VERSIONS {
        fs::copy(source.join(name), folder.join(name)).with_context(|| format!("cannot copy `{name}`"))?;
    }
    let log = cache.join("mcp-clients.log");
    let Some(npm) = proc::find("npm") else { bail!("npm is missing: install it") };
    let mut npm = Command::new(npm);
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(folder);
    proc::logged(&npm, &log)?;
    let Some(python) = proc::find("python3") else { bail!("python3 is missing: install it") };
    let venv = folder.join("venv");
    proc::logged(Command::new(python).args(["-m", "venv"]).arg(&venv), &log)?;
    let mut pip = Command::new(venv.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"]);
    proc::logged(pip.current_dir(folder), &log)?;
    fs::write(folder.join(COMPLETE), "").context("cannot mark the clients as complete")
}
