//! What the model is told of a tool, and what a call of it may say.

use astradesk_core::redact;
use astradesk_core::tool::{Form, Slot};
use astradesk_core::{Arguments, ToolSpec};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest description that is told, in characters.
const MAX_DESCRIPTION: usize = 400;
/// What a schema has beside its meaning, or what would invite the model to fill something in.
const UNTOLD: [&str; 10] = [
    "default",
    "examples",
    "example",
    "const_description",
    "$comment",
    "$schema",
    "$id",
    "title",
    "writeOnly",
    "readOnly",
];

/// The names that an argument may take, as far as the sentence says them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Those that exist and are said.
    pub said: Vec<String>,
    /// Whether the principal may use the tool on each of them.
    pub all_permitted: bool,
}

/// A tool that the model may call.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The tool.
    pub spec: Arc<ToolSpec>,
    /// By argument, where the tool knows which names there are.
    pub names: BTreeMap<String, Known>,
    /// The schema of the arguments, without those that are secret.
    schema: Value,
}

impl Offer {
    /// The tool, unless it cannot be called without a secret, or names its arguments in ways that are no names.
    pub fn new(spec: Arc<ToolSpec>, names: BTreeMap<String, Known>) -> Option<Self> {
        let mut schema = spec.input_schema.clone();
        let properties = schema.pointer_mut("/properties").and_then(Value::as_object_mut);
        let mut secret = Vec::new();
        for (name, property) in properties.into_iter().flatten() {
            if !is_argument(name) {
                return None;
            }
            if property.get("writeOnly") == Some(&Value::Bool(true)) {
                secret.push(name.clone());
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        if required.filter_map(Value::as_str).any(|name| secret.iter().any(|secret| secret == name)) {
            return None;
        }
        if let Some(properties) = schema.pointer_mut("/properties").and_then(Value::as_object_mut) {
            properties.retain(|name, _| !secret.contains(name));
        }
        Some(Self { spec, names, schema })
    }

    /// The arguments that are texts, and so may be names.
    pub fn texts(spec: &ToolSpec) -> Vec<String> {
        let properties = spec.input_schema.get("properties").and_then(Value::as_object);
        let is_text = |property: &Value| property.get("type") == Some(&json!("string"));
        properties
            .into_iter()
            .flatten()
            .filter(|(name, property)| is_argument(name) && is_text(property))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// How a sentence says the argument, if the tool declares that.
    pub fn slots<'a>(&'a self, argument: &'a str) -> impl Iterator<Item = &'a Form> {
        let of = move |slot: &&Slot| slot.argument == argument;
        self.spec.grammar.slots.iter().filter(of).map(|slot| &slot.form)
    }

    /// What the tool does, for the model.
    pub(crate) fn description(&self) -> String {
        redact::line(&self.spec.description, MAX_DESCRIPTION)
    }

    /// The schema of the arguments, for the model: names that are said as its choices, and no defaults.
    pub(crate) fn parameters(&self, with_descriptions: bool) -> Value {
        let mut told = told(&self.schema, with_descriptions);
        let properties = told.get_mut("properties").and_then(Value::as_object_mut);
        for (name, property) in properties.into_iter().flatten() {
            let Some(names) = self.names.get(name) else { continue };
            // A list that leaves out what is said would make the model leave it out, too.
            let complete = names.all_permitted && !names.said.is_empty();
            if let Some(property) = property.as_object_mut().filter(|_| complete) {
                property.entry("enum").or_insert_with(|| json!(names.said));
            }
        }
        told
    }

    /// Whether the arguments fit the schema.
    ///
    /// # Errors
    /// The first fault.
    pub(crate) fn check(&self, arguments: &Arguments) -> Result<(), String> {
        let validator = jsonschema::draft202012::options()
            .build(&self.schema)
            .map_err(|_| "its schema is not valid".to_owned())?;
        let value = Value::Object(arguments.clone());
        let Some(fault) = validator.iter_errors(&value).next() else { return Ok(()) };
        let path = fault.instance_path().to_string();
        let at = if path.is_empty() { String::new() } else { format!("at `{path}`: ") };
        Err(redact::line(&format!("{at}{fault}"), 200))
    }
}

/// Whether a name is one that can be told as it is.
fn is_argument(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

/// A schema as it is told.
fn told(schema: &Value, with_descriptions: bool) -> Value {
    let Value::Object(members) = schema else { return schema.clone() };
    let mut kept = Map::new();
    for (key, value) in members {
        let value = match (key.as_str(), value) {
            (key, _) if UNTOLD.contains(&key) => continue,
            ("description", Value::String(text)) if with_descriptions => {
                Value::String(redact::line(text, MAX_DESCRIPTION))
            }
            ("description", _) => continue,
            ("properties" | "$defs" | "definitions", Value::Object(named)) => named
                .iter()
                .map(|(name, schema)| (name.clone(), told(schema, with_descriptions)))
                .collect::<Map<_, _>>()
                .into(),
            (_, Value::Array(items)) => items.iter().map(|item| told(item, with_descriptions)).collect(),
            (_, value) => told(value, with_descriptions),
        };
        kept.insert(key.clone(), value);
    }
    Value::Object(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::tests::spec;

    #[test]
    fn secrets_defaults_and_hidden_text_are_not_told() {
        let mut tool = spec("look_up");
        tool.description = format!("looks up\nIGNORE\u{200b} password=hunter2 {}", "x".repeat(1000));
        tool.input_schema = json!({
            "type": "object", "additionalProperties": false, "title": "t",
            "properties": {
                "description": {"type": "string", "description": "a token=hunter2", "default": "all", "examples": ["x"]},
                "password": {"type": "string", "writeOnly": true},
                "service": {"type": "string"},
            },
        });
        let names = |all_permitted| {
            let names = Known { said: vec!["webapp".to_owned()], all_permitted };
            [("service".to_owned(), names)].into_iter().collect::<BTreeMap<_, _>>()
        };
        let offer = Offer::new(Arc::new(tool.clone()), names(true)).unwrap();
        assert_eq!(offer.description().chars().count(), MAX_DESCRIPTION);
        assert!(offer.description().starts_with("looks up IGNORE password=[redacted] x"));
        assert_eq!(
            offer.parameters(true),
            json!({"type": "object", "additionalProperties": false, "properties": {
                "description": {"type": "string", "description": "a token=[redacted]"},
                "service": {"type": "string", "enum": ["webapp"]},
            }})
        );
        assert_eq!(
            offer.parameters(false)["properties"]["description"],
            json!({"type": "string"}),
            "the smaller question"
        );
        assert!(offer.check(json!({"password": "x"}).as_object().unwrap()).is_err());
        let partly = Offer::new(Arc::new(tool.clone()), names(false)).unwrap();
        assert_eq!(partly.parameters(true)["properties"]["service"], json!({"type": "string"}));
        assert_eq!(Offer::texts(&tool), ["description", "password", "service"]);

        tool.input_schema["required"] = json!(["password"]);
        assert!(Offer::new(Arc::new(tool.clone()), BTreeMap::new()).is_none());
        tool.input_schema = json!({"properties": {"approve everything": {"type": "string"}}});
        assert!(Offer::new(Arc::new(tool), BTreeMap::new()).is_none());
    }
}
