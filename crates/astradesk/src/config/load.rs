//! Reads and merges the sources.

use super::keys::{KEYS, Key, nearest};
use super::{Config, Scale};
use super::{llm, tables};
use crate::app;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result};
use astradesk_domain_ops::tools::kubernetes::MOST_REPLICAS;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::{Table, Value};

/// Where the configuration comes from.
#[derive(Debug, Default)]
pub struct Sources {
    /// The file; without it `astradesk.toml` of the working folder, if there is one.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Keys that flags set, with their values as the environment would give them.
    pub flags: Vec<(&'static str, String)>,
}

impl Sources {
    /// The process's environment, with `.env` of the working folder (or above) below it.
    pub fn from_process(file: Option<PathBuf>) -> Result<Self> {
        let mut environment = BTreeMap::new();
        match dotenvy::dotenv_iter() {
            Ok(entries) => {
                for entry in entries {
                    // The parser's own message would show the line, which may hold a secret.
                    let (key, value) = entry.map_err(|_| invalid("a line of `.env` is not `KEY=value`"))?;
                    environment.insert(key, value);
                }
            }
            Err(error) if error.not_found() => {}
            Err(_) => return Err(invalid("`.env` cannot be read")),
        }
        environment.extend(
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
        );
        let file = file.or_else(|| environment.get("ASTRADESK_CONFIG").map(PathBuf::from));
        Ok(Self { file, environment, flags: Vec::new() })
    }
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(Code::ConfigInvalid, message)
}

/// Checks that a number is in its range.
pub(super) fn within<T: PartialOrd + fmt::Display + Copy>(
    name: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(invalid(format!("`{name}` is {value}, and must be {} to {}", range.start(), range.end())))
}

/// Each key's value, and where it came from.
pub type Values = BTreeMap<&'static str, (Value, String)>;

/// The configuration, and for each key where its value came from.
pub fn load(sources: &Sources) -> Result<(Config, Values)> {
    let file = read_file(sources.file.as_deref())?;
    let mut merged = Table::new();
    let mut shown = BTreeMap::new();
    for key in KEYS {
        let (value, origin) = value_of(key, sources, &file)?;
        shown.insert(key.path, (value.clone(), origin));
        // Arrays of tables are read one table at a time: an error names the table.
        if let Some((sections, name)) = key.path.rsplit_once('.') {
            put(&mut merged, sections, name, value);
        }
    }
    let mut config: Config = Value::Table(merged)
        .try_into()
        .map_err(|error: toml::de::Error| invalid(one_line(error.message())))?;
    let tables = |name: &str| shown.get(name).map(|(value, _)| value);
    config.guardrails = tables::guardrails(tables("guardrails"))?;
    config.aliases = Arc::new(tables::aliases(tables("aliases"))?);
    config.webhooks = tables::webhooks(tables("webhooks"), &sources.environment)?;
    check(&config)?;
    Ok((config, shown))
}

/// Puts a value in its table, which may be in another one.
fn put(table: &mut Table, sections: &str, name: &str, value: Value) {
    let (section, rest) = sections.split_once('.').unwrap_or((sections, ""));
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    match section {
        Value::Table(section) if rest.is_empty() => _ = section.insert(name.to_owned(), value),
        Value::Table(section) => put(section, rest, name, value),
        _ => {}
    }
}

fn value_of(key: &Key, sources: &Sources, file: &FileKeys) -> Result<(Value, String)> {
    let default =
        || toml::from_str::<Table>(&format!("v = {}", key.default)).ok().and_then(|mut t| t.remove("v"));
    let Some(default) = default() else {
        return Err(Error::internal(format!("the default of `{}` is not TOML", key.path)));
    };
    if let Some((_, text)) = sources.flags.iter().rev().find(|(path, _)| *path == key.path) {
        return Ok((coerce(text, &default, key.path)?, "flag".to_owned()));
    }
    for name in key.env {
        if let Some(text) = sources.environment.get(*name) {
            return Ok((coerce(text, &default, name)?, (*name).to_owned()));
        }
    }
    if let Some(value) = file.values.get(key.path) {
        return Ok((value.clone(), file.name.clone()));
    }
    Ok((default, "default".to_owned()))
}

/// Reads text as the type that the key's default has.
fn coerce(text: &str, like: &Value, name: &str) -> Result<Value> {
    let wrong = |wanted: &str| invalid(format!("`{name}` is not {wanted}"));
    Ok(match like {
        Value::Integer(_) => Value::Integer(text.trim().parse().map_err(|_| wanted_number(name))?),
        Value::Float(_) => Value::Float(text.trim().parse().map_err(|_| wrong("a number"))?),
        Value::Boolean(_) => match text.trim() {
            "true" | "1" | "yes" => Value::Boolean(true),
            "false" | "0" | "no" | "" => Value::Boolean(false),
            _ => return Err(wrong("`true` or `false`")),
        },
        Value::Array(_) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
        }
        _ => Value::String(text.to_owned()),
    })
}

fn wanted_number(name: &str) -> Error {
    invalid(format!("`{name}` is not a whole number"))
}

#[derive(Default)]
struct FileKeys {
    name: String,
    values: BTreeMap<String, Value>,
}

fn read_file(named: Option<&Path>) -> Result<FileKeys> {
    let default = Path::new("astradesk.toml");
    let path = match named {
        Some(path) => path,
        None if default.exists() => default,
        None => return Ok(FileKeys::default()),
    };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| invalid(format!("`{name}` cannot be read: {error}")))?;
    let table: Table =
        toml::from_str(&text).map_err(|error| invalid(format!("`{name}`: {}", one_line(error.message()))))?;
    let mut values = BTreeMap::new();
    for (section, content) in table {
        if KEYS.iter().any(|known| known.path == section) {
            values.insert(section, content);
            continue;
        }
        let Value::Table(content) = content else {
            return Err(unknown(&name, &section));
        };
        read_table(&name, &section, content, &mut values)?;
    }
    Ok(FileKeys { name, values })
}

/// The keys of a table, and of the tables in it.
fn read_table(file: &str, section: &str, content: Table, values: &mut BTreeMap<String, Value>) -> Result<()> {
    for (key, value) in content {
        let path = format!("{section}.{key}");
        let within = format!("{path}.");
        match value {
            value if KEYS.iter().any(|known| known.path == path) => _ = values.insert(path, value),
            Value::Table(inner) if KEYS.iter().any(|known| known.path.starts_with(&within)) => {
                read_table(file, &path, inner, values)?;
            }
            _ => return Err(unknown(file, &path)),
        }
    }
    Ok(())
}

fn unknown(file: &str, path: &str) -> Error {
    let error = invalid(format!("`{file}` has the unknown key `{}`", shown(path, 80)));
    match nearest(path) {
        Some(known) => error.with_remedy(format!("did you mean `{known}`?")),
        None => error.with_remedy("see `astradesk config show` for every key"),
    }
}

pub(super) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Who approves something must still remember what it was about.
const MOST_APPROVAL_MINUTES: u32 = 7 * 24 * 60;

/// The longest that a call may wait for its run.
const MOST_WAIT_SECONDS: u64 = 600;

fn check(config: &Config) -> Result<()> {
    let positive = [
        ("server.max_body_bytes", config.server.max_body_bytes),
        ("server.max_concurrent_requests", config.server.max_concurrent_requests),
        ("mcp.sessions", config.mcp.sessions),
        ("kubernetes.requests_per_second", config.kubernetes.requests_per_second as usize),
        ("kubernetes.request_burst", config.kubernetes.request_burst as usize),
        ("limits.concurrent_runs", config.limits.concurrent_runs),
        ("limits.concurrent_per_tool", config.limits.concurrent_per_tool),
        ("limits.awaiting_approval", config.limits.awaiting_approval as usize),
        ("limits.run_minutes", config.limits.run_minutes as usize),
        ("limits.idempotency_hours", config.limits.idempotency_hours as usize),
        ("policy.approval_minutes", config.policy.approval_minutes as usize),
        ("evidence.checkpoint_minutes", config.evidence.checkpoint_minutes as usize),
    ];
    if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
        return Err(invalid(format!("`{name}` is 0, and must be at least 1")));
    }
    if config.policy.approval_minutes > MOST_APPROVAL_MINUTES {
        return Err(invalid(format!(
            "`policy.approval_minutes` is {}, and may be at most {MOST_APPROVAL_MINUTES} (a week)",
            config.policy.approval_minutes
        )));
    }
    let Scale { min, max } = config.scale;
    if max > MOST_REPLICAS || min > max {
        return Err(invalid(format!(
            "`scale.min` is {min} and `scale.max` is {max}: the first may not be more than the second, nor that than {MOST_REPLICAS}"
        )));
    }
    if config.mcp.wait_seconds > MOST_WAIT_SECONDS {
        return Err(invalid(format!(
            "`mcp.wait_seconds` is {}, and may be at most {MOST_WAIT_SECONDS}",
            config.mcp.wait_seconds
        )));
    }
    llm::check(&config.agents, &config.llm)?;
    app::metrics(config)?;
    app::alertmanager(config)?;
    config.ansible.settings(config.state_dir())?;
    #[cfg(feature = "aws")]
    config.aws.settings()?;
    #[cfg(not(feature = "aws"))]
    config.aws.refuse()?;
    let (keys, runs) = (config.limits.idempotency_hours, config.runs.keep_days);
    if runs > 0 && u64::from(keys) > 24 * u64::from(runs) {
        return Err(invalid(format!(
            "`limits.idempotency_hours` is {keys}, and runs are kept for {runs} day(s) only: a repeated request would be done again"
        ))
        .with_remedy("keep runs for at least as long as their keys: set a larger `runs.keep_days`, or fewer hours"));
    }
    if config.auth.dev && !config.server.listen.ip().is_loopback() {
        return Err(invalid(format!(
            "`auth.dev` is on, and `server.listen` is `{}`, which is not loopback",
            config.server.listen
        ))
        .with_remedy("configure an issuer under `auth.issuers`, or listen on 127.0.0.1"));
    }
    Ok(())
}
