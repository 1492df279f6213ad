//! Verification of a chain, record by record, in constant memory.
//!
//! What is found, and named with the first bad record: a record that was edited, removed, added or moved; a history
//! that ends before a checkpoint (truncated) or differs from one (forked); a checkpoint that another key has signed;
//! a beginning that is passed off as retention.

use super::{Checkpoint, TrustedKey};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::Head;
use astradesk_core::{Code, Error, Result};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The most checkpoints that may be given before the records that they are of.
pub const MAX_AHEAD: usize = 64;

/// Verifies a chain as it comes: first [`cut`](Self::cut) or [`begin`](Self::begin), if it does not begin with record
/// 1; then the records in order, and each checkpoint right behind its record, or before it; then
/// [`finish`](Self::finish). After an error there is nothing more to ask.
#[derive(Debug)]
pub struct Verifier {
    key: Option<TrustedKey>,
    trusted: bool,
    begun: Head,
    is_cut: bool,
    head: Head,
    ahead: BTreeMap<u64, Digest>,
    checkpoints: u64,
    older: u64,
    signed: Option<Head>,
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The first record's place.
    pub first: u64,
    /// How many records there are.
    pub records: u64,
    /// The end of the chain.
    pub head: Head,
    /// How many checkpoints agree with the chain.
    pub checkpoints: u64,
    /// How many are of records before the first one; only their signatures could be verified.
    pub older: u64,
    /// The last place that a checkpoint pins.
    pub signed: Option<Head>,
    /// How many records stand behind it. Whoever can write the store could have changed these.
    pub unsigned: u64,
    /// Whether older records were removed, and the key has signed that.
    pub is_cut: bool,
    /// The key that has signed the checkpoints.
    pub key: Option<TrustedKey>,
    /// Whether the key was known before, and did not come with the evidence.
    pub trusted: bool,
}

impl Verifier {
    /// A verification of nothing yet. Without a trusted key, the one that comes with the first checkpoint has to
    /// have signed all of them.
    pub fn new(key: Option<TrustedKey>) -> Self {
        Self {
            trusted: key.is_some(),
            key,
            begun: Head::EMPTY,
            is_cut: false,
            head: Head::EMPTY,
            ahead: BTreeMap::new(),
            checkpoints: 0,
            older: 0,
            signed: None,
        }
    }

    /// The chain begins behind the records that were removed on purpose.
    ///
    /// # Errors
    /// [`Code::EvidenceBroken`]: the key has not signed that they were.
    pub fn cut(&mut self, cut: &Checkpoint) -> Result<()> {
        let head = self.authentic(cut)?;
        if !cut.is_cut() {
            let what = "where the chain begins is only a checkpoint: nobody has signed that the records up to there were removed";
            return Err(broken(head.seq, what));
        }
        self.begin(head)?;
        self.is_cut = true;
        self.signed = Some(head);
        Ok(())
    }

    /// The chain is a part of a longer one, behind this record. A checkpoint later on pins that too.
    ///
    /// # Errors
    /// [`Code::EvidenceBroken`]: the chain has begun already, or a checkpoint says otherwise.
    pub fn begin(&mut self, after: Head) -> Result<()> {
        if self.head != Head::EMPTY {
            return Err(broken(after.seq, "the chain begins a second time"));
        }
        (self.begun, self.head, self.signed) = (after, after, None);
        let ahead = self.ahead.split_off(&after.seq);
        self.older += self.ahead.len() as u64;
        self.checkpoints -= self.ahead.len() as u64;
        self.ahead = ahead;
        self.pin()
    }

    /// The next record: the text that is hashed, and its hash.
    ///
    /// # Errors
    /// [`Code::EvidenceBroken`], with the record's place in the detail `seq`.
    pub fn record(&mut self, body: &str, hash: Digest) -> Result<()> {
        self.head = self.head.verify(body, hash)?;
        if self.ahead.is_empty() { Ok(()) } else { self.pin() }
    }

    /// A checkpoint: of the last record, or of a later one, of which there may be [`MAX_AHEAD`].
    ///
    /// # Errors
    /// [`Code::EvidenceBroken`].
    pub fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let Head { seq, hash } = self.authentic(checkpoint)?;
        self.checkpoints += 1;
        match seq.cmp(&self.head.seq) {
            Ordering::Equal => self.agree(hash),
            Ordering::Greater => match self.ahead.insert(seq, hash) {
                Some(other) if other != hash => Err(forked(seq)),
                _ if self.ahead.len() > MAX_AHEAD => {
                    Err(broken(seq, "its checkpoint is one of too many that come before their records"))
                }
                _ => Ok(()),
            },
            Ordering::Less if seq < self.begun.seq => {
                self.older += 1;
                self.checkpoints -= 1;
                Ok(())
            }
            Ordering::Less => Err(broken(seq, "its checkpoint does not stand behind it")),
        }
    }

    /// The last record that was verified.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The end of the chain.
    ///
    /// # Errors
    /// [`Code::EvidenceBroken`]: a checkpoint is of a record that the chain does not have.
    pub fn finish(self) -> Result<Report> {
        let Head { seq: last, .. } = self.head;
        if let Some(seq) = self.ahead.keys().next() {
            let what = format!(
                "a checkpoint was signed for it, and the chain ends at record {last}: it was truncated"
            );
            return Err(broken(*seq, what));
        }
        let pinned = self.signed.map_or(self.begun.seq, |signed| signed.seq);
        Ok(Report {
            first: self.begun.seq + 1,
            records: last - self.begun.seq,
            head: self.head,
            checkpoints: self.checkpoints,
            older: self.older,
            signed: self.signed,
            unsigned: last - pinned,
            is_cut: self.is_cut,
            key: self.key,
            trusted: self.trusted,
        })
    }

    /// What the checkpoint states, if the key has signed it.
    fn authentic(&mut self, checkpoint: &Checkpoint) -> Result<Head> {
        if self.key.is_none() {
            self.key = checkpoint.key().cloned();
        }
        let key = self.key.as_ref().ok_or_else(|| {
            broken(
                checkpoint.head().seq,
                "its checkpoint came without a key, and none was given to verify it with",
            )
        })?;
        checkpoint.verify(key)
    }

    /// Compares the record that was reached with what was signed for it before it came.
    fn pin(&mut self) -> Result<()> {
        self.ahead.remove(&self.head.seq).map_or(Ok(()), |hash| self.agree(hash))
    }

    fn agree(&mut self, hash: Digest) -> Result<()> {
        if hash != self.head.hash {
            return Err(forked(self.head.seq));
        }
        self.signed = Some(self.head);
        Ok(())
    }
}

fn forked(seq: u64) -> Error {
    broken(seq, "another record was signed in its place: the history was forked or rewritten")
}

fn broken(seq: u64, what: impl std::fmt::Display) -> Error {
    Error::new(Code::EvidenceBroken, format!("record {seq}: {what}")).with_detail("seq", seq)
}
