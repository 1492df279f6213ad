//! The evaluation set: what becomes of sentences, class by class.

use std::process::ExitCode;

use anyhow::Result;

use crate::{cargo, ui};

/// `cargo xtask eval`: the table, and whether everything is what it must be.
pub(crate) fn task() -> Result<ExitCode> {
    ui::heading("eval");
    let status = cargo::cargo(&["run", "--quiet", "--package", "astradesk-eval"]).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
