//! What is due, told side by side, until the gateway stops.

use super::post::{Answer, clients, post};
use super::{Webhook, retry};
use crate::address::Clients;
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::Engine;
use astradesk_runtime::port::{Announcement, Attempted};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often it is looked for what is due.
const LOOK: Duration = Duration::from_secs(1);
/// So many are looked at in one go.
const DUE: u32 = 1000;
/// So many attempts at the same time, of each webhook: one that is slow does not hold up the others.
const CONCURRENT: usize = 8;
/// How long one that is due may wait for room. The store leaves it to this process for 30 s, within which an attempt
/// has to come to its end; later it is given again.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long an attempt under way may still take when the gateway stops.
const STOP: Duration = Duration::from_secs(2);
/// Before the store is told once more how an attempt went.
const RECORD_AGAIN: Duration = Duration::from_secs(5);

/// Whoever is told, and how it went so far.
pub(crate) struct Webhooks {
    clients: Clients,
    receivers: BTreeMap<String, Arc<Receiver>>,
    /// The ids of the announcements with an attempt under way.
    under_way: Mutex<HashSet<String>>,
    wake: Notify,
}

struct Receiver {
    webhook: Webhook,
    room: Semaphore,
    told: AtomicU64,
    failed: AtomicU64,
    dead: AtomicU64,
}

/// How often the attempts to tell a webhook went how.
pub(crate) struct Attempts<'a> {
    pub(crate) webhook: &'a str,
    pub(crate) told: u64,
    pub(crate) failed: u64,
    pub(crate) dead: u64,
}

impl Webhooks {
    /// # Errors
    /// [`Code::ConfigInvalid`] when two have the same name.
    pub(crate) fn new(webhooks: Vec<Webhook>) -> Result<Self> {
        let mut receivers = BTreeMap::new();
        for webhook in webhooks {
            let name = webhook.name.clone();
            if receivers.insert(name.clone(), Arc::new(Receiver::new(webhook))).is_some() {
                return Err(Error::new(Code::ConfigInvalid, format!("there are two webhooks `{name}`")));
            }
        }
        Ok(Self { clients: clients()?, receivers, under_way: Mutex::default(), wake: Notify::new() })
    }

    /// Looks at once for what is due.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// How it went so far, by webhook.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = Attempts<'_>> {
        self.receivers.iter().map(|(webhook, receiver)| Attempts {
            webhook,
            told: receiver.told.load(Ordering::Relaxed),
            failed: receiver.failed.load(Ordering::Relaxed),
            dead: receiver.dead.load(Ordering::Relaxed),
        })
    }

    /// Tells what is due until `stop`. What is under way then has a moment to come to an end; what does not is
    /// told again by the next process.
    pub(crate) async fn run(self: Arc<Self>, engine: Engine, stop: CancellationToken) {
        let attempts = TaskTracker::new();
        while !stop.is_cancelled() {
            if let Err(error) = self.look(&engine, &attempts, &stop).await {
                tracing::debug!(%error, "it cannot be told who is to be told");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = sleep(LOOK) => {}
            }
        }
        attempts.close();
        attempts.wait().await;
    }

    /// Begins an attempt for everything that is due; those of one webhook wait for each other's room.
    async fn look(
        self: &Arc<Self>,
        engine: &Engine,
        attempts: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<()> {
        // What is under way now may come to its end before the answer is here, which still calls it due.
        let busy = self.under_way().clone();
        for announcement in engine.due_announcements(DUE).await? {
            if busy.contains(&announcement.id) {
                continue;
            }
            let Some(receiver) = self.receivers.get(&announcement.to) else {
                tracing::warn!(id = announcement.id, webhook = announcement.to, "there is no such webhook");
                let error = format!("no webhook `{}` is configured", announcement.to);
                engine.attempted(&announcement.id, Attempted::Dead { error }).await?;
                continue;
            };
            self.under_way().insert(announcement.id.clone());
            attempts.spawn(self.clone().tell(engine.clone(), receiver.clone(), announcement, stop.clone()));
        }
        Ok(())
    }

    /// One attempt, and what came of it put into the store.
    async fn tell(
        self: Arc<Self>,
        engine: Engine,
        receiver: Arc<Receiver>,
        announcement: Announcement,
        stop: CancellationToken,
    ) {
        if let Some(answer) = self.attempt(&engine, &receiver, &announcement, &stop).await {
            let attempted = receiver.count(&announcement, answer, &engine);
            put_down(&engine, &announcement.id, attempted, &stop).await;
        }
        self.under_way().remove(&announcement.id);
    }

    /// The answer, unless there is no room for the attempt, or the gateway stops before it is there.
    async fn attempt(
        &self,
        engine: &Engine,
        receiver: &Receiver,
        announcement: &Announcement,
        stop: &CancellationToken,
    ) -> Option<Answer> {
        let _room = tokio::select! {
            room = receiver.room.acquire() => room.ok()?,
            () = sleep(PATIENCE) => return None,
            () = stop.cancelled() => return None,
        };
        let late = async {
            stop.cancelled().await;
            sleep(STOP).await;
        };
        tokio::select! {
            answer = post(&self.clients, &receiver.webhook, announcement, engine.now()) => Some(answer),
            () = late => None,
        }
    }

    fn under_way(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    fn new(webhook: Webhook) -> Self {
        Self {
            webhook,
            room: Semaphore::new(CONCURRENT),
            told: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dead: AtomicU64::new(0),
        }
    }

    /// What becomes of the announcement, counted and logged.
    fn count(&self, announcement: &Announcement, answer: Answer, engine: &Engine) -> Attempted {
        let attempted = retry::after(answer, announcement.attempts, engine.now(), chance());
        let (id, webhook) = (announcement.id.as_str(), self.webhook.name());
        match &attempted {
            Attempted::Told => {
                self.told.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(id, webhook, "told");
            }
            Attempted::Again { due_at, error } => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(id, webhook, error, %due_at, "a webhook could not be told, and is told again");
            }
            Attempted::Dead { error } => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.dead.fetch_add(1, Ordering::Relaxed);
                tracing::error!(id, webhook, error, "a webhook could not be told, and no more is tried");
            }
        }
        attempted
    }
}

/// Puts down how an attempt went, again and again while the store cannot write: the receiver must not be told
/// every second because nobody knows that it was.
async fn put_down(engine: &Engine, id: &str, attempted: Attempted, stop: &CancellationToken) {
    while let Err(error) = engine.attempted(id, attempted.clone()).await {
        tracing::error!(id, %error, "how an attempt to tell a webhook went could not be put down");
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(RECORD_AGAIN) => {}
        }
    }
}

/// A number from 0 to 1.
fn chance() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}
