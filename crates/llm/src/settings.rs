//! Where the model is, and every limit.

use astradesk_core::{Code, Error, Result};
use astradesk_runtime::address::{self, Keys};
use astradesk_runtime::secret::Secret;
use reqwest::Url;
use std::fmt;
use std::time::Duration;

/// Where the model is, and every limit.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address to which `/chat/completions` is added.
    pub base_url: Url,
    /// The model that is asked for.
    pub model: String,
    /// The key's place; none for servers that want none.
    pub key: Option<Key>,
    /// How the model is to answer.
    pub mode: Mode,
    /// For one plan: all attempts and the repair round.
    pub timeout: Duration,
    /// How often a question is sent again that was not answered.
    pub retries: u32,
    /// The most tokens of one answer.
    pub max_tokens: u32,
    /// The most steps of a plan.
    pub max_steps: usize,
    /// What makes the model's choices repeatable, as far as its server honours it.
    pub seed: i64,
    /// The largest question, in bytes.
    pub max_prompt_bytes: usize,
    /// What may be used up in an hour.
    pub budget: Budget,
}

/// What may be used up in an hour, by this process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Tokens of questions and answers.
    pub tokens: u64,
    /// Cost, in whatever the prices are in; none: only tokens are limited.
    pub cost: Option<f64>,
    /// The price of 1000 tokens of a question.
    pub prompt_price: f64,
    /// The price of 1000 tokens of an answer.
    pub completion_price: f64,
}

/// How the model is to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By calling functions.
    Tools,
    /// By one JSON document that fits a schema.
    JsonSchema,
}

/// Where a key is. It is looked up when it is used, and never shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Secret);

impl Key {
    /// Reads `env:NAME` or `file:/PATH`.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`]; the text is not repeated, since it may be the key itself.
    pub fn parse(text: &str) -> Result<Self> {
        Secret::parse(text).and_then(std::result::Result::ok).map(Self).ok_or_else(|| {
            Error::new(Code::ConfigInvalid, "`llm.key` is not the place of a key").with_remedy(
                "write `env:NAME` or `file:/PATH`; the key itself never stands in the configuration",
            )
        })
    }

    /// The key.
    ///
    /// # Errors
    /// [`Code::LlmKeyMissing`].
    pub fn look_up(&self) -> Result<String> {
        let missing = |why: String| Error::new(Code::LlmKeyMissing, format!("the key {why}"));
        let key = self.0.look_up().map_err(missing)?;
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(missing(format!("`{self}` has characters that no key has")));
        }
        Ok(key)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the keys around the address are called.
const KEYS: Keys = Keys {
    url: "llm.base_url",
    allow_http: "llm.allow_http",
    credentials: "llm.key",
    example: "https://llm.example.com/v1",
};

/// Reads the address of a model's server: https, or http on loopback, or anywhere if `allow_http`.
///
/// # Errors
/// [`Code::ConfigInvalid`].
pub fn base_url(text: &str, allow_http: bool) -> Result<Url> {
    address::base_url(text, allow_http, &KEYS)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn settings() -> Settings {
        Settings {
            base_url: base_url("http://127.0.0.1:1/v1", false).unwrap(),
            model: "m".to_owned(),
            key: None,
            mode: Mode::Tools,
            timeout: Duration::from_secs(5),
            retries: 2,
            max_tokens: 100,
            max_steps: 2,
            seed: 7,
            max_prompt_bytes: 64 << 10,
            budget: Budget { tokens: 10_000, cost: None, prompt_price: 0.0, completion_price: 0.0 },
        }
    }

    #[test]
    fn a_key_is_named_and_never_shown() {
        assert_eq!(Key::parse("env:LLM_KEY").unwrap().to_string(), "env:LLM_KEY");
        assert_eq!(Key::parse("file:/run/secrets/llm").unwrap().to_string(), "file:/run/secrets/llm");
        for bad in ["", "hunter2-is-the-key", "env:", "env:A B", "file:", "file:key"] {
            let error = Key::parse(bad).unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{bad}");
        }
        let error = Key::parse("env:ASTRADESK_NO_SUCH_KEY").unwrap().look_up().unwrap_err();
        assert_eq!(error.code, Code::LlmKeyMissing);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, " hunter2\n").unwrap();
        let key = |path: &std::path::Path| Key::parse(&format!("file:{}", path.display())).unwrap();
        assert_eq!(key(&path).look_up().unwrap(), "hunter2");
        for bad in ["\n", "hun ter2", "hunter2\r\nx-evil: 1"] {
            std::fs::write(&path, bad).unwrap();
            let error = key(&path).look_up().unwrap_err();
            assert!(!format!("{error:?}").contains("ter2"), "{error:?}");
        }
        assert_eq!(key(folder.path()).look_up().unwrap_err().code, Code::LlmKeyMissing);
    }
}
