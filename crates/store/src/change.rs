//! A change as rows. The caller makes them, in its own task, so that the writer has little left to do.

use crate::error::unreadable;
use astradesk_core::evidence::{Draft, Record};
use astradesk_core::run::Holder;
use astradesk_core::{Error, Run};
use astradesk_runtime::port::{Announcement, Change, EventDraft, IdempotencyKey, LockChange, Spend};
use std::collections::BTreeSet;

/// A change, ready to be checked and written.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) run: Option<RunRow>,
    pub(crate) evidence: Vec<Draft>,
    pub(crate) events: Vec<EventRow>,
    pub(crate) locks: Vec<LockChange>,
    pub(crate) spends: Vec<Spend>,
    pub(crate) announcements: Vec<Announcement>,
    pub(crate) key: Option<IdempotencyKey>,
}

/// A row of `runs`, with its rows of `run_tools`.
#[derive(Debug)]
pub(crate) struct RunRow {
    pub(crate) id: String,
    pub(crate) version: i64,
    pub(crate) state: &'static str,
    pub(crate) principal: String,
    pub(crate) tool: String,
    pub(crate) other_tools: BTreeSet<String>,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) finished: bool,
    pub(crate) holder: Option<String>,
    pub(crate) cancel: bool,
    pub(crate) body: String,
}

/// A row of `events`, before it has its number.
#[derive(Debug)]
pub(crate) struct EventRow {
    pub(crate) run: String,
    pub(crate) at: i64,
    pub(crate) kind: String,
    pub(crate) data: String,
}

/// A row of `evidence`.
#[derive(Debug)]
pub(crate) struct EvidenceRow {
    pub(crate) record: Record,
    pub(crate) kind: String,
    pub(crate) run: Option<String>,
    pub(crate) at: i64,
}

impl Prepared {
    /// The rows of `change`.
    pub(crate) fn new(change: Change) -> Result<Self, Error> {
        Ok(Self {
            run: change.run.as_ref().map(RunRow::new).transpose()?,
            evidence: change.evidence,
            events: change.events.into_iter().map(EventRow::new).collect(),
            locks: change.locks,
            spends: change.spends,
            announcements: change.announcements,
            key: change.idempotency,
        })
    }
}

impl RunRow {
    fn new(run: &Run) -> Result<Self, Error> {
        let mut tools = run.steps.iter().map(|step| step.call.tool.as_str());
        let tool = tools.next().unwrap_or_default().to_owned();
        Ok(Self {
            id: run.id.to_string(),
            version: run.version as i64,
            state: run.state.name(),
            principal: run.principal.id(),
            other_tools: tools.filter(|other| *other != tool).map(str::to_owned).collect(),
            tool,
            created_at: run.created_at.as_microsecond(),
            updated_at: run.updated_at.as_microsecond(),
            finished: run.state.is_final(),
            holder: run.holder.as_ref().map(Holder::to_string),
            cancel: run.cancel_requested,
            body: serde_json::to_string(run).map_err(|_| unreadable(&format!("run `{}`", run.id)))?,
        })
    }
}

impl EventRow {
    fn new(event: EventDraft) -> Self {
        Self {
            run: event.run.to_string(),
            at: event.at.as_microsecond(),
            kind: event.kind,
            data: event.data.to_string(),
        }
    }
}

impl EvidenceRow {
    pub(crate) fn new(record: Record, draft: &Draft) -> Self {
        // A kind is written as a string; anything else would be a defect of `core`, and the body has it too.
        let kind = match serde_json::to_value(draft.kind) {
            Ok(serde_json::Value::String(kind)) => kind,
            _ => String::new(),
        };
        Self { record, kind, run: draft.run.map(|run| run.to_string()), at: draft.at.as_microsecond() }
    }
}
