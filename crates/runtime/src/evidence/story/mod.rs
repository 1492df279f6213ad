//! What happened in a run, to be read: a line for each record with the time since the first one, and below it what
//! else the record has. A record or a field that this version does not know is shown as it is.

mod facts;
mod tell;
#[cfg(test)]
mod tests;

use astradesk_core::Timestamp;
use astradesk_core::evidence::Record;
use facts::Facts;
use serde_json::Value;

/// How wide the column of times is.
const TIME: usize = 11;

/// The story of one run from its records, in order.
pub fn story(records: &[Record]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut begun = None;
    for record in records {
        let Ok(Value::Object(body)) = serde_json::from_str(&record.body) else {
            lines.push(format!("record {} is not one that this version can read", record.seq));
            continue;
        };
        let mut body = Facts::new(body);
        let at = body.text("at").and_then(|at| at.parse::<Timestamp>().ok());
        if begun.is_none() {
            lines.push(heading(record.seq, body.text("run"), at));
            begun = at;
        }
        let since = at.zip(begun).map(|(at, begun)| offset(begun, at)).unwrap_or_default();
        let mut told = tell::record(body).into_iter();
        lines.push(format!("{since:>TIME$}  {}", told.next().unwrap_or_default()));
        lines.extend(told.map(|detail| format!("{:TIME$}    {detail}", "")));
    }
    lines
}

fn heading(seq: u64, run: Option<String>, at: Option<Timestamp>) -> String {
    let what = run.map_or_else(|| "no run".to_owned(), |run| format!("run {run}"));
    let when = at.map(|at| format!(", {at:.0}")).unwrap_or_default();
    format!("{what}{when}, from record {seq}")
}

/// `+12.345 s`, `+3m 12s`, `+2h 05m`, `+1d 02h`
fn offset(from: Timestamp, to: Timestamp) -> String {
    let milliseconds = to.as_millisecond() - from.as_millisecond();
    let sign = if milliseconds < 0 { '-' } else { '+' };
    let milliseconds = milliseconds.unsigned_abs();
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("{sign}{seconds}.{:03} s", milliseconds % 1000),
        60..3600 => format!("{sign}{}m {:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{sign}{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{sign}{}d {:02}h", seconds / 86400, seconds % 86400 / 3600),
    }
}
