//! Counters and histograms, in Prometheus' text format. No name of a target or of a principal is in them.

use super::pulse::Pulse;
use crate::webhook::Webhooks;
use astradesk_core::{Code, Run};
use astradesk_runtime::engine::Stats;
use axum::http::{Method, StatusCode};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// The statuses that the gateway answers with; any other is counted as `other`.
const STATUSES: [u16; 17] =
    [200, 202, 400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 500, 502, 503, 0];

/// The upper bounds of the histogram's buckets, in microseconds.
const BUCKETS: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// The states that a run can be answered in.
const STATES: [&str; 11] = [
    "submitted",
    "awaiting_approval",
    "queued",
    "running",
    "succeeded",
    "failed",
    "denied",
    "rejected",
    "expired",
    "cancelled",
    "outcome_unknown",
];

/// What approvers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Given,
    Rejected,
    Revoked,
}

const SAID: [(Said, &str); 3] =
    [(Said::Given, "given"), (Said::Rejected, "rejected"), (Said::Revoked, "revoked")];

/// Everything that is counted.
pub(crate) struct Metrics {
    routes: HashMap<Box<str>, Vec<Series>>,
    unmatched: Series,
    auth: Vec<(Code, AtomicU64)>,
    refusals: Vec<(Code, AtomicU64)>,
    said: [AtomicU64; SAID.len()],
    runs: [AtomicU64; STATES.len()],
    /// Connections that are open.
    pub(crate) connections: AtomicI64,
    /// Event streams that are open.
    pub(crate) streams: AtomicI64,
}

/// The requests of one route.
struct Series {
    method: Box<str>,
    statuses: [AtomicU64; STATUSES.len()],
    buckets: [AtomicU64; BUCKETS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

impl Metrics {
    /// Counts for these routes: path and method.
    pub(crate) fn new(routes: &[(String, String)]) -> Self {
        let mut series: HashMap<Box<str>, Vec<Series>> = HashMap::new();
        for (path, method) in routes {
            series.entry(path.as_str().into()).or_default().push(Series::new(method));
        }
        let counts = |of: &[&str]| {
            let mut codes = Vec::new();
            for code in Code::ALL.iter().filter(|code| of.contains(&namespace(**code))) {
                codes.push((*code, AtomicU64::new(0)));
            }
            codes
        };
        Self {
            routes: series,
            unmatched: Series::new("other"),
            auth: counts(&["auth"]),
            refusals: counts(&["policy", "approval", "guard", "llm"]),
            said: Default::default(),
            runs: Default::default(),
            connections: AtomicI64::new(0),
            streams: AtomicI64::new(0),
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&self, route: Option<&str>, method: &Method, status: StatusCode, took: Duration) {
        let method = if *method == Method::HEAD { Method::GET.as_str() } else { method.as_str() };
        let of_route = route.and_then(|route| self.routes.get(route)).into_iter().flatten();
        let series = of_route.into_iter().find(|series| *series.method == *method);
        series.unwrap_or(&self.unmatched).add(status, took);
    }

    /// A request was not authenticated.
    pub(crate) fn auth_failed(&self, code: Code) {
        if let Some((_, count)) = self.auth.iter().find(|(known, _)| *known == code) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request was answered with a problem.
    pub(crate) fn refused(&self, code: Code) {
        if let Some((_, count)) = self.refusals.iter().find(|(known, _)| *known == code) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An approver has said something.
    pub(crate) fn said(&self, what: Said) {
        if let Some(count) = SAID.iter().position(|(said, _)| *said == what).and_then(|i| self.said.get(i)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request for a run was answered with the run in this state.
    pub(crate) fn run_answered(&self, run: &Run) {
        let name = run.state.name();
        if let Some(count) = STATES.iter().position(|state| *state == name).and_then(|i| self.runs.get(i)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The text for Prometheus.
    pub(crate) fn render(&self, pulse: &Pulse, stats: Stats, webhooks: &Webhooks) -> String {
        let mut out = String::with_capacity(16 * 1024);
        self.render_requests(&mut out);
        render_engine(&mut out, pulse, stats);
        self.render_governance(&mut out, pulse);
        render_webhooks(&mut out, webhooks);
        family(
            &mut out,
            "astradesk_auth_failures_total",
            "counter",
            "Requests that were not authenticated, by code.",
        );
        for (code, count) in &self.auth {
            line(&mut out, "astradesk_auth_failures_total", &format!("code=\"{code}\""), load(count));
        }
        family(
            &mut out,
            "astradesk_run_answers_total",
            "counter",
            "Answers to requests for a run, by the run's state then.",
        );
        for (state, count) in STATES.iter().zip(&self.runs) {
            line(&mut out, "astradesk_run_answers_total", &format!("state=\"{state}\""), load(count));
        }
        for (name, help, gauge) in [
            ("astradesk_connections", "Open connections.", &self.connections),
            ("astradesk_event_streams", "Open event streams.", &self.streams),
        ] {
            family(&mut out, name, "gauge", help);
            line(&mut out, name, "", gauge.load(Ordering::Relaxed));
        }
        family(&mut out, "astradesk_build_info", "gauge", "The version that runs.");
        line(&mut out, "astradesk_build_info", concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""), 1);
        if let Some(bytes) = resident_bytes() {
            family(&mut out, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.");
            line(&mut out, "process_resident_memory_bytes", "", bytes);
        }
        out
    }

    fn render_governance(&self, out: &mut String, pulse: &Pulse) {
        if let Some(awaiting) = pulse.awaiting {
            family(out, "astradesk_runs_awaiting_approval", "gauge", "Runs that await approval.");
            line(out, "astradesk_runs_awaiting_approval", "", awaiting);
        }
        let name = "astradesk_approvals_total";
        family(out, name, "counter", "What approvers have said by this process.");
        for ((_, said), count) in SAID.iter().zip(&self.said) {
            line(out, name, &format!("said=\"{said}\""), load(count));
        }
        let name = "astradesk_refusals_total";
        family(
            out,
            name,
            "counter",
            "Answers that refuse by policy, approval or guardrail, or for want of a language model, by code.",
        );
        for (code, count) in &self.refusals {
            line(out, name, &format!("code=\"{code}\""), load(count));
        }
        let name = "astradesk_policies";
        family(out, name, "gauge", "Policies in force, the built-in ones included.");
        line(out, name, "", pulse.policy.policies);
        let name = "astradesk_policy_loaded_timestamp_seconds";
        family(out, name, "gauge", "Since when they are in force.");
        line(out, name, "", pulse.policy.loaded_at.as_second());
        let name = "astradesk_policy_warnings";
        family(out, name, "gauge", "Doubts about the policies in force; see `GET /v1/policy`.");
        line(out, name, "", pulse.policy.warnings.len());
    }

    fn render_requests(&self, out: &mut String) {
        let mut routes: Vec<(&str, &Series)> =
            self.routes.iter().flat_map(|(path, all)| all.iter().map(|one| (&**path, one))).collect();
        routes.sort_unstable_by_key(|(path, series)| (*path, series.method.clone()));
        routes.push(("unmatched", &self.unmatched));

        let name = "astradesk_http_requests_total";
        family(out, name, "counter", "Requests, by route, method and status.");
        for (route, series) in &routes {
            for (status, count) in STATUSES.iter().zip(&series.statuses).filter(|(_, count)| load(count) > 0)
            {
                let status = if *status == 0 { "other".to_owned() } else { status.to_string() };
                let labels = format!("{},status=\"{status}\"", series.labels(route));
                line(out, name, &labels, load(count));
            }
        }
        let name = "astradesk_http_request_duration_seconds";
        family(out, name, "histogram", "Time to the answer's head, by route and method.");
        for (route, series) in routes.iter().filter(|(_, series)| load(&series.count) > 0) {
            let labels = series.labels(route);
            let mut below = 0;
            for (bound, count) in BUCKETS.iter().zip(&series.buckets) {
                below += load(count);
                let labels = format!("{labels},le=\"{}\"", *bound as f64 / 1e6);
                line(out, "astradesk_http_request_duration_seconds_bucket", &labels, below);
            }
            let all = load(&series.count);
            let infinity = format!("{labels},le=\"+Inf\"");
            line(out, "astradesk_http_request_duration_seconds_bucket", &infinity, all);
            let sum = load(&series.micros) as f64 / 1e6;
            line(out, "astradesk_http_request_duration_seconds_sum", &labels, sum);
            line(out, "astradesk_http_request_duration_seconds_count", &labels, all);
        }
    }
}

fn render_webhooks(out: &mut String, webhooks: &Webhooks) {
    let name = "astradesk_webhook_attempts_total";
    family(out, name, "counter", "Attempts to tell a webhook, by what came of them.");
    for one in webhooks.attempts() {
        for (result, count) in [("told", one.told), ("failed", one.failed)] {
            line(out, name, &format!("webhook=\"{}\",result=\"{result}\"", one.webhook), count);
        }
    }
    let name = "astradesk_webhook_dead_total";
    family(out, name, "counter", "Announcements of which no further attempt is made.");
    for one in webhooks.attempts() {
        line(out, name, &format!("webhook=\"{}\"", one.webhook), one.dead);
    }
}

/// What stands before the dot.
fn namespace(code: Code) -> &'static str {
    code.as_str().split('.').next().unwrap_or_default()
}

fn render_engine(out: &mut String, pulse: &Pulse, stats: Stats) {
    for (name, help, runs) in [
        ("astradesk_runs_at_work", "Runs that this process executes.", stats.at_work),
        ("astradesk_runs_waiting", "Runs that wait for their turn in this process.", stats.waiting),
    ] {
        family(out, name, "gauge", help);
        line(out, name, "", runs);
    }
    let name = "astradesk_runs_taken_over_total";
    family(out, name, "counter", "Runs that this process has taken over from others that are gone.");
    line(out, name, "", stats.taken_over);
    let name = "astradesk_model_questions_total";
    family(out, name, "counter", "Questions to a language model that this process has put on record.");
    line(out, name, "", stats.consultations);
    let name = "astradesk_model_tokens_total";
    family(out, name, "counter", "Tokens of questions to a language model, and of its answers.");
    line(out, name, "of=\"questions\"", stats.tokens.prompt_tokens);
    line(out, name, "of=\"answers\"", stats.tokens.completion_tokens);
    let name = "astradesk_check_ok";
    family(out, name, "gauge", "Whether a check of `/readyz` is sound: 1, or 0.");
    for (check, said) in &pulse.checks {
        line(out, name, &format!("check=\"{check}\""), u8::from(said.is_ok()));
    }
    if let Some(records) = pulse.records {
        let name = "astradesk_evidence_records";
        family(out, name, "gauge", "Records in the evidence chain, by whichever process; it never falls.");
        line(out, name, "", records);
    }
}

impl Series {
    fn new(method: &str) -> Self {
        Self {
            method: method.into(),
            statuses: Default::default(),
            buckets: Default::default(),
            count: AtomicU64::new(0),
            micros: AtomicU64::new(0),
        }
    }

    fn add(&self, status: StatusCode, took: Duration) {
        let place = STATUSES.iter().position(|known| *known == status.as_u16()).unwrap_or(STATUSES.len() - 1);
        if let Some(count) = self.statuses.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = took.as_micros() as u64;
        if let Some(count) =
            BUCKETS.iter().position(|bound| micros <= *bound).and_then(|i| self.buckets.get(i))
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn labels(&self, route: &str) -> String {
        format!("route=\"{route}\",method=\"{}\"", self.method)
    }
}

// Writing to a `String` cannot fail.
fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = if labels.is_empty() {
        writeln!(out, "{name} {value}")
    } else {
        writeln!(out, "{name}{{{labels}}} {value}")
    };
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// The memory of this process, where the operating system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
