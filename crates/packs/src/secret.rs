//! The secrets of a call: looked up when they are used, and taken out of whatever comes back.

use astradesk_core::{Code, Error, Result};
use astradesk_runtime::secret::Secret;
use serde_json::Value;
use std::fmt;

/// What stands in the place of a secret that came back in an answer.
const HIDDEN: &str = "[secret]";
/// A shorter secret is not looked for in answers: it would be found everywhere.
const SHORTEST: usize = 4;

/// The secrets that a call has used, to be taken out of whatever comes back.
#[derive(Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    pub(crate) fn look_up(&mut self, secret: &Secret) -> Result<String> {
        let missing = |why: String| Error::new(Code::SecretMissing, format!("the secret {why}"));
        let found = secret.look_up().map_err(missing)?;
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
    fn a_missing_secret_is_named() {
        let missing = Secret::Env("ASTRADESK_NO_SUCH_SECRET".to_owned());
        let error = Secrets::default().look_up(&missing).unwrap_err();
        let said = "the secret `env:ASTRADESK_NO_SUCH_SECRET` is not set, or is no text";
        assert_eq!((error.code, error.message.as_str()), (Code::SecretMissing, said));
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
