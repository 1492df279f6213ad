//! The one task that writes: many callers' changes in one transaction.

use crate::change::Prepared;
use crate::errand::Errand;
use crate::error::{closed, unavailable};
use crate::look::{self, KEPT_PREPARED};
use crate::script::{self, Beat, Signs};
use crate::view::Writes;
use astradesk_core::run::Holder;
use astradesk_core::{Error, Result};
use astradesk_runtime::port::{CommitError, Committed};
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqlitePool};
use tokio::sync::{mpsc, oneshot};

/// Something for the writer to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Make a change durable.
    Commit(Box<Prepared>, oneshot::Sender<Result<Committed, CommitError>>),
    /// Find out whether the store can write.
    Probe(oneshot::Sender<Result<()>>),
    /// Write the lease of the holder.
    Beat(Beat, oneshot::Sender<Result<()>>),
    /// Write something small by itself.
    Errand(Errand, oneshot::Sender<Result<u64>>),
    /// Finish what is waiting, then end.
    Close(oneshot::Sender<()>),
}

/// The writer.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Where connections come from: of one connection at most.
    pub(crate) pool: SqlitePool,
    /// Whether others use the pool too, so that the connection goes back after each group.
    pub(crate) shared: bool,
    /// Who beats here.
    pub(crate) holder: Holder,
    /// What is to be done.
    pub(crate) jobs: mpsc::Receiver<Job>,
    /// The most changes of one group.
    pub(crate) group: usize,
}

/// The jobs that are done in one transaction.
#[derive(Debug, Default)]
struct Batch {
    changes: Vec<(Prepared, oneshot::Sender<Result<Committed, CommitError>>)>,
    signs: Signs,
    /// Those who wait for a sign to be written.
    watchers: Vec<oneshot::Sender<Result<()>>>,
    errands: Vec<Waiting>,
    closers: Vec<oneshot::Sender<()>>,
}

/// An errand, and who waits for it.
type Waiting = (Errand, oneshot::Sender<Result<u64>>);

type Verdict = (oneshot::Sender<Result<Committed, CommitError>>, Result<Committed, CommitError>);

impl Writer {
    /// Writes until it is told to close, or nobody is left who could tell it anything.
    pub(crate) async fn run(mut self) {
        let mut held = None;
        let mut closers = Vec::new();
        while let Some(job) = self.jobs.recv().await {
            let mut batch = Batch::default();
            self.take(&mut batch, job);
            // Callers that were just answered, or are about to commit, get to it first: they share the fsync.
            tokio::task::yield_now().await;
            self.drain(&mut batch);
            self.write(&mut held, &mut batch).await;
            // More may have come while the batch was written.
            closers.append(&mut batch.closers);
            self.run_errands(&mut held, batch.errands).await;
            if self.shared {
                held = None;
            }
        }
        if closers.is_empty() {
            drop(held);
        } else {
            self.leave(held).await;
        }
        self.pool.close().await;
        for closer in closers {
            let _ = closer.send(());
        }
    }

    /// Takes the lease of the holder back, so that what it held can be claimed at once.
    async fn leave(&self, held: Option<PoolConnection<Sqlite>>) {
        let connection = match held {
            Some(connection) => Ok(connection),
            None => self.pool.acquire().await,
        };
        let delete = sqlx::query("DELETE FROM holders WHERE id = ?").bind(self.holder.to_string());
        let left = match connection {
            Ok(mut connection) => delete.execute(&mut *connection).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if let Err(error) = left {
            tracing::debug!(error = %unavailable("write to the store", &error), "the lease of this process stays");
        }
    }

    fn take(&mut self, batch: &mut Batch, job: Job) {
        match job {
            Job::Commit(change, reply) => batch.changes.push((*change, reply)),
            Job::Probe(reply) => {
                batch.signs.probe = true;
                batch.watchers.push(reply);
            }
            Job::Beat(beat, reply) => {
                batch.signs.beat = Some(beat);
                batch.watchers.push(reply);
            }
            Job::Errand(errand, reply) => batch.errands.push((errand, reply)),
            Job::Close(reply) => {
                // What waits is still received, and nothing new.
                self.jobs.close();
                batch.closers.push(reply);
            }
        }
    }

    /// Takes what is waiting, up to a group.
    fn drain(&mut self, batch: &mut Batch) {
        while batch.changes.len() < self.group {
            let Ok(job) = self.jobs.try_recv() else { return };
            self.take(batch, job);
        }
    }

    /// Writes a batch and answers everybody in it.
    async fn write(&mut self, held: &mut Option<PoolConnection<Sqlite>>, batch: &mut Batch) {
        if batch.changes.is_empty() && batch.watchers.is_empty() {
            return;
        }
        match self.transaction(held, batch).await {
            Ok(verdicts) => {
                // A caller that does not wait any more has nothing to be told.
                for (reply, verdict) in verdicts {
                    let _ = reply.send(verdict);
                }
                for watcher in batch.watchers.drain(..) {
                    let _ = watcher.send(Ok(()));
                }
            }
            Err((error, verdicts)) => {
                let refused = verdicts.into_iter().map(|(reply, _)| reply);
                for reply in batch.changes.drain(..).map(|(_, reply)| reply).chain(refused) {
                    let _ = reply.send(Err(CommitError::Unavailable(error.clone())));
                }
                for watcher in batch.watchers.drain(..) {
                    let _ = watcher.send(Err(error.clone()));
                }
            }
        }
    }

    /// Does each errand in a transaction of its own.
    async fn run_errands(&self, held: &mut Option<PoolConnection<Sqlite>>, errands: Vec<Waiting>) {
        for (errand, reply) in errands {
            let done = match self.connection(held).await {
                Ok(connection) => errand.run(connection).await,
                Err(error) => Err(error),
            };
            if let Err(error) = &done {
                tracing::warn!(%error, "an errand of the store failed");
                self.roll_back(held).await;
            }
            let _ = reply.send(done);
            if self.shared {
                *held = None;
            }
        }
    }

    /// Some errors end the transaction by themselves, and then there is none to roll back. As the two cannot be
    /// told apart here, the connection goes, and with it whatever was open.
    async fn roll_back(&self, held: &mut Option<PoolConnection<Sqlite>>) {
        let Some(connection) = held else { return };
        let rolled_back = sqlx::query("ROLLBACK").execute(&mut **connection).await;
        if rolled_back.is_err() && !self.shared {
            connection.close_on_drop();
            *held = None;
        }
    }

    async fn connection<'c>(
        &self,
        held: &'c mut Option<PoolConnection<Sqlite>>,
    ) -> Result<&'c mut PoolConnection<Sqlite>> {
        if held.is_none() {
            let connection = self.pool.acquire().await;
            *held = Some(connection.map_err(|error| unavailable("open the store for writing", &error))?);
        }
        held.as_mut().ok_or_else(closed)
    }

    /// One transaction. When it fails, every change of the batch is still in the batch, or among the
    /// verdicts that are void.
    async fn transaction(
        &mut self,
        held: &mut Option<PoolConnection<Sqlite>>,
        batch: &mut Batch,
    ) -> Result<Vec<Verdict>, (Error, Vec<Verdict>)> {
        let mut verdicts = Vec::with_capacity(batch.changes.len());
        let connection = match self.connection(held).await {
            Ok(connection) => connection,
            Err(error) => return Err((error, verdicts)),
        };
        match self.attempt(connection, batch, &mut verdicts).await {
            Ok(()) => Ok(verdicts),
            Err(error) => {
                tracing::warn!(error = %error, changes = verdicts.len() + batch.changes.len(), "commit failed");
                self.roll_back(held).await;
                Err((error, verdicts))
            }
        }
    }

    async fn attempt(
        &mut self,
        connection: &mut PoolConnection<Sqlite>,
        batch: &mut Batch,
        verdicts: &mut Vec<Verdict>,
    ) -> Result<()> {
        let known = batch.changes.len();
        let (mut head, mut view) = look::begin(connection, &batch.changes).await?;
        // More have come while the lock was waited for: they share this fsync.
        self.drain(batch);
        look::further(connection, &mut view, &batch.changes, known).await?;
        let mut writes = Writes::default();
        for (change, reply) in batch.changes.drain(..) {
            let verdict = view.admit(change, &mut head, &mut writes);
            verdicts.push((reply, verdict));
        }
        if writes.is_empty() && batch.watchers.is_empty() {
            let ended = sqlx::query("ROLLBACK").execute(&mut **connection).await;
            return ended.map(|_| ()).map_err(|error| unavailable("read the store", &error));
        }
        let prepared = verdicts.len() <= KEPT_PREPARED;
        let mut script = script::commit(writes, &view, &self.holder, &batch.signs);
        let done = script.build().persistent(prepared).execute(&mut **connection).await;
        done.map(|_| ()).map_err(|error| unavailable("write to the store", &error))
    }
}

/// Hands `job` to the writer, unless too many wait already.
pub(crate) fn enqueue(jobs: &mpsc::Sender<Job>, job: Job) -> Result<()> {
    jobs.try_send(job).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => Error::new(
            astradesk_core::Code::StoreUnavailable,
            format!("{} changes are waiting to be written already, which is the limit", jobs.max_capacity()),
        )
        .with_remedy("repeat the request a little later"),
        mpsc::error::TrySendError::Closed(_) => closed(),
    })
}
