//! A store of the version before is taken as it is: nothing is lost, and nothing is held for ever.

#![expect(clippy::unwrap_used, reason = "the helpers of tests: a failed unwrap is a failed test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Draft, Head, Kind};
use astradesk_core::run::State;
use astradesk_core::{Run, Timestamp};
use astradesk_runtime::port::{Change, CommitError, Cut, EvidenceFilter, Store};
use astradesk_store::{Entry, EvidenceFile, Options, SqliteStore};
use common::{at, change, draft, failed, locking, principal, run, target};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::path::Path;

/// A store with the first `n` migrations alone.
async fn version(path: &Path, n: usize) -> SqliteConnection {
    let migrations = tempfile::tempdir().unwrap();
    for name in ["0001_init.sql", "0002_leases.sql"].into_iter().take(n) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite").join(name);
        std::fs::copy(source, migrations.path().join(name)).unwrap();
    }
    let connect = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = sqlx::ConnectOptions::connect(&connect).await.unwrap();
    let migrator = sqlx::migrate::Migrator::new(migrations.path()).await.unwrap();
    migrator.run(&mut connection).await.unwrap();
    connection
}

/// What the first version wrote of a run.
fn old_body(run: &Run) -> String {
    let mut body = serde_json::to_value(run).unwrap();
    let fields = body.as_object_mut().unwrap();
    assert!(fields.remove("deadline").is_some() && fields.remove("fence").is_some());
    for step in fields["steps"].as_array_mut().unwrap() {
        assert!(step.as_object_mut().unwrap().remove("on_failure").is_some());
    }
    body.to_string()
}

async fn insert(connection: &mut SqliteConnection, run: &Run, lock: &str, lock_until: i64) {
    sqlx::query("INSERT INTO runs VALUES (?, ?, ?, ?, 'restart_service', 1000000, 1000000, ?, ?)")
        .bind(run.id.to_string())
        .bind(run.version as i64)
        .bind(run.state.name())
        .bind(run.principal.id())
        .bind(i64::from(run.state.is_final()))
        .bind(old_body(run))
        .execute(&mut *connection)
        .await
        .unwrap();
    lock_row(connection, lock, &run.id.to_string(), lock_until).await;
}

async fn lock_row(connection: &mut SqliteConnection, name: &str, run: &str, until: i64) {
    let insert = sqlx::query("INSERT INTO locks VALUES (?, ?, ?)").bind(target(name).to_string());
    insert.bind(run.to_owned()).bind(until).execute(connection).await.unwrap();
}

/// The targets that somebody has locked, or had and left so.
async fn locked(path: &Path) -> Vec<String> {
    let connect = SqliteConnectOptions::new().filename(path);
    let mut other = sqlx::ConnectOptions::connect(&connect).await.unwrap();
    sqlx::query_scalar("SELECT target FROM locks ORDER BY target").fetch_all(&mut other).await.unwrap()
}

#[tokio::test]
async fn a_store_of_the_first_version_keeps_everything_and_its_runs_can_be_claimed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut old = version(&path, 1).await;

    let queued = run();
    let running = Run { state: State::Running { step: 0 }, version: 3, ..run() };
    let waiting = Run { state: State::AwaitingApproval, ..run() };
    let finished = Run { state: failed(), version: 7, ..run() };
    insert(&mut old, &queued, "queued", 1).await;
    insert(&mut old, &running, "running", 1).await;
    insert(&mut old, &waiting, "waiting", i64::MAX).await;
    insert(&mut old, &finished, "finished", i64::MAX).await;
    lock_row(&mut old, "unknown", &common::id().to_string(), i64::MAX).await;

    let mut head = Head::EMPTY;
    for run in [queued.id, running.id, waiting.id, finished.id] {
        let record = head.append(&draft(Some(run)));
        head = Head { seq: record.seq, hash: record.hash };
        sqlx::query("INSERT INTO evidence VALUES (?, ?, ?, 'run.admitted', ?, 2000000)")
            .bind(record.seq as i64)
            .bind(record.hash.to_string())
            .bind(record.body)
            .bind(run.to_string())
            .execute(&mut old)
            .await
            .unwrap();
    }
    sqlx::query("INSERT INTO events (run, at, kind, data) VALUES (?, 3000000, 'state', '{}')")
        .bind(queued.id.to_string())
        .execute(&mut old)
        .await
        .unwrap();
    sqlx::query("INSERT INTO idempotency VALUES (?, 'k', ?, ?, ?)")
        .bind(principal("ada").id())
        .bind(Digest::of("body").to_string())
        .bind(queued.id.to_string())
        .bind(at(70).as_microsecond())
        .execute(&mut old)
        .await
        .unwrap();
    sqlx::Connection::close(old).await.unwrap();

    let store = SqliteStore::open(&path, Options::default()).await.unwrap();
    let taken = |run: &Run| Run { deadline: Timestamp::default(), ..run.clone() };
    for run in [&queued, &running, &waiting, &finished] {
        assert_eq!(store.run(run.id).await.unwrap(), Some(taken(run)));
    }
    assert_eq!(store.orphans(at(11), 10).await.unwrap(), [taken(&queued), taken(&running)]);
    assert_eq!(common::verify(&store).await, head);
    assert_eq!(store.events(queued.id, 0, 10).await.unwrap().len(), 1);
    let found = store.idempotency(&principal("ada").id(), "k", at(69)).await.unwrap();
    assert_eq!(found, Some((queued.id, Digest::of("body"))));

    let kept = ["queued", "running", "waiting"].map(|name| target(name).to_string());
    assert_eq!(locked(&path).await, kept);
    for (name, holder) in [("queued", &queued), ("running", &running), ("waiting", &waiting)] {
        let refused = Err(CommitError::Locked { target: target(name), holder: holder.id });
        assert_eq!(store.commit(locking(name, &run())).await, refused);
    }
    for name in ["finished", "unknown"] {
        store.commit(locking(name, &run())).await.unwrap();
    }

    let mut claimed = Run { holder: Some(store.holder()), fence: 1, ..taken(&running) };
    claimed.version += 1;
    store.commit(change(&claimed)).await.unwrap();
    let left = store.orphans(at(11), 10).await.unwrap();
    assert!(left.contains(&taken(&queued)) && left.iter().all(|run| run.id != running.id));
    assert_eq!(common::verify(&store).await.seq, 7);
}

/// The records of a file that nobody has open.
async fn records_in(path: &Path) -> (u64, Option<Cut>, Vec<String>) {
    let mut file = EvidenceFile::open(path).await.unwrap();
    let mut head = Head::EMPTY;
    let take = |entry: Entry<'_>| {
        if let Entry::Record { body, hash } = entry {
            head = head.verify(body, hash)?;
        }
        Ok(())
    };
    file.read(0, take).await.unwrap();
    (head.seq, file.cut().await.unwrap(), file.checkpoints(0, 10).await.unwrap())
}

#[tokio::test]
async fn a_store_of_the_second_version_can_be_searched_and_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut old = version(&path, 2).await;
    let run = run();
    let mut head = Head::EMPTY;
    let mut hashes = vec![head.hash];
    for seq in 1..=1000_i64 {
        let kind = if seq == 600 { Kind::ApprovalGiven } else { Kind::Admitted };
        let record = head.append(&Draft { at: at(seq), kind, ..draft(Some(run.id)) });
        head = Head { seq: record.seq, hash: record.hash };
        hashes.push(record.hash);
        sqlx::query("INSERT INTO evidence VALUES (?, ?, ?, ?, ?, ?)")
            .bind(seq)
            .bind(record.hash.to_string())
            .bind(record.body)
            .bind(if seq == 600 { "approval.given" } else { "run.admitted" })
            .bind((seq % 100 == 0).then(|| run.id.to_string()))
            .bind(at(seq).as_microsecond())
            .execute(&mut old)
            .await
            .unwrap();
    }
    sqlx::Connection::close(old).await.unwrap();
    assert_eq!(records_in(&path).await, (1000, None, vec![]), "it is read as it is");
    let error = EvidenceFile::open(&path).await.unwrap().check_columns().await.unwrap_err();
    assert_eq!(error.details["seq"], 1, "its run is not beside it");

    let store = SqliteStore::open(&path, Options::default()).await.unwrap();
    assert_eq!(common::verify(&store).await, head);
    let found = async |filter: EvidenceFilter| {
        let records = store.evidence(&EvidenceFilter { limit: 5, ..filter }).await.unwrap();
        records.iter().map(|record| record.seq).collect::<Vec<_>>()
    };
    let any = EvidenceFilter::default;
    let given = || vec!["approval.given".to_owned()];
    assert_eq!(found(EvidenceFilter { run: Some(run.id), ..any() }).await, [100, 200, 300, 400, 500]);
    assert_eq!(found(EvidenceFilter { since: Some(at(998)), ..any() }).await, [998, 999, 1000]);
    assert_eq!(found(EvidenceFilter { after: 255, until: Some(at(258)), ..any() }).await, [256, 257]);
    assert_eq!(found(EvidenceFilter { kinds: given(), ..any() }).await, [600]);

    let (at, kind) = (at(2000), Kind::ApprovalGiven);
    let evidence = vec![Draft { at, kind, ..draft(None) }];
    store.commit(Change { evidence, ..Change::default() }).await.unwrap();
    assert_eq!(found(EvidenceFilter { kinds: given(), ..any() }).await, [600, 1001]);
    assert_eq!(found(EvidenceFilter { since: Some(at), ..any() }).await, [1001]);
    let cut = Head { seq: 700, hash: hashes[700] };
    store.prune_evidence(&Cut { head: cut, checkpoint: "note".to_owned() }).await.unwrap();
    assert_eq!(found(EvidenceFilter { kinds: given(), ..any() }).await, [1001]);
    assert_eq!(common::verify(&store).await.seq, 1001);
}

#[tokio::test]
async fn what_a_process_of_the_second_version_still_writes_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut old = version(&path, 2).await;
    let store = SqliteStore::open(&path, Options::default()).await.unwrap();
    let mut head = Head::EMPTY;
    for second in 1..=600 {
        let draft = Draft { at: at(second), kind: Kind::ApprovalGiven, ..draft(None) };
        if second % 2 == 0 {
            let evidence = vec![draft];
            head = store.commit(Change { evidence, ..Change::default() }).await.unwrap().head;
            continue;
        }
        let record = head.append(&draft);
        sqlx::query("INSERT INTO evidence (seq, hash, body, kind, run, at) VALUES (?, ?, ?, 'approval.given', NULL, ?)")
            .bind(record.seq as i64)
            .bind(record.hash.to_string())
            .bind(record.body)
            .bind(at(second).as_microsecond())
            .execute(&mut old)
            .await
            .unwrap();
    }
    assert_eq!(common::verify(&store).await.seq, 600);
    let kinds = vec!["approval.given".to_owned()];
    let found =
        store.evidence(&EvidenceFilter { kinds, limit: 1000, ..EvidenceFilter::default() }).await.unwrap();
    assert_eq!(found.len(), 600);
    let (since, until) = (Some(at(257)), Some(at(258)));
    let found = store
        .evidence(&EvidenceFilter { since, until, limit: 9, ..EvidenceFilter::default() })
        .await
        .unwrap();
    assert_eq!(found.iter().map(|record| record.seq).collect::<Vec<_>>(), [257]);
    EvidenceFile::open(&path).await.unwrap().check_columns().await.unwrap();
}
