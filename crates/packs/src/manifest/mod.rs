//! `pack.toml`, read strictly.

mod reading;
pub(crate) mod section;
#[cfg(test)]
mod tests;
mod tool;
mod words;

use crate::declared::{Action, Declared};
use crate::http::Client;
use crate::kubernetes::Objects;
use crate::mcp::lock::Lock;
use crate::mcp::server::Server;
use crate::mcp::{Served, Upstream};
use crate::prompt::DeclaredPrompt;
use crate::resource::DeclaredResource;
use crate::source::Source;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::planner::Language;
use astradesk_runtime::port::{Prompt, Resource as _};
use section::{Fault, Section, json};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;
pub(crate) use tool::template;

/// The name of the file.
pub(crate) const FILE: &str = "pack.toml";
/// The keys of the file.
const KEYS: &[&str] =
    &["name", "version", "description", "server", "tools", "resources", "prompts", "languages"];
/// The most tools of a pack, the most resources, prompts and languages.
const MOST: usize = 64;

/// What a `pack.toml` says.
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
    pub(crate) tools: Vec<Declared>,
    pub(crate) resources: Vec<Arc<DeclaredResource>>,
    pub(crate) prompts: Vec<DeclaredPrompt>,
    pub(crate) languages: Vec<Arc<Language>>,
    pub(crate) upstream: Option<Arc<Upstream>>,
}

/// What the tools of a pack share.
pub(crate) struct Shared<'a> {
    version: &'a str,
    objects: &'a Arc<dyn Objects>,
    client: Client,
    served: Option<Served>,
}

impl Manifest {
    /// Reads the `pack.toml` of the folder `folder`.
    ///
    /// # Errors
    /// `pack.invalid` with file, tool and key.
    pub(crate) fn read(folder: &str, source: &Source, objects: &Arc<dyn Objects>) -> Result<Self> {
        let lock = source.lock.as_ref().map(|text| Lock::read(folder, text)).transpose()?.unwrap_or_default();
        read(folder, source, lock, objects).map_err(|fault| {
            let file = format!("{}/{FILE}", shown(folder, 64));
            let error = Error::new(Code::PackInvalid, format!("`{file}`: {}", fault.message));
            match fault.remedy {
                Some(remedy) => error.with_remedy(remedy),
                None => error,
            }
        })
    }
}

fn read(folder: &str, source: &Source, lock: Lock, objects: &Arc<dyn Objects>) -> Result<Manifest, Fault> {
    let text = &source.manifest;
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
    let client = Client::default();
    let served = Server::read(&mut file, &client)?.map(|server| Served::new(&name, server, lock));
    let shared = Shared { version: &version, objects, client, served };
    let tools = read_each(&mut file, "tools", |number, table| tool::read(number, table, &shared))?;
    let upstream = shared.served.map(|served| served.upstream);
    if upstream.is_some() && !tools.iter().any(|tool| matches!(tool.action, Action::Mcp(_))) {
        return Err(file.fault("has a `server` and no tool of it: write `[tools.mcp]`"));
    }
    let resources = read_each(&mut file, "resources", |number, table| {
        reading::resource(number, table, source).map(Arc::new)
    })?;
    let prompts =
        read_each(&mut file, "prompts", |number, table| reading::prompt(number, table, source, &resources))?;
    let languages = read_each(&mut file, "languages", |_, table| words::language(table).map(Arc::new))?;
    if tools.is_empty() && languages.is_empty() {
        check_readings(&file, &resources, &prompts)?;
    }
    is_once(&file, "tools", tools.iter().map(|tool| tool.spec.name.as_str()))?;
    is_once(&file, "resources", resources.iter().map(|resource| resource.uri()))?;
    is_once(&file, "prompts", prompts.iter().map(|prompt| prompt.about().name.as_str()))?;
    Ok(Manifest { name, version, description, tools, resources, prompts, languages, upstream })
}

/// Reads every table of a list; none if there is no list.
fn read_each<T>(
    file: &mut Section,
    key: &str,
    read: impl Fn(usize, Map<String, Value>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let tables = match file.value(key) {
        None => return Ok(Vec::new()),
        Some(Value::Array(tables)) if (1..=MOST).contains(&tables.len()) => tables,
        Some(Value::Array(tables)) => {
            let why = format!("there are {}, and there must be 1 to {MOST}", tables.len());
            return Err(file.fault_of(key, why));
        }
        Some(_) => return Err(file.fault_of(key, format!("it is no list of tables: write `[[{key}]]`"))),
    };
    let each = (1..).zip(tables).map(|(number, table)| match table {
        Value::Object(table) => read(number, table),
        _ => Err(file.fault_of(key, format!("number {number} is no table: write `[[{key}]]`"))),
    });
    each.collect()
}

/// Two of one name would be one.
fn is_once<'a>(file: &Section, key: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(file.fault_of(key, format!("two of them have the name `{name}`")));
        }
    }
    Ok(())
}

/// A pack without tools has something to read, and says for whom.
fn check_readings(
    file: &Section,
    resources: &[Arc<DeclaredResource>],
    prompts: &[DeclaredPrompt],
) -> Result<(), Fault> {
    if resources.is_empty() && prompts.is_empty() {
        return Err(file.fault("has no tool: write `[[tools]]`"));
    }
    let abouts = prompts.iter().map(Prompt::about);
    let mut abouts = abouts.chain(resources.iter().map(|one| one.about()));
    match abouts.find(|about| about.tools.is_empty()) {
        None => Ok(()),
        Some(about) => Err(file.fault(format!(
            "has no tool, so nobody could read `{}`: name the tools for whose users it is, as `tools = [\"restart_service\"]`",
            about.name
        ))),
    }
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
