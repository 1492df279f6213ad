//! Load, by wrk: a closed loop over a fixed number of connections.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::proc;

/// Connections, each with one request at a time.
pub(super) const CONNECTIONS: u32 = 16;
/// An answer that takes longer counts as timed out, in seconds.
pub(super) const TIMEOUT: u32 = 5;

/// A request that is repeated.
pub(super) struct Call {
    pub(super) url: String,
    pub(super) method: &'static str,
    pub(super) headers: Vec<(String, String)>,
    /// `"@ID@"` in it is replaced by a number that rises.
    pub(super) body: String,
    /// What the body of a good answer contains, where its status does not tell.
    pub(super) good: Option<&'static str>,
}

/// wrk and its script.
pub(super) struct Generator {
    wrk: PathBuf,
    script: PathBuf,
}

/// What came of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outcome {
    /// Answers of any kind, within the time limit or not.
    pub(super) answered: u64,
    /// Of them, those of an error's status, or without what a good one contains.
    pub(super) wrong: u64,
    /// Of them, those that took longer than [`TIMEOUT`].
    pub(super) late: u64,
    /// Connections that broke.
    pub(super) broken: u64,
    /// Good answers in time, in one second.
    pub(super) per_second: f64,
    /// In milliseconds, of the answers in time.
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Outcome {
    /// `none`, or what there was.
    pub(super) fn errors(&self) -> u64 {
        self.wrong + self.late + self.broken
    }
}

impl Generator {
    pub(super) fn new(wrk: PathBuf, folder: &Path) -> Result<Self> {
        let script = folder.join("load.lua");
        fs::write(&script, include_str!("load.lua")).context("cannot write wrk's script")?;
        Ok(Self { wrk, script })
    }

    /// Repeats the call for so many seconds.
    pub(super) fn run(&self, call: &Call, seconds: u32) -> Result<Outcome> {
        let mut command = Command::new(&self.wrk);
        command.args(["--threads", "1", "--connections", &CONNECTIONS.to_string()]);
        command.args([
            "--duration",
            &format!("{seconds}s"),
            "--timeout",
            &format!("{TIMEOUT}s"),
            "--latency",
        ]);
        command.arg("--script").arg(&self.script).arg(&call.url);
        let headers: Vec<String> =
            call.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        command.env("BENCH_HEADERS", headers.join("\n")).env("BENCH_BODY", &call.body);
        command.env("BENCH_METHOD", call.method).env("BENCH_GOOD", call.good.unwrap_or_default());
        let said = proc::output(&mut command)?;
        parse(&said).with_context(|| format!("wrk said nothing of use:\n{said}"))
    }
}

fn parse(said: &str) -> Result<Outcome> {
    let line =
        said.lines().rev().find(|line| line.starts_with('{')).context("there is no line of the script")?;
    let read: Value = serde_json::from_str(line).context("the script's line is no JSON")?;
    let count = |name: &str| read[name].as_u64().with_context(|| format!("there is no `{name}`"));
    let (answered, late) = (count("answered")?, count("timeout")?);
    let wrong = count("status")?.max(count("bad")?);
    let seconds = count("micros")? as f64 / 1e6;
    ensure!(seconds > 0.0, "it took no time");
    Ok(Outcome {
        answered,
        wrong,
        late,
        broken: count("connection")?,
        per_second: answered.saturating_sub(wrong + late) as f64 / seconds,
        p50: count("p50")? as f64 / 1e3,
        p99: count("p99")? as f64 / 1e3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_good_answers_in_time_count() {
        let line = r#"{"answered":100,"micros":10000000,"p50":1500,"p99":9000,"status":3,"connection":1,"timeout":7,"bad":0}"#;
        let outcome = parse(&format!("Running 10s test\n{line}\n")).unwrap();
        assert_eq!((outcome.answered, outcome.errors()), (100, 11));
        assert!((outcome.per_second - 9.0).abs() < 1e-9 && (outcome.p99 - 9.0).abs() < 1e-9);
        assert!(parse("unable to connect").is_err());
    }
}
