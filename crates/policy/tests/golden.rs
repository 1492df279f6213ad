//! The golden table: principal × tool × target → decision, code and sentence.
#![expect(clippy::panic, reason = "a failed unwrap in a test is a failed test")]

mod support;

use astradesk_core::name::Namespace;
use astradesk_core::tool::Grammar;
use astradesk_core::{Decision, Effect, Error, Principal, RoleName, ToolName, ToolSpec};
use astradesk_policy::{CedarPolicy, Settings};
use astradesk_runtime::port::Policy;
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;
use support::{Ask, PAYMENTS, WEBAPP, built_in, principal, role, settings};

fn decide(policy: &CedarPolicy, principal: &Principal, tool: &str, targets: &[&str]) -> Decision {
    let arguments = match tool {
        "run_playbook" => json!({"playbook": "x"}),
        "list_services" => json!({}),
        "query_metrics" => json!({"promql": "up"}),
        _ => json!({"service": "x"}),
    };
    Ask::new(principal, tool, arguments, targets).decide(policy)
}

fn denial(decision: Decision) -> Error {
    let Decision::Deny { error, .. } = decision else { panic!("{decision:?}") };
    error
}

const UNKNOWN_KIND: &str = "kubernetes/prod/default/workload/webapp";
const BILLING: &str = "kubernetes/prod/default/deployment/billing";
const ELSEWHERE: &str = "kubernetes/prod/shop/deployment/webapp";
const DEFAULT: &str = "kubernetes/prod/default/namespace/default";
const SERVER: &str = "external/prometheus/server/main";
const SHOP: &str = "kubernetes/prod/shop/namespace/shop";

#[test]
fn the_golden_table() {
    // `permit` with the policy, or the code of the denial.
    const READ: &str = "permit builtin.read";
    const WRITE: &str = "permit builtin.write";
    const ROLE: &str = "policy.role_required";
    const NAMESPACE: &str = "policy.namespace_not_allowed";
    const TARGET: &str = "policy.target_not_allowed";
    const TOOL: &str = "policy.tool_not_allowed";
    const DENIED: &str = "policy.denied";

    let mut settings = settings("webapp, payments");
    settings.allowed_tools.push(ToolName::parse("scale_service").unwrap());
    let policy = built_in(&settings);
    let columns: [(&str, &[&str]); 4] =
        [("sre", &["sre"]), ("viewer", &["viewer"]), ("stranger", &["SRE", "sre2", "dev"]), ("nobody", &[])];
    #[rustfmt::skip]
    let table: &[(&str, &[&str], [&str; 4])] = &[
        // tool                 targets                  sre        viewer     stranger  nobody
        ("restart_service",    &[WEBAPP],               [WRITE,     ROLE,      ROLE,     ROLE]),
        ("restart_service",    &[UNKNOWN_KIND],         [WRITE,     ROLE,      ROLE,     ROLE]),
        ("restart_service",    &[PAYMENTS],             [WRITE,     ROLE,      ROLE,     ROLE]),
        ("restart_service",    &[WEBAPP, PAYMENTS],     [WRITE,     ROLE,      ROLE,     ROLE]),
        ("restart_service",    &[BILLING],              [TARGET,    ROLE,      ROLE,     ROLE]),
        ("restart_service",    &[WEBAPP, BILLING],      [TARGET,    ROLE,      ROLE,     ROLE]),
        ("restart_service",    &[DEFAULT],              [TARGET,    ROLE,      ROLE,     ROLE]),
        ("restart_service",    &[ELSEWHERE],            [NAMESPACE, ROLE,      ROLE,     ROLE]),
        ("restart_service",    &[WEBAPP, ELSEWHERE],    [NAMESPACE, ROLE,      ROLE,     ROLE]),
        ("restart_service",    &[],                     [DENIED,    DENIED,    DENIED,   DENIED]),
        ("rollback_service",   &[WEBAPP],               [TOOL,      ROLE,      ROLE,     ROLE]),
        ("rollback_service",   &[BILLING],              [TOOL,      ROLE,      ROLE,     ROLE]),
        ("rollback_service",   &[ELSEWHERE],            [TOOL,      ROLE,      ROLE,     ROLE]),
        ("scale_service",      &[WEBAPP],               [WRITE,     ROLE,      ROLE,     ROLE]),
        ("scale_service",      &[BILLING],              [TARGET,    ROLE,      ROLE,     ROLE]),
        ("scale_service",      &[ELSEWHERE],            [NAMESPACE, ROLE,      ROLE,     ROLE]),
        ("scale_service",      &[WEBAPP, BILLING],      [TARGET,    ROLE,      ROLE,     ROLE]),
        ("get_service_status", &[WEBAPP],               [READ,      READ,      ROLE,     ROLE]),
        ("get_service_status", &[BILLING],              [READ,      READ,      ROLE,     ROLE]),
        ("get_service_status", &[ELSEWHERE],            [NAMESPACE, NAMESPACE, ROLE,     ROLE]),
        ("get_service_logs",   &[WEBAPP],               [READ,      READ,      ROLE,     ROLE]),
        ("get_service_logs",   &[BILLING],              [READ,      READ,      ROLE,     ROLE]),
        ("get_service_logs",   &[ELSEWHERE],            [NAMESPACE, NAMESPACE, ROLE,     ROLE]),
        ("get_metrics",        &[WEBAPP],               [READ,      READ,      ROLE,     ROLE]),
        ("get_metrics",        &[ELSEWHERE],            [NAMESPACE, NAMESPACE, ROLE,     ROLE]),
        ("query_metrics",      &[SERVER],               [DENIED,    DENIED,    ROLE,     ROLE]),
        ("list_services",      &[DEFAULT],              [READ,      READ,      ROLE,     ROLE]),
        ("list_services",      &[SHOP],                 [NAMESPACE, NAMESPACE, ROLE,     ROLE]),
        ("list_services",      &[DEFAULT, SHOP],        [NAMESPACE, NAMESPACE, ROLE,     ROLE]),
        ("list_services",      &[],                     [DENIED,    DENIED,    DENIED,   DENIED]),
        ("run_playbook",       &[WEBAPP],               [DENIED,    DENIED,    DENIED,   DENIED]),
    ];
    for (tool, targets, wanted) in table {
        for ((subject, roles), wanted) in columns.iter().zip(wanted) {
            let found = match decide(&policy, &principal(subject, roles), tool, targets) {
                Decision::Permit { reasons } => {
                    assert_eq!(reasons.len(), 1, "each policy is named once");
                    format!("permit {}", reasons[0].policy)
                }
                Decision::Deny { error, .. } => error.code.to_string(),
                Decision::NeedsApproval { .. } => "needs approval".to_owned(),
            };
            assert_eq!(found, *wanted, "{subject} {tool} {targets:?}");
        }
    }
}

#[test]
fn an_empty_allowlist_denies_every_restart_and_no_read() {
    let policy = built_in(&settings(""));
    let sre = principal("ada", &["sre"]);
    let error = denial(decide(&policy, &sre, "restart_service", &[WEBAPP]));
    assert_eq!(error.code.as_str(), "policy.target_not_allowed");
    assert_eq!(error.message, "`webapp` is not in `ALLOWED_SERVICES`, which is empty");
    assert!(matches!(decide(&policy, &sre, "list_services", &[DEFAULT]), Decision::Permit { .. }));
    assert!(!policy.text().contains("builtin.write"));
}

#[test]
fn without_an_allowed_tool_there_is_no_policy_for_writes() {
    let policy = built_in(&Settings { allowed_tools: Vec::new(), ..settings("webapp") });
    let error = denial(decide(&policy, &principal("ada", &["sre"]), "restart_service", &[WEBAPP]));
    assert_eq!(error.code.as_str(), "policy.tool_not_allowed");
    assert!(!policy.text().contains("builtin.write"));
}

#[test]
fn a_denial_says_what_is_missing_to_those_who_may_know() {
    let policy = built_in(&settings("webapp,payments"));
    let (ada, eve) = (principal("ada", &["sre"]), principal("e\u{1b}ve", &["dev"]));

    let error = denial(decide(&policy, &eve, "restart_service", &[BILLING]));
    assert_eq!(error.message, "`restart_service` needs the role `sre`, which `e\\u{1b}ve` does not have");
    assert!(error.details.is_empty(), "the allowlist is not for everybody: {error:?}");

    let error = denial(decide(&policy, &eve, "list_services", &[DEFAULT]));
    assert_eq!(
        error.message,
        "`list_services` needs one of the roles `sre`, `viewer`, and `e\\u{1b}ve` has none"
    );

    let error = denial(decide(&policy, &ada, "restart_service", &[BILLING]));
    assert_eq!(error.message, "`billing` is not in `ALLOWED_SERVICES`");
    assert_eq!(error.details["candidates"], serde_json::json!(["webapp", "payments"]));

    let error = denial(decide(&policy, &ada, "restart_service", &[ELSEWHERE]));
    assert_eq!(error.message, "`restart_service` may act in the namespace `default` only, and not in `shop`");

    let error = denial(decide(&policy, &ada, "run_playbook", &[WEBAPP]));
    assert_eq!(error.message, "no policy permits `run_playbook`, whose effect is `execute`");
}

#[test]
fn the_settings_are_honoured() {
    let settings = Settings {
        required_role_restart: role("ops:admin"),
        namespace: Namespace::parse("shop").unwrap(),
        read_roles: vec![],
        ..settings("webapp")
    };
    let policy = built_in(&settings);
    let admin = principal("ada", &["ops:admin"]);
    assert!(matches!(decide(&policy, &admin, "restart_service", &[ELSEWHERE]), Decision::Permit { .. }));
    let error = denial(decide(&policy, &admin, "restart_service", &[WEBAPP]));
    assert_eq!(error.code.as_str(), "policy.namespace_not_allowed");
    for roles in [&["sre"], &["viewer"]] {
        let error = denial(decide(&policy, &principal("bob", roles), "list_services", &[SHOP]));
        assert_eq!(error.message, "`list_services` needs the role `ops:admin`, which `bob` does not have");
    }
}

#[test]
fn what_is_shown_follows_the_roles() {
    let policy = built_in(&settings("webapp"));
    let tool = |effect| ToolSpec {
        name: ToolName::parse("restart_service").unwrap(),
        version: "1".to_owned(),
        description: String::new(),
        effect,
        input_schema: serde_json::json!({}),
        timeout: Duration::from_secs(1),
        grammar: Grammar::default(),
    };
    let effects = [Some(Effect::Read), Some(Effect::Write), Some(Effect::Execute), None];
    for (roles, usable, reads) in [
        (&["sre"][..], [true, true, false, false], true),
        (&["viewer"], [true, false, false, false], true),
        (&["dev"], [false; 4], false),
        (&[], [false; 4], false),
    ] {
        let principal = principal("ada", roles);
        assert_eq!(effects.map(|effect| policy.may_use(&principal, &tool(effect))), usable, "{roles:?}");
        assert_eq!(policy.may_see_runs_of_others(&principal), reads, "{roles:?}");
        assert_eq!(policy.may_read_evidence(&principal), reads, "{roles:?}");
    }
}

/// Characters that mean something in Cedar or in Rust's escapes.
const ODD: &str = "[a-z0-9:#/{}()\\[\\];,.&|!@$%^*<>=?+~_żŁ漢-]{1,20}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A name says itself and nothing else: whatever is in it, it permits exactly those who have it.
    #[test]
    fn a_name_cannot_change_the_policy(required in ODD, reading in ODD, other in ODD, subject in "\\PC{0,20}") {
        prop_assume!(RoleName::parse(required.as_str()).is_ok());
        prop_assume!(RoleName::parse(reading.as_str()).is_ok() && RoleName::parse(other.as_str()).is_ok());
        prop_assume!(other != required && other != reading && required != reading);
        let settings = Settings {
            required_role_restart: role(&required),
            read_roles: vec![role(&reading)],
            ..settings("webapp")
        };
        let policy = built_in(&settings);
        let permits = |roles: &[&str], tool| {
            matches!(decide(&policy, &principal(&subject, roles), tool, &[WEBAPP]), Decision::Permit { .. })
        };
        prop_assert!(permits(&[&required], "restart_service") && permits(&[&required], "list_services"));
        prop_assert!(permits(&[&reading], "list_services") && !permits(&[&reading], "restart_service"));
        prop_assert!(!permits(&[&other], "list_services") && !permits(&[&other], "restart_service"));
        prop_assert!(!permits(&[], "list_services"));
    }
}

#[test]
fn names_that_try_to_break_out_are_only_names() {
    for name in [
        "x,resource);permit(principal,action",
        "sre]||true||[",
        "}//",
        "Role::sre",
        "\\u{22}".trim_start_matches('\\'),
        "@id(builtin.read)",
        "${sre}",
    ] {
        let settings = Settings {
            required_role_restart: role(name),
            read_roles: vec![role(&format!("{name}2"))],
            ..settings("webapp")
        };
        let policy = built_in(&settings);
        for (roles, permitted) in [(&[name][..], true), (&["sre"], false), (&["true"], false), (&[], false)] {
            let decision = decide(&policy, &principal("x\"y", roles), "restart_service", &[WEBAPP]);
            assert_eq!(matches!(decision, Decision::Permit { .. }), permitted, "{name} {roles:?}");
        }
    }
}

#[test]
fn the_policies_read_as_an_auditor_would_write_them() {
    let policy = built_in(&settings("webapp"));
    for line in [
        r#"@id("builtin.read")"#,
        r#"@id("builtin.write")"#,
        r#"principal in [Role::"sre", Role::"viewer"]"#,
        r#"principal in Role::"sre""#,
        r#"resource.namespace == "default""#,
        r#"["webapp"].contains(resource.name)"#,
    ] {
        let text = policy.text().replace("resource[\"namespace\"]", "resource.namespace");
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
