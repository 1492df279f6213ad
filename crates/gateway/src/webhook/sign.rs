//! Secrets, and signatures by the Standard Webhooks specification: HMAC-SHA256 of `id.timestamp.body`.

use aws_lc_rs::hmac::{self, HMAC_SHA256, Key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// How a secret begins.
const PREFIX: &str = "whsec_";
/// How many bytes a secret has.
const BYTES: RangeInclusive<usize> = 24..=64;
/// The most secrets of one webhook.
const MOST: usize = 4;

/// The secrets of a webhook, of which each signs. They are shown to nobody.
#[derive(Clone)]
pub(super) struct Secrets(Arc<[Key]>);

impl Secrets {
    /// Reads one secret, or several with white space between.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let keys: Vec<Key> = text.split_whitespace().map(key).collect::<Result<_, _>>()?;
        match keys.len() {
            0 => Err("is empty".to_owned()),
            1..=MOST => Ok(Self(keys.into())),
            many => Err(format!("is {many} secrets, and there may be {MOST}")),
        }
    }

    /// The value of `webhook-signature`: one signature of each secret.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let signed = format!("{id}.{timestamp}.{body}");
        let signatures = self.0.iter().map(|key| {
            let tag = hmac::sign(key, signed.as_bytes());
            format!("v1,{}", STANDARD.encode(tag))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

fn key(text: &str) -> Result<Key, String> {
    let wrong = || format!("must be `{PREFIX}` and the base64 of {} to {} bytes", BYTES.start(), BYTES.end());
    let encoded = text.strip_prefix(PREFIX).ok_or_else(wrong)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| wrong())?;
    if BYTES.contains(&bytes.len()) { Ok(Key::new(HMAC_SHA256, &bytes)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the reference implementations.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let secrets = Secrets::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
        let body = r#"{"email":"test@example.com","username":"test_user"}"#;
        let signature = secrets.sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body);
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn while_a_secret_is_changed_both_sign() {
        let (old, new) = ("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let sign = |text: &str| Secrets::parse(text).unwrap().sign("a", 1, "{}");
        assert_eq!(sign(&format!("{old}\n{new}\n")), format!("{} {}", sign(old), sign(new)));
        assert!(Secrets::parse(&[old; 5].join(" ")).is_err());
    }
}
