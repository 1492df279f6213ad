//! What a record says, taken out piece by piece, so that what nobody asked for is left over and shown, too.

use astradesk_core::text::shown;
use serde_json::{Map, Value};

/// The most characters of a text, and of what is left over.
const LONG: usize = 300;

/// The fields of an object that have not been told yet.
pub(super) struct Facts(Map<String, Value>);

impl Facts {
    pub(super) fn new(map: Map<String, Value>) -> Self {
        Self(map)
    }

    /// The fields of a value that is an object; none of any other.
    pub(super) fn of(value: Value) -> Self {
        match value {
            Value::Object(map) => Self(map),
            _ => Self(Map::new()),
        }
    }

    /// Takes a field; absent is null.
    pub(super) fn take(&mut self, key: &str) -> Value {
        self.0.remove(key).unwrap_or_default()
    }

    /// Takes a field that is an object.
    pub(super) fn object(&mut self, key: &str) -> Self {
        Self::of(self.take(key))
    }

    /// Takes the items of a field that is a list.
    pub(super) fn list(&mut self, key: &str) -> Vec<Value> {
        match self.take(key) {
            Value::Array(items) => items,
            _ => Vec::new(),
        }
    }

    /// Takes a field as a text that is safe to show; nothing if it is absent or empty.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        Some(brief(&self.take(key))).filter(|text| !text.is_empty())
    }

    /// Takes a field that people wrote, in quotation marks.
    pub(super) fn quoted(&mut self, key: &str) -> Option<String> {
        self.text(key).map(|text| format!("\"{}\"", text.replace('"', "\\\"")))
    }

    /// Takes a field that says yes or no.
    pub(super) fn is(&mut self, key: &str) -> bool {
        self.take(key) == Value::Bool(true)
    }

    /// A line for each field that is left, in the order of their names.
    pub(super) fn rest(self) -> impl Iterator<Item = String> {
        let mut left: Vec<(String, Value)> = self.0.into_iter().collect();
        left.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        left.into_iter()
            .filter(|(_, value)| !is_empty(value))
            .map(|(key, value)| format!("{}: {}", shown(&key, LONG), brief(&value)))
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A value in few words: texts without quotation marks, digests by their beginnings.
pub(super) fn brief(value: &Value) -> String {
    shown(&words(value), LONG)
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => short(text).to_owned(),
        Value::Array(items) => items.iter().map(nested).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            let fields = map.iter().filter(|(_, value)| !is_empty(value));
            fields.map(|(key, value)| format!("{key}={}", nested(value))).collect::<Vec<_>>().join(", ")
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn nested(value: &Value) -> String {
    match value {
        Value::Object(_) => format!("{{{}}}", words(value)),
        Value::Array(_) => format!("[{}]", words(value)),
        _ => words(value),
    }
}

/// The beginning of a digest, which is enough to tell it from others; any other text as it is.
fn short(text: &str) -> &str {
    let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.get(..12).filter(|_| is_digest).unwrap_or(text)
}
