//! The keys that every system has which is asked over HTTP.

use super::load::{invalid, within};
use astradesk_core::Result;
use astradesk_domain_ops::upstream::{Credentials, Settings};
use astradesk_runtime::address::{self, Keys};
use astradesk_runtime::secret::Secret;
use std::path::PathBuf;
use std::time::Duration;

/// How a table says where its system is.
pub(super) struct Access<'a> {
    /// What the system is called.
    pub(super) name: &'static str,
    /// How the keys are called.
    pub(super) keys: Keys,
    pub(super) base_url: &'a str,
    pub(super) allow_http: bool,
    pub(super) bearer: &'a str,
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    pub(super) ca_file: &'a str,
    pub(super) timeout_seconds: u64,
    pub(super) max_answer_bytes: usize,
}

impl Access<'_> {
    /// How the system is reached; none if it is not configured.
    pub(super) fn settings(&self) -> Result<Option<Settings>> {
        let table = self.keys.url.split('.').next().unwrap_or_default();
        within(&format!("{table}.timeout_seconds"), self.timeout_seconds, 1..=60)?;
        within(&format!("{table}.max_answer_bytes"), self.max_answer_bytes, 4096..=64 << 20)?;
        let credentials = self.credentials(table)?;
        if self.base_url.is_empty() {
            return Ok(None);
        }
        Ok(Some(Settings {
            name: self.name,
            url: address::base_url(self.base_url, self.allow_http, &self.keys)?,
            credentials,
            ca_file: (!self.ca_file.is_empty()).then(|| PathBuf::from(self.ca_file)),
            timeout: Duration::from_secs(self.timeout_seconds),
            max_answer: self.max_answer_bytes,
        }))
    }

    fn credentials(&self, table: &str) -> Result<Option<Credentials>> {
        let secret = |key: &str, text: &str| secret(&format!("{table}.{key}"), text);
        match (self.bearer, self.user, self.password) {
            ("", "", "") => Ok(None),
            (bearer, "", "") => Ok(Some(Credentials::Bearer(secret("bearer", bearer)?))),
            ("", user, password) if !user.is_empty() && !password.is_empty() && !user.contains(':') => {
                Ok(Some(Credentials::Basic {
                    user: user.to_owned(),
                    password: secret("password", password)?,
                }))
            }
            _ => Err(invalid(format!(
                "`[{table}]` has neither `bearer` alone, nor `user` (without a colon) and `password` together"
            ))),
        }
    }
}

/// The place of a secret, as the value of a key says it.
pub(super) fn secret(key: &str, text: &str) -> Result<Secret> {
    Secret::parse(text).and_then(std::result::Result::ok).ok_or_else(|| {
        invalid(format!("`{key}` is not the place of a secret")).with_remedy(
            "write `env:NAME` or `file:/PATH`; the secret itself never stands in the configuration",
        )
    })
}
