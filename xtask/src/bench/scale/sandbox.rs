//! The sandbox alone: how fast it starts, and how many workloads it bears.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::figures::{Aim, Better, Row, Sample, number};
use super::super::{cpu, memory};
use super::site::{Shape, Site, Started};
use crate::ui::{self, Pace};
use crate::{cluster, proc};

/// How often it is started, and how often the pods are listed.
const ROUNDS: usize = 10;
/// What it has to bear.
const LARGE: Shape = Shape { deployments: 5_000, pods: 3, behaviour: "ready" };
/// How much of that is rolled out at once.
const CROWD: Shape = Shape { deployments: 1_000, ..LARGE };
/// How long the rollouts may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// What was measured.
pub(super) struct Sandbox {
    starts: Vec<Duration>,
    /// The real control plane's start, its programs being there.
    real_start: Duration,
    memory: memory::Memory,
    lists: Vec<Duration>,
    list_bytes: usize,
    rollouts: Duration,
    rollouts_cpu: Duration,
    rollouts_memory: memory::Memory,
}

pub(super) fn measure(binary: &Path, folder: &Path) -> Result<Sandbox> {
    let starts = ui::stage(&format!("start the sandbox {ROUNDS} times"), Pace::Quick, || {
        let start = |round: usize| -> Result<Duration> {
            let started = Started::of(binary, &folder.join(format!("start-{round}")), &[])?;
            proc::end_all(&[(started.pid as i32, true)]);
            Ok(started.took)
        };
        (0..ROUNDS).map(start).collect::<Result<Vec<_>>>()
    })?;
    let ready = cluster::prepare()?;
    let begun = Instant::now();
    let real_start = cluster::with(&ready, |_| Ok(begun.elapsed()))?;

    let pods = super::count(LARGE.deployments * LARGE.pods);
    let site =
        ui::stage(&format!("make {} deployments", super::count(LARGE.deployments)), Pace::Slow, || {
            Site::start(binary, &folder.join("large"), LARGE)
        })?;
    let memory = memory::of(site.pid)?;
    let (mut lists, mut list_bytes) = (Vec::new(), 0);
    ui::stage(&format!("list {pods} pods {ROUNDS} times"), Pace::Quick, || {
        for _ in 0..ROUNDS {
            let (bytes, took) = site.list_pods()?;
            list_bytes = bytes;
            lists.push(took);
        }
        Ok(())
    })?;
    site.stop();

    let site = Site::start(binary, &folder.join("crowd"), CROWD)?;
    let before = cpu::of(site.pid)?;
    let what = format!("roll out {} deployments at once", super::count(CROWD.deployments));
    let rollouts = ui::stage(&what, Pace::Slow, || site.restart_all(PATIENCE))?;
    let rollouts_cpu = cpu::of(site.pid)?.saturating_sub(before);
    let rollouts_memory = memory::of(site.pid)?;
    site.stop();
    Ok(Sandbox { starts, real_start, memory, lists, list_bytes, rollouts, rollouts_cpu, rollouts_memory })
}

impl Sandbox {
    /// Adds its lines and notes.
    pub(super) fn tell(&self, rows: &mut Vec<Row>, notes: &mut Vec<String>) {
        let (deployments, crowd) = (super::count(LARGE.deployments), super::count(CROWD.deployments));
        let pods = super::count(LARGE.deployments * LARGE.pods);
        let whole = format!("{deployments} deployments, {pods} pods: memory");
        rows.extend([
            Row {
                what: "start to ready | the real control plane".to_owned(),
                unit: "ms",
                ours: Sample::millis(&self.starts),
                peer: Some(Sample::millis(&[self.real_start])),
                better: Better::Less,
                aim: Aim::Most(50.0),
            },
            super::row(whole, "MB", self.memory.now, Aim::Most(300.0)),
            super::row("  most while they were made", "MB", self.memory.peak, Aim::None),
            Row {
                what: format!("  list of the {pods} pods"),
                unit: "ms",
                ours: Sample::millis(&self.lists),
                peer: None,
                better: Better::Less,
                aim: Aim::Most(300.0),
            },
            super::row(
                format!("{crowd} rollouts at once"),
                "s",
                self.rollouts.as_secs_f64(),
                Aim::Most(30.0),
            ),
            super::row("  processor time", "s", self.rollouts_cpu.as_secs_f64(), Aim::None),
            super::row("  most memory", "MB", self.rollouts_memory.peak, Aim::None),
        ]);
        notes.push(format!(
            "sandbox: started with its demo's workloads, from before the exec until `/readyz` was answered, {ROUNDS} \
             times; the real control plane (etcd, apiserver, controller manager, scheduler, stand-in kubelet) once. \
             The list has {} MB of JSON and is timed until its last byte was read. Memory is VmRSS, VmHWM where it \
             says most. A rollout replaces {} pods, one after the other, each ready about half a second after it was \
             made; all are patched over 8 connections, and watched until the last old pod is gone",
            number(self.list_bytes as f64 / 1e6),
            CROWD.pods,
        ));
    }
}
