//! Records as CloudEvents 1.0 in JSON, one a line, for systems that take events.
//!
//! | attribute | what it is |
//! |---|---|
//! | `type` | `dev.astradesk.evidence.` and the record's kind |
//! | `source` | `//` and the name of the chain |
//! | `id` | the name of the chain, `/` and the record's place |
//! | `time` | when it happened |
//! | `subject` | the run, if there is one |
//! | `data` | the record, as it is hashed |
//! | `hash` | its SHA-256, 64 hexadecimal digits: an extension attribute |

use astradesk_core::evidence::Record;
use astradesk_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io::{self, Write};

/// An event, in structured mode.
#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    time: String,
    datacontenttype: &'static str,
    hash: astradesk_core::canonical::Digest,
    data: &'a RawValue,
}

/// What the attributes come from. Kinds that this version does not know are kinds all the same.
#[derive(Deserialize)]
struct Told {
    at: String,
    kind: String,
    #[serde(default)]
    run: Option<String>,
}

/// Writes the record as an event of the chain with this name, and a newline.
///
/// # Errors
/// [`Code::EvidenceBroken`] for a record that is not one line of JSON, [`Code::ConfigInvalid`] for what cannot be
/// written.
pub fn write(out: &mut impl Write, origin: &str, record: &Record) -> Result<()> {
    let broken = |_| {
        let message = format!("record {}: its body is not a record", record.seq);
        Error::new(Code::EvidenceBroken, message).with_detail("seq", record.seq)
    };
    let told: Told = serde_json::from_str(&record.body).map_err(broken)?;
    let data: &RawValue = serde_json::from_str(&record.body).map_err(broken)?;
    if record.body.contains('\n') {
        let message = format!("record {}: its body is not canonical", record.seq);
        return Err(Error::new(Code::EvidenceBroken, message).with_detail("seq", record.seq));
    }
    let event = Event {
        specversion: "1.0",
        id: format!("{origin}/{}", record.seq),
        source: format!("//{origin}"),
        r#type: format!("dev.astradesk.evidence.{}", told.kind),
        subject: told.run,
        time: told.at,
        datacontenttype: "application/json",
        hash: record.hash,
        data,
    };
    let failed =
        |error: io::Error| Error::new(Code::ConfigInvalid, format!("the events cannot be written: {error}"));
    serde_json::to_writer(&mut *out, &event).map_err(|error| failed(error.into()))?;
    out.write_all(b"\n").map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use astradesk_core::canonical::Digest;
    use astradesk_core::evidence::{Draft, Head, Kind};
    use astradesk_core::{RunId, Timestamp};
    use serde_json::{Value, json};

    #[test]
    fn a_record_is_an_event_that_has_it_whole() {
        let record = Head::EMPTY.append(&Draft {
            at: Timestamp::UNIX_EPOCH,
            kind: Kind::ApprovalGiven,
            run: RunId::parse("01890a5d-ac96-774b-bcce-b302099a8057"),
            principal: None,
            trace: None,
            data: json!({"reason": "ż \"x\"\n", "big": u64::MAX}),
        });
        let mut line = Vec::new();
        write(&mut line, "astradesk.dev/evidence/0123", &record).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains(&record.body), "the data is the text that is hashed: {line}");
        let event: Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| event[name].as_str().unwrap();
        assert_eq!(text("type"), "dev.astradesk.evidence.approval.given");
        assert_eq!(
            (text("id"), text("source")),
            ("astradesk.dev/evidence/0123/1", "//astradesk.dev/evidence/0123")
        );
        assert_eq!((text("specversion"), text("time")), ("1.0", "1970-01-01T00:00:00Z"));
        assert_eq!(text("subject"), "01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(text("hash"), record.hash.to_string());
        let is_name = |name: &String| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        assert!(event.as_object().unwrap().keys().all(is_name), "CloudEvents allows no other names: {line}");
    }

    #[test]
    fn what_is_no_record_is_no_event() {
        for body in ["", "{}", "{\"at\":\"x\",\n\"kind\":\"y\"}", "[1]"] {
            let record = Record { seq: 1, body: body.to_owned(), hash: Digest::of(body) };
            assert_eq!(
                write(&mut Vec::new(), "o", &record).unwrap_err().code,
                Code::EvidenceBroken,
                "{body}"
            );
        }
    }
}
