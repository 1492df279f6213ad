//! What one decision costs, on one core: the built-in policies, then sets of 10, 1,000 and 10,000 policies.
//!
//! `cargo run --release -p astradesk-policy --example decision_cost`
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints figures")]

use astradesk_core::name::ObjectName;
use astradesk_core::tool::Grammar;
use astradesk_core::{
    Call, Decision, Effect, Facts, FrozenCall, Principal, RoleName, Source, Timestamp, ToolName, ToolSpec,
};
use astradesk_policy::{CedarPolicy, PolicySources, Settings};
use astradesk_runtime::port::{Policy, PolicyRequest, SystemClock};
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TIMES: u32 = 50_000;

fn main() {
    println!("built-in policies");
    let allowed = ["webapp", "payments-api", "billing", "search", "cart"];
    let allowed_services = allowed.iter().map(|name| ObjectName::parse(*name).unwrap()).collect();
    let settings = Settings { allowed_services, ..Settings::default() };
    let policy = open(settings.clone(), None);
    measure(&policy, "read, permitted", "get_service_status", "sre");
    measure(&policy, "write, permitted", "restart_service", "sre");
    measure(&policy, "write, denied", "restart_service", "dev");
    for count in [10, 1_000, 10_000] {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<String> = teams(count).lines().map(str::to_owned).collect();
        for (i, some) in all.chunks(1_000).enumerate() {
            std::fs::write(dir.path().join(format!("teams-{i}.cedar")), some.join("\n")).unwrap();
        }
        let begin = Instant::now();
        let policy = open(Settings::default(), Some(dir.path()));
        println!("{count} policies, loaded in {:.0} ms", begin.elapsed().as_secs_f64() * 1e3);
        assert_eq!(policy.status().problem, None);
        measure(&policy, "write, permitted", "restart_service", "team-3");
        measure(&policy, "write, needs approval", "restart_service", "team-4");
        measure(&policy, "write, denied", "restart_service", "dev");
    }
}

/// Each team restarts a service of its own, and every second one with an approval; some services are frozen.
fn teams(count: usize) -> String {
    let mut text = String::new();
    for i in 0..count {
        let service = if i < 9 { "payments-api".to_owned() } else { format!("service-{i}") };
        let clause = format!("resource.namespace == \"default\" && resource.name == \"{service}\"");
        // Writing to a `String` cannot fail.
        let _ = match i % 10 {
            9 => writeln!(
                text,
                "forbid (principal, action in Action::\"write\", resource) when {{ {clause} && context.time > 0 }};"
            ),
            odd if odd % 2 == 1 => writeln!(
                text,
                "permit (principal in Role::\"team-{i}\", action == Action::\"restart_service\", resource) when {{ {clause} }};"
            ),
            _ => writeln!(
                text,
                "permit (principal in Role::\"team-{i}\", action == Action::\"restart_service\", resource) \
                 when {{ {clause} && context.approvals.count >= 1 }};"
            ),
        };
    }
    text
}

fn open(settings: Settings, dir: Option<&std::path::Path>) -> CedarPolicy {
    let tool = |name: &str, effect| {
        Arc::new(ToolSpec {
            name: ToolName::parse(name).unwrap(),
            version: "1".to_owned(),
            description: String::new(),
            effect: Some(effect),
            input_schema: serde_json::json!({"type": "object", "properties": {"service": {"type": "string"}}}),
            timeout: Duration::from_secs(1),
            grammar: Grammar::default(),
        })
    };
    let tools = vec![tool("get_service_status", Effect::Read), tool("restart_service", Effect::Write)];
    let sources =
        PolicySources { settings, dir: dir.map(std::path::Path::to_owned), known_roles: Vec::new() };
    CedarPolicy::open(sources, tools, Arc::new(SystemClock))
}

fn measure(policy: &CedarPolicy, what: &str, tool: &str, role: &str) {
    let principal = Principal {
        subject: "ada".to_owned(),
        issuer: "https://issuer.example/realms/production".to_owned(),
        roles: ["offline_access", "uma_authorization", role].map(|r| RoleName::parse(r).unwrap()).into(),
        actor: None,
    };
    let effect = if tool == "restart_service" { Effect::Write } else { Effect::Read };
    let call = Call { tool: ToolName::parse(tool).unwrap(), arguments: serde_json::Map::new() };
    let target = "kubernetes/production/default/deployment/payments-api".parse().unwrap();
    let call = FrozenCall::new(call, "1".to_owned(), effect, vec![target]);
    let request = PolicyRequest {
        principal: &principal,
        source: Source::Http,
        planner: "direct",
        call: &call,
        facts: &[Facts::default()],
        approvals: &[],
        break_glass: false,
        dry_run: false,
        now: Timestamp::UNIX_EPOCH,
    };
    let decided = match policy.decide(&request) {
        Decision::Permit { .. } => "permitted",
        Decision::Deny { .. } => "denied",
        Decision::NeedsApproval { .. } => "needs approval",
    };
    assert!(what.ends_with(decided), "{what}: {decided}");
    let mut times: Vec<Duration> = Vec::with_capacity(TIMES as usize);
    for _ in 0..TIMES {
        let begin = Instant::now();
        black_box(policy.decide(black_box(&request)));
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).unwrap().as_secs_f64() * 1e6;
    println!("{what:>24}: p50 {:.2} µs, p99 {:.2} µs", at(0.5), at(0.99));
}
