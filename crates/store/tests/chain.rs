//! The chain as it is searched, cut, and read from a file.

#![expect(clippy::unwrap_used, reason = "the helpers of tests: a failed unwrap is a failed test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Draft, Head, Kind, Record};
use astradesk_core::{Code, Error, Result, RunId};
use astradesk_runtime::port::{Change, Cut, EvidenceFilter, Store};
use astradesk_store::{Entry, EvidenceFile, Options, SqliteStore};
use common::{after, at, draft, id, verify};
use proptest::prelude::*;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A folder for a store, gone at the end of the test.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    (folder, path)
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, Options { durable: false, ..Options::default() }).await.unwrap()
}

async fn append(store: &SqliteStore, evidence: Vec<Draft>) -> Head {
    store.commit(Change { evidence, ..Change::default() }).await.unwrap().head
}

/// A chain of `n` records.
async fn chain(store: &SqliteStore, n: u64) -> Vec<Record> {
    for begin in (0..n).step_by(500) {
        append(store, (begin..n.min(begin + 500)).map(|_| draft(Some(id()))).collect()).await;
    }
    store.evidence(&after(0, u32::MAX)).await.unwrap()
}

/// Where the chain begins if everything up to this record goes.
fn cut_at(record: &Record) -> Cut {
    let head = Head { seq: record.seq, hash: record.hash };
    Cut { head, checkpoint: format!("note of {}", record.seq) }
}

/// Changes the file by hand.
async fn by_hand(path: &Path, sql: &'static str) {
    let mut other = raw(path).await;
    assert!(sqlx::query(sql).execute(&mut other).await.unwrap().rows_affected() > 0, "{sql}");
}

async fn raw(path: &Path) -> SqliteConnection {
    sqlx::ConnectOptions::connect(&SqliteConnectOptions::new().filename(path)).await.unwrap()
}

/// Verifies the chain in a file from where it begins, and gives the end and the checkpoints.
async fn verify_file(path: &Path) -> Result<(Head, Vec<String>)> {
    let mut file = EvidenceFile::open(path).await?;
    let begin = file.cut().await?.map_or(Head::EMPTY, |cut| cut.head);
    let (mut head, mut checkpoints) = (begin, Vec::new());
    let take = |entry: Entry<'_>| {
        match entry {
            Entry::Record { body, hash } => head = head.verify(body, hash)?,
            Entry::Checkpoint(note) => checkpoints.push(format!("{note} behind {}", head.seq)),
        }
        Ok(())
    };
    file.read(begin.seq, take).await?;
    Ok((head, checkpoints))
}

const KINDS: [(Kind, &str); 4] = [
    (Kind::ReadFinished, "read.finished"),
    (Kind::Admitted, "run.admitted"),
    (Kind::ApprovalGiven, "approval.given"),
    (Kind::PolicyLoaded, "policy.loaded"),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_search_finds_what_a_look_at_every_record_finds(
        // The clock goes forth and back; a kind may be rare.
        drafts in prop::collection::vec((-3..5_i64, 0..100_usize, 0..5_usize), 1..900),
        filters in prop::collection::vec(
            (0..900_u64, prop::option::of(0..900_u64), prop::option::of(0..5_usize),
             prop::collection::vec(0..5_usize, 0..3), prop::option::of(0..2000_i64),
             prop::option::of(0..2000_i64), 0..1000_u32),
            20,
        ),
        cut in prop::option::of(0..900_usize),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = SqliteStore::in_memory().await.unwrap();
            let runs: Vec<RunId> = (0..5).map(|_| id()).collect();
            let mut second = 100;
            let drafts: Vec<Draft> = drafts.into_iter().map(|(step, kind, run)| {
                second += step;
                let kind = KINDS[match kind { 0 => 3, 1..5 => 2, 5..30 => 1, _ => 0 }].0;
                let run = (run > 0).then(|| runs[run]);
                Draft { at: at(second.max(0)), kind, ..draft(run) }
            }).collect();
            for group in drafts.chunks(70) {
                append(&store, group.to_vec()).await;
            }
            let all = store.evidence(&after(0, u32::MAX)).await.unwrap();
            assert_eq!(all.len(), drafts.len());
            let mut begin = 0;
            if let Some(last) = cut.and_then(|cut| all.get(cut)) {
                store.prune_evidence(&cut_at(last)).await.unwrap();
                begin = last.seq;
            }
            for (after, up_to, run, kinds, since, until, limit) in filters {
                let kinds: Vec<&str> = kinds.into_iter().map(|kind| KINDS.get(kind).map_or("none", |kind| kind.1)).collect();
                let filter = EvidenceFilter {
                    after, up_to, limit,
                    run: run.map(|run| runs[run]),
                    kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
                    since: since.map(at),
                    until: until.map(at),
                };
                let name = |kind| KINDS.iter().find(|known| known.0 == kind).unwrap().1;
                let wanted: Vec<u64> = drafts.iter().zip(1_u64..).filter(|(draft, seq)| {
                    *seq > after.max(begin)
                        && up_to.is_none_or(|last| *seq <= last)
                        && run.is_none_or(|run| draft.run == Some(runs[run]))
                        && (kinds.is_empty() || kinds.contains(&name(draft.kind)))
                        && since.is_none_or(|since| draft.at >= at(since))
                        && until.is_none_or(|until| draft.at < at(until))
                }).map(|(_, seq)| seq).take(limit as usize).collect();
                let found: Vec<u64> =
                    store.evidence(&filter).await.unwrap().iter().map(|record| record.seq).collect();
                assert_eq!(found, wanted, "{filter:?}");
            }
        });
    }
}

#[tokio::test]
async fn a_cut_chain_verifies_from_there_and_goes_on() {
    let (_folder, path) = place();
    let store = open(&path).await;
    assert_eq!(store.cut().await.unwrap(), None);
    let records = chain(&store, 1300).await;
    let end = store.head().await.unwrap();
    for seq in [1, 700, 701, 1300] {
        store.keep_checkpoint(seq, at(5), &format!("note of {seq}")).await.unwrap();
    }
    store.keep_checkpoint(701, at(6), "a later note of 701").await.unwrap();
    let kept = ["note of 1", "note of 700", "a later note of 701", "note of 1300"];
    assert_eq!(store.checkpoints(0, 10).await.unwrap(), kept);
    assert_eq!(store.checkpoints(1, 2).await.unwrap(), kept[1..3]);

    let cut = cut_at(&records[699]);
    store.prune_evidence(&cut).await.unwrap();
    assert_eq!(store.cut().await.unwrap(), Some(cut.clone()));
    assert_eq!(store.evidence(&after(0, 1)).await.unwrap(), records[700..701]);
    assert_eq!(verify(&store).await, end);
    assert_eq!(store.checkpoints(0, 10).await.unwrap(), kept[1..]);
    let (head, checkpoints) = verify_file(&path).await.unwrap();
    assert_eq!(head, end);
    assert_eq!(checkpoints, ["a later note of 701 behind 701", "note of 1300 behind 1300"]);

    // The same again, and one before it, change nothing; another history does not become the cut.
    store.prune_evidence(&cut).await.unwrap();
    store.prune_evidence(&cut_at(&records[99])).await.unwrap();
    assert_eq!(store.cut().await.unwrap(), Some(cut.clone()));
    let forged = |seq| Cut { head: Head { seq, hash: Digest::of("forged") }, checkpoint: String::new() };
    for seq in [700, 900, 1301] {
        let error = store.prune_evidence(&forged(seq)).await.unwrap_err();
        assert_eq!((error.code, &error.details["seq"]), (Code::EvidenceBroken, &seq.into()));
    }
    assert_eq!(store.cut().await.unwrap(), Some(cut));

    // Everything may go: the chain goes on behind it, also in another process.
    store.prune_evidence(&cut_at(&records[1299])).await.unwrap();
    assert_eq!(store.head().await.unwrap(), end);
    store.close().await;
    let store = open(&path).await;
    assert_eq!(append(&store, vec![draft(None)]).await.seq, 1301);
    assert_eq!(verify(&store).await.seq, 1301);
    assert_eq!(verify_file(&path).await.unwrap().0.seq, 1301);
}

#[tokio::test]
async fn what_was_done_to_a_cut_chain_is_found_at_its_place() {
    for (sql, place) in [
        ("UPDATE evidence SET body = replace(body, 'ada', 'eve') WHERE seq = 1203", 1203),
        ("UPDATE evidence SET body = replace(body, 'ada', char(10)) WHERE seq = 1203", 1203),
        ("UPDATE evidence SET body = '' WHERE seq = 1203", 1203),
        ("UPDATE evidence SET hash = (SELECT hash FROM evidence WHERE seq = 900) WHERE seq = 1203", 1203),
        ("UPDATE evidence SET hash = hash || 'a' WHERE seq = 1203", 1203),
        ("UPDATE evidence SET hash = 'none' WHERE seq = 1203", 1203),
        ("DELETE FROM evidence WHERE seq = 1203", 1203),
        ("DELETE FROM evidence WHERE seq = 1001", 1001),
        ("UPDATE evidence SET seq = 5000 WHERE seq = 1203", 1203),
        ("DELETE FROM evidence WHERE seq = 801", 801),
        ("UPDATE cut SET seq = 801", 802),
        ("UPDATE cut SET hash = (SELECT hash FROM evidence WHERE seq = 900)", 801),
        ("DELETE FROM cut", 1),
    ] {
        let (_folder, path) = place_with_cut().await;
        let untouched = verify_file(&path).await.unwrap();
        assert_eq!(untouched.0.seq, 1300);
        by_hand(&path, sql).await;
        let error = verify_file(&path).await.unwrap_err();
        assert_eq!((error.code, &error.details["seq"]), (Code::EvidenceBroken, &place.into()), "{sql}");
    }
    let (_folder, path) = place_with_cut().await;
    by_hand(&path, "DELETE FROM evidence WHERE seq > 1200").await;
    let (head, checkpoints) = verify_file(&path).await.unwrap();
    assert_eq!((head.seq, checkpoints.as_slice()), (1200, &["the last behind 1200".to_owned()][..]));
}

/// Compares what searches go by with the records.
async fn check_columns(path: &Path) -> Result<()> {
    EvidenceFile::open(path).await?.check_columns().await
}

#[tokio::test]
async fn what_would_hide_a_record_from_searches_is_found_at_its_place() {
    let around = "leaves it out, so searches miss it";
    let beside = "is not what its body says";
    for (sql, place, why) in [
        ("UPDATE evidence SET run = NULL WHERE seq = 1203", 1203, beside),
        (
            "UPDATE evidence SET run = (SELECT run FROM evidence WHERE seq = 900) WHERE seq > 1200",
            1201,
            beside,
        ),
        ("UPDATE evidence SET run = upper(run)", 801, beside),
        ("UPDATE evidence SET kind = 'read.finished' WHERE seq IN (802, 803)", 802, beside),
        ("UPDATE evidence SET kind = CAST(kind AS BLOB) WHERE seq = 1300", 1300, beside),
        ("UPDATE evidence SET at = at + 2 WHERE seq = 1203", 1203, beside),
        ("UPDATE evidence SET at = 'then' WHERE seq = 1203", 1203, beside),
        ("UPDATE evidence SET body = 'x' WHERE seq = 1203", 1203, beside),
        ("UPDATE evidence SET body = CAST(body AS BLOB) WHERE seq = 1203", 1203, beside),
        ("DELETE FROM spans", 801, around),
        ("DELETE FROM spans WHERE span = 5", 1280, around),
        ("UPDATE spans SET kinds = 0 WHERE span = 4", 1024, around),
        ("UPDATE spans SET kinds = ~kinds WHERE span = 4", 1024, around),
        ("UPDATE spans SET first_at = last_at + 1 WHERE span = 4", 1024, around),
        ("UPDATE spans SET last_at = first_at - 1 WHERE span = 4", 1024, around),
        ("UPDATE spans SET first_at = 'never' WHERE span = 4", 1024, around),
    ] {
        let (_folder, path) = place_with_cut().await;
        check_columns(&path).await.unwrap();
        by_hand(&path, sql).await;
        let error = check_columns(&path).await.unwrap_err();
        assert_eq!((error.code, &error.details["seq"]), (Code::EvidenceBroken, &place.into()), "{sql}");
        assert!(error.message.ends_with(why), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn times_are_compared_as_exactly_as_they_are_kept() {
    let (_folder, path) = place();
    let store = open(&path).await;
    for time in [
        "1969-12-31T23:59:58.0000015Z",
        "1970-01-01T00:00:00Z",
        "2026-11-23T02:03:04.5Z",
        "2026-11-23T02:03:04.123456Z",
        "2026-11-23T02:03:04.999999999Z",
        "9999-01-01T00:00:00.000001Z",
    ] {
        append(&store, vec![Draft { at: time.parse().unwrap(), ..draft(Some(id())) }]).await;
    }
    check_columns(&path).await.unwrap();
    // More records than are compared in one go.
    for _ in 0..14 {
        append(&store, (0..5000).map(|_| draft(None)).collect()).await;
    }
    check_columns(&path).await.unwrap();
    by_hand(&path, "UPDATE evidence SET run = 'x' WHERE seq = 70006").await;
    assert_eq!(check_columns(&path).await.unwrap_err().details["seq"], 70006);
}

#[tokio::test]
async fn what_is_no_text_is_named_by_its_record() {
    for (sql, place, what) in [
        ("UPDATE evidence SET body = CAST(x'7bff7d' AS TEXT) WHERE seq = 1203", 1203, "body"),
        ("UPDATE evidence SET body = x'7b7d' WHERE seq = 1203", 1203, "body"),
        ("UPDATE evidence SET hash = CAST(x'ff' AS TEXT) WHERE seq = 801", 801, "hash"),
        ("UPDATE checkpoints SET note = CAST(x'ff' AS TEXT)", 1300, "checkpoint"),
        ("UPDATE cut SET note = CAST(x'ff' AS TEXT)", 800, "checkpoint"),
    ] {
        let (_folder, path) = place_with_cut().await;
        by_hand(&path, sql).await;
        let error = verify_file(&path).await.unwrap_err();
        assert_eq!((error.code, &error.details["seq"]), (Code::EvidenceBroken, &place.into()), "{sql}");
        if what != "body" || sql.contains("CAST") {
            assert_eq!(error.message, format!("record {place}: its {what} is not text in UTF-8"));
        }
        let store = open(&path).await;
        let found = match what {
            "checkpoint" if place == 800 => store.cut().await.map(drop),
            "checkpoint" => store.checkpoints(0, 10).await.map(drop),
            _ => store.evidence(&after(place - 1, 1)).await.map(drop),
        };
        assert_eq!(found.unwrap_err().code, Code::EvidenceBroken, "{sql}");
    }
}

#[tokio::test]
async fn a_file_that_somebody_has_locked_is_not_read_as_if_nobody_had() {
    let (_folder, path) = place();
    let store = open(&path).await;
    append(&store, vec![draft(None)]).await;
    store.close().await;
    let mut other = raw(&path).await;
    sqlx::query("PRAGMA journal_mode = DELETE").execute(&mut other).await.unwrap();
    verify_file(&path).await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    let refused = EvidenceFile::open(&path).await.unwrap_err();
    assert!(refused.message.ends_with("the database is locked by another process"), "{}", refused.message);
}

async fn place_with_cut() -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = place();
    let store = open(&path).await;
    let records = chain(&store, 1300).await;
    store.keep_checkpoint(1300, at(5), "the last").await.unwrap();
    store.prune_evidence(&cut_at(records.get(799).unwrap())).await.unwrap();
    store.close().await;
    (folder, path)
}

/// The process that [`a_process_that_is_killed_while_it_removes_records_leaves_a_chain_that_verifies`] kills.
#[tokio::test]
async fn child_that_removes_records() {
    let Some(path) = std::env::var_os("STORE_TO_PRUNE") else { return };
    let store = open(Path::new(&path)).await;
    let last = store.head().await.unwrap();
    let record = Record { seq: last.seq, hash: last.hash, body: String::new() };
    store.prune_evidence(&cut_at(&record)).await.unwrap();
}

#[tokio::test]
async fn a_process_that_is_killed_while_it_removes_records_leaves_a_chain_that_verifies() {
    const RECORDS: u64 = 20_000;
    let (_folder, path) = place();
    let store = open(&path).await;
    let mut broke_off = 0;
    for millis in 0..8 {
        chain(&store, RECORDS).await;
        let end = store.head().await.unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child_that_removes_records", "--exact"])
            .env("STORE_TO_PRUNE", &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while store.cut().await.unwrap().is_none_or(|cut| cut.head != end) {
            assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "it does not begin");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(millis)).await;
        child.kill().unwrap();
        child.wait().unwrap();

        let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM evidence")
            .fetch_one(&mut raw(&path).await)
            .await
            .unwrap();
        broke_off += usize::from(left > 0);
        assert_eq!(store.evidence(&after(0, 1)).await.unwrap(), [], "what is left of it does not count");
        assert_eq!(verify(&store).await, end);
        assert_eq!(verify_file(&path).await.unwrap().0, end);
        let next = append(&store, vec![draft(None)]).await;
        assert_eq!(next.seq, end.seq + 1);
        assert_eq!(verify(&store).await, next);
        assert_eq!(verify_file(&path).await.unwrap().0, next);

        // The next removal takes what was left.
        let cut = store.cut().await.unwrap().unwrap();
        store.prune_evidence(&cut).await.unwrap();
        let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM evidence")
            .fetch_one(&mut raw(&path).await)
            .await
            .unwrap();
        assert_eq!(left, 1);
    }
    assert!(broke_off > 0, "no removal was killed in the middle");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_read_while_it_is_written_and_cut() {
    let (_folder, path) = place();
    let store = open(&path).await;
    chain(&store, 3000).await;
    let writing = {
        let store = store.clone();
        tokio::spawn(async move {
            loop {
                append(&store, vec![draft(None)]).await;
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        })
    };
    let mut last = 0;
    for _ in 0..5 {
        let (head, _) = verify_file(&path).await.unwrap();
        assert!(head.seq >= last);
        last = head.seq;
    }
    assert!(last > 3000);

    // Who is overtaken by a removal is told so.
    let mut file = EvidenceFile::open(&path).await.unwrap();
    let mut read = 0;
    let record = store.evidence(&after(2999, 1)).await.unwrap().remove(0);
    store.prune_evidence(&cut_at(&record)).await.unwrap();
    let take = |_: Entry<'_>| {
        read += 1;
        Ok(())
    };
    let error = file.read(0, take).await.unwrap_err();
    assert_eq!(error.code, Code::StoreUnavailable);
    assert_eq!(error.message, "the records up to 3000 were removed before they were read");
    assert_eq!(read, 0);
    writing.abort();
}

#[tokio::test]
async fn reading_a_file_stops_when_nobody_wants_more_and_takes_large_records() {
    let (_folder, path) = place();
    let store = open(&path).await;
    let large = |bytes: usize| Draft { data: serde_json::json!({"a": "x".repeat(bytes)}), ..draft(None) };
    for bytes in [10, 3_000_000, 10, 9_000_000, 5_000_000, 1] {
        append(&store, vec![draft(None), large(bytes), draft(None)]).await;
    }
    assert_eq!(verify_file(&path).await.unwrap().0.seq, 18);

    let mut file = EvidenceFile::open(&path).await.unwrap();
    let mut read = 0;
    let take = |_: Entry<'_>| {
        read += 1;
        if read == 5 { Err(Error::new(Code::EvidenceBroken, "enough")) } else { Ok(()) }
    };
    assert_eq!(file.read(2, take).await.unwrap_err().message, "enough");
    assert_eq!(read, 5);
}

#[tokio::test]
async fn only_a_store_can_be_read_and_a_file_that_is_not_there_is_not_made() {
    let (folder, path) = place();
    let refused = EvidenceFile::open(&path).await.unwrap_err();
    assert_eq!(
        refused.message,
        format!("`{}`: cannot open the store: the file cannot be opened", path.display())
    );
    assert!(!path.exists());
    let other = folder.path().join("other.db");
    let create = SqliteConnectOptions::new().filename(&other).create_if_missing(true);
    let mut connection = sqlx::ConnectOptions::connect(&create).await.unwrap();
    sqlx::query("CREATE TABLE cut (id INTEGER)").execute(&mut connection).await.unwrap();
    let refused = EvidenceFile::open(&other).await.unwrap_err();
    assert!(refused.message.ends_with("it is not a store of astradesk"), "{}", refused.message);
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "something else\n".repeat(100)).unwrap();
    assert!(EvidenceFile::open(&text).await.unwrap_err().message.contains("not a sound SQLite database"));
}
