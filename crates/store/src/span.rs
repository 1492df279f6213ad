//! What each span of the chain holds: from when to when, and which kinds; so that a search leaves out the
//! spans in which there is nothing to find.
//!
//! An index of times or kinds would cost a row a record; this costs a row a group.

use crate::change::EvidenceRow;
use std::collections::BTreeMap;

/// The records of one span; in the migrations it stands as a number.
pub(crate) const SPAN: i64 = 256;

/// The spans that a group writes to, by their number.
#[derive(Debug, Default)]
pub(crate) struct Spans(BTreeMap<i64, Held>);

/// What a span holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// The earliest and the latest time, in microseconds.
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
    /// The [`bit`]s of the kinds.
    pub(crate) kinds: i64,
}

impl Spans {
    pub(crate) fn note(&mut self, row: &EvidenceRow) {
        let held = Held { first_at: row.at, last_at: row.at, kinds: bit(&row.kind) };
        let span = row.record.seq as i64 / SPAN;
        self.0.entry(span).and_modify(|so_far| so_far.join(held)).or_insert(held);
    }

    pub(crate) fn rows(self) -> Vec<(i64, Held)> {
        self.0.into_iter().collect()
    }
}

impl Held {
    fn join(&mut self, other: Self) {
        self.first_at = self.first_at.min(other.first_at);
        self.last_at = self.last_at.max(other.last_at);
        self.kinds |= other.kinds;
    }
}

/// The bit of a kind: one of 63, by its name, so that neither a new kind nor another order changes it. That two
/// kinds share one costs time, and no record: each is compared by its name as well.
pub(crate) fn bit(kind: &str) -> i64 {
    let hash = kind.bytes().fold(0_u64, |hash, byte| (hash * 31 + u64::from(byte)) % 63);
    1 << hash
}

/// The bits of these kinds.
pub(crate) fn bits(kinds: &[String]) -> i64 {
    kinds.iter().fold(0, |bits, kind| bits | bit(kind))
}
