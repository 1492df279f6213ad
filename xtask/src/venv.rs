//! Programs from PyPI, each in a virtual environment outside of the checkout.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::proc;
use crate::ui::{self, Pace};

/// Makes the environment in `folder` with what `requirement` names, once.
pub(crate) fn ensure(folder: &Path, what: &str, requirement: &str) -> Result<()> {
    // Written when everything is there.
    let complete = folder.join("complete");
    if complete.is_file() {
        return Ok(());
    }
    ui::stage(&format!("install {what} (once)"), Pace::Slow, || {
        let Some(python) = proc::find("python3") else { bail!("python3 is missing: install it") };
        proc::quiet(Command::new(python).args(["-m", "venv", "--clear"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", requirement]);
        proc::quiet(&mut pip)?;
        Ok(std::fs::write(&complete, "")?)
    })
}
