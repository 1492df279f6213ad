//! The command line's grammar.

mod govern;

pub use govern::{Approvals, Audit, Explain, Export, Format, Packs, Policy, Selection, Verdict, Webhooks};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Operational actions for people and AI agents: allowed, done once, verified, with evidence.
///
/// Exit codes: 0 done, 1 failed, 2 usage, 3 denied, 4 approval needed, 5 outcome unknown, 6 unavailable.
#[derive(Debug, Parser)]
#[command(name = "astradesk", version, max_term_width = 110)]
pub struct Cli {
    /// The configuration file [default: `astradesk.toml` of the working folder, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "ASTRADESK_CONFIG")]
    pub config: Option<PathBuf>,

    /// Speak to this gateway instead of running the Engine here; the token is read from `ASTRADESK_TOKEN`
    #[arg(long, global = true, value_name = "URL", env = "ASTRADESK_SERVER")]
    pub server: Option<String>,

    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// One JSON document
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// See all of it in one go: an embedded cluster, a gateway, a restart, a denial, a failure, the evidence
    Demo(Demo),
    /// Run the gateway
    Serve(Serve),
    /// Say what to do: `astradesk run "restart webapp"`
    Run(Run),
    /// Call a tool directly: `astradesk call restart_service service=webapp`
    Call(Call),
    /// List the tools, or describe one
    Tools {
        /// The tool to describe
        name: Option<String>,
    },
    /// List, show, watch or cancel runs
    Runs {
        /// What to do with them [default: list]
        #[command(subcommand)]
        command: Option<Runs>,
    },
    /// List, show, approve or reject runs that await approval
    Approvals {
        /// What to do with them [default: list]
        #[command(subcommand)]
        command: Option<Approvals>,
    },
    /// List the packs, make one, check it, try its cases
    Packs {
        /// What to do [default: list]
        #[command(subcommand)]
        command: Option<Packs>,
    },
    /// Check, test or explain the policies
    #[command(subcommand)]
    Policy(Policy),
    /// Read and verify the evidence
    #[command(subcommand)]
    Audit(Audit),
    /// List what could not be told to a webhook, or tell it again
    Webhooks {
        /// What to do [default: dead]
        #[command(subcommand)]
        command: Option<Webhooks>,
    },
    /// Serve an AI agent over standard input and output, by the Model Context Protocol, on your own kubeconfig
    Mcp,
    /// Mint a token of the development issuer, for a gateway on loopback with `auth.dev`
    Token(Token),
    /// Run the embedded cluster alone
    Sandbox(Sandbox),
    /// Say what is configured, reachable and permitted, and what to do about the rest
    Doctor,
    /// Check or show the configuration
    #[command(subcommand)]
    Config(Config),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// `astradesk demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Leave the cluster and the gateway running until Ctrl-C
    #[arg(long)]
    pub keep: bool,
    /// Where the gateway listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
}

/// `astradesk serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// Where to listen [default: `server.listen`]
    #[arg(long)]
    pub listen: Option<SocketAddr>,
    /// Accept tokens of the development issuer; on loopback only
    #[arg(long)]
    pub dev: bool,
}

/// How a submission goes.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Submit {
    /// Plan, decide and preview only
    #[arg(long)]
    pub dry_run: bool,
    /// Repeating a request with the same key finds the first one's run
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Only with --server: print the run's id and do not wait for its end
    #[arg(long)]
    pub no_wait: bool,
    /// Wait also for approvals, if somebody else must agree
    #[arg(long, conflicts_with_all = ["no_wait", "dry_run"])]
    pub wait: bool,
    /// Why, for approvers and for the evidence
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Override guardrails, if policy permits that; needs a reason, and is loudly recorded
    #[arg(long)]
    pub break_glass: bool,
}

/// `astradesk run`
#[derive(Debug, Args)]
pub struct Run {
    /// The instruction; several words need no quotes
    #[arg(required = true, num_args = 1..)]
    pub input: Vec<String>,
    /// The agent that plans it
    #[arg(long, default_value = "ops")]
    pub agent: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "flattened: the fields carry the help")]
    pub submit: Submit,
}

/// `astradesk call`
#[derive(Debug, Args)]
pub struct Call {
    /// The tool
    pub tool: String,
    /// Its arguments; values are read by the tool's schema
    #[arg(value_name = "KEY=VALUE")]
    pub arguments: Vec<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "flattened: the fields carry the help")]
    pub submit: Submit,
}

/// `astradesk runs`
#[derive(Debug, Subcommand)]
pub enum Runs {
    /// List runs, newest first
    List {
        /// Only those in this state
        #[arg(long)]
        state: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
    },
    /// Show a run
    Show {
        /// The run's id
        id: String,
    },
    /// Watch a run until it ends
    Watch {
        /// The run's id
        id: String,
    },
    /// Ask for a run to be cancelled
    Cancel {
        /// The run's id
        id: String,
        /// Undo an effect that has begun; else it is left to go on unwatched
        #[arg(long)]
        undo: bool,
    },
}

/// `astradesk token`
#[derive(Debug, Args)]
pub struct Token {
    /// Who the token is for [default: the operating-system user]
    #[arg(long)]
    pub subject: Option<String>,
    /// The roles that it carries
    #[arg(long = "role", value_name = "ROLE", default_value = "sre")]
    pub roles: Vec<String>,
    /// How long it is valid, in minutes
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub minutes: u32,
}

/// `astradesk sandbox`
#[derive(Debug, Args)]
pub struct Sandbox {
    /// Where to listen; loopback only, port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Where to write the kubeconfig
    #[arg(long, value_name = "FILE", default_value = "sandbox.kubeconfig")]
    pub kubeconfig: PathBuf,
    /// Start without the demo's workloads
    #[arg(long)]
    pub empty: bool,
    /// Start with what a file says: workloads, users, faults, and what happens when
    #[arg(long, value_name = "FILE", conflicts_with = "empty")]
    pub scenario: Option<PathBuf>,
    /// Decides every random choice in the cluster's life
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
}

/// `astradesk config`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Check the configuration
    Check,
    /// Show every key with its value and where it came from
    Show,
}
