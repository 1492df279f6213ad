//! Signed checkpoints of the evidence chain, and its verification offline.

use astradesk_core::canonical::{self, Digest};
use astradesk_core::evidence::Head;
use astradesk_core::{Code, Error, Result, Timestamp};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fmt::Write as _;

/// A statement, signed with Ed25519, that the chain had this end at this time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The last record's place.
    pub seq: u64,
    /// The last record's hash.
    pub hash: Digest,
    /// When it was signed.
    pub at: Timestamp,
    /// The public key, 64 hexadecimal digits.
    pub key: String,
    /// The signature over the canonical JSON of `seq`, `hash` and `at`, 128 hexadecimal digits.
    pub signature: String,
}

impl Checkpoint {
    fn statement(head: Head, at: Timestamp) -> String {
        canonical::text(&json!({"seq": head.seq, "hash": head.hash, "at": at}))
    }

    /// The text.
    pub fn text(&self) -> String {
        json!(self).to_string()
    }

    /// Reads the text.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| Error::new(Code::EvidenceBroken, error.to_string()))
    }

    /// What it pins.
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }

    /// When it was signed.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Checks the signature against the key that the checkpoint must be signed with.
    pub fn verify(&self, trusted_key: &str) -> Result<Head> {
        let head = Head { seq: self.seq, hash: self.hash };
        let broken = |what: &str| {
            Error::new(Code::EvidenceBroken, format!("the checkpoint at record {}: {what}", self.seq))
        };
        if self.key != trusted_key {
            return Err(broken("it is signed with another key than the trusted one"));
        }
        let key = from_hex(&self.key).ok_or_else(|| broken("its key is not hexadecimal"))?;
        let signature =
            from_hex(&self.signature).ok_or_else(|| broken("its signature is not hexadecimal"))?;
        UnparsedPublicKey::new(&ED25519, key)
            .verify(Self::statement(head, self.at).as_bytes(), &signature)
            .map_err(|_| broken("its signature does not match"))?;
        Ok(head)
    }
}

/// Signs checkpoints.
pub struct Signer(Ed25519KeyPair);

impl Signer {
    /// Reads a PKCS#8 document.
    pub fn from_pkcs8(document: &[u8]) -> Result<Self> {
        Ed25519KeyPair::from_pkcs8(document)
            .map(Self)
            .map_err(|_| Error::new(Code::ConfigInvalid, "the evidence key is not an Ed25519 key in PKCS#8"))
    }

    /// The public key, 64 hexadecimal digits.
    pub fn public_key(&self) -> String {
        to_hex(self.0.public_key().as_ref())
    }

    /// Signs the end of the chain.
    pub fn checkpoint(&self, head: Head, at: Timestamp) -> Checkpoint {
        let signature = self.0.sign(Checkpoint::statement(head, at).as_bytes());
        Checkpoint {
            seq: head.seq,
            hash: head.hash,
            at,
            key: self.public_key(),
            signature: to_hex(signature.as_ref()),
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_holds_only_for_its_key_and_its_words() {
        let signer = Signer::from_pkcs8(&crate::key::fresh().unwrap()).unwrap();
        let head = Head { seq: 7, hash: Digest::of("x") };
        let good = signer.checkpoint(head, Timestamp::UNIX_EPOCH);
        assert_eq!(good.verify(&signer.public_key()).unwrap(), head);

        let other = Signer::from_pkcs8(&crate::key::fresh().unwrap()).unwrap();
        assert!(good.verify(&other.public_key()).is_err());
        assert!(Checkpoint { seq: 8, ..good.clone() }.verify(&signer.public_key()).is_err());
        assert!(Checkpoint { signature: "00".repeat(64), ..good }.verify(&signer.public_key()).is_err());
    }
}
