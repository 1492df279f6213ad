//! A table of a manifest, read strictly: every key is known, every value is of its type and within its limits.

use astradesk_core::text::shown;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// What is wrong with a manifest, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) remedy: Option<String>,
}

/// A table, and where it stands.
#[derive(Debug)]
pub(crate) struct Section {
    place: String,
    table: Map<String, Value>,
}

impl Section {
    /// The table at `place`, which has no other keys than `known`.
    pub(crate) fn new(
        place: impl Into<String>,
        table: Map<String, Value>,
        known: &[&str],
    ) -> Result<Self, Fault> {
        let section = Self { place: place.into(), table };
        match section.table.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(section),
            Some(unknown) => {
                let message = section.said(&format!("has the unknown key `{}`", shown(unknown, 64)));
                let remedy = match nearest(unknown, known) {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None => format!("its keys are {}", known.join(", ")),
                };
                Err(Fault { message, remedy: Some(remedy) })
            }
        }
    }

    /// The same table, called otherwise.
    pub(crate) fn at(self, place: impl Into<String>) -> Self {
        Self { place: place.into(), ..self }
    }

    fn said(&self, what: &str) -> String {
        if self.place.is_empty() { format!("it {what}") } else { format!("{} {what}", self.place) }
    }

    /// A fault of this table.
    pub(crate) fn fault(&self, what: impl AsRef<str>) -> Fault {
        Fault { message: self.said(what.as_ref()), remedy: None }
    }

    /// A fault of one of its keys.
    pub(crate) fn fault_of(&self, key: &str, why: impl AsRef<str>) -> Fault {
        let colon = if self.place.is_empty() { String::new() } else { format!("{}: ", self.place) };
        Fault { message: format!("{colon}`{key}`: {}", why.as_ref()), remedy: None }
    }

    /// Whether the key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The value of a key, which stays.
    pub(crate) fn peek(&self, key: &str) -> Option<&Value> {
        self.table.get(key)
    }

    /// The value of a key.
    pub(crate) fn value(&mut self, key: &str) -> Option<Value> {
        self.table.remove(key)
    }

    /// A text that must be there, not empty, of at most `most` characters.
    pub(crate) fn text(&mut self, key: &str, most: usize) -> Result<String, Fault> {
        let text = self.text_if(key)?.ok_or_else(|| self.fault(format!("has no `{key}`")))?;
        let length = text.chars().count();
        if text.trim().is_empty() || length > most {
            return Err(self.fault_of(key, format!("it has {length} characters, and must have 1 to {most}")));
        }
        Ok(text)
    }

    /// A text, if it is there.
    pub(crate) fn text_if(&mut self, key: &str) -> Result<Option<String>, Fault> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.fault_of(key, "it is no text: write it between quotes")),
        }
    }

    /// A whole number within limits.
    pub(crate) fn number(
        &mut self,
        key: &str,
        default: u64,
        limits: RangeInclusive<u64>,
    ) -> Result<u64, Fault> {
        let Some(value) = self.table.remove(key) else { return Ok(default) };
        let (least, most) = (limits.start(), limits.end());
        value
            .as_u64()
            .filter(|number| limits.contains(number))
            .ok_or_else(|| self.fault_of(key, format!("it must be a whole number from {least} to {most}")))
    }

    /// A truth value; false if it is not there.
    pub(crate) fn flag(&mut self, key: &str) -> Result<bool, Fault> {
        match self.table.remove(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(self.fault_of(key, "it must be `true` or `false`")),
        }
    }

    /// A list of texts; empty if it is not there.
    pub(crate) fn texts(&mut self, key: &str) -> Result<Vec<String>, Fault> {
        let Some(value) = self.table.remove(key) else { return Ok(Vec::new()) };
        let read = match value {
            Value::Array(items) => {
                items.into_iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
            }
            _ => None,
        };
        read.ok_or_else(|| self.fault_of(key, "it must be a list of texts"))
    }

    /// A table; `None` if it is not there.
    pub(crate) fn table(&mut self, key: &str) -> Result<Option<Map<String, Value>>, Fault> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::Object(table)) => Ok(Some(table)),
            Some(_) => Err(self.fault_of(key, "it must be a table")),
        }
    }

    /// A table whose values are texts, in the order of their names; empty if it is not there.
    pub(crate) fn table_of_texts(&mut self, key: &str) -> Result<Vec<(String, String)>, Fault> {
        let table = self.table(key)?.unwrap_or_default();
        let mut read = Vec::with_capacity(table.len());
        for (name, value) in table {
            match value {
                Value::String(text) => read.push((name, text)),
                _ => return Err(self.fault_of(key, format!("`{}` is no text", shown(&name, 64)))),
            }
        }
        read.sort_unstable();
        Ok(read)
    }

    /// A table of its own within this one.
    pub(crate) fn section(&mut self, key: &str, known: &[&str]) -> Result<Option<Self>, Fault> {
        let place =
            if self.place.is_empty() { format!("`{key}`") } else { format!("{}, `{key}`", self.place) };
        self.table(key)?.map(|table| Self::new(place, table, known)).transpose()
    }
}

/// A value of TOML as JSON.
pub(crate) fn json(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .map(Value::Number)
            .ok_or("it has a number that JSON does not have")?,
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::Datetime(time) => {
            return Err(format!("`{time}` is a date, which JSON does not have: write it between quotes"));
        }
        toml::Value::Array(items) => Value::Array(items.into_iter().map(json).collect::<Result<_, _>>()?),
        toml::Value::Table(table) => Value::Object(
            table.into_iter().map(|(key, value)| Ok((key, json(value)?))).collect::<Result<_, String>>()?,
        ),
    })
}

fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = known.iter().map(|key| (strsim::jaro_winkler(unknown, key), *key));
    near.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, key)| key)
}

/// What to say of an unknown key in the middle of a sentence.
pub(crate) fn unknown_key(unknown: &str, known: &[&str]) -> String {
    let unknown = shown(unknown, 64);
    match nearest(&unknown, known) {
        Some(nearest) => format!("the unknown key `{unknown}`: did you mean `{nearest}`?"),
        None => format!("the unknown key `{unknown}`"),
    }
}
