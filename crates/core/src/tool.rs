//! What can be done: a tool's name, effect, arguments, and the words that ask for it.

use crate::ToolName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

/// The arguments of a call, by name.
pub type Arguments = Map<String, Value>;

/// What a tool does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Changes the state of a target.
    Write,
    /// Runs something whose effect its definition cannot bound, such as a playbook.
    Execute,
}

impl Effect {
    /// The effect as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
        }
    }
}

/// A tool, described: everything that planners, policy and people need to know of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolSpec {
    /// The name, unique in a registry.
    pub name: ToolName,
    /// The version of the definition; part of every digest, so that an approval binds to it.
    pub version: String,
    /// One sentence for people and for planners.
    pub description: String,
    /// What it does to the world. A definition without one does not register.
    pub effect: Option<Effect>,
    /// JSON Schema (2020-12) of the arguments; an object that refuses unknown properties.
    pub input_schema: Value,
    /// The longest that one call may take when it does not say otherwise.
    #[serde(serialize_with = "seconds")]
    pub timeout: Duration,
    /// The words that ask for it.
    pub grammar: Grammar,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

/// The words that ask for a tool, declared by the tool itself, in any number of languages.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Grammar {
    /// Phrases of one or more words, lower case: `restart`, `uruchom ponownie`.
    pub phrases: Vec<String>,
    /// Those of the phrases that are nouns as well: `restart` in `the restart of webapp`, which asks for nothing.
    pub nouns: Vec<String>,
    /// What the rest of a sentence may say.
    pub slots: Vec<Slot>,
    /// Words that carry no meaning beside this tool's phrases: `the`, `service`, `usługę`.
    pub fillers: Vec<String>,
}

/// One argument, as a sentence can say it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slot {
    /// The argument that it fills.
    pub argument: String,
    /// How it is said.
    pub form: Form,
    /// Whether the sentence must say it.
    pub required: bool,
    /// Whether it says where the [name](Form::Name) is to be found: a pronoun that stands for the name takes it along.
    pub locates: bool,
}

/// How a sentence says an argument.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A bare name, which must be one of [the tool's candidates](crate::ToolSpec): `webapp`.
    Name,
    /// A value beside words that tell what it is.
    Value {
        /// What it must be.
        of: Measure,
        /// What it is said after: `namespace` shop, `timeout` 5m; or around it, with a `*` in its place: `in the *
        /// namespace`.
        after: Vec<String>,
        /// What it is said before: 3 `replicas`. A bare [word](Measure::Word) is never read so.
        before: Vec<String>,
    },
    /// One of these words, each with the value that it means: `deployment`.
    OneOf(Vec<(String, Value)>),
    /// One of these phrases, which means `true`: `accept downtime`.
    Flag(Vec<String>),
}

/// What a value in a sentence must be, and what it becomes as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Any word; a string.
    Word,
    /// Digits; an integer.
    Number,
    /// `90s`, `5 min`, `2 godziny`; a string of digits and `s`, `m`, `h` or `d`.
    Duration,
    /// `25%`, `25 percent`; an integer from 0 to 100.
    Percentage,
}
