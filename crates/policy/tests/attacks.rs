//! What somebody may try, and what must not come of it.

mod support;

use astradesk_core::approval::MAX_APPROVALS;
use astradesk_core::{Decision, Facts, Principal};
use astradesk_policy::CedarPolicy;
use astradesk_runtime::port::Policy;
use serde_json::json;
use support::{Ask, PAYMENTS, WEBAPP, agent, approval, line, principal, with};

const TWO_EYES: &str = r#"
@id("two")
permit (principal in Role::"dev", action in Action::"write", resource)
when { context.approvals.count >= 1 };
"#;

fn dev() -> Principal {
    principal("dan", &["dev"])
}

fn is_asked(policy: &CedarPolicy, ask: &Ask) -> bool {
    matches!(ask.decide(policy), Decision::NeedsApproval { .. })
}

#[test]
fn arguments_cannot_say_who_asks_or_who_agreed() {
    let policy = with(TWO_EYES);
    let lies = json!({"service": "webapp", "roles": ["sre", "oncall"], "approvals": 5});
    let stranger = Ask::new(&principal("eve", &[]), "restart_service", lies.clone(), &[WEBAPP]);
    assert_eq!(line(&stranger.decide(&policy)), "deny  policy.role_required");
    assert!(is_asked(&policy, &Ask::new(&dev(), "restart_service", lies, &[WEBAPP])));
}

#[test]
fn the_same_person_by_any_token_and_their_agent_agree_to_nothing() {
    let policy = with(TWO_EYES);
    let mut ask = Ask::restart(&dev());
    let mut second_token = approval("dan", &["sre"]);
    "https://other.example".clone_into(&mut second_token.by.issuer);
    let mut other_case = approval("DAN", &["sre"]);
    other_case.by.roles.clear();
    let mut own_agent = approval("kim", &["sre"]);
    own_agent.by.actor = Some("dan".to_owned());
    let mut any_agent = approval("kim", &["sre"]);
    any_agent.by.actor = Some("bot".to_owned());
    for by in [approval("dan", &["sre"]), second_token, other_case, own_agent, any_agent] {
        ask.approvals = vec![by.clone()];
        assert!(is_asked(&policy, &ask), "{:?}", by.by);
    }
    ask.approvals = vec![approval("kim", &[])];
    assert_eq!(line(&ask.decide(&policy)), "permit  two");
    // For an agent, nor does the person behind it.
    let mut ask = Ask::restart(&agent("dan", &["dev"]));
    ask.approvals = vec![approval("dan", &["sre"]), approval("bot", &["sre"])];
    assert!(is_asked(&policy, &ask));
}

#[test]
fn one_person_who_agrees_twice_counts_once() {
    let policy = with(&TWO_EYES.replace(">= 1", ">= 2"));
    let mut ask = Ask::restart(&dev());
    ask.approvals = vec![approval("kim", &["sre"]), approval("Kim", &["dev"])];
    assert!(is_asked(&policy, &ask));
    ask.approvals.push(approval("lou", &[]));
    assert_eq!(line(&ask.decide(&policy)), "permit  two");
}

#[test]
fn every_target_must_be_permitted_and_the_most_is_asked_for() {
    let policy = with(
        r#"
        @id("one") permit (principal in Role::"dev", action in Action::"write", resource)
        when { resource.name == "webapp" && context.approvals.count >= 1 };
        @id("two") permit (principal in Role::"dev", action in Action::"write", resource)
        when {
            resource.name == "payments" && context.approvals.hasTag("sre")
            && context.approvals.getTag("sre") >= 2
        };"#,
    );
    let arguments = json!({"service": "webapp"});
    let both = Ask::new(&dev(), "restart_service", arguments.clone(), &[WEBAPP, PAYMENTS]);
    let Decision::NeedsApproval { required, reasons } = both.decide(&policy) else { panic!() };
    assert_eq!((required.count, required.to_string()), (2, "2 approvals by `sre`".to_owned()));
    assert_eq!(reasons.len(), 2);
    let one_forbidden =
        Ask::new(&dev(), "restart_service", arguments, &[WEBAPP, "kubernetes/prod/default/deployment/x"]);
    assert_eq!(line(&one_forbidden.decide(&policy)), "deny  policy.denied");
}

#[test]
fn the_least_that_is_enough_is_asked_for() {
    for (condition, wanted) in [
        ("context.approvals.count >= 3", "3 approvals"),
        ("context.approvals.hasTag(\"a\")", "1 approval by `a`"),
        ("context.approvals.hasTag(\"a\") && context.approvals.getTag(\"a\") >= 2", "2 approvals by `a`"),
        ("context.approvals.count >= 3 && context.approvals.hasTag(\"a\")", "3 approvals, 1 of them by `a`"),
        (
            "context.approvals.hasTag(\"a\") && context.approvals.hasTag(\"b\")",
            "1 approval by `a` and 1 by `b`",
        ),
        (
            "(context.approvals.hasTag(\"a\") && context.approvals.getTag(\"a\") >= 2) || context.approvals.hasTag(\"b\")",
            "1 approval by `b`",
        ),
        (
            "(context.approvals.hasTag(\"b\") && context.approvals.getTag(\"b\") >= 2) || context.approvals.hasTag(\"a\")",
            "1 approval by `a`",
        ),
    ] {
        let policy = with(&format!(
            "@id(\"p\") permit (principal in Role::\"dev\", action in Action::\"write\", resource) when {{ {condition} }};"
        ));
        let decision = Ask::restart(&dev()).decide(&policy);
        let Decision::NeedsApproval { required, .. } = decision else { panic!("{condition}: {decision:?}") };
        assert_eq!(required.to_string(), wanted, "{condition}");
    }
}

#[test]
fn more_than_can_be_asked_for_or_less_than_there_is_is_a_denial() {
    let restart = |text: &str, given: &[&str]| {
        let mut ask = Ask::restart(&dev());
        ask.approvals = given.iter().map(|name| approval(name, &["sre"])).collect();
        line(&ask.decide(&with(text)))
    };
    let too_many = TWO_EYES.replace(">= 1", &format!(">= {}", MAX_APPROVALS + 1));
    assert_eq!(restart(&too_many, &[]), "deny  policy.denied");
    // Approvals that a policy holds against the call: nobody is asked for fewer.
    let against = format!(
        "{TWO_EYES} @id(\"against\") forbid (principal, action, resource) \
         when {{ context.approvals.count == 2 }};"
    );
    assert_eq!(restart(&against, &["kim", "lou"]), "deny  policy.denied  against");
}

#[test]
fn facts_that_were_not_looked_up_deny() {
    let policy = with(
        "@id(\"critical\") forbid (principal, action in Action::\"write\", resource)
         when { resource has tier && resource.tier == \"critical\" };",
    );
    assert!(policy.needs_facts());
    let mut ask = Ask::restart(&principal("ada", &["sre"]));
    assert_eq!(line(&ask.decide(&policy)), "permit  builtin.write");
    ask.facts = vec![Facts { tier: Some("critical".to_owned()), ..Facts::default() }];
    assert_eq!(line(&ask.decide(&policy)), "deny  policy.denied  critical");
    ask.facts = Vec::new();
    assert_eq!(line(&ask.decide(&policy)), "deny  policy.evaluation_failed");
    // What no policy asks for need not be there.
    assert!(!with(TWO_EYES).needs_facts());
    assert_eq!(line(&ask.decide(&with(TWO_EYES))), "permit  builtin.write");
}

#[test]
fn an_argument_that_cedar_cannot_hold_denies() {
    let policy = with(
        "@id(\"p\") permit (principal, action == Action::\"run_playbook\", resource);
         @id(\"f\") forbid (principal, action == Action::\"run_playbook\", resource)
         when { context.arguments has forks && context.arguments.forks > 10 };",
    );
    let run = |forks: serde_json::Value| {
        let arguments = json!({"playbook": "x", "forks": forks});
        line(&Ask::new(&dev(), "run_playbook", arguments, &[WEBAPP]).decide(&policy))
    };
    assert_eq!(run(json!(5)), "permit  p");
    assert_eq!(run(json!(5.0)), "permit  p");
    assert_eq!(run(json!(11)), "deny  policy.denied  f");
    for beyond in [json!(u64::MAX), json!(1e300), json!("11"), json!(10.5)] {
        assert_eq!(run(beyond), "deny  policy.evaluation_failed");
    }
}

#[test]
fn breaking_the_glass_takes_a_policy_of_its_own() {
    let sre = principal("ada", &["sre"]);
    let ask = Ask::restart(&sre);
    let broken = |text: &str| match with(text).may_break_glass(&ask.request()) {
        Ok(reasons) => reasons.into_iter().map(|reason| reason.policy).collect::<Vec<_>>().join(" "),
        Err(error) => error.code.to_string(),
    };
    let permit =
        "@id(\"glass\") permit (principal in Role::\"sre\", action == Action::\"break_glass\", resource);";
    assert_eq!(broken(TWO_EYES), "policy.break_glass_denied");
    assert_eq!(
        broken("permit (principal, action in Action::\"write\", resource);"),
        "policy.break_glass_denied"
    );
    assert_eq!(broken(permit), "glass");
    let forbid = "@id(\"no\") forbid (principal, action == Action::\"break_glass\", resource) \
                  when { context.tool == \"restart_service\" };";
    assert_eq!(broken(&format!("{permit}{forbid}")), "policy.break_glass_denied");
    // A permit to break the glass permits nothing else.
    let other = Ask::new(&principal("eve", &["sre"]), "run_playbook", json!({"playbook": "x"}), &[WEBAPP]);
    assert_eq!(line(&other.decide(&with(permit))), "deny  policy.denied");
}

#[test]
fn whoever_may_ask_may_approve() {
    let policy = with(TWO_EYES);
    let ask = Ask::restart(&principal("pat", &["dev"]));
    for (roles, may) in [(&["dev"][..], true), (&["sre"], true), (&["viewer"], false), (&[], false)] {
        assert_eq!(policy.may_approve(&principal("kim", roles), &ask.request()), may, "{roles:?}");
    }
}

#[test]
fn what_is_shown_follows_the_policies() {
    let policy = with(
        "permit (principal in Role::\"dev\", action == Action::\"restart_service\", resource) when { context.time < 0 };
         permit (principal == Principal::\"https://issuer.example#pia\", action in Action::\"execute\", resource);",
    );
    let shown = |principal: &Principal| {
        let may_use = |spec: &&std::sync::Arc<astradesk_core::ToolSpec>| policy.may_use(principal, spec);
        support::tools()
            .iter()
            .filter(may_use)
            .map(|spec| spec.name.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(shown(&dev()), "restart_service");
    assert_eq!(shown(&principal("pia", &[])), "run_playbook");
    assert_eq!(shown(&principal("eve", &["x"])), "");
    let reads = "get_metrics query_metrics get_service_logs get_service_status list_services";
    assert_eq!(shown(&principal("vic", &["viewer"])), reads);
}

#[test]
fn an_explanation_names_who_decided_and_what_would_change_it() {
    let policy = with(&format!(
        "{TWO_EYES}\n@id(\"freeze\") @description(\"no change today\") forbid (principal, action in Action::\"write\", resource)\n\
         when {{ resource.name == \"payments\" }};"
    ));
    let explained = |principal: &Principal, target| {
        let ask = Ask::new(principal, "restart_service", json!({"service": "webapp"}), &[target]);
        policy.explain(&ask.request())
    };
    let eve = explained(&principal("eve", &[]), WEBAPP);
    assert_eq!(
        eve.otherwise,
        [
            "with the role `sre` it would be permitted",
            "with the role `dev` and 1 approval it would be permitted"
        ]
    );
    let dan = explained(&dev(), WEBAPP);
    assert_eq!(dan.otherwise, ["it would be permitted with 1 approval"]);
    assert_eq!(
        (dan.policies[0].policy.as_str(), dan.policies[0].file.as_deref()),
        ("two", Some("site.cedar:2"))
    );
    let ada = explained(&principal("ada", &["sre"]), PAYMENTS);
    let considered: Vec<_> = ada.policies.iter().map(|c| (c.policy.as_str(), c.effect.as_str())).collect();
    assert_eq!(considered, [("builtin.write", "permit"), ("freeze", "forbid")]);
    assert_eq!(ada.otherwise, ["it is forbidden as long as the policy `freeze` (site.cedar:6) applies"]);
    let Decision::Deny { reasons, .. } = ada.decision else { panic!() };
    assert_eq!(reasons[0].text, "no change today");
    assert_eq!(ada.set, policy.status().digest);
}
