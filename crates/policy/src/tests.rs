//! What only the inside of the crate can show: that the index leaves out nothing that matters, and that nothing
//! is left out of a request that a policy asks for.

use crate::index::Index;
use crate::needs::Needs;
use crate::parse;
use crate::request::Question;
use crate::scan;
use crate::set::Set;
use crate::source::{File, PolicySources};
use crate::tally::Tally;
use crate::verdict::Verdict;
use crate::{CedarPolicy, Settings};
use astradesk_core::tool::Grammar;
use astradesk_core::{
    Call, Decision, Effect, Facts, FrozenCall, Principal, RoleName, Source, Timestamp, ToolName, ToolSpec,
};
use astradesk_runtime::port::{Policy as _, PolicyRequest, SystemClock};
use cedar_policy::AuthorizationError;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

fn tools() -> Vec<Arc<ToolSpec>> {
    let tool = |name: &str, effect| {
        Arc::new(ToolSpec {
            name: ToolName::parse(name).unwrap(),
            version: "1".to_owned(),
            description: String::new(),
            effect: Some(effect),
            input_schema: serde_json::json!({
                "type": "object", "properties": {"service": {"type": "string"}, "replicas": {"type": "integer"}},
            }),
            timeout: Duration::from_secs(1),
            grammar: Grammar::default(),
        })
    };
    vec![tool("get_status", Effect::Read), tool("restart", Effect::Write), tool("scale", Effect::Write)]
}

/// A set of policies that were not validated, so that they can fail.
fn unvalidated(text: &str) -> Set {
    let mut set = Set::compile(&PolicySources::default(), &[], &tools()).unwrap();
    let parsed = parse::file("site.cedar", text).unwrap();
    let (policies, places) = parse::together(&parsed).unwrap();
    set.index = Index::default();
    for policy in policies.policies() {
        let scan = scan::scan(policy).unwrap();
        set.needs.add(scan.needs);
        set.index.add(policy, &scan).unwrap();
    }
    set.policies = policies;
    set.places = places;
    set
}

fn principal(roles: &[&str]) -> Principal {
    Principal {
        subject: "ada".to_owned(),
        issuer: "test".to_owned(),
        roles: roles.iter().map(|role| RoleName::parse(*role).unwrap()).collect(),
        actor: None,
    }
}

fn call(tool: &str, effect: Effect, target: &str) -> FrozenCall {
    let arguments = serde_json::json!({"service": "webapp"}).as_object().unwrap().clone();
    let call = Call { tool: ToolName::parse(tool).unwrap(), arguments };
    FrozenCall::new(call, "1".to_owned(), effect, vec![target.parse().unwrap()])
}

fn request<'a>(principal: &'a Principal, call: &'a FrozenCall, facts: &'a [Facts]) -> PolicyRequest<'a> {
    PolicyRequest {
        principal,
        source: Source::Http,
        planner: "direct",
        call,
        facts,
        approvals: &[],
        break_glass: false,
        dry_run: false,
        now: Timestamp::UNIX_EPOCH,
    }
}

/// What Cedar says with every policy of the set and everything in the request.
fn in_full(set: &Set, question: &Question<'_>) -> (bool, Verdict) {
    let asked = set.types.ask(question, Needs::ALL, None).unwrap();
    let response = set.authorizer.is_authorized(&asked.request, &set.policies, &asked.entities);
    let mut reasons: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    let mut failed: Vec<String> = response
        .diagnostics()
        .errors()
        .map(|error| {
            let AuthorizationError::PolicyEvaluationError(error) = error;
            error.policy_id().to_string()
        })
        .collect();
    reasons.sort();
    failed.sort();
    let allowed = response.decision() == cedar_policy::Decision::Allow;
    let (permits, forbids) = if allowed { (reasons, Vec::new()) } else { (Vec::new(), reasons) };
    (allowed, Verdict { permits, forbids, failed, unaskable: false })
}

/// What Cedar says in full, and what is said by the index.
fn both(set: &Set, request: &PolicyRequest<'_>) -> ((bool, Verdict), Verdict) {
    let found = set.each_target(request, true, &Tally::default(), |matter| {
        (in_full(set, &matter.question), set.verdict(&matter, matter.question.tally))
    });
    found.unwrap().remove(0)
}

fn scope() -> impl Strategy<Value = String> {
    let principal = prop::sample::select(vec![
        "principal",
        "principal == Principal::\"test#ada\"",
        "principal == Principal::\"test#eve\"",
        "principal in Role::\"a\"",
        "principal in Role::\"b\"",
        "principal is Principal in Role::\"a\"",
        "principal in Principal::\"test#ada\"",
        "principal is Role",
    ]);
    let action = prop::sample::select(vec![
        "action",
        "action == Action::\"restart\"",
        "action == Action::\"write\"",
        "action in Action::\"write\"",
        "action in [Action::\"read\", Action::\"scale\"]",
        "action in [Action::\"restart\", Action::\"write\"]",
        "action in []",
    ]);
    let resource = prop::sample::select(vec![
        "resource",
        "resource == Target::\"kubernetes/c/default/deployment/webapp\"",
        "resource in Target::\"kubernetes/c/shop/deployment/webapp\"",
        "resource is Target",
    ]);
    (principal, action, resource).prop_map(|(p, a, r)| format!("({p}, {a}, {r})"))
}

fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "resource.namespace == \"default\"",
        "\"shop\" == resource.namespace",
        "resource.name == \"webapp\"",
        "resource.name == \"cart\"",
        "resource.kind == \"deployment\"",
        "resource == Target::\"kubernetes/c/default/deployment/webapp\"",
        "principal in Role::\"b\"",
        "principal in [Role::\"a\", Role::\"b\", Principal::\"test#eve\"]",
        "principal == Principal::\"test#ada\"",
        "context.tool == \"restart\"",
        // Fails always, or sometimes.
        "context.nope == 1",
        "resource.owner == \"team\"",
        "context.arguments.replicas > 1",
        "principal.subject",
        "(resource has tier && resource.tier == \"x\")",
        "[\"webapp\"].contains(resource.name)",
        "(resource.name == \"cart\" || resource.nope == 1)",
        "!(resource.name == \"cart\")",
        "context.approvals.count >= 1",
        "context.approvals.hasTag(\"sre\")",
        "context.now > datetime(\"2020-01-01\")",
        "resource.hasTag(\"app\")",
        "context == context",
        "{a: context}.a.source == \"http\"",
        "context.time >= 0",
    ])
}

fn policy() -> impl Strategy<Value = String> {
    let clause =
        (prop::sample::select(vec!["when", "when", "when", "unless"]), prop::collection::vec(part(), 1..4));
    let clause = clause.prop_map(|(kind, parts)| format!("{kind} {{ {} }}", parts.join(" && ")));
    (prop::sample::select(vec!["permit", "forbid"]), scope(), prop::collection::vec(clause, 0..3))
        .prop_map(|(effect, scope, clauses)| format!("{effect} {scope} {};", clauses.join(" ")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The index and the smaller request change nothing: the same decision, and the same policies decide and fail,
    /// as with the whole set and everything in the request.
    #[test]
    fn the_index_changes_no_decision(policies in prop::collection::vec(policy(), 1..8)) {
        let set = unvalidated(&policies.join("\n"));
        let facts = [Facts::default()];
        for roles in [&[][..], &["a"], &["b", "c"], &["a", "b"]] {
            for (tool, effect) in [("restart", Effect::Write), ("scale", Effect::Write), ("get_status", Effect::Read)] {
                for target in ["default/deployment/webapp", "shop/deployment/webapp", "default/deployment/cart"] {
                    let target = format!("kubernetes/c/{target}");
                    let (principal, call) = (principal(roles), call(tool, effect, &target));
                    let found = both(&set, &request(&principal, &call, &facts));
                    let ((allowed, full), indexed) = found;
                    // Cedar skips what fails; here it denies. Cedar tells what forbids, or else what permits.
                    prop_assert_eq!(indexed.permitted(), allowed && full.failed.is_empty());
                    prop_assert_eq!(&indexed.failed, &full.failed);
                    prop_assert_eq!(&indexed.forbids, &full.forbids);
                    if allowed {
                        prop_assert_eq!(&indexed.permits, &full.permits);
                    }
                }
            }
        }
    }
}

/// What stands behind a part that can fail is no key: the policy fails before it comes to it.
#[test]
fn a_key_behind_what_can_fail_is_none() {
    let permit = "permit (principal, action, resource);";
    let (principal, call) =
        (principal(&["a"]), call("restart", Effect::Write, "kubernetes/c/default/deployment/webapp"));
    let failed = |condition: &str| {
        let set =
            unvalidated(&format!("{permit} @id(\"x\") forbid (principal, action, resource) {condition};"));
        let ((_, full), indexed) = both(&set, &request(&principal, &call, &[Facts::default()]));
        assert_eq!(full.failed, indexed.failed, "{condition}");
        !indexed.failed.is_empty()
    };
    for key in ["resource.name == \"cart\"", "resource.namespace == \"x\"", "principal in Role::\"z\""] {
        assert!(failed(&format!("when {{ context.nope == 1 && {key} }}")), "{key}");
        assert!(failed(&format!("when {{ context.nope == 1 }} when {{ {key} }}")), "{key}");
        assert!(failed(&format!("when {{ (true || {key}) && context.nope == 1 }}")), "{key}");
        assert!(failed(&format!("unless {{ {key} }} when {{ context.nope == 1 }}")), "{key}");
        assert!(!failed(&format!("when {{ {key} && context.nope == 1 }}")), "{key}");
    }
}

#[test]
fn a_policy_that_fails_denies_whatever_the_others_permit() {
    let permit = "@id(\"p\") permit (principal, action, resource);";
    let principal = principal(&[]);
    let call = call("restart", Effect::Write, "kubernetes/c/default/deployment/webapp");
    let decide = |text: &str| unvalidated(text).decide(&request(&principal, &call, &[Facts::default()]));
    assert!(matches!(decide(permit), Decision::Permit { .. }));
    for failing in [
        "@id(\"site.x\") forbid (principal, action, resource) when { context.nope == 1 };",
        "@id(\"site.x\") permit (principal, action, resource) when { context.nope == 1 };",
        "@id(\"site.x\") forbid (principal, action, resource) when { context.arguments.replicas > 3 };",
    ] {
        let Decision::Deny { error, reasons } = decide(&format!("{permit}{failing}")) else {
            panic!("{failing}")
        };
        assert_eq!(error.code, astradesk_core::Code::PolicyEvaluationFailed);
        assert!(error.message.starts_with("the policy `site.x` cannot be evaluated"), "{}", error.message);
        assert_eq!(reasons.len(), 1);
    }
}

#[test]
fn a_policy_that_fails_only_once_approvals_are_there_denies() {
    let text = "@id(\"p\") permit (principal, action, resource) when { context.approvals.count >= 1 };\
                @id(\"x\") forbid (principal, action, resource)
                when { context.approvals.count >= 1 && context.nope == 1 };";
    let (principal, call) =
        (principal(&[]), call("restart", Effect::Write, "kubernetes/c/default/deployment/webapp"));
    let decision = unvalidated(text).decide(&request(&principal, &call, &[Facts::default()]));
    let Decision::Deny { error, .. } = decision else { panic!("{decision:?}") };
    assert_eq!(error.code, astradesk_core::Code::PolicyEvaluationFailed);
}

#[test]
fn the_search_for_approvals_is_bounded() {
    let roles = (0..20).map(|i| format!("context.approvals.hasTag(\"r{i}\")"));
    let text = format!(
        "permit (principal, action, resource) when {{ context.approvals.count >= 8 && ({}) }};",
        roles.collect::<Vec<_>>().join(" || ")
    );
    let (principal, call) =
        (principal(&[]), call("restart", Effect::Write, "kubernetes/c/default/deployment/webapp"));
    let decision = unvalidated(&text).decide(&request(&principal, &call, &[Facts::default()]));
    let Decision::NeedsApproval { required, .. } = decision else { panic!("{decision:?}") };
    assert_eq!((required.count, required.roles.len()), (8, 1));
}

#[test]
fn every_kind_of_request_fits_the_schema() {
    let text = "permit (principal, action, resource) when { {a: context}.a.source == \"http\" };";
    let file = File { name: "all.cedar".to_owned(), text: text.to_owned() };
    let set = Set::compile(&PolicySources::default(), &[file], &tools()).unwrap();
    assert_eq!(set.needs, Needs::ALL);
    let facts = Facts {
        owner: Some("team".to_owned()),
        tier: Some("critical".to_owned()),
        labels: [("app".to_owned(), "web".to_owned())].into(),
        ..Facts::default()
    };
    let agent = Principal { actor: Some("bot".to_owned()), ..principal(&["a"]) };
    let call = call("restart", Effect::Write, "kubernetes/c/default/deployment/webapp");
    let tally = Tally { count: 2, roles: [("sre".to_owned(), 1)].into() };
    for as_tool in [true, false] {
        let fits = set.each_target(
            &request(&agent, &call, std::slice::from_ref(&facts)),
            as_tool,
            &tally,
            |matter| set.types.ask(&matter.question, Needs::ALL, Some(&set.schema)).is_ok(),
        );
        assert_eq!(fits.unwrap(), [true]);
    }
}

#[test]
fn a_tool_that_has_changed_is_not_known() {
    let policy = CedarPolicy::open(
        PolicySources { settings: Settings::default(), ..PolicySources::default() },
        tools(),
        Arc::new(SystemClock),
    );
    let principal = principal(&["sre"]);
    let target = "kubernetes/c/default/deployment/webapp";
    for (tool, effect, known) in [
        ("get_status", Effect::Read, true),
        ("restart", Effect::Read, false),
        ("nothing", Effect::Read, false),
    ] {
        let call = call(tool, effect, target);
        let decision = policy.decide(&request(&principal, &call, &[]));
        match decision {
            Decision::Permit { .. } => assert!(known, "{tool}"),
            Decision::Deny { error, .. } => {
                assert!(
                    !known && error.message.starts_with("the policies in force know no tool"),
                    "{}",
                    error.message
                );
            }
            Decision::NeedsApproval { .. } => panic!("{tool}"),
        }
    }
}
