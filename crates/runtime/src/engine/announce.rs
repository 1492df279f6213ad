//! What others are told of: a run that awaits approval, as a CloudEvent for each webhook.

use super::Engine;
use crate::port::{Announcement, Attempted};
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Principal, Result, Run, Timestamp};
use serde_json::json;

impl Engine {
    /// One announcement for each webhook that `run` awaits approval.
    pub(super) fn announcements(&self, run: &Run) -> Vec<Announcement> {
        let at = self.0.clock.now();
        let calls = self.shown_calls(run);
        let approvals = run.approvals.as_ref();
        let one = |to: &String| {
            let id = format!("{}-{}-{to}", run.id, run.version);
            let body = json!({
                "specversion": "1.0",
                "id": id,
                "source": "/astradesk",
                "type": "dev.astradesk.approval.requested",
                "subject": run.id,
                "time": at,
                "datacontenttype": "application/json",
                "data": {
                    "run": run.id,
                    "principal": run.principal,
                    "source": run.source,
                    "input": run.input,
                    "reason": run.reason,
                    "break_glass": run.break_glass,
                    "calls": calls,
                    "digest": approvals.map(|asked| asked.digest),
                    "required": approvals.map(|asked| &asked.required),
                    "policies": approvals.map(|asked| &asked.reasons),
                    "expires_at": approvals.map(|asked| asked.expires_at),
                },
            });
            let body = body.to_string();
            Announcement { id, to: to.clone(), at, body, attempts: 0, due_at: at, error: None, dead: false }
        };
        self.0.webhooks.iter().map(one).collect()
    }

    /// The announcements that are due.
    pub async fn due_announcements(&self, limit: u32) -> Result<Vec<Announcement>> {
        self.0.store.announcements(self.0.clock.now(), limit).await
    }

    /// Says how the attempt to tell an announcement went.
    pub async fn attempted(&self, id: &str, attempted: Attempted) -> Result<()> {
        self.0.store.attempted(id, attempted).await
    }

    /// The announcements of which no further attempt is made, newest first.
    ///
    /// # Errors
    /// [`Code::PolicyDenied`] when the principal may not read the evidence, which says the same.
    pub async fn dead_announcements(&self, by: &Principal, limit: u32) -> Result<Vec<Announcement>> {
        self.authorize_evidence(by)?;
        self.0.store.dead_announcements(limit).await
    }

    /// Makes a dead announcement due again.
    ///
    /// # Errors
    /// [`Code::RequestNotFound`] when there is none with this id; a denial as above.
    pub async fn revive_announcement(&self, by: &Principal, id: &str) -> Result<()> {
        self.authorize_evidence(by)?;
        if self.0.store.revive(id, self.0.clock.now()).await? {
            return Ok(());
        }
        let message = format!("there is no dead announcement `{}`", shown(id, 100));
        Err(Error::new(Code::RequestNotFound, message)
            .with_remedy("`astradesk webhooks dead` lists them; of more than 1,000 the oldest are forgotten"))
    }

    /// The time of the Engine's clock.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}
