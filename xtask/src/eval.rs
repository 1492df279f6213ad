//! The evaluation set: what becomes of sentences, class by class.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::{cargo, ui};

/// What to score.
#[derive(Args)]
pub(crate) struct Options {
    /// Show instead what becomes of these
    sentences: Vec<String>,
}

/// `cargo xtask eval`: the table, and whether everything is what it must be.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    ui::heading("eval");
    let mut eval = cargo::cargo(&["run", "--quiet", "--package", "astradesk-eval", "--"]);
    let status = eval.args(&options.sentences).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
