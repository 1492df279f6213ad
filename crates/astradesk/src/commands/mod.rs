//! One file a command.

mod approvals;
mod audit;
mod completions;
mod config;
mod demo;
mod doctor;
mod mcp;
mod packs;
mod policy;
mod runs;
mod sandbox;
mod serve;
mod submit;
mod token;
mod tools;
mod webhooks;

use crate::cli::{Cli, Command};
use crate::config::{Config, Sources, load};
use crate::door::Door;
use astradesk_core::Result;

/// Runs one command; gives the exit code.
pub async fn run(cli: Cli) -> Result<u8> {
    let context = Context { output: cli.output, server: cli.server, file: cli.config };
    match cli.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Serve(args) => serve::run(&context, args).await,
        Command::Run(args) => submit::say(&context, args).await,
        Command::Call(args) => submit::call(&context, args).await,
        Command::Tools { name } => tools::run(&context, name).await,
        Command::Runs { command } => runs::run(&context, command).await,
        Command::Approvals { command } => approvals::run(&context, command).await,
        Command::Packs { command } => packs::run(&context, command).await,
        Command::Policy(command) => policy::run(&context, command).await,
        Command::Webhooks { command } => webhooks::run(&context, command).await,
        Command::Audit(command) => audit::run(&context, command).await,
        Command::Mcp => mcp::run(&context).await,
        Command::Token(args) => token::run(&context, args),
        Command::Sandbox(args) => sandbox::run(args).await,
        Command::Doctor => doctor::run(&context).await,
        Command::Config(command) => config::run(&context, &command),
        Command::Completions { shell } => Ok(completions::run(shell)),
    }
}

/// What every command needs.
struct Context {
    output: crate::cli::Output,
    server: Option<String>,
    file: Option<std::path::PathBuf>,
}

impl Context {
    fn sources(&self) -> Result<Sources> {
        Sources::from_process(self.file.clone())
    }

    fn config(&self) -> Result<Config> {
        load(&self.sources()?).map(|(config, _)| config)
    }

    async fn door(&self) -> Result<Door> {
        // Logs of an embedded Engine would stand between the lines of the command: warnings only.
        serve::log_quietly();
        Door::open(&self.config()?, self.server.as_deref()).await
    }
}
