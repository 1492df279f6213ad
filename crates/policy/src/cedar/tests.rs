//! What the built-in policies alone cannot bring about: policies that forbid, and policies that fail.

use super::*;
use astradesk_core::RoleName;
use astradesk_core::{Call, FrozenCall, Source, Timestamp, ToolName};

/// What is decided on a read that `builtin.read` permits, when `more` policies stand beside it, unvalidated.
fn with(more: &str) -> Decision {
    let settings = Settings::default();
    let sound = CedarPolicy::compile(&settings).unwrap();
    let policies = parse(&format!("{}{more}", builtin::policies(&settings, &sound.role))).unwrap();
    let policy = CedarPolicy::with(settings, sound.schema.clone(), policies, sound.role.clone()).unwrap();
    let call =
        Call { tool: ToolName::parse("get_service_status").unwrap(), arguments: serde_json::Map::new() };
    let target = "kubernetes/prod/default/deployment/webapp".parse().unwrap();
    policy.decide(&PolicyRequest {
        principal: &Principal {
            subject: "ada".to_owned(),
            issuer: "test".to_owned(),
            roles: [RoleName::parse("sre").unwrap()].into(),
            actor: None,
        },
        source: Source::Http,
        planner: "direct",
        call: &FrozenCall::new(call, "1".to_owned(), Effect::Read, vec![target]),
        facts: &[],
        approvals: &[],
        break_glass: false,
        dry_run: false,
        now: Timestamp::UNIX_EPOCH,
    })
}

fn denied(decision: Decision) -> (Code, String, Vec<String>) {
    let Decision::Deny { error, reasons } = decision else { panic!("{decision:?}") };
    (error.code, error.message, reasons.into_iter().map(|reason| reason.policy).collect())
}

#[test]
fn a_policy_that_fails_denies_whatever_the_others_permit() {
    assert!(matches!(with(""), Decision::Permit { .. }));
    for effect in ["forbid", "permit"] {
        let more =
            format!("@id(\"site.x\") {effect}(principal, action, resource) when {{ context.nope == 1 }};");
        let (code, message, reasons) = denied(with(&more));
        assert_eq!(code, Code::PolicyEvaluationFailed);
        assert!(message.starts_with("the policy `site.x` cannot be evaluated"), "{message}");
        assert_eq!(reasons, ["site.x"]);
    }
}

#[test]
fn a_policy_that_forbids_is_named() {
    let (code, message, reasons) =
        denied(with(r#"@id("site.freeze") forbid(principal, action, resource) when { context.time < 10 };"#));
    assert_eq!(code, Code::PolicyDenied);
    assert!(message.contains("`site.freeze` forbids `get_service_status`"), "{message}");
    assert_eq!(reasons, ["site.freeze"]);
    let not_yet = "forbid(principal, action, resource) when { context.time > 10 };";
    assert!(matches!(with(not_yet), Decision::Permit { .. }));
}

#[test]
fn two_policies_of_one_name_are_refused() {
    assert_eq!(
        parse(
            "@id(\"x\") permit(principal, action, resource); @id(\"x\") forbid(principal, action, resource);"
        )
        .unwrap_err()
        .code,
        Code::ConfigInvalid
    );
}
