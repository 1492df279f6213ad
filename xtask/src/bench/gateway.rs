//! What the bench asks of a gateway.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::fs;
use std::sync::mpsc::Sender;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::cluster::{RESTARTED, Seen, What};
use super::mcp::Session;
use super::{load, memory};
use crate::gateway::{Gateway, bearer, call_path, get};
use crate::http::{Answer, Request};

impl Gateway {
    pub(super) fn memory(&self) -> Result<memory::Memory> {
        memory::of(self.pid)
    }

    /// How many records the evidence has.
    pub(super) fn evidence(&self, token: &str) -> Result<u64> {
        let answer = get(self.address, "/v1/audit/checkpoint", &[("Authorization", &bearer(token))])?;
        ensure!(answer.status == 200, "the checkpoint was answered with {}", answer.status);
        let checkpoint: Value = serde_json::from_str(&answer.text()?).context("the checkpoint is no JSON")?;
        checkpoint["seq"].as_u64().context("the checkpoint has no `seq`")
    }

    /// How many calls of tools were answered, by its own count: with 200, and otherwise.
    pub(super) fn calls_answered(&self) -> Result<(u64, u64)> {
        let text = get(self.address, "/metrics", &[])?.text()?;
        Ok(calls_answered(&text))
    }

    /// The status of a service, as a load.
    pub(super) fn status_call(&self, token: &str, service: &str) -> load::Call {
        load::Call {
            url: format!("http://{}{}", self.address, call_path("get_service_status")),
            method: "POST",
            headers: vec![
                ("Authorization".into(), bearer(token)),
                ("Content-Type".into(), "application/json".into()),
            ],
            body: json!({"arguments": {"service": service}}).to_string(),
            good: None,
        }
    }

    /// The list of tools, as a load.
    pub(super) fn tools_list(&self, token: &str) -> load::Call {
        load::Call {
            url: format!("http://{}/v1/tools", self.address),
            method: "GET",
            headers: vec![("Authorization".into(), bearer(token))],
            body: String::new(),
            good: None,
        }
    }

    /// A session by MCP.
    pub(super) fn mcp(&self, token: &str) -> Result<Session> {
        let session = Session::open(self.address, Some(bearer(token)))?;
        session.context("`initialize` at /mcp was not answered with 200")
    }

    /// Reads a service's status; the answer must be 200 and of that service.
    pub(super) fn read(&self, token: &str, service: &str) -> Result<()> {
        let answer = self.call(token, "get_service_status", service)?;
        let (status, text) = (answer.status, answer.text()?);
        let reply: Value = serde_json::from_str(&text).unwrap_or_default();
        ensure!(
            status == 200 && reply["output"]["name"] == service,
            "a read of `{service}` was answered with {status}: {text}"
        );
        Ok(())
    }

    /// Asks for the restart; when the request was sent, and the run's id.
    pub(super) fn restart(&self, token: &str) -> Result<(Instant, String)> {
        let answer = self.call(token, "restart_service", RESTARTED)?;
        let (status, sent, text) = (answer.status, answer.sent, answer.text()?);
        ensure!(status == 202, "the restart was answered with {status}: {text}");
        let reply: Value = serde_json::from_str(&text).context("the answer is no JSON")?;
        let run = reply["run"]["id"].as_str().context("the answer has no run")?;
        Ok((sent, run.to_owned()))
    }

    fn call(&self, token: &str, tool: &str, service: &str) -> Result<Answer> {
        let body = json!({"arguments": {"service": service}}).to_string();
        let headers = [("Authorization", &*bearer(token)), ("Content-Type", "application/json")];
        Request { method: "POST", path: &call_path(tool), headers: &headers, body: &body }.send(self.address)
    }

    /// Follows the run's events in a thread, and passes its states on.
    pub(super) fn follow(&self, token: &str, run: &str, seen: Sender<Seen>) -> Result<()> {
        let path = format!("/v1/runs/{run}/events");
        let answer = get(self.address, &path, &[("Authorization", &bearer(token))])?;
        ensure!(answer.status == 200, "the run's events were answered with {}", answer.status);
        std::thread::spawn(move || {
            for line in answer.lines().map_while(Result::ok) {
                let at = Instant::now();
                let Some(data) = line.strip_prefix("data:") else { continue };
                let Ok(event) = serde_json::from_str::<Value>(data) else { continue };
                if event["kind"] == "state"
                    && let Some(state) = event["data"]["state"].as_str()
                    && seen.send(Seen { at, what: What::Run(state.to_owned()) }).is_err()
                {
                    break;
                }
            }
        });
        Ok(())
    }

    /// Bytes of its database, the part in the write-ahead log included.
    pub(super) fn database_bytes(&self) -> u64 {
        let size = |name: &str| fs::metadata(self.state.join(name)).map_or(0, |file| file.len());
        size("astradesk.db") + size("astradesk.db-wal")
    }
}

fn calls_answered(metrics: &str) -> (u64, u64) {
    let prefix = "astradesk_http_requests_total{route=\"/v1/tools/{tool}/runs\"";
    let (mut good, mut other) = (0, 0);
    for line in metrics.lines().filter(|line| line.starts_with(prefix)) {
        let count: u64 = line.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
        if line.contains("status=\"200\"") {
            good += count;
        } else {
            other += count;
        }
    }
    (good, other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_status() {
        let line = |route: &str, status: &str, count| {
            format!(
                "astradesk_http_requests_total{{route=\"{route}\",method=\"POST\",status=\"{status}\"}} {count}\n"
            )
        };
        let call = "/v1/tools/{tool}/runs";
        let text =
            line(call, "200", 7) + &line(call, "202", 2) + &line(call, "502", 1) + &line("/v1/run", "200", 9);
        assert_eq!(calls_answered(&text), (7, 3));
    }
}
