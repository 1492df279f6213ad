//! One transport-neutral error: a [`Code`], a sentence, and what to do next.

use crate::Code;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The most candidates that an error lists.
pub const MAX_CANDIDATES: usize = 50;

/// The result of everything that can be refused or fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the user's words. Edges map it to a status or an exit code by its [`Code::class`].
#[derive(Debug, Clone, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Error {
    /// The stable code.
    pub code: Code,
    /// One sentence: what was wrong, with what. Lower case, no full stop, no secret.
    pub message: String,
    /// What to do next. The code's own remedy unless there is a better one.
    pub remedy: String,
    /// Facts for machines: candidates, limits, the diagnosis of a rollout.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

impl Error {
    /// An error with the code's own remedy.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), remedy: code.remedy().to_owned(), details: Map::new() }
    }

    /// The same error with a better remedy.
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// The same error with one more fact.
    pub fn with_detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self
    }

    /// The same error with the candidates that would have been understood: the first [`MAX_CANDIDATES`].
    pub fn with_candidates<S: Into<String>>(self, candidates: impl IntoIterator<Item = S>) -> Self {
        let candidates: Vec<Value> =
            candidates.into_iter().take(MAX_CANDIDATES).map(|c| Value::String(c.into())).collect();
        self.with_detail("candidates", candidates)
    }

    /// A defect: the text goes to the log, never to a caller.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }
}
