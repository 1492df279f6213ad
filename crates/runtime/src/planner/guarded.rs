//! A planner that asks somebody else, behind one that cannot be talked into anything.
//!
//! The deterministic planner hears every sentence first. What it refuses for cause stays refused, whatever somebody
//! else would make of it; only what it has no words for goes on.

use crate::port::{Names, Planner};
use astradesk_core::{Code, Error, Plan, Result, ToolSpec};
use async_trait::async_trait;
use std::sync::Arc;

/// `keyword_then_llm`, or with [`only_guards`](Guarded::only_guards) `llm`.
pub struct Guarded {
    first: Arc<dyn Planner>,
    then: Arc<dyn Planner>,
    plans_first: bool,
}

impl Guarded {
    /// `first` plans, and `then` what `first` has no words for.
    pub fn new(first: Arc<dyn Planner>, then: Arc<dyn Planner>) -> Self {
        Self { first, then, plans_first: true }
    }

    /// `then` plans; `first` only refuses what is no instruction.
    pub fn only_guards(first: Arc<dyn Planner>, then: Arc<dyn Planner>) -> Self {
        Self { first, then, plans_first: false }
    }

    /// Whether the refusal leaves open that somebody else understands it.
    fn goes_on(&self, refusal: Code) -> bool {
        match refusal {
            Code::PlanNoAction | Code::PlanAmbiguous => true,
            Code::PlanMissingTarget
            | Code::PlanAmbiguousTarget
            | Code::PlanUnknownTarget
            | Code::PlanTooLong => !self.plans_first,
            _ => false,
        }
    }
}

#[async_trait]
impl Planner for Guarded {
    fn name(&self) -> &str {
        self.then.name()
    }

    async fn plan(&self, input: &str, tools: &[Arc<ToolSpec>], names: &dyn Names) -> Result<Plan> {
        let refusal = match self.first.plan(input, tools, names).await {
            Ok(plan) if self.plans_first => return Ok(plan),
            Ok(_) => None,
            Err(error) if self.goes_on(error.code) => Some(error),
            Err(error) => return Err(error),
        };
        let planned = self.then.plan(input, tools, names).await;
        planned.map_err(|error| match refusal.filter(|_| self.plans_first) {
            Some(refusal) => with_refusal(error, self.first.name(), &refusal),
            None => error,
        })
    }
}

/// The error of whoever was asked last, with what the first one has said, since that may be easier to mend.
fn with_refusal(error: Error, first: &str, refusal: &Error) -> Error {
    let mut told = serde_json::json!({"code": refusal.code, "message": refusal.message});
    if let (Some(candidates), Some(told)) = (refusal.details.get("candidates"), told.as_object_mut()) {
        told.insert("candidates".to_owned(), candidates.clone());
    }
    error.with_detail(first, told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use astradesk_core::ToolName;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Says the same to everybody, and counts them.
    struct Says(&'static str, Result<Plan>, AtomicUsize);

    impl Says {
        fn new(name: &'static str, refusal: Option<Code>) -> Arc<Self> {
            let plan = Plan { planner: name.to_owned(), calls: Vec::new(), understood: Vec::new() };
            let said = refusal.map_or(Ok(plan), |code| Err(Error::new(code, name).with_candidates(["x"])));
            Arc::new(Self(name, said, AtomicUsize::new(0)))
        }
    }

    #[async_trait]
    impl Planner for Says {
        fn name(&self) -> &str {
            self.0
        }
        async fn plan(&self, _: &str, _: &[Arc<ToolSpec>], _: &dyn Names) -> Result<Plan> {
            self.2.fetch_add(1, Ordering::SeqCst);
            self.1.clone()
        }
    }

    struct Nobody;

    #[async_trait]
    impl Names for Nobody {
        async fn candidates(&self, _: &ToolName, _: &str) -> Result<Option<Vec<String>>> {
            Ok(None)
        }
        async fn permitted(&self, _: &ToolName, _: &str, _: &[String]) -> Vec<String> {
            Vec::new()
        }
    }

    #[tokio::test]
    async fn a_refusal_for_cause_stays_and_only_want_of_words_goes_on() {
        // What the first one says; who plans with both, and with the first one only guarding.
        for (first, both, guarding) in [
            (None, "keyword", "llm"),
            (Some(Code::PlanNoAction), "llm", "llm"),
            (Some(Code::PlanAmbiguous), "llm", "llm"),
            (Some(Code::PlanMissingTarget), "plan.missing_target", "llm"),
            (Some(Code::PlanUnknownTarget), "plan.unknown_target", "llm"),
            (Some(Code::PlanAmbiguousTarget), "plan.ambiguous_target", "llm"),
            (Some(Code::PlanTooLong), "plan.too_long", "llm"),
            (Some(Code::PlanNegated), "plan.negated", "plan.negated"),
            (Some(Code::PlanNotInstruction), "plan.not_an_instruction", "plan.not_an_instruction"),
            (Some(Code::KubernetesUnavailable), "kubernetes.unavailable", "kubernetes.unavailable"),
        ] {
            for (plans, expected) in [(true, both), (false, guarding)] {
                let (keyword, llm) = (Says::new("keyword", first), Says::new("llm", None));
                let guard = if plans { Guarded::new } else { Guarded::only_guards };
                let plan = guard(keyword, llm.clone()).plan("x", &[], &Nobody).await;
                let said = plan.map_or_else(|error| error.code.to_string(), |plan| plan.planner);
                assert_eq!(said, expected, "{first:?} {plans}");
                assert_eq!(llm.2.load(Ordering::SeqCst), usize::from(expected == "llm"), "{first:?} {plans}");
            }
        }
    }

    #[tokio::test]
    async fn who_is_refused_twice_is_told_both() {
        let keyword = Says::new("keyword", Some(Code::PlanNoAction));
        let llm = Says::new("llm", Some(Code::LlmUnreachable));
        let error = Guarded::new(keyword, llm).plan("x", &[], &Nobody).await.unwrap_err();
        assert_eq!(error.code, Code::LlmUnreachable);
        assert_eq!(error.details["keyword"]["code"], "plan.no_action");
        assert_eq!(error.details["keyword"]["candidates"][0], "x");
    }
}
