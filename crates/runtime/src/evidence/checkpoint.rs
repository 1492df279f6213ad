//! A signed statement on the end of the chain, in the form of a C2SP checkpoint.
//!
//! ```text
//! astradesk.dev/evidence/5d1a0b8c2f9e7a31      the chain's name, which comes from the key
//! 20852163                                     the last record's place
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I= the last record's hash
//! time 2026-03-01T09:30:00Z                    when it was signed
//! cut                                          only on a cut: the records up to here were removed
//!
//! — astradesk.dev/evidence/5d1a0b8c2f9e7a31 Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp…
//! ```
//!
//! A transparency log has a tree's size and root hash in the second and third lines (<https://c2sp.org/tlog-checkpoint>);
//! this chain has no tree, so there is no proof shorter than the chain itself.

use super::note::{self, Note, TrustedKey};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::Head;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result, Timestamp};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What stands before the time.
const TIME: &str = "time ";
/// The line that makes a checkpoint a cut.
const CUT: &str = "cut";

/// A statement, signed with Ed25519, that the chain had this end at this time.
#[derive(Clone, PartialEq, Eq)]
pub struct Checkpoint {
    note: String,
    head: Head,
    at: Timestamp,
    is_cut: bool,
    key: Option<TrustedKey>,
}

impl Checkpoint {
    /// Reads a note. It is not verified yet.
    ///
    /// # Errors
    /// [`Code::EvidenceBroken`].
    pub fn parse(note: &str) -> Result<Self> {
        let (head, at, is_cut) = Note::parse(note).and_then(|parts| read(parts.text)).ok_or_else(|| {
            Error::new(
                Code::EvidenceBroken,
                "a checkpoint is not a signed note with origin, place, hash and time",
            )
        })?;
        Ok(Self { note: note.to_owned(), head, at, is_cut, key: None })
    }

    /// The note.
    pub fn text(&self) -> &str {
        &self.note
    }

    /// The end of the chain that it states.
    pub fn head(&self) -> Head {
        self.head
    }

    /// When it was signed.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The name of the chain.
    pub fn origin(&self) -> &str {
        self.note.lines().next().unwrap_or_default()
    }

    /// Whether it says that the records up to its place were removed.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The key that came with it. That it came with it is no reason to trust it.
    pub fn key(&self) -> Option<&TrustedKey> {
        self.key.as_ref()
    }

    /// The same with the key that goes with it, if it is one of those that it names.
    pub fn with_key(mut self, key: &TrustedKey) -> Self {
        if Note::parse(&self.note).is_some_and(|note| note.names(key)) {
            self.key = Some(key.clone());
        }
        self
    }

    /// Checks that the trusted key has signed it, for the chain of that key.
    ///
    /// # Errors
    /// [`Code::EvidenceBroken`].
    pub fn verify(&self, trusted: &TrustedKey) -> Result<Head> {
        let broken = |what: String| {
            let message = format!("the checkpoint at record {} {what}", self.head.seq);
            Error::new(Code::EvidenceBroken, message).with_detail("seq", self.head.seq)
        };
        let note = Note::parse(&self.note).ok_or_else(|| broken("is not a signed note".to_owned()))?;
        if !note.names(trusted) {
            let what =
                format!("is signed by {}, not by the trusted key `{}`", note.signers(), trusted.label());
            return Err(broken(what));
        }
        if !note.is_signed_by(trusted) {
            return Err(broken("has a signature that does not match".to_owned()));
        }
        if self.origin() != trusted.name() {
            return Err(broken(format!("is about another chain, `{}`", shown(self.origin(), 200))));
        }
        Ok(self.head)
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.note)
    }
}

/// The text of a checkpoint, read strictly: there is one way to write each.
fn read(text: &str) -> Option<(Head, Timestamp, bool)> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let (origin, seq, hash, time, cut) =
        (lines.next()?, lines.next()?, lines.next()?, lines.next()?, lines.next());
    let head = Head {
        seq: seq.parse().ok()?,
        hash: Digest::new(BASE64_STANDARD.decode(hash).ok()?.try_into().ok()?),
    };
    let at = time.strip_prefix(TIME)?.parse().ok()?;
    let is_cut = cut == Some(CUT);
    (lines.next().is_none() && write(origin, head, at, is_cut) == text).then_some((head, at, is_cut))
}

fn write(origin: &str, head: Head, at: Timestamp, is_cut: bool) -> String {
    let hash = BASE64_STANDARD.encode(head.hash.as_bytes());
    let cut = if is_cut { "cut\n" } else { "" };
    format!("{origin}\n{}\n{hash}\n{TIME}{at}\n{cut}", head.seq)
}

/// A checkpoint as JSON: the note, and what it says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    note: String,
    seq: u64,
    hash: Digest,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<TrustedKey>,
}

impl Serialize for Checkpoint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Head { seq, hash } = self.head;
        Told { note: self.note.clone(), seq, hash, at: self.at, key: self.key.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Checkpoint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Told { note, seq, hash, at, key } = Told::deserialize(deserializer)?;
        let checkpoint = Self::parse(&note).map_err(serde::de::Error::custom)?;
        if (checkpoint.head, checkpoint.at) != (Head { seq, hash }, at) {
            return Err(serde::de::Error::custom(
                "what stands beside a checkpoint's note is not what it says",
            ));
        }
        Ok(key.map_or(checkpoint.clone(), |key| checkpoint.with_key(&key)))
    }
}

/// Signs checkpoints.
pub struct Signer {
    pair: Ed25519KeyPair,
    key: TrustedKey,
}

impl Signer {
    /// Reads a PKCS#8 document.
    pub fn from_pkcs8(document: &[u8]) -> Result<Self> {
        let invalid = || Error::new(Code::ConfigInvalid, "the evidence key is not an Ed25519 key in PKCS#8");
        let pair = Ed25519KeyPair::from_pkcs8(document).map_err(|_| invalid())?;
        let key = pair.public_key().as_ref().try_into().map_err(|_| invalid())?;
        Ok(Self { pair, key: TrustedKey::new(key) })
    }

    /// The public key, to be kept elsewhere and given to who verifies.
    pub fn key(&self) -> &TrustedKey {
        &self.key
    }

    /// Signs the end of the chain.
    pub fn checkpoint(&self, head: Head, at: Timestamp) -> Checkpoint {
        self.state(head, at, false)
    }

    /// Signs that the records up to `head` were removed on purpose. A plain checkpoint does not say so: whoever
    /// removes records cannot pass it off as where the chain begins.
    pub fn cut(&self, head: Head, at: Timestamp) -> Checkpoint {
        self.state(head, at, true)
    }

    fn state(&self, head: Head, at: Timestamp, is_cut: bool) -> Checkpoint {
        let text = write(self.key.name(), head, at, is_cut);
        let signature = self.pair.sign(text.as_bytes());
        let note = note::signed(&text, &self.key, signature.as_ref());
        Checkpoint { note, head, at, is_cut, key: Some(self.key.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::from_pkcs8(&crate::key::fresh().unwrap()).unwrap()
    }

    #[test]
    fn a_checkpoint_holds_only_for_its_key_and_its_words() {
        let signer = signer();
        let head = Head { seq: 7, hash: Digest::of("x") };
        let good = signer.checkpoint(head, Timestamp::UNIX_EPOCH);
        assert_eq!(good.verify(signer.key()).unwrap(), head);
        assert_eq!(good.origin(), signer.key().name());

        let other = self::signer();
        let error = good.verify(other.key()).unwrap_err();
        assert!(error.message.contains(signer.key().name()), "names the key: {}", error.message);
        let changed = |from: &str, to: &str| Checkpoint::parse(&good.text().replacen(from, to, 1)).unwrap();
        assert!(changed("\n7\n", "\n8\n").verify(signer.key()).is_err());
        assert!(changed("time 1970", "time 1971").verify(signer.key()).is_err());
        assert!(changed("Z\n", "Z\ncut\n").verify(signer.key()).is_err());
        assert!(changed(signer.key().name(), "astradesk.dev/evidence/0").verify(signer.key()).is_err());
    }

    #[test]
    fn a_key_does_not_speak_for_another_chain() {
        let signer = signer();
        let text = write("example.com/other", Head::EMPTY, Timestamp::UNIX_EPOCH, false);
        let note = note::signed(&text, signer.key(), signer.pair.sign(text.as_bytes()).as_ref());
        let error = Checkpoint::parse(&note).unwrap().verify(signer.key()).unwrap_err();
        assert!(error.message.contains("another chain"), "{}", error.message);
    }

    #[test]
    fn the_text_of_a_checkpoint_has_one_form() {
        let signer = signer();
        let at: Timestamp = "2026-03-01T09:30:00.25Z".parse().unwrap();
        let head = Head { seq: 20_852_163, hash: Digest::of("y") };
        let cut = signer.cut(head, at);
        let origin = signer.key().name();
        assert!(cut.is_cut() && !signer.checkpoint(head, at).is_cut());
        let hash = BASE64_STANDARD.encode(head.hash.as_bytes());
        let text = format!("{origin}\n20852163\n{hash}\ntime 2026-03-01T09:30:00.25Z\ncut\n\n— {origin} ");
        assert!(cut.text().starts_with(&text), "{cut:?}");
        for (from, to) in [
            ("\n20852163\n", "\n020852163\n"),
            ("\n20852163\n", "\n+20852163\n"),
            ("time ", ""),
            ("09:30:00.25Z", "09:30:00.250Z"),
            ("09:30:00.25Z", "10:30:00.25+01:00"),
            ("\ncut\n", "\nmore\n"),
            ("\ncut\n", "\ncut\nmore\n"),
            ("=\n", "\n"),
        ] {
            let error = Checkpoint::parse(&cut.text().replacen(from, to, 1)).unwrap_err();
            assert_eq!(error.code, Code::EvidenceBroken, "{from:?} {to:?}");
        }
        assert_eq!(Checkpoint::parse(cut.text()).unwrap().with_key(signer.key()), cut);
    }

    #[test]
    fn json_says_what_the_note_says() {
        let signer = signer();
        let good = signer.checkpoint(Head { seq: 7, hash: Digest::of("x") }, Timestamp::UNIX_EPOCH);
        let json = serde_json::to_value(&good).unwrap();
        assert_eq!((&json["seq"], &json["key"]), (&serde_json::json!(7), &serde_json::json!(signer.key())));
        assert_eq!(serde_json::from_value::<Checkpoint>(json.clone()).unwrap(), good);
        let mut lies = json.clone();
        lies["seq"] = 8.into();
        assert!(serde_json::from_value::<Checkpoint>(lies).is_err());
        let mut other = json;
        other["key"] = serde_json::json!(self::signer().key());
        assert_eq!(
            serde_json::from_value::<Checkpoint>(other).unwrap().key(),
            None,
            "not a key that it names"
        );
    }
}
