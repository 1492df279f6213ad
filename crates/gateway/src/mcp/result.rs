//! What a call is answered with: one structured object for whatever became of it, and the same as text.

use super::{content, uri};
use crate::api::ending;
use crate::http::redact::hide;
use astradesk_core::run::{State, StepState};
use astradesk_core::{Approvals, Code, Error, Run};
use astradesk_runtime::Engine;
use astradesk_runtime::engine::Preview;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject};
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};

/// JSON Schema of the structured result of every tool. Every tool in a list carries it, so it is short: docs/mcp.md says
/// what its parts mean.
static SCHEMA: LazyLock<Arc<JsonObject>> = LazyLock::new(|| {
    let (text, object_of) = (json!({"type": "string"}), json!({"type": "object"}));
    let states = [
        "awaiting_approval",
        "queued",
        "running",
        "succeeded",
        "failed",
        "denied",
        "rejected",
        "expired",
        "cancelled",
        "outcome_unknown",
        "submitted",
        "refused",
        "previewed",
    ];
    let schema = json!({
        "type": "object",
        "required": ["state"],
        "properties": {
            "state": {"enum": states},
            "run": text,
            "uri": text,
            "replayed": {"type": "boolean"},
            "output": {},
            "error": {"type": "object", "required": ["code", "message", "remedy"]},
            "approval": object_of,
            "preview": object_of,
        },
    });
    Arc::new(object(schema))
});

/// JSON Schema of the structured result of every tool.
pub(super) fn schema() -> Arc<JsonObject> {
    SCHEMA.clone()
}

/// What a run came to, or how it stands; `run` is fit to be shown.
pub(super) fn of_run(engine: &Engine, run: &Run, replayed: bool) -> CallToolResult {
    let mut facts = Map::new();
    facts.insert("state".to_owned(), run.state.name().into());
    facts.insert("run".to_owned(), run.id.to_string().into());
    facts.insert("uri".to_owned(), uri::run(run.id).into());
    facts.insert("replayed".to_owned(), replayed.into());
    if let Some(error) = ending(run) {
        facts.insert("error".to_owned(), json!(error));
        return answer(&format!("{} ({})", sentence(&error), uri::run(run.id)), facts, true);
    }
    let mut blocks = Vec::new();
    if let Some(mut output) = output(run).cloned() {
        blocks = content::take_blocks(&mut output);
        facts.insert("output".to_owned(), output);
    }
    if let (State::AwaitingApproval, Some(asked)) = (&run.state, &run.approvals) {
        facts.insert("approval".to_owned(), approval(run, asked));
        return answer(&awaiting(run, asked), facts, false);
    }
    let text = if run.state.is_final() {
        engine.reply(run)
    } else {
        format!("run {} goes on; {} shows what becomes of it", run.id, uri::run(run.id))
    };
    with_blocks(answer(&text, facts, false), blocks)
}

/// The same with what the tool gave as blocks between the sentence and the facts.
fn with_blocks(mut result: CallToolResult, blocks: Vec<ContentBlock>) -> CallToolResult {
    let facts = result.content.split_off(1.min(result.content.len()));
    result.content.extend(blocks);
    result.content.extend(facts);
    result
}

/// What would happen.
pub(super) fn of_preview(preview: &Preview) -> CallToolResult {
    let mut facts = Map::new();
    facts.insert("state".to_owned(), "previewed".into());
    facts.insert("preview".to_owned(), json!(preview));
    answer("nothing was done: this is what would happen", facts, false)
}

/// Why nothing was done. A run that was denied has an id.
pub(super) fn of_refusal(mut error: Error) -> CallToolResult {
    if error.code == Code::Internal {
        tracing::error!(detail = error.message, "internal error");
        hide(&mut error);
    }
    let mut facts = Map::new();
    let run = error.details.get("run").and_then(Value::as_str).map(str::to_owned);
    facts.insert("state".to_owned(), if run.is_some() { "denied" } else { "refused" }.into());
    if let Some(run) = run {
        facts.insert("uri".to_owned(), uri::run(&run).into());
        facts.insert("run".to_owned(), run.into());
    }
    facts.insert("error".to_owned(), json!(error));
    answer(&sentence(&error), facts, true)
}

/// What the tool reports, when the run succeeded.
fn output(run: &Run) -> Option<&Value> {
    run.steps.last().and_then(|step| match (&run.state, &step.state) {
        (State::Succeeded, StepState::Succeeded { output, .. }) => Some(output),
        _ => None,
    })
}

fn approval(run: &Run, asked: &Approvals) -> Value {
    let given: Vec<&str> = asked.given.iter().map(|one| one.by.subject.as_str()).collect();
    json!({
        "needed": asked.required.to_string(),
        "required": asked.required,
        "given": given,
        "expires_at": asked.expires_at,
        "digest": asked.digest,
        "command": command(run, asked),
    })
}

/// How a person agrees. An agent cannot: the approver is somebody else, and no agent.
fn command(run: &Run, asked: &Approvals) -> String {
    format!("astradesk approvals approve {} --digest {} --reason …", run.id, asked.digest)
}

fn awaiting(run: &Run, asked: &Approvals) -> String {
    format!(
        "nothing is done yet: run {} needs {}, by a person other than who asked, until {}; they look at it with \
         `astradesk approvals show {}`, and {} shows what becomes of it",
        run.id,
        asked.required,
        asked.expires_at,
        run.id,
        uri::run(run.id)
    )
}

fn sentence(error: &Error) -> String {
    format!("{}: {}; {}", error.code, error.message, error.remedy)
}

/// A sentence, then the facts as text, for clients that show a model nothing else.
fn answer(text: &str, facts: Map<String, Value>, is_error: bool) -> CallToolResult {
    let facts = Value::Object(facts);
    let content = vec![ContentBlock::text(text), ContentBlock::text(facts.to_string())];
    let mut result = if is_error { CallToolResult::error(content) } else { CallToolResult::success(content) };
    result.structured_content = Some(facts);
    result
}

/// The members of a value that is an object.
pub(super) fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(members) => members,
        _ => JsonObject::new(),
    }
}
