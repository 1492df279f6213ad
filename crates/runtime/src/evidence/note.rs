//! Signed notes (<https://c2sp.org/signed-note>), with Ed25519.
//!
//! A note is a text that ends in a newline, a blank line, and a line `— NAME BASE64` for each signature. The name
//! and four bytes, the key's id, say which key it is. Signatures of unknown keys are of no interest; one of a
//! known key that does not match makes the whole note worthless.
//!
//! The crate that exists for it (`signed_note` 0.2) brings ed25519-dalek with it, whether it is used or not; here
//! aws-lc is the only cryptography.

use astradesk_core::canonical::Digest;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write as _};

/// The longest note, in bytes: room for the 16 signatures that a verifier must take, post-quantum ones too.
const MAX_NOTE: usize = 128 * 1024;
/// What Ed25519 is in a key and in a key's id.
const ED25519_TYPE: u8 = 1;
/// What a name is made of when only the key is known: this and 16 digits of the key's SHA-256.
const ORIGIN: &str = "astradesk.dev/evidence/";

/// An Ed25519 public key with its name: who is trusted to sign checkpoints.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustedKey {
    name: String,
    id: [u8; 4],
    key: [u8; 32],
}

impl TrustedKey {
    /// The key that is these 32 bytes, under the name that AstraDesk gives it.
    pub fn new(key: [u8; 32]) -> Self {
        let digest = Digest::of(key).to_string();
        let name: String = ORIGIN.chars().chain(digest.chars().take(16)).collect();
        Self { id: key_id(&name, &key), name, key }
    }

    /// Reads a verifier key, `NAME+ID+BASE64`, or the 64 hexadecimal digits of the key alone.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`].
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |what: &str| {
            Error::new(Code::ConfigInvalid, format!("the key `{}` {what}", shown(text, 200))).with_remedy(
                "give what `GET /v1/audit/checkpoint` and `astradesk audit verify` show as the key, as it is",
            )
        };
        if let Some(digits) = Digest::parse(text) {
            return Ok(Self::new(*digits.as_bytes()));
        }
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(invalid("is neither `name+id+base64` nor 64 hexadecimal digits"));
        };
        if !is_name(name) {
            return Err(invalid("has no name, or one with spaces or characters that are not seen"));
        }
        let key = match BASE64_STANDARD.decode(key).as_deref() {
            Ok([ED25519_TYPE, key @ ..]) => <[u8; 32]>::try_from(key).ok(),
            _ => None,
        };
        let key = key.ok_or_else(|| invalid("is not an Ed25519 key"))?;
        let trusted = Self { name: name.to_owned(), id: key_id(name, &key), key };
        if !id.eq_ignore_ascii_case(&trusted.id_text()) {
            return Err(invalid(
                "has an id that does not belong to its name and key, so a part of it was changed",
            ));
        }
        Ok(trusted)
    }

    /// Its name: the first line of the checkpoints that it signs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name and id, as a note tells keys apart; a long name is cut.
    pub(super) fn label(&self) -> String {
        label(&self.name, self.id)
    }

    fn id_text(&self) -> String {
        hex(self.id)
    }
}

/// The verifier key: `NAME+ID+BASE64`.
impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<u8> = [ED25519_TYPE].into_iter().chain(self.key).collect();
        write!(f, "{}+{}+{}", self.name, self.id_text(), BASE64_STANDARD.encode(key))
    }
}

impl fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TrustedKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TrustedKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A note, of which nothing is believed yet.
pub(super) struct Note<'a> {
    /// What is signed, its last newline included.
    pub(super) text: &'a str,
    signatures: Vec<Signature<'a>>,
}

struct Signature<'a> {
    name: &'a str,
    id: [u8; 4],
    bytes: Vec<u8>,
}

impl<'a> Note<'a> {
    /// Takes a note apart; `None` when it is none.
    pub(super) fn parse(note: &'a str) -> Option<Self> {
        if note.len() > MAX_NOTE || note.chars().any(|c| c < ' ' && c != '\n') {
            return None;
        }
        let (text, _) = note.rsplit_once("\n\n")?;
        let (text, signatures) = note.split_at_checked(text.len() + 1)?;
        let signatures = signatures.strip_prefix('\n')?.strip_suffix('\n')?;
        let signatures = signatures.split('\n').map(Signature::parse).collect::<Option<_>>()?;
        Some(Self { text, signatures })
    }

    /// Whether the key is named by a signature.
    pub(super) fn names(&self, key: &TrustedKey) -> bool {
        self.signatures.iter().any(|signature| signature.is_of(key))
    }

    /// Whether there is a signature of the key, and all that are said to be match.
    pub(super) fn is_signed_by(&self, key: &TrustedKey) -> bool {
        let public = UnparsedPublicKey::new(&ED25519, &key.key);
        let mut of_key = self.signatures.iter().filter(|signature| signature.is_of(key)).peekable();
        of_key.peek().is_some() && of_key.all(|it| public.verify(self.text.as_bytes(), &it.bytes).is_ok())
    }

    /// Name and id of the keys that are named, of the first ones at least.
    pub(super) fn signers(&self) -> String {
        let labels = self.signatures.iter().take(4).map(|it| format!("`{}`", label(it.name, it.id)));
        let labels = labels.collect::<Vec<_>>().join(", ");
        let more = self.signatures.len().saturating_sub(4);
        if more == 0 { labels } else { format!("{labels} and {more} more") }
    }
}

impl<'a> Signature<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, bytes) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = BASE64_STANDARD.decode(bytes).ok()?;
        let (id, bytes) = bytes.split_first_chunk::<4>()?;
        (is_name(name) && !bytes.is_empty()).then(|| Self { name, id: *id, bytes: bytes.to_vec() })
    }

    fn is_of(&self, key: &TrustedKey) -> bool {
        self.name == key.name && self.id == key.id
    }
}

/// The note that is `text`, which ends in a newline, with a signature by the key.
pub(super) fn signed(text: &str, key: &TrustedKey, signature: &[u8]) -> String {
    let bytes: Vec<u8> = key.id.iter().chain(signature).copied().collect();
    format!("{text}\n— {} {}\n", key.name, BASE64_STANDARD.encode(bytes))
}

/// Beyond what the specification asks for, a name shows itself as it is: it is printed as it came.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(|c: char| c.is_whitespace() || c == '+')
        && shown(name, name.len()) == name
}

fn label(name: &str, id: [u8; 4]) -> String {
    format!("{}+{}", shown(name, 100), hex(id))
}

/// The first four bytes of the SHA-256 of name, newline, type and key.
fn key_id(name: &str, key: &[u8; 32]) -> [u8; 4] {
    let digest = Digest::of([name.as_bytes(), b"\n", &[ED25519_TYPE], key].concat());
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}

fn hex(bytes: [u8; 4]) -> String {
    bytes.iter().fold(String::with_capacity(8), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the reference implementation (golang.org/x/mod/sumdb/note).
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
    const TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const PETER_SIGNED: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const ENOCH_SIGNED: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

    fn key(text: &str) -> TrustedKey {
        TrustedKey::parse(text).unwrap()
    }

    fn good(note: &str, by: &str) -> bool {
        Note::parse(note).is_some_and(|note| note.is_signed_by(&key(by)))
    }

    #[test]
    fn the_vectors_of_the_reference_implementation_hold() {
        let both = format!("{TEXT}\n{PETER_SIGNED}{ENOCH_SIGNED}");
        assert_eq!(Note::parse(&both).unwrap().text, TEXT);
        assert!(good(&both, PETER) && good(&both, ENOCH));
        assert!(good(&format!("{TEXT}\n{PETER_SIGNED}"), PETER));
        assert!(!good(&format!("{TEXT}\n{PETER_SIGNED}"), ENOCH), "signed by somebody else");
        assert!(!good(&format!("{TEXT}\n{PETER_SIGNED}").replace("think", "drink"), PETER));
        let misnamed = PETER_SIGNED.replace("PeterNeumann", "CarmenSandiego");
        assert!(!good(&format!("{TEXT}\n{misnamed}"), PETER), "the name is a part of who it is");
        let forged = PETER_SIGNED.replace("SffcvIAQ", "SffcvIAR");
        assert!(!good(&format!("{TEXT}\n{PETER_SIGNED}{forged}"), PETER), "one bad signature of a known key");
    }

    #[test]
    fn the_examples_of_the_specifications_are_notes() {
        let poem = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
        let note = Note::parse(poem).unwrap();
        assert!(note.text.ends_with("raggio di sole:\n\ned è subito sera.\n"), "the last blank line divides");
        assert_eq!(note.signers(), "`quasimodo.example/salvatore+367ba04b`");
    }

    #[test]
    fn what_is_no_note_is_refused() {
        let sig = PETER_SIGNED;
        for bad in [
            String::new(),
            TEXT.to_owned(),
            format!("{TEXT}\n"),
            format!("{TEXT}{sig}"),
            format!("{TEXT}\n{}", sig.trim_end()),
            format!("{TEXT}\n{sig}\n"),
            format!("{TEXT}\n{sig}text\n"),
            format!("{TEXT}\r\n\n{sig}"),
            format!("{TEXT}\t\n\n{sig}"),
            format!("{TEXT}\n{}", sig.replace('—', "--")),
            format!("{TEXT}\n{}", sig.replace("— ", "—\u{a0}")),
            format!("{TEXT}\n{}", sig.replace("Peter", "Peter+")),
            format!("{TEXT}\n— PeterNeumann x08gow==\n"),
            format!("{TEXT}\n— PeterNeumann *\n"),
            format!("{TEXT}\n{}", sig.repeat(2000)),
        ] {
            assert!(Note::parse(&bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_key_reads_back_and_refuses_what_was_changed() {
        assert_eq!(key(PETER).to_string(), PETER);
        assert_eq!(key(&PETER.replace("c74f20a3", "C74F20A3")), key(PETER));
        let ours = TrustedKey::new([7; 32]);
        assert_eq!(TrustedKey::parse(&"07".repeat(32)).unwrap(), ours);
        assert_eq!(key(&ours.to_string()), ours);
        assert!(ours.name().starts_with("astradesk.dev/evidence/") && ours.name().len() == 23 + 16);
        assert_ne!(TrustedKey::new([8; 32]).name(), ours.name(), "two chains have two names");
        for bad in [
            "",
            "PeterNeumann",
            "PeterNeumann+c74f20a3",
            &PETER.replace("c74f20a3", "c74f20a4"),
            &PETER.replace("Peter", "Pater"),
            &PETER.replace("Peter", "Peter "),
            &PETER.replace("+ARpc", "+AhpC"),
            &PETER.replace("10TW", "10T="),
            &"0g".repeat(32),
        ] {
            assert_eq!(TrustedKey::parse(bad).unwrap_err().code, Code::ConfigInvalid, "{bad}");
        }
    }
}
