//! What differs between two transcripts.

use crate::play::Reply;
use serde_json::Value;
use std::fmt;

/// How much of a value is shown.
const SHOWN: usize = 240;

/// One value that is not the same on both clusters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The script's name.
    pub script: String,
    /// The step's number and label.
    pub step: String,
    /// Where in the reply.
    pub pointer: String,
    /// What the sandbox says there.
    pub sandbox: String,
    /// What the real control plane says there.
    pub real: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { script, step, pointer, sandbox, real } = self;
        write!(f, "{script} / {step} / {pointer}:\n    sandbox={sandbox}\n    real   ={real}")
    }
}

/// Every value that differs, as deep as it can be told.
pub fn compare(script: &str, sandbox: &[Reply], real: &[Reply]) -> Vec<Difference> {
    let mut found = Vec::new();
    for (here, there) in sandbox.iter().zip(real) {
        let mut note = |pointer: &str, sandbox: Option<&Value>, real: Option<&Value>| {
            found.push(Difference {
                script: script.to_owned(),
                step: here.step.clone(),
                pointer: pointer.to_owned(),
                sandbox: shown(sandbox),
                real: shown(real),
            });
        };
        if here.value["code"] == there.value["code"] {
            descend("", Some(&here.value), Some(&there.value), &mut note);
        } else {
            // Nothing else of them can be compared.
            descend("", Some(&essence(&here.value)), Some(&essence(&there.value)), &mut note);
        }
    }
    found
}

/// The code and the message of a reply.
fn essence(reply: &Value) -> Value {
    serde_json::json!({"code": reply["code"], "body": {"message": reply["body"]["message"]}})
}

fn descend(
    pointer: &str,
    sandbox: Option<&Value>,
    real: Option<&Value>,
    note: &mut impl FnMut(&str, Option<&Value>, Option<&Value>),
) {
    match (sandbox, real) {
        (Some(Value::Object(here)), Some(Value::Object(there))) => {
            let mut keys: Vec<&String> = here.keys().chain(there.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let escaped = key.replace('~', "~0").replace('/', "~1");
                descend(&format!("{pointer}/{escaped}"), here.get(key), there.get(key), note);
            }
        }
        (Some(Value::Array(here)), Some(Value::Array(there))) => {
            for index in 0..here.len().max(there.len()) {
                descend(&format!("{pointer}/{index}"), here.get(index), there.get(index), note);
            }
        }
        (here, there) if here == there => {}
        (here, there) => note(pointer, here, there),
    }
}

fn shown(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "(nothing)".to_owned(), Value::to_string);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_names_its_place() {
        let reply = |value: Value| [Reply { step: "0 get".to_owned(), value }];
        let here = reply(json!({"a": {"b/c": 1, "same": true}, "list": [1, 2]}));
        let there = reply(json!({"a": {"b/c": 2, "same": true}, "list": [1]}));
        let found = compare("s", &here, &there);
        let places: Vec<&str> = found.iter().map(|difference| difference.pointer.as_str()).collect();
        assert_eq!(places, ["/a/b~1c", "/list/1"]);
        assert_eq!((found[1].sandbox.as_str(), found[1].real.as_str()), ("2", "(nothing)"));
        assert!(compare("s", &here, &here).is_empty());
    }
}
