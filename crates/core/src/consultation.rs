//! What a language model was asked for a plan, and what it answered: for the evidence.

use crate::ToolName;
use crate::canonical::Digest;
use serde::Serialize;
use serde_json::Value;

/// The name of the planner that asks a language model, as runs, policies (`context.planner`) and evidence show it.
pub const LLM: &str = "llm";

/// One question to a language model, and what came of it. No secret.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Consultation {
    /// Where the question went, without user, password and query.
    pub endpoint: String,
    /// The model that was asked for.
    pub model: String,
    /// The model that answered, as its server says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<String>,
    /// 1, or 2 when a first answer was no valid plan and the model was told why.
    pub round: u8,
    /// How often the question was sent: more than once when the server was overloaded or failed.
    pub attempts: u32,
    /// The version of the instructions that are the same for every question.
    pub instructions: String,
    /// What was said beside the instructions, as it left: secrets were taken out before.
    pub prompt: Vec<Value>,
    /// The tools that the model was told of.
    pub tools: Vec<Offered>,
    /// SHA-256 of the whole question as it was sent.
    pub question_digest: Digest,
    /// SHA-256 of the answer as it came, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_digest: Option<Digest>,
    /// The answer's length.
    pub answer_bytes: usize,
    /// The tokens that the server counted, or else those that were reckoned.
    pub usage: Usage,
    /// From the question to the end of the answer, with all attempts.
    pub milliseconds: u64,
    /// What came of it: `plan`, or the code of the error.
    pub outcome: String,
    /// Why there is no plan, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// A tool that a model was told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offered {
    /// Its name.
    pub tool: ToolName,
    /// The version of its definition.
    pub version: String,
}

/// Tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Of the question.
    pub prompt_tokens: u64,
    /// Of the answer.
    pub completion_tokens: u64,
}
