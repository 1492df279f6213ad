//! The development issuer: a key of this machine that mints tokens, for loopback only.

use super::Algorithm;
use super::keys::KeySet;
use astradesk_core::{Code, Error, Result, RoleName, Timestamp};
use astradesk_runtime::key;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// The `iss` of tokens of the development issuer.
pub const ISSUER: &str = "astradesk-dev";
/// Their `aud`.
pub const AUDIENCE: &str = "astradesk";
/// The longest that such a token may be valid.
pub const MAX_TTL: Duration = Duration::from_hours(24);

/// Mints tokens with an Ed25519 key. A gateway accepts them on a loopback address only.
pub struct DevIssuer(Ed25519KeyPair);

impl DevIssuer {
    /// An issuer with a fresh key, which is forgotten with it.
    pub fn generate() -> Result<Self> {
        Self::from_pkcs8(&key::fresh()?)
    }

    /// An issuer with the key in the file, which is made (readable for its owner only) when there is none.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`] when the file cannot be read, cannot be made, or has no Ed25519 key.
    pub fn from_file(path: &Path) -> Result<Self> {
        let invalid = |what: String| {
            Error::new(
                Code::ConfigInvalid,
                format!("the key file `{}` cannot be used: {what}", path.display()),
            )
        };
        let document = key::of_file(path).map_err(|error| invalid(error.to_string()))?;
        Self::from_pkcs8(&document).map_err(|error| invalid(error.message))
    }

    /// A token for `subject` with these roles, valid from `now` for `ttl` (1 second to [`MAX_TTL`]).
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`] when the time to live is out of bounds.
    pub fn mint(&self, subject: &str, roles: &[RoleName], ttl: Duration, now: Timestamp) -> Result<String> {
        if ttl < Duration::from_secs(1) || ttl > MAX_TTL {
            return Err(Error::new(Code::ConfigInvalid, "a token may be valid for 1 second to 24 hours"));
        }
        let issued = now.as_second();
        let header = json!({"alg": "EdDSA", "typ": "JWT"});
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "roles": roles,
            "iat": issued, "exp": issued + ttl.as_secs() as i64,
        });
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes()));
        Ok(format!("{signed}.{signature}"))
    }

    /// The public key, as an issuer's only key.
    pub(super) fn keys(&self) -> KeySet {
        KeySet::single(Algorithm::EdDSA, DecodingKey::from_ed_der(self.0.public_key().as_ref()))
    }

    fn from_pkcs8(document: &[u8]) -> Result<Self> {
        Ed25519KeyPair::from_pkcs8(document)
            .map(Self)
            .map_err(|_| Error::new(Code::ConfigInvalid, "it is not an Ed25519 key in PKCS#8"))
    }
}
