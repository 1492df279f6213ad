//! What a service counts, pushed to a real Pushgateway, which a real Prometheus scrapes every second.

use crate::PATIENCE;
use crate::place::{Place, skipped};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// The variables that name the addresses of Prometheus and of the Pushgateway that it scrapes.
const TEST_PROMETHEUS: (&str, &str) = ("ASTRADESK_TEST_PROMETHEUS", "ASTRADESK_TEST_PUSHGATEWAY");
/// How often the service counts.
const EVERY: Duration = Duration::from_millis(250);
/// How many requests it has in that time.
const REQUESTS: u32 = 10;

/// Prometheus, and the gateway to it.
#[derive(Debug, Clone)]
pub struct Monitoring {
    /// The address of Prometheus.
    pub prometheus: String,
    pushgateway: String,
    http: reqwest::Client,
}

impl Monitoring {
    /// Those that `cargo xtask test` has started. Says loudly when there are none, and fails where `CI` is set.
    pub fn find() -> Option<Self> {
        let read = |name: &str| std::env::var(name).ok().filter(|address| !address.is_empty());
        let found = read(TEST_PROMETHEUS.0).zip(read(TEST_PROMETHEUS.1));
        if found.is_none() {
            skipped(&format!("no Prometheus at `{}`; use `cargo xtask test`", TEST_PROMETHEUS.0));
        }
        let (prometheus, pushgateway) = found?;
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Some(Self { prometheus, pushgateway, http })
    }

    /// The configuration that leads there.
    pub fn toml(&self) -> String {
        format!("[prometheus]\nbase_url = \"{}\"\ncheck_seconds = 3\n", self.prometheus)
    }

    /// A service that counts its requests from now on, none of which fails, and waits until that is seen.
    pub async fn service(&self, place: &Place, name: &str) -> Service {
        let failing = Arc::new(AtomicU32::new(0));
        let group =
            format!("{}/metrics/job/{name}/namespace/{}/service/{name}", self.pushgateway, place.namespace);
        let (http, failures) = (self.http.clone(), failing.clone());
        let counting = tokio::spawn(async move {
            let (mut good, mut bad) = (0, 0);
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                let failed = failures.load(Ordering::Relaxed).min(REQUESTS);
                (good, bad) = (good + REQUESTS - failed, bad + failed);
                let lines = format!(
                    "# TYPE http_requests_total counter\nhttp_requests_total{{code=\"200\"}} {good}\n\
                     http_requests_total{{code=\"500\"}} {bad}\n"
                );
                let _ = http.put(&group).body(lines).send().await;
            }
        });
        let service = Service { failing, counting };
        let selector = format!("namespace=\"{}\",service=\"{name}\"", place.namespace);
        self.until(&format!("sum(rate(http_requests_total{{{selector}}}[3s])) > 0")).await;
        service
    }

    /// Waits until a query finds something.
    pub async fn until(&self, query: &str) {
        let deadline = Instant::now() + PATIENCE;
        let asking = async {
            loop {
                let url = format!("{}/api/v1/query", self.prometheus);
                if let Ok(answer) = self.http.get(url).query(&[("query", query)]).send().await {
                    let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
                    if answer["data"]["result"].as_array().is_some_and(|found| !found.is_empty()) {
                        return;
                    }
                }
                tokio::time::sleep(EVERY).await;
            }
        };
        timeout_at(deadline, asking).await.unwrap_or_else(|_| panic!("nothing is found by {query}"));
    }
}

/// A service that counts its requests, until it is dropped.
pub struct Service {
    failing: Arc<AtomicU32>,
    counting: JoinHandle<()>,
}

impl Service {
    /// Of ten requests so many fail from now on.
    pub fn fail(&self, of_ten: u32) {
        self.failing.store(of_ten, Ordering::Relaxed);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.counting.abort();
    }
}
