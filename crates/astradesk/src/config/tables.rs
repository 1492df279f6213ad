//! Arrays of tables: guardrails and webhooks; and the aliases. An error names the table that it is about.

use super::load::{invalid, one_line};
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Guardrail, Result};
use astradesk_runtime::planner::Aliases;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use toml::Value;

/// The keys of a guardrail's table.
const GUARDRAIL: &[&str] = &[
    "name",
    "tools",
    "targets",
    "freeze",
    "cool_down",
    "budget",
    "max_unavailable",
    "disruption_budgets",
    "gitops",
];
/// The keys of a webhook's table.
const WEBHOOK: &[&str] = &["name", "url", "secret_env", "secret_file"];
/// The most webhooks: each is told of every run that awaits approval.
const MOST_WEBHOOKS: usize = 16;
/// The most guardrails: each is looked at before every step.
const MOST_GUARDRAILS: usize = 256;

/// Somebody who is told that a run awaits approval.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Its name, which no other has.
    pub name: String,
    /// Where it is told, by `POST`.
    pub url: String,
    /// Where the secret is that it is signed with.
    pub secret: WebhookSecret,
}

/// Where a webhook's secret is.
#[derive(Clone)]
pub enum WebhookSecret {
    /// In this environment variable; `None` if it is not set.
    Environment(String, Option<String>),
    /// In this file.
    File(PathBuf),
}

/// Without the secret.
impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name, _) => write!(f, "Environment({name})"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

impl Webhook {
    /// The secret, `whsec_…`.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`] when it is not where it should be.
    pub fn secret(&self) -> Result<String> {
        let missing = |why: String| invalid(format!("webhook `{}`: {why}", self.name));
        let secret = match &self.secret {
            WebhookSecret::Environment(name, value) => {
                value.clone().ok_or_else(|| missing(format!("`{name}` is not set")))?
            }
            WebhookSecret::File(path) => std::fs::read_to_string(path)
                .map_err(|error| missing(format!("`{}` cannot be read: {error}", path.display())))?,
        };
        Ok(secret.trim().to_owned())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookTable {
    name: String,
    url: String,
    secret_env: Option<String>,
    secret_file: Option<PathBuf>,
}

/// The guardrails of `[[guardrails]]`.
pub(super) fn guardrails(value: Option<&Value>) -> Result<Vec<Guardrail>> {
    read("guardrail", value, GUARDRAIL, MOST_GUARDRAILS, |table| {
        Guardrail::deserialize(table).map_err(|error| one_line(error.message()))
    })
}

/// The aliases of `[aliases]`.
pub(super) fn aliases(value: Option<&Value>) -> Result<Aliases> {
    let names: BTreeMap<String, String> = match value {
        None => BTreeMap::new(),
        Some(value) => value.clone().try_into().map_err(|_| {
            invalid("`aliases` is not a table of texts, such as `payments = \"payments-api\"`")
        })?,
    };
    Aliases::new(&names)
}

/// The webhooks of `[[webhooks]]`.
pub(super) fn webhooks(
    value: Option<&Value>,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<Webhook>> {
    read("webhook", value, WEBHOOK, MOST_WEBHOOKS, |table| {
        let table = WebhookTable::deserialize(table).map_err(|error| one_line(error.message()))?;
        table.read(environment)
    })
}

impl WebhookTable {
    fn read(self, environment: &BTreeMap<String, String>) -> Result<Webhook, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(plain) {
            return Err("its name must have 1 to 64 letters, digits, `-` and `_`".to_owned());
        }
        let url = reqwest::Url::parse(&self.url).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(url) = url else {
            return Err("its `url` is not an address such as `https://chat.example/hooks/ops`".to_owned());
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "its `url` has a user or a password in it, which would be shown and logged".to_owned()
            );
        }
        let secret = match (self.secret_env, self.secret_file) {
            (Some(name), None) => {
                let value = environment.get(&name).cloned();
                WebhookSecret::Environment(name, value)
            }
            (None, Some(path)) => WebhookSecret::File(path),
            _ => return Err("it must have exactly one of `secret_env` and `secret_file`".to_owned()),
        };
        Ok(Webhook { name: self.name, url: self.url, secret })
    }
}

/// Reads an array of tables, whose names are unique.
fn read<T>(
    what: &str,
    value: Option<&Value>,
    known: &[&str],
    most: usize,
    one: impl Fn(Value) -> Result<T, String>,
) -> Result<Vec<T>> {
    let tables = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(tables)) => tables,
        Some(_) => return Err(invalid(format!("`{what}s` is no array of tables: write `[[{what}s]]`"))),
    };
    if tables.len() > most {
        return Err(invalid(format!("there are {} {what}s, and there may be {most}", tables.len())));
    }
    let mut names = BTreeSet::new();
    let mut all = Vec::with_capacity(tables.len());
    for (number, table) in (1..).zip(tables) {
        let Value::Table(content) = table else {
            return Err(invalid(format!("{what} {number} is no table: write `[[{what}s]]`")));
        };
        let name = content.get("name").and_then(Value::as_str);
        let label =
            name.map_or_else(|| format!("{what} {number}"), |name| format!("{what} `{}`", shown(name, 64)));
        if name.is_none() {
            return Err(invalid(format!("{label} has no `name`")));
        }
        if let Some(unknown) = content.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(unknown_key(&label, unknown, known));
        }
        let read = one(with_times_as_text(table.clone()));
        all.push(read.map_err(|why| invalid(labelled(&label, &why)))?);
        if !names.insert(name) {
            return Err(invalid(format!(
                "two {what}s have the name `{}`",
                shown(name.unwrap_or_default(), 64)
            )));
        }
    }
    Ok(all)
}

fn labelled(label: &str, why: &str) -> String {
    if why.starts_with(label) { why.to_owned() } else { format!("{label}: {why}") }
}

fn unknown_key(label: &str, unknown: &str, known: &[&str]) -> Error {
    let error =
        Error::new(Code::ConfigInvalid, format!("{label} has the unknown key `{}`", shown(unknown, 80)));
    let near = known.iter().map(|key| (strsim::jaro_winkler(unknown, key), key));
    let nearest = near.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, nearest)) => error.with_remedy(format!("did you mean `{nearest}`?")),
        None => error.with_remedy(format!("its keys are {}", known.join(", "))),
    }
}

/// TOML's own dates and times as the text that they are written as.
fn with_times_as_text(value: Value) -> Value {
    match value {
        Value::Datetime(time) => Value::String(time.to_string()),
        Value::Array(values) => Value::Array(values.into_iter().map(with_times_as_text).collect()),
        Value::Table(table) => {
            Value::Table(table.into_iter().map(|(key, value)| (key, with_times_as_text(value))).collect())
        }
        other => other,
    }
}
