//! Webhooks: somebody elsewhere is told that a run awaits approval.
//!
//! | module | part |
//! |---|---|
//! | `sign` | secrets, and Standard Webhooks signatures |
//! | `post` | one attempt: a request, and what its answer means |
//! | `retry` | when to try again, and when no more |
//! | `sender` | what is due, told side by side, until the gateway stops |
//!
//! What is to be told stands in the store since the run was submitted (its outbox), so nothing is lost when the
//! process dies. It is told at least once, each time with the same `webhook-id`: a receiver that has seen the id
//! already has nothing to do.

mod post;
mod retry;
mod sender;
mod sign;

pub(crate) use sender::Webhooks;

use crate::address::secure_url;
use astradesk_core::{Code, Error, Result};
use reqwest::Url;
use sign::Secrets;
use std::fmt;

/// The longest name, in characters.
const MAX_NAME: usize = 64;

/// Somebody who is told.
#[derive(Clone)]
pub struct Webhook {
    name: String,
    url: Url,
    secrets: Secrets,
}

impl Webhook {
    /// A webhook. `secret` is `whsec_` with the base64 of 24 to 64 bytes, or up to four of them with white space
    /// between, while one is being changed for another: each of them signs.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`] when the name is not 1 to 64 letters, digits, `-` and `_`, the URL is neither https
    /// nor on loopback, or the secret is none. Neither the URL nor the secret is in the message.
    pub fn new(name: &str, url: &str, secret: &str) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
            let message =
                format!("the name of a webhook must have 1 to {MAX_NAME} letters, digits, `-` and `_`");
            return Err(Error::new(Code::ConfigInvalid, message));
        }
        let invalid = |what: String| Error::new(Code::ConfigInvalid, format!("webhook `{name}`: its {what}"));
        let url = secure_url(url).map_err(|what| invalid(format!("URL {what}")))?;
        let secrets = Secrets::parse(secret).map_err(|what| invalid(format!("secret {what}")))?;
        Ok(Self { name: name.to_owned(), url, secrets })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Without the secret, and without the path of the URL, which is a secret of some receivers.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({} at {})", self.name, self.url.host_str().unwrap_or("?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn a_webhook_that_cannot_be_trusted_is_refused_without_its_secrets() {
        let url = "https://chat.example/hooks/T0PS3CRET";
        assert!(Webhook::new("chat-1_A", url, SECRET).is_ok());
        assert!(Webhook::new("here", "http://127.0.0.1:9/x", SECRET).is_ok());
        let long = "x".repeat(65);
        for (name, url, secret) in [
            ("", url, SECRET),
            ("a.b", url, SECRET),
            (long.as_str(), url, SECRET),
            ("chat", "http://chat.example/hooks/T0PS3CRET", SECRET),
            ("chat", "https://user:T0PS3CRET@chat.example/", SECRET),
            ("chat", "T0PS3CRET", SECRET),
            ("chat", url, ""),
            ("chat", url, "T0PS3CRET"),
            ("chat", url, "whsec_T0PS3CRET"),
            ("chat", url, "whsec_T0PS3CRET?"),
        ] {
            let error = Webhook::new(name, url, secret).unwrap_err();
            assert_eq!(error.code, Code::ConfigInvalid);
            assert!(!format!("{error:?}").contains("T0PS3CRET"), "{error:?}");
        }
    }

    #[test]
    fn its_description_has_no_secret() {
        let webhook = Webhook::new("chat", "https://chat.example/hooks/T0PS3CRET", SECRET).unwrap();
        assert_eq!(format!("{webhook:?}"), "Webhook(chat at chat.example)");
    }
}
