//! The three parts of a token, read without trusting any of them.

use super::Algorithm;
use astradesk_core::{Code, Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// The longest key id, in bytes.
const MAX_KEY_ID: usize = 256;

/// A token whose signature has not been checked yet.
pub(super) struct Token<'a> {
    /// What the header says; only ever compared with what the key permits.
    pub(super) algorithm: Algorithm,
    /// Which key the header names.
    pub(super) key_id: Option<String>,
    /// Who the claims say has issued it.
    pub(super) issuer: String,
    /// The claims.
    pub(super) claims: Map<String, Value>,
    /// What is signed: header and claims as they were sent.
    pub(super) signed: &'a str,
    /// The signature, in base64.
    pub(super) signature: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<IgnoredAny>,
    #[serde(default)]
    b64: Option<IgnoredAny>,
}

impl<'a> Token<'a> {
    /// Takes a compact JWS apart.
    pub(super) fn read(text: &'a str) -> Result<Self> {
        let (signed, signature) =
            text.rsplit_once('.').ok_or_else(|| malformed("is not three parts with dots between"))?;
        let (header, claims) =
            signed.split_once('.').ok_or_else(|| malformed("is not three parts with dots between"))?;
        if claims.contains('.') {
            return Err(malformed("is not three parts with dots between"));
        }
        let header: Header = part(header, "header")?;
        if header.crit.is_some() || header.b64.is_some() {
            return Err(malformed("has critical header parameters, which are not understood here"));
        }
        if header.kid.as_ref().is_some_and(|kid| kid.len() > MAX_KEY_ID) {
            return Err(malformed("has a key id of more than 256 bytes"));
        }
        let algorithm = Algorithm::parse(&header.alg).ok_or_else(algorithm_not_allowed)?;
        let claims: Map<String, Value> = part(claims, "claims")?;
        let issuer = match claims.get("iss") {
            Some(Value::String(issuer)) => issuer.clone(),
            Some(_) => return Err(Error::new(Code::AuthClaimsInvalid, "the token's `iss` is not a string")),
            None => return Err(Error::new(Code::AuthClaimsInvalid, "the token has no `iss`")),
        };
        Ok(Self { algorithm, key_id: header.kid, issuer, claims, signed, signature })
    }
}

/// Decodes a part; neither the text nor the parser's message is passed on, since both show what was sent.
fn part<T: serde::de::DeserializeOwned>(text: &str, name: &str) -> Result<T> {
    let bytes =
        URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed(&format!("has {name} that are not base64url")))?;
    serde_json::from_slice(&bytes)
        .map_err(|_| malformed(&format!("has {name} that are not the JSON object of a JWT")))
}

fn malformed(what: &str) -> Error {
    Error::new(Code::AuthTokenMalformed, format!("the token {what}"))
}

pub(super) fn algorithm_not_allowed() -> Error {
    Error::new(
        Code::AuthAlgorithmNotAllowed,
        "the token is signed with an algorithm that is not allowed here",
    )
}
