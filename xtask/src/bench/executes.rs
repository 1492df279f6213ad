//! How many executes a second have their evidence on disk before their effect: many changes to an fsync, and one.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::figures::{Aim, Better, Row, Sample};
use crate::ui::{self, Pace};
use crate::{cargo, proc};

/// What was measured.
pub(super) struct Executes {
    figures: Value,
    seconds: u32,
}

/// Builds and runs the program `executes` of `xtask/benches`, with its databases in `work`.
pub(super) fn measure(work: &Path, seconds: u32) -> Result<Executes> {
    let program = cargo::measuring_program("executes")?;
    let mut program = Command::new(program);
    program.arg(work.join("executes")).arg(seconds.to_string());
    let text = ui::stage("execute, with many changes to an fsync and with one", Pace::Slow, || {
        proc::output(&mut program)
    })?;
    let figures = serde_json::from_str(&text).context("`executes` printed no figures")?;
    Ok(Executes { figures, seconds })
}

impl Executes {
    /// Adds its lines and notes.
    pub(super) fn tell(&self, rows: &mut Vec<Row>, notes: &mut Vec<String>) {
        let sample = |way: &str, figure: &str| {
            let rounds = self.figures[way].as_array().into_iter().flatten();
            Sample::of(rounds.filter_map(|round| round[figure].as_f64()))
        };
        let row = |what: &str, unit, figure, better| Row {
            what: what.to_owned(),
            unit,
            ours: sample("grouped", figure),
            peer: Some(sample("alone", figure)),
            better,
            aim: Aim::None,
        };
        rows.extend([
            row("executes per second, evidence first | an fsync a change", "/s", "per_second", Better::More),
            row("  p50", "ms", "p50_ms", Better::Less),
            row("  p99", "ms", "p99_ms", Better::Less),
        ]);
        notes.push(self.note());
    }

    fn note(&self) -> String {
        let figures = &self.figures;
        let count = |value: &Value| Sample::of(value.as_f64()).shown("");
        let rounds = figures["grouped"].as_array().into_iter().chain(figures["alone"].as_array()).flatten();
        let (executes, records) = rounds.fold((0.0, 0.0), |(executes, records), round| {
            let of = |figure: &str| round[figure].as_f64().unwrap_or_default();
            (executes + of("executes"), records + of("records"))
        });
        format!(
            "executes: AstraDesk's Engine, policy, guardrails and store (SQLite, synchronous=FULL) with a tool in the \
             same process whose effect is nothing, asked by {} callers at once, each for a target of their own and \
             again as soon as the run has ended; the time is from the request to that. An execute has four changes, one after \
             the other: admitted, intended, performed, finished. Beside it the same store with `group` 1, which makes \
             each change durable by an fsync of its own; {} s each, in turn, {} times. First, unmeasured, {} executes in which the tool \
             refuses its effect unless another reader of the file sees its intent. Afterwards {} executes with {} \
             records have each one effect, the records in that order, and evidence that verifies up to its signed end",
            figures["callers"],
            self.seconds,
            figures["grouped"].as_array().map_or(0, Vec::len),
            count(&figures["checked"]["executes"]),
            Sample::of([executes]).shown(""),
            Sample::of([records]).shown(""),
        )
    }
}
