//! The example sets of `policies/` and the examples of `docs/policy.md`: they are valid, without a doubt, and
//! their own cases pass.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap in a test is a failed test")]

mod support;

use astradesk_core::{Arguments, FrozenCall, Result, Target, ToolSpec};
use astradesk_policy::CedarPolicy;
use astradesk_runtime::case::Case;
use astradesk_runtime::port::{Agent, Fault, Pack, Policy, StepContext, Tool};
use astradesk_runtime::{Permit, ToolRegistry};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::{folder, open, settings, tools};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// The tools, of which nothing but the description is used.
struct Described(Arc<ToolSpec>);

#[async_trait]
impl Tool for Described {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.0
    }
    async fn targets(&self, _: &Arguments) -> Result<Vec<Target>> {
        panic!("a case names its targets")
    }
    async fn preview(&self, _: &FrozenCall) -> Result<Value> {
        panic!("a case previews nothing")
    }
    async fn perform(&self, _: &Permit, _: &StepContext) -> Result<Value, Fault> {
        panic!("a case performs nothing")
    }
}

struct Tools;

impl Pack for Tools {
    fn name(&self) -> &'static str {
        "tools"
    }
    fn version(&self) -> &'static str {
        "1"
    }
    fn tools(&self) -> Vec<Arc<dyn Tool>> {
        tools().into_iter().map(|spec| Arc::new(Described(spec)) as Arc<dyn Tool>).collect()
    }
    fn agents(&self) -> Vec<Arc<dyn Agent>> {
        Vec::new()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    cases: Vec<Case>,
}

/// What is not as the cases say.
fn faults(policy: &CedarPolicy, cases: &str) -> Vec<String> {
    let registry = ToolRegistry::default();
    registry.register(&Tools).unwrap();
    let Cases { cases } = serde_saphyr::from_str(cases).unwrap();
    assert!(!cases.is_empty());
    let outcomes = cases.iter().map(|case| case.judge(policy, &registry));
    let failed = outcomes.filter(|outcome| outcome.passed != Some(true));
    failed.map(|outcome| format!("{}: {}", outcome.name, outcome.faults.join("; "))).collect()
}

fn sets() -> Vec<PathBuf> {
    let folders = std::fs::read_dir(Path::new(ROOT).join("policies")).unwrap();
    let mut sets: Vec<PathBuf> = folders.map(|entry| entry.unwrap().path()).collect();
    sets.sort();
    assert_eq!(sets.len(), 4);
    sets
}

#[test]
fn the_example_sets_are_valid_and_their_cases_pass() {
    for set in sets() {
        let policy = open(&settings("webapp"), Some(&set));
        let status = policy.status();
        assert_eq!((status.problem, status.warnings), (None, Vec::new()), "{}", set.display());
        let cases = std::fs::read_to_string(set.join("tests.yaml")).unwrap();
        assert_eq!(faults(&policy, &cases), Vec::<String>::new(), "{}", set.display());
    }
}

#[test]
fn the_cases_of_an_example_fail_with_the_policies_of_another() {
    let other = open(&settings("webapp"), None);
    for set in sets() {
        let cases = std::fs::read_to_string(set.join("tests.yaml")).unwrap();
        assert!(!faults(&other, &cases).is_empty(), "{}", set.display());
    }
}

#[test]
fn a_case_that_cannot_be_asked_is_a_fault() {
    let policy = open(&settings("webapp"), None);
    let case = |call: &str| {
        let target = "kubernetes/prod/default/deployment/webapp";
        format!("cases: [{{name: x, principal: {{subject: a}}, call: {{{call}, targets: [{target}]}}}}]")
    };
    assert_eq!(faults(&policy, &case("tool: nothing")), ["x: there is no tool `nothing`"]);
    let found = faults(&policy, &case("tool: restart_service, arguments: {servce: webapp}"));
    assert!(found.len() == 1 && found[0].starts_with("x: `restart_service`: "), "{found:?}");
    let strange = serde_saphyr::from_str::<Cases>(&case("tool: list_services, tols: 1"));
    assert!(strange.is_err());
}

/// The blocks of `docs/policy.md` in this language.
fn blocks(language: &str) -> Vec<String> {
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/policy.md")).unwrap();
    let begin = format!("```{language}\n");
    let blocks = page.split(&begin).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_examples_of_the_page_are_valid_and_their_cases_pass() {
    let policies = blocks("cedar");
    assert!(policies.len() > 4, "{}", policies.len());
    for text in &policies {
        let dir = folder(&[("page.cedar", text)]);
        let status = open(&settings("webapp"), Some(dir.path())).status();
        assert_eq!((status.problem, status.warnings), (None, Vec::new()), "{text}");
    }
    let dir = folder(&[("page.cedar", &policies[0])]);
    let policy = open(&settings("webapp"), Some(dir.path()));
    for cases in blocks("yaml") {
        assert_eq!(faults(&policy, &cases), Vec::<String>::new());
    }
    assert_eq!(blocks("yaml").len(), 1);
}
