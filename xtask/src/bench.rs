//! `cargo xtask bench`: the release build against a real control plane, with a peer beside it.
//!
//! [`cluster`] is what both work on, seen independently of them; [`gateway`] and [`peer`] are the two, [`ours`] and
//! [`theirs`] measure them; [`restart`] takes the time of a restart apart; [`load`] repeats a request, [`mcp`] makes those of that protocol; [`comparison`]
//! makes lines of it, [`figures`] a table and [`report`] prints it. [`scale`] is another bench: very many runs, on the
//! sandbox. [`policy`], [`executes`], [`evidence`] and [`sentences`] measure parts of the product from within, by the programs in
//! `xtask/benches`.

mod cluster;
mod comparison;
mod cpu;
mod evidence;
mod executes;
mod figures;
mod gateway;
mod load;
mod mcp;
mod memory;
mod ours;
mod peer;
mod policy;
mod report;
mod restart;
mod scale;
mod sentences;
mod theirs;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::ui::{self, Pace};
use crate::{cargo, cluster as control_plane, proc};
use cluster::Cluster;
use load::Generator;
use scale::Wanted;

/// How often a program is started.
const STARTS: usize = 10;
/// How often the Deployment is restarted, and kubectl's with it.
const RESTARTS: usize = 12;
/// How long a program is left alone before its idle memory is read.
const IDLE: Duration = Duration::from_secs(3);
/// How long each load runs before it is measured, in seconds.
const WARM_UP: u32 = 2;

/// How to measure.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "a flag of a command line is a `bool`")]
pub(crate) struct Options {
    /// Measure kubernetes-mcp-server (npm) beside it; this is the default
    #[arg(long, overrides_with = "no_peer")]
    peer: bool,
    /// Leave the peer out, and npm with it
    #[arg(long)]
    no_peer: bool,
    /// How long each load runs, in seconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Measure this build of astradesk instead of building one
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Measure instead how a killed gateway with so many unfinished runs recovers, on the sandbox (minutes)
    #[arg(long, value_name = "RUNS", num_args = 0..=1, default_missing_value = "10000")]
    recovery: Option<usize>,
    /// Measure instead so many rollouts at once, on the sandbox
    #[arg(long, value_name = "RUNS", num_args = 0..=1, default_missing_value = "1000")]
    crowd: Option<usize>,
    /// Measure instead the sandbox: its start, 15,000 pods, and 1,000 rollouts at once
    #[arg(long)]
    sandbox: bool,
    /// Measure instead what a decision takes with many policies, with the same rules in Rego beside it
    #[arg(long)]
    policy: bool,
    /// Measure instead how many executes a second have their evidence on disk before their effect
    #[arg(long)]
    executes: bool,
    /// Measure instead how fast so many records of evidence are verified, and in how much memory (1 KB each on the disk)
    #[arg(long, value_name = "RECORDS", num_args = 0..=1, default_missing_value = "1000000")]
    evidence: Option<u64>,
    /// Measure instead how fast sentences are planned or refused
    #[arg(long)]
    sentences: bool,
}

/// Measures what is wanted and prints the table; a missed aim is no failure.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    ui::heading("bench");
    // On the disk of the checkout, not in memory: the evidence is to be durable.
    let work = cargo::target_directory()?.join(format!("xtask-bench-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("cannot create `{}`", work.display()))?;
    proc::remove_at_end(&work);
    let wanted = Wanted { recovery: options.recovery, crowd: options.crowd, sandbox: options.sandbox };
    if wanted.is_something() {
        let binary = cargo::release_binary(options.binary.as_deref())?;
        let busy = report::load_average();
        let (rows, notes) = scale::measure(&binary, &work, wanted)?;
        report::print(&rows, &notes, &work, &busy)?;
    } else if options.policy || options.executes || options.evidence.is_some() || options.sentences {
        let busy = report::load_average();
        let (mut rows, mut notes) = (Vec::new(), Vec::new());
        if options.policy {
            policy::measure()?.tell(&mut rows, &mut notes);
        }
        if options.executes {
            executes::measure(&work, options.seconds)?.tell(&mut rows, &mut notes);
        }
        if let Some(records) = options.evidence {
            evidence::measure(&work, records)?.tell(&mut rows, &mut notes);
        }
        if options.sentences {
            sentences::measure(options.seconds)?.tell(&mut rows, &mut notes);
        }
        report::print(&rows, &notes, &work, &busy)?;
    } else {
        compare(options, &work)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// AstraDesk and a peer on a real control plane.
fn compare(options: &Options, work: &Path) -> Result<()> {
    let with_peer = options.peer || !options.no_peer;
    let log = work.join("install.log");
    let kubectl = tools::ensure("kubectl", "kubernetes-client", &log)?;
    let generator = Generator::new(tools::ensure("wrk", "wrk", &log)?, work)?;
    if with_peer {
        tools::ensure("npm", "npm", &log)?;
    }
    let binary = cargo::release_binary(options.binary.as_deref())?;
    let ready = control_plane::prepare()?;
    let busy = report::load_average();
    control_plane::with(&ready, |kubeconfig| {
        let cluster = Cluster::new(kubeconfig, kubectl, work)?;
        ui::stage(&format!("make {} pods ready", cluster::pods()), Pace::Slow, || cluster.populate())?;
        let ours = ours::measure(&binary, &cluster, &generator, work, options.seconds)?;
        let (restarts, verified) =
            ui::stage("kubectl rollout restart", Pace::Slow, || restart::kubectl(&cluster, RESTARTS))?;
        let theirs = if with_peer {
            let cache = control_plane::cache()?.join("bench-peer");
            Some(theirs::measure(&cache, &cluster, &generator, work, options.seconds)?)
        } else {
            None
        };
        let rows = comparison::rows(&ours, (&restarts, &verified), theirs.as_ref());
        let notes = comparison::notes(options.seconds, &ours, theirs.as_ref());
        report::print(&rows, &notes, work, &busy)
    })?;
    Ok(())
}
