//! The record of a control plane's processes: what `stop` ends.
//!
//! A line is `PID START NAME`, where START is the process's start time: an id that now belongs to
//! somebody else is left alone.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::proc;

fn file(dir: &Path) -> PathBuf {
    dir.join("pids")
}

/// Adds a process that was just started.
pub(super) fn record(dir: &Path, pid: i32, name: &str) -> Result<()> {
    let started = proc::started_at(pid).with_context(|| format!("`{name}` ended at once"))?;
    let path = file(dir);
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| writeln!(file, "{pid} {started} {name}"))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

/// Whether a recorded process still runs.
pub(super) fn running(dir: &Path) -> bool {
    !alive(dir).is_empty()
}

/// Ends the recorded processes, the last started first; how many there were.
pub(super) fn end(dir: &Path) -> usize {
    let mut pids = alive(dir);
    pids.reverse();
    proc::end_all(&pids.iter().map(|&pid| (pid, true)).collect::<Vec<_>>());
    let _ = fs::remove_file(file(dir));
    pids.len()
}

fn alive(dir: &Path) -> Vec<i32> {
    let text = fs::read_to_string(file(dir)).unwrap_or_default();
    parse(&text)
        .into_iter()
        .filter(|&(pid, started)| proc::is_alive(pid) && proc::started_at(pid) == Some(started))
        .map(|(pid, _)| pid)
        .collect()
}

fn parse(text: &str) -> Vec<(i32, u64)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .filter(|&(pid, _)| pid > 1)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_of_real_processes_count() {
        assert_eq!(
            parse("12 345 etcd\nnonsense\n13\n1 1 init\n-5 1 x\n14 9 kubelet\n"),
            [(12, 345), (14, 9)]
        );
    }

    #[test]
    fn an_id_that_another_process_has_now_is_left_alone() {
        let dir = std::env::temp_dir().join(format!("xtask-pids-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let this = std::process::id();
        fs::write(file(&dir), format!("{this} 1 etcd\n")).unwrap();
        assert!(!running(&dir));
        assert_eq!(end(&dir), 0);
        fs::remove_dir_all(&dir).unwrap();
    }
}
