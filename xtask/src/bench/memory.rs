//! A process's memory, as the kernel counts it.

use std::fs;

use anyhow::{Context as _, Result};

/// Resident memory in MB (of a million bytes).
pub(super) struct Memory {
    /// Now: `VmRSS`.
    pub(super) now: f64,
    /// The most it ever was: `VmHWM`.
    pub(super) peak: f64,
}

/// That of a process that runs.
pub(super) fn of(pid: u32) -> Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} has ended"))?;
    parse(&text).with_context(|| format!("/proc/{pid}/status has no VmRSS"))
}

fn parse(status: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        // "kB" there are 1024 bytes.
        line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib * 1024.0 / 1e6)
    };
    Some(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read() {
        let memory = parse("Name:\tx\nVmHWM:\t   20000 kB\nVmRSS:\t   10000 kB\n").unwrap();
        assert!((memory.now - 10.24).abs() < 1e-9 && (memory.peak - 20.48).abs() < 1e-9);
        assert!(parse("Name:\tx\n").is_none());
    }
}
