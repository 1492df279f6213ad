//! Calls in order. A planner makes a [`Plan`]; the Engine freezes each call with what it will act on.

use crate::canonical::Digest;
use crate::{Arguments, Effect, Target, ToolName};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The most calls that one plan may have.
pub const MAX_CALLS: usize = 16;

/// A tool and its arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The tool.
    pub tool: ToolName,
    /// Its arguments, not yet checked.
    pub arguments: Arguments,
}

/// Calls in order, and who planned them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// `direct` when the caller named the tool, else the planner's name.
    pub planner: String,
    /// The calls; at least one and at most [`MAX_CALLS`].
    pub calls: Vec<Call>,
    /// Which words each call comes from, when the planner can say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub understood: Vec<Understood>,
}

/// What was understood of one part of a sentence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Understood {
    /// The tool that it asks for.
    pub tool: ToolName,
    /// The words that ask for it, safe to show.
    pub words: String,
    /// What it says of the tool's arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<Heard>,
    /// The arguments that it had to say and does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// An argument, and the words that say it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// The argument.
    pub name: String,
    /// The words, safe to show.
    pub words: String,
    /// What they mean.
    pub value: serde_json::Value,
}

impl Plan {
    /// The plan of a caller who named the tool and its arguments.
    pub fn direct(call: Call) -> Self {
        Self { planner: "direct".to_owned(), calls: vec![call], understood: Vec::new() }
    }
}

/// A call whose arguments fit the schema and whose targets are known. What is approved, recorded and
/// executed is this, and nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrozenCall {
    /// The tool.
    pub tool: ToolName,
    /// The version of the tool's definition.
    pub version: String,
    /// What the tool does to the world.
    pub effect: Effect,
    /// The arguments.
    pub arguments: Arguments,
    /// What it acts on.
    pub targets: Vec<Target>,
    /// SHA-256 of the canonical JSON of tool, version, arguments and targets.
    pub digest: Digest,
}

impl FrozenCall {
    /// Freezes a call.
    pub fn new(call: Call, version: String, effect: Effect, targets: Vec<Target>) -> Self {
        let Call { tool, arguments } = call;
        let digest = Digest::of_value(&json!({
            "tool": tool, "version": version, "arguments": arguments, "targets": targets,
        }));
        Self { tool, version, effect, arguments, targets, digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frozen(arguments: &str, version: &str) -> FrozenCall {
        let call = Call {
            tool: ToolName::parse("restart_service").unwrap(),
            arguments: serde_json::from_str(arguments).unwrap(),
        };
        let target = "kubernetes/prod/default/deployment/webapp".parse().unwrap();
        FrozenCall::new(call, version.to_owned(), Effect::Write, vec![target])
    }

    #[test]
    fn the_digest_binds_arguments_and_version_but_not_their_order() {
        let one = frozen(r#"{"service":"webapp","accept_downtime":true}"#, "1");
        assert_eq!(one.digest, frozen(r#"{"accept_downtime":true,"service":"webapp"}"#, "1").digest);
        assert_ne!(one.digest, frozen(r#"{"service":"webapp","accept_downtime":false}"#, "1").digest);
        assert_ne!(one.digest, frozen(r#"{"service":"webapp","accept_downtime":true}"#, "2").digest);
    }
}
