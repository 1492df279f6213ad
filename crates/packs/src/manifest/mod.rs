//! `pack.toml`, read strictly.

pub(crate) mod section;
#[cfg(test)]
mod tests;
mod tool;

use crate::declared::Declared;
use crate::http::Client;
use crate::kubernetes::Objects;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result};
use section::{Fault, Section, json};
use serde_json::{Map, Value};
use std::sync::Arc;
pub(crate) use tool::template;

/// The name of the file.
pub(crate) const FILE: &str = "pack.toml";
/// The keys of the file.
const KEYS: &[&str] = &["name", "version", "description", "tools"];
/// The most tools of a pack.
const MAX_TOOLS: usize = 64;

/// What a `pack.toml` says.
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) tools: Vec<Declared>,
}

impl Manifest {
    /// Reads the text of the `pack.toml` of the folder `folder`.
    ///
    /// # Errors
    /// `pack.invalid` with file, tool and key.
    pub(crate) fn read(folder: &str, text: &str, objects: &Arc<dyn Objects>) -> Result<Self> {
        read(folder, text, objects).map_err(|fault| {
            let file = format!("{}/{FILE}", shown(folder, 64));
            let error = Error::new(Code::PackInvalid, format!("`{file}`: {}", fault.message));
            match fault.remedy {
                Some(remedy) => error.with_remedy(remedy),
                None => error,
            }
        })
    }
}

fn read(folder: &str, text: &str, objects: &Arc<dyn Objects>) -> Result<Manifest, Fault> {
    let plain = |message: String| Fault { message, remedy: None };
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let line =
            error.span().and_then(|span| text.get(..span.start)).map(|before| before.lines().count().max(1));
        let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        let said = error.message().lines().map(str::trim).collect::<Vec<_>>().join(" ");
        plain(format!("{line}{}", shown(&said, 300)))
    })?;
    let Value::Object(table) = json(toml::Value::Table(table)).map_err(plain)? else {
        return Err(plain("it is no table".to_owned()));
    };
    let mut file = Section::new("", table, KEYS)?;
    let name = file.text("name", 64)?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.chars().all(fits) {
        return Err(file.fault_of("name", "it must have lower-case letters, digits, `-` and `_` only"));
    }
    if name != folder {
        let why =
            format!("it is `{name}`, and its folder is called `{}`: call both the same", shown(folder, 64));
        return Err(file.fault_of("name", why));
    }
    let version = file.text("version", 64)?;
    if !version.bytes().all(|b| b.is_ascii_graphic() && b != b'`') {
        return Err(
            file.fault_of("version", "it must be printable ASCII without white space, such as `1.0.0`")
        );
    }
    let description = file.text("description", 500)?;
    let tools = match file.value("tools") {
        Some(Value::Array(tools)) if (1..=MAX_TOOLS).contains(&tools.len()) => tools,
        Some(Value::Array(tools)) => {
            let why = format!("there are {}, and there must be 1 to {MAX_TOOLS}", tools.len());
            return Err(file.fault_of("tools", why));
        }
        Some(_) => return Err(file.fault_of("tools", "it is no list of tables: write `[[tools]]`")),
        None => return Err(file.fault("has no tool: write `[[tools]]`")),
    };
    let client = Client::default();
    let mut read: Vec<Declared> = Vec::with_capacity(tools.len());
    for (number, table) in (1..).zip(tools) {
        let Value::Object(table) = table else {
            return Err(file.fault_of("tools", format!("number {number} is no table: write `[[tools]]`")));
        };
        let tool = tool::read(number, table, &version, objects, &client)?;
        if read.iter().any(|other| other.spec.name == tool.spec.name) {
            return Err(file.fault_of("tools", format!("two of them have the name `{}`", tool.spec.name)));
        }
        read.push(tool);
    }
    Ok(Manifest { name, version, description, tools: read })
}

/// A table without what does not change what its tool does.
fn meaning(table: &Map<String, Value>) -> Value {
    let kept = table.iter().filter(|(key, _)| !matches!(key.as_str(), "description" | "words"));
    Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// Reads an error code.
pub(crate) fn code(section: &Section, key: &str, text: &str) -> Result<Code, Fault> {
    let fits = |code: &Code| code.as_str().starts_with("upstream.");
    Code::parse(text).filter(fits).ok_or_else(|| {
        let known: Vec<&str> = Code::ALL.iter().filter(|code| fits(code)).map(|code| code.as_str()).collect();
        section.fault_of(key, format!("`{}` must be one of {}", shown(text, 64), known.join(", ")))
    })
}
