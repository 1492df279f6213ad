//! Development tasks: `cargo xtask --help`.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a tool for a terminal speaks to it")]

mod alertmanager;
mod ansible;
mod api;
mod bench;
mod cargo;
mod chaos;
mod check;
mod clients;
mod cluster;
mod conformance;
mod debian;
mod eval;
mod gateway;
mod http;
mod kubectl;
mod left_out;
mod litellm;
mod moto;
mod proc;
mod prometheus;
mod schemathesis;
mod test;
mod ui;
mod venv;

use std::process::ExitCode;

use clap::Parser;

/// Development tasks of AstraDesk Ops.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Run every test: doc tests, then all others, against a real control plane too
    Test(test::Options),
    /// Check format, lints, documentation, licences and the crate graph
    Check(check::Options),
    /// Measure the release build against a real control plane, with a peer beside it
    Bench(bench::Options),
    /// Kill gateways at random moments while clients ask, and check that nothing was lost or done twice
    Chaos(chaos::Options),
    /// Score what becomes of the sentences of tests/eval, by class
    Eval(eval::Options),
    /// Hold `/mcp` to the conformance suite of the Model Context Protocol
    Conformance,
    /// A real Kubernetes control plane on loopback
    #[command(subcommand)]
    Cluster(cluster::Command),
}

fn main() -> ExitCode {
    let result = proc::handle_signals().and_then(|()| match Task::parse() {
        Task::Test(options) => test::run(&options),
        Task::Check(options) => check::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Chaos(options) => chaos::run(&options),
        Task::Eval(options) => eval::run(&options),
        Task::Conformance => conformance::task(),
        Task::Cluster(command) => cluster::run(&command),
    });
    proc::end_everything();
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
