//! Many runs of a gateway: submitted at once, followed to their end, and told apart.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::site::in_parallel;
use crate::gateway::{Gateway, Program, bearer, call_path, get};
use crate::http::Request;

/// Connections over which runs are submitted.
const SUBMITTERS: usize = 32;
/// How often it is asked whether runs are left.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How long the gateway may take to list the cluster.
const KNOWN_WITHIN: Duration = Duration::from_mins(2);
/// How long the token holds.
const TOKEN_MINUTES: u32 = 60;
/// The longest page of runs.
const PAGE: usize = 200;

/// The states of runs that have not ended.
const UNENDED: [&str; 2] = ["running", "queued"];

/// A gateway's runs, as somebody with a token sees them.
pub(super) struct Runs<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) token: &'a str,
}

/// How runs stand.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Standing {
    /// By state.
    pub(super) states: BTreeMap<String, usize>,
    /// Those that have not ended.
    pub(super) left: usize,
    /// Those that have ended since the moment that was asked for.
    pub(super) ended_since: usize,
}

/// A token for the gateway of this state folder.
pub(super) fn token(program: &Program, gateway: &Gateway) -> Result<String> {
    program.token(&gateway.state, "bench", TOKEN_MINUTES)
}

impl Runs<'_> {
    /// Waits until the gateway knows the cluster: a large one takes a while to be listed.
    pub(super) fn until_known(&self, service: &str) -> Result<()> {
        let deadline = Instant::now() + KNOWN_WITHIN;
        while let Err(error) = self.gateway.read(self.token, service) {
            ensure!(Instant::now() < deadline, "after {} s: {error:#}", KNOWN_WITHIN.as_secs());
            std::thread::sleep(ASK_EVERY);
        }
        Ok(())
    }

    /// Asks for a restart of each service, and waits for none. Every one must be admitted.
    pub(super) fn submit(&self, services: &[String]) -> Result<()> {
        let authorization = bearer(self.token);
        let headers = [("Authorization", &*authorization), ("Content-Type", "application/json")];
        in_parallel(services, SUBMITTERS, |service| {
            let body = json!({"arguments": {"service": service, "accept_downtime": true}}).to_string();
            let path = call_path("restart_service");
            let request = Request { method: "POST", path: &path, headers: &headers, body: &body };
            let answer = request.send(self.gateway.address)?;
            let (status, text) = (answer.status, answer.text()?);
            ensure!(status == 202, "the restart of `{service}` was answered with {status}: {text}");
            Ok(())
        })
    }

    /// Waits until no run is left that has not ended; whether that came about.
    pub(super) fn until_ended(&self, patience: Duration) -> Result<bool> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            let mut left = false;
            for state in UNENDED {
                left = left || !self.page(&format!("?limit=1&state={state}"))?.0.is_empty();
            }
            if !left {
                return Ok(true);
            }
            std::thread::sleep(ASK_EVERY);
        }
        Ok(false)
    }

    /// How all runs stand; `since` is a time as RFC 3339 has it.
    pub(super) fn standing(&self, since: &str) -> Result<Standing> {
        let mut standing = Standing::default();
        let mut cursor = String::new();
        loop {
            let (runs, next) = self.page(&format!("?limit={PAGE}{cursor}"))?;
            for run in &runs {
                let state = run["state"]["name"].as_str().or(run["state"].as_str()).unwrap_or("unknown");
                *standing.states.entry(state.to_owned()).or_default() += 1;
                if UNENDED.contains(&state) {
                    standing.left += 1;
                } else if run["updated_at"].as_str().is_some_and(|at| at > since) {
                    standing.ended_since += 1;
                }
            }
            let Some(next) = next else { return Ok(standing) };
            cursor = format!("&cursor={next}");
        }
    }

    fn page(&self, query: &str) -> Result<(Vec<Value>, Option<String>)> {
        // Reads are runs, too.
        let path = format!("/v1/runs{query}&tool=restart_service");
        let answer = get(self.gateway.address, &path, &[("Authorization", &bearer(self.token))])?;
        let (status, text) = (answer.status, answer.text()?);
        ensure!(status == 200, "{path} was answered with {status}: {text}");
        let mut page: Value = serde_json::from_str(&text).context("a page of runs is no JSON")?;
        let runs = page["runs"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok((runs, page["next"].as_str().map(str::to_owned)))
    }
}

impl Standing {
    /// `998 succeeded, 2 failed`
    pub(super) fn shown(&self) -> String {
        let states: Vec<String> =
            self.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        states.join(", ")
    }
}
