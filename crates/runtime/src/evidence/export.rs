//! The file that is verified offline: one JSON object a line.
//!
//! | line | what it is |
//! |---|---|
//! | `{"cut":CHECKPOINT}` | first, if records up to there were removed by retention |
//! | `{"begin":{"seq","hash"}}` | first, if the export is of a range that begins behind that record |
//! | `{"selection":TEXT}` | first, if records are left out: it cannot be verified as a chain |
//! | `{"seq","hash","body"}` | a record: `hash` is the SHA-256 of the text `body` |
//! | `{"checkpoint":CHECKPOINT}` | behind the record that it is of; the last line is one |

use super::verify::{Report, Verifier};
use super::{Checkpoint, TrustedKey};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Head, Record};
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, BufRead, Read as _, Write};

/// The longest line that is read, in bytes.
pub const MAX_LINE: usize = 16 * 1024 * 1024;

/// A line of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The records up to here were removed.
    Cut(Checkpoint),
    /// The records up to here are not in this export.
    Begin(Head),
    /// Only these records are in this export.
    Selection(String),
    /// A record.
    Record(Record),
    /// A checkpoint.
    Checkpoint(Checkpoint),
}

/// A line as JSON: one of these, with nothing else.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<Digest>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Checkpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<Checkpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    begin: Option<Head>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    selection: Option<String>,
}

impl Written<'_> {
    fn line(self) -> Option<Line> {
        let record = match (self.seq, self.hash, self.body) {
            (Some(seq), Some(hash), Some(body)) => {
                Some(Line::Record(Record { seq, body: body.into_owned(), hash }))
            }
            (None, None, None) => None,
            _ => return None,
        };
        let lines = [
            record,
            self.checkpoint.map(Line::Checkpoint),
            self.cut.map(Line::Cut),
            self.begin.map(Line::Begin),
            self.selection.map(Line::Selection),
        ];
        let mut lines = lines.into_iter().flatten();
        lines.next().filter(|_| lines.next().is_none())
    }
}

/// Reads an export, a line at a time.
pub struct Reader<R> {
    input: R,
    buffer: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Reader<R> {
    /// A reader at the first line.
    pub fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), number: 0 }
    }

    /// The number of the line that was read last, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// [`Code::EvidenceBroken`] for what is no line of an export, [`Code::ConfigInvalid`] for what cannot be read.
    pub fn line(&mut self) -> Result<Option<Line>> {
        self.buffer.clear();
        self.number += 1;
        let number = self.number;
        let mut limited = (&mut self.input).take(MAX_LINE as u64 + 1);
        let read = limited.read_until(b'\n', &mut self.buffer).map_err(|error| {
            Error::new(Code::ConfigInvalid, format!("line {number} cannot be read: {error}"))
        })?;
        if read == 0 {
            return Ok(None);
        }
        let broken = |what: &str| {
            Error::new(Code::EvidenceBroken, format!("line {number} {what}")).with_detail("line", number)
        };
        if read > MAX_LINE {
            return Err(broken("is longer than any record"));
        }
        let written: Written<'_> =
            serde_json::from_slice(&self.buffer).map_err(|_| broken("is no record and no checkpoint"))?;
        written.line().map(Some).ok_or_else(|| broken("is not one record or one checkpoint"))
    }
}

/// Writes an export.
pub struct Writer<W> {
    out: W,
    last: u64,
    waiting: VecDeque<Checkpoint>,
}

impl<W: Write> Writer<W> {
    /// A writer of the first line.
    pub fn new(out: W) -> Self {
        Self { out, last: 0, waiting: VecDeque::new() }
    }

    /// Says that the records up to here were removed.
    pub fn cut(&mut self, cut: &Checkpoint) -> io::Result<()> {
        self.last = cut.head().seq;
        self.write(&Written { cut: Some(cut.clone()), ..Written::default() })
    }

    /// Says that the records up to here are not in this export.
    pub fn begin(&mut self, after: Head) -> io::Result<()> {
        self.last = after.seq;
        self.write(&Written { begin: Some(after), ..Written::default() })
    }

    /// Says which records are in this export, in words.
    pub fn selection(&mut self, words: &str) -> io::Result<()> {
        self.write(&Written { selection: Some(words.to_owned()), ..Written::default() })
    }

    /// Writes a record, and the checkpoints that have waited for it.
    pub fn record(&mut self, record: &Record) -> io::Result<()> {
        let body = Some(Cow::Borrowed(record.body.as_str()));
        self.write(&Written { seq: Some(record.seq), hash: Some(record.hash), body, ..Written::default() })?;
        self.last = record.seq;
        while let Some(due) = self.waiting.pop_front_if(|checkpoint| checkpoint.head().seq <= record.seq) {
            self.write_checkpoint(due)?;
        }
        Ok(())
    }

    /// Writes a checkpoint; one of a record to come waits for it. They are given in order.
    pub fn checkpoint(&mut self, checkpoint: Checkpoint) -> io::Result<()> {
        if checkpoint.head().seq <= self.last {
            return self.write_checkpoint(checkpoint);
        }
        self.waiting.push_back(checkpoint);
        Ok(())
    }

    /// Writes what is left.
    pub fn finish(mut self) -> io::Result<()> {
        while let Some(left) = self.waiting.pop_front() {
            self.write_checkpoint(left)?;
        }
        self.out.flush()
    }

    fn write_checkpoint(&mut self, checkpoint: Checkpoint) -> io::Result<()> {
        self.write(&Written { checkpoint: Some(checkpoint), ..Written::default() })
    }

    fn write(&mut self, line: &Written<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }
}

/// Verifies an export: its chain, its checkpoints, that the last of them is of the last record, and that it agrees
/// with checkpoints that were kept elsewhere (at most [`MAX_AHEAD`](super::verify::MAX_AHEAD)).
///
/// # Errors
/// [`Code::EvidenceBroken`], with the first bad record in the detail `seq`, or the first bad line in `line`.
pub fn verify(input: impl BufRead, key: Option<TrustedKey>, kept: &[Checkpoint]) -> Result<Report> {
    let mut verifier = Verifier::new(key);
    kept.iter().try_for_each(|checkpoint| verifier.checkpoint(checkpoint))?;
    let mut reader = Reader::new(input);
    while let Some(line) = reader.line()? {
        let number = reader.number();
        match line {
            Line::Record(record) => {
                verifier.record(&record.body, record.hash)?;
                if verifier.head().seq != record.seq {
                    let what = format!(
                        "line {number} says that record {} is record {}",
                        verifier.head().seq,
                        record.seq
                    );
                    return Err(Error::new(Code::EvidenceBroken, what).with_detail("line", number));
                }
            }
            Line::Checkpoint(checkpoint) => verifier.checkpoint(&checkpoint)?,
            Line::Cut(cut) if number == 1 => verifier.cut(&cut)?,
            Line::Begin(after) if number == 1 => verifier.begin(after)?,
            Line::Selection(words) => {
                let what = format!(
                    "the export has a selection of the records ({}): a chain with gaps cannot be verified",
                    shown(&words, 200)
                );
                return Err(Error::new(Code::EvidenceBroken, what)
                    .with_remedy("export the whole range, without filters"));
            }
            Line::Cut(_) | Line::Begin(_) => {
                let what = format!("line {number} says where the export begins, and is not its first");
                return Err(Error::new(Code::EvidenceBroken, what).with_detail("line", number));
            }
        }
    }
    let report = verifier.finish()?;
    if report.signed.is_none() || report.unsigned > 0 {
        let what = "the export has no checkpoint of its last record, so it may be cut short or added to";
        return Err(Error::new(Code::EvidenceBroken, what).with_detail("seq", report.head.seq));
    }
    Ok(report)
}
