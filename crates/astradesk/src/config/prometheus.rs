//! `[prometheus]`: where metrics are, and the named queries.

use super::load::{invalid, one_line, within};
use super::upstream::Access;
use astradesk_core::Result;
use astradesk_core::name::ExternalName;
use astradesk_core::text::shown;
use astradesk_domain_ops::prometheus::{Configured, Queries, Settings, Unit};
use astradesk_runtime::address::Keys;
use serde::Deserialize;
use std::time::Duration;
use toml::{Table, Value};

/// `[prometheus]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prometheus {
    /// The address to which `/api/v1/query` is added; empty: none.
    pub base_url: String,
    /// Whether it may be `http://` elsewhere than on loopback.
    pub allow_http: bool,
    /// What it is called in targets.
    pub name: String,
    /// Where the bearer token is.
    pub bearer: String,
    /// The name for basic authentication.
    pub user: String,
    /// Where the password for it is.
    pub password: String,
    /// A file with further authorities, in PEM.
    pub ca_file: String,
    /// How long one query may take, in seconds.
    pub timeout_seconds: u64,
    /// The largest answer, in bytes.
    pub max_answer_bytes: usize,
    /// The most series of an answer.
    pub max_series: usize,
    /// How far each measurement of a check looks back, in seconds.
    pub check_seconds: u64,
    /// The label that tells clusters apart; empty: there is none.
    pub cluster_label: String,
    /// `[prometheus.queries]`
    pub queries: Table,
}

/// One of `[prometheus.queries]`, when it says more than the query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    query: String,
    unit: Option<String>,
}

impl Prometheus {
    /// The settings; none if no Prometheus is configured.
    ///
    /// # Errors
    /// [`astradesk_core::Code::ConfigInvalid`], also for what is not used yet.
    pub fn settings(&self) -> Result<Option<Settings>> {
        within("prometheus.max_series", self.max_series, 1..=1000)?;
        within("prometheus.check_seconds", self.check_seconds, 2..=600)?;
        let name = ExternalName::parse(&*self.name)
            .map_err(|error| invalid(format!("`prometheus.name`: {}", error.message)))?;
        let label = Some(self.cluster_label.as_str()).filter(|label| !label.is_empty());
        if label.is_some_and(|label| !is_label(label)) {
            return Err(invalid("`prometheus.cluster_label` is not the name of a label"));
        }
        let queries =
            self.queries.iter().map(|(name, value)| configured(name, value)).collect::<Result<_>>()?;
        let queries =
            Queries::new(queries, label).map_err(|why| invalid(format!("`prometheus.queries`: {why}")))?;
        let access = Access {
            name: "Prometheus",
            keys: Keys {
                url: "prometheus.base_url",
                allow_http: "prometheus.allow_http",
                credentials: "prometheus.bearer",
                example: "https://prometheus.example.com",
            },
            base_url: &self.base_url,
            allow_http: self.allow_http,
            bearer: &self.bearer,
            user: &self.user,
            password: &self.password,
            ca_file: &self.ca_file,
            timeout_seconds: self.timeout_seconds,
            max_answer_bytes: self.max_answer_bytes,
        };
        Ok(access.settings()?.map(|upstream| Settings {
            name,
            upstream,
            queries,
            check_range: Duration::from_secs(self.check_seconds),
            max_series: self.max_series,
        }))
    }
}

/// Whether it is the name of a label, as Prometheus has them.
fn is_label(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins && text.len() <= 128 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn configured(name: &str, value: &Value) -> Result<Configured> {
    let wrong = |why: &str| invalid(format!("`prometheus.queries.{}`: {why}", shown(name, 40)));
    let Query { query, unit } = match value {
        Value::String(query) => Query { query: query.clone(), unit: None },
        Value::Table(table) => {
            table.clone().try_into().map_err(|error: toml::de::Error| wrong(&one_line(error.message())))?
        }
        _ => return Err(wrong("it is neither a query nor a table with `query` and `unit`")),
    };
    let unit = unit.map(|unit| Unit::parse(&unit)).transpose().map_err(|why| wrong(&why))?;
    Ok(Configured { name: name.to_owned(), query, unit })
}
