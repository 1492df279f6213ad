//! What a plan would do, without doing it.

use super::plan::Candidate;
use super::refuse::uncommitted;
use super::{Engine, Preview, PreviewedStep};
use crate::port::Change;
use crate::registry::Registered;
use astradesk_core::consultation::LLM;
use astradesk_core::evidence::Kind;
use astradesk_core::run::Step;
use astradesk_core::{Call, Code, Error, Plan, Result, Run};
use serde_json::json;

impl Engine {
    pub(super) async fn preview(&self, candidate: Candidate) -> Result<Preview> {
        let Candidate { run, understood, .. } = candidate;
        let steps = self.previewed(&run, true).await?;
        let data = json!({"calls": self.shown_calls(&run), "decisions": decisions(&steps)});
        let change = Change { evidence: vec![self.draft(&run, Kind::Previewed, data)], ..Change::default() };
        self.0.store.commit(change).await.map_err(uncommitted)?;
        let calls = run.steps.iter().map(|step| self.shown_call(&step.call));
        let calls = calls.map(|call| Call { tool: call.tool, arguments: call.arguments });
        let plan = Plan { planner: run.planner, calls: calls.collect(), understood };
        Ok(Preview { plan, steps })
    }

    /// What each step of the run would do now, and what would be in its way; what policy says to it, as to a dry
    /// run or not.
    pub(super) async fn previewed(&self, run: &Run, dry_run: bool) -> Result<Vec<PreviewedStep>> {
        let mut steps = Vec::with_capacity(run.steps.len());
        for (place, step) in run.steps.iter().enumerate() {
            let tool = self.0.registry.tool(step.call.tool.as_str())?;
            steps.push(self.previewed_step(run, place, &tool, dry_run).await?);
        }
        Ok(steps)
    }

    async fn previewed_step(
        &self,
        run: &Run,
        place: usize,
        tool: &Registered,
        dry_run: bool,
    ) -> Result<PreviewedStep> {
        let Some(Step { call, .. }) = run.steps.get(place) else {
            return Err(Error::internal(format!("run {} has no step {place}", run.id)));
        };
        let (facts, unknown) = match tool.tool.facts(call, false).await {
            Ok(facts) => (facts, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let looked = if self.0.policy.needs_facts() { facts.as_slice() } else { &[] };
        let decision = self.decide(run, call, looked, dry_run);
        let objections = match unknown {
            None => self.objections(run, place, &*tool.tool, &facts).await?,
            // Without the facts, nothing of it would be begun.
            Some(error) => vec![error],
        };
        let (changes, refused) = match tool.tool.guard(call).await {
            Ok(()) => match tool.tool.preview(call).await {
                Ok(changes) => (Some(changes), None),
                Err(error) => (None, Some(error)),
            },
            Err(error) => (None, Some(error)),
        };
        let call = tool.shown(call);
        Ok(PreviewedStep { call, decision, facts, objections, refused, changes })
    }
}

/// What policy says of each step, as the evidence shows it.
fn decisions(steps: &[PreviewedStep]) -> serde_json::Value {
    steps.iter().map(|step| json!(step.decision)).collect()
}

/// What to think about before saying yes to it.
pub(super) fn risks(run: &Run, steps: &[PreviewedStep]) -> Vec<String> {
    let mut risks = Vec::new();
    if run.break_glass {
        risks.push("guardrails are to be overridden: see what each of them objects".to_owned());
    }
    if run.planner == LLM {
        risks.push("a language model planned it: compare what was said with what would be done".to_owned());
    }
    if run.principal.actor.is_some() {
        risks.push("an agent asks for it on behalf of somebody".to_owned());
    }
    for step in steps {
        let targets = step.call.targets.iter().zip(&step.facts);
        for (target, facts) in targets {
            if facts.downtime_expected {
                risks.push(format!("nothing may serve while `{target}` is acted on"));
            }
            if let Some(gitops) = &facts.gitops {
                risks.push(format!("`{target}` is managed by {}, which may revert it", gitops.controller));
            }
            if let Some(known) = facts.availability.filter(|known| known.unavailable > 0) {
                let (missing, wanted) = (known.unavailable, known.wanted);
                risks.push(format!("{missing} of the {wanted} pods of `{target}` are not available already"));
            }
        }
        risks.extend(step.objections.iter().chain(&step.refused).map(objection));
    }
    risks
}

fn objection(error: &Error) -> String {
    let in_the_way = if error.code == Code::GuardFrozen { "in force now" } else { "in its way now" };
    format!("{in_the_way}: {}", error.message)
}
