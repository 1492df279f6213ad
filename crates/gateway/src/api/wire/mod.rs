//! How the words of `astradesk-core` look on the wire, for the OpenAPI document.
//!
//! Runs, events and evidence have one JSON form, in the store, in the evidence and here; these types
//! describe it and hold no data. `tests/openapi.rs` checks real answers against them.

#![expect(dead_code, reason = "these types are read by the macro that describes them only")]
#![expect(clippy::struct_field_names, reason = "the names are those of the wire")]

mod approval;
mod pack;
mod policy;

pub(crate) use approval::{Announcement, Approvals, Awaiting, Facts, PreviewedStep, Requirement};
pub(crate) use pack::Pack;
pub(crate) use policy::{Case, CaseOutcome, Explanation, PolicyStatus};

use serde_json::Value;
use utoipa::ToSchema;

/// Who asks.
#[derive(ToSchema)]
pub(crate) struct Principal {
    /// The token's `sub`.
    subject: String,
    /// The token's `iss`.
    issuer: String,
    /// The roles that the issuer gives.
    roles: Vec<String>,
    /// The token's `act.sub`.
    actor: Option<String>,
}

/// Why: one line that is not blank, without control characters and those that nobody sees.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 1000,
    pattern = "^[ \\xa0\\u1680\\u2000-\\u200a\\u202f\\u205f\\u3000]*[^ \\xa0\\u1680\\u2000-\\u200a\\u202f\\u205f\\u3000\\x00-\\x1f\\x7f-\\x9f\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}][^\\x00-\\x1f\\x7f-\\x9f\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]*$",
    example = "change 4711"
)]
pub(crate) struct Why(String);

/// What went wrong.
#[derive(ToSchema)]
pub(crate) struct Error {
    /// The stable code.
    #[schema(example = "policy.role_required")]
    code: String,
    /// What was wrong, with what.
    message: String,
    /// What to do next.
    remedy: String,
    /// Facts for machines.
    #[schema(value_type = Option<Object>)]
    details: Option<Value>,
}

/// An RFC 9457 problem.
#[derive(ToSchema)]
pub(crate) struct Problem {
    /// The page of the code.
    #[schema(format = "uri", example = "https://astradesk.dev/errors#policy.role_required")]
    r#type: String,
    /// What the code means.
    title: String,
    /// The status.
    #[schema(minimum = 202, maximum = 503)]
    status: u16,
    /// What was wrong, with what.
    detail: String,
    /// The stable code.
    #[schema(pattern = "^[a-z_]+\\.[a-z_]+$", example = "policy.role_required")]
    code: String,
    /// What to do next.
    remedy: String,
    /// The run's path, or the request's URN.
    instance: String,
    /// The request's id, as in `X-Request-Id`.
    request_id: String,
    /// Facts for machines: candidates, limits, the diagnosis of a rollout, the denied run's id.
    #[schema(value_type = Option<Object>)]
    details: Option<Value>,
    /// The run that ended so.
    run: Option<Run>,
    /// Each check, for `/readyz`.
    checks: Option<Vec<super::probes::Check>>,
}

/// A call with what it acts on.
#[derive(ToSchema)]
pub(crate) struct FrozenCall {
    /// The tool.
    tool: String,
    /// The version of the tool's definition.
    version: String,
    /// What the tool does to the world.
    effect: Effect,
    /// The arguments.
    #[schema(value_type = Object)]
    arguments: Value,
    /// What it acts on.
    #[schema(example = json!(["kubernetes/prod/default/deployment/webapp"]))]
    targets: Vec<String>,
    /// SHA-256 of tool, version, arguments and targets in canonical JSON.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    digest: String,
}

/// What a tool does to the world.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum Effect {
    /// Changes nothing.
    Read,
    /// Changes the state of a target.
    Write,
    /// Runs something whose effect its definition cannot bound.
    Execute,
}

/// By which door a request came in.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Source {
    /// The HTTP API.
    Http,
    /// The command line.
    Cli,
    /// The MCP server.
    Mcp,
}

/// One call of a run, and where it stands.
#[derive(ToSchema)]
pub(crate) struct Step {
    /// What is done, to what.
    call: FrozenCall,
    /// What becomes of its effect if that fails.
    on_failure: OnFailure,
    /// The step, from 0, that this one undoes.
    undoes: Option<u32>,
    /// When its first intent was made durable: its time limit counts from here.
    #[schema(value_type = Option<String>, format = DateTime)]
    begun_at: Option<String>,
    /// Where it stands.
    step: StepName,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<String>,
    /// Counts the intents of the step, from 1, while it is intended: each one before it had no effect.
    attempt: Option<u32>,
    /// What the effect is bound to, while it is intended.
    intent: Option<Value>,
    /// What the tool needs to verify the effect. A failed step has it if its effect happened.
    receipt: Option<Value>,
    /// What the tool reports.
    output: Option<Value>,
    /// Why it failed, or is unknown.
    error: Option<Error>,
}

/// What becomes of an effect that was performed and did not come out well.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum OnFailure {
    /// It stays as it is.
    Leave,
    /// It is undone, as a step of its own.
    Undo,
}

/// Where a step stands.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum StepName {
    Pending,
    Intended,
    Performed,
    Succeeded,
    Failed,
    Unknown,
    Skipped,
}

/// The states of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StateName {
    Submitted,
    AwaitingApproval,
    Queued,
    Running,
    Succeeded,
    Failed,
    Denied,
    Rejected,
    Expired,
    Cancelled,
    OutcomeUnknown,
}

/// One admitted (or denied) plan and its life.
#[derive(ToSchema)]
pub(crate) struct Run {
    /// The id.
    #[schema(format = "uuid")]
    id: String,
    /// Counts the changes of this run, from 1.
    version: u64,
    /// Who asked.
    principal: Principal,
    /// By which door.
    source: Source,
    /// The agent that was asked, unless the tool was called directly.
    agent: Option<String>,
    /// What was said, unless the tool was called directly.
    input: Option<String>,
    /// Who planned it.
    planner: String,
    /// When it was submitted.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it last changed.
    #[schema(format = DateTime)]
    updated_at: String,
    /// Until when its last step must have begun, also across restarts of AstraDesk.
    #[schema(format = DateTime)]
    deadline: String,
    /// The process that executes it; none before it is claimed, after it was handed over, and when it has
    /// ended.
    holder: Option<String>,
    /// Counts its claims, from 0: one more each time that a process takes it.
    fence: u64,
    /// Where it stands.
    state: StateName,
    /// The step under way, from 0.
    step: Option<u32>,
    /// What the run ended with.
    error: Option<Error>,
    /// Its steps, in order.
    steps: Vec<Step>,
    /// Why, in the words of who asked.
    reason: Option<String>,
    /// Whether guardrails that can be overridden are to be.
    break_glass: Option<bool>,
    /// The trace that the request belongs to.
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{32}$")]
    trace: Option<String>,
    /// Who else must agree, and who has, if somebody must.
    approvals: Option<Approvals>,
    /// Whether somebody asked for it to be cancelled.
    cancel_requested: Option<bool>,
    /// Whether they asked for an effect that has begun to be undone.
    undo_requested: Option<bool>,
}

/// What a plan would do; nothing was done.
#[derive(ToSchema)]
pub(crate) struct Preview {
    /// The plan.
    plan: Plan,
    /// Step by step.
    steps: Vec<PreviewedStep>,
}

/// Calls in order, and who planned them.
#[derive(ToSchema)]
pub(crate) struct Plan {
    /// `direct`, or the planner's name.
    planner: String,
    /// The calls.
    calls: Vec<Call>,
    /// Which words each call comes from, when the planner can say; in previews.
    understood: Option<Vec<Understood>>,
}

/// What was understood of one part of a sentence.
#[derive(ToSchema)]
pub(crate) struct Understood {
    /// The tool that it asks for.
    tool: String,
    /// The words that ask for it.
    words: String,
    /// What it says of the tool's arguments.
    arguments: Option<Vec<Heard>>,
    /// The arguments that it had to say and does not.
    missing: Option<Vec<String>>,
}

/// An argument, and the words that say it.
#[derive(ToSchema)]
pub(crate) struct Heard {
    /// The argument.
    name: String,
    /// The words.
    words: String,
    /// What they mean.
    #[schema(value_type = Object)]
    value: Value,
}

/// A tool and its arguments.
#[derive(ToSchema)]
pub(crate) struct Call {
    /// The tool.
    tool: String,
    /// The arguments.
    #[schema(value_type = Object)]
    arguments: Value,
}

/// What policy says of a call.
#[derive(ToSchema)]
pub(crate) struct Decision {
    /// The decision.
    decision: DecisionName,
    /// Why.
    reasons: Vec<Reason>,
    /// The denial.
    error: Option<Error>,
    /// What would be enough, when it needs approval.
    required: Option<Requirement>,
}

/// The decisions.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum DecisionName {
    Permit,
    Deny,
    NeedsApproval,
}

/// Why a decision fell as it did.
#[derive(ToSchema)]
pub(crate) struct Reason {
    /// The policy.
    policy: String,
    /// A sentence.
    text: String,
}

/// A tool, described.
#[derive(ToSchema)]
pub(crate) struct ToolSpec {
    /// The name.
    name: String,
    /// The version of the definition.
    version: String,
    /// One sentence.
    description: String,
    /// What it does to the world.
    effect: Option<Effect>,
    /// JSON Schema (2020-12) of the arguments.
    #[schema(value_type = Object)]
    input_schema: Value,
    /// The longest that one call may take, in seconds.
    timeout: u64,
    /// The words that ask for it.
    #[schema(value_type = Object)]
    grammar: Value,
}

/// One server-sent event.
#[derive(ToSchema)]
pub(crate) struct StreamedEvent {
    /// The event's number, for `Last-Event-ID`; the last event has none.
    #[schema(pattern = "^[0-9]+$")]
    id: Option<String>,
    /// Its kind: `state`, `step` or `progress`, and `end` for the last one.
    event: Option<String>,
    /// The event in JSON: `seq`, `at`, `kind` and `data`.
    data: Option<String>,
    /// After how many milliseconds to connect again.
    retry: Option<u64>,
}

/// A signed statement on the end of the evidence chain.
#[derive(ToSchema)]
pub(crate) struct Checkpoint {
    /// The statement: a signed note (C2SP), which is what is to be kept and verified.
    note: String,
    /// The last record's place.
    seq: u64,
    /// The last record's hash.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    hash: String,
    /// When it was signed.
    #[schema(format = DateTime)]
    at: String,
    /// The key that it can be verified with, and no reason to trust it.
    key: Option<String>,
}
