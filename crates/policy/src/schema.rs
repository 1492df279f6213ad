//! The schema: the file `schema.cedarschema`, and an action for every tool.

use astradesk_core::canonical::Digest;
use astradesk_core::{Effect, ToolSpec};
use cedar_policy::{Schema, SchemaFragment};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is the same whatever tools there are.
pub(crate) const BASE: &str = include_str!("schema.cedarschema");

/// The actions that are not tools. A tool of such a name cannot be called.
pub(crate) const RESERVED: [&str; 4] = ["read", "write", "execute", BREAK_GLASS];

/// The action of overriding guardrails.
pub(crate) const BREAK_GLASS: &str = "break_glass";

/// The tools that policies can speak of.
#[derive(Debug, Default)]
pub(crate) struct Tools(BTreeMap<String, Tool>);

/// A tool, as policies see it.
#[derive(Debug)]
pub(crate) struct Tool {
    /// The version of its definition: a call of another one may have arguments that policies do not see.
    pub(crate) version: String,
    /// What it does to the world.
    pub(crate) effect: Effect,
    /// Its arguments that have a type in Cedar.
    pub(crate) arguments: Vec<Argument>,
}

/// An argument, as policies see it.
#[derive(Debug)]
pub(crate) struct Argument {
    /// Its name.
    pub(crate) name: String,
    /// Its type.
    pub(crate) kind: ArgumentKind,
    /// Whether every call has it.
    pub(crate) required: bool,
}

/// The types of arguments that have one in Cedar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArgumentKind {
    /// `String`.
    Text,
    /// `Long`.
    Integer,
    /// `Bool`.
    Flag,
    /// `Set<String>`.
    Texts,
}

impl Tools {
    /// The tools of `specs` that have an effect and a name that no other action has.
    pub(crate) fn of(specs: &[Arc<ToolSpec>]) -> Self {
        let known = specs.iter().filter(|spec| !RESERVED.contains(&spec.name.as_str()));
        Self(
            known
                .filter_map(|spec| {
                    let (version, arguments) = (spec.version.clone(), arguments(&spec.input_schema));
                    let tool = Tool { version, effect: spec.effect?, arguments };
                    Some((spec.name.to_string(), tool))
                })
                .collect(),
        )
    }

    /// The tool of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Tool> {
        self.0.get(name)
    }

    /// The schema for these tools. Actions in `others`, which policies name though there is no such tool, are
    /// declared, so that the rest of what those policies say can be checked.
    pub(crate) fn schema(&self, others: &BTreeSet<String>) -> Result<Schema, String> {
        Schema::from_json_value(self.schema_json(others)?).map_err(|error| error.to_string())
    }

    /// The schema as Cedar text, for editors and people.
    pub(crate) fn schema_text(&self) -> Result<String, String> {
        let fragment = SchemaFragment::from_json_value(self.schema_json(&BTreeSet::new())?);
        let fragment = fragment.map_err(|error| error.to_string())?;
        fragment.to_cedarschema().map_err(|error| error.to_string())
    }

    /// A digest of the schema.
    pub(crate) fn digest(&self) -> Result<Digest, String> {
        self.schema_json(&BTreeSet::new()).map(|schema| Digest::of_value(&schema))
    }

    fn schema_json(&self, others: &BTreeSet<String>) -> Result<Value, String> {
        let (base, _) = SchemaFragment::from_cedarschema_str(BASE).map_err(|error| error.to_string())?;
        let mut schema = base.to_json_value().map_err(|error| error.to_string())?;
        let call = schema.pointer("//commonTypes/Call").cloned();
        let call = call.ok_or("the schema has no type `Call`")?;
        let actions = schema.pointer_mut("//actions").and_then(Value::as_object_mut);
        let actions = actions.ok_or("the schema has no actions")?;
        for (name, tool) in &self.0 {
            let group = json!([{"id": tool.effect.as_str()}]);
            let applies = applies(&call, tool.context())?;
            actions.insert(name.clone(), json!({"memberOf": group, "appliesTo": applies}));
        }
        for group in [Effect::Read, Effect::Write, Effect::Execute] {
            // A group without a tool stands for itself, so that policies about it can be checked.
            if !self.0.values().any(|tool| tool.effect == group) {
                let applies = applies(&call, json!({"type": "Record", "attributes": {}}))?;
                actions.insert(group.as_str().to_owned(), json!({"appliesTo": applies}));
            }
        }
        for other in others {
            actions.entry(other.clone()).or_insert_with(|| json!({}));
        }
        Ok(schema)
    }
}

impl Tool {
    /// The Cedar type of `context.arguments`.
    fn context(&self) -> Value {
        let attributes: Map<String, Value> = self
            .arguments
            .iter()
            .map(|argument| {
                let mut kind = match argument.kind {
                    ArgumentKind::Text => json!({"type": "String"}),
                    ArgumentKind::Integer => json!({"type": "Long"}),
                    ArgumentKind::Flag => json!({"type": "Boolean"}),
                    ArgumentKind::Texts => json!({"type": "Set", "element": {"type": "String"}}),
                };
                if let Some(kind) = kind.as_object_mut() {
                    kind.insert("required".to_owned(), Value::Bool(argument.required));
                }
                (argument.name.clone(), kind)
            })
            .collect();
        json!({"type": "Record", "attributes": attributes})
    }
}

/// To what an action applies whose arguments have the type `arguments`.
fn applies(call: &Value, arguments: Value) -> Result<Value, String> {
    let mut context = call.clone();
    let place = context.pointer_mut("/attributes/arguments");
    *place.ok_or("the type `Call` has no `arguments`")? = arguments;
    Ok(json!({"principalTypes": ["Principal"], "resourceTypes": ["Target"], "context": context}))
}

/// The arguments that policies can speak of: what is secret (`writeOnly`), and what has no type in Cedar, is
/// left out.
fn arguments(schema: &Value) -> Vec<Argument> {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    properties
        .filter(|(_, property)| property.get("writeOnly") != Some(&Value::Bool(true)))
        .filter_map(|(name, property)| {
            let required = required.contains(&name.as_str());
            Some(Argument { name: name.clone(), kind: kind(property)?, required })
        })
        .collect()
}

fn kind(property: &Value) -> Option<ArgumentKind> {
    match property.get("type")?.as_str()? {
        "string" => Some(ArgumentKind::Text),
        "integer" => Some(ArgumentKind::Integer),
        "boolean" => Some(ArgumentKind::Flag),
        "array" if property.pointer("/items/type") == Some(&Value::from("string")) => {
            Some(ArgumentKind::Texts)
        }
        _ => None,
    }
}
