//! A process's time on the processors, as the kernel counts it.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// The kernel's clock ticks in a second: `USER_HZ`, which is the same on every architecture of Linux that matters.
const TICKS: f64 = 100.0;

/// What a process that runs has used, in its own code and in the kernel's.
pub(super) fn of(pid: u32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} has ended"))?;
    parse(&text).with_context(|| format!("/proc/{pid}/stat has no times"))
}

/// Fields 14 and 15 of proc(5): the name, in brackets, may hold anything.
fn parse(stat: &str) -> Option<Duration> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let (user, system): (u64, u64) = (fields.nth(11)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Duration::from_secs_f64((user + system) as f64 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_past_a_hostile_name() {
        let line = "42 (a ) R (b) S 1 42 42 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 1 0 987654 0 0";
        assert_eq!(parse(line), Some(Duration::from_secs(3)));
        assert_eq!(parse("42 (short) S 1"), None);
    }
}
