//! Who else must agree: what people say, and what they are shown.

use super::preview::risks;
use super::refuse::uncommitted;
use super::{Engine, PreviewedStep};
use crate::port::{Change, CommitError};
use astradesk_core::approval::{Approval, Approvals, check_reason};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::Kind;
use astradesk_core::run::{By, Event, State, decide};
use astradesk_core::{Class, Code, Error, Principal, Result, Run, RunId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How often a run may change while somebody decides on it.
const TRIES: usize = 32;

/// A run that awaits approval, as somebody sees it who may be asked to approve it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Awaiting {
    /// The run.
    pub run: Run,
    /// Why this principal may not approve it, if they may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Error>,
    /// What it would do now, step by step; only when one run is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<Vec<PreviewedStep>>,
    /// What to think about before saying yes: sentences.
    pub risks: Vec<String>,
}

/// What somebody says about a run.
#[derive(Debug, Clone, Copy)]
enum Word<'a> {
    Yes {
        digest: Digest,
        reason: &'a str,
    },
    No {
        digest: Digest,
        reason: &'a str,
    },
    /// Not yes any more.
    Back,
}

impl Word<'_> {
    const fn kind(self) -> Kind {
        match self {
            Self::Yes { .. } => Kind::ApprovalGiven,
            Self::No { .. } => Kind::ApprovalRejected,
            Self::Back => Kind::ApprovalRevoked,
        }
    }

    fn told(self) -> Value {
        match self {
            Self::Yes { digest, reason } | Self::No { digest, reason } => {
                // What is no reason is not kept: it may be long, and is not told to anybody.
                json!({"digest": digest, "reason": check_reason(reason).is_ok().then_some(reason)})
            }
            Self::Back => json!({}),
        }
    }
}

impl Engine {
    /// Agrees to a run, having seen it with this digest. With the last approval that is needed, it is executed.
    ///
    /// # Errors
    /// `approval.*`; [`Code::RunStateConflict`] when the run does not await approval;
    /// [`Code::RequestReasonRequired`]; [`Code::RunNotFound`]. What may not be is put on record.
    pub async fn approve(&self, by: &Principal, id: RunId, digest: Digest, reason: &str) -> Result<Run> {
        let approved = self.say(by, id, Word::Yes { digest, reason }).await?;
        if approved.state == State::Queued {
            // If it cannot be claimed now, it is by whoever looks for orphans next.
            if let Err(error) = self.claim(approved.clone(), false).await {
                tracing::warn!(run = %id, %error, "the approved run could not be claimed");
            }
        }
        Ok(approved)
    }

    /// Says no to a run, having seen it with this digest: it ends.
    ///
    /// # Errors
    /// As [`approve`](Self::approve).
    pub async fn reject(&self, by: &Principal, id: RunId, digest: Digest, reason: &str) -> Result<Run> {
        self.say(by, id, Word::No { digest, reason }).await
    }

    /// Takes one's approval back, which is possible until the run has begun.
    ///
    /// # Errors
    /// [`Code::ApprovalNotGiven`]; [`Code::RunStateConflict`] when the run has begun or ended.
    pub async fn revoke(&self, by: &Principal, id: RunId) -> Result<Run> {
        self.say(by, id, Word::Back).await
    }

    /// Brings what somebody says about a run, and puts it on record; also that they may not.
    async fn say(&self, by: &Principal, id: RunId, word: Word<'_>) -> Result<Run> {
        self.refuse_when_stopping()?;
        self.0.steady.check(&*self.0.clock)?;
        for _ in 0..TRIES {
            let run = self.run(by, id).await?;
            let moved = match self.heard(by, &run, word).await {
                Ok(event) => decide(&run, By::Anyone, event, self.0.clock.now()).map(|(moved, _)| moved),
                Err(error) => Err(error),
            };
            let moved = match moved {
                Ok(moved) => moved,
                Err(error) => {
                    let error = self.record_refused(by, &run, word, error).await?;
                    if matches!(word, Word::Yes { .. })
                        && matches!(error.code, Code::ApprovalWithdrawn | Code::PolicyDenied)
                    {
                        // Whoever looks at it next sees what is asked for now, or that it has ended.
                        self.tend_approval(&run).await?;
                    }
                    return Err(error);
                }
            };
            let mut change = self.change(&run, &moved);
            let mut data = word.told();
            if let Value::Object(data) = &mut data {
                data.insert("by".to_owned(), json!(by));
                data.insert("state".to_owned(), json!(moved.state.name()));
            }
            change.evidence.push(self.draft(&run, word.kind(), data));
            self.close(&mut change, &moved);
            match self.0.store.commit(change).await {
                Ok(_) => {
                    if let Some(active) = self.active().get(&id) {
                        active.changed.send_modify(|n| *n += 1);
                    }
                    if moved.state == State::AwaitingApproval {
                        self.let_go(&moved);
                    }
                    return Ok(moved);
                }
                Err(CommitError::Stale) => {}
                Err(error) => return Err(uncommitted(error)),
            }
        }
        Err(Error::new(Code::RunStateConflict, format!("run {id} changes too fast to be decided on"))
            .with_remedy("repeat the request"))
    }

    /// What comes of somebody's word, if they may say it.
    async fn heard(&self, by: &Principal, run: &Run, word: Word<'_>) -> Result<Event> {
        match word {
            Word::Yes { digest, reason } => {
                check_reason(reason)?;
                self.may_approve(by, run).await?;
                self.still_holds(run).await?;
                let (by, at, reason) = (by.clone(), self.0.clock.now(), reason.to_owned());
                Ok(Event::ApprovalGiven(Approval { by, at, digest, reason }))
            }
            Word::No { digest, reason } => {
                check_reason(reason)?;
                self.may_approve(by, run).await?;
                asked_of(run)?.check_seen(digest)?;
                let message = format!("`{}` rejected it: {reason}", by.subject);
                Ok(Event::Rejected(Error::new(Code::ApprovalRejected, message)))
            }
            Word::Back => Ok(Event::ApprovalRevoked(by.clone())),
        }
    }

    /// Whether the principal may say yes or no to the run.
    async fn may_approve(&self, by: &Principal, run: &Run) -> Result<()> {
        let approvals = asked_of(run)?;
        approvals.check_person(&run.principal, by)?;
        if approvals.required.names(by) {
            return Ok(());
        }
        for step in &run.steps {
            let tool = self.0.registry.tool(step.call.tool.as_str())?;
            let facts = self.facts_for_policy(&tool, &step.call, false).await?;
            if !self.0.policy.may_approve(by, &self.policy_request(run, &step.call, &facts, false)) {
                let message = format!("`{}` may not do this themselves, and so not approve it", by.subject);
                return Err(Error::new(Code::ApprovalRoleRequired, message));
            }
        }
        Ok(())
    }

    /// Puts on record that somebody could not say what they wanted to say, and gives the error.
    async fn record_refused(&self, by: &Principal, run: &Run, word: Word<'_>, error: Error) -> Result<Error> {
        if error.code.class() == Class::Internal {
            return Ok(error);
        }
        let (wanted, said) = (word.kind(), word.told());
        let data =
            json!({"by": by, "wanted": wanted, "said": said, "code": error.code, "message": error.message});
        let change =
            Change { evidence: vec![self.draft(run, Kind::ApprovalRefused, data)], ..Change::default() };
        self.0.store.commit(change).await.map_err(uncommitted)?;
        Ok(error)
    }

    /// The runs that await approval and that the principal may see, oldest first, after this one.
    pub async fn approvals(&self, by: &Principal, after: Option<RunId>, limit: u32) -> Result<Vec<Awaiting>> {
        let mut found = Vec::new();
        let mut after = after;
        loop {
            let page = self.0.store.awaiting(after, limit).await?;
            let last = (page.len() as u32) < limit;
            after = page.last().map(|run| run.id);
            for run in page.into_iter().filter(|run| self.may_see(by, run)) {
                if found.len() as u32 == limit {
                    return Ok(found);
                }
                let refused = self.may_approve(by, &run).await.err();
                found.push(Awaiting { risks: Vec::new(), preview: None, refused, run });
            }
            if last {
                return Ok(found);
            }
        }
    }

    /// A run that awaits approval, with what it would do now.
    pub async fn awaiting(&self, by: &Principal, id: RunId) -> Result<Awaiting> {
        let run = self.run(by, id).await?;
        asked_of(&run)?;
        let refused = self.may_approve(by, &run).await.err();
        let preview = self.previewed(&run, false).await?;
        Ok(Awaiting { refused, risks: risks(&run, &preview), preview: Some(preview), run })
    }
}

/// What is asked of approvers, if something is.
pub(super) fn asked_of(run: &Run) -> Result<&Approvals> {
    match (&run.state, &run.approvals) {
        (State::AwaitingApproval, Some(approvals)) => Ok(approvals),
        _ => Err(Error::new(
            Code::RunStateConflict,
            format!("run {} is {}, and awaits no approval", run.id, run.state.name()),
        )
        .with_detail("state", run.state.name())),
    }
}
