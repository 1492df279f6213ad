//! What only the inside can bring about or see: a file that is full or read-only, a lock that was left
//! behind, the plan of a query.

use crate::holder::Presence;
use crate::{Options, SqliteStore, claim, evidence, outbox, prune, read, script, span, spend};
use astradesk_core::Code;
use astradesk_core::Timestamp;
use astradesk_core::evidence::{Draft, Kind};
use astradesk_core::guardrail::Allowance;
use astradesk_core::{RunId, Target};
use astradesk_runtime::port::{Change, CommitError, EvidenceFilter, LockChange, Spend, Store};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row, SqlitePool};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use uuid::Uuid;

fn change(bytes: usize) -> Change {
    let data = json!({ "secret": "s".repeat(bytes) });
    let (at, kind) = (Timestamp::UNIX_EPOCH, Kind::Admitted);
    let draft = Draft { at, kind, run: None, principal: None, trace: None, data };
    Change { evidence: vec![draft], ..Change::default() }
}

#[tokio::test]
async fn a_full_disk_is_said_keeps_nothing_and_is_over_when_there_is_room() {
    // A store in memory reads and writes over one connection, so the limit reaches the writer.
    let store = SqliteStore::in_memory().await.unwrap();
    let limit = |pages: u32| sqlx::query(AssertSqlSafe(format!("PRAGMA max_page_count = {pages}")));
    let head = store.commit(change(10)).await.unwrap().head;
    limit(1).execute(&store.readers).await.unwrap();

    let (one, two) = tokio::join!(store.commit(change(100_000)), store.commit(change(100_000)));
    for refused in [one, two] {
        let Err(CommitError::Unavailable(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error.code, Code::StoreUnavailable);
        assert_eq!(error.message, "cannot write to the store: the disk or the database is full");
    }
    assert_eq!(store.head().await.unwrap(), head);

    limit(1_000_000).execute(&store.readers).await.unwrap();
    let next = store.commit(change(100_000)).await.unwrap().head;
    assert_eq!(next.seq, head.seq + 1);
    store.ready().await.unwrap();
}

async fn pool(path: &Path, max_pages: u32) -> SqlitePool {
    let connect = SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Wal);
    let connect = connect.pragma("max_page_count", max_pages.to_string());
    SqlitePoolOptions::new().max_connections(1).connect_with(connect).await.unwrap()
}

#[tokio::test]
async fn what_is_too_large_for_a_full_file_does_not_keep_out_what_fits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    SqliteStore::open(&path, Options::default()).await.unwrap().close().await;
    let (writers, readers) = (pool(&path, 60).await, pool(&path, 1_000_000).await);
    let presence = Presence::beside(&path).unwrap();
    let store = SqliteStore::start(writers, readers, false, presence, &Options::default());

    let mut head = store.commit(change(10)).await.unwrap().head;
    for _ in 0..3 {
        let refused = store.commit(change(1_000_000)).await;
        let Err(CommitError::Unavailable(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error.message, "cannot write to the store: the disk or the database is full");
        let beaten = store.beat(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH).await;
        beaten.unwrap();
        let next = store.commit(change(10)).await.unwrap().head;
        assert_eq!(next.seq, head.seq + 1);
        head = next;
    }
    assert_eq!(store.head().await.unwrap(), head);
    let every = EvidenceFilter { limit: 100, ..EvidenceFilter::default() };
    let mut verified = astradesk_core::evidence::Head::EMPTY;
    for record in store.evidence(&every).await.unwrap() {
        verified = verified.verify(&record.body, record.hash).unwrap();
    }
    assert_eq!(verified, head);
}

#[tokio::test]
async fn a_read_only_file_is_said_and_can_still_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path, Options::default()).await.unwrap();
    let head = store.commit(change(10)).await.unwrap().head;
    store.close().await;
    // A file whose format only newer versions of SQLite may write (https://sqlite.org/fileformat2.html, 1.3.4).
    let write_version = |version: u8| {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[version], 18).unwrap();
    };
    write_version(3);

    let store = SqliteStore::open(&path, Options::default()).await.unwrap();
    let refused = store.commit(change(10)).await;
    let Err(CommitError::Unavailable(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.message, "cannot write to the store: the database is read-only");
    assert!(store.ready().await.unwrap_err().message.ends_with("the database is read-only"));
    assert!(store.beat(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH).await.is_err());
    assert_eq!(store.head().await.unwrap(), head);
    store.close().await;

    write_version(2);
    let store = SqliteStore::open(&path, Options::default()).await.unwrap();
    assert_eq!(store.commit(change(10)).await.unwrap().head.seq, head.seq + 1);
}

#[tokio::test]
async fn what_can_be_claimed_is_found_without_looking_at_what_has_finished() {
    let store = SqliteStore::in_memory().await.unwrap();
    let plan = claim::held_by(&["one".to_owned(), "two".to_owned()], None, 256);
    let queries = [
        (plan.sql().as_str().to_owned(), "runs_claimable"),
        (claim::holders_of().sql().as_str().to_owned(), "runs_claimable"),
        (claim::CANCELLED.to_owned(), "runs_to_cancel"),
    ];
    for (query, index) in queries {
        let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}")));
        let rows = rows.fetch_all(&store.readers).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        assert!(steps.iter().any(|step| step.contains(index)), "{query}: {steps:?}");
        let sorted = query.contains("LIMIT") && steps.iter().any(|step| step.contains("TEMP B-TREE"));
        assert!(!sorted, "{query}: {steps:?}");
    }
}

/// The steps of the plan of a query.
async fn plan(store: &SqliteStore, query: &str) -> String {
    let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}")));
    let rows = rows.fetch_all(&store.readers).await.unwrap();
    let steps: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
    steps.join("; ")
}

#[tokio::test]
async fn nothing_that_grows_is_looked_through_and_nothing_is_sorted() {
    let store = SqliteStore::in_memory().await.unwrap();
    let one = RunId::from_uuid(Uuid::from_u128(1));
    let searched = |filter: EvidenceFilter| evidence::search(&filter).sql().as_str().to_owned();
    let kinds = vec!["run.denied".to_owned(), "auth.denied".to_owned()];
    let since = Some(Timestamp::UNIX_EPOCH);
    let any = EvidenceFilter::default;
    let allowance = Allowance {
        key: String::new(),
        guardrail: String::new(),
        limit: 1,
        period: Timestamp::MAX.duration_since(Timestamp::MIN),
        code: Code::GuardCoolDown,
    };
    let spend = Spend { allowance, run: one, step: 0, at: Timestamp::UNIX_EPOCH };
    let spans = "spans USING INTEGER PRIMARY KEY (rowid>?); SEARCH evidence USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
    for (query, wanted) in [
        (searched(any()), "evidence USING INTEGER PRIMARY KEY (rowid>?)"),
        (
            searched(EvidenceFilter { run: Some(one), since, kinds: kinds.clone(), ..any() }),
            "evidence_by_run (run=? AND seq>?)",
        ),
        (searched(EvidenceFilter { since, ..any() }), spans),
        (searched(EvidenceFilter { until: since, kinds, ..any() }), spans),
        (evidence::LAST.to_owned(), "SCAN evidence"),
        (read::AWAITING.to_owned(), "runs_by_state (state=? AND id>?)"),
        (prune::ENDED.to_owned(), "sqlite_autoindex_runs_1 (id<?)"),
        (outbox::ANY_DUE.to_owned(), "outbox_due (receiver=? AND due_at<?)"),
        (outbox::DEAD.to_owned(), "outbox_dead"),
        (spend::count(&[&spend]).sql().as_str().to_owned(), "COVERING INDEX spends_by_time (key=? AND at>?)"),
        (script::CLEAN_SPENDS.join("?"), "spends_by_expiry (expires_at<?)"),
    ] {
        let plan = plan(&store, &query).await;
        assert!(plan.contains(wanted), "{query}: {plan}");
        assert!(!plan.contains("TEMP B-TREE") || query == evidence::LAST, "{query}: {plan}");
    }
}

#[tokio::test]
async fn a_kind_has_the_same_bit_here_and_in_the_database() {
    let in_words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let migration = in_words(include_str!("../migrations/sqlite/0003_governance.sql"));
    assert!(migration.contains(&in_words(&span::BIT.replace("{kind}", "NEW.kind"))));
    let store = SqliteStore::in_memory().await.unwrap();
    let query = format!("SELECT {}", span::BIT.replace("{kind}", "?1"));
    for kind in
        ["run.admitted", "run.denied", "approval.given", "later.kind", "plain", "a.", ".b", ".", "", "ż.ó"]
    {
        let bit: Result<i64, _> =
            sqlx::query_scalar(AssertSqlSafe(query.as_str())).bind(kind).fetch_one(&store.readers).await;
        assert_eq!(span::bit(kind), bit.unwrap(), "{kind}");
    }
}

#[tokio::test]
async fn announcements_are_taken_without_looking_at_those_that_are_not_due() {
    let store = SqliteStore::in_memory().await.unwrap();
    let plan = plan(&store, outbox::LEASED).await;
    for step in [
        "SEARCH outbox USING COVERING INDEX outbox_due (receiver>?)",
        "SEARCH outbox USING COVERING INDEX outbox_due (receiver=? AND due_at<?)",
    ] {
        assert!(plan.contains(step), "{plan}");
    }
    let scans: Vec<_> = plan.split("; ").filter(|step| step.starts_with("SCAN outbox")).collect();
    assert_eq!(scans, Vec::<&str>::new(), "{plan}");
}

#[tokio::test]
async fn a_lock_that_was_left_behind_is_free() {
    let store = SqliteStore::in_memory().await.unwrap();
    let (one, two) = (RunId::from_uuid(Uuid::from_u128(1)), RunId::from_uuid(Uuid::from_u128(2)));
    let target: Target = "kubernetes/prod/default/deployment/webapp".parse().unwrap();
    let acquire = |run| LockChange::Acquire { target: target.clone(), run };
    let locking = |run| Change { locks: vec![acquire(run)], ..Change::default() };
    let insert = "INSERT INTO runs (id, version, state, principal, tool, created_at, updated_at, finished, body) \
                  VALUES (?, 1, 'queued', '', '', 0, 0, 0, '')";
    sqlx::query(insert).bind(one.to_string()).execute(&store.readers).await.unwrap();

    store.commit(locking(one)).await.unwrap();
    let held = CommitError::Locked { target: target.clone(), holder: one };
    assert_eq!(store.commit(locking(two)).await, Err(held));
    let finished = sqlx::query("UPDATE runs SET finished = 1, state = 'failed'");
    finished.execute(&store.readers).await.unwrap();
    store.commit(locking(two)).await.unwrap();
}
