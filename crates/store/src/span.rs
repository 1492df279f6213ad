//! What each span of the chain holds: from when to when, and which kinds; so that a search leaves out the
//! spans in which there is nothing to find. A trigger of the database keeps it, whichever version writes.
//!
//! An index of times or kinds would cost a row a record; this costs a row a span.

/// The records of one span; in the migrations it stands as a number.
pub(crate) const SPAN: i64 = 256;

/// The [`bit`] of a `{kind}` in SQL, as the trigger has it.
pub(crate) const BIT: &str = "1 << ((length({kind}) + COALESCE(unicode({kind}), 0) \
     + 9 * COALESCE(unicode(substr({kind}, instr({kind}, '.') + 1)), 0)) % 63)";

/// The bit of a kind: one of 63, by its length and the first letters of its two words, so that neither a new kind
/// nor another order changes it. That two kinds share one costs time, and no record: each is compared by its name
/// as well.
pub(crate) fn bit(kind: &str) -> i64 {
    let first = |text: &str| text.chars().next().map_or(0, u64::from);
    let second = kind.split_once('.').map_or(kind, |(_, second)| second);
    1 << ((kind.chars().count() as u64 + first(kind) + 9 * first(second)) % 63)
}

/// The bits of these kinds.
pub(crate) fn bits(kinds: &[String]) -> i64 {
    kinds.iter().fold(0, |bits, kind| bits | bit(kind))
}
