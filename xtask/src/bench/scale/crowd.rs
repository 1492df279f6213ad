//! Very many rollouts at once, all of them supervised.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::super::figures::{Aim, Better, Row, Sample, number};
use super::super::{cpu, memory};
use super::runs::{self, Runs, Standing};
use super::site::{Shape, Site};
use crate::ui::{self, Pace};

/// Pods of each Deployment.
const PODS: usize = 2;
/// How long a pod takes to be ready, so that no rollout is over before the last has begun.
const BEHAVIOUR: &str = "slow:10";
/// Requests a second to the API server: the default would spread the patches over a minute.
const PACE: usize = 1_000;
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
    /// From the first patch to the last.
    patched_within: Duration,
    standing: Standing,
    sandbox_mb: f64,
}

pub(super) fn measure(binary: &Path, folder: &Path, count: usize) -> Result<Crowd> {
    let site = ui::stage(&format!("make {count} deployments of {PODS} pods"), Pace::Slow, || {
        Site::start(binary, folder, Shape { deployments: count, pods: PODS, behaviour: BEHAVIOUR })
    })?;
    let sandbox = cpu::of(site.pid)?;
    let alone = ui::stage("restart all, without astradesk", Pace::Slow, || site.restart_all(PATIENCE))?;
    let alone = (alone, cpu::of(site.pid)?.saturating_sub(sandbox));

    let program = site.program(&[
        ("limits.concurrent_runs", count),
        ("limits.concurrent_per_tool", count),
        ("limits.queued_runs", count),
        ("kubernetes.requests_per_second", PACE),
        ("kubernetes.request_burst", PACE),
    ])?;
    let gateway = program.start("state")?;
    let token = runs::token(&program, &gateway)?;
    let runs = Runs { gateway: &gateway, token: &token };
    runs.until_known(&site.names().into_iter().next().unwrap_or_default())?;
    let idle_mb = memory::of(gateway.pid)?.now;
    site.relay.take()?;
    let (sandbox, begun) = (cpu::of(site.pid)?, Instant::now());
    ui::stage("restart all, supervised by astradesk", Pace::Slow, || {
        runs.submit(&site.names())?;
        ensure!(runs.until_ended(PATIENCE)?, "not all runs ended within {} s", PATIENCE.as_secs());
        Ok(())
    })?;
    let supervised = (begun.elapsed(), cpu::of(site.pid)?.saturating_sub(sandbox));
    let (watches, connections) = (site.relay.most_watches(), site.relay.most_connections());
    let passed = site.relay.take()?;
    let mut patches = passed.iter().filter(|passed| passed.method == "PATCH").map(|passed| passed.at);
    let (first, last) = (patches.next(), patches.next_back());
    let patched_within = first.zip(last).map_or(Duration::ZERO, |(first, last)| last.duration_since(first));
    let crowd = Crowd {
        runs: count,
        alone,
        supervised,
        cpu: cpu::of(gateway.pid)?,
        memory_mb: memory::of(gateway.pid)?.peak,
        idle_mb,
        watches,
        connections,
        requests: passed.len(),
        patched_within,
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
            super::row("  first patch to last", "s", self.patched_within.as_secs_f64(), Aim::None),
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
            "crowd: {whole} Deployments of {PODS} pods on the sandbox, restarted at once; a new pod needs 10 s to be ready. `concurrent_runs` and \
             `concurrent_per_tool` are {whole}, `requests_per_second` is {}. The runs: {}. Memory is VmHWM, {} MB before; the API is spoken to without TLS, through a relay that \
             counts: {} requests, at most {} connections, and these watches at once: {}. The sandbox alone: patches \
             like kubectl's over 8 connections until two watches show every Deployment rolled out and every old pod \
             gone. It used {} s of processor time then, and {} s with astradesk; at most {} MB",
            super::count(PACE),
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
