//! Guardrails: is this a sane moment? Each is a rule for some tools and targets; none asks who it is that asks.
//!
//! What a target's own state forbids (a rollout in progress, a paused workload) is for its tool to say; these
//! are the rules that an operator sets, and every one of them can be overridden by breaking the glass.

mod freeze;
mod pattern;
mod read;
mod recurrence;

pub use freeze::Freeze;
pub use pattern::TargetPattern;
pub use recurrence::Recurrence;

use crate::{Code, Error, Facts, FrozenCall, Target, Timestamp, ToolName};
use jiff::SignedDuration;

/// A rule for some tools and targets.
///
/// It is read from a table with a `name`, `tools` and `targets` (absent: all that change something), and one
/// rule: `freeze`, `cool_down`, `budget`, `max_unavailable`, `disruption_budgets` or `gitops`.
#[derive(Debug, Clone)]
pub struct Guardrail {
    /// Its name, which no other has.
    pub name: String,
    /// The tools; empty means every one that changes something.
    pub tools: Vec<ToolName>,
    /// The targets; empty means all.
    pub targets: Vec<TargetPattern>,
    /// What it asks for.
    pub rule: Rule,
}

/// What a guardrail asks for.
#[derive(Debug, Clone)]
pub enum Rule {
    /// Nothing begins in these times.
    Freeze(Freeze),
    /// A target rests so long after each action.
    CoolDown(SignedDuration),
    /// At most so many actions in such a time, on all of the targets together.
    Budget {
        /// So many.
        runs: u32,
        /// In so long.
        per: SignedDuration,
    },
    /// At most this share of a service's pods may be unavailable, in percent.
    MaxUnavailable(u32),
    /// Whether an action must fit into the PodDisruptionBudgets of its target's pods.
    DisruptionBudgets(bool),
    /// Whether an action on what a GitOps controller manages is refused.
    GitOps(bool),
}

/// How many actions there may be in a time: what cool-downs and budgets come to. The store counts them, in the
/// same transaction as the intent, so that two actions at once cannot take the last one together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// What is counted: the guardrail, and for a cool-down the target.
    pub key: String,
    /// The guardrail.
    pub guardrail: String,
    /// At most so many.
    pub limit: u32,
    /// In so long.
    pub period: SignedDuration,
    /// [`Code::GuardCoolDown`] or [`Code::GuardBudgetExhausted`].
    pub code: Code,
}

impl Guardrail {
    /// The guardrail that there is unless one of the same name replaces it: disruption budgets are respected.
    pub fn builtin() -> Self {
        let rule = Rule::DisruptionBudgets(true);
        Self { name: "disruption-budgets".to_owned(), tools: Vec::new(), targets: Vec::new(), rule }
    }

    /// Whether it is about this tool and target.
    pub fn covers(&self, tool: &ToolName, target: &Target) -> bool {
        (self.tools.is_empty() || self.tools.contains(tool))
            && (self.targets.is_empty() || self.targets.iter().any(|pattern| pattern.matches(target)))
    }

    /// What it objects to the call on this target now. Cool-downs and budgets object by their [`Allowance`].
    pub fn object(&self, target: &Target, facts: &Facts, now: Timestamp) -> Option<Error> {
        let error = match &self.rule {
            Rule::Freeze(freeze) => freeze.object(now),
            Rule::MaxUnavailable(percent) => too_few(*percent, facts),
            Rule::DisruptionBudgets(true) => disrupted(facts),
            Rule::GitOps(true) => managed(facts),
            Rule::CoolDown(_)
            | Rule::Budget { .. }
            | Rule::DisruptionBudgets(false)
            | Rule::GitOps(false) => None,
        }?;
        Some(
            Error { message: format!("`{}`: {} (on `{target}`)", self.name, error.message), ..error }
                .with_detail("guardrail", self.name.clone()),
        )
    }

    /// How many actions on this target it allows, if it counts them.
    pub fn allowance(&self, target: &Target) -> Option<Allowance> {
        let (key, limit, period, code) = match &self.rule {
            Rule::CoolDown(period) => (format!("{}|{target}", self.name), 1, *period, Code::GuardCoolDown),
            Rule::Budget { runs, per } => (self.name.clone(), *runs, *per, Code::GuardBudgetExhausted),
            Rule::Freeze(_) | Rule::MaxUnavailable(_) | Rule::DisruptionBudgets(_) | Rule::GitOps(_) => {
                return None;
            }
        };
        Some(Allowance { key, guardrail: self.name.clone(), limit, period, code })
    }
}

impl Allowance {
    /// Since when actions count.
    pub fn since(&self, now: Timestamp) -> Timestamp {
        now.checked_sub(self.period).unwrap_or(Timestamp::MIN)
    }

    /// The objection when there are no more; `oldest` is when the first of those that count happened.
    pub fn exhausted(&self, oldest: Timestamp) -> Error {
        let free = oldest.saturating_add(self.period).unwrap_or(Timestamp::MAX);
        let (name, period) = (&self.guardrail, &self.period);
        let message = match self.code {
            Code::GuardCoolDown => {
                format!(
                    "`{name}`: the target was acted on at {oldest:.0}, and rests for {period:#} after that"
                )
            }
            _ => format!(
                "`{name}`: {} actions in {period:#} are the limit, and there were as many",
                self.limit
            ),
        };
        Error::new(self.code, message)
            .with_remedy(format!("repeat it after {free:.0}"))
            .with_detail("guardrail", name.clone())
            .with_detail("until", format!("{free:.0}"))
    }
}

/// The names of those that are there whatever is configured, unless they are replaced.
pub fn with_builtin(mut configured: Vec<Guardrail>) -> Vec<Guardrail> {
    let builtin = Guardrail::builtin();
    if !configured.iter().any(|guardrail| guardrail.name == builtin.name) {
        configured.push(builtin);
    }
    configured
}

/// An availability that is not known is no good one.
fn too_few(percent: u32, facts: &Facts) -> Option<Error> {
    let Some(known) = facts.availability else {
        let message = "how many pods would be unavailable is not known";
        return Some(Error::new(Code::GuardAvailability, message));
    };
    let missing = known.unavailable.max(known.at_most_unavailable);
    let allowed = u64::from(known.wanted) * u64::from(percent) / 100;
    if u64::from(missing) <= allowed {
        return None;
    }
    let message = format!(
        "up to {missing} of {} pods would be unavailable, and {allowed} ({percent} %) may be",
        known.wanted
    );
    Some(Error::new(Code::GuardAvailability, message).with_detail("unavailable", missing))
}

fn disrupted(facts: &Facts) -> Option<Error> {
    let taken = facts.availability.map_or(1, |known| known.at_most_unavailable);
    let budget = facts.disruption_budgets.iter().find(|budget| budget.disruptions_allowed < taken)?;
    let message = format!(
        "the PodDisruptionBudget `{}` allows {} disruptions now, and {taken} would be caused",
        budget.name, budget.disruptions_allowed
    );
    Some(Error::new(Code::GuardDisruptionBudget, message))
}

fn managed(facts: &Facts) -> Option<Error> {
    let gitops = facts.gitops.as_ref()?;
    let message = format!("it is managed by {} from `{}`", gitops.controller, gitops.source);
    Some(Error::new(Code::GuardGitOpsManaged, message))
}

impl Rule {
    /// Whether it asks for the facts of a target.
    pub const fn needs_facts(&self) -> bool {
        matches!(self, Self::MaxUnavailable(_) | Self::DisruptionBudgets(true) | Self::GitOps(true))
    }
}

/// What guardrails object to a call, in their order, each with its name.
pub fn objections<'a>(
    guardrails: &'a [Guardrail],
    call: &'a FrozenCall,
    facts: &'a [Facts],
    now: Timestamp,
) -> impl Iterator<Item = Error> + 'a {
    static NONE: std::sync::LazyLock<Facts> = std::sync::LazyLock::new(Facts::default);
    guardrails.iter().flat_map(move |guardrail| {
        let targets = call.targets.iter().enumerate();
        targets.filter(|(_, target)| guardrail.covers(&call.tool, target)).filter_map(
            move |(place, target)| guardrail.object(target, facts.get(place).unwrap_or(&NONE), now),
        )
    })
}

/// What a call takes from cool-downs and budgets, each once.
pub fn allowances(guardrails: &[Guardrail], call: &FrozenCall) -> Vec<Allowance> {
    let mut all: Vec<Allowance> = Vec::new();
    for guardrail in guardrails {
        for target in call.targets.iter().filter(|target| guardrail.covers(&call.tool, target)) {
            all.extend(guardrail.allowance(target).filter(|one| !all.contains(one)));
        }
    }
    all
}
