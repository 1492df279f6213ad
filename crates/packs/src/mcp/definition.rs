//! What a server says of one of its tools: a text of somebody else, to be read by a person before it is used.

use astradesk_core::canonical::Digest;
use astradesk_core::text::shown;
use rmcp::model::Tool;
use serde_json::{Map, Value};

/// The largest definition, in bytes of its JSON.
pub(crate) const MAX_DEFINITION: usize = 64 << 10;
/// The keys that are pinned: all that says what the tool does, and what it takes and gives.
const KEYS: &[&str] = &["name", "title", "description", "inputSchema", "outputSchema", "annotations"];
/// What is shown on both sides of a change within a text, in characters.
const AROUND: usize = 24;

/// The definition of a tool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Definition(Value);

impl Definition {
    /// The definition as a server lists it.
    pub(crate) fn of(tool: &Tool) -> Self {
        let mut all = match serde_json::to_value(tool) {
            Ok(Value::Object(all)) => all,
            _ => Map::new(),
        };
        all.retain(|key, _| KEYS.contains(&key.as_str()));
        Self(Value::Object(all))
    }

    /// The definition as it was written down.
    pub(crate) fn read(value: Value) -> Result<Self, String> {
        let fields = value.as_object().ok_or("it is no object")?;
        match fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
            Some(unknown) => Err(format!("it has the unknown key `{}`", shown(unknown, 64))),
            None => Ok(Self(value)),
        }
    }

    /// What it is known by: one other character makes it another one.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of_value(&self.0)
    }

    pub(crate) fn as_value(&self) -> &Value {
        &self.0
    }

    pub(crate) fn name(&self) -> &str {
        self.0.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn description(&self) -> &str {
        self.0.get("description").and_then(Value::as_str).unwrap_or_default()
    }

    /// The schema of its arguments.
    pub(crate) fn input_schema(&self) -> Option<&Map<String, Value>> {
        self.0.get("inputSchema").and_then(Value::as_object)
    }

    /// Why a person should not take it for a read, if its own server says so. That a server says that a tool only reads
    /// proves nothing, and is asked nowhere.
    pub(crate) fn is_no_read(&self) -> Option<&'static str> {
        let hint = |name: &str| self.0.pointer(&format!("/annotations/{name}")).and_then(Value::as_bool);
        match (hint("readOnlyHint"), hint("destructiveHint")) {
            (Some(false), _) => Some("`readOnlyHint` is false"),
            (None, Some(true)) => Some("`destructiveHint` is true"),
            _ => None,
        }
    }

    /// Whether its server says that it only reads.
    pub(crate) fn says_read(&self) -> bool {
        self.0.pointer("/annotations/readOnlyHint") == Some(&Value::Bool(true))
    }

    pub(crate) fn is_too_large(&self) -> bool {
        self.0.to_string().len() > MAX_DEFINITION
    }
}

/// What is different in `now`, a line for each place, with at most `limit` characters of each side.
pub(crate) fn differences(before: &Definition, now: &Definition, limit: usize) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", &before.0, &now.0, limit, &mut lines);
    lines
}

fn compare(at: &str, before: &Value, now: &Value, limit: usize, lines: &mut Vec<String>) {
    match (before, now) {
        _ if before == now => {}
        (Value::Object(before), Value::Object(now)) => {
            let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let at = format!("{at}/{}", shown(key, 64));
                match (before.get(key), now.get(key)) {
                    (Some(before), Some(now)) => compare(&at, before, now, limit, lines),
                    (None, Some(now)) => {
                        lines.push(format!("{at}: added {}", shown(&now.to_string(), limit)));
                    }
                    (Some(before), None) => {
                        lines.push(format!("{at}: removed {}", shown(&before.to_string(), limit)));
                    }
                    (None, None) => {}
                }
            }
        }
        (Value::String(before), Value::String(now)) => {
            let (before, now) = changed(before, now);
            lines.push(format!("{at}: \"{}\" is now \"{}\"", shown(&before, limit), shown(&now, limit)));
        }
        _ => {
            let (before, now) = (before.to_string(), now.to_string());
            lines.push(format!("{at}: {} is now {}", shown(&before, limit), shown(&now, limit)));
        }
    }
}

/// The parts in which two texts differ, with a little of what is around: a change at the end of a long text is seen.
fn changed(before: &str, now: &str) -> (String, String) {
    let (before, now): (Vec<char>, Vec<char>) = (before.chars().collect(), now.chars().collect());
    let same = before.iter().zip(&now).take_while(|(a, b)| a == b).count();
    let most = before.len().min(now.len()) - same;
    let tail = before.iter().rev().zip(now.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    let (from, tail) = (same.saturating_sub(AROUND), tail.saturating_sub(AROUND));
    let part = |all: &[char]| {
        let to = all.len() - tail;
        let within: String = all.get(from..to).unwrap_or_default().iter().collect();
        let (head, end) = (if from > 0 { "…" } else { "" }, if tail > 0 { "…" } else { "" });
        format!("{head}{within}{end}")
    };
    (part(&before), part(&now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(value: Value) -> Definition {
        Definition::read(value).unwrap()
    }

    #[test]
    fn every_difference_is_told_where_it_is() {
        let long = "x".repeat(5000);
        let before = definition(json!({"name": "act", "description": format!("{long} end"),
            "inputSchema": {"type": "object", "properties": {"a": {"type": "string"}, "b": {}}}}));
        let now =
            definition(json!({"name": "act", "description": format!("{long} send it to me"), "title": "T",
            "inputSchema": {"type": "object", "properties": {"a": {"type": "integer"}, "\u{202e}c": {}}}}));
        assert_ne!(before.digest(), now.digest());
        let lines = differences(&before, &now, 200);
        let around = "x".repeat(23);
        assert_eq!(
            lines,
            [
                format!("/description: \"…{around} end\" is now \"…{around} send it to me\""),
                "/inputSchema/properties/a/type: \"string\" is now \"integer\"".to_owned(),
                "/inputSchema/properties/b: removed {}".to_owned(),
                "/inputSchema/properties/\\u{202e}c: added {}".to_owned(),
                "/title: added \"T\"".to_owned(),
            ]
        );
        assert!(differences(&now, &now, 200).is_empty());
    }

    #[test]
    fn the_parts_in_which_texts_differ_are_found() {
        for (before, now, expected) in [
            ("", "a", ("", "a")),
            ("aaa", "aa", ("aaa", "aa")),
            ("it reads", "it deletes", ("it reads", "it deletes")),
        ] {
            assert_eq!(changed(before, now), (expected.0.to_owned(), expected.1.to_owned()));
        }
        let (a, b) = (format!("{0}1{0}", "y".repeat(100)), format!("{0}2{0}", "y".repeat(100)));
        let around = "y".repeat(AROUND);
        assert_eq!(changed(&a, &b), (format!("…{around}1{around}…"), format!("…{around}2{around}…")));
    }

    #[test]
    fn what_its_server_says_of_reading_counts_against_it_only() {
        for (hints, no_read) in [
            (json!({}), false),
            (json!({"readOnlyHint": true}), false),
            (json!({"readOnlyHint": true, "destructiveHint": true}), false),
            (json!({"readOnlyHint": false}), true),
            (json!({"destructiveHint": true}), true),
            (json!({"readOnlyHint": "false"}), false),
        ] {
            let definition = definition(json!({"name": "act", "annotations": hints}));
            assert_eq!(definition.is_no_read().is_some(), no_read, "{hints}");
        }
        assert!(Definition::read(json!({"name": "act", "icons": []})).is_err());
    }
}
