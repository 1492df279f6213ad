//! After the kills: everything comes to rest, every request is repeated once more, and what is known is collected.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::check::Facts;
use super::place::{NAMESPACE, Place};
use super::siege::Siege;
use super::watch::Watch;
use super::{evidence, history};
use crate::gateway::{bearer, get};
use crate::proc;

/// How long all runs may take to end when nothing is killed any more.
const RESTS_WITHIN: Duration = Duration::from_mins(3);
/// The states of a run that goes on.
const UNFINISHED: [&str; 4] = ["submitted", "awaiting_approval", "queued", "running"];
/// Runs on a page.
const PAGE: usize = 200;

/// Waits until no run goes on, repeats every request that has a run, reads all runs, and stops the gateways.
pub(super) fn rest(siege: &mut Siege, watch: &mut Watch, facts: &mut Facts) -> Result<()> {
    let gateway = siege.settle()?;
    let token = siege.field.tokens.first().context("there is no token")?.clone();
    let deadline = Instant::now() + RESTS_WITHIN;
    loop {
        let mut going = 0;
        for state in UNFINISHED {
            going += page(gateway, &token, &format!("state={state}"))?.0.len();
        }
        if going == 0 {
            break;
        }
        if Instant::now() > deadline {
            facts.processes.push(format!("{going} runs had not ended after {} s", RESTS_WITHIN.as_secs()));
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
        watch.tend()?;
    }
    repeat_all(siege, gateway, facts);
    let mut cursor = String::new();
    loop {
        let (runs, next) = page(gateway, &token, &cursor)?;
        for run in runs {
            let id = run["id"].as_str().context("a run has no id")?.to_owned();
            facts.runs.insert(id, run);
        }
        match next {
            Some(next) => cursor = format!("cursor={next}"),
            None => break,
        }
    }
    watch.tend()?;
    siege.end()
}

/// The same key must still give the same run.
fn repeat_all(siege: &Siege, gateway: SocketAddr, facts: &mut Facts) {
    let mut seen = BTreeSet::new();
    let accepted = facts.answers.iter().filter(|answer| answer.is_accepted());
    let wishes: Vec<_> = accepted
        .map(|answer| answer.wish.clone())
        .filter(|wish| seen.insert((wish.principal, wish.key.clone())))
        .collect();
    for wish in wishes {
        let answer = siege.field.submit(&wish, gateway);
        if !answer.is_accepted() {
            facts.processes.push(format!("at rest, a repeated request has no run: {}", answer.shown()));
        }
        facts.answers.push(answer);
    }
}

/// A page of runs, and where the next one starts.
fn page(gateway: SocketAddr, token: &str, query: &str) -> Result<(Vec<Value>, Option<String>)> {
    let path = format!("/v1/runs?limit={PAGE}&{query}");
    let answer = get(gateway, path.trim_end_matches('&'), &[("Authorization", &bearer(token))])?;
    let (status, text) = (answer.status, answer.text()?);
    ensure!(status == 200, "`{path}` was answered with {status}: {text}");
    let page: Value = serde_json::from_str(&text).context("a page of runs is no JSON")?;
    let runs = page["runs"].as_array().context("a page has no runs")?.clone();
    Ok((runs, page["next"].as_str().map(str::to_owned)))
}

/// The evidence, as AstraDesk exports and verifies it, and the revisions that the cluster still has.
pub(super) fn collect(siege: &Siege, place: &Place, facts: &mut Facts) -> Result<()> {
    let mut export = siege.program.command(&siege.state);
    let export = proc::output(export.args(["audit", "export"]))?;
    let file = siege.program.work.join("evidence.jsonl");
    fs::write(&file, &export).with_context(|| format!("cannot write `{}`", file.display()))?;
    (facts.records, facts.broken) = evidence::read(&export);
    let mut verify = siege.program.command(&siege.state);
    match proc::output(verify.args(["audit", "verify", "-o", "json"])) {
        Ok(said) => {
            let said: Value = serde_json::from_str(&said).unwrap_or_default();
            if said["verified"] != true || said["records"] != facts.records.len() {
                facts.broken.push(format!("`audit verify` says {said}"));
            }
        }
        Err(error) => facts.broken.push(format!("{error:#}")),
    }
    for resource in ["replicasets", "controllerrevisions"] {
        let list = place.api.get(&format!("/apis/apps/v1/namespaces/{NAMESPACE}/{resource}"))?;
        facts.revisions.extend(history::revisions(&list));
    }
    if facts.records.is_empty() {
        bail!("there is no evidence at all");
    }
    Ok(())
}
