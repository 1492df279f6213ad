//! A gateway is killed with very many unfinished runs, and started again.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::super::figures::{Aim, Row, number};
use super::super::{cpu, memory};
use super::relay::Passed;
use super::runs::{self, Runs, Standing};
use super::site::{Shape, Site};
use crate::gateway::Gateway;
use crate::proc;
use crate::ui::{self, Pace};

/// How long work may take to begin before the measurement is given up.
const BEGINS_WITHIN: Duration = Duration::from_mins(2);
/// How long the runs are followed, unless they have all ended before.
const FOLLOWED: Duration = Duration::from_mins(1);
/// Requests a second to the API server while the runs are admitted.
const PACE: usize = 10_000;
/// How long the API server's load is looked at.
const STORM: Duration = Duration::from_secs(10);

/// What was measured.
pub(super) struct Recovery {
    runs: usize,
    /// Until the last was admitted: the time, and the gateway's on the processors.
    admitted_in: (Duration, Duration),
    /// Patches until the kill, and the runs that had not ended then.
    patched: usize,
    unfinished: usize,
    ready_after: Duration,
    first_patch: Duration,
    load: Load,
    /// How long the runs were followed, and how they stood then.
    followed: Duration,
    standing: Standing,
    /// The most patches that one Deployment had, over both lives.
    most_patches: usize,
    memory_mb: f64,
    cpu: Duration,
    sandbox_mb: f64,
    sandbox_cpu: Duration,
}

/// What the API server was asked after the start.
#[derive(Debug, PartialEq)]
struct Load {
    /// Requests in the busiest second of [`STORM`], and in all of it.
    busiest: usize,
    storm: usize,
    /// Patches in all.
    patches: usize,
}

pub(super) fn measure(binary: &Path, folder: &Path, count: usize) -> Result<Recovery> {
    let site = ui::stage(&format!("make {count} deployments of one pod"), Pace::Slow, || {
        Site::start(binary, folder, Shape { deployments: count, pods: 1, behaviour: "ready" })
    })?;
    // Each admission asks the API server: at its default pace most would have ended before the last is admitted.
    let queue = ("limits.queued_runs", count);
    let (pace, burst) = (("kubernetes.requests_per_second", PACE), ("kubernetes.request_burst", PACE));
    let program = site.program(&[queue, pace, burst])?;
    let mut gateway = program.start("state")?;
    let token = runs::token(&program, &gateway)?;
    let first = site.names().into_iter().next().unwrap_or_default();
    ui::stage("wait until the gateway knows them", Pace::Quick, || {
        Runs { gateway: &gateway, token: &token }.until_known(&first)
    })?;
    site.relay.take()?;
    let admitted_in =
        ui::stage(&format!("submit {count} restarts, and kill the gateway"), Pace::Slow, || {
            let (begun, idle) = (Instant::now(), cpu::of(gateway.pid)?);
            Runs { gateway: &gateway, token: &token }.submit(&site.names())?;
            let admitted_in = (begun.elapsed(), cpu::of(gateway.pid)?.saturating_sub(idle));
            proc::kill(&mut gateway.child)?;
            Ok(admitted_in)
        })?;
    let killed = proc::output(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%S.%NZ"]))?;
    let before = site.relay.take()?;
    let cpu_before = cpu::of(site.pid)?;

    let program = site.program(&[queue])?;
    let begun = Instant::now();
    let mut gateway = program.launch(&gateway.state, &folder.join("second.log"))?;
    let first_patch = ui::stage("wait for the first patch", Pace::Slow, || {
        first_patch(&site, &mut gateway).map(|at| at.duration_since(begun))
    })?;
    while gateway.ready_after.is_zero() && !gateway.is_ready()? {
        std::thread::sleep(proc::POLL);
    }
    let runs = Runs { gateway: &gateway, token: &token };
    ui::stage("follow the runs", Pace::Slow, || {
        runs.until_ended(FOLLOWED.saturating_sub(begun.elapsed())).map(drop)
    })?;
    let followed = begun.elapsed();
    let standing = runs.standing(killed.trim())?;
    let after = site.relay.take()?;
    let recovery = Recovery {
        runs: count,
        admitted_in,
        patched: before.iter().filter(|passed| passed.method == "PATCH").count(),
        unfinished: standing.left + standing.ended_since,
        ready_after: gateway.ready_after,
        first_patch,
        load: Load::of(begun, &after),
        followed,
        standing,
        most_patches: most_patches(before.iter().chain(&after)),
        memory_mb: memory::of(gateway.pid)?.peak,
        cpu: cpu::of(gateway.pid)?,
        sandbox_mb: memory::of(site.pid)?.peak,
        sandbox_cpu: cpu::of(site.pid)?.saturating_sub(cpu_before),
    };
    gateway.stop();
    site.stop();
    Ok(recovery)
}

/// Waits until the API server is asked for the first patch.
fn first_patch(site: &Site, gateway: &mut Gateway) -> Result<Instant> {
    let deadline = Instant::now() + BEGINS_WITHIN;
    while Instant::now() < deadline {
        if let Some(at) = site.relay.first("PATCH") {
            return Ok(at);
        }
        // It says why it has ended, if it has.
        if gateway.ready_after.is_zero() {
            gateway.is_ready()?;
        }
        std::thread::sleep(proc::POLL);
    }
    bail!("{} s after the start no patch was sent; see `{}`", BEGINS_WITHIN.as_secs(), gateway.log.display());
}

impl Load {
    fn of(begun: Instant, passed: &[Passed]) -> Self {
        let within = |limit: Duration| {
            passed.iter().filter_map(move |passed| {
                let at = passed.at.checked_duration_since(begun)?;
                (at < limit).then_some((at, passed))
            })
        };
        let mut seconds: BTreeMap<u64, usize> = BTreeMap::new();
        for (at, _) in within(STORM) {
            *seconds.entry(at.as_secs()).or_default() += 1;
        }
        Self {
            busiest: seconds.values().copied().max().unwrap_or_default(),
            storm: within(STORM).count(),
            patches: passed.iter().filter(|passed| passed.method == "PATCH").count(),
        }
    }
}

fn most_patches<'a>(passed: impl Iterator<Item = &'a Passed>) -> usize {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for passed in passed.filter(|passed| passed.method == "PATCH") {
        *counts.entry(passed.path.split('?').next().unwrap_or_default()).or_default() += 1;
    }
    counts.into_values().max().unwrap_or_default()
}

impl Recovery {
    /// Adds its lines and notes.
    pub(super) fn tell(&self, rows: &mut Vec<Row>, notes: &mut Vec<String>) {
        let row = |what: &str, unit, value, aim| super::row(what, unit, value, aim);
        let followed = self.followed.as_secs_f64();
        let whole = super::count(self.unfinished);
        rows.push(super::row(
            format!("{whole} unfinished runs: start to the first patch"),
            "s",
            self.first_patch.as_secs_f64(),
            Aim::Most(2.0),
        ));
        rows.extend([
            row("  start to ready", "s", self.ready_after.as_secs_f64(), Aim::None),
            row(
                "  requests to the API server, busiest second of 10",
                "/s",
                self.load.busiest as f64,
                Aim::None,
            ),
            row("  mean of these 10 s", "/s", self.load.storm as f64 / STORM.as_secs_f64(), Aim::None),
            row("  runs that ended", "/s", self.standing.ended_since as f64 / followed, Aim::None),
            row("  memory, most", "MB", self.memory_mb, Aim::None),
            row("  processor time", "s", self.cpu.as_secs_f64(), Aim::None),
        ]);
        notes.push(format!(
            "recovery: {} restarts of Deployments of one pod on the sandbox, admitted in {} s over HTTP ({} s of \
             processor time); the gateway was killed (SIGKILL) then, after {} patches. It was started again with the \
             defaults, but for the length of the queue; {} s after that start and {} patches the runs were: {}. No \
             Deployment was patched more than {} times over both lives. A relay before the API server counts the \
             requests. The sandbox used {} s of processor time after the start, and at most {} MB",
            super::count(self.runs),
            number(self.admitted_in.0.as_secs_f64()),
            number(self.admitted_in.1.as_secs_f64()),
            super::count(self.patched),
            number(followed),
            super::count(self.load.patches),
            self.standing.shown(),
            self.most_patches,
            number(self.sandbox_cpu.as_secs_f64()),
            number(self.sandbox_mb)
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_told_by_seconds() {
        let begun = Instant::now();
        let passed = |millis: u64, method: &str| Passed {
            at: begun + Duration::from_millis(millis),
            method: method.to_owned(),
            path: "/x?fieldManager=astradesk".to_owned(),
        };
        let all = [
            passed(100, "GET"),
            passed(1_100, "GET"),
            passed(1_900, "PATCH"),
            passed(11_000, "PATCH"),
            passed(31_000, "PATCH"),
        ];
        assert_eq!(Load::of(begun, &all), Load { busiest: 2, storm: 3, patches: 3 });
        assert_eq!(most_patches(all.iter()), 3);
    }
}
