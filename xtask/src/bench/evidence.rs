//! What verifying an export takes, beside SHA-256 of the same file, which nothing that verifies it can do without.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::figures::{Aim, Better, Row, Sample};
use crate::ui::{self, Pace};
use crate::{cargo, proc};

/// How often each is measured, in turn.
const ROUNDS: usize = 3;
/// The export that the memory is compared with.
const FEW: u64 = 100_000;
/// Records per second that are aimed at, on one core.
const AIM: f64 = 300_000.0;

/// What was measured.
pub(super) struct Evidence {
    records: u64,
    few: Value,
    verified: Vec<Value>,
    hashed: Vec<Value>,
}

/// Builds the program `evidence` of `xtask/benches` and runs it on exports in `work`.
pub(super) fn measure(work: &Path, records: u64) -> Result<Evidence> {
    let program = cargo::measuring_program("evidence")?;
    let run = |arguments: &[&str]| -> Result<Value> {
        let text = proc::output(Command::new(&program).args(arguments))?;
        serde_json::from_str(&text).context("`evidence` printed no figures")
    };
    let file = work.join("evidence.jsonl");
    let file = file.to_str().context("the folder's name is not UTF-8")?;
    let make = |records: u64| -> Result<String> {
        let made = run(&["make", file, &records.to_string()])?;
        Ok(made["key"].as_str().context("an export without a key")?.to_owned())
    };
    let few = ui::stage(&format!("verify {FEW} records"), Pace::Slow, || {
        let key = make(FEW)?;
        run(&["verify", file, &key])
    })?;
    let key = ui::stage(&format!("make an export of {records} records"), Pace::Slow, || make(records))?;
    let (mut verified, mut hashed) = (Vec::new(), Vec::new());
    ui::stage(&format!("verify {records} records, and hash their file"), Pace::Slow, || {
        for _ in 0..ROUNDS {
            hashed.push(run(&["hash", file])?);
            verified.push(run(&["verify", file, &key])?);
        }
        Ok(())
    })?;
    std::fs::remove_file(file).context("the export cannot be removed")?;
    Ok(Evidence { records, few, verified, hashed })
}

impl Evidence {
    /// Adds its lines and notes.
    pub(super) fn tell(&self, rows: &mut Vec<Row>, notes: &mut Vec<String>) {
        let speed = |rounds: &[Value], by: &str| {
            let seconds = rounds.iter().filter_map(|round| round[by].as_f64());
            Sample::of(seconds.map(|seconds| self.records as f64 / seconds))
        };
        let fast = |what: &str, by, aim| Row {
            what: what.to_owned(),
            unit: "/s",
            ours: speed(&self.verified, by),
            peer: Some(speed(&self.hashed, by)),
            better: Better::More,
            aim,
        };
        let peak = |rounds: &[Value]| {
            let peaks = rounds.iter().filter_map(|round| round["peak"].as_f64());
            Sample::of(peaks.map(|kib| kib * 1024.0 / 1e6))
        };
        let shown = |records: u64| Sample::of([records as f64]).shown("");
        let memory = |records: u64, rounds: &[Value], aim| Row {
            what: format!("  most memory, {} records", shown(records)),
            unit: "MB",
            ours: peak(rounds),
            peer: None,
            better: Better::Less,
            aim,
        };
        let few = std::slice::from_ref(&self.few);
        // Constant: what a hundred thousand records take is enough for any number of them.
        let constant = Aim::Most(peak(few).median().ceil() + 1.0);
        rows.extend([
            fast("records verified per second of a core | SHA-256 of the file", "cpu", Aim::Least(AIM)),
            fast("  by the clock on the wall", "seconds", Aim::None),
            memory(FEW, few, Aim::None),
            memory(self.records, &self.verified, constant),
        ]);
        let bytes = self.hashed.first().and_then(|round| round["bytes"].as_f64()).unwrap_or_default();
        notes.push(format!(
            "evidence: one thread reads an export of {} records ({:.0} bytes a line, {:.1} GB) with {} signed checkpoints: \
             chain, hashes, places and signatures; beside it the same file through SHA-256 alone, in turn, {ROUNDS} times \
             each, every time in a process of its own; the time of a core is what the kernel says that the process had",
            shown(self.records),
            bytes / self.records as f64,
            bytes / 1e9,
            self.verified.first().map_or_else(String::new, |round| round["checkpoints"].to_string()),
        ));
    }
}
