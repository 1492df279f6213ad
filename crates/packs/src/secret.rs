//! Secrets: `env:NAME` and `file:PATH`, looked up when they are used, and never shown.

use astradesk_core::{Code, Error, Result};
use serde_json::Value;
use std::fmt;
use std::io::Read as _;
use std::path::PathBuf;

/// The largest secret, in bytes.
const MAX_SECRET: u64 = 64 << 10;
/// What stands in the place of a secret that came back in an answer.
const HIDDEN: &str = "[secret]";
/// A shorter secret is not looked for in answers: it would be found everywhere.
const SHORTEST: usize = 4;

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// In this environment variable of AstraDesk.
    Env(String),
    /// In this file, without the white space around it.
    File(PathBuf),
}

impl Secret {
    /// Reads a reference; `None` if it does not look like one.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, String>> {
        if let Some(name) = text.strip_prefix("env:") {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            let fine = !name.is_empty() && name.len() <= 128 && name.bytes().all(plain);
            return Some(if fine {
                Ok(Self::Env(name.to_owned()))
            } else {
                Err("`env:` must be followed by the name of an environment variable".to_owned())
            });
        }
        let path = PathBuf::from(text.strip_prefix("file:")?);
        Some(if path.is_absolute() {
            Ok(Self::File(path))
        } else {
            Err("`file:` must be followed by an absolute path".to_owned())
        })
    }

    fn look_up(&self) -> Result<String> {
        let missing = |why: &str| Error::new(Code::PackSecretMissing, format!("the secret `{self}` {why}"));
        let secret = match self {
            Self::Env(name) => std::env::var(name).map_err(|_| missing("is not set, or is no text"))?,
            Self::File(path) => {
                let cannot = |error: std::io::Error| missing(&format!("cannot be read: {error}"));
                let file = std::fs::File::open(path).map_err(cannot)?;
                if !file.metadata().map_err(cannot)?.is_file() {
                    return Err(missing("is not a file"));
                }
                let mut text = String::new();
                file.take(MAX_SECRET).read_to_string(&mut text).map_err(|_| missing("is no text"))?;
                text
            }
        };
        let secret = secret.trim();
        if secret.is_empty() {
            return Err(missing("is empty"));
        }
        Ok(secret.to_owned())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// The secrets that a call has used, to be taken out of whatever comes back.
#[derive(Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    pub(crate) fn look_up(&mut self, secret: &Secret) -> Result<String> {
        let found = secret.look_up()?;
        self.keep(&found);
        Ok(found)
    }

    /// Hides `secret`, as it is and as JSON writes it, from now on.
    pub(crate) fn keep(&mut self, secret: &str) {
        if secret.len() < SHORTEST {
            return;
        }
        let quoted = Value::from(secret).to_string();
        self.0.push(secret.to_owned());
        self.0.push(quoted.trim_matches('"').to_owned());
        // The longest first: one may be a part of another.
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.0.dedup();
    }

    /// The text without the secrets.
    pub(crate) fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN))
    }
}

impl Secrets {
    /// The value with its texts and keys without the secrets.
    pub(crate) fn hide_within(&self, value: Value) -> Value {
        if self.0.is_empty() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.hide(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.hide_within(item)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(key, value)| (self.hide(&key), self.hide_within(value))).collect()
            }
            plain => plain,
        }
    }
}

/// Without the secrets.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_strictly() {
        let read = |text: &str| Secret::parse(text).map(|read| read.map(|secret| secret.to_string()));
        assert_eq!(read("env:TOKEN_1"), Some(Ok("env:TOKEN_1".to_owned())));
        assert_eq!(read("file:/run/secrets/x"), Some(Ok("file:/run/secrets/x".to_owned())));
        assert_eq!(read("TOKEN"), None);
        for bad in ["env:", "env:A B", "env:A=B", "file:", "file:relative"] {
            assert!(read(bad).unwrap().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_missing_secret_is_named_and_never_shown() {
        let error = Secret::Env("ASTRADESK_NO_SUCH_SECRET".to_owned()).look_up().unwrap_err();
        assert_eq!(error.code, Code::PackSecretMissing);
        assert!(error.message.contains("env:ASTRADESK_NO_SUCH_SECRET"), "{}", error.message);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, " hunter2-and-more\n").unwrap();
        assert_eq!(Secret::File(path.clone()).look_up().unwrap(), "hunter2-and-more");
        std::fs::write(&path, "\n").unwrap();
        assert!(Secret::File(path).look_up().unwrap_err().message.ends_with("is empty"));
        assert!(Secret::File(folder.path().to_owned()).look_up().is_err());
    }

    #[test]
    fn a_secret_is_taken_out_of_what_comes_back() {
        let mut secrets = Secrets::default();
        for secret in ["hunter2", "hunter2-and-more", "quo\"ted\n", "abc"] {
            secrets.keep(secret);
        }
        let said = secrets.hide("hunter2 hunter2-and-more quo\\\"ted\\n quo\"ted\n abc");
        assert_eq!(said, "[secret] [secret] [secret] [secret] abc");
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }
}
