//! Guardrails: read as they are configured, and what they object to.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed unwrap in a test is a failed test"
)]

use astradesk_core::facts::{Availability, DisruptionBudget, Facts, GitOps};
use astradesk_core::guardrail::{Guardrail, Rule, TargetPattern, allowances, objections, with_builtin};
use astradesk_core::{Call, Code, Effect, FrozenCall, Target, Timestamp, ToolName};
use serde_json::json;

fn read(table: serde_json::Value) -> Result<Guardrail, String> {
    serde_json::from_value(table).map_err(|error| error.to_string())
}

fn rule(table: serde_json::Value) -> Guardrail {
    let mut table = table;
    table["name"] = json!("rule");
    read(table).unwrap()
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn target() -> Target {
    "kubernetes/prod/default/deployment/webapp".parse().unwrap()
}

fn call() -> FrozenCall {
    let call = Call { tool: ToolName::parse("restart_service").unwrap(), arguments: serde_json::Map::new() };
    FrozenCall::new(call, "1".into(), Effect::Write, vec![target()])
}

fn code(guardrail: &Guardrail, facts: &Facts, now: &str) -> Option<Code> {
    guardrail.object(&target(), facts, at(now)).map(|error| error.code)
}

#[test]
fn a_weekly_freeze_holds_in_its_own_time_zone() {
    // Friday 16:00 to Monday 08:00 in Warsaw; the clocks go back on 2026-10-25.
    let freeze =
        rule(json!({"freeze": {"cron": "0 16 * * FRI", "lasts": "64h", "time_zone": "Europe/Warsaw"}}));
    let table = [
        ("2026-11-20T14:59:59Z", None),
        ("2026-11-20T15:00:00Z", Some(Code::GuardFrozen)),
        ("2026-11-22T12:00:00Z", Some(Code::GuardFrozen)),
        ("2026-11-23T06:59:59Z", Some(Code::GuardFrozen)),
        ("2026-11-23T07:00:00Z", None),
        // Summer time: it begins at 14:00 UTC.
        ("2026-07-03T13:59:59Z", None),
        ("2026-07-03T14:00:00Z", Some(Code::GuardFrozen)),
    ];
    for (now, expected) in table {
        assert_eq!(code(&freeze, &Facts::default(), now), expected, "{now}");
    }
    let error = freeze.object(&target(), &Facts::default(), at("2026-11-22T12:00:00Z")).unwrap();
    assert_eq!(error.details["until"], "2026-11-23T07:00:00Z");
    assert_eq!(error.details["guardrail"], "rule");
}

#[test]
fn a_freeze_that_begins_where_the_clocks_skip_an_hour_begins_as_late_as_they_skip() {
    let freeze = |cron: &str, lasts: &str, zone: &str| {
        rule(json!({"freeze": {"cron": cron, "lasts": lasts, "time_zone": zone}}))
    };
    // Warsaw has no 02:30 on 2026-03-29, Santiago no midnight on 2026-09-06, and Apia no 2011-12-30 at all.
    let warsaw = freeze("30 2 * * SUN", "4h", "Europe/Warsaw");
    let santiago = freeze("0 0 * * SUN", "24h", "America/Santiago");
    let apia = freeze("0 12 30 * *", "1h", "Pacific/Apia");
    let table = [
        (&warsaw, "2026-03-29T01:29:59Z", None),
        (&warsaw, "2026-03-29T01:30:00Z", Some("2026-03-29T05:30:00Z")),
        (&warsaw, "2026-03-29T05:29:59Z", Some("2026-03-29T05:30:00Z")),
        (&warsaw, "2026-03-29T05:30:00Z", None),
        (&warsaw, "2026-04-05T00:30:00Z", Some("2026-04-05T04:30:00Z")),
        (&santiago, "2026-09-06T03:59:59Z", None),
        (&santiago, "2026-09-06T04:00:00Z", Some("2026-09-07T04:00:00Z")),
        (&santiago, "2026-09-13T03:00:00Z", Some("2026-09-14T03:00:00Z")),
        (&apia, "2011-12-30T22:00:00Z", Some("2011-12-30T23:00:00Z")),
    ];
    for (freeze, now, until) in table {
        let error = freeze.object(&target(), &Facts::default(), at(now));
        let found = error.map(|error| error.details["until"].as_str().unwrap().to_owned());
        assert_eq!(found.as_deref(), until, "{now}");
    }
}

#[test]
fn a_freeze_begins_at_both_when_the_clocks_repeat_an_hour() {
    // 02:00 to 03:00 is there twice in Warsaw on 2026-10-25, from 00:00 and from 01:00 UTC.
    let times = json!({"cron": "*/30 2 * * *", "lasts": "30m", "time_zone": "Europe/Warsaw"});
    let freeze = rule(json!({"freeze": times}));
    for (now, expected) in [
        ("2026-10-24T23:59:59Z", None),
        ("2026-10-25T00:00:00Z", Some(Code::GuardFrozen)),
        ("2026-10-25T00:59:59Z", Some(Code::GuardFrozen)),
        ("2026-10-25T01:00:00Z", Some(Code::GuardFrozen)),
        ("2026-10-25T01:59:59Z", Some(Code::GuardFrozen)),
        ("2026-10-25T02:00:00Z", None),
    ] {
        assert_eq!(code(&freeze, &Facts::default(), now), expected, "{now}");
    }
}

#[test]
fn a_freeze_holds_though_nothing_follows_it_for_years() {
    // There is no 29 February from 2096 to 2104, which is longer than the next time is looked for.
    let freeze = rule(json!({"freeze": {"cron": "0 0 29 2 *", "lasts": "24h"}}));
    assert_eq!(code(&freeze, &Facts::default(), "2096-02-29T12:00:00Z"), Some(Code::GuardFrozen));
    assert_eq!(code(&freeze, &Facts::default(), "2097-02-28T12:00:00Z"), None);
}

#[test]
fn freezes_that_overlap_end_with_the_last() {
    let freeze = rule(json!({"freeze": {"cron": "0 * * * *", "lasts": "90m"}}));
    let error = freeze.object(&target(), &Facts::default(), at("2026-11-22T12:10:00Z")).unwrap();
    assert_eq!(error.details["until"], "2026-11-22T13:30:00Z");
}

#[test]
fn a_dated_freeze_begins_and_ends() {
    let times = json!({"from": "2026-12-20T00:00:00Z", "until": "2027-01-02T00:00:00Z"});
    let freeze = rule(json!({"freeze": times}));
    assert_eq!(code(&freeze, &Facts::default(), "2026-12-19T23:59:59Z"), None);
    assert_eq!(code(&freeze, &Facts::default(), "2026-12-20T00:00:00Z"), Some(Code::GuardFrozen));
    assert_eq!(code(&freeze, &Facts::default(), "2027-01-02T00:00:00Z"), None);
}

#[test]
fn pods_and_budgets_are_counted() {
    let now = "2026-11-22T12:00:00Z";
    let pods = |wanted, unavailable, at_most_unavailable| Facts {
        availability: Some(Availability { wanted, unavailable, at_most_unavailable }),
        ..Facts::default()
    };
    let quarter = rule(json!({"max_unavailable": "25%"}));
    for (facts, expected) in [
        (pods(4, 0, 1), None),
        (pods(4, 0, 2), Some(Code::GuardAvailability)),
        (pods(4, 2, 0), Some(Code::GuardAvailability)),
        (pods(3, 0, 1), Some(Code::GuardAvailability)),
        (pods(3, 0, 0), None),
        (Facts::default(), Some(Code::GuardAvailability)),
    ] {
        assert_eq!(code(&quarter, &facts, now), expected, "{facts:?}");
    }
    let budget = |allowed, taken| Facts {
        disruption_budgets: vec![DisruptionBudget { name: "web".into(), disruptions_allowed: allowed }],
        ..pods(4, 0, taken)
    };
    let builtin = Guardrail::builtin();
    assert_eq!(code(&builtin, &budget(1, 1), now), None);
    assert_eq!(code(&builtin, &budget(0, 0), now), None, "what takes no pod away disrupts nothing");
    assert_eq!(code(&builtin, &budget(0, 1), now), Some(Code::GuardDisruptionBudget));
    let ignoring = read(json!({"name": "disruption-budgets", "disruption_budgets": "ignore"})).unwrap();
    let replaced = with_builtin(vec![ignoring]);
    assert_eq!(replaced.len(), 1);
    assert_eq!(code(&replaced[0], &budget(0, 1), now), None);

    let gitops = Some(GitOps { controller: "flux".into(), source: "flux-system/apps".into() });
    let managed = Facts { gitops, ..Facts::default() };
    assert_eq!(code(&rule(json!({"gitops": "refuse"})), &managed, now), Some(Code::GuardGitOpsManaged));
    assert_eq!(code(&rule(json!({"gitops": "allow"})), &managed, now), None);
    assert_eq!(code(&rule(json!({"gitops": "refuse"})), &Facts::default(), now), None);
}

#[test]
fn a_rule_is_for_its_tools_and_targets() {
    let objects = |tools: serde_json::Value, targets: serde_json::Value| {
        let times = json!({"from": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"});
        let rules = [rule(json!({"tools": tools, "targets": targets, "freeze": times}))];
        objections(&rules, &call(), &[], at("2026-06-01T00:00:00Z")).count()
    };
    assert_eq!(objects(json!([]), json!([])), 1);
    assert_eq!(objects(json!(["restart_service"]), json!(["kubernetes/prod/*/*/*"])), 1);
    assert_eq!(objects(json!(["scale_service"]), json!([])), 0);
    assert_eq!(objects(json!([]), json!(["kubernetes/prod/*/deployment/web*"])), 1);
    assert_eq!(objects(json!([]), json!(["kubernetes/prod/*/deployment/pay*", "kubernetes/test/*/*/*"])), 0);
    assert_eq!(objects(json!([]), json!(["kubernetes/*/default/*/*"])), 1);
}

#[test]
fn a_pattern_that_nothing_can_match_is_refused() {
    for text in [
        "kubernetes/prod/*/deployment/pay*",
        "*/*/*/*/*",
        "kube*/arn:aws:eks?x/team-*/*set/*-v?.example",
        "kubernetes/prod/default/deploy*/webapp",
        "kubernetes/prod/*/pod/webapp-*",
        "kubernetes/prod/node/worker-*",
        "kubernetes/*/*/*",
        "*/*/*/*",
        &format!("kubernetes/prod/{}*/namespace/*", "a".repeat(63)),
    ] {
        assert_eq!(TargetPattern::parse(text).unwrap().to_string(), text);
    }
    let table = [
        ("kubernetes/prod/Deployment/*", "five parts"),
        ("kubernetes/prod/default/deployment/web/app", "five parts"),
        ("kubernetes/prod//deployment/webapp", "namespace"),
        ("Kubernetes/prod/default/deployment/webapp", "`Kubernetes` is no system"),
        ("k8s*/prod/default/deployment/webapp", "`k8s*` is no system"),
        ("kubernetes/pro d/default/deployment/webapp", "`pro d` is no cluster"),
        ("kubernetes/prod/Default/deployment/webapp", "`Default` is no namespace"),
        ("kubernetes/prod/pay.*/deployment/webapp", "`pay.*` is no namespace"),
        ("kubernetes/prod/default/Deployment/webapp", "`Deployment` is no kind"),
        ("kubernetes/prod/default/deployments/webapp", "`deployments` is no kind"),
        ("kubernetes/prod/default/job*/webapp", "`job*` is no kind"),
        ("kubernetes/prod/nodes/worker-1", "five parts"),
        ("kubernetes/pro d/node/worker-1", "`pro d` is no cluster"),
        ("kubernetes/prod/node/Worker*", "`Worker*` is no name"),
        ("kubernetes/prod/default/pod.core/*", "`pod.core` is no kind"),
        ("kubernetes/prod/default/deployment/Web*", "`Web*` is no name"),
        ("kubernetes/prod/default/deployment/-*", "`-*` is no name"),
        ("kubernetes/prod/default/deployment/web\u{202e}", "`web\\u{202e}` is no name"),
    ];
    for (text, expected) in table {
        let error = TargetPattern::parse(text).unwrap_err();
        assert_eq!(error.code, Code::ConfigInvalid);
        assert!(error.message.contains(expected), "{text}: {}", error.message);
    }
}

#[test]
fn a_pattern_of_nodes_matches_nodes_and_nothing_else() {
    let matches = |pattern: &str, target: &str| {
        TargetPattern::parse(pattern).unwrap().matches(&target.parse().unwrap())
    };
    for (pattern, node, pod, flag) in [
        ("kubernetes/prod/node/*", true, false, false),
        ("kubernetes/prod/node/worker-?", true, false, false),
        ("kubernetes/test/node/*", false, false, false),
        ("kubernetes/prod/*/*", true, false, false),
        ("kubernetes/prod/*/*/*", false, true, false),
        ("kubernetes/prod/*/pod/web*", false, true, false),
        ("external/*/*/*", false, false, true),
        ("*/*/*/*", true, false, true),
    ] {
        let found = [
            matches(pattern, "kubernetes/prod/node/worker-1"),
            matches(pattern, "kubernetes/prod/default/pod/webapp-1"),
            matches(pattern, "external/unleash/flag/node"),
        ];
        assert_eq!(found, [node, pod, flag], "{pattern}");
    }
}

#[test]
fn cool_downs_count_by_target_and_budgets_together() {
    let cool = rule(json!({"cool_down": "10m"}));
    let budget = rule(json!({"budget": {"runs": 3, "per": "1h"}}));
    let all = allowances(&[cool, budget], &call());
    let keys: Vec<(&str, u32)> = all.iter().map(|one| (one.key.as_str(), one.limit)).collect();
    assert_eq!(keys, [("rule|kubernetes/prod/default/deployment/webapp", 1), ("rule", 3)]);
    let error = all[0].exhausted(at("2026-11-22T12:00:00Z"));
    assert_eq!(error.code, Code::GuardCoolDown);
    assert_eq!(error.details["until"], "2026-11-22T12:10:00Z");
    assert_eq!(all[1].exhausted(at("2026-11-22T12:00:00Z")).code, Code::GuardBudgetExhausted);
    assert_eq!(all[0].since(at("2026-11-22T12:10:00Z")), at("2026-11-22T12:00:00Z"));
}

#[test]
fn what_is_not_a_guardrail_says_what_is_wrong() {
    let table = [
        (json!({"name": "x"}), "exactly one of"),
        (json!({"name": "x", "cool_down": "1m", "gitops": "refuse"}), "exactly one of"),
        (json!({"name": "", "gitops": "refuse"}), "its name"),
        (json!({"name": "a|b", "gitops": "refuse"}), "its name"),
        (json!({"name": "x", "gitops": "perhaps"}), "perhaps"),
        (json!({"name": "x", "cool_down": "0s"}), "between a second and 366 days"),
        (json!({"name": "x", "cool_down": "-5m"}), "between a second and 366 days"),
        (json!({"name": "x", "cool_down": "soon"}), "no time such as `10m`"),
        (json!({"name": "x", "max_unavailable": "2"}), "`0%` to `100%`"),
        (json!({"name": "x", "max_unavailable": "101%"}), "`0%` to `100%`"),
        (json!({"name": "x", "budget": {"runs": 0, "per": "1h"}}), "at least 1"),
        (json!({"name": "x", "freeze": {"cron": "0 25 * * *", "lasts": "1h"}}), "freeze.cron"),
        (
            json!({"name": "x", "freeze": {"cron": "0 1 * * *", "lasts": "1h", "time_zone": "Mars/Base"}}),
            "`freeze.time_zone` is `Mars/Base`",
        ),
        (json!({"name": "x", "freeze": {"cron": "0 0 30 2 *", "lasts": "1h"}}), "never comes"),
        (json!({"name": "x", "freeze": {"cron": "* * * * *", "lasts": "8784h"}}), "more than 10000 times"),
        (json!({"name": "x", "freeze": {"cron": "* * * 12 *", "lasts": "168h"}}), "more than 10000 times"),
        (json!({"name": "x", "freeze": {"cron": "0 1 * * *"}}), "`from` and `until`"),
        (
            json!({"name": "x", "freeze": {"from": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}}),
            "after",
        ),
        (json!({"name": "x", "gitops": "refuse", "targets": ["webapp"]}), "five parts"),
        (json!({"name": "x", "gitops": "refuse", "tools": ["No Tool"]}), "No Tool"),
        (json!({"name": "x", "gitops": "refuse", "target": []}), "unknown field"),
    ];
    for (table, expected) in table {
        let error = read(table.clone()).unwrap_err();
        assert!(error.contains(expected), "{table}: {error}");
    }
    for cron in ["* * * * *", "0 0 29 2 *", "0 0 * FEB MON#5"] {
        let table = json!({"name": "x", "freeze": {"cron": cron, "lasts": "24h"}});
        assert!(read(table.clone()).is_ok(), "{table}");
    }
    assert!(matches!(rule(json!({"max_unavailable": "0%"})).rule, Rule::MaxUnavailable(0)));
}
