//! Every way to touch evidence, and what is found.

use super::export::{self, Line, Reader, Writer};
use super::{Checkpoint, Report, Signer, TrustedKey, Verifier};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Draft, Head, Kind, Record};
use astradesk_core::{Code, Error, Result, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use std::sync::LazyLock;

/// How many records the chain has.
const LAST: u64 = 12;
/// After which a checkpoint was signed.
const SIGNED: [u64; 3] = [4, 8, LAST];

struct Chain {
    signer: Signer,
    records: Vec<Record>,
}

/// What happened, as this project signed it.
static OURS: LazyLock<Chain> = LazyLock::new(|| Chain::new(|n| json!({"n": n})));

impl Chain {
    fn new(data: impl Fn(u64) -> serde_json::Value) -> Self {
        let signer = Signer::from_pkcs8(&crate::key::fresh().unwrap()).unwrap();
        Self { signer, records: records(Head::EMPTY, LAST, data) }
    }

    /// The chain's end after so many records.
    fn head(&self, seq: u64) -> Head {
        seq.checked_sub(1).map_or(Head::EMPTY, |i| end(&self.records[..=i as usize]))
    }

    fn checkpoint(&self, seq: u64) -> Checkpoint {
        self.signer.checkpoint(self.head(seq), Timestamp::UNIX_EPOCH)
    }

    fn cut(&self, seq: u64) -> Checkpoint {
        self.signer.cut(self.head(seq), Timestamp::UNIX_EPOCH)
    }

    fn key(&self) -> TrustedKey {
        self.signer.key().clone()
    }

    /// The lines of an export of everything.
    fn lines(&self) -> Vec<String> {
        written(&self.records, SIGNED.map(|seq| self.checkpoint(seq)), |_| Ok(()))
    }
}

fn end(records: &[Record]) -> Head {
    records.last().map_or(Head::EMPTY, |last| Head { seq: last.seq, hash: last.hash })
}

/// So many records behind a head.
fn records(mut head: Head, count: u64, data: impl Fn(u64) -> serde_json::Value) -> Vec<Record> {
    let draft = |n| Draft {
        at: Timestamp::UNIX_EPOCH,
        kind: Kind::Admitted,
        run: None,
        principal: None,
        trace: None,
        data: data(n),
    };
    let first = head.seq + 1;
    let append = |n| {
        let record = head.append(&draft(n));
        head = Head { seq: record.seq, hash: record.hash };
        record
    };
    (first..first + count).map(append).collect()
}

/// The lines of an export, whose first is what `begin` writes.
fn written(
    records: &[Record],
    checkpoints: impl IntoIterator<Item = Checkpoint>,
    begin: impl FnOnce(&mut Writer<&mut Vec<u8>>) -> std::io::Result<()>,
) -> Vec<String> {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file);
    begin(&mut writer).unwrap();
    checkpoints.into_iter().for_each(|checkpoint| writer.checkpoint(checkpoint).unwrap());
    for record in records {
        writer.record(record).unwrap();
    }
    writer.finish().unwrap();
    String::from_utf8(file).unwrap().lines().map(str::to_owned).collect()
}

fn verify(lines: &[String], key: impl Into<Option<TrustedKey>>, kept: &[Checkpoint]) -> Result<Report> {
    export::verify(lines.join("\n").as_bytes(), key.into(), kept)
}

/// What is found in these lines by who knows our key and has kept nothing.
fn found(lines: &[String]) -> Error {
    let error = verify(lines, OURS.key(), &[]).unwrap_err();
    assert_eq!(error.code, Code::EvidenceBroken, "{error}");
    error
}

#[test]
fn an_untouched_export_verifies_and_says_by_whose_key() {
    let lines = OURS.lines();
    assert_eq!(lines.len() as u64, LAST + 3);
    assert!(lines[4].starts_with("{\"checkpoint\""), "a checkpoint stands behind its record");
    let report = verify(&lines, OURS.key(), &[]).unwrap();
    let expected = Report {
        first: 1,
        records: LAST,
        head: OURS.head(LAST),
        checkpoints: 3,
        older: 0,
        signed: Some(OURS.head(LAST)),
        unsigned: 0,
        is_cut: false,
        key: Some(OURS.key()),
        trusted: true,
    };
    assert_eq!(report, expected);
    assert_eq!(verify(&lines, None, &[]).unwrap(), Report { trusted: false, ..expected.clone() });
    let kept = [OURS.checkpoint(2), OURS.checkpoint(7)];
    assert_eq!(verify(&lines, OURS.key(), &kept).unwrap(), Report { checkpoints: 5, ..expected });
}

#[test]
fn a_record_that_was_touched_is_named() {
    let good = OURS.lines();
    let place = |lines: &[String]| found(lines).details["seq"].as_u64().unwrap();

    let mut edited = good.clone();
    edited[2] = edited[2].replace("\\\"n\\\":3", "\\\"n\\\":9");
    assert_ne!(edited, good);
    assert_eq!(place(&edited), 3);

    let mut deleted = good.clone();
    deleted.remove(5);
    assert_eq!(place(&deleted), 5, "line 6 is record 5");

    let mut reordered = good.clone();
    reordered.swap(1, 2);
    assert_eq!(place(&reordered), 2);

    let mut repeated = good.clone();
    repeated.insert(1, good[0].clone());
    assert_eq!(place(&repeated), 2);

    let mut misnumbered = good.clone();
    misnumbered[2] = misnumbered[2].replace("{\"seq\":3", "{\"seq\":4");
    assert_eq!(found(&misnumbered).details["line"], 3);

    let mut first_gone = good;
    first_gone.remove(0);
    assert_eq!(place(&first_gone), 1);
}

#[test]
fn a_history_that_was_rewritten_with_all_of_its_hashes_is_a_fork() {
    let mut rewritten = OURS.records[..5].to_vec();
    rewritten.extend(records(OURS.head(5), LAST - 5, |n| json!({"n": n, "nothing": "happened"})));
    let lines = written(&rewritten, SIGNED.map(|seq| OURS.checkpoint(seq)), |_| Ok(()));
    let error = found(&lines);
    assert_eq!(error.details["seq"], 8, "the first checkpoint behind the change");
    assert!(error.message.contains("forked"), "{error}");

    let unsigned = written(&rewritten, [OURS.checkpoint(4)], |_| Ok(()));
    assert!(found(&unsigned).message.contains("no checkpoint of its last record"));

    let theirs = Chain::new(|n| json!({"n": n, "by": "somebody else"}));
    let error = verify(&theirs.lines(), None, &[OURS.checkpoint(8)]).unwrap_err();
    assert!(error.message.contains("not by the trusted key"), "{error}");
    let rewritten = Chain { records: rewritten, ..theirs };
    let error = verify(&rewritten.lines(), None, &[]);
    assert!(!error.unwrap().trusted, "nothing but the key tells a whole chain of their own from ours");
}

#[test]
fn a_checkpoint_by_another_key_is_named() {
    let theirs = Chain::new(|n| json!({"n": n}));
    let mut lines = OURS.lines();
    let stranger = serde_json::to_string(&json!({"checkpoint": theirs.checkpoint(8)})).unwrap();
    let at = lines.iter().position(|line| line.contains("\\n8\\n")).unwrap();
    lines[at] = stranger;
    for key in [Some(OURS.key()), None] {
        let error = verify(&lines, key, &[]).unwrap_err();
        assert_eq!((error.code, &error.details["seq"]), (Code::EvidenceBroken, &json!(8)));
        assert!(error.message.contains(theirs.signer.key().name()), "{error}");
    }
}

#[test]
fn a_history_that_was_cut_short_is_found_by_a_later_checkpoint() {
    let lines = OURS.lines();
    // Up to its own checkpoint it is whole; only who has kept a later one can tell.
    let short = &lines[..5];
    assert_eq!(verify(short, OURS.key(), &[]).unwrap().records, 4);
    let error = verify(short, OURS.key(), &[OURS.checkpoint(8)]).unwrap_err();
    assert_eq!(error.details["seq"], 8);
    assert!(error.message.contains("truncated"), "{error}");

    let mut middle_gone = lines[..4].to_vec();
    middle_gone.extend_from_slice(&lines[13..]);
    assert!(found(&middle_gone).message.contains("missing"));
    let mut tail_gone = lines[..11].to_vec();
    tail_gone.extend_from_slice(&lines[14..]);
    assert!(found(&tail_gone).message.contains("truncated"));
    assert!(found(&lines[..7]).message.contains("no checkpoint of its last record"));
    assert!(found(&lines[..0]).message.contains("no checkpoint of its last record"));
}

#[test]
fn retention_leaves_a_chain_that_verifies_from_its_cut() {
    let rest = &OURS.records[4..];
    let lines = written(rest, [OURS.checkpoint(LAST)], |writer| writer.cut(&OURS.cut(4)));
    let report = verify(&lines, OURS.key(), &[]).unwrap();
    assert_eq!((report.first, report.records, report.is_cut), (5, 8, true));
    let kept = [OURS.checkpoint(2), OURS.checkpoint(4), OURS.checkpoint(8)];
    let report = verify(&lines, OURS.key(), &kept).unwrap();
    assert_eq!((report.checkpoints, report.older), (3, 1));
}

#[test]
fn a_cut_that_nobody_signed_is_no_retention() {
    let theirs = Chain::new(|n| json!({"n": n, "by": "somebody else"}));
    let rest =
        |cut: &Checkpoint| written(&OURS.records[4..], [OURS.checkpoint(LAST)], |writer| writer.cut(cut));
    let message = |cut: &Checkpoint| found(&rest(cut)).message;
    assert!(message(&OURS.checkpoint(4)).contains("only a checkpoint"), "a kept checkpoint is not a cut");
    assert!(message(&theirs.cut(4)).contains("not by the trusted key"));
    assert!(message(&OURS.cut(3)).contains("missing"));
    let elsewhere = theirs.signer.cut(OURS.head(4), Timestamp::UNIX_EPOCH);
    assert!(message(&elsewhere).contains("not by the trusted key"));

    let mut late = OURS.lines();
    late.insert(4, rest(&OURS.cut(4))[0].clone());
    assert!(found(&late).message.contains("not its first"));
    let kept = [theirs.signer.checkpoint(theirs.head(4), Timestamp::UNIX_EPOCH)];
    let forked = written(&theirs.records[4..], [], |writer| writer.cut(&theirs.cut(4)));
    assert!(verify(&forked, OURS.key(), &kept).is_err());
}

#[test]
fn a_range_is_pinned_by_the_checkpoint_at_its_end() {
    let range =
        |after: Head| written(&OURS.records[4..8], [OURS.checkpoint(8)], |writer| writer.begin(after));
    let report = verify(&range(OURS.head(4)), OURS.key(), &[]).unwrap();
    assert_eq!((report.first, report.records, report.is_cut), (5, 4, false));
    assert!(found(&range(OURS.head(3))).message.contains("missing"));
    let forged = Head { seq: 4, hash: Digest::of("something else") };
    assert!(found(&range(forged)).message.contains("does not follow"));

    let selection = written(&OURS.records[3..4], [], |writer| writer.selection("run 1"));
    assert!(found(&selection).message.contains("run 1"));
}

#[test]
fn what_stands_in_a_file_cannot_move_the_cursor() {
    let hostile = "\u{1b}]0;x\u{7}\u{9b}2J\n\u{202e}".to_owned() + &"x".repeat(10_000);
    let selection = written(&OURS.records[3..4], [], |writer| writer.selection(&hostile));
    let note = OURS.checkpoint(LAST).text().replace(OURS.key().name(), "a\u{9b}2J\u{202e}");
    let mut elsewhere = OURS.lines();
    let last = elsewhere.len() - 1;
    let mut checkpoint = serde_json::to_value(OURS.checkpoint(LAST)).unwrap();
    checkpoint["note"] = json!(note);
    elsewhere[last] = json!({"checkpoint": checkpoint}).to_string();
    let mut long = OURS.lines();
    checkpoint["note"] = json!(OURS.checkpoint(LAST).text().replace(OURS.key().name(), &"x".repeat(10_000)));
    long[last] = json!({"checkpoint": checkpoint}).to_string();
    for lines in [selection, elsewhere, long] {
        let message = found(&lines).message;
        let odd = |c: char| c.is_control() || matches!(c, '\u{200b}' | '\u{202e}');
        assert!(!message.contains(odd) && message.len() < 1000, "{message:?}");
    }
    for name in ["a\u{202e}b", "a\u{200b}b", "a\u{9b}b"] {
        assert!(TrustedKey::parse(&OURS.key().to_string().replace(OURS.key().name(), name)).is_err());
    }
}

#[test]
fn a_live_chain_says_what_no_checkpoint_pins_yet() {
    let mut verifier = Verifier::new(Some(OURS.key()));
    for record in &OURS.records {
        verifier.record(&record.body, record.hash).unwrap();
        if record.seq == 8 {
            verifier.checkpoint(&OURS.checkpoint(8)).unwrap();
        }
    }
    let late = verifier.checkpoint(&OURS.checkpoint(4)).unwrap_err();
    assert!(late.message.contains("does not stand behind it"));
    let report = verifier.finish().unwrap();
    assert_eq!((report.signed, report.unsigned), (Some(OURS.head(8)), LAST - 8));
}

#[test]
fn what_waits_has_a_limit() {
    let ahead = |seq| OURS.signer.checkpoint(Head { seq, hash: Digest::ZERO }, Timestamp::UNIX_EPOCH);
    let mut verifier = Verifier::new(Some(OURS.key()));
    let mut given = (1..=super::verify::MAX_AHEAD as u64).map(ahead);
    given.try_for_each(|checkpoint| verifier.checkpoint(&checkpoint)).unwrap();
    assert!(verifier.checkpoint(&ahead(1000)).unwrap_err().message.contains("too many"));

    let endless = std::io::BufReader::new(std::io::repeat(b'x'));
    let error = Reader::new(endless).line().unwrap_err();
    assert!(error.message.contains("longer than any record"), "{error}");
}

#[test]
fn what_is_no_line_is_named() {
    let good = OURS.lines();
    let both = format!("{},{}", good[4].trim_end_matches('}'), good[0].trim_start_matches('{'));
    for bad in [
        "",
        "{}",
        "[]",
        "{\"seq\":1}",
        "{\"selected\":1}",
        &both.replace("}}", "}"),
        &good[0].replacen("\"seq\":1", "\"seq\":1,\"seq\":1", 1),
        &good[0].replacen("\"seq\":1", "\"seq\":1,\"more\":1", 1),
    ] {
        let mut lines = good.clone();
        lines[0] = bad.to_owned();
        assert_eq!(found(&lines).details["line"], 1, "{bad}");
    }
}

/// Something that somebody does to a file.
#[derive(Debug, Clone)]
enum Touch {
    Byte(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Repeat(prop::sample::Index, prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Truncate(prop::sample::Index),
    Splice(prop::sample::Index, prop::sample::Index),
    Digit(prop::sample::Index, u8),
}

fn touches() -> impl Strategy<Value = Touch> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, byte)| Touch::Byte(at, byte)),
        place().prop_map(Touch::Remove),
        (place(), place()).prop_map(|(from, to)| Touch::Repeat(from, to)),
        (place(), place()).prop_map(|(a, b)| Touch::Swap(a, b)),
        place().prop_map(Touch::Truncate),
        (place(), place()).prop_map(|(from, to)| Touch::Splice(from, to)),
        (place(), b'0'..=b'9').prop_map(|(at, digit)| Touch::Digit(at, digit)),
    ]
}

/// Another history of the same shape, partly the same, with hashes that fit.
static THEIRS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut all = OURS.records[..6].to_vec();
    all.extend(records(OURS.head(6), LAST - 6, |n| json!({"n": n, "nothing": "happened"})));
    let theirs = Chain { records: all, signer: Signer::from_pkcs8(&crate::key::fresh().unwrap()).unwrap() };
    theirs.lines()
});

fn touched(file: Vec<u8>, touch: &Touch) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = file.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    match touch {
        Touch::Byte(at, byte) => {
            let mut file = file;
            let at = at.index(file.len().max(1));
            file.get_mut(at).into_iter().for_each(|it| *it = *byte);
            return file;
        }
        Touch::Digit(at, digit) => {
            let mut file = file;
            let digits: Vec<usize> = (0..file.len()).filter(|i| file[*i].is_ascii_digit()).collect();
            if !digits.is_empty() {
                file[*at.get(&digits)] = *digit;
            }
            return file;
        }
        Touch::Truncate(at) => return file[..at.index(file.len() + 1)].to_vec(),
        Touch::Remove(at) => drop(lines.remove(at.index(lines.len()))),
        Touch::Repeat(from, to) => {
            let line = from.get(&lines).clone();
            lines.insert(to.index(lines.len()), line);
        }
        Touch::Swap(a, b) => {
            let (a, b) = (a.index(lines.len()), b.index(lines.len()));
            lines.swap(a, b);
        }
        Touch::Splice(from, to) => {
            let at = to.index(lines.len());
            lines[at] = from.get(&THEIRS).clone().into_bytes();
        }
    }
    lines.join(&b'\n')
}

fn records_of(file: &[u8]) -> Vec<Record> {
    let mut reader = Reader::new(file);
    let mut records = Vec::new();
    while let Ok(Some(line)) = reader.line() {
        if let Line::Record(record) = line {
            records.push(record);
        }
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever is done to a file: if it still verifies, it has the records that were there, from the first one on;
    /// and all of them, for who has kept the last checkpoint.
    #[test]
    fn nothing_that_was_touched_verifies(touches in prop::collection::vec(touches(), 1..4)) {
        let file = touches.iter().fold(OURS.lines().join("\n").into_bytes(), touched);
        if let Ok(report) = export::verify(&*file, Some(OURS.key()), &[]) {
            let left = records_of(&file);
            prop_assert_eq!(report.records, left.len() as u64);
            prop_assert!(SIGNED.contains(&report.records));
            prop_assert_eq!(&left[..], &OURS.records[..left.len()]);
        }
        if export::verify(&*file, Some(OURS.key()), &[OURS.checkpoint(LAST)]).is_ok() {
            prop_assert_eq!(records_of(&file), &OURS.records[..]);
        }
    }
}
