//! From an answer's bytes to calls, or why not. Pure: no clock, no network; the same bytes mean the same.

use crate::json;
use crate::offer::Offer;
use crate::said::Said;
use crate::{Mode, grounding};
use astradesk_core::consultation::Usage;
use astradesk_core::text::shown;
use astradesk_core::{Arguments, Call, redact};
use serde::Deserialize;
use serde_json::Value;

/// The largest answer, in bytes. A larger one is not read to its end.
pub const MAX_ANSWER: usize = 256 << 10;
/// The most that the arguments of one call may take, in bytes.
const MAX_ARGUMENTS: usize = 16 << 10;
/// The most of a reason that is shown, in characters.
const MAX_REASON: usize = 200;
/// The most tokens that a server is believed to have counted.
const MAX_TOKENS: u64 = 1 << 32;
/// The function by which a model refuses. No tool can have this name: theirs are in lower case.
pub const REFUSE: &str = "REFUSE";

/// What was asked: all that an answer is held against.
#[derive(Debug)]
pub struct Asked {
    /// How it was to answer.
    pub mode: Mode,
    /// What was said.
    pub said: Said,
    /// The tools that it may call.
    pub offers: Vec<Offer>,
    /// The most calls.
    pub max_steps: usize,
}

/// An answer, read.
#[derive(Debug, PartialEq)]
pub struct Answer {
    /// The model that answered, as its server says.
    pub model: Option<String>,
    /// The tokens that the server counted.
    pub usage: Option<Usage>,
    /// What it says.
    pub proposal: Result<Proposal, Fault>,
}

/// What a model proposes.
#[derive(Debug, PartialEq)]
pub enum Proposal {
    /// These calls, in order: of tools that were offered, fitting their schemas, saying what was said.
    Calls(Vec<Call>),
    /// Nothing, and why: the model's own words, cut and without what looks like a secret.
    Refusal(String),
}

/// Why an answer is no proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The server does not speak the protocol.
    Protocol(String),
    /// The model gave no plan that can be taken; it may be told why.
    Plan(String),
}

#[derive(Deserialize)]
struct Completion {
    model: Option<String>,
    choices: Vec<Choice>,
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize)]
struct ToolCall {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

/// Reads an answer.
pub fn read(bytes: &[u8], asked: &Asked) -> Answer {
    let unread =
        |what: &str| Answer { model: None, usage: None, proposal: Err(Fault::Protocol(what.to_owned())) };
    if bytes.len() > MAX_ANSWER {
        return unread("it is too large");
    }
    let Ok(completion) = serde_json::from_slice::<Completion>(bytes) else {
        return unread("it is no completion as the protocol has it");
    };
    let proposal = match <[Choice; 1]>::try_from(completion.choices) {
        Ok([choice]) => proposal(choice, asked),
        Err(choices) => Err(Fault::Protocol(format!("it has {} choices instead of one", choices.len()))),
    };
    let model = completion.model.map(|model| shown(&model, 100));
    Answer { model, usage: completion.usage.as_ref().and_then(usage), proposal }
}

fn usage(told: &Value) -> Option<Usage> {
    let count = |name: &str| told.get(name).and_then(Value::as_u64).map(|count| count.min(MAX_TOKENS));
    Some(Usage { prompt_tokens: count("prompt_tokens")?, completion_tokens: count("completion_tokens")? })
}

fn proposal(choice: Choice, asked: &Asked) -> Result<Proposal, Fault> {
    let Choice { message, finish_reason } = choice;
    if let Some(reason) = message.refusal.filter(|reason| !reason.trim().is_empty()) {
        return Ok(refusal(&reason));
    }
    match finish_reason.as_deref() {
        Some("length") => return Err(plan("it was cut off, since it reached the limit of tokens")),
        Some("content_filter") => return Ok(refusal("a content filter stopped the answer")),
        _ => {}
    }
    let wanted = match asked.mode {
        Mode::Tools => called(message.tool_calls.unwrap_or_default())?,
        Mode::JsonSchema => written(message.content.as_deref().unwrap_or_default())?,
    };
    match wanted {
        Wanted::Refusal(reason) => Ok(refusal(&reason)),
        Wanted::Calls(calls) => judged(calls, asked).map(Proposal::Calls).map_err(Fault::Plan),
    }
}

fn plan(what: &str) -> Fault {
    Fault::Plan(what.to_owned())
}

fn refusal(reason: &str) -> Proposal {
    Proposal::Refusal(redact::line(reason, MAX_REASON))
}

/// What an answer wants, before it is judged.
enum Wanted {
    Calls(Vec<(String, Arguments)>),
    Refusal(String),
}

/// The functions that were called.
fn called(tool_calls: Vec<ToolCall>) -> Result<Wanted, Fault> {
    if tool_calls.is_empty() {
        return Err(plan("it calls no function"));
    }
    let alone = tool_calls.len() == 1;
    let mut calls = Vec::with_capacity(tool_calls.len().min(16));
    for ToolCall { function: Function { name, arguments } } in tool_calls {
        if arguments.len() > MAX_ARGUMENTS {
            return Err(Fault::Plan(format!("the arguments of `{}` are too long", shown(&name, 64))));
        }
        let read = json::read(&arguments);
        let arguments = match read {
            Ok(Value::Object(arguments)) => arguments,
            Ok(_) => {
                return Err(Fault::Plan(format!("the arguments of `{}` are no object", shown(&name, 64))));
            }
            Err(why) => {
                return Err(Fault::Plan(format!("the arguments of `{}`: {why}", shown(&name, 64))));
            }
        };
        if name != REFUSE {
            calls.push((name, arguments));
            continue;
        }
        let reason = arguments.get("reason").and_then(Value::as_str);
        return match reason.filter(|_| alone && arguments.len() == 1) {
            Some(reason) => Ok(Wanted::Refusal(reason.to_owned())),
            None if alone => Err(plan("it refuses without one `reason`")),
            None => Err(plan("it refuses and calls functions as well")),
        };
    }
    Ok(Wanted::Calls(calls))
}

/// The document that was written: `{"calls":[{"tool":…,"arguments":{…}}]}` or `{"refuse":"…"}`.
fn written(content: &str) -> Result<Wanted, Fault> {
    let Value::Object(mut document) = json::read(content).map_err(Fault::Plan)? else {
        return Err(plan("it is no object"));
    };
    match (document.remove("calls"), document.remove("refuse"), document.keys().next()) {
        (_, _, Some(other)) => Err(Fault::Plan(format!("it has the unknown member `{}`", shown(other, 64)))),
        (Some(Value::Array(calls)), None, None) => {
            calls.into_iter().map(call).collect::<Option<_>>().map(Wanted::Calls).ok_or_else(|| {
                plan("each of `calls` must be an object with a text `tool`, an object `arguments`, and no more")
            })
        }
        (None, Some(Value::String(reason)), None) => Ok(Wanted::Refusal(reason)),
        _ => Err(plan("it must have either a list `calls` or a text `refuse`")),
    }
}

fn call(written: Value) -> Option<(String, Arguments)> {
    let Value::Object(mut written) = written else { return None };
    match (written.remove("tool"), written.remove("arguments"), written.is_empty()) {
        (Some(Value::String(tool)), Some(Value::Object(arguments)), true) => Some((tool, arguments)),
        _ => None,
    }
}

/// The calls, if each of them may be taken, and all of them together.
fn judged(wanted: Vec<(String, Arguments)>, asked: &Asked) -> Result<Vec<Call>, String> {
    if wanted.is_empty() || wanted.len() > asked.max_steps {
        return Err(format!("it has {} calls, and 1 to {} may be", wanted.len(), asked.max_steps));
    }
    let mut calls = Vec::with_capacity(wanted.len());
    for (name, arguments) in wanted {
        let Some(offer) = asked.offers.iter().find(|offer| offer.spec.name.as_str() == name) else {
            return Err(format!("there is no function `{}`", shown(&name, 64)));
        };
        offer.check(&arguments).map_err(|why| format!("`{name}`: {why}"))?;
        grounding::check(&arguments, offer, &asked.said).map_err(|why| format!("`{name}`: {why}"))?;
        calls.push(Call { tool: offer.spec.name.clone(), arguments });
    }
    grounding::complete(&calls, &asked.offers)?;
    Ok(calls)
}

#[cfg(test)]
pub(crate) mod tests;
