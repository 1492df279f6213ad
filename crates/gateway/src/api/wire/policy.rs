//! Policies in force, why they decide as they do, and cases for them.

use super::{DecisionName, Error, Facts, Reason, Requirement, Source};
use serde_json::Value;
use utoipa::ToSchema;

/// What is in force.
#[derive(ToSchema)]
pub(crate) struct PolicyStatus {
    /// Digest of the set: of every policy, the schema and the settings.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    digest: String,
    /// How many policies it has, the built-in ones included.
    policies: u64,
    /// Since when it is in force.
    #[schema(format = DateTime)]
    loaded_at: String,
    /// Why the files as they are now are not in force, if they are not.
    problem: Option<Error>,
    /// What can never match, and other doubts about the set in force.
    warnings: Option<Vec<String>>,
}

/// Why a decision fell as it did.
#[derive(ToSchema)]
pub(crate) struct Explanation {
    /// The decision.
    decision: DecisionName,
    /// Why.
    reasons: Vec<Reason>,
    /// The denial.
    error: Option<Error>,
    /// What would be enough, when it needs approval.
    required: Option<Requirement>,
    /// The policies that took part, on each target.
    policies: Vec<Considered>,
    /// Sentences: what would have changed the decision.
    otherwise: Vec<String>,
    /// The policy set that decided.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    set: String,
}

/// A policy that took part in a decision.
#[derive(ToSchema)]
pub(crate) struct Considered {
    /// Its id.
    #[schema(example = "builtin.write")]
    policy: String,
    /// `permit` or `forbid`.
    effect: String,
    /// The file that it stands in, with its line; absent for built-in ones.
    file: Option<String>,
    /// The target on which it decided.
    target: String,
}

/// A case: who calls what under which circumstances, and what policy should say to it.
#[derive(ToSchema)]
pub(crate) struct Case {
    /// What it shows, in a few words.
    name: String,
    /// Who asks.
    principal: Person,
    /// What is to be done, to what.
    call: CaseCall,
    /// Under which circumstances.
    #[schema(required = false)]
    context: Circumstances,
    /// What policy should say; without it the case only asks.
    expect: Option<Expectation>,
}

/// Somebody, in a case.
#[derive(ToSchema)]
pub(crate) struct Person {
    /// The subject.
    subject: String,
    /// Who vouches for them.
    #[schema(required = false, default = "case")]
    issuer: String,
    /// Their roles.
    #[schema(required = false, pattern = "^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}$")]
    roles: Vec<String>,
    /// Who acts on their behalf.
    actor: Option<String>,
}

/// A call, in a case.
#[derive(ToSchema)]
pub(crate) struct CaseCall {
    /// The tool.
    #[schema(pattern = "^[a-z][a-z0-9_]{0,63}$")]
    tool: String,
    /// Its arguments.
    #[schema(required = false, value_type = Object)]
    arguments: Value,
    /// What it acts on.
    targets: Vec<String>,
}

/// The circumstances of a case.
#[derive(ToSchema)]
pub(crate) struct Circumstances {
    /// By which door.
    #[schema(required = false)]
    source: Source,
    /// Who planned it.
    #[schema(required = false, default = "direct")]
    planner: String,
    /// What is known of each target, in their order.
    #[schema(required = false)]
    facts: Vec<Facts>,
    /// Who has agreed.
    #[schema(required = false)]
    approvals: Vec<Person>,
    /// Whether guardrails are to be overridden.
    #[schema(required = false)]
    break_glass: bool,
    /// Whether it is only a preview.
    #[schema(required = false)]
    dry_run: bool,
    /// When; 1970 unless it is given.
    #[schema(required = false, format = DateTime)]
    now: String,
}

/// What policy should say.
#[derive(ToSchema)]
pub(crate) struct Expectation {
    /// The decision.
    decision: DecisionName,
    /// The code of a denial.
    code: Option<String>,
    /// Policies that must be among those that decided.
    #[schema(required = false)]
    policies: Vec<String>,
    /// What it must ask for.
    approvals: Option<Requirement>,
}

/// What came of a case.
#[derive(ToSchema)]
pub(crate) struct CaseOutcome {
    /// The case.
    name: String,
    /// Whether policy says what it should; absent if nothing is expected.
    passed: Option<bool>,
    /// What is not as it should be: sentences.
    faults: Option<Vec<String>>,
    /// What policy says, and why; absent if the case could not be asked.
    explanation: Option<Explanation>,
}
