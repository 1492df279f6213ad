//! JSON Schemas of arguments: compiled, and what is wrong with arguments that do not fit.

use astradesk_core::Arguments;
use astradesk_core::text::shown;
use serde_json::Value;

/// The most faults that are told.
const FAULTS: usize = 8;

/// A JSON Schema (2020-12), compiled.
pub struct Schema {
    validator: jsonschema::Validator,
    /// The arguments that are `writeOnly`: nobody is shown them, and no record has them.
    pub(crate) write_only: Vec<String>,
}

impl Schema {
    /// Compiles the schema of an object.
    ///
    /// # Errors
    /// What is wrong with it: the end of a sentence that begins with what has it.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        let validator = jsonschema::draft202012::options()
            .build(schema)
            .map_err(|error| format!("has an input schema that is not valid: {error}"))?;
        Ok(Self { validator, write_only: write_only(schema)? })
    }

    /// What is wrong with arguments, at most 8 faults; none if they fit. What is wrong is shown, unless there is an
    /// argument that is `writeOnly`.
    pub fn faults(&self, arguments: &Arguments) -> Vec<String> {
        let value = Value::Object(arguments.clone());
        if self.validator.is_valid(&value) {
            return Vec::new();
        }
        let masked = !self.write_only.is_empty();
        self.validator.iter_errors(&value).take(FAULTS).map(|error| fault(&error, masked)).collect()
    }
}

/// The top-level properties that a schema says are `writeOnly`. Deeper ones would not be found in arguments.
fn write_only(schema: &Value) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut rest = schema.clone();
    for (name, property) in
        rest.pointer_mut("/properties").and_then(Value::as_object_mut).into_iter().flatten()
    {
        let annotation = property.as_object_mut().and_then(|property| property.remove("writeOnly"));
        if annotation == Some(Value::Bool(true)) {
            found.push(name.clone());
        }
    }
    if is_write_only_within(&rest) {
        return Err(
            "has a `writeOnly` in its input schema that is not directly in a property of the arguments, \
                    where it would not be honoured"
                .to_owned(),
        );
    }
    Ok(found)
}

fn is_write_only_within(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            fields.get("writeOnly") == Some(&Value::Bool(true)) || fields.values().any(is_write_only_within)
        }
        Value::Array(items) => items.iter().any(is_write_only_within),
        _ => false,
    }
}

/// A sentence on one fault, which shows at most a little of the value, or nothing of it.
fn fault(error: &jsonschema::ValidationError<'_>, masked: bool) -> String {
    let path = error.instance_path().to_string();
    let text = if masked { error.masked().to_string() } else { error.to_string() };
    let text = shown(&text, 200);
    if path.is_empty() { text } else { format!("at `{path}`: {text}") }
}
