//! Public keys, each with the one algorithm that it permits.

use super::Algorithm;
use super::token::{Token, algorithm_not_allowed};
use astradesk_core::{Code, Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// The most keys that one issuer may have.
pub(super) const MAX_KEYS: usize = 64;
/// The largest key set, in bytes.
pub(super) const MAX_BYTES: usize = 256 * 1024;

/// A public key and what it may verify.
#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    public: DecodingKey,
}

/// An issuer's keys.
#[derive(Clone, Default)]
pub(super) struct KeySet(Vec<Key>);

impl KeySet {
    /// The key with this id, or the only key for the algorithm when the token names none.
    ///
    /// # Errors
    /// [`Code::AuthKeyUnknown`]; [`Code::AuthAlgorithmNotAllowed`] when the key is of another algorithm.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key> {
        let mut named = self.0.iter().filter(|key| id.is_none() || key.id.as_deref() == id).peekable();
        if named.peek().is_none() {
            return Err(Error::new(Code::AuthKeyUnknown, "the token's key is not among the issuer's keys"));
        }
        let mut fitting = named.filter(|key| key.algorithm == algorithm);
        let found = fitting.next().ok_or_else(algorithm_not_allowed)?;
        if id.is_none() && fitting.next().is_some() {
            return Err(Error::new(
                Code::AuthKeyUnknown,
                "the token names no key, and the issuer has several",
            ));
        }
        Ok(found)
    }

    /// Whether a key with this id is here; a token without an id needs any key at all.
    pub(super) fn has(&self, id: Option<&str>) -> bool {
        self.0.iter().any(|key| id.is_none() || key.id.as_deref() == id)
    }

    /// A set of one key without an id.
    pub(super) fn single(algorithm: Algorithm, key: DecodingKey) -> Self {
        Self(vec![Key { id: None, algorithm, public: key }])
    }

    /// Reads a JSON Web Key Set. Keys that are not for signatures of a known algorithm are left out.
    pub(super) fn from_jwks(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(text).map_err(|_| "it is not a JSON Web Key Set".to_owned())?;
        if set.keys.len() > MAX_KEYS {
            return Err(format!("it has {} keys, more than {MAX_KEYS}", set.keys.len()));
        }
        let keys: Vec<Key> = set.keys.into_iter().filter_map(Key::from_jwk).collect();
        if keys.is_empty() {
            return Err("it has no RSA, P-256 or Ed25519 key for signatures".to_owned());
        }
        Ok(Self(keys))
    }

    /// Reads one public key in PEM.
    pub(super) fn from_pem(text: &[u8]) -> Result<Self, String> {
        /// An uncompressed point of P-256.
        const P256_BYTES: usize = 65;
        if let Ok(key) = DecodingKey::from_ed_pem(text) {
            return Ok(Self::single(Algorithm::EdDSA, key));
        }
        if let Ok(key) = DecodingKey::from_ec_pem(text)
            && key.try_get_as_bytes().is_ok_and(|bytes| bytes.len() == P256_BYTES)
        {
            return Ok(Self::single(Algorithm::ES256, key));
        }
        if let Ok(key) = DecodingKey::from_rsa_pem(text) {
            return Ok(Self::single(Algorithm::RS256, key));
        }
        Err("it is not a public key in PEM: RSA, P-256 or Ed25519".to_owned())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Key {
    /// Checks the signature of a token that names this key.
    pub(super) fn verify(&self, token: &Token<'_>) -> Result<()> {
        // `find` has compared the two already; this is where it must never be forgotten.
        if token.algorithm != self.algorithm {
            return Err(algorithm_not_allowed());
        }
        let algorithm = match self.algorithm {
            Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        };
        match jsonwebtoken::crypto::verify(token.signature, token.signed.as_bytes(), &self.public, algorithm)
        {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => {
                Err(Error::new(Code::AuthSignatureInvalid, "the token's signature does not match its key"))
            }
        }
    }

    /// The key of a JWK, if it is one for signatures of a known algorithm.
    fn from_jwk(jwk: Value) -> Option<Self> {
        #[derive(Deserialize)]
        struct Jwk {
            kty: String,
            kid: Option<String>,
            alg: Option<String>,
            #[serde(rename = "use")]
            purpose: Option<String>,
            key_ops: Option<Vec<String>>,
            crv: Option<String>,
            n: Option<String>,
            e: Option<String>,
            x: Option<String>,
            y: Option<String>,
        }
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        let for_signatures = jwk.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !for_signatures {
            return None;
        }
        let (algorithm, public) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (jwk.n?, jwk.e?);
                let bytes = URL_SAFE_NO_PAD.decode(&n).ok()?.len();
                if !(256..=1025).contains(&bytes) {
                    return None;
                }
                (Algorithm::RS256, DecodingKey::from_rsa_components(&n, &e).ok()?)
            }
            ("EC", Some("P-256")) => {
                (Algorithm::ES256, DecodingKey::from_ec_components(&jwk.x?, &jwk.y?).ok()?)
            }
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, DecodingKey::from_ed_components(&jwk.x?).ok()?),
            _ => return None,
        };
        if jwk.alg.is_some_and(|alg| Algorithm::parse(&alg) != Some(algorithm)) {
            return None;
        }
        Some(Self { id: jwk.kid, algorithm, public })
    }
}

/// Reads the keys of a file: a JSON Web Key Set, or one public key in PEM.
pub(super) fn read_file(path: &Path) -> Result<KeySet> {
    let invalid = |what: String| {
        Error::new(Code::ConfigInvalid, format!("the key file `{}` cannot be used: {what}", path.display()))
    };
    let size = std::fs::metadata(path).map_err(|error| invalid(error.to_string()))?.len();
    if size > MAX_BYTES as u64 {
        return Err(invalid(format!("it has {size} bytes, more than {MAX_BYTES}")));
    }
    let text = std::fs::read(path).map_err(|error| invalid(error.to_string()))?;
    let pem = text.trim_ascii_start().starts_with(b"-----BEGIN");
    let keys = if pem { KeySet::from_pem(&text) } else { KeySet::from_jwks(&text) };
    keys.map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_keys_for_signatures_of_a_known_algorithm_are_taken() {
        let x = URL_SAFE_NO_PAD.encode([1; 32]);
        let modulus = URL_SAFE_NO_PAD.encode([0xff; 256]);
        let weak = URL_SAFE_NO_PAD.encode([0xff; 128]);
        let set = |keys: Value| KeySet::from_jwks(json!({"keys": keys}).to_string().as_bytes());
        let good = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        for (jwk, taken) in [
            (json!({"kty": "OKP", "crv": "Ed25519", "x": x, "alg": "EdDSA", "use": "sig"}), 1),
            (json!({"kty": "EC", "crv": "P-256", "x": x, "y": x, "key_ops": ["verify"]}), 1),
            (json!({"kty": "RSA", "n": modulus, "e": "AQAB"}), 1),
            (json!({"kty": "RSA", "n": weak, "e": "AQAB"}), 0),
            (json!({"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS512"}), 0),
            (json!({"kty": "RSA", "n": modulus, "e": "AQAB", "use": "enc"}), 0),
            (json!({"kty": "EC", "crv": "P-384", "x": x, "y": x}), 0),
            (json!({"kty": "oct", "k": x}), 0),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": x, "key_ops": ["sign"]}), 0),
            (json!(7), 0),
        ] {
            assert_eq!(set(json!([good, jwk])).unwrap().len(), 1 + taken, "{jwk}");
        }
        assert!(set(json!([])).is_err());
        assert!(set(json!(vec![good; 65])).is_err());
        assert!(KeySet::from_jwks(b"<html>").is_err());
    }
}
