//! `cargo xtask chaos`: gateways are killed at random moments while clients submit and repeat; in the end nothing
//! may be lost or done twice.
//!
//! [`place`] is where it happens, [`clients`] ask, [`siege`] kills. [`watch`] and [`history`] are what the cluster
//! tells of itself, [`evidence`] what AstraDesk says; [`check`] holds them against each other, without sharing
//! code with the Engine; [`report`] tells.

mod check;
mod clients;
mod evidence;
mod history;
mod place;
mod random;
mod report;
mod rest;
mod siege;
mod watch;

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use serde_json::Value;

use crate::gateway::Program;
use crate::ui::{self, Pace};
use crate::{cargo, cluster as control_plane, proc};
use check::Facts;
use clients::{Answer, Client, Field};
use place::Place;
pub(crate) use place::sandbox;
use random::Random;
use siege::{Plan, Siege};
use watch::Watch;

/// How many clients there are.
const CLIENTS: usize = 6;
/// Who they are; they take turns.
const PRINCIPALS: [&str; 2] = ["chaos-a", "chaos-b"];
/// For how long their tokens are good, in minutes.
const TOKEN_MINUTES: u32 = 12 * 60;

/// How much chaos.
#[derive(Args)]
pub(crate) struct Options {
    /// How often the gateway is killed on the sandbox; 0 leaves the sandbox out
    #[arg(long, default_value_t = 1000)]
    kills: usize,
    /// How often it is killed on the real control plane; 0 leaves that out
    #[arg(long, default_value_t = 200)]
    real_kills: usize,
    /// Decides every choice that is made here; random unless it is given
    #[arg(long)]
    seed: Option<u64>,
    /// How many gateways share the state folder, at most
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    replicas: u8,
    /// No more kills after so many minutes, at each place
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Run this build of astradesk instead of building one
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Does it at both places; a failure when anything was violated.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    // A map's hasher has keys at random.
    let seed = options.seed.unwrap_or_else(|| RandomState::new().hash_one(()) % 1_000_000_000);
    ui::heading(&format!("chaos, with the seed {seed}"));
    let binary = cargo::release_binary(options.binary.as_deref())?;
    // On the disk of the checkout, not in memory: what is committed is to be durable.
    let folder = cargo::target_directory()?.join(format!("xtask-chaos-{}", std::process::id()));
    let mut sound = true;
    if options.kills > 0 {
        let folder = create(folder.join("sandbox"))?;
        let place = sandbox(&binary, &folder)?;
        sound &= besiege(options, seed, options.kills, &binary, place, &folder)?;
    }
    if options.real_kills > 0 {
        let folder = create(folder.join("real"))?;
        sound &= control_plane::with(&control_plane::prepare()?, |kubeconfig| {
            let place = place::real(kubeconfig)?;
            besiege(options, seed, options.real_kills, &binary, place, &folder)
        })?;
    } else {
        ui::note("NOT on the real control plane: `--real-kills 0`");
    }
    if sound {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove `{}`", folder.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    ui::note(&format!("VIOLATED, with the seed {seed}; all logs are in `{}`", folder.display()));
    Ok(ExitCode::FAILURE)
}

fn create(folder: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&folder).with_context(|| format!("cannot create `{}`", folder.display()))?;
    Ok(folder)
}

/// Whether a restart can be asked to undo itself when its rollout fails.
fn offers_undo(program: &Program) -> Result<bool> {
    let mut command = program.command(&program.work.join("unused"));
    let said = proc::output(command.args(["tools", "restart_service", "-o", "json"]))?;
    let tool: Value = serde_json::from_str(&said).context("the tool is no JSON")?;
    Ok(tool.pointer("/input_schema/properties/on_failure").is_some())
}

/// Kills, lets it come to rest, checks and tells; whether everything held.
fn besiege(
    options: &Options,
    seed: u64,
    kills: usize,
    binary: &Path,
    mut place: Place,
    folder: &Path,
) -> Result<bool> {
    let began = Instant::now();
    let mut program = Program {
        binary: binary.to_owned(),
        kubeconfig: place.kubeconfig.clone(),
        work: folder.to_owned(),
        namespace: place::NAMESPACE.to_owned(),
        allowed: String::new(),
        environment: Vec::new(),
    };
    let undo = offers_undo(&program)?;
    if !undo {
        ui::note("`restart_service` has no `on_failure`: no rollout fails here, and none is undone");
        place.leave_out_failing();
    }
    program.allowed = place.allowed();
    ui::stage(&format!("make {} workloads on the {}", place.services.len(), place.name), Pace::Slow, || {
        place.populate(folder)
    })?;
    let state = folder.join("state");
    let tokens = PRINCIPALS.map(|subject| program.token(&state, subject, TOKEN_MINUTES));
    let tokens: Vec<String> = tokens.into_iter().collect::<Result<_>>()?;
    let field = Field::new(&place.services, tokens, undo);
    let mut random = Random::new(seed);
    let mut siege = Siege::new(program, &field, random.fork(), folder);
    let mut watch = Watch::start(&place.api, folder)?;
    let plan = Plan {
        kills,
        replicas: usize::from(options.replicas),
        until: Instant::now() + Duration::from_secs(options.minutes * 60),
    };
    let killing = Instant::now();
    let (answers, survived) = ui::stage(&format!("{kills} kills on the {}", place.name), Pace::Slow, || {
        with_clients(&field, &mut random, folder, |sending| siege.run(&plan, sending, &mut watch))
    })?;
    let killed = killing.elapsed();
    if siege.tally.kills < kills {
        ui::note(&format!("only {} kills of {kills}", siege.tally.kills));
    }
    let mut facts = Facts { answers, ..Facts::default() };
    let rested = survived.and_then(|()| {
        ui::stage("let it come to rest", Pace::Slow, || rest::rest(&mut siege, &mut watch, &mut facts))
    });
    if let Err(error) = rested {
        facts.processes.push(format!("{error:#}"));
    }
    rest::collect(&siege, &place, &mut facts)?;
    let (history, shown) = watch.finish()?;
    facts.history = history;
    if !shown {
        facts.processes.push("the watches do not show what is there".to_owned());
    }
    facts.processes.append(&mut siege.tally.wrong);
    let (violations, counts) = check::check(&facts);
    let report = report::Report {
        place: place.name,
        seed,
        tally: &siege.tally,
        facts: &facts,
        counts: &counts,
        violations: &violations,
        times: (killed, began.elapsed()),
    };
    println!("{}", report.table());
    for line in report.details() {
        println!("{line}");
    }
    Ok(violations.is_empty())
}

/// Does the work while the clients ask; what they were answered, and how the work ended.
fn with_clients<'a>(
    field: &'a Field<'a>,
    random: &mut Random,
    folder: &Path,
    work: impl FnOnce(&std::sync::mpsc::Receiver<()>) -> Result<()>,
) -> Result<(Vec<Answer>, Result<()>)> {
    let (sender, sending) = channel();
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Client::new(field, number, random.fork(), sender.clone(), folder)?);
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = clients.into_iter().map(|client| scope.spawn(move || client.run())).collect();
        let survived = work(&sending);
        field.stop.store(true, Ordering::Relaxed);
        let mut answers = Vec::new();
        for thread in threads {
            answers.extend(thread.join().map_err(|_| anyhow!("a client panicked"))?);
        }
        Ok((answers, survived))
    })
}
