//! Where the model is, and every limit.

use astradesk_core::{Code, Error, Result};
use reqwest::Url;
use std::fmt;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The largest key, in bytes.
const MAX_KEY: u64 = 16 << 10;

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
pub enum Key {
    /// In this environment variable.
    Env(String),
    /// In this file, without the white space around it.
    File(PathBuf),
}

impl Key {
    /// Reads `env:NAME` or `file:/PATH`.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`]; the text is not repeated, since it may be the key itself.
    pub fn parse(text: &str) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        match (text.strip_prefix("env:"), text.strip_prefix("file:").map(PathBuf::from)) {
            (Some(name), _) if !name.is_empty() && name.len() <= 128 && name.bytes().all(plain) => {
                Ok(Self::Env(name.to_owned()))
            }
            (None, Some(path)) if path.is_absolute() => Ok(Self::File(path)),
            _ => Err(Error::new(Code::ConfigInvalid, "`llm.key` is not the place of a key").with_remedy(
                "write `env:NAME` or `file:/PATH`; the key itself never stands in the configuration",
            )),
        }
    }

    /// The key.
    ///
    /// # Errors
    /// [`Code::LlmKeyMissing`].
    pub fn look_up(&self) -> Result<String> {
        let missing = |why: &str| Error::new(Code::LlmKeyMissing, format!("the key `{self}` {why}"));
        let key = match self {
            Self::Env(name) => std::env::var(name).map_err(|_| missing("is not set, or is no text"))?,
            Self::File(path) => {
                let cannot = |error: std::io::Error| missing(&format!("cannot be read: {error}"));
                let file = std::fs::File::open(path).map_err(cannot)?;
                if !file.metadata().map_err(cannot)?.is_file() {
                    return Err(missing("is not a file"));
                }
                let mut text = String::new();
                file.take(MAX_KEY).read_to_string(&mut text).map_err(|_| missing("is no text"))?;
                text
            }
        };
        let key = key.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(missing("is empty, or has characters that no key has"));
        }
        Ok(key.to_owned())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// Reads the address of a model's server: https, or http on loopback, or anywhere if `allow_http`. The fault does
/// not repeat the address, which may have a secret in it.
///
/// # Errors
/// [`Code::ConfigInvalid`].
pub fn base_url(text: &str, allow_http: bool) -> Result<Url> {
    let wrong = |what: &str| {
        Error::new(Code::ConfigInvalid, format!("`llm.base_url` {what}"))
            .with_remedy("write it as `https://llm.example.com/v1`")
    };
    let url = Url::parse(text).map_err(|error| wrong(&format!("is not an address: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("has a user or a password in it, which would be shown: use `llm.key`"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a query or a fragment, to which no path can be added"));
    }
    match url.scheme() {
        "https" if url.has_host() => Ok(url),
        "http" if is_loopback(&url) || allow_http => Ok(url),
        "http" => Err(wrong("is not encrypted, and not of this machine itself")
            .with_remedy("use https, or set `llm.allow_http` if everybody on the way may read what is said")),
        _ => Err(wrong("must begin with https:// or http://")),
    }
}

/// Whether the URL names this machine itself.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
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
    fn what_is_said_goes_by_https_or_to_this_machine() {
        for (url, sound, with_http) in [
            ("https://api.example.com/v1", true, true),
            ("http://127.0.0.1:11434/v1", true, true),
            ("http://[::1]:8080/v1", true, true),
            ("http://localhost:8000/v1/", true, true),
            ("http://llm.example.com/v1", false, true),
            ("http://127.0.0.1.example.com/v1", false, true),
            ("https://user:hunter2@llm.example.com/v1", false, false),
            ("https://llm.example.com/v1?key=hunter2", false, false),
            ("file:///etc/passwd", false, false),
            ("llm", false, false),
        ] {
            assert_eq!(base_url(url, false).is_ok(), sound, "{url}");
            assert_eq!(base_url(url, true).is_ok(), with_http, "{url}");
            let told = base_url(url, false).err().map(|error| format!("{error:?}"));
            assert!(told.is_none_or(|told| !told.contains("hunter2")), "{url}");
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
        assert_eq!(Key::File(path.clone()).look_up().unwrap(), "hunter2");
        for bad in ["\n", "hun ter2", "hunter2\r\nx-evil: 1"] {
            std::fs::write(&path, bad).unwrap();
            let error = Key::File(path.clone()).look_up().unwrap_err();
            assert!(!format!("{error:?}").contains("ter2"), "{error:?}");
        }
        assert_eq!(Key::File(folder.path().to_owned()).look_up().unwrap_err().code, Code::LlmKeyMissing);
    }
}
