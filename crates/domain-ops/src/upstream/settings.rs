//! Where a system is, and how it knows AstraDesk.

use astradesk_core::{Code, Error, Result};
use astradesk_runtime::secret::Secret;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use reqwest::Url;
use std::path::PathBuf;
use std::time::Duration;

/// Where a system is, how it knows AstraDesk, and the limits of what is asked of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What it is called in messages: `Alertmanager`.
    pub name: &'static str,
    /// The address to which paths are added.
    pub url: Url,
    /// How it knows AstraDesk; none: it asks nobody.
    pub credentials: Option<Credentials>,
    /// A file with the certificates of further authorities, in PEM.
    pub ca_file: Option<PathBuf>,
    /// For one request.
    pub timeout: Duration,
    /// The largest answer, in bytes.
    pub max_answer: usize,
}

/// How a system knows AstraDesk. The secret is looked up for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// `Authorization: Bearer …`.
    Bearer(Secret),
    /// `Authorization: Basic …`.
    Basic {
        /// The name.
        user: String,
        /// Where the password is.
        password: Secret,
    },
}

impl Credentials {
    /// The header's value.
    pub(super) fn header(&self) -> Result<HeaderValue> {
        let (secret, user) = match self {
            Self::Bearer(secret) => (secret, None),
            Self::Basic { user, password } => (password, Some(user)),
        };
        let missing = |why: String| Error::new(Code::SecretMissing, format!("the secret {why}"));
        let found = secret.look_up().map_err(missing)?;
        let text = match user {
            Some(user) => format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{found}"))),
            None => format!("Bearer {found}"),
        };
        let value = HeaderValue::try_from(text);
        let mut value =
            value.map_err(|_| missing(format!("`{secret}` has characters that a header cannot have")))?;
        value.set_sensitive(true);
        Ok(value)
    }
}
