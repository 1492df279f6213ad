//! `astradesk completions`

use crate::{cli, exit};
use clap::CommandFactory as _;

pub(super) fn run(shell: clap_complete::Shell) -> u8 {
    clap_complete::generate(shell, &mut cli::Cli::command(), "astradesk", &mut std::io::stdout());
    exit::DONE
}
