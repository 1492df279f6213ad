//! From verified claims to a principal.

use super::token::Token;
use super::{Issuer, RolesClaim, dev};
use astradesk_core::{Code, Error, Principal, Result, RoleName, Timestamp};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The most roles that a token may give.
const MAX_ROLES: usize = 128;
/// The longest subject, in characters.
const MAX_SUBJECT: usize = 256;

/// What an issuer's claims must say.
pub(super) struct Rules {
    pub(super) issuer: String,
    audience: String,
    roles: RolesClaim,
    pub(super) scope: Option<String>,
    leeway: i64,
}

impl Rules {
    pub(super) fn of(issuer: Issuer) -> Self {
        Self {
            issuer: issuer.issuer,
            audience: issuer.audience,
            roles: issuer.roles_claim,
            scope: issuer.required_scope,
            leeway: i64::from(issuer.leeway_seconds),
        }
    }

    pub(super) fn development() -> Self {
        Self {
            issuer: dev::ISSUER.to_owned(),
            audience: dev::AUDIENCE.to_owned(),
            roles: RolesClaim::default(),
            scope: None,
            leeway: 0,
        }
    }

    /// The principal that the claims describe, and when that ends (in seconds of Unix time, leeway included).
    pub(super) fn check(&self, token: &Token<'_>, now: Timestamp) -> Result<(Principal, i64)> {
        let claims = &token.claims;
        let ends_at = self.check_times(claims, now.as_second())?;
        if !audience(claims)?.any(|audience| audience == self.audience) {
            return Err(Error::new(Code::AuthAudienceMismatch, "the token is meant for another audience"));
        }
        if let Some(scope) = &self.scope
            && !has_scope(claims, scope)
        {
            let message = format!("the token lacks the scope `{scope}`");
            return Err(Error::new(Code::AuthScopeMissing, message).with_detail("scope", scope.clone()));
        }
        let subject = name(claims.get("sub"), "sub")?;
        let actor = match claims.get("act") {
            None => None,
            Some(act) => Some(name(act.get("sub"), "act.sub")?),
        };
        let roles = self.roles.find(claims).map_or_else(|| Ok(BTreeSet::new()), roles)?;
        Ok((Principal { subject, issuer: self.issuer.clone(), roles, actor }, ends_at))
    }

    fn check_times(&self, claims: &Map<String, Value>, now: i64) -> Result<i64> {
        let expires = seconds(claims, "exp")?.ok_or_else(|| invalid("the token has no `exp`"))?;
        let ends_at = expires.saturating_add(self.leeway);
        if ends_at <= now {
            return Err(Error::new(Code::AuthTokenExpired, "the token has expired"));
        }
        let latest = now.saturating_add(self.leeway);
        if seconds(claims, "nbf")?.is_some_and(|not_before| not_before > latest) {
            return Err(Error::new(Code::AuthTokenNotYetValid, "the token is not valid yet"));
        }
        if let Some(issued) = seconds(claims, "iat")? {
            if issued > latest {
                return Err(Error::new(Code::AuthTokenNotYetValid, "the token was issued in the future"));
            }
            if issued > expires {
                return Err(invalid("the token expires before it was issued"));
            }
        }
        Ok(ends_at)
    }
}

/// A `NumericDate`, whole or with a fraction; absent is `None`, and anything else is refused.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>> {
    /// The year 9999: numbers beyond it are mistakes (milliseconds, mostly).
    const LATEST: f64 = 253_402_300_799.0;
    let Some(value) = claims.get(name) else { return Ok(None) };
    match value.as_f64() {
        Some(number) if (0.0..=LATEST).contains(&number) => Ok(Some(number.floor() as i64)),
        _ => Err(invalid(&format!("the token's `{name}` is not a time in seconds"))),
    }
}

fn audience(claims: &Map<String, Value>) -> Result<impl Iterator<Item = &str>> {
    let several: &[Value] = match claims.get("aud") {
        Some(Value::Array(several)) => several,
        Some(one @ Value::String(_)) => std::slice::from_ref(one),
        Some(_) => return Err(invalid("the token's `aud` is not a string or a list of strings")),
        None => return Err(invalid("the token has no `aud`")),
    };
    Ok(several.iter().filter_map(Value::as_str))
}

/// Whether the scope is in `scope`, a text with spaces between, or in `scp`, which some issuers write as a list.
fn has_scope(claims: &Map<String, Value>, wanted: &str) -> bool {
    let given = ["scope", "scp"].into_iter().filter_map(|name| claims.get(name));
    given
        .flat_map(|value| match value {
            Value::String(text) => text.split(' ').collect(),
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        })
        .any(|scope| scope == wanted)
}

fn name(value: Option<&Value>, claim: &str) -> Result<String> {
    let text = value
        .and_then(Value::as_str)
        .ok_or_else(|| invalid(&format!("the token has no `{claim}` that is a string")))?;
    if text.is_empty() || text.chars().count() > MAX_SUBJECT || text.chars().any(char::is_control) {
        return Err(invalid(&format!(
            "the token's `{claim}` is not 1 to {MAX_SUBJECT} characters without control characters"
        )));
    }
    Ok(text.to_owned())
}

/// A list of strings, or one string with spaces between the roles. One bad role spoils the token: half of
/// what an issuer meant is not what it meant.
fn roles(value: &Value) -> Result<BTreeSet<RoleName>> {
    let wrong =
        || invalid("the token's roles are not a list of role names, or role names with spaces between");
    let texts: Vec<&str> = match value {
        Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(wrong)?,
        Value::String(text) => text.split(' ').filter(|role| !role.is_empty()).collect(),
        _ => return Err(wrong()),
    };
    if texts.len() > MAX_ROLES {
        return Err(invalid(&format!("the token gives {} roles, more than {MAX_ROLES}", texts.len())));
    }
    texts.into_iter().map(RoleName::parse).collect::<Result<_>>().map_err(|_| wrong())
}

fn invalid(message: &str) -> Error {
    Error::new(Code::AuthClaimsInvalid, message)
}
