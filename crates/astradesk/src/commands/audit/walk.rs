//! How far a long walk through the evidence has come.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::Instant;

/// How often the terminal is told, in records.
const EVERY: u64 = 4096;

/// How far it has come, on standard error if that is a terminal.
pub(super) struct Walk {
    bar: Option<ProgressBar>,
    began: Instant,
    seen: u64,
}

impl Walk {
    /// A walk of so many records, if that is known.
    pub(super) fn new(length: Option<u64>) -> Self {
        let template = match length {
            Some(_) => "{bar:30.cyan/dim} {human_pos} of {human_len} records, {per_sec}, {eta} left",
            None => "{spinner:.cyan} {human_pos} records, {per_sec}",
        };
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            bar.with_style(style(template))
        });
        Self { bar, began: Instant::now(), seen: 0 }
    }

    /// The same, of bytes.
    pub(super) fn of_bytes(self) -> Self {
        let template = "{bar:30.cyan/dim} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        self.bar.iter().for_each(|bar| bar.set_style(style(template)));
        self
    }

    /// It has come so far.
    pub(super) fn at(&mut self, position: u64) {
        self.seen += 1;
        if let Some(bar) = self.bar.as_ref().filter(|_| self.seen.is_multiple_of(EVERY)) {
            bar.set_position(position);
        }
    }

    /// Takes the display away; gives how long it took, in seconds.
    pub(super) fn end(self) -> f64 {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.began.elapsed().as_secs_f64()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
