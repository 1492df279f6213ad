//! What is configured of an issuer.

use crate::address::secure_url;
use astradesk_core::{Code, Error, Result};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::path::PathBuf;

/// The most leeway that may be configured, in seconds.
pub const MAX_LEEWAY_SECONDS: u32 = 300;

/// An issuer of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The token's `iss`, exactly.
    pub issuer: String,
    /// What the token's `aud` must contain.
    pub audience: String,
    /// Where the public keys come from. Default: discovery.
    #[serde(default)]
    pub keys: KeySource,
    /// The algorithms that tokens of this issuer may be signed with. Default: `RS256`, `ES256` and `EdDSA`.
    #[serde(default = "Algorithm::all")]
    pub algorithms: Vec<Algorithm>,
    /// Which claim has the roles. Default: `roles`.
    #[serde(default)]
    pub roles_claim: RolesClaim,
    /// The scope that a token must have, in its `scope` (RFC 9068) or `scp`. Default: none.
    #[serde(default)]
    pub required_scope: Option<String>,
    /// By how many seconds the issuer's clock may differ. Default: 30; at most [`MAX_LEEWAY_SECONDS`].
    #[serde(default = "default_leeway")]
    pub leeway_seconds: u32,
}

const fn default_leeway() -> u32 {
    30
}

/// Where an issuer's public keys come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// The `jwks_uri` of `{issuer}/.well-known/openid-configuration`.
    #[default]
    Discovery,
    /// This JSON Web Key Set.
    JwksUrl(String),
    /// This file: a JSON Web Key Set, or one public key in PEM. Read once.
    File(PathBuf),
}

/// An algorithm that a token may be signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// RSA with SHA-256, keys of 2048 to 8192 bits.
    RS256,
    /// ECDSA with P-256 and SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// Every algorithm that is spoken here.
    pub fn all() -> Vec<Self> {
        vec![Self::RS256, Self::ES256, Self::EdDSA]
    }

    /// Reads a JOSE `alg`. `none`, HMAC and everything else that is not spoken here is `None`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "RS256" => Some(Self::RS256),
            "ES256" => Some(Self::ES256),
            // RFC 9864 names the curve; the key decides all the same.
            "EdDSA" | "Ed25519" => Some(Self::EdDSA),
            _ => None,
        }
    }
}

/// Which claim has the roles: `roles`, a path such as `realm_access.roles`, or a JSON pointer such as
/// `/realm_access/roles` (for names that have a dot).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolesClaim(Vec<String>);

impl RolesClaim {
    /// Reads a path or a JSON pointer of 1 to 16 parts.
    pub fn parse(text: &str) -> Result<Self> {
        let parts: Vec<String> = match text.strip_prefix('/') {
            Some(pointer) => {
                pointer.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
            }
            None => text.split('.').map(str::to_owned).collect(),
        };
        if parts.len() > 16 || parts.iter().any(String::is_empty) {
            return Err(Error::new(
                Code::ConfigInvalid,
                format!("`{}` is not the path of a claim", text.escape_debug()),
            )
            .with_remedy("write it as `roles`, `realm_access.roles` or `/realm_access/roles`"));
        }
        Ok(Self(parts))
    }

    /// The claim's value, if the token has it.
    pub(super) fn find<'a>(&self, claims: &'a serde_json::Map<String, Value>) -> Option<&'a Value> {
        let (first, rest) = self.0.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, part| value.get(part.as_str()))
    }
}

impl Default for RolesClaim {
    fn default() -> Self {
        Self(vec!["roles".to_owned()])
    }
}

impl<'de> Deserialize<'de> for RolesClaim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Issuer {
    /// An issuer whose keys are found by discovery, with the defaults for the rest.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            keys: KeySource::default(),
            algorithms: Algorithm::all(),
            roles_claim: RolesClaim::default(),
            required_scope: None,
            leeway_seconds: default_leeway(),
        }
    }

    /// Checks what can be checked without the network.
    pub(super) fn check(&self) -> Result<()> {
        let invalid =
            |what: String| Error::new(Code::ConfigInvalid, format!("issuer `{}`: {what}", self.issuer));
        if self.issuer.is_empty() || self.audience.is_empty() {
            return Err(invalid("`issuer` and `audience` must not be empty".into()));
        }
        if self.issuer == super::dev::ISSUER {
            return Err(invalid("the name is taken by the development issuer".into()));
        }
        if self.algorithms.is_empty() {
            return Err(invalid("`algorithms` must name at least one of RS256, ES256 and EdDSA".into()));
        }
        // The characters of RFC 6749, section 3.3.
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
        if self.required_scope.as_ref().is_some_and(|scope| scope.is_empty() || !scope.chars().all(plain)) {
            return Err(invalid("`required_scope` must be one scope, without spaces and quotes".into()));
        }
        if self.leeway_seconds > MAX_LEEWAY_SECONDS {
            return Err(invalid(format!("`leeway_seconds` must be at most {MAX_LEEWAY_SECONDS}")));
        }
        let checked = match &self.keys {
            KeySource::Discovery => secure_url(&self.issuer),
            KeySource::JwksUrl(url) => secure_url(url),
            KeySource::File(_) => return Ok(()),
        };
        checked.map(drop).map_err(|what| invalid(format!("the URL of its keys {what}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_is_named_by_a_path_or_by_a_pointer() {
        let claims = json!({"roles": 1, "realm_access": {"roles": 2}, "https://a.b/roles": 3});
        let claims = claims.as_object().unwrap();
        for (path, value) in [
            ("roles", Some(1)),
            ("realm_access.roles", Some(2)),
            ("/realm_access/roles", Some(2)),
            ("/https:~1~1a.b~1roles", Some(3)),
            ("roles.x", None),
            ("nope", None),
        ] {
            let found = RolesClaim::parse(path).unwrap().find(claims).and_then(Value::as_i64);
            assert_eq!(found, value, "{path}");
        }
        for path in ["", "/", "a..b", ".a"] {
            assert!(RolesClaim::parse(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_configuration_that_cannot_be_trusted_is_refused() {
        let good = Issuer::new("https://login.example.com", "astradesk");
        assert!(good.check().is_ok());
        for bad in [
            Issuer { leeway_seconds: 301, ..good.clone() },
            Issuer { algorithms: vec![], ..good.clone() },
            Issuer { required_scope: Some(String::new()), ..good.clone() },
            Issuer { required_scope: Some("a b".into()), ..good.clone() },
            Issuer { required_scope: Some("a\"".into()), ..good.clone() },
            Issuer { audience: String::new(), ..good.clone() },
            Issuer { issuer: "astradesk-dev".into(), keys: KeySource::File("x".into()), ..good.clone() },
            Issuer { keys: KeySource::JwksUrl("http://login.example.com/jwks".into()), ..good },
        ] {
            assert_eq!(bad.check().unwrap_err().code, Code::ConfigInvalid, "{bad:?}");
        }
    }
}
