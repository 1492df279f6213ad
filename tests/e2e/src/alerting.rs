//! The Alertmanager that `cargo xtask test` starts.

use crate::PATIENCE;
use crate::place::skipped;
use serde_json::{Value, json};

/// The variable that names its address.
pub const TEST_ALERTMANAGER: &str = "ASTRADESK_TEST_ALERTMANAGER";

/// A real Alertmanager, asked by the test itself. Tests share it, each with alerts of a namespace of its own.
#[derive(Clone)]
pub struct Alerting {
    /// Its address.
    pub url: String,
    http: reqwest::Client,
}

impl Alerting {
    /// The one that there is. Says loudly when there is none, and fails where `CI` is set.
    pub fn find() -> Option<Self> {
        let url = std::env::var(TEST_ALERTMANAGER).ok().filter(|url| !url.is_empty());
        if url.is_none() {
            skipped(&format!("no Alertmanager at `{TEST_ALERTMANAGER}`; use `cargo xtask test`"));
        }
        let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().unwrap();
        url.map(|url| Self { url, http })
    }

    /// Lets an alert fire with these labels.
    pub async fn fire(&self, labels: &Value) {
        let alerts = json!([{"labels": labels, "annotations": {"summary": "it is slow"}}]);
        let sent = self.http.post(format!("{}/api/v2/alerts", self.url)).json(&alerts).send().await.unwrap();
        assert_eq!(sent.status(), 200);
    }

    async fn get(&self, path: &str) -> Vec<Value> {
        let answer = self.http.get(format!("{}/api/v2/{path}", self.url)).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// Ends a silence, as somebody else.
    pub async fn end(&self, id: &str) {
        let sent = self.http.delete(format!("{}/api/v2/silence/{id}", self.url)).send().await.unwrap();
        assert_eq!(sent.status(), 200);
    }

    /// The silences, in whatever state, with a matcher on this namespace.
    pub async fn silences(&self, namespace: &str) -> Vec<Value> {
        let mut all = self.get("silences").await;
        all.retain(|silence| silence["matchers"].as_array().unwrap().iter().any(|m| m["value"] == namespace));
        all
    }

    /// Waits until somebody is notified of an alert of this namespace.
    pub async fn until_loud(&self, namespace: &str) {
        let loud = async {
            while self.loud(namespace).await.is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, loud).await;
        seen.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for an alert of {namespace}"));
    }

    /// The names of the alerts of this namespace of which somebody is notified.
    pub async fn loud(&self, namespace: &str) -> Vec<String> {
        let alerts = self.get("alerts?active=true&silenced=false&inhibited=false").await;
        let of = alerts.iter().filter(|alert| alert["labels"]["namespace"] == namespace);
        let mut names: Vec<_> =
            of.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }
}
