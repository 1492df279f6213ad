//! The API v2: requests, and what it answers.

use super::Alertmanager;
use super::matcher::Matcher;
use crate::upstream::Failure;
use astradesk_core::{Result, Timestamp, redact};
use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// An alert that fires.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Alert {
    pub(crate) fingerprint: String,
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) starts_at: Timestamp,
    pub(crate) status: AlertStatus,
}

impl Alert {
    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        self.labels.get(super::matcher::ALERT_NAME).map_or("", String::as_str)
    }

    /// Whether somebody is notified of it.
    pub(crate) fn is_suppressed(&self) -> bool {
        self.status.state == "suppressed"
    }
}

/// What becomes of an alert.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AlertStatus {
    /// `active`, `suppressed` or `unprocessed`.
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) silenced_by: Vec<String>,
    #[serde(default)]
    pub(crate) inhibited_by: Vec<String>,
}

/// Alerts that are notified together.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Group {
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) receiver: Receiver,
    pub(crate) alerts: Vec<Alert>,
}

/// Who is notified.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Receiver {
    pub(crate) name: String,
}

/// A silence.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Silence {
    pub(crate) id: String,
    pub(crate) status: SilenceStatus,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) ends_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    #[serde(default)]
    pub(crate) created_by: String,
    #[serde(default)]
    pub(crate) comment: String,
}

impl Silence {
    /// Whether it has ended.
    pub(crate) fn has_expired(&self) -> bool {
        self.status.state == "expired"
    }

    /// Whether it silences now.
    pub(crate) fn is_active(&self) -> bool {
        self.status.state == "active"
    }

    /// Who made it, safe to show.
    pub(crate) fn by(&self) -> String {
        redact::line(&self.created_by, 100)
    }
}

/// Whether a silence is in force: `active`, `pending` or `expired`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct SilenceStatus {
    pub(crate) state: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(rename = "versionInfo")]
    version: Version,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "silenceID")]
    id: String,
}

impl Alertmanager {
    /// Its version.
    ///
    /// # Errors
    /// `upstream.…`
    pub async fn version(&self) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let status: Status = self.read("api/v2/status", &[], deadline).await?;
        Ok(redact::line(&status.version.version, 40))
    }

    /// The alerts that fire, in the groups in which they are notified.
    pub(crate) async fn groups(&self, deadline: Instant) -> Result<Vec<Group>, Failure> {
        self.read("api/v2/alerts/groups", &[], deadline).await
    }

    /// The alerts that fire and that all of these matchers match, as the Alertmanager judges it.
    pub(crate) async fn alerts(
        &self,
        matchers: &[Matcher],
        deadline: Instant,
    ) -> Result<Vec<Alert>, Failure> {
        let filters: Vec<_> = matchers.iter().map(|matcher| ("filter", matcher.to_string())).collect();
        self.read("api/v2/alerts", &filters, deadline).await
    }

    /// Every silence that it remembers.
    pub(crate) async fn silences(&self, deadline: Instant) -> Result<Vec<Silence>, Failure> {
        self.read("api/v2/silences", &[], deadline).await
    }

    /// One silence.
    pub(crate) async fn silence(&self, id: &str, deadline: Instant) -> Result<Silence, Failure> {
        self.read(&format!("api/v2/silence/{id}"), &[], deadline).await
    }

    /// Makes a silence; gives its id.
    pub(crate) async fn create(&self, silence: &Value, deadline: Instant) -> Result<String, Failure> {
        let upstream = &self.0.upstream;
        let answer = upstream.send(Method::POST, "api/v2/silences", &[], Some(silence), deadline).await?;
        self.decode::<Created>(answer).map(|created| created.id)
    }

    /// Ends a silence. One that has ended stays so.
    pub(crate) async fn expire(&self, id: &str, deadline: Instant) -> Result<(), Failure> {
        let path = format!("api/v2/silence/{id}");
        self.0.upstream.send(Method::DELETE, &path, &[], None, deadline).await.map(drop)
    }

    async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        deadline: Instant,
    ) -> Result<T, Failure> {
        self.decode(self.0.upstream.get(path, query, deadline).await?)
    }

    fn decode<T: DeserializeOwned>(&self, answer: Value) -> Result<T, Failure> {
        serde_json::from_value(answer).map_err(|error| {
            let why = redact::line(&error.to_string(), 120);
            self.0.upstream.unreadable(&format!("did not answer as its API v2 does: {why}"))
        })
    }
}
