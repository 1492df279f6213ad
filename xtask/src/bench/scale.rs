//! Very many runs, on a sandbox in a process of its own: a recovery, and a crowd of rollouts at once.
//!
//! [`site`] is the sandbox with its Deployments; [`relay`] counts what the API server is asked; [`runs`] submits and
//! follows; [`recovery`] and [`crowd`] measure. [`sandbox`] measures what they run on.

mod crowd;
mod recovery;
mod relay;
mod runs;
mod sandbox;
mod site;

use std::path::Path;

use anyhow::Result;

use super::figures::{Aim, Better, Row, Sample};

/// How many runs of each kind are wanted.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) recovery: Option<usize>,
    pub(super) crowd: Option<usize>,
    pub(super) sandbox: bool,
}

impl Wanted {
    pub(super) fn is_something(self) -> bool {
        self.recovery.is_some() || self.crowd.is_some() || self.sandbox
    }
}

/// Measures what is wanted: lines of the table, and what must be known about them.
pub(super) fn measure(binary: &Path, work: &Path, wanted: Wanted) -> Result<(Vec<Row>, Vec<String>)> {
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    if wanted.sandbox {
        sandbox::measure(binary, &work.join("sandbox"))?.tell(&mut rows, &mut notes);
    }
    if let Some(runs) = wanted.crowd {
        crowd::measure(binary, &work.join("crowd"), runs)?.tell(&mut rows, &mut notes);
    }
    if let Some(runs) = wanted.recovery {
        recovery::measure(binary, &work.join("recovery"), runs)?.tell(&mut rows, &mut notes);
    }
    Ok((rows, notes))
}

/// A line of the table for one number.
fn row(what: impl Into<String>, unit: &'static str, value: f64, aim: Aim) -> Row {
    Row { what: what.into(), unit, ours: Sample::of([value]), peer: None, better: Better::Less, aim }
}

/// A count with its thousands apart.
fn count(number: usize) -> String {
    Sample::of([number as f64]).shown("")
}
