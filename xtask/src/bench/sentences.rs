//! How fast sentences are planned or refused.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::figures::{Aim, Better, Row, Sample, number};
use crate::ui::{self, Pace};
use crate::{cargo, proc};

/// What was measured.
pub(super) struct Sentences(Value);

/// Builds and runs the program `sentences` of `xtask/benches`.
pub(super) fn measure(seconds: u32) -> Result<Sentences> {
    let program = cargo::measuring_program("sentences")?;
    let mut program = Command::new(program);
    program.arg(seconds.to_string());
    let text = ui::stage("plan sentences", Pace::Slow, || proc::output(&mut program))?;
    serde_json::from_str(&text).context("`sentences` printed no figures").map(Sentences)
}

impl Sentences {
    /// Adds its lines and notes.
    pub(super) fn tell(&self, rows: &mut Vec<Row>, notes: &mut Vec<String>) {
        let figures = &self.0;
        let row = |what: &str, unit, figure: &str, better, aim| Row {
            what: what.to_owned(),
            unit,
            ours: Sample::of(figures[figure].as_f64()),
            peer: None,
            better,
            aim,
        };
        rows.extend([
            row("sentences planned or refused per second", "/s", "per_second", Better::More, Aim::None),
            row("  p50", "µs", "p50_us", Better::Less, Aim::None),
            row("  p99", "µs", "p99_us", Better::Less, Aim::None),
            row("a megabyte of anything, the longest", "ms", "longest_ms", Better::Less, Aim::None),
        ]);
        let count = |figure: &str| number(figures[figure].as_f64().unwrap_or_default());
        notes.push(format!(
            "sentences: the KeywordPlanner on the {} of tests/eval/sentences.txt, {} times in all, on one thread, with the \
             names in memory; and {} texts of a megabyte, or of as many words as an input may have",
            count("sentences"),
            count("times"),
            count("texts"),
        ));
    }
}
