//! JSON with places for values: keys are fixed, and a value never becomes more than one value.

use crate::manifest::section::{Fault, Section};
use crate::manifest::template;
use crate::parameters::Parameters;
use crate::template::{Place, Template, Values};
use astradesk_core::Result;
use serde_json::{Map, Value};

/// The deepest nesting.
const DEPTH: usize = 16;

/// A value with places for values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    /// A value without any.
    Fixed(Value),
    /// A text.
    Text(Template),
    /// `"{argument}"` alone: the argument's value with its own type; left out when the call does not have it.
    Whole(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Vec<(String, Self)>),
}

impl Node {
    /// Reads a table, or a text that is JSON.
    pub(crate) fn document(
        section: &Section,
        key: &str,
        value: Value,
        parameters: &Parameters,
        place: Place,
    ) -> Result<Self, Fault> {
        let value = match value {
            Value::String(text) => serde_json::from_str(&text)
                .map_err(|error| section.fault_of(key, format!("its text is not JSON: {error}")))?,
            value => value,
        };
        Self::read(section, key, value, parameters, place)
    }

    /// Reads a value.
    pub(crate) fn read(
        section: &Section,
        key: &str,
        value: Value,
        parameters: &Parameters,
        place: Place,
    ) -> Result<Self, Fault> {
        let reader = Reader { section, key, parameters, place };
        reader.read(value, 0)
    }

    /// The value; `None` if it is an argument that the call does not have.
    pub(crate) fn fill(&self, values: &mut Values<'_>) -> Result<Option<Value>> {
        Ok(Some(match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(template) => Value::String(template.fill_plain(values)?),
            Self::Whole(name) => return Ok(values.value(name)),
            Self::Array(items) => {
                let mut filled = Vec::with_capacity(items.len());
                for item in items {
                    filled.extend(item.fill(values)?);
                }
                Value::Array(filled)
            }
            Self::Object(fields) => {
                let mut filled = Map::new();
                for (key, node) in fields {
                    if let Some(value) = node.fill(values)? {
                        filled.insert(key.clone(), value);
                    }
                }
                Value::Object(filled)
            }
        }))
    }
}

struct Reader<'a> {
    section: &'a Section,
    key: &'a str,
    parameters: &'a Parameters,
    place: Place,
}

impl Reader<'_> {
    fn read(&self, value: Value, depth: usize) -> Result<Node, Fault> {
        if depth > DEPTH {
            return Err(self.section.fault_of(self.key, format!("it is nested deeper than {DEPTH}")));
        }
        Ok(match value {
            Value::String(text) => self.text(&text)?,
            Value::Array(items) => Node::Array(
                items.into_iter().map(|item| self.read(item, depth + 1)).collect::<Result<_, _>>()?,
            ),
            Value::Object(fields) => {
                let mut read = Vec::with_capacity(fields.len());
                for (name, value) in fields {
                    if name.contains(['{', '}']) {
                        let why = format!("the key `{name}` has a brace, and keys are fixed");
                        return Err(self.section.fault_of(self.key, why));
                    }
                    read.push((name, self.read(value, depth + 1)?));
                }
                Node::Object(read)
            }
            fixed => Node::Fixed(fixed),
        })
    }

    fn text(&self, text: &str) -> Result<Node, Fault> {
        let parsed = Template::parse(text).map_err(|why| self.section.fault_of(self.key, why))?;
        if let Some(name) = parsed.whole() {
            // As a value of its own it may have any type, and may be missing.
            let parameter =
                self.parameters.known(name).map_err(|why| self.section.fault_of(self.key, why))?;
            if parameter.write_only && self.place == Place::Seen {
                let why = format!("`{{{name}}}` is `writeOnly` and would be seen here");
                return Err(self.section.fault_of(self.key, why));
            }
            return Ok(Node::Whole(name.to_owned()));
        }
        Ok(Node::Text(template(self.section, self.key, text, self.parameters, self.place)?))
    }
}
