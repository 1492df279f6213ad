//! A run's progress, as its events tell it.

use super::plain::folded;
use super::{DIM, approval, line, words};
use crate::cli::Output;
use astradesk_core::Requirement;
use astradesk_runtime::port::RunEvent;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize as _;
use serde_json::Value;
use std::io::IsTerminal as _;
use std::time::Duration;

/// A run's progress.
pub struct Live {
    output: Output,
    bar: Option<ProgressBar>,
    last: String,
    /// How many steps the run had at its last event.
    steps: usize,
    /// Who had approved it by its last event; `None` before somebody was asked.
    given: Option<Vec<String>>,
}

impl Live {
    /// Starts showing.
    pub fn new(output: Output) -> Self {
        let bar = (output == Output::Text && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}");
            let bar = ProgressBar::new_spinner();
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(80));
            bar
        });
        Self { output, bar, last: String::new(), steps: usize::MAX, given: None }
    }

    /// Shows one event, unless it says the same as the one before it.
    pub fn event(&mut self, event: &RunEvent) {
        if self.output == Output::Json {
            return;
        }
        let message = match event.kind.as_str() {
            "progress" => words(event.data.get("message").and_then(Value::as_str).unwrap_or_default()),
            // A step is added only to undo another one.
            _ if self.has_more_steps(event) => "undoing it".to_owned(),
            _ => match self.approvals(event) {
                Some(message) => message,
                None => return,
            },
        };
        if message == self.last {
            return;
        }
        message.clone_into(&mut self.last);
        let shown = format!("  {DIM}{}{DIM:#} {message}", event.at.strftime("%H:%M:%S%.1f"));
        match &self.bar {
            Some(bar) => {
                bar.println(folded(&shown, textwrap::termwidth()));
                bar.set_message(message);
            }
            None => line(shown),
        }
    }

    fn has_more_steps(&mut self, event: &RunEvent) -> bool {
        let Some(steps) = event.data.get("steps").and_then(Value::as_array) else { return false };
        let before = std::mem::replace(&mut self.steps, steps.len());
        steps.len() > before
    }

    /// What the event says of approvals, if that is new.
    fn approvals(&mut self, event: &RunEvent) -> Option<String> {
        let asked = event.data.get("approvals")?;
        let required = Requirement::deserialize(asked.get("required")?).ok()?;
        let given = Vec::<String>::deserialize(asked.get("given")?).ok()?;
        let before = self.given.replace(given.clone());
        approval::news(before.as_deref(), &given, &required)
    }

    /// Stops showing.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
