//! Restarts, and whose share of their time is whose.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::cluster::{Cluster, RESTARTED, Seen, What, bystander};
use super::figures::Sample;
use crate::gateway::Gateway;
use crate::proc;

/// How long one restart may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// After this long without news the watches have told everything that is already there.
const QUIET: Duration = Duration::from_millis(300);
/// How often a PATCH is sent to learn the API server's own share.
const PATCHES: u32 = 20;

/// Times in milliseconds, each of every restart.
pub(super) struct Shares {
    /// From the request to the change as a watch sees it, less the API server's time for such a PATCH.
    pub(super) before: Sample,
    /// From the moment at which the watches have seen the rollout complete and the last old pod gone, to
    /// the end of the run in its stream of events.
    pub(super) after: Sample,
    /// Both together, restart by restart.
    pub(super) together: Sample,
    /// From the request to the end of the run.
    pub(super) whole: Sample,
    /// What was taken off `before`: the API server's time for a PATCH of the same Deployment.
    pub(super) patch: Sample,
}

/// The moments of one restart.
struct Moments {
    sent: Instant,
    patched: Instant,
    complete: Instant,
    finished: Instant,
}

/// Restarts the Deployment so many times, one after the other.
pub(super) fn measure(cluster: &Cluster, gateway: &Gateway, token: &str, times: usize) -> Result<Shares> {
    let patch = cluster.patch_latency(PATCHES)?;
    let (sender, seen) = channel();
    cluster.watch(&sender)?;
    let mut watch = Watch { seen, sender, pods: BTreeSet::new() };
    let mut all = Vec::new();
    // The first one fills the caches of everybody.
    for time in 0..=times {
        let moments = watch.restart(gateway, token)?;
        if time > 0 {
            all.push(moments);
        }
    }
    let millis = |from: Instant, to: Instant| {
        let gone = to.saturating_duration_since(from).as_secs_f64();
        // The two watches are independent: AstraDesk's may have been the quicker one.
        (gone - from.saturating_duration_since(to).as_secs_f64()) * 1e3
    };
    let before = |m: &Moments| millis(m.sent, m.patched) - patch.median();
    let after = |m: &Moments| millis(m.complete, m.finished);
    Ok(Shares {
        before: Sample::of(all.iter().map(before)),
        after: Sample::of(all.iter().map(after)),
        together: Sample::of(all.iter().map(|m| before(m) + after(m))),
        whole: Sample::of(all.iter().map(|m| millis(m.sent, m.finished))),
        patch,
    })
}

struct Watch {
    seen: Receiver<Seen>,
    sender: Sender<Seen>,
    /// The pods that are there.
    pods: BTreeSet<String>,
}

impl Watch {
    fn restart(&mut self, gateway: &Gateway, token: &str) -> Result<Moments> {
        self.settle();
        let mut old = self.pods.clone();
        ensure!(!old.is_empty(), "the watch shows no pod of `{RESTARTED}`");
        let (sent, run) = gateway.restart(token)?;
        gateway.follow(token, &run, self.sender.clone())?;
        let deadline = Instant::now() + PATIENCE;
        let (mut patched, mut is_complete, mut complete, mut finished) = (None, false, None, None);
        while complete.is_none() || finished.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            let Seen { at, what } = self
                .seen
                .recv_timeout(left)
                .with_context(|| format!("run {run} had not ended after {} s", PATIENCE.as_secs()))?;
            match what {
                What::Deployment(deployment) if deployment.run.as_deref() == Some(&run) => {
                    patched = patched.or(Some(at));
                    is_complete = deployment.complete;
                }
                What::Deployment(_) => {}
                What::Pod(uid) => {
                    self.pods.insert(uid);
                }
                What::PodGone(uid) => {
                    old.remove(&uid);
                    self.pods.remove(&uid);
                }
                What::Run(state) => match state.as_str() {
                    "succeeded" => finished = Some(at),
                    "queued" | "running" => {}
                    _ => bail!("run {run} ended `{state}`"),
                },
            }
            if is_complete && old.is_empty() {
                complete = complete.or(Some(at));
            }
        }
        let missing = || format!("the watch did not see run {run}");
        Ok(Moments {
            sent,
            patched: patched.with_context(missing)?,
            complete: complete.with_context(missing)?,
            finished: finished.with_context(missing)?,
        })
    }

    /// Takes in what the watches tell until they are silent.
    fn settle(&mut self) {
        loop {
            match self.seen.recv_timeout(QUIET) {
                Ok(Seen { what: What::Pod(uid), .. }) => {
                    self.pods.insert(uid);
                }
                Ok(Seen { what: What::PodGone(uid), .. }) => {
                    self.pods.remove(&uid);
                }
                Ok(Seen { what: What::Deployment(_) | What::Run(_), .. }) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// kubectl as a process, so many times: `rollout restart` alone, and with `rollout status` after it.
pub(super) fn kubectl(cluster: &Cluster, times: usize) -> Result<(Sample, Sample)> {
    let (mut restarts, mut verified) = (Vec::new(), Vec::new());
    for time in 0..=times {
        let what = format!("deployment/{}", bystander(time));
        let begun = Instant::now();
        proc::output(&mut cluster.kubectl(&["rollout", "restart", &what]))?;
        let restarted = begun.elapsed();
        proc::output(&mut cluster.kubectl(&["rollout", "status", &what]))?;
        // The first one fills its cache of the API.
        if time > 0 {
            restarts.push(restarted);
            verified.push(begun.elapsed());
        }
    }
    cluster.until_ready()?;
    Ok((Sample::millis(&restarts), Sample::millis(&verified)))
}
