//! `[agents.…]` and `[llm]`: how agents plan, and the language model that may.

use super::load::{invalid, within};
use astradesk_core::Result;
use astradesk_llm::settings::{Budget, base_url};
use astradesk_llm::{Key, Mode, Settings};
use serde::Deserialize;
use std::fmt;
use std::time::Duration;

/// `[agents.NAME]`, by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agents {
    /// The agent `ops`.
    pub ops: Agent,
}

/// One agent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// How it plans.
    pub planner: PlannerKind,
}

/// How an agent plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannerKind {
    /// By the words that tools declare.
    Keyword,
    /// By a language model.
    Llm,
    /// By a language model, where there are no words for it.
    KeywordThenLlm,
}

impl fmt::Display for PlannerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyword => "keyword",
            Self::Llm => "llm",
            Self::KeywordThenLlm => "keyword_then_llm",
        })
    }
}

/// `[llm]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Llm {
    /// The address to which `/chat/completions` is added.
    pub base_url: String,
    /// Whether it may be `http://` elsewhere than on loopback.
    pub allow_http: bool,
    /// The model that is asked for.
    pub model: String,
    /// Where the key is.
    pub key: String,
    /// How the model answers.
    pub mode: LlmMode,
    /// How long a plan may take, in seconds.
    pub timeout_seconds: u64,
    /// How often a question is sent again.
    pub retries: u32,
    /// Tokens of one answer.
    pub max_tokens: u32,
    /// Steps of a plan.
    pub max_steps: usize,
    /// Size of a question, in bytes.
    pub max_prompt_bytes: usize,
    /// What makes choices repeatable.
    pub seed: i64,
    /// Tokens of an hour.
    pub tokens_per_hour: u64,
    /// Cost of an hour; 0: not limited.
    pub cost_per_hour: f64,
    /// The price of 1000 tokens of questions.
    pub prompt_price: f64,
    /// The price of 1000 tokens of answers.
    pub completion_price: f64,
}

/// How a model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LlmMode {
    /// By calling functions.
    Tools,
    /// By one JSON document.
    JsonSchema,
}

impl Llm {
    /// The planner's settings; none if no model is configured.
    ///
    /// # Errors
    /// [`astradesk_core::Code::ConfigInvalid`], also for what is not used yet.
    pub fn settings(&self) -> Result<Option<Settings>> {
        let key = (!self.key.is_empty()).then(|| Key::parse(&self.key)).transpose()?;
        within("llm.timeout_seconds", self.timeout_seconds, 1..=300)?;
        within("llm.retries", self.retries, 0..=5)?;
        within("llm.max_tokens", self.max_tokens, 1..=1_000_000)?;
        within("llm.max_steps", self.max_steps, 1..=astradesk_core::plan::MAX_CALLS)?;
        within("llm.max_prompt_bytes", self.max_prompt_bytes, 4096..=1 << 20)?;
        within("llm.tokens_per_hour", self.tokens_per_hour, 1..=u64::MAX)?;
        for (name, value) in [
            ("llm.cost_per_hour", self.cost_per_hour),
            ("llm.prompt_price", self.prompt_price),
            ("llm.completion_price", self.completion_price),
        ] {
            within(name, value, 0.0..=1e12)?;
        }
        if self.cost_per_hour > 0.0 && self.prompt_price + self.completion_price == 0.0 {
            return Err(invalid(
                "`llm.cost_per_hour` is set, and no price: set `llm.prompt_price` and `llm.completion_price`",
            ));
        }
        if self.base_url.is_empty() {
            return Ok(None);
        }
        Ok(Some(Settings {
            base_url: base_url(&self.base_url, self.allow_http)?,
            model: self.model.clone(),
            key,
            mode: match self.mode {
                LlmMode::Tools => Mode::Tools,
                LlmMode::JsonSchema => Mode::JsonSchema,
            },
            timeout: Duration::from_secs(self.timeout_seconds),
            retries: self.retries,
            max_tokens: self.max_tokens,
            max_steps: self.max_steps,
            seed: self.seed,
            max_prompt_bytes: self.max_prompt_bytes,
            budget: Budget {
                tokens: self.tokens_per_hour,
                cost: (self.cost_per_hour > 0.0).then_some(self.cost_per_hour),
                prompt_price: self.prompt_price,
                completion_price: self.completion_price,
            },
        }))
    }
}

/// Checks both tables together.
pub(super) fn check(agents: &Agents, llm: &Llm) -> Result<()> {
    let settings = llm.settings()?;
    let planner = agents.ops.planner;
    if planner == PlannerKind::Keyword {
        return Ok(());
    }
    if settings.is_none() {
        return Err(invalid(format!("`agents.ops.planner` is `{planner}`, and `llm.base_url` is empty"))
            .with_remedy("say where the language model is, such as `http://127.0.0.1:11434/v1`"));
    }
    if llm.model.is_empty() {
        return Err(invalid(format!("`agents.ops.planner` is `{planner}`, and `llm.model` is empty"))
            .with_remedy("name the model that is to be asked"));
    }
    Ok(())
}
