//! AstraDesk, measured.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::cluster::{self, Cluster};
use super::figures::Sample;
use super::load::{CONNECTIONS, Generator, Outcome};
use super::{IDLE, RESTARTS, STARTS, WARM_UP, restart};
use crate::gateway::{Gateway, Program};
use crate::ui::{self, Pace};

/// Reads of each connection's thread, whose answers and evidence are counted one by one.
const CHECKED_READS: u64 = 100;

/// What was measured of AstraDesk.
pub(super) struct Ours {
    pub(super) starts: Sample,
    pub(super) idle: f64,
    pub(super) watching: f64,
    pub(super) loaded: f64,
    pub(super) shares: restart::Shares,
    pub(super) checked: u64,
    pub(super) reads: Reads,
    pub(super) tools: Outcome,
    pub(super) mcp_calls: Outcome,
    pub(super) mcp_lists: Outcome,
    pub(super) database_mb: f64,
}

/// The load of reads, and what the evidence says of it.
pub(super) struct Reads {
    pub(super) outcome: Outcome,
    /// By the gateway's own count: calls answered with 200, and otherwise.
    pub(super) answered: (u64, u64),
    /// Records that were added.
    pub(super) recorded: u64,
}

pub(super) fn measure(
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
        environment: Vec::new(),
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
    let session = gateway.mcp(&token)?;
    let status = json!({"service": cluster::bystander(0)});
    session.call("get_service_status", &status)?;
    let mcp_calls =
        ui::stage(&format!("the same by tools/call of /mcp for {seconds} s"), Pace::Slow, || {
            let calls = session.calls("get_service_status", &status, "\"isError\":false");
            generator.run(&calls, WARM_UP)?;
            generator.run(&calls, seconds)
        })?;
    let mcp_lists = ui::stage(&format!("tools/list of /mcp for {seconds} s"), Pace::Slow, || {
        generator.run(&session.lists(), seconds)
    })?;
    let database_mb = gateway.database_bytes() as f64 / 1e6;
    gateway.stop();
    Ok(Ours {
        starts,
        idle,
        watching,
        loaded,
        shares,
        checked,
        reads,
        tools,
        mcp_calls,
        mcp_lists,
        database_mb,
    })
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
