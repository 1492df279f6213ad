//! What `astradesk doctor` says of the language model that plans. No token is used for it.

use super::{Finding, bad, good, warning};
use crate::app;
use crate::commands::policy::mention;
use crate::config::{Config, PlannerKind};
use astradesk_core::{Code, Result};

/// Whether the model's server answers, has the model, and what becomes of what it plans.
pub(super) async fn ask(config: &Config, findings: &mut Vec<Finding>) {
    if config.agents.ops.planner == PlannerKind::Keyword {
        return;
    }
    findings.push(answers(config).await.unwrap_or_else(|error| bad(&error)));
    if !mention(&config.policy.dir, "context.planner") {
        findings.push(warning(
            "no policy asks who planned a call: what a language model plans is done like anything else that is permitted",
            "let people agree to it first, as `policies/llm-plans-people-agree` does",
        ));
    }
}

async fn answers(config: &Config) -> Result<Finding> {
    let (planner, model, url) = (config.agents.ops.planner, &config.llm.model, &config.llm.base_url);
    let Some(llm) = app::language_model(config)? else {
        return Ok(warning("no language model is configured", "set `llm.base_url` and `llm.model`"));
    };
    let listed = match llm.models().await {
        Ok(models) => models,
        // Not every gateway has a list.
        Err(error) if error.code == Code::LlmRejected && error.message.contains(" 404 ") => {
            let what = format!("the language model's server `{url}` answers, and lists no models");
            return Ok(warning(what, "ask it for something: `astradesk run --dry-run \"…\"`"));
        }
        Err(error) => return Err(error),
    };
    if listed.iter().any(|listed| listed == model) {
        return Ok(good(format!("the language model `{model}` is at `{url}`; `ops` plans by `{planner}`")));
    }
    let some = listed.iter().take(10).map(|model| format!("`{model}`")).collect::<Vec<_>>().join(", ");
    let what = format!("the language model's server `{url}` does not list `{model}`, but {some}");
    Ok(warning(what, "correct `llm.model`, unless the server has models that it does not list"))
}
