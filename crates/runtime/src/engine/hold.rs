//! Whether what was asked of approvers, and what they agreed to, still holds.

use super::Engine;
use super::approve::asked_of;
use super::refuse::uncommitted;
use crate::port::CommitError;
use crate::registry::Registered;
use astradesk_core::approval::{Approvals, Requirement};
use astradesk_core::decision::Reason;
use astradesk_core::evidence::{Draft, Kind};
use astradesk_core::run::{By, Event, State, decide};
use astradesk_core::{Class, Code, Decision, Error, FrozenCall, Result, Run};
use serde_json::{Value, json};

/// What policy asks for, for all steps of a run together.
#[derive(Debug, Clone, Default)]
pub(super) struct Needed {
    pub(super) required: Requirement,
    pub(super) reasons: Vec<Reason>,
}

impl Needed {
    /// Adds what another step needs: an approval is for all of them.
    pub(super) fn and(&mut self, required: Requirement, reasons: Vec<Reason>) {
        self.required.count = self.required.count.max(required.count);
        for (role, count) in required.roles {
            let slot = self.required.roles.entry(role).or_default();
            *slot = (*slot).max(count);
        }
        let new: Vec<Reason> = reasons.into_iter().filter(|reason| !self.reasons.contains(reason)).collect();
        self.reasons.extend(new);
    }
}

impl Engine {
    /// What is asked of approvers for a run that is being admitted.
    fn ask(&self, run: &Run, needed: Needed) -> Approvals {
        let now = self.0.clock.now();
        Approvals {
            digest: run.digest(),
            required: needed.required,
            reasons: needed.reasons,
            asked_at: now,
            expires_at: now.saturating_add(self.0.limits.approval).unwrap_or(now),
            given: Vec::new(),
        }
    }

    /// What is asked of approvers, and the record of it.
    pub(super) async fn asked(&self, run: &Run, needed: Needed) -> (Approvals, Draft) {
        let asked = self.ask(run, needed);
        let waiting = Run { approvals: Some(asked.clone()), ..run.clone() };
        (asked, self.requested(&waiting).await)
    }

    /// The record of what approvers are asked: with what it would do as it was then.
    async fn requested(&self, run: &Run) -> Draft {
        let preview = match self.previewed(run, false).await {
            Ok(steps) => json!(steps),
            Err(error) => json!({"error": {"code": error.code, "message": error.message}}),
        };
        let approvals = run.approvals.as_ref();
        let data = json!({
            "digest": approvals.map(|asked| asked.digest),
            "required": approvals.map(|asked| &asked.required),
            "reasons": approvals.map(|asked| &asked.reasons),
            "expires_at": approvals.map(|asked| asked.expires_at),
            "preview": preview,
        });
        self.draft(run, Kind::ApprovalRequested, data)
    }

    /// Whether the run still does what its approvers saw, and policy still asks for what they were told.
    pub(super) async fn still_holds(&self, run: &Run) -> Result<()> {
        let approvals = asked_of(run)?;
        self.same_calls(run).await?;
        match self.needed(run).await? {
            Some(needed) if needed.required != approvals.required => {
                let (now, before) = (needed.required, &approvals.required);
                let message = format!("policy asks for {now} by now, and asked for {before}");
                Err(Error::new(Code::ApprovalWithdrawn, message)
                    .with_remedy("look at the run as it is now, then decide again"))
            }
            // A policy that asks for nothing any more does not mind.
            Some(_) | None => Ok(()),
        }
    }

    async fn same_calls(&self, run: &Run) -> Result<()> {
        for step in &run.steps {
            let tool = self.0.registry.tool(step.call.tool.as_str())?;
            self.same_call(&tool, &step.call).await?;
        }
        Ok(())
    }

    /// What policy asks for before the run may be executed, if it asks for something; whoever has agreed does
    /// not count.
    async fn needed(&self, run: &Run) -> Result<Option<Needed>> {
        let run = &Run { approvals: None, ..run.clone() };
        let mut needed: Option<Needed> = None;
        for step in &run.steps {
            let tool = self.0.registry.tool(step.call.tool.as_str())?;
            let facts = self.facts_for_policy(&tool, &step.call, false).await?;
            match self.decide(run, &step.call, &facts, false) {
                Decision::Permit { .. } => {}
                Decision::NeedsApproval { required, reasons } => {
                    needed.get_or_insert_default().and(required, reasons);
                }
                Decision::Deny { error, .. } => return Err(error),
            }
        }
        Ok(needed)
    }

    /// Whether a call that was approved is still the same: its tool, and what it acts on.
    pub(super) async fn same_call(&self, tool: &Registered, call: &FrozenCall) -> Result<()> {
        let withdrawn = |message: String| Err(Error::new(Code::ApprovalWithdrawn, message));
        if (&tool.spec().version, tool.effect) != (&call.version, call.effect) {
            return withdrawn(format!("`{}` has another version by now", call.tool));
        }
        let targets = tool.tool.targets(&call.arguments).await?;
        if targets != call.targets {
            return withdrawn(format!("`{}` would act on something else by now", call.tool));
        }
        let frozen = FrozenCall::new(
            astradesk_core::Call { tool: call.tool.clone(), arguments: call.arguments.clone() },
            call.version.clone(),
            call.effect,
            targets,
        );
        if frozen.digest != call.digest {
            return withdrawn(format!("the arguments of `{}` are not those that were seen", call.tool));
        }
        Ok(())
    }

    /// Ends the run if its time to be approved has passed.
    pub(super) async fn expire(&self, run: &Run) -> Result<bool> {
        let Ok(approvals) = asked_of(run) else { return Ok(false) };
        if self.0.clock.now() < approvals.expires_at {
            return Ok(false);
        }
        self.bring(run, Event::ApprovalExpired, None).await
    }

    /// Asks anew if policy asks for something else by now, or ends the run if it denies it or the run would do
    /// something else. Whether that was so.
    pub(super) async fn tend_approval(&self, run: &Run) -> Result<bool> {
        let Ok(approvals) = asked_of(run) else { return Ok(false) };
        let looked = async {
            self.same_calls(run).await?;
            self.needed(run).await
        };
        match looked.await {
            Ok(Some(needed)) if needed.required != approvals.required => {
                let data = json!({"asked": needed.required, "withdrawn": approvals.given});
                let asked = Approvals { asked_at: approvals.asked_at, ..self.ask(run, needed) };
                self.bring(run, Event::ApprovalNeeded(asked), Some(data)).await
            }
            Err(error) if is_final(error.code) => {
                let data = json!({"code": error.code, "message": error.message});
                self.bring(run, Event::Denied(error), Some(data)).await
            }
            // What is not known now, also for a fault in the policies, is asked again when it is executed.
            Err(error) if error.code.class() == Class::Unavailable => Err(error),
            Ok(_) | Err(_) => Ok(false),
        }
    }

    /// Brings what became of a run that waits; `withdrawn` says why what was given does not count any more.
    async fn bring(&self, run: &Run, event: Event, withdrawn: Option<Value>) -> Result<bool> {
        let moved = decide(run, By::Anyone, event, self.0.clock.now())?.0;
        let mut change = self.change(run, &moved);
        change.evidence.extend(withdrawn.map(|data| self.draft(run, Kind::ApprovalWithdrawn, data)));
        if !moved.state.is_final() {
            change.evidence.push(self.requested(&moved).await);
            change.announcements = self.announcements(&moved);
        }
        self.close(&mut change, &moved);
        match self.0.store.commit(change).await {
            Ok(_) => Ok(true),
            Err(CommitError::Stale) => Ok(false),
            Err(error) => Err(uncommitted(error)),
        }
    }

    /// Whether what was approved may be begun: by people who may, in time, and still the same.
    pub(super) async fn approval_holds(&self, run: &Run, call: &FrozenCall) -> Result<()> {
        let Some(approvals) = &run.approvals else { return Ok(()) };
        if approvals.digest != run.digest() {
            let message = "what was approved is not what would be done";
            return Err(Error::new(Code::ApprovalWithdrawn, message));
        }
        let mut counted = Approvals { given: Vec::new(), ..approvals.clone() };
        for one in &approvals.given {
            counted
                .check(&run.principal, one)
                .map_err(|error| Error::new(Code::ApprovalWithdrawn, error.message))?;
            counted.given.push(one.clone());
        }
        if run.state == State::Queued && self.0.clock.now() >= approvals.expires_at {
            let message = format!("it was approved, but not begun before {:.0}", approvals.expires_at);
            return Err(Error::new(Code::ApprovalExpired, message));
        }
        let tool = self.0.registry.tool(call.tool.as_str())?;
        self.same_call(&tool, call).await
    }
}

/// Whether a run that awaits approval is over with this. A fault in the policies will be mended, and is no word
/// on the run.
fn is_final(code: Code) -> bool {
    match code {
        Code::PolicySetInvalid | Code::PolicyEvaluationFailed => false,
        Code::ApprovalWithdrawn => true,
        _ => code.class() == Class::Denied,
    }
}
