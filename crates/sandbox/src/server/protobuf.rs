//! The few messages that kubectl sends as protobuf and nothing else, read into the JSON that they stand for: by
//! tables of the fields that matter here. Everything is answered in JSON, which every client reads.

use axum::http::header;

use super::Call;
use super::status::Status;
use crate::json::{Map, Value};

/// A message: its fields by their numbers.
pub(crate) struct Message(&'static [(u64, &'static str, Field)]);

enum Field {
    Text,
    /// May come many times.
    Texts,
    Number,
    Inner(&'static Message),
}

use Field::{Inner, Number, Text, Texts};

const RESOURCE: Message = Message(&[
    (1, "namespace", Text),
    (2, "verb", Text),
    (3, "group", Text),
    (4, "version", Text),
    (5, "resource", Text),
    (6, "subresource", Text),
    (7, "name", Text),
]);
const PATH: Message = Message(&[(1, "path", Text), (2, "verb", Text)]);

/// `SelfSubjectAccessReview`, `SubjectAccessReview` and `LocalSubjectAccessReview`.
pub(crate) const ACCESS_REVIEW: Message = Message(&[(
    2,
    "spec",
    Inner(&Message(&[
        (1, "resourceAttributes", Inner(&RESOURCE)),
        (2, "nonResourceAttributes", Inner(&PATH)),
        (3, "user", Text),
        (4, "groups", Texts),
    ])),
)]);
/// `SelfSubjectRulesReview`.
pub(crate) const RULES_REVIEW: Message = Message(&[(2, "spec", Inner(&Message(&[(1, "namespace", Text)])))]);
/// `TokenRequest`.
pub(crate) const TOKEN_REQUEST: Message =
    Message(&[(2, "spec", Inner(&Message(&[(1, "audiences", Texts), (4, "expirationSeconds", Number)])))]);

/// What a message of Kubernetes begins with; its content is a field of an envelope.
const MAGIC: &[u8] = b"k8s\0";
const CONTENT: u64 = 2;

/// A request's body, in protobuf or in JSON.
pub(crate) fn read_or_json(call: &Call, message: &Message) -> Result<Value, Status> {
    if !call.header(header::CONTENT_TYPE).contains("protobuf") {
        return call.json();
    }
    let read = || {
        let mut envelope = call.body.strip_prefix(MAGIC)?;
        while !envelope.is_empty() {
            if let (CONTENT, Wire::Bytes(content)) = field(&mut envelope)? {
                return message.read(content);
            }
        }
        message.read(&[])
    };
    read()
        .ok_or_else(|| Status::bad_request("the object provided is unrecognized (must be of type protobuf)"))
}

impl Message {
    fn read(&self, mut bytes: &[u8]) -> Option<Value> {
        let mut fields = Map::default();
        while !bytes.is_empty() {
            let (number, content) = field(&mut bytes)?;
            let Some((_, name, kind)) = self.0.iter().find(|(known, _, _)| *known == number) else {
                continue;
            };
            let value = match (kind, content) {
                (Text, Wire::Bytes(text)) => Value::from(std::str::from_utf8(text).ok()?),
                (Texts, Wire::Bytes(text)) => {
                    let before = fields.get(name).and_then(Value::as_array).cloned();
                    let mut texts = before.unwrap_or_default();
                    texts.push(std::str::from_utf8(text).ok()?.into());
                    texts.into()
                }
                (Number, Wire::Number(number)) => Value::from(number),
                (Inner(message), Wire::Bytes(inner)) => message.read(inner)?,
                (Text | Texts | Number | Inner(_), _) => return None,
            };
            fields.insert(name, value);
        }
        Some(fields.into())
    }
}

/// A field's content as it is on the wire.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A number of fixed size: nothing that is read here has one.
    Skipped,
}

/// Takes the next field, and gives its number.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Wire<'a>)> {
    let tag = varint(bytes)?;
    let content = match tag & 7 {
        0 => Wire::Number(varint(bytes)?),
        1 => take(bytes, 8).map(|_| Wire::Skipped)?,
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Wire::Bytes(take(bytes, length)?)
        }
        5 => take(bytes, 4).map(|_| Wire::Skipped)?,
        _ => return None,
    };
    Some((tag >> 3, content))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    /// As `kubectl auth can-i get pods/log -n a` sends it, without the envelope.
    const REVIEW: &[u8] =
        b"\x0a\x02\x0a\x00\x12\x13\x0a\x11\x0a\x01a\x12\x03get\x1a\x00\x2a\x03pod\x32\x00\x1a\x00";

    #[test]
    fn a_review_is_read() {
        let expected = json!({ "spec": { "resourceAttributes": {
            "namespace": "a", "verb": "get", "group": "", "resource": "pod", "subresource": "",
        } } });
        assert_eq!(ACCESS_REVIEW.read(REVIEW), Some(expected));
        let groups = json!({ "spec": { "groups": ["a", "b"], "user": "c" } });
        assert_eq!(ACCESS_REVIEW.read(b"\x12\x09\x22\x01a\x22\x01b\x1a\x01c"), Some(groups));
        let seconds = json!({ "spec": { "expirationSeconds": 600 } });
        assert_eq!(TOKEN_REQUEST.read(b"\x12\x03\x20\xd8\x04"), Some(seconds));
    }

    #[test]
    fn what_is_cut_short_is_no_message() {
        // Short of its end a message is whole only where a field has ended.
        let whole = [0, 4, 25, 27].map(|end| end.min(REVIEW.len()));
        for end in 0..REVIEW.len() {
            let read = ACCESS_REVIEW.read(&REVIEW[..end]);
            assert_eq!(read.is_some(), whole.contains(&end), "{end}");
        }
        assert_eq!(ACCESS_REVIEW.read(&[0xff; 11]), None);
    }
}
