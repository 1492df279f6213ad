//! What is told at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::check::{Counts, Facts, Violation};
use super::clients::Answer;
use super::evidence::Record;
use super::siege::Tally;
use crate::ui;

/// Of how many violations everything is told.
const TOLD: usize = 20;
/// Of how many characters of a run is told.
const RUN_TOLD: usize = 2000;

/// One place's result.
pub(super) struct Report<'a> {
    pub(super) place: &'a str,
    pub(super) seed: u64,
    pub(super) tally: &'a Tally,
    pub(super) facts: &'a Facts,
    pub(super) counts: &'a Counts,
    pub(super) violations: &'a [Violation],
    /// Of the kills; and of all.
    pub(super) times: (Duration, Duration),
}

impl Report<'_> {
    /// The table.
    pub(super) fn table(&self) -> String {
        let Self { tally, facts, counts, .. } = self;
        let of = |what: &str| self.violations.iter().filter(|violation| violation.what == what).count();
        let answered = facts.answers.iter().filter(|answer| answer.status > 0).count();
        let replayed = facts.answers.iter().filter(|answer| answer.replayed).count();
        let states: Vec<String> =
            counts.by_state.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let rows = [
            ("kills", format!("{} (before it was ready: {})", tally.kills, tally.early)),
            ("stops, freezes", format!("{}, {}", tally.stops, tally.freezes)),
            ("starts", tally.starts.to_string()),
            ("requests answered", format!("{answered} of {}", facts.answers.len())),
            ("  with an earlier answer", replayed.to_string()),
            ("  refused", refusals(facts)),
            ("runs", format!("{}: {}", facts.runs.len(), states.join(", "))),
            (
                "runs taken over",
                format!(
                    "{} (intended, and not on record as performed: {})",
                    counts.taken_over.0, counts.taken_over.1
                ),
            ),
            ("effects seen", format!("{} restarts, {} undos", counts.restarts, counts.undos)),
            ("effects on record", counts.performed.to_string()),
            ("double effects", of("double effect").to_string()),
            ("lost runs", of("lost run").to_string()),
            ("unknown outcomes", counts.unknown.len().to_string()),
            ("evidence records", facts.records.len().to_string()),
            ("violations", self.violations.len().to_string()),
            ("time", format!("{}, with {} of kills", ui::human(self.times.1), ui::human(self.times.0))),
            ("seed", self.seed.to_string()),
        ];
        let lines: Vec<String> = rows.iter().map(|(what, value)| format!("{what:<26}{value}")).collect();
        format!("\n{}\n{}", self.place, lines.join("\n"))
    }

    /// Each violation with the run, its evidence, what clients were told, and its object's history.
    pub(super) fn details(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for violation in self.violations.iter().take(TOLD) {
            lines.push(format!("\n✗ {}: {}", violation.what, violation.how));
            if let Some(run) = &violation.run {
                lines.extend(self.run(run));
            }
            if let Some(object) =
                violation.object.as_ref().and_then(|name| self.facts.history.objects.get(name))
            {
                let shown = object.shown(violation.run.as_deref());
                lines.extend(shown.iter().map(|line| format!("    object: {line}")));
            }
        }
        let more = self.violations.len().saturating_sub(TOLD);
        if more > 0 {
            lines.push(format!("\nand {more} more"));
        }
        for run in &self.counts.unknown {
            lines.push("\noutcome unknown:".to_owned());
            lines.extend(self.run(run));
        }
        lines
    }

    fn run(&self, id: &str) -> Vec<String> {
        let (facts, is_it) = (self.facts, |run: &Option<String>| run.as_deref() == Some(id));
        let cut = |run: &Value| run.to_string().chars().take(RUN_TOLD).collect::<String>();
        let run = facts.runs.get(id).map(|run| format!("run {}", cut(run)));
        let records = facts.records.iter().filter(|record| is_it(&record.run)).map(Record::shown);
        let answers = facts.answers.iter().filter(|answer| is_it(&answer.run)).map(Answer::shown);
        let lines = run.into_iter().chain(records).chain(answers.take(10));
        lines.map(|line| format!("    {line}")).collect()
    }
}

/// The codes of the problems, and how often each was the answer.
fn refusals(facts: &Facts) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for code in facts.answers.iter().filter_map(|answer| answer.code.as_deref()) {
        *counts.entry(code).or_default() += 1;
    }
    counts.iter().map(|(code, count)| format!("{count} {code}")).collect::<Vec<_>>().join(", ")
}
