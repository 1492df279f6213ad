//! What a decision takes with many policies, beside the same rules in Rego.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::figures::{Aim, Better, Row, Sample, number};
use crate::ui::{self, Pace};
use crate::{cargo, proc};

/// What was measured: for each number of policies, ours and theirs.
pub(super) struct Decisions(Vec<Value>);

/// Builds and runs the program `policy` of `xtask/benches`.
pub(super) fn measure() -> Result<Decisions> {
    let program = cargo::measuring_program("policy")?;
    let text =
        ui::stage("decide, in Cedar and in Rego", Pace::Slow, || proc::output(&mut Command::new(program)))?;
    let mut figures: Value = serde_json::from_str(&text).context("`policy` printed no figures")?;
    let sizes = figures["sizes"].as_array_mut().map(std::mem::take);
    sizes.context("`policy` measured nothing").map(Decisions)
}

impl Decisions {
    /// Adds its lines and notes.
    pub(super) fn tell(&self, rows: &mut Vec<Row>, notes: &mut Vec<String>) {
        for size in &self.0 {
            let policies = count(&size["policies"]);
            let ours = &size["ours"]["settled"];
            for (peer, what) in [("rules", "a rule each"), ("lookup", "rules as data, looked up")] {
                let theirs = &size[peer]["settled"];
                let line = |percentile: &str, what: String| {
                    row(what, "µs", [&ours[percentile], &theirs[percentile]])
                };
                rows.push(line("p50_us", format!("a decision, {policies} policies | Rego: {what}, p50")));
                rows.push(line("p99_us", "  p99".to_owned()));
            }
            let askable =
                |percentile: &str| [&size["ours"], &size["lookup"]].map(|of| &of["askable"][percentile]);
            rows.push(row("  which approvals are missing | no, p50".to_owned(), "µs", askable("p50_us")));
            rows.push(row("  p99".to_owned(), "µs", askable("p99_us")));
            let loading = &size["loading_ms"];
            rows.push(row("  until loaded | a rule each".to_owned(), "ms", [&loading[0], &loading[1]]));
        }
        notes.push(self.note());
    }

    fn note(&self) -> String {
        let sizes = self.0.iter().map(|size| {
            format!(
                "{}: {} different requests, of {} of which AstraDesk says which approvals are missing, {} times in all; \
                 loading the rules as data took {} ms, and regorus evaluates a rule each by its {}",
                count(&size["policies"]),
                size["requests"],
                size["askable"],
                count(&(value(&size["ours"]["settled"]["times"]) + value(&size["ours"]["askable"]["times"])).into()),
                number(value(&size["loading_ms"][2])),
                size["rules_by"].as_str().unwrap_or_default()
            )
        });
        format!(
            "a decision: AstraDesk's `Policy::decide`, with reasons, on policies in files (ten a team: permits by role, namespace, \
             tool and name; forbids by tier and approvals, by hour, and of agents), on one core. The peer: regorus (Rego, \
             OPA's language) in the same process, asked the same requests in turn, whose input it is given ready-made; \
             both name the policies that decide. First with a Rego rule for each policy, as they are written for \
             Cedar; then as Rego is best written for this, a few rules that look the policies up in indexed data. \
             Before anything is timed, all three must decide every request alike, by the same policies; where \
             AstraDesk finds out which approvals are missing, Rego says no: these stand apart, beside the rules as data. By \
             policies: {}",
            sizes.collect::<Vec<_>>().join("; ")
        )
    }
}

fn row(what: String, unit: &'static str, [ours, peer]: [&Value; 2]) -> Row {
    Row {
        what,
        unit,
        ours: Sample::of([value(ours)]),
        peer: Some(Sample::of([value(peer)])),
        better: Better::Less,
        aim: Aim::None,
    }
}

fn value(figure: &Value) -> f64 {
    figure.as_f64().unwrap_or(f64::NAN)
}

fn count(figure: &Value) -> String {
    Sample::of([value(figure)]).shown("")
}
