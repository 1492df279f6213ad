//! The programs that the bench needs beside the control plane's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::proc;
use crate::ui::{self, Pace};

/// The path of a program; its Debian package is installed when it is missing and this process may.
pub(super) fn ensure(program: &str, package: &str, log: &Path) -> Result<PathBuf> {
    if let Some(path) = proc::find(program) {
        return Ok(path);
    }
    let is_root = rustix::process::geteuid().is_root();
    if !is_root || proc::find("apt-get").is_none() {
        bail!("the bench needs `{program}`; install it (on Debian: `sudo apt-get install {package}`)");
    }
    ui::stage(&format!("install {package}"), Pace::Quick, || {
        for arguments in
            [&["update", "-qq"][..], &["install", "-qq", "-y", "--no-install-recommends", package]]
        {
            let mut apt = Command::new("apt-get");
            apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
            proc::logged(&apt, log)?;
        }
        Ok(())
    })?;
    proc::find(program).with_context(|| format!("`{package}` was installed and brought no `{program}`"))
}
