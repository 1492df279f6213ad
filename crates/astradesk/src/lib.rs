//! Operational actions for people and AI agents: allowed, done once, verified, with evidence.
//!
//! This crate is the outermost ring: configuration, wiring, the command line.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | every key, its default, and where its value comes from |
//! | [`app`] | the Engine put together from the configuration |
//! | [`door`] | one way to reach an Engine, embedded or behind a gateway |
//! | [`commands`] | one file a command |
//! | [`display`] | what a person sees |

pub mod app;
pub mod cli;
pub mod commands;
pub mod config;
pub mod display;
pub mod door;
mod exit;

use clap::Parser as _;
use std::process::ExitCode;

/// Runs the command line.
pub async fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; anything else is a usage error, exit 2.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let output = cli.output;
    match commands::run(cli).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            display::error(&error, output);
            ExitCode::from(exit::code(error.code))
        }
    }
}
