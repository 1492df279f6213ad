//! Records and checkpoints from behind a door, page by page.

use crate::door::{Door, EvidencePage};
use astradesk_core::Result;
use astradesk_core::evidence::Record;
use astradesk_runtime::evidence::{Checkpoint, TrustedKey};
use astradesk_runtime::port::EvidenceFilter;
use std::collections::VecDeque;

/// Records that are asked for at once: of a gateway, and of the store.
const PAGES: (u32, u32) = (200, 2000);
/// Checkpoints that are asked for at once: as many as a gateway gives.
const CHECKPOINTS: u32 = 200;

/// Gives every record that is wanted to `take`, in order.
pub(super) async fn each(
    door: &Door,
    mut filter: EvidenceFilter,
    mut take: impl AsyncFnMut(Record) -> Result<()>,
) -> Result<()> {
    let (remote, near) = PAGES;
    filter.limit = if matches!(door, Door::Remote(_)) { remote } else { near };
    loop {
        let EvidencePage { records, .. } = door.evidence(&filter).await?;
        let Some(last) = records.last() else { return Ok(()) };
        filter.after = last.seq;
        for record in records {
            take(record).await?;
        }
    }
}

/// Where the chain begins, if old records were removed.
pub(super) async fn cut(door: &Door) -> Result<Option<Checkpoint>> {
    let first = EvidenceFilter { limit: 1, ..EvidenceFilter::default() };
    Ok(door.evidence(&first).await?.cut)
}

/// The checkpoints that were kept, as the records come that they are of.
pub(super) struct Kept<'a> {
    door: &'a Door,
    /// What has signed them, unless somebody lies: their notes alone do not say.
    key: Option<TrustedKey>,
    next: VecDeque<Checkpoint>,
    after: u64,
    is_last: bool,
}

impl<'a> Kept<'a> {
    /// Those of records after this number, which the key of the fresh checkpoint `now` should have signed.
    pub(super) fn new(door: &'a Door, after: u64, now: &Checkpoint) -> Self {
        Self { door, key: now.key().cloned(), next: VecDeque::new(), after, is_last: false }
    }

    /// The next one, if it is of this record or of one before it.
    pub(super) async fn due(&mut self, seq: u64) -> Result<Option<Checkpoint>> {
        if self.next.is_empty() && !self.is_last {
            let page = self.door.kept_checkpoints(self.after, CHECKPOINTS).await?;
            self.next = page.into_iter().map(|one| self.key.iter().fold(one, Checkpoint::with_key)).collect();
            self.is_last = (self.next.len() as u32) < CHECKPOINTS;
            self.after = self.next.back().map_or(self.after, |last| last.head().seq);
        }
        Ok(self.next.pop_front_if(|next| next.head().seq <= seq))
    }
}
