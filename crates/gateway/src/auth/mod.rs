//! Who asks: JSON Web Tokens of configured issuers.
//!
//! | module | part |
//! |---|---|
//! | [`issuer`] | what is configured of an issuer |
//! | `token` | the three parts of a token, read without trusting any |
//! | `keys` | public keys, each with the one algorithm that it permits |
//! | `remote` | an issuer's keys, fetched, cached and rotated |
//! | `claims` | from verified claims to a [`Principal`] |
//! | `cache` | tokens that were verified a moment ago |
//! | [`dev`] | the development issuer, for loopback only |
//!
//! **Invariant.** The algorithm comes from the key, never from the token's header: the header's `alg` is
//! only compared with it. So `none`, HMAC and a key used under another algorithm can never verify.

mod cache;
mod claims;
pub mod dev;
pub mod issuer;
mod keys;
mod remote;
mod token;

pub use dev::DevIssuer;
pub use issuer::{Algorithm, Issuer, KeySource, RolesClaim};

use crate::address::secure_url;
use astradesk_core::canonical::Digest;
use astradesk_core::{Code, Error, Principal, Result};
use astradesk_runtime::port::Clock;
use axum::http::{HeaderMap, header::AUTHORIZATION};
use cache::Cache;
use claims::Rules;
use keys::KeySet;
use remote::{Location, Remote};
use std::collections::BTreeSet;
use std::sync::Arc;
use token::Token;

/// The largest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Authenticates requests by their bearer token.
pub struct Auth {
    issuers: Vec<Verifier>,
    cache: Cache,
    clock: Arc<dyn Clock>,
    development: bool,
}

/// One issuer: its rules and its keys.
struct Verifier {
    rules: Rules,
    algorithms: Vec<Algorithm>,
    keys: Keys,
}

enum Keys {
    Fixed(KeySet),
    Remote(Arc<Remote>),
}

/// How many issuers there are, and of how many the keys are at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// The issuers that are configured.
    pub issuers: usize,
    /// Those whose keys have been read or fetched.
    pub with_keys: usize,
}

impl Auth {
    /// Puts the configured issuers together, and the development issuer if there is one. Nothing is
    /// fetched yet; key files are read.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`] when no issuer is given, two have the same name, or one cannot be used.
    pub fn new(issuers: Vec<Issuer>, dev: Option<&DevIssuer>, clock: Arc<dyn Clock>) -> Result<Self> {
        let mut verifiers =
            issuers.into_iter().map(|issuer| Verifier::new(issuer, &clock)).collect::<Result<Vec<_>>>()?;
        verifiers.extend(dev.map(|dev| Verifier {
            rules: Rules::development(),
            algorithms: vec![Algorithm::EdDSA],
            keys: Keys::Fixed(dev.keys()),
        }));
        if verifiers.is_empty() {
            return Err(Error::new(
                Code::ConfigInvalid,
                "no issuer is configured, so nobody could be authenticated",
            )
            .with_remedy("add an issuer under `[auth]`"));
        }
        for (i, verifier) in verifiers.iter().enumerate() {
            if verifiers.iter().take(i).any(|other| other.rules.issuer == verifier.rules.issuer) {
                return Err(Error::new(
                    Code::ConfigInvalid,
                    format!("the issuer `{}` is configured twice", verifier.rules.issuer),
                ));
            }
        }
        Ok(Self { issuers: verifiers, cache: Cache::default(), clock, development: dev.is_some() })
    }

    /// Whether the development issuer is among the issuers.
    pub const fn is_development(&self) -> bool {
        self.development
    }

    /// The issuers that a client can ask for a token: those whose name is an address.
    pub(crate) fn authorization_servers(&self) -> Vec<&str> {
        let names = self.issuers.iter().map(|verifier| verifier.rules.issuer.as_str());
        names.filter(|name| secure_url(name).is_ok()).collect()
    }

    /// The scopes that the issuers' tokens must have, each once.
    pub(crate) fn scopes(&self) -> BTreeSet<&str> {
        self.issuers.iter().filter_map(|verifier| verifier.rules.scope.as_deref()).collect()
    }

    /// How many issuers there are, and of how many the keys are at hand.
    pub fn health(&self) -> Health {
        let with_keys = self.issuers.iter().filter(|verifier| verifier.has_keys()).count();
        Health { issuers: self.issuers.len(), with_keys }
    }

    /// Fetches the keys of every issuer that has none yet, so that the first request need not wait.
    pub async fn prefetch(&self) {
        for verifier in &self.issuers {
            if let Keys::Remote(remote) = &verifier.keys
                && let Err(error) = remote.prefetch().await
            {
                tracing::warn!(issuer = verifier.rules.issuer, %error, "the keys could not be fetched yet");
            }
        }
    }

    /// Who sent these headers.
    ///
    /// # Errors
    /// One of the codes `auth.*`. Neither the error nor a log has the token or a part of it.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Principal>> {
        let text = bearer(headers)?;
        let digest = Digest::of(text);
        let now = self.clock.now();
        let generation = |issuer: usize| self.issuers.get(issuer).map(Verifier::generation);
        if let Some(principal) = self.cache.get(&digest, now, generation) {
            return Ok(principal);
        }

        let token = Token::read(text)?;
        let (index, verifier) = self
            .issuers
            .iter()
            .enumerate()
            .find(|(_, verifier)| verifier.rules.issuer == token.issuer)
            .ok_or_else(|| {
                Error::new(Code::AuthIssuerUnknown, "the token's issuer is not configured here")
            })?;
        let generation = verifier.verify(&token).await?;
        // The clock is read again: fetching keys may have taken a while.
        let now = self.clock.now();
        let (principal, expires_at) = verifier.rules.check(&token, now)?;
        let principal = Arc::new(principal);
        self.cache.put(digest, principal.clone(), now, expires_at, (index, generation));
        Ok(principal)
    }
}

impl Verifier {
    fn new(issuer: Issuer, clock: &Arc<dyn Clock>) -> Result<Self> {
        issuer.check()?;
        let remote =
            |location| Remote::new(location, clock.clone()).map(|remote| Keys::Remote(Arc::new(remote)));
        let keys = match &issuer.keys {
            KeySource::File(path) => Keys::Fixed(keys::read_file(path)?),
            KeySource::Discovery => remote(Location::Discovery { issuer: issuer.issuer.clone() })?,
            KeySource::JwksUrl(url) => remote(Location::Jwks(url.clone()))?,
        };
        Ok(Self { algorithms: issuer.algorithms.clone(), rules: Rules::of(issuer), keys })
    }

    /// Checks the signature, with the algorithm that the key permits. Returns the keys' generation.
    async fn verify(&self, token: &Token<'_>) -> Result<u64> {
        if !self.algorithms.contains(&token.algorithm) {
            return Err(token::algorithm_not_allowed());
        }
        match &self.keys {
            Keys::Fixed(keys) => {
                keys.find(token.key_id.as_deref(), token.algorithm)?.verify(token)?;
                Ok(0)
            }
            Keys::Remote(remote) => {
                let (keys, generation) = remote.keys(token.key_id.as_deref()).await?;
                keys.find(token.key_id.as_deref(), token.algorithm)?.verify(token)?;
                Ok(generation)
            }
        }
    }

    fn generation(&self) -> u64 {
        match &self.keys {
            Keys::Fixed(_) => 0,
            Keys::Remote(remote) => remote.generation(),
        }
    }

    fn has_keys(&self) -> bool {
        match &self.keys {
            Keys::Fixed(_) => true,
            Keys::Remote(remote) => remote.has_keys(),
        }
    }
}

/// The bearer token of a request, still unread.
fn bearer(headers: &HeaderMap) -> Result<&str> {
    let missing = || Error::new(Code::AuthTokenMissing, "the request carries no bearer token");
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or_else(missing)?;
    if values.next().is_some() {
        return Err(Error::new(
            Code::AuthTokenMalformed,
            "the request has more than one `Authorization` header",
        ));
    }
    let malformed = || {
        Error::new(Code::AuthTokenMalformed, "the `Authorization` header has characters that no token has")
    };
    let text = value.to_str().map_err(|_| malformed())?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing());
    }
    let token = token.trim_matches(' ');
    if token.is_empty() {
        return Err(missing());
    }
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Error::new(
            Code::AuthTokenMalformed,
            format!("the token has {} bytes, more than the {MAX_TOKEN_BYTES} that are read", token.len()),
        ));
    }
    Ok(token)
}
