//! The golden table: principal × tool × target × circumstances → the decision, as text that people review.
//!
//! `golden.txt` is compared with what is decided; `ASTRADESK_UPDATE_GOLDEN=1` writes it anew.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod support;

use astradesk_core::facts::GitOps;
use astradesk_core::{Facts, Principal, Source};
use astradesk_policy::CedarPolicy;
use serde_json::json;
use std::fmt::Write as _;
use support::{Ask, PAYMENTS, WEBAPP, agent, approval, line, principal, with};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden.txt");
const BILLING: &str = "kubernetes/prod/default/deployment/billing";
const ELSEWHERE: &str = "kubernetes/prod/shop/deployment/webapp";
const NAMESPACE: &str = "kubernetes/prod/default/namespace/default";

/// A set in which every part of a request decides something.
const POLICIES: &str = r#"
@id("dev.restart")
permit (principal in Role::"dev", action == Action::"restart_service", resource)
when { resource.namespace == "default" && context.approvals.count >= 1 };

@id("lead.restart")
permit (principal in Role::"lead", action in Action::"write", resource)
when { resource.namespace == "default" }
unless { principal has actor };

@id("ops.playbooks")
permit (principal in Role::"ops", action == Action::"run_playbook", resource)
when {
    context.arguments.playbook == "drain" && context.approvals.count >= 2
    && context.approvals.hasTag("sre") && context.approvals.getTag("sre") >= 1
};

@id("critical.two")
forbid (principal, action in Action::"write", resource)
when { resource has tier && resource.tier == "critical" }
unless { context.dry_run || (context.approvals.hasTag("sre") && context.approvals.getTag("sre") >= 2) };

@id("gitops.hands_off")
forbid (principal, action in Action::"write", resource)
when { context has gitops && context.gitops == "argocd" }
unless { context.break_glass };

@id("labels.frozen")
forbid (principal, action in [Action::"write", Action::"execute"], resource)
when { resource.hasTag("freeze") && resource.getTag("freeze") == "yes" };

@id("no.downtime.by.night")
forbid (principal, action in Action::"write", resource)
when { context.downtime_expected && context.now.toTime() < duration("6h") };

@id("agents.undo")
forbid (principal, action == Action::"restart_service", resource)
when { principal has actor }
unless { context.arguments has on_failure && context.arguments.on_failure == "undo" };

@id("cli.only")
forbid (principal, action in Action::"execute", resource)
unless { context.source == "cli" && context.planner == "direct" };

@id("glass")
permit (principal in Role::"sre", action == Action::"break_glass", resource)
when { resource.namespace == "default" };
"#;

fn people() -> Vec<(&'static str, Principal)> {
    vec![
        ("sre", principal("ada", &["sre"])),
        ("dev", principal("dan", &["dev"])),
        ("lead", principal("lee", &["lead"])),
        ("ops", principal("oda", &["ops", "viewer"])),
        ("agent of sre", agent("ada", &["sre"])),
        ("agent of lead", agent("lee", &["lead"])),
        ("nobody", principal("eve", &[])),
    ]
}

/// Circumstances: what they are, and how they change a call.
type Circumstances = (&'static str, fn(&mut Ask));

/// Each changes one thing, or few.
fn circumstances() -> Vec<Circumstances> {
    vec![
        ("plain", |_| ()),
        ("dry run", |ask| ask.dry_run = true),
        ("1 approval", |ask| ask.approvals = vec![approval("kim", &["sre"])]),
        ("2 approvals", |ask| ask.approvals = vec![approval("kim", &["sre"]), approval("lou", &["dev"])]),
        ("2 by sre", |ask| ask.approvals = vec![approval("kim", &["sre"]), approval("lou", &["sre"])]),
        ("tier critical", |ask| each(ask, |facts| facts.tier = Some("critical".to_owned()))),
        ("critical, dry run", |ask| {
            each(ask, |facts| facts.tier = Some("critical".to_owned()));
            ask.dry_run = true;
        }),
        ("critical, 2 by sre", |ask| {
            each(ask, |facts| facts.tier = Some("critical".to_owned()));
            ask.approvals = vec![approval("kim", &["sre"]), approval("lou", &["sre"])];
        }),
        ("argo cd", |ask| each(ask, argo)),
        ("argo cd, glass", |ask| {
            each(ask, argo);
            ask.break_glass = true;
        }),
        ("label freeze", |ask| {
            each(ask, |facts| drop(facts.labels.insert("freeze".to_owned(), "yes".to_owned())));
        }),
        ("downtime at 3", |ask| {
            each(ask, |facts| facts.downtime_expected = true);
            ask.now = "2026-03-02T03:00:00Z".parse().unwrap();
        }),
        ("downtime at 9", |ask| {
            each(ask, |facts| facts.downtime_expected = true);
            ask.now = "2026-03-02T09:00:00Z".parse().unwrap();
        }),
        ("by cli", |ask| ask.source = Source::Cli),
    ]
}

fn argo(facts: &mut Facts) {
    facts.gitops = Some(GitOps { controller: "argocd".to_owned(), source: "apps/web".to_owned() });
}

fn each(ask: &mut Ask, change: impl Fn(&mut Facts)) {
    ask.facts.iter_mut().for_each(change);
}

fn calls() -> Vec<(&'static str, &'static str, serde_json::Value, Vec<&'static str>)> {
    let service = |name: &str| json!({"service": name});
    vec![
        ("restart webapp", "restart_service", service("webapp"), vec![WEBAPP]),
        (
            "restart webapp, undo",
            "restart_service",
            json!({"service": "webapp", "on_failure": "undo"}),
            vec![WEBAPP],
        ),
        ("restart billing", "restart_service", service("billing"), vec![BILLING]),
        ("restart webapp and payments", "restart_service", service("webapp"), vec![WEBAPP, PAYMENTS]),
        ("restart webapp and billing", "restart_service", service("webapp"), vec![WEBAPP, BILLING]),
        ("restart shop/webapp", "restart_service", service("webapp"), vec![ELSEWHERE]),
        ("status of billing", "get_service_status", service("billing"), vec![BILLING]),
        ("list services", "list_services", json!({}), vec![NAMESPACE]),
        ("playbook drain", "run_playbook", json!({"playbook": "drain"}), vec![WEBAPP]),
        ("playbook other", "run_playbook", json!({"playbook": "other"}), vec![WEBAPP]),
    ]
}

/// Each call, with the people for whom it comes out alike, and each decision with when it falls.
fn table(policy: &CedarPolicy) -> String {
    let mut text = String::from("# Written by table.rs: a change here is a change of who may do what.\n");
    for (what, tool, arguments, targets) in calls() {
        let mut blocks: Vec<(Vec<&str>, String)> = Vec::new();
        for (who, principal) in people() {
            let block = block(policy, &principal, tool, &arguments, &targets);
            match blocks.iter_mut().find(|(_, other)| *other == block) {
                Some((people, _)) => people.push(who),
                None => blocks.push((vec![who], block)),
            }
        }
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "\n{what}");
        for (people, block) in blocks {
            let _ = write!(text, "  {}\n{block}", people.join(", "));
        }
    }
    text
}

fn block(
    policy: &CedarPolicy,
    principal: &Principal,
    tool: &str,
    arguments: &serde_json::Value,
    targets: &[&str],
) -> String {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for (when, change) in circumstances() {
        let mut ask = Ask::new(principal, tool, arguments.clone(), targets);
        change(&mut ask);
        let line = line(&ask.decide(policy));
        match lines.iter_mut().find(|(other, _)| *other == line) {
            Some((_, times)) => times.push(when),
            None => lines.push((line, vec![when])),
        }
    }
    let lines = lines.iter().map(|(line, times)| format!("    {line}\n      {}\n", times.join(" · ")));
    lines.collect()
}

#[test]
fn the_golden_table() {
    let found = table(&with(POLICIES));
    if std::env::var_os("ASTRADESK_UPDATE_GOLDEN").is_some() {
        std::fs::write(TABLE, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(TABLE).unwrap_or_default();
    for (i, (found, wanted)) in found.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(found, wanted, "line {}; ASTRADESK_UPDATE_GOLDEN=1 writes the table anew", i + 1);
    }
    assert_eq!(found.lines().count(), wanted.lines().count());
}
