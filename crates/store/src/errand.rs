//! What is written without a change: each in a transaction of its own, between the groups.

use crate::error::unavailable;
use crate::{outbox, prune, read};
use astradesk_core::{Result, Timestamp};
use astradesk_runtime::port::{Announcement, Attempted, Cut};
use sqlx::SqliteConnection;
use tokio::sync::oneshot;

/// Something small to write. It gives how many rows it was about.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Announcements that are due are taken, at most `limit`; they count when the errand has succeeded.
    Lease { now: Timestamp, limit: u32, taken: oneshot::Sender<Vec<Announcement>> },
    /// How the attempt to tell an announcement went.
    Attempted(String, Attempted),
    /// A dead announcement is due again.
    Revive(String, Timestamp),
    /// A signed checkpoint of a record.
    Checkpoint { seq: u64, at: Timestamp, note: String },
    /// The chain begins here.
    Cut(Cut),
    /// Some of the records before the cut go.
    PruneRecords,
    /// These runs go.
    PruneRuns(Vec<String>),
}

impl Errand {
    /// Does it. When it fails, the transaction may still be open.
    pub(crate) async fn run(self, connection: &mut SqliteConnection) -> Result<u64> {
        let failed = |error| unavailable("write to the store", &error);
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await.map_err(failed)?;
        let rows = self.write(connection).await?;
        sqlx::query("COMMIT").execute(connection).await.map_err(failed)?;
        Ok(rows)
    }

    async fn write(self, connection: &mut SqliteConnection) -> Result<u64> {
        let failed = |error| unavailable("write to the store", &error);
        match self {
            Self::Lease { now, limit, taken } => {
                let leased = outbox::lease(connection, now, limit).await?;
                let rows = leased.len() as u64;
                // A caller that does not wait any more gives them back by not telling them.
                let _ = taken.send(leased);
                Ok(rows)
            }
            Self::Attempted(id, attempted) => {
                outbox::attempted(connection, id, attempted).await.map_err(failed)
            }
            Self::Revive(id, now) => outbox::revive(connection, id, now).await.map_err(failed),
            Self::Checkpoint { seq, at, note } => {
                let keep = "INSERT INTO checkpoints (seq, at, note) VALUES (?, ?, ?) \
                            ON CONFLICT (seq) DO UPDATE SET at = excluded.at, note = excluded.note";
                let keep = sqlx::query(keep).bind(read::number(seq)).bind(at.as_microsecond()).bind(note);
                Ok(keep.execute(connection).await.map_err(failed)?.rows_affected())
            }
            Self::Cut(cut) => prune::begin(connection, &cut).await,
            Self::PruneRecords => prune::records(connection).await,
            Self::PruneRuns(ids) => prune::runs(connection, &ids).await,
        }
    }
}
