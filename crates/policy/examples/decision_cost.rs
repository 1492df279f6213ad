//! What one decision costs, on one core.
//!
//! `cargo run --release -p astradesk-policy --example decision_cost`
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints figures")]

use astradesk_core::{Call, Decision, Effect, FrozenCall, Principal, RoleName, Source, Timestamp, ToolName};
use astradesk_policy::{CedarPolicy, Settings};
use astradesk_runtime::port::{Policy, PolicyRequest};
use std::hint::black_box;
use std::time::Instant;

const TIMES: u32 = 100_000;

fn main() {
    let allowed = Settings::parse_allowed_services("webapp,payments-api,billing,search,cart").unwrap();
    let policy =
        CedarPolicy::compile(&Settings { allowed_services: allowed, ..Settings::default() }).unwrap();
    let principal = |role| Principal {
        subject: "ada".to_owned(),
        issuer: "https://issuer.example/realms/production".to_owned(),
        roles: ["offline_access", "uma_authorization", role].map(|r| RoleName::parse(r).unwrap()).into(),
        actor: None,
    };
    for (what, effect, role) in [
        ("read, permitted", Effect::Read, "sre"),
        ("write, permitted", Effect::Write, "sre"),
        ("write, denied", Effect::Write, "dev"),
    ] {
        let call = Call { tool: ToolName::parse("some_tool").unwrap(), arguments: serde_json::Map::new() };
        let target = "kubernetes/production/default/deployment/payments-api".parse().unwrap();
        let call = FrozenCall::new(call, "1".to_owned(), effect, vec![target]);
        let principal = principal(role);
        let request = PolicyRequest {
            principal: &principal,
            source: Source::Http,
            planner: "direct",
            call: &call,
            facts: &[],
            approvals: &[],
            break_glass: false,
            dry_run: false,
            now: Timestamp::UNIX_EPOCH,
        };
        let permitted = matches!(policy.decide(&request), Decision::Permit { .. });
        assert_eq!(permitted, what.ends_with("permitted"), "{what}");
        let begin = Instant::now();
        for _ in 0..TIMES {
            black_box(policy.decide(black_box(&request)));
        }
        println!("{what:>20}: {:.2} µs", begin.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES));
    }
}
