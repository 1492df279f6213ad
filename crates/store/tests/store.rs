//! The Store port as SQLite keeps it: what is refused, what is kept, and that it is one or the other.

#![expect(clippy::unwrap_used, reason = "the helpers of tests: a failed unwrap is a failed test")]

mod common;

use astradesk_core::canonical::Digest;
use astradesk_core::evidence::Head;
use astradesk_core::run::State;
use astradesk_core::{Code, Run, RunId, ToolName};
use astradesk_runtime::port::{Change, CommitError, LockChange, RunFilter, Store};
use astradesk_store::{Options, SqliteStore};
use common::{
    acquire, after, at, change, draft, event, failed, id, key, later, locking, run, run_of, target, verify,
};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

async fn memory() -> SqliteStore {
    SqliteStore::in_memory().await.unwrap()
}

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, Options { durable: false, ..Options::default() }).await.unwrap()
}

/// A change with something for every table.
fn full(run: &Run, name: &str) -> Change {
    Change {
        events: vec![event(run.id, 1), event(run.id, 2)],
        locks: vec![acquire(name, run.id)],
        idempotency: Some(key(name, "body", run.id, 10)),
        ..change(run)
    }
}

/// Asserts that nothing of the run was kept.
async fn nothing_of(store: &SqliteStore, run: RunId) {
    assert_eq!(store.run(run).await.unwrap(), None);
    assert_eq!(store.events(run, 0, 10).await.unwrap(), []);
    assert_eq!(store.head().await.unwrap(), verify(store).await);
    for record in store.evidence(&after(0, 1000)).await.unwrap() {
        assert!(!record.body.contains(&run.to_string()), "{}", record.body);
    }
}

#[tokio::test]
async fn what_is_committed_is_read_back() {
    let store = memory().await;
    let run = run();
    assert_eq!(store.head().await.unwrap(), Head::EMPTY);
    let committed = store.commit(full(&run, "webapp")).await.unwrap();
    assert_eq!(committed.head.seq, 1);
    assert_eq!(verify(&store).await, committed.head);
    assert_eq!(store.run(run.id).await.unwrap().as_ref(), Some(&run));
    let events = store.events(run.id, 0, 10).await.unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(store.events(run.id, events[0].seq, 10).await.unwrap(), [events[1].clone()]);
    assert_eq!(store.events(run.id, 0, 1).await.unwrap(), [events[0].clone()]);
    assert_eq!(store.events(run.id, u64::MAX, 1).await.unwrap(), []);
    assert_eq!(store.run(id()).await.unwrap(), None);
    store.ready().await.unwrap();
}

#[tokio::test]
async fn a_version_follows_the_one_before_it() {
    let store = memory().await;
    let first = run();
    store.commit(change(&first)).await.unwrap();
    assert_eq!(store.commit(change(&first)).await, Err(CommitError::Stale), "inserted twice");
    assert_eq!(
        store.commit(change(&later(&first, 2, failed()))).await,
        Err(CommitError::Stale),
        "one left out"
    );

    let second = later(&first, 1, failed());
    store.commit(change(&second)).await.unwrap();
    assert_eq!(store.commit(change(&second)).await, Err(CommitError::Stale), "replaced twice");
    assert_eq!(store.run(first.id).await.unwrap(), Some(second));

    let read = later(&run(), 4, State::Succeeded);
    store.commit(change(&read)).await.unwrap();
    assert_eq!(store.run(read.id).await.unwrap(), Some(read), "a run that comes finished is inserted");
    assert_eq!(verify(&store).await.seq, 3);
}

#[tokio::test]
async fn a_lock_is_held_until_its_run_gives_it_back() {
    let store = memory().await;
    let (one, two) = (run(), run());
    let held = |holder: &Run| Err(CommitError::Locked { target: target("webapp"), holder: holder.id });

    store.commit(locking("webapp", &one)).await.unwrap();
    assert_eq!(store.commit(locking("webapp", &two)).await, held(&one));
    store.commit(locking("other", &two)).await.unwrap();
    let mut one = later(&one, 1, State::Running { step: 0 });
    store.commit(locking("webapp", &one)).await.unwrap();
    // Years pass, and the run is claimed by one Engine after the other.
    for years in 1..5_u32 {
        one = later(&one, 1, State::Running { step: 0 });
        (one.updated_at, one.fence) = (at(i64::from(years) * 31_536_000), u64::from(years));
        store.commit(change(&one)).await.unwrap();
        let mut late = run();
        (late.created_at, late.updated_at) = (one.updated_at, one.updated_at);
        assert_eq!(store.commit(locking("webapp", &late)).await, held(&one));
    }

    let release = |run: &Run| LockChange::Release { run: run.id };
    let one = later(&one, 1, State::Succeeded);
    store.commit(Change { locks: vec![release(&one)], ..change(&one) }).await.unwrap();
    let three = run();
    store.commit(locking("webapp", &three)).await.unwrap();

    let two = later(&two, 1, State::Running { step: 0 });
    let both = vec![release(&three), acquire("webapp", two.id), acquire("db", two.id)];
    store.commit(Change { locks: both, ..change(&two) }).await.unwrap();
    assert_eq!(
        store.commit(locking("webapp", &run())).await,
        held(&two),
        "given back and taken in one change"
    );
}

#[tokio::test]
async fn a_run_that_has_finished_holds_no_lock() {
    let store = memory().await;
    let (one, two, three) = (run(), run(), run());
    store.commit(locking("webapp", &one)).await.unwrap();
    // Nobody gave the lock back. In one group and in two, it is free.
    let (ended, taken) =
        tokio::join!(store.commit(change(&later(&one, 1, failed()))), store.commit(locking("webapp", &two)));
    ended.unwrap();
    taken.unwrap();
    store.commit(change(&later(&two, 1, failed()))).await.unwrap();
    store.commit(locking("webapp", &three)).await.unwrap();

    let unknown = Change { locks: vec![acquire("db", id())], ..Change::default() };
    store.commit(unknown).await.unwrap();
    store.commit(locking("db", &run())).await.unwrap();
}

#[tokio::test]
async fn a_key_is_remembered_until_it_expires() {
    let store = memory().await;
    let (one, two) = (id(), id());
    let with = |key| Change { idempotency: Some(key), ..Change::default() };
    let ada = common::principal("ada").id();

    store.commit(with(key("k", "body", one, 10))).await.unwrap();
    let duplicate = Err(CommitError::Duplicate { run: one, request: Digest::of("body") });
    assert_eq!(store.commit(with(key("k", "other body", two, 69))).await, duplicate);
    assert_eq!(store.idempotency(&ada, "k", at(69)).await.unwrap(), Some((one, Digest::of("body"))));
    assert_eq!(store.idempotency(&ada, "k", at(70)).await.unwrap(), None);
    assert_eq!(store.idempotency("test#bob", "k", at(11)).await.unwrap(), None);
    let mut of_bob = key("k", "body", two, 11);
    of_bob.principal = "test#bob".to_owned();
    store.commit(with(of_bob)).await.unwrap();

    store.commit(with(key("k", "other body", two, 70))).await.unwrap();
    assert_eq!(store.idempotency(&ada, "k", at(71)).await.unwrap(), Some((two, Digest::of("other body"))));
}

#[tokio::test]
async fn a_refused_change_leaves_nothing_and_takes_nobody_with_it() {
    let store = memory().await;
    let holder = run();
    store.commit(full(&holder, "webapp")).await.unwrap();

    // Everything below goes into as few transactions as the writer likes: they are sent at once.
    let locked = run();
    let duplicate = run();
    let stale = later(&holder, 7, failed());
    let sound: Vec<Run> = (0..20).map(|_| run()).collect();
    let names: Vec<String> = (0..20).map(|i| format!("service-{i}")).collect();
    let refused = async {
        tokio::join!(
            store.commit(Change { idempotency: None, ..full(&locked, "webapp") }),
            store.commit(Change { locks: vec![acquire("free", duplicate.id)], ..full(&duplicate, "webapp") }),
            store.commit(Change {
                locks: vec![acquire("stale", stale.id)],
                idempotency: Some(key("stale", "", stale.id, 11)),
                ..full(&stale, "x")
            }),
        )
    };
    let kept = async {
        let mut commits = tokio::task::JoinSet::new();
        for (run, name) in sound.iter().zip(&names) {
            let (store, change) = (store.clone(), full(run, name));
            commits.spawn(async move { store.commit(change).await.unwrap() });
        }
        commits.join_all().await
    };
    let (kept, (by_lock, by_key, by_version)) = tokio::join!(kept, refused);

    assert_eq!(by_lock, Err(CommitError::Locked { target: target("webapp"), holder: holder.id }));
    let first = Err(CommitError::Duplicate { run: holder.id, request: Digest::of("body") });
    assert_eq!(by_key, first, "the key is looked at before the lock");
    assert_eq!(by_version, Err(CommitError::Stale));

    nothing_of(&store, locked.id).await;
    nothing_of(&store, duplicate.id).await;
    assert_eq!(store.run(holder.id).await.unwrap(), Some(holder.clone()));
    assert_eq!(store.events(holder.id, 0, 10).await.unwrap().len(), 2);
    for name in ["free", "stale"] {
        store.commit(locking(name, &run())).await.unwrap();
    }
    assert_eq!(store.idempotency(&common::principal("ada").id(), "stale", at(12)).await.unwrap(), None);

    let places: BTreeSet<u64> = kept.iter().map(|committed| committed.head.seq).collect();
    assert_eq!(places, (2..=21).collect(), "each of the sound changes has its place in the chain");
    for run in &sound {
        assert_eq!(store.run(run.id).await.unwrap().as_ref(), Some(run));
    }
    verify(&store).await;
}

#[tokio::test]
async fn changes_of_one_run_that_meet_in_a_group_are_kept_in_order() {
    let store = memory().await;
    let first = run();
    let second = later(&first, 1, failed());
    let third = later(&first, 2, State::Succeeded);
    // `join!` polls in order, so they are in the queue in this order before the writer sees any of them.
    let (a, b, c, again) = tokio::join!(
        store.commit(locking("webapp", &first)),
        store.commit(change(&second)),
        store.commit(Change { locks: vec![LockChange::Release { run: first.id }], ..change(&third) }),
        store.commit(change(&second)),
    );
    assert_eq!([a.unwrap().head.seq, b.unwrap().head.seq, c.unwrap().head.seq], [1, 2, 3]);
    assert_eq!(again, Err(CommitError::Stale));
    assert_eq!(store.run(first.id).await.unwrap(), Some(third));
    store.commit(locking("webapp", &run())).await.unwrap();
    verify(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_committers_make_one_chain_without_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.db")).await;
    let mut committers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let store = store.clone();
        committers.spawn(async move {
            for _ in 0..25 {
                let mut change = change(&later(&run(), 3, State::Succeeded));
                change.evidence.push(draft(None));
                store.commit(change).await.unwrap();
            }
        });
    }
    committers.join_all().await;
    assert_eq!(verify(&store).await.seq, 16 * 25 * 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_file_keep_one_chain_and_exclusive_locks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/store.db");
    let (one, two) = tokio::join!(open(&path), open(&path));
    let mut committers = tokio::task::JoinSet::new();
    for store in [&one, &two, &one, &two] {
        let store = store.clone();
        committers.spawn(async move {
            let mut taken = 0;
            for i in 0..25 {
                let run = run();
                let name = format!("service-{i}");
                match store.commit(locking(&name, &run)).await {
                    Ok(_) => taken += 1,
                    Err(CommitError::Locked { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            taken
        });
    }
    let taken: Vec<i32> = committers.join_all().await;
    assert_eq!(taken.iter().sum::<i32>(), 25, "each lock is taken once: {taken:?}");
    assert_eq!(verify(&one).await.seq, 25);
    assert_eq!(verify(&two).await, verify(&one).await);

    let run = run();
    one.commit(change(&run)).await.unwrap();
    two.commit(change(&later(&run, 1, failed()))).await.unwrap();
    assert_eq!(one.commit(change(&later(&run, 1, State::Succeeded))).await, Err(CommitError::Stale));
}

#[tokio::test]
async fn a_reopened_store_has_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("private/store.db");
    let run = run();
    let store = SqliteStore::open(&path, Options::default()).await.unwrap();
    store.commit(full(&run, "webapp")).await.unwrap();
    let events = store.events(run.id, 0, 10).await.unwrap();
    store.close().await;
    store.close().await;
    let closed = store.commit(change(&run)).await;
    assert!(matches!(closed, Err(CommitError::Unavailable(error)) if error.code == Code::StoreUnavailable));
    assert_eq!(store.ready().await.unwrap_err().code, Code::StoreUnavailable);
    assert_eq!(store.head().await.unwrap_err().code, Code::StoreUnavailable);

    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);

    let store = open(&path).await;
    assert_eq!(mode(&path.with_extension("db-wal")), 0o600);
    assert_eq!(store.run(run.id).await.unwrap().as_ref(), Some(&run));
    assert_eq!(store.events(run.id, 0, 10).await.unwrap(), events);
    assert_eq!(verify(&store).await.seq, 1);
    let again = store.commit(full(&common::run(), "webapp")).await;
    assert!(matches!(again, Err(CommitError::Duplicate { run: first, .. }) if first == run.id));
    let locked = store.commit(locking("webapp", &common::run())).await;
    assert!(matches!(locked, Err(CommitError::Locked { holder, .. }) if holder == run.id));
}

#[tokio::test]
async fn a_store_that_is_dropped_lets_go_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open(&path).await;
    store.commit(change(&run())).await.unwrap();
    let wal = path.with_extension("db-wal");
    assert!(wal.exists());
    drop(store);
    // SQLite removes it when the last connection is closed.
    let gone = async {
        while wal.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    assert_eq!(verify(&open(&path).await).await.seq, 1);
}

#[tokio::test]
async fn pages_follow_one_another_without_gap_or_repetition() {
    let store = memory().await;
    let mut all = Vec::new();
    for i in 0..23 {
        let tools: &[&str] = if i % 3 == 0 { &["get_status", "restart_service"] } else { &["get_status"] };
        let run = run_of(if i % 2 == 0 { "ada" } else { "bob" }, tools);
        let run = if i % 5 == 0 { later(&run, 1, State::Succeeded) } else { run };
        store.commit(change(&run)).await.unwrap();
        all.insert(0, run);
    }
    let tool = |name| Some(ToolName::parse(name).unwrap());
    let bob = Some("test#bob".to_owned());
    let of = |wanted: &dyn Fn(&Run) -> bool| all.iter().filter(|run| wanted(run)).map(|run| run.id).collect();
    let cases: Vec<(RunFilter, Vec<RunId>)> = vec![
        (RunFilter::default(), of(&|_| true)),
        (RunFilter { principal: bob.clone(), ..RunFilter::default() }, of(&|r| r.principal.subject == "bob")),
        (
            RunFilter { state: Some("succeeded".to_owned()), ..RunFilter::default() },
            of(&|r| r.state == State::Succeeded),
        ),
        (RunFilter { tool: tool("restart_service"), ..RunFilter::default() }, of(&|r| r.steps.len() == 2)),
        (RunFilter { tool: tool("get_status"), ..RunFilter::default() }, of(&|_| true)),
        (RunFilter { tool: tool("no_such_tool"), ..RunFilter::default() }, vec![]),
        (
            RunFilter { principal: bob, tool: tool("restart_service"), ..RunFilter::default() },
            of(&|r| r.steps.len() == 2 && r.principal.subject == "bob"),
        ),
    ];
    for (filter, wanted) in cases {
        let mut found = Vec::new();
        let mut filter = RunFilter { limit: 4, ..filter };
        loop {
            let page = store.runs(&filter).await.unwrap();
            assert!(page.runs.len() <= 4);
            found.extend(page.runs.iter().map(|run| run.id));
            match page.next {
                Some(_) => filter.before = page.next,
                None => break,
            }
        }
        assert_eq!(found, wanted, "{filter:?}");
    }
    let nothing = store.runs(&RunFilter::default()).await.unwrap();
    assert_eq!((nothing.runs.len(), nothing.next), (0, None), "a limit of 0 is no page at all");
    let exact = store.runs(&RunFilter { limit: 23, ..RunFilter::default() }).await.unwrap();
    assert_eq!((exact.runs.len(), exact.next), (23, None));
}

#[tokio::test]
async fn more_than_the_queue_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path, Options { queue: 2, ..Options::default() }).await.unwrap();
    let (a, b) = (run(), run());
    let (refused, c) = (run(), run());
    // The writer does not run before the first await that waits: three in a row are one too many for it.
    let (a, b, refused) =
        tokio::join!(store.commit(change(&a)), store.commit(change(&b)), store.commit(change(&refused)));
    assert!(a.is_ok() && b.is_ok());
    let Err(CommitError::Unavailable(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.code, Code::StoreUnavailable);
    assert!(error.message.contains("2 changes are waiting"), "{}", error.message);
    store.commit(change(&c)).await.unwrap();
    assert_eq!(verify(&store).await.seq, 3);
}

#[tokio::test]
async fn a_writer_elsewhere_that_does_not_end_makes_the_store_unavailable_and_not_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let options = Options { busy_timeout: Duration::from_millis(500), ..Options::default() };
    let store = SqliteStore::open(&path, options).await.unwrap();
    let run = run();

    let connect = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut other = sqlx::ConnectOptions::connect(&connect).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let refused = store.commit(full(&run, "webapp")).await;
    let Err(CommitError::Unavailable(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.message, "cannot write to the store: the database is locked by another process");
    assert_eq!(store.ready().await.unwrap_err().code, Code::StoreUnavailable);
    nothing_of(&store, run.id).await;

    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    store.ready().await.unwrap();
    store.commit(full(&run, "webapp")).await.unwrap();
    verify(&store).await;
}

#[tokio::test]
async fn what_cannot_be_opened_is_said_and_touched_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a database, but something that somebody needs\n".repeat(100)).unwrap();
    for (path, why) in [
        (folder.path().join("."), "the file cannot be opened"),
        (text.clone(), "the file is not a sound SQLite database"),
        (text.join("below-a-file.db"), "cannot open the store"),
    ] {
        let error = SqliteStore::open(&path, Options::default()).await.unwrap_err();
        assert_eq!(error.code, Code::StoreUnavailable);
        assert!(error.message.contains(why), "{}", error.message);
        assert!(error.message.contains(&path.display().to_string()), "{}", error.message);
    }
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("not a database"));
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    open(&path).await.close().await;
    let connect = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut other = sqlx::ConnectOptions::connect(&connect).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations VALUES (9999, 'newer', 0, TRUE, x'00', 0)";
    sqlx::query(newer).execute(&mut other).await.unwrap();
    let error = SqliteStore::open(&path, Options::default()).await.unwrap_err();
    assert!(error.message.contains("has migration 9999"), "{}", error.message);
}
