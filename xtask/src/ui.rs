//! What a person sees: one line per stage, with its time.

use std::io::{IsTerminal, Write as _};
use std::time::{Duration, Instant};

use anyhow::Result;

/// How long a stage usually takes; a slow one announces itself also where there is no terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// A few seconds.
    Quick,
    /// Minutes.
    Slow,
}

/// Runs `work` as the stage `name`, and prints one line with the time that it took.
pub(crate) fn stage<T>(name: &str, pace: Pace, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let terminal = std::io::stderr().is_terminal();
    if terminal {
        eprint!("  … {name}");
        let _ = std::io::stderr().flush();
    } else if pace == Pace::Slow {
        eprintln!("  … {name}");
    }
    let begun = Instant::now();
    let result = work();
    let mark = if result.is_ok() { '✓' } else { '✗' };
    let back = if terminal { "\r\x1b[2K" } else { "" };
    eprintln!("{back}  {mark} {name}  {}", human(begun.elapsed()));
    result
}

/// A heading above the stages of one task.
pub(crate) fn heading(text: &str) {
    eprintln!("{text}");
}

/// Something that is done, and took no time to speak of.
pub(crate) fn done(text: &str) {
    eprintln!("  ✓ {text}");
}

/// A line that is no stage: something that the reader must know.
pub(crate) fn note(text: &str) {
    eprintln!("  ! {text}");
}

/// A duration as a person says it: `0.3 s`, `42 s`, `7 min 05 s`.
pub(crate) fn human(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        whole @ 10..60 => format!("{whole} s"),
        whole => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (millis, said) in [
            (0, "0.0 s"),
            (340, "0.3 s"),
            (9_960, "10.0 s"),
            (42_900, "42 s"),
            (60_000, "1 min 00 s"),
            (425_000, "7 min 05 s"),
        ] {
            assert_eq!(human(Duration::from_millis(millis)), said);
        }
    }
}
