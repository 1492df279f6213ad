//! Sentences that ask for tools of packs: the examples' words, as the planner reads them.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

use astradesk_core::{Result, ToolName};
use astradesk_packs::case;
use astradesk_runtime::planner::KeywordPlanner;
use astradesk_runtime::port::{Names, Planner as _};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::path::Path;

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
