//! What an answer must have: at a JSON pointer, this value.

use crate::http::json::Node;
use crate::manifest::section::{Fault, Section};
use crate::parameters::Parameters;
use crate::template::{Place, Values};
use astradesk_core::Result;
use astradesk_core::text::shown;
use serde_json::Value;

/// The keys of an expectation.
pub(crate) const KEYS: &[&str] = &["pointer", "equals"];

/// A JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer(String);

impl Pointer {
    pub(crate) fn read(section: &Section, key: &str, text: String) -> Result<Self, Fault> {
        let escapes = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
        if (text.is_empty() || text.starts_with('/')) && escapes && text.len() <= 1024 {
            return Ok(Self(text));
        }
        let why = format!(
            "`{}` is no JSON pointer: write `/status/phase`, with `~1` for a slash in a key and `~0` for a tilde",
            shown(&text, 80)
        );
        Err(section.fault_of(key, why))
    }

    pub(crate) fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        value.pointer(&self.0)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// At this pointer, this value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expectation {
    pub(crate) pointer: Pointer,
    equals: Node,
}

/// What was expected, with the values of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expected {
    pub(crate) pointer: Pointer,
    pub(crate) value: Value,
}

impl Expectation {
    /// Reads `pointer` and `equals` of a table.
    pub(crate) fn read(section: &mut Section, parameters: &Parameters) -> Result<Self, Fault> {
        let text = section.text_if("pointer")?.ok_or_else(|| section.fault("has no `pointer`"))?;
        let pointer = Pointer::read(section, "pointer", text)?;
        let equals = section.value("equals").ok_or_else(|| section.fault("has no `equals`"))?;
        let equals = Node::read(section, "equals", equals, parameters, Place::Seen)?;
        Ok(Self { pointer, equals })
    }

    pub(crate) fn with(&self, values: &mut Values<'_>) -> Result<Expected> {
        let value = self.equals.fill(values)?.unwrap_or(Value::Null);
        Ok(Expected { pointer: self.pointer.clone(), value })
    }
}

impl Expected {
    /// Whether the answer has it.
    pub(crate) fn is_met(&self, answer: &Value) -> bool {
        self.pointer.of(answer) == Some(&self.value)
    }

    /// What the answer has instead, in a few words.
    pub(crate) fn instead(&self, answer: &Value) -> String {
        let found = match self.pointer.of(answer) {
            Some(value) => format!("`{}`", shown(&value.to_string(), 100)),
            None => "nothing".to_owned(),
        };
        format!("{found} at `{}`, and not `{}`", self.pointer.as_str(), shown(&self.value.to_string(), 100))
    }
}
