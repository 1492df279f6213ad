//! Sentences that ask for tools of packs: the examples' words, as the planner reads them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap in a test is a failed test")]

use astradesk_core::tool::{Form, Grammar, Measure, Slot};
use astradesk_core::{Effect, Result, ToolName, ToolSpec};
use astradesk_packs::kubernetes::NoCluster;
use astradesk_packs::{DeclaredPack, case};
use astradesk_runtime::planner::{KeywordPlanner, Language};
use astradesk_runtime::port::{Names, Pack as _, Planner as _};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// There are no names to choose from.
struct Nobody;

#[async_trait]
impl Names for Nobody {
    async fn candidates(&self, _: &ToolName, _: &str) -> Result<Option<Vec<String>>> {
        Ok(Some(Vec::new()))
    }

    async fn permitted(&self, _: &ToolName, _: &str, _: &[String]) -> Vec<String> {
        Vec::new()
    }
}

#[tokio::test]
async fn a_flag_is_turned_off_by_saying_so() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/packs/unleash");
    let tools = case::check(&example).unwrap().specs();
    let plan = async |input: &str| match KeywordPlanner::default().plan(input, &tools, &Nobody).await {
        Ok(plan) => {
            let call = &plan.calls[0];
            (call.tool.to_string(), Value::Object(call.arguments.clone()))
        }
        Err(error) => (error.code.to_string(), Value::from(error.message)),
    };
    let arguments = json!({"flag": "new-checkout", "environment": "production", "project": "default"});
    for (said, tool) in [
        ("turn off flag new-checkout in production of project default", "disable_flag"),
        ("turn off the flag new-checkout in production project default", "disable_flag"),
        ("turn on flag new-checkout in production of project default", "enable_flag"),
        ("włącz flagę new-checkout w production projektu default", "enable_flag"),
    ] {
        assert_eq!(plan(said).await, (tool.to_owned(), arguments.clone()), "{said}");
    }
    for said in
        ["turn off flag new-checkout", "do not turn off flag new-checkout in production of project default"]
    {
        assert!(plan(said).await.0.starts_with("plan."), "{said}");
    }
}

/// The names of the Operations pack's services.
struct Webapp(Vec<Arc<Language>>);

#[async_trait]
impl Names for Webapp {
    async fn candidates(&self, _: &ToolName, _: &str) -> Result<Option<Vec<String>>> {
        Ok(Some(vec!["webapp".to_owned()]))
    }

    fn languages(&self) -> Vec<Arc<Language>> {
        self.0.clone()
    }

    async fn permitted(&self, _: &ToolName, _: &str, names: &[String]) -> Vec<String> {
        names.to_vec()
    }
}

const GERMAN: &str = r#"
name = "german"
version = "1.0.0"
description = "German words"

[[tools]]
name = "resize_group"
description = "changes the size of a group"
effect = "write"
targets = ["external/groups/group/{group}"]
arguments = { group = { type = "string", maxLength = 20 }, size = { type = "integer", minimum = 0 }, grace = { type = "string", maxLength = 8 } }
optional = ["grace"]
command = { argv = ["/bin/true", "--", "{group}", "{size}"] }
[tools.words]
phrases = ["resize group"]
after = { group = ["group", "named"], size = ["to"], grace = ["within"] }
before = { size = ["members"] }
measures = { grace = "duration" }

[[languages]]
name = "de"
negations = ["nicht", "kein"]
conditions = ["wenn", "falls"]
conjunctions = ["und", "dann"]
courtesies = ["bitte", "den", "die", "das"]
[languages.tools.restart_service]
phrases = ["starte neu", "neustart von"]
fillers = ["dienst"]
after = { namespace = ["im namensraum"] }
"#;

fn read(text: &str) -> Result<DeclaredPack> {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("german");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("pack.toml"), text).unwrap();
    DeclaredPack::open(&dir, &(Arc::new(NoCluster::new().unwrap()) as _))
}

#[tokio::test]
async fn a_pack_brings_a_language_and_measured_values() {
    let pack = read(GERMAN).unwrap();
    let name =
        |argument: &str, form: Form| Slot { argument: argument.into(), form, required: true, locates: false };
    let namespace = Form::Value { of: Measure::Word, after: vec!["namespace".into()], before: Vec::new() };
    let restart = ToolSpec {
        name: ToolName::parse("restart_service").unwrap(),
        version: "1".into(),
        description: String::new(),
        effect: Some(Effect::Write),
        input_schema: json!({}),
        timeout: std::time::Duration::from_secs(1),
        grammar: Grammar {
            phrases: vec!["restart".into()],
            nouns: Vec::new(),
            slots: vec![
                name("service", Form::Name),
                Slot { required: false, ..name("namespace", namespace) },
            ],
            fillers: Vec::new(),
        },
    };
    let tools = [pack.specs(), vec![restart.into()]].concat();
    let (planner, names) = (KeywordPlanner::default(), Webapp(pack.languages()));
    let plan = async |input: &str| match planner.plan(input, &tools, &names).await {
        Ok(plan) => {
            let calls = plan.calls.into_iter();
            Ok(calls.map(|call| (call.tool.to_string(), Value::Object(call.arguments))).collect::<Vec<_>>())
        }
        Err(error) => Err(error.code.to_string()),
    };
    let webapp = json!({"service": "webapp"});
    let resized = json!({"group": "web", "size": 3});
    for (said, expected) in [
        ("Starte neu den Dienst webapp, bitte", vec![("restart_service", webapp.clone())]),
        (
            "Neustart von webapp im Namensraum shop",
            vec![("restart_service", json!({"service": "webapp", "namespace": "shop"}))],
        ),
        ("resize group named web to 3", vec![("resize_group", resized.clone())]),
        (
            "resize group named web, 3 members, within 2 minutes und dann neustart von webapp",
            vec![
                ("resize_group", json!({"group": "web", "size": 3, "grace": "2m"})),
                ("restart_service", webapp),
            ],
        ),
    ] {
        let expected = expected.into_iter().map(|(tool, arguments)| (tool.to_owned(), arguments)).collect();
        assert_eq!(plan(said).await, Ok(expected), "{said}");
    }
    for (said, code) in [
        ("starte neu webapp nicht", "plan.negated"),
        ("falls es hilft, starte neu webapp", "plan.not_an_instruction"),
        ("resize group named web to three", "plan.ambiguous"),
        ("resize group named web", "plan.missing_target"),
    ] {
        assert_eq!(plan(said).await, Err(code.to_owned()), "{said}");
    }
    // Without the language, its words mean nothing.
    let alone = planner.plan("starte neu webapp", &tools, &Webapp(Vec::new())).await.unwrap_err();
    assert_eq!(alone.code.to_string(), "plan.no_action");
}

#[test]
fn words_that_cannot_be_meant_are_refused() {
    for (from, to, why) in [
        (
            "measures = { grace = \"duration\" }",
            "measures = { size = \"duration\" }",
            "is a integer and cannot be a `duration`",
        ),
        (
            "measures = { grace = \"duration\" }",
            "measures = { other = \"duration\" }",
            "`other` has no words",
        ),
        ("before = { size", "before = { group", "only what is measured"),
        ("name = \"de\"\n", "name = \"de\"\nnegatons = []\n", "did you mean `negations`?"),
        ("negations = [\"nicht\"", "negations = [\"Nicht\"", "in lower case"),
        ("[languages.tools.restart_service]", "[languages.tools.Restart]", "tools"),
    ] {
        assert!(GERMAN.contains(from), "{from}");
        let text = GERMAN.replacen(from, to, 1);
        let Err(error) = read(&text) else {
            panic!("{to} was read");
        };
        let told = format!("{} {}", error.message, error.remedy);
        assert!(told.contains(why), "{to}: {told}");
    }
}
