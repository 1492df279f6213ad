//! `cargo xtask bench`: the release build against a real control plane, with a peer beside it.
//!
//! [`cluster`] is what both work on, seen independently of them; [`gateway`] and [`peer`] are the two;
//! [`restart`] takes the time of a restart apart; [`load`] repeats a request; [`figures`] prints the table.

mod cluster;
mod figures;
mod gateway;
mod load;
mod memory;
mod peer;
mod restart;
mod tools;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::cargo;
use crate::gateway::{Gateway, Program};
use crate::ui::{self, Pace};
use crate::{cluster as control_plane, proc};
use cluster::Cluster;
use figures::{Aim, Better, Row, Sample};
use load::{CONNECTIONS, Generator, Outcome};

/// How often a program is started.
const STARTS: usize = 10;
/// How often the Deployment is restarted, and kubectl's with it.
const RESTARTS: usize = 12;
/// How long a program is left alone before its idle memory is read.
const IDLE: Duration = Duration::from_secs(3);
/// Reads of each connection's thread, whose answers and evidence are counted one by one.
const CHECKED_READS: u64 = 100;
/// How long each load runs before it is measured, in seconds.
const WARM_UP: u32 = 2;

/// How to measure.
#[derive(Args)]
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
}

/// What was measured of AstraDesk.
struct Ours {
    starts: Sample,
    idle: f64,
    watching: f64,
    loaded: f64,
    shares: restart::Shares,
    checked: u64,
    reads: Reads,
    tools: Outcome,
    database_mb: f64,
}

/// The load of reads, and what the evidence says of it.
struct Reads {
    outcome: Outcome,
    /// By the gateway's own count: calls answered with 200, and otherwise.
    answered: (u64, u64),
    /// Records that were added.
    recorded: u64,
}

/// What was measured of the others.
struct Theirs {
    starts: Sample,
    idle: f64,
    watching: f64,
    loaded: f64,
    reads: Outcome,
    tools: Outcome,
}

/// Measures everything and prints the table; a missed aim is no failure.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    ui::heading("bench");
    let with_peer = options.peer || !options.no_peer;
    let target = cargo::target_directory()?;
    // On the disk of the checkout, not in memory: the evidence is to be durable.
    let work = target.join(format!("xtask-bench-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("cannot create `{}`", work.display()))?;
    proc::remove_at_end(&work);
    let log = work.join("install.log");
    let kubectl = tools::ensure("kubectl", "kubernetes-client", &log)?;
    let generator = Generator::new(tools::ensure("wrk", "wrk", &log)?, &work)?;
    if with_peer {
        tools::ensure("npm", "npm", &log)?;
    }
    let binary = cargo::release_binary(options.binary.as_deref())?;
    let ready = control_plane::prepare()?;
    let busy = load_average();
    control_plane::with(&ready, |kubeconfig| {
        let cluster = Cluster::new(kubeconfig, kubectl, &work)?;
        ui::stage(&format!("make {} pods ready", cluster::pods()), Pace::Slow, || cluster.populate())?;
        let ours = measure_ours(&binary, &cluster, &generator, &work, options.seconds)?;
        let (restarts, verified) =
            ui::stage("kubectl rollout restart", Pace::Slow, || restart::kubectl(&cluster, RESTARTS))?;
        let theirs = if with_peer {
            Some(measure_theirs(
                &control_plane::cache()?.join("bench-peer"),
                &cluster,
                &generator,
                &work,
                options.seconds,
            )?)
        } else {
            None
        };
        let fsync = fsync_time(&work)?;
        print(options, &ours, &(restarts, verified), theirs.as_ref(), &fsync)?;
        // Somebody else's work cannot be told from ours in the figures: so it is told beside them.
        println!("load average of the machine before the bench began: {busy}");
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn measure_ours(
    binary: &Path,
    cluster: &Cluster,
    generator: &Generator,
    work: &Path,
    seconds: u32,
) -> Result<Ours> {
    let program = Program {
        binary: binary.to_owned(),
        kubeconfig: cluster.kubeconfig.clone(),
        work: work.to_owned(),
        namespace: cluster::NAMESPACE.to_owned(),
        allowed: cluster::RESTARTED.to_owned(),
    };
    let starts = ui::stage(&format!("start astradesk {STARTS} times"), Pace::Quick, || {
        let mut times = Vec::new();
        // The first brings the binary into the disk's cache.
        for time in 0..=STARTS {
            let gateway = program.start(&format!("start-{time}"))?;
            gateway.stop();
            if time > 0 {
                times.push(gateway.ready_after);
            }
        }
        Ok(Sample::millis(&times))
    })?;
    let gateway = program.start("state")?;
    std::thread::sleep(IDLE);
    let idle = gateway.memory()?.now;
    let token = program.token(&gateway.state, "bench", 60)?;
    gateway.read(&token, &cluster::bystander(0))?;
    std::thread::sleep(IDLE);
    let watching = gateway.memory()?.now;
    let shares = ui::stage(&format!("restart a deployment {RESTARTS} times"), Pace::Slow, || {
        restart::measure(cluster, &gateway, &token, RESTARTS)
    })?;
    let checked =
        ui::stage("check reads against the evidence", Pace::Quick, || check_reads(&gateway, &token))?;
    let reads = ui::stage(&format!("governed reads for {seconds} s"), Pace::Slow, || {
        load_reads(&gateway, &token, generator, seconds)
    })?;
    let loaded = gateway.memory()?.peak;
    let tools = ui::stage(&format!("lists of tools for {seconds} s"), Pace::Slow, || {
        generator.run(&gateway.tools_list(&token), seconds)
    })?;
    let database_mb = gateway.database_bytes() as f64 / 1e6;
    gateway.stop();
    Ok(Ours { starts, idle, watching, loaded, shares, checked, reads, tools, database_mb })
}

/// A fixed number of reads over as many connections as the load has: every answer must be 200 and of the
/// service asked for, and the evidence must grow by exactly their number.
fn check_reads(gateway: &Gateway, token: &str) -> Result<u64> {
    let before = gateway.evidence(token)?;
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..CONNECTIONS as usize)
            .map(|reader| {
                scope.spawn(move || {
                    (0..CHECKED_READS).try_for_each(|_| gateway.read(token, &cluster::bystander(reader)))
                })
            })
            .collect();
        readers.into_iter().try_for_each(|reader| {
            reader.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a reader panicked")))
        })
    })?;
    let (grown, reads) = (gateway.evidence(token)? - before, CHECKED_READS * u64::from(CONNECTIONS));
    ensure!(
        grown == reads,
        "{reads} reads were answered with 200, and the evidence has {grown} records more"
    );
    Ok(reads)
}

fn load_reads(gateway: &Gateway, token: &str, generator: &Generator, seconds: u32) -> Result<Reads> {
    let call = gateway.status_call(token, &cluster::bystander(0));
    generator.run(&call, WARM_UP)?;
    let counted = || {
        // Calls that the end of a load cut off are finished before this is answered.
        std::thread::sleep(Duration::from_millis(200));
        Ok::<_, anyhow::Error>((gateway.calls_answered()?, gateway.evidence(token)?))
    };
    let (answered_before, recorded_before) = counted()?;
    let outcome = generator.run(&call, seconds)?;
    let (answered, recorded) = counted()?;
    let reads = Reads {
        outcome,
        answered: (answered.0 - answered_before.0, answered.1 - answered_before.1),
        recorded: recorded - recorded_before,
    };
    // The end of the load cuts off at most one call of each connection, wherever it is just then.
    let cut_off = |more: u64, less: u64| more >= less && more - less <= u64::from(CONNECTIONS);
    ensure!(
        reads.answered.1 == 0
            && cut_off(reads.answered.0, outcome.answered)
            && cut_off(reads.recorded, outcome.answered),
        "wrk has {} answers, the gateway gave {} with 200 and {} others, and the evidence has {} records more",
        outcome.answered,
        reads.answered.0,
        reads.answered.1,
        reads.recorded
    );
    Ok(reads)
}

fn measure_theirs(
    cache: &Path,
    cluster: &Cluster,
    generator: &Generator,
    work: &Path,
    seconds: u32,
) -> Result<Theirs> {
    let program = peer::Program::ensure(cache, &cluster.kubeconfig, work)?;
    let starts = ui::stage(&format!("start {} {STARTS} times", peer::PACKAGE), Pace::Quick, || {
        let mut times = Vec::new();
        for time in 0..=STARTS {
            let peer = program.start()?;
            peer.stop();
            if time > 0 {
                times.push(peer.answered_after);
            }
        }
        Ok(Sample::millis(&times))
    })?;
    let peer = program.start()?;
    std::thread::sleep(IDLE);
    let idle = peer.memory()?.now;
    peer.read(&cluster::bystander(0))?;
    std::thread::sleep(IDLE);
    let watching = peer.memory()?.now;
    let reads = ui::stage(&format!("its resources_get for {seconds} s"), Pace::Slow, || {
        generator.run(&peer.get_call(&cluster::bystander(0)), seconds)
    })?;
    let tools = ui::stage(&format!("its tools/list for {seconds} s"), Pace::Slow, || {
        generator.run(&peer.tools_list(), WARM_UP)?;
        generator.run(&peer.tools_list(), seconds)
    })?;
    let loaded = peer.memory()?.peak;
    peer.stop();
    Ok(Theirs { starts, idle, watching, loaded, reads, tools })
}

fn print(
    options: &Options,
    ours: &Ours,
    (restarts, verified): &(Sample, Sample),
    theirs: Option<&Theirs>,
    fsync: &Sample,
) -> Result<()> {
    let rows = rows(ours, (restarts, verified), theirs);
    let missed: Vec<&str> =
        rows.iter().filter(|row| row.met() == Some(false)).map(|row| row.what.as_str()).collect();
    let date = proc::output(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]))?;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    println!("\n{}", figures::table(&rows));
    println!(
        "{}, {cores} cores ({}), shared by the control plane, the load generator and what is measured",
        date.trim(),
        processor.map_or("unknown", |(_, name)| name)
    );
    println!("a 4 KiB write with fsync takes {} on the disk of the evidence", fsync.shown("ms"));
    println!(
        "median (least–most) where something was measured several times; ratio: how many times better astradesk is\n"
    );
    for note in notes(options, ours, theirs) {
        println!("* {note}");
    }
    match missed.as_slice() {
        [] => println!("\nevery aim is met"),
        missed => println!("\nMISSED: {}", missed.join("; ")),
    }
    Ok(())
}

fn rows(ours: &Ours, (restarts, verified): (&Sample, &Sample), theirs: Option<&Theirs>) -> Vec<Row> {
    let one = |value: f64| Sample::of([value]);
    let row = |what: &str, unit, ours: Sample, peer: Option<Sample>, better, aim| Row {
        what: what.to_owned(),
        unit,
        ours,
        peer,
        better,
        aim,
    };
    let of = |figure: &dyn Fn(&Theirs) -> f64| theirs.map(|theirs| one(figure(theirs)));
    let reads = &ours.reads.outcome;
    let share = &ours.shares;
    vec![
        row(
            "start to ready",
            "ms",
            ours.starts.clone(),
            theirs.map(|t| t.starts.clone()),
            Better::Less,
            Aim::Most(100.0),
        ),
        row(
            "memory, idle after the start",
            "MB",
            one(ours.idle),
            of(&|t| t.idle),
            Better::Less,
            Aim::Most(40.0),
        ),
        row(
            "memory, idle after the first read",
            "MB",
            one(ours.watching),
            of(&|t| t.watching),
            Better::Less,
            Aim::Most(40.0),
        ),
        row("memory, most under load", "MB", one(ours.loaded), of(&|t| t.loaded), Better::Less, Aim::None),
        row("restart: own share", "ms", share.together.clone(), None, Better::Less, Aim::Most(50.0)),
        row("  request to PATCH sent", "ms", share.before.clone(), None, Better::Less, Aim::None),
        row("  rollout complete to run finished", "ms", share.after.clone(), None, Better::Less, Aim::None),
        row(
            "restart: whole, verified | kubectl rollout restart",
            "ms",
            share.whole.clone(),
            Some(restarts.clone()),
            Better::Unlike,
            Aim::None,
        ),
        row(
            "restart: whole, verified | … and rollout status",
            "ms",
            share.whole.clone(),
            Some(verified.clone()),
            Better::Unlike,
            Aim::None,
        ),
        row(
            "reads per second | resources_get",
            "/s",
            one(reads.per_second),
            of(&|t| t.reads.per_second),
            Better::More,
            Aim::Least(10_000.0),
        ),
        row("  p50", "ms", one(reads.p50), of(&|t| t.reads.p50), Better::Less, Aim::None),
        row("  p99", "ms", one(reads.p99), of(&|t| t.reads.p99), Better::Less, Aim::None),
        row(
            "  errors and time-outs",
            "",
            one(reads.errors() as f64),
            of(&|t| t.reads.errors() as f64),
            Better::Unlike,
            Aim::Most(0.0),
        ),
        row(
            "tools listed per second",
            "/s",
            one(ours.tools.per_second),
            of(&|t| t.tools.per_second),
            Better::More,
            Aim::None,
        ),
        row("  p50", "ms", one(ours.tools.p50), of(&|t| t.tools.p50), Better::Less, Aim::None),
        row("  p99", "ms", one(ours.tools.p99), of(&|t| t.tools.p99), Better::Less, Aim::None),
        row(
            "  errors and time-outs",
            "",
            one(ours.tools.errors() as f64),
            of(&|t| t.tools.errors() as f64),
            Better::Unlike,
            Aim::Most(0.0),
        ),
    ]
}

fn notes(options: &Options, ours: &Ours, theirs: Option<&Theirs>) -> Vec<String> {
    let (seconds, pods) = (options.seconds, cluster::pods());
    let mut notes = vec![
        format!("the cluster: a real control plane with {pods} pods, made ready by the stand-in kubelet"),
        format!(
            "start: `astradesk serve --dev` with a fresh state folder and a warm disk, from before the process is made to \
             200 from /readyz, {} times; memory: VmRSS {} s later, VmHWM after the load; 1 MB is a million bytes",
            ours.starts.count(),
            IDLE.as_secs()
        ),
        format!(
            "own share of a restart: from sending the request until a watch independent of astradesk sees the annotation, \
             less the API server's own median for a PATCH of the same object ({}); and from the moment at which such \
             watches have seen the rollout complete and the last old pod gone until the run's `succeeded` arrives by \
             server-sent events. The requests that astradesk makes to the API server before its PATCH are counted as \
             its own share. {} restarts of one Deployment of 3 pods",
            ours.shares.patch.shown("ms"),
            ours.shares.together.count()
        ),
        "kubectl rollout restart verifies nothing, rollout status does not wait for the old pods to be gone; astradesk \
         does both"
            .to_owned(),
        format!(
            "reads: POST /v1/tools/get_service_status/runs with a bearer token, policy and durable evidence, {CONNECTIONS} \
             connections, wrk with one thread for {seconds} s after {WARM_UP} s of warm-up. Before it {} checked reads grew the evidence by \
             exactly {0}. Of the load wrk counts {} answers, the gateway {} with 200 and {} others, the evidence {} records \
             (the load's end cuts off up to {CONNECTIONS} calls under way). The database has {:.0} MB after it",
            ours.checked,
            ours.reads.outcome.answered,
            ours.reads.answered.0,
            ours.reads.answered.1,
            ours.reads.recorded,
            ours.database_mb
        ),
    ];
    if let Some(theirs) = theirs {
        notes.push(format!(
            "the peer: {} over HTTP with no authentication, started to its first `initialize`; the same generator and \
             time; an answer after {} s is a time-out, one without a result an error: resources_get had {} answers, of \
             them {} wrong and {} late, and {} broken connections",
            peer::PACKAGE,
            load::TIMEOUT,
            theirs.reads.answered,
            theirs.reads.wrong,
            theirs.reads.late,
            theirs.reads.broken
        ));
    }
    notes
}

/// Of the last minute: how many others want the cores.
fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().filter(|text| !text.is_empty()).unwrap_or("unknown").to_owned()
}

/// How long a durable write takes here, without which no rate of durable evidence can be judged.
fn fsync_time(work: &Path) -> Result<Sample> {
    let mut file = File::create(work.join("fsync")).context("cannot write to the disk")?;
    let mut times = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        file.write_all(&[7; 4096]).and_then(|()| file.sync_data()).context("cannot write to the disk")?;
        times.push(begun.elapsed());
    }
    Ok(Sample::millis(&times))
}
