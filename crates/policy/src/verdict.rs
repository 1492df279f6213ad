//! What the policies say of a call on one target.

use crate::approval::Sought;
use crate::denial;
use crate::index::{self, Bucket, Probe};
use crate::needs::Needs;
use crate::request::Question;
use crate::schema::Tool;
use crate::set::Set;
use crate::tally::Tally;
use astradesk_core::decision::Reason;
use astradesk_core::{Decision, Error, Facts, Requirement, Target};
use astradesk_runtime::port::PolicyRequest;
use cedar_policy::{AuthorizationError, PolicySet};

/// The policies that apply, by name, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) permits: Vec<String>,
    pub(crate) forbids: Vec<String>,
    /// Those that cannot be evaluated.
    pub(crate) failed: Vec<String>,
    /// Whether the request itself could not be made.
    pub(crate) unaskable: bool,
}

impl Verdict {
    /// Some policy permits it, none forbids it, and none failed.
    pub(crate) fn permitted(&self) -> bool {
        !self.has_failed() && self.forbids.is_empty() && !self.permits.is_empty()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.unaskable || !self.failed.is_empty()
    }
}

/// A call on one target, with the policies that can matter for it.
pub(crate) struct Matter<'a> {
    pub(crate) question: Question<'a>,
    pub(crate) buckets: Vec<&'a Bucket>,
    /// What these policies ask about a request.
    pub(crate) needs: Needs,
    /// Whether what is known of the target was to be looked up, and was not.
    pub(crate) unknown: bool,
}

/// What becomes of a call on one target.
pub(crate) enum Outcome {
    Permitted(Verdict),
    Asks(Sought),
    Denied(Verdict),
}

impl Set {
    /// Everything about the call on one of its targets, as far as `tally` have agreed.
    pub(crate) fn matter<'a>(&'a self, question: Question<'a>, index: usize) -> Matter<'a> {
        let Question { request, principal, tool, target, id, .. } = question;
        let buckets = self.index.find(&Probe {
            action: tool.map_or(crate::schema::BREAK_GLASS, |_| request.call.tool.as_str()),
            effect: tool.map(|tool| tool.effect),
            principal,
            roles: &request.principal.roles,
            target: Some(index::Place { id, namespace: target.namespace(), name: target.name() }),
        });
        let mut needs = Needs::default();
        for bucket in &buckets {
            needs.add(bucket.needs);
        }
        let unknown = needs.any(Needs::FACTS) && request.facts.get(index).is_none();
        Matter { question, buckets, needs, unknown }
    }

    /// What the policies say.
    pub(crate) fn verdict(&self, matter: &Matter<'_>, tally: &Tally) -> Verdict {
        let mut verdict = Verdict::default();
        if matter.unknown {
            verdict.unaskable = true;
            return verdict;
        }
        let question = Question { tally, ..matter.question };
        // The shape of a request is fixed, so every test checks it against the schema. To check it for each call as
        // well would find nothing, on the hot path: a policy that asks for what is not there fails, which denies.
        if cfg!(debug_assertions) && self.types.ask(&question, Needs::ALL, Some(&self.schema)).is_err() {
            verdict.unaskable = true;
        }
        let Ok(asked) = self.types.ask(&question, matter.needs, None) else {
            verdict.unaskable = true;
            return verdict;
        };
        let mut evaluate = |policies: &PolicySet, applying: &mut Vec<String>| {
            if policies.is_empty() {
                return;
            }
            let response = self.authorizer.is_authorized(&asked.request, policies, &asked.entities);
            applying.extend(response.diagnostics().reason().map(ToString::to_string));
            verdict.failed.extend(response.diagnostics().errors().map(|error| {
                let AuthorizationError::PolicyEvaluationError(error) = error;
                error.policy_id().to_string()
            }));
        };
        let (mut permits, mut forbids) = (Vec::new(), Vec::new());
        for bucket in &matter.buckets {
            evaluate(&bucket.permits, &mut permits);
            evaluate(&bucket.forbids, &mut forbids);
        }
        (verdict.permits, verdict.forbids) = (permits, forbids);
        for names in [&mut verdict.permits, &mut verdict.forbids, &mut verdict.failed] {
            names.sort_unstable();
            names.dedup();
        }
        verdict
    }

    /// What becomes of the call on one target.
    pub(crate) fn outcome(&self, matter: &Matter<'_>) -> Outcome {
        let verdict = self.verdict(matter, matter.question.tally);
        if verdict.permitted() {
            Outcome::Permitted(verdict)
        } else if verdict.has_failed() {
            Outcome::Denied(verdict)
        } else {
            self.seek(matter, verdict)
        }
    }

    /// The decision on a call: of all of its targets together.
    pub(crate) fn decide(&self, request: &PolicyRequest<'_>) -> Decision {
        let outcomes = match self.outcomes(request) {
            Ok(outcomes) => outcomes,
            Err(error) => return Decision::Deny { error, reasons: Vec::new() },
        };
        let mut required: Option<Requirement> = None;
        let (mut permits, mut asks) = (Vec::new(), Vec::new());
        for (target, outcome) in request.call.targets.iter().zip(outcomes) {
            match outcome {
                Outcome::Denied(verdict) => return self.denied(request, target, &verdict),
                Outcome::Permitted(verdict) => add(&mut permits, self.reasons(&verdict.permits)),
                Outcome::Asks(sought) => {
                    add(&mut asks, self.reasons(&sought.policies));
                    let least = sought.least.requirement();
                    required = Some(required.map_or(least.clone(), |other| at_least(other, least)));
                }
            }
        }
        match required {
            Some(required) => Decision::NeedsApproval { required, reasons: asks },
            None => Decision::Permit { reasons: permits },
        }
    }

    /// What becomes of the call on each of its targets.
    pub(crate) fn outcomes(&self, request: &PolicyRequest<'_>) -> Result<Vec<Outcome>, Error> {
        let tally = Tally::of(request.principal, request.approvals);
        self.each_target(request, true, &tally, |matter| self.outcome(&matter))
    }

    /// Looks at the call on each of its targets.
    pub(crate) fn each_target<T>(
        &self,
        request: &PolicyRequest<'_>,
        as_tool: bool,
        tally: &Tally,
        mut look: impl FnMut(Matter<'_>) -> T,
    ) -> Result<Vec<T>, Error> {
        // A tool that is not what it was when the set was put together is not known to it either.
        let tool = self.tools.get(request.call.tool.as_str());
        let same = |tool: &&Tool| tool.effect == request.call.effect && tool.version == request.call.version;
        let Some(tool) = tool.filter(same) else {
            return Err(denial::unknown_tool(request));
        };
        if request.call.targets.is_empty() {
            return Err(denial::no_target(request));
        }
        let principal = request.principal.id();
        let nothing = Facts::default();
        let each =
            request.call.targets.iter().enumerate().map(|(i, target)| {
                let (id, facts) = (target.to_string(), request.facts.get(i).unwrap_or(&nothing));
                let tool = as_tool.then_some(tool);
                look(self.matter(
                    Question { request, principal: &principal, tool, target, id: &id, facts, tally },
                    i,
                ))
            });
        Ok(each.collect())
    }

    fn denied(&self, request: &PolicyRequest<'_>, target: &Target, verdict: &Verdict) -> Decision {
        if let Some(policy) = verdict.failed.first() {
            let reason = |policy: &String| Reason {
                policy: policy.clone(),
                text: "it cannot be evaluated".to_owned(),
            };
            let error = denial::evaluation_failed(request, &format!("the policy `{policy}`"));
            return Decision::Deny { error, reasons: verdict.failed.iter().map(reason).collect() };
        }
        let error = if verdict.unaskable {
            denial::evaluation_failed(request, "the request")
        } else if let Some(policy) = verdict.forbids.first() {
            denial::forbidden(request, target, policy)
        } else {
            denial::not_permitted(self, request, target)
        };
        Decision::Deny { error, reasons: self.reasons(&verdict.forbids) }
    }

    pub(crate) fn reasons(&self, policies: &[String]) -> Vec<Reason> {
        policies.iter().map(|policy| denial::reason(self, policy)).collect()
    }
}

fn add(reasons: &mut Vec<Reason>, more: Vec<Reason>) {
    for reason in more {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
}

/// What is enough for both.
fn at_least(one: Requirement, other: Requirement) -> Requirement {
    let mut both = Requirement { count: one.count.max(other.count), roles: one.roles };
    for (role, count) in other.roles {
        let most = both.roles.entry(role).or_default();
        *most = count.max(*most);
    }
    both
}
