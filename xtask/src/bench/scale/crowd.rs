//! Very many rollouts at once, all of them supervised.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::super::figures::{Aim, Better, Row, Sample, number};
use super::super::{cpu, memory};
use super::runs::{self, Runs, Standing};
use super::site::Site;
use crate::ui::{self, Pace};

/// Pods of each Deployment.
const PODS: usize = 2;
/// How long all the rollouts may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// What was measured.
pub(super) struct Crowd {
    runs: usize,
    /// Without AstraDesk: the time, and what the sandbox used of the processors.
    alone: (Duration, Duration),
    /// With it.
    supervised: (Duration, Duration),
    cpu: Duration,
    memory_mb: f64,
    idle_mb: f64,
    watches: BTreeMap<String, usize>,
    connections: usize,
    requests: usize,
    standing: Standing,
    sandbox_mb: f64,
}

pub(super) fn measure(binary: &Path, folder: &Path, count: usize) -> Result<Crowd> {
    let site = ui::stage(&format!("make {count} deployments of {PODS} pods"), Pace::Slow, || {
        Site::start(binary, folder, count, PODS)
    })?;
    let sandbox = cpu::of(site.pid)?;
    let alone = ui::stage("restart all, without astradesk", Pace::Slow, || site.restart_all(PATIENCE))?;
    let alone = (alone, cpu::of(site.pid)?.saturating_sub(sandbox));

    let program =
        site.program(&[("concurrent_runs", count), ("queued_runs", count), ("concurrent_per_tool", count)])?;
    let gateway = program.start("state")?;
    let token = runs::token(&program, &gateway)?;
    let idle_mb = memory::of(gateway.pid)?.now;
    site.relay.take()?;
    let (sandbox, begun) = (cpu::of(site.pid)?, Instant::now());
    let runs = Runs { gateway: &gateway, token: &token };
    ui::stage("restart all, supervised by astradesk", Pace::Slow, || {
        runs.submit(&site.names())?;
        ensure!(runs.until_ended(PATIENCE)?, "not all runs ended within {} s", PATIENCE.as_secs());
        Ok(())
    })?;
    let supervised = (begun.elapsed(), cpu::of(site.pid)?.saturating_sub(sandbox));
    let crowd = Crowd {
        runs: count,
        alone,
        supervised,
        cpu: cpu::of(gateway.pid)?,
        memory_mb: memory::of(gateway.pid)?.peak,
        idle_mb,
        watches: site.relay.most_watches(),
        connections: site.relay.most_connections(),
        requests: site.relay.take()?.len(),
        standing: runs.standing("")?,
        sandbox_mb: memory::of(site.pid)?.peak,
    };
    gateway.stop();
    site.stop();
    Ok(crowd)
}

impl Crowd {
    /// Adds its lines and notes.
    pub(super) fn tell(&self, rows: &mut Vec<Row>, notes: &mut Vec<String>) {
        let most_watches = self.watches.values().copied().max().unwrap_or_default();
        let succeeded = self.standing.states.get("succeeded").copied().unwrap_or_default();
        let whole = super::count(self.runs);
        rows.extend([
            super::row(
                format!("{whole} rollouts at once: memory, most"),
                "MB",
                self.memory_mb,
                Aim::Most(150.0),
            ),
            super::row("  most watches of a kind at once", "", most_watches as f64, Aim::Most(1.0)),
            super::row("  runs that succeeded", "", succeeded as f64, Aim::Least(self.runs as f64)),
            super::row("  processor time", "s", self.cpu.as_secs_f64(), Aim::None),
            Row {
                what: "  until all are verified | the sandbox alone".to_owned(),
                unit: "s",
                ours: Sample::of([self.supervised.0.as_secs_f64()]),
                peer: Some(Sample::of([self.alone.0.as_secs_f64()])),
                better: Better::Less,
                aim: Aim::None,
            },
        ]);
        let watches: Vec<String> =
            self.watches.iter().map(|(resource, most)| format!("{resource} {most}")).collect();
        notes.push(format!(
            "crowd: {whole} Deployments of {PODS} pods on the sandbox, restarted at once; `concurrent_runs` is {whole}. The \
             runs: {}. Memory is VmHWM, {} MB when idle; the API is spoken to without TLS, through a relay that \
             counts: {} requests, at most {} connections, and these watches at once: {}. The sandbox alone: patches \
             like kubectl's over 8 connections until two watches show every Deployment rolled out and every old pod \
             gone. It used {} s of processor time then, and {} s with astradesk; at most {} MB",
            self.standing.shown(),
            number(self.idle_mb),
            self.requests,
            self.connections,
            watches.join(", "),
            number(self.alone.1.as_secs_f64()),
            number(self.supervised.1.as_secs_f64()),
            number(self.sandbox_mb)
        ));
    }
}
