//! What is printed, and what must be known of the machine to judge it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::figures::{self, Row, Sample};
use crate::proc;

/// Prints the table with its notes; a missed aim is told. `busy` is the load before the bench began.
pub(super) fn print(rows: &[Row], notes: &[String], work: &Path, busy: &str) -> Result<()> {
    let fsync = fsync_time(work)?;
    let missed: Vec<&str> =
        rows.iter().filter(|row| row.met() == Some(false)).map(|row| row.what.trim()).collect();
    let date = proc::output(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]))?;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    println!("\n{}", figures::table(rows));
    println!(
        "{}, {cores} cores ({}), shared by all that takes part",
        date.trim(),
        processor.map_or("unknown", |(_, name)| name)
    );
    println!("a 4 KiB write with fsync takes {} on the disk of the evidence", fsync.shown("ms"));
    println!(
        "median (least–most) where something was measured several times; ratio: how many times better astradesk is\n"
    );
    for note in notes {
        println!("* {note}");
    }
    match missed.as_slice() {
        [] => println!("\nevery aim is met"),
        missed => println!("\nMISSED: {}", missed.join("; ")),
    }
    // Somebody else's work cannot be told from ours in the figures: so it is told beside them.
    println!("load average of the machine before the bench began: {busy}");
    Ok(())
}

/// Of the last minute: how many others want the cores.
pub(super) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().filter(|text| !text.is_empty()).unwrap_or("unknown").to_owned()
}

/// How long a durable write takes here, without which no rate of durable evidence can be judged.
fn fsync_time(work: &Path) -> Result<Sample> {
    let mut file = File::create(work.join("fsync")).context("cannot write to the disk")?;
    let mut times = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        file.write_all(&[7; 4096]).and_then(|()| file.sync_data()).context("cannot write to the disk")?;
        times.push(begun.elapsed());
    }
    Ok(Sample::millis(&times))
}
