//! The arguments of a tool, as its templates may use them, and the JSON Schema that is made of them.

use crate::manifest::section::unknown_key;
use crate::template::is_argument_name;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The most arguments of a tool.
const MAX_ARGUMENTS: usize = 32;
/// How long a text may be that says nothing about it, in characters.
const MAX_LENGTH: u64 = 1024;
/// The keywords of JSON Schema that an argument may have: those that are enforced, and those that explain.
pub(crate) const KEYWORDS: &[&str] = &[
    "type",
    "description",
    "title",
    "default",
    "examples",
    "enum",
    "const",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "items",
    "minItems",
    "maxItems",
    "uniqueItems",
    "properties",
    "required",
    "additionalProperties",
    "writeOnly",
];

/// An argument.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    kind: String,
    /// Whether every call has it.
    pub(crate) required: bool,
    /// Its value when a call does not have it.
    pub(crate) default: Option<Value>,
    /// Whether nobody may be shown it.
    pub(crate) write_only: bool,
}

impl Parameter {
    /// Whether it can stand in a text.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.kind.as_str(), "string" | "integer" | "number" | "boolean")
    }

    /// Its JSON Schema type.
    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }
}

/// The arguments of a tool.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Parameters {
    all: BTreeMap<String, Parameter>,
    /// JSON Schema of the arguments.
    pub(crate) schema: Value,
}

impl Parameters {
    /// Reads the schema of each argument; those in `optional`, and those with a default, need not be given.
    pub(crate) fn read(arguments: Map<String, Value>, optional: &[String]) -> Result<Self, String> {
        if arguments.len() > MAX_ARGUMENTS {
            return Err(format!("it has {} arguments, and may have {MAX_ARGUMENTS}", arguments.len()));
        }
        if let Some(missing) = optional.iter().find(|name| !arguments.contains_key(*name)) {
            return Err(format!("`optional` names `{missing}`, which is no argument of it"));
        }
        let mut all = BTreeMap::new();
        let mut properties = Map::new();
        for (name, schema) in arguments {
            if !is_argument_name(&name) {
                return Err(format!(
                    "argument `{}` must have 1 to 64 letters, digits and `_`, beginning with a lower-case letter",
                    astradesk_core::text::shown(&name, 64)
                ));
            }
            let (parameter, schema) = read_one(schema, optional.contains(&name))
                .map_err(|why| format!("argument `{name}` {why}"))?;
            properties.insert(name.clone(), schema);
            all.insert(name, parameter);
        }
        let required: Vec<&String> =
            all.iter().filter(|(_, one)| one.required).map(|(name, _)| name).collect();
        let schema = json!({
            "type": "object", "additionalProperties": false, "properties": properties, "required": required,
        });
        Ok(Self { all, schema })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Parameter> {
        self.all.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Parameter)> {
        self.all.iter()
    }

    /// The argument of this name.
    pub(crate) fn known(&self, name: &str) -> Result<&Parameter, String> {
        self.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.all.keys().map(String::as_str).collect();
            format!("`{{{name}}}` is no argument of it: it has {}", or_none(&known))
        })
    }
}

fn or_none(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn read_one(mut schema: Value, optional: bool) -> Result<(Parameter, Value), String> {
    check_keywords(&schema)?;
    let Some(fields) = schema.as_object_mut() else { return Err("is no table".to_owned()) };
    let kind = match fields.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        _ => return Err("has no `type`: say `type = \"string\"` or another single type".to_owned()),
    };
    if kind == "string" && !["maxLength", "enum", "const"].iter().any(|bound| fields.contains_key(*bound)) {
        fields.insert("maxLength".to_owned(), MAX_LENGTH.into());
    }
    let default = fields.get("default").cloned();
    let write_only = fields.get("writeOnly") == Some(&Value::Bool(true));
    if let (Some(_), true) = (&default, optional) {
        return Err("has a `default`, so it need not be in `optional`".to_owned());
    }
    let required = default.is_none() && !optional;
    Ok((Parameter { kind, required, default, write_only }, schema))
}

/// A keyword that nothing enforces would look like a limit and be none.
fn check_keywords(schema: &Value) -> Result<(), String> {
    let Some(fields) = schema.as_object() else { return Ok(()) };
    if let Some(unknown) = fields.keys().find(|key| !KEYWORDS.contains(&key.as_str())) {
        return Err(format!("has {}", unknown_key(unknown, KEYWORDS)));
    }
    let within = fields.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::values);
    within.chain(fields.get("items")).try_for_each(check_keywords)
}
