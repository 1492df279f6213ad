//! The peer, measured.

use std::path::Path;

use anyhow::Result;

use super::cluster::{self, Cluster};
use super::figures::Sample;
use super::load::{Generator, Outcome};
use super::{IDLE, STARTS, WARM_UP, peer};
use crate::ui::{self, Pace};

/// What was measured of the others.
pub(super) struct Theirs {
    pub(super) starts: Sample,
    pub(super) idle: f64,
    pub(super) watching: f64,
    pub(super) loaded: f64,
    pub(super) reads: Outcome,
    pub(super) tools: Outcome,
}

pub(super) fn measure(
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
