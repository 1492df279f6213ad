//! `[alertmanager]`: where it is, which labels mean a service, how long a silence may last.

use super::load::within;
use super::upstream::Access;
use astradesk_core::Result;
use astradesk_domain_ops::alertmanager::Settings;
use astradesk_runtime::address::Keys;
use serde::Deserialize;
use std::time::Duration;

/// `[alertmanager]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alertmanager {
    /// Where it is; empty: there is none.
    pub base_url: String,
    /// Whether it may be `http://` elsewhere than on loopback.
    pub allow_http: bool,
    /// Where the bearer token is.
    pub bearer: String,
    /// The name for basic authentication.
    pub user: String,
    /// Where its password is.
    pub password: String,
    /// Further certificate authorities.
    pub ca_file: String,
    /// How long one request may take, in seconds.
    pub timeout_seconds: u64,
    /// The largest answer, in bytes.
    pub max_answer_bytes: usize,
    /// Which labels mean a service, the likeliest first.
    pub service_labels: Vec<String>,
    /// The longest that a silence may last, in minutes.
    pub max_silence_minutes: u64,
}

impl Alertmanager {
    /// What its tools need to know; none if it is not configured.
    ///
    /// # Errors
    /// [`astradesk_core::Code::ConfigInvalid`], also for what is not used yet.
    pub fn settings(&self) -> Result<Option<Settings>> {
        within("alertmanager.max_silence_minutes", self.max_silence_minutes, 1..=7 * 24 * 60)?;
        let access = Access {
            name: "Alertmanager",
            keys: Keys {
                url: "alertmanager.base_url",
                allow_http: "alertmanager.allow_http",
                credentials: "alertmanager.bearer",
                example: "https://alertmanager.example.com",
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
            upstream,
            service_labels: self.service_labels.clone(),
            max_silence: Duration::from_mins(self.max_silence_minutes),
        }))
    }
}
