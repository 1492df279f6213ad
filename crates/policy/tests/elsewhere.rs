//! Targets outside of clusters, and objects that are no workloads: nothing built in permits a write to them.

mod support;

use astradesk_core::{Code, Decision};
use astradesk_policy::{CedarPolicy, PolicySources};
use astradesk_runtime::port::{Policy, SystemClock};
use serde_json::json;
use std::sync::Arc;
use support::{Ask, built_in, principal, settings, tools};

const FLAG: &str = "external/unleash/flag/webapp";
const INGRESS: &str = "kubernetes/prod/default/ingress.networking.k8s.io/webapp";
const NODE: &str = "kubernetes/prod/node/webapp";
const POD: &str = "kubernetes/prod/default/pod/webapp";
const WEBAPP: &str = support::WEBAPP;

fn code(decision: &Decision) -> Option<Code> {
    match decision {
        Decision::Deny { error, .. } => Some(error.code),
        Decision::Permit { .. } | Decision::NeedsApproval { .. } => None,
    }
}

#[test]
fn the_allowlist_is_of_workloads() {
    let policy = built_in(&settings("webapp"));
    let sre = principal("ada", &["sre"]);
    let other = "kubernetes/prod/default/ingress.networking.k8s.io/other";
    let decision = Ask::new(&sre, "restart_service", json!({"service": "x"}), &[other]).decide(&policy);
    assert_eq!(
        code(&decision),
        Some(Code::PolicyDenied),
        "it is not the allowlist that is missing: {decision:?}"
    );
    for (tool, target, expected) in [
        ("restart_service", WEBAPP, None),
        ("restart_service", FLAG, Some(Code::PolicyDenied)),
        ("restart_service", INGRESS, Some(Code::PolicyDenied)),
        ("restart_service", NODE, Some(Code::PolicyDenied)),
        ("restart_service", POD, Some(Code::PolicyDenied)),
        ("get_service_status", INGRESS, None),
        ("get_service_status", POD, None),
        ("get_service_status", NODE, Some(Code::PolicyDenied)),
        ("get_service_status", FLAG, Some(Code::PolicyDenied)),
    ] {
        let decision = Ask::new(&sre, tool, json!({"service": "x"}), &[target]).decide(&policy);
        assert_eq!(code(&decision), expected, "{tool} {target}: {decision:?}");
    }
}

#[test]
fn policies_speak_of_them_by_their_parts() {
    let folder = tempfile::tempdir().unwrap();
    let text = "permit (principal, action == Action::\"restart_service\", resource)\n\
                when { resource.system == \"unleash\" && resource.kind == \"flag\" && resource.name like \"web*\" \
                && resource.namespace == \"\" && resource.cluster == \"\" };";
    std::fs::write(folder.path().join("flags.cedar"), text).unwrap();
    let dir = Some(folder.path().to_owned());
    let sources = PolicySources { settings: settings("webapp"), dir, ..PolicySources::default() };
    let policy = CedarPolicy::open(sources, tools(), Arc::new(SystemClock));
    assert_eq!(policy.status().problem, None);
    let anybody = principal("eve", &[]);
    for (target, permitted) in [
        (FLAG, true),
        ("external/unleash/flag/api", false),
        ("external/flagd/flag/webapp", false),
        (WEBAPP, false),
    ] {
        let decision =
            Ask::new(&anybody, "restart_service", json!({"service": "x"}), &[target]).decide(&policy);
        assert_eq!(code(&decision).is_none(), permitted, "{target}: {decision:?}");
    }
}

#[test]
fn every_target_of_a_call_must_be_permitted_so_a_pod_goes_with_its_service() {
    let folder = tempfile::tempdir().unwrap();
    let text = "permit (principal in Role::\"sre\", action == Action::\"restart_service\", resource)\n\
                when { resource.kind == \"pod\" && resource.namespace == \"default\" };\n\
                permit (principal in Role::\"sre\", action == Action::\"restart_service\", resource)\n\
                when { resource == Target::\"kubernetes/prod/node/webapp\" && resource.namespace == \"\" };";
    std::fs::write(folder.path().join("pods.cedar"), text).unwrap();
    let dir = Some(folder.path().to_owned());
    let sources = PolicySources { settings: settings("webapp"), dir, ..PolicySources::default() };
    let policy = CedarPolicy::open(sources, tools(), Arc::new(SystemClock));
    let status = policy.status();
    assert_eq!((&status.problem, &status.warnings), (&None, &Vec::new()));
    let sre = principal("ada", &["sre"]);
    let other = "kubernetes/prod/default/deployment/other";
    for (targets, expected) in [
        (vec![POD, WEBAPP], None),
        (vec![POD, other], Some(Code::PolicyDenied)),
        (vec![NODE], None),
        (vec!["kubernetes/prod/node/other"], Some(Code::PolicyDenied)),
    ] {
        let decision = Ask::new(&sre, "restart_service", json!({"service": "x"}), &targets).decide(&policy);
        assert_eq!(code(&decision), expected, "{targets:?}: {decision:?}");
    }
}

#[test]
fn a_tool_of_another_version_is_not_known() {
    let policy = built_in(&settings("webapp"));
    let sre = principal("ada", &["sre"]);
    let mut ask = Ask::new(&sre, "restart_service", json!({"service": "x"}), &[WEBAPP]);
    assert_eq!(code(&ask.decide(&policy)), None);
    ask.call.version = "2".to_owned();
    assert_eq!(code(&ask.decide(&policy)), Some(Code::PolicyDenied));

    // With tools that the policies do not fit, nothing changes; with others, the swap happens once.
    let folder = tempfile::tempdir().unwrap();
    let text = "permit (principal, action == Action::\"restart_service\", resource) when { context.arguments.service == \"x\" };";
    std::fs::write(folder.path().join("x.cedar"), text).unwrap();
    let dir = Some(folder.path().to_owned());
    let sources = PolicySources { settings: settings("webapp"), dir, ..PolicySources::default() };
    let policy = CedarPolicy::open(sources, tools(), Arc::new(SystemClock));
    let before = policy.status();
    let changed = |schema: serde_json::Value, version: &str| {
        let mut all = tools();
        let tool = all.iter_mut().find(|tool| tool.name.as_str() == "restart_service").unwrap();
        let mut spec = astradesk_core::ToolSpec::clone(tool);
        (spec.input_schema, spec.version) = (schema, version.to_owned());
        *tool = Arc::new(spec);
        all
    };
    let mut swaps = 0;
    let unfit = json!({"type": "object", "additionalProperties": false, "properties": {}});
    assert!(policy.adopt_tools(changed(unfit, "2"), &mut || swaps += 1).is_err());
    assert_eq!((swaps, policy.status()), (0, before));
    assert_eq!(policy.reload(), Ok(false), "nor is it tried again");
    let fit = json!({"type": "object", "additionalProperties": false, "required": ["service"], "properties": {"service": {"type": "string"}}});
    policy.adopt_tools(changed(fit, "2"), &mut || swaps += 1).unwrap();
    assert_eq!((swaps, code(&ask.decide(&policy))), (1, None));
    let spec = |name: &str| tools().into_iter().find(|tool| tool.name.as_str() == name).unwrap();
    assert!(policy.could_permit(&spec("restart_service")) && !policy.could_permit(&spec("list_services")));
}
