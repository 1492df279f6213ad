//! Who holds runs, who is dead, and what can be claimed then.

#![expect(clippy::unwrap_used, reason = "the helpers of tests: a failed unwrap is a failed test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use astradesk_core::run::{Holder, State};
use astradesk_core::{Code, Run, RunId};
use astradesk_runtime::port::{CommitError, Store};
use astradesk_store::{Options, SqliteStore};
use common::{at, change, failed, later, run};
use std::path::{Path, PathBuf};
use std::time::Duration;

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, Options { durable: false, ..Options::default() }).await.unwrap()
}

/// A folder for a store, gone at the end of the test.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    (folder, path)
}

/// The next version of `run`, claimed by the holder of `store`.
fn claimed(run: &Run, store: &SqliteStore) -> Run {
    let holder = Some(store.holder());
    Run { holder, fence: run.fence + 1, ..later(run, 1, State::Running { step: 0 }) }
}

/// A run that `store` holds.
async fn held_by(store: &SqliteStore) -> Run {
    let first = run();
    let held = claimed(&first, store);
    store.commit(change(&first)).await.unwrap();
    store.commit(change(&held)).await.unwrap();
    held
}

async fn beat(store: &SqliteStore, now: i64, until: i64) {
    store.beat(at(now), at(until)).await.unwrap();
}

/// The runs that `store` could claim at second `now`.
async fn orphans(store: &SqliteStore, now: i64) -> Vec<RunId> {
    store.orphans(at(now), 256).await.unwrap().iter().map(|run| run.id).collect()
}

/// The files of holders beside the store.
fn files(path: &Path) -> Vec<String> {
    let names = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_prefix("store.db.holder-").map(str::to_owned)).collect()
}

async fn leases(path: &Path) -> Vec<String> {
    let connect = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut other = sqlx::ConnectOptions::connect(&connect).await.unwrap();
    sqlx::query_scalar("SELECT id FROM holders ORDER BY id").fetch_all(&mut other).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_claim_a_run_one_has_it() {
    let (_folder, path) = place();
    let (one, two) = tokio::join!(open(&path), open(&path));
    assert_ne!(one.holder(), two.holder());
    for _ in 0..20 {
        let run = run();
        one.commit(change(&run)).await.unwrap();
        let (by_one, by_two) = (claimed(&run, &one), claimed(&run, &two));
        let (a, b) = tokio::join!(one.commit(change(&by_one)), two.commit(change(&by_two)));
        let winner = match (a, b) {
            (Ok(_), Err(CommitError::Stale)) => by_one,
            (Err(CommitError::Stale), Ok(_)) => by_two,
            both => panic!("{both:?}"),
        };
        assert_eq!(two.run(run.id).await.unwrap(), Some(winner));
    }
    common::verify(&one).await;
}

#[tokio::test]
async fn what_a_dead_process_held_can_be_claimed_at_once() {
    let (_folder, path) = place();
    let (one, two) = (open(&path).await, open(&path).await);
    let run = held_by(&one).await;
    beat(&one, 10, 20).await;
    let dead = one.holder();
    assert_eq!(orphans(&two, 11).await, []);
    assert!(files(&path).contains(&dead.to_string()));

    // The lock of its file falls, as it does when a process dies; its lease would last.
    drop(one);
    assert_eq!(orphans(&two, 11).await, [run.id]);
    assert_eq!(files(&path), [two.holder().to_string()]);
    assert_eq!(orphans(&two, 11).await, [run.id], "its file is missing by now");

    let mine = claimed(&run, &two);
    two.commit(change(&mine)).await.unwrap();
    assert_eq!(orphans(&two, 11).await, []);
}

#[tokio::test]
async fn a_process_that_hangs_is_dead_when_its_lease_has_ended() {
    let (_folder, path) = place();
    let (one, two) = (open(&path).await, open(&path).await);
    let run = held_by(&one).await;
    assert_eq!(orphans(&two, 11).await, [run.id], "it has never beaten");
    beat(&one, 10, 20).await;
    assert_eq!(orphans(&two, 19).await, []);
    assert_eq!(orphans(&two, 20).await, [run.id]);
    assert_eq!(orphans(&one, 20).await, [], "nobody takes a run from itself");
    assert!(files(&path).contains(&one.holder().to_string()), "its process lives");

    beat(&one, 21, 31).await;
    assert_eq!(orphans(&two, 22).await, []);
}

#[tokio::test]
async fn a_clock_that_steps_costs_a_living_holder_one_beat() {
    const HOUR: i64 = 3600;
    let (_folder, path) = place();
    let (one, two) = (open(&path).await, open(&path).await);
    let run = held_by(&one).await;
    beat(&one, 5 * HOUR, 5 * HOUR + 10).await;
    assert_eq!(orphans(&two, 5 * HOUR + 1).await, []);

    // An hour back: the lease would last for an hour, and no lease does.
    assert_eq!(orphans(&two, 4 * HOUR + 2).await, [run.id]);
    beat(&one, 4 * HOUR + 2, 4 * HOUR + 12).await;
    assert_eq!(orphans(&two, 4 * HOUR + 3).await, []);
    assert_eq!(orphans(&two, 4 * HOUR + 12).await, [run.id], "a later lease of before does not count");

    // An hour forward: every lease has ended.
    assert_eq!(orphans(&two, 5 * HOUR + 4).await, [run.id]);
    beat(&one, 5 * HOUR + 4, 5 * HOUR + 14).await;
    assert_eq!(orphans(&two, 5 * HOUR + 5).await, []);

    beat(&one, 100, 160).await;
    assert_eq!(orphans(&two, 100).await, [], "a lease of 60 seconds is a lease");
    beat(&one, 100, 161).await;
    assert_eq!(orphans(&two, 100).await, [run.id], "and a longer one is none");
}

#[tokio::test]
async fn what_a_closed_store_held_can_be_claimed_at_once() {
    let (_folder, path) = place();
    let (one, two) = (open(&path).await, open(&path).await);
    let run = held_by(&one).await;
    beat(&one, 10, 20).await;
    beat(&two, 10, 20).await;
    one.close().await;
    one.close().await;
    assert_eq!(orphans(&two, 11).await, [run.id]);
    assert_eq!(files(&path), [two.holder().to_string()]);
    assert_eq!(leases(&path).await, [two.holder().to_string()]);
    let refused = one.beat(at(11), at(21)).await.unwrap_err();
    assert_eq!(refused.code, Code::StoreUnavailable);
}

#[tokio::test]
async fn only_queued_and_running_runs_of_nobody_and_of_the_dead_are_orphans() {
    let (_folder, path) = place();
    let (own, other) = (open(&path).await, open(&path).await);
    beat(&other, 10, 20).await;
    let held = |holder: &str| Run { holder: Some(Holder::new(holder)), ..run() };
    let of = |state| Run { state, ..run() };

    let queued = run();
    let running = of(State::Running { step: 0 });
    let of_the_dead = held("node-1-0123456789ab");
    let of_the_old = held("node-2-0123456789ab");
    let wanted = [&queued, &running, &of_the_dead, &of_the_old];
    // Newest first, so that the order is the store's.
    for orphan in wanted.iter().rev() {
        own.commit(change(orphan)).await.unwrap();
    }
    for other in [of(State::Submitted), of(State::AwaitingApproval), of(State::Expired), of(failed())] {
        own.commit(change(&other)).await.unwrap();
    }
    // What has finished is nobody's to claim, whoever it names.
    own.commit(change(&Run { state: State::Cancelled, ..held("node-3-0123456789ab") })).await.unwrap();
    let (mine, theirs) = (held_by(&own).await, held_by(&other).await);

    let wanted = wanted.map(|run| run.id);
    assert_eq!(orphans(&own, 11).await, wanted);
    let first: Vec<RunId> = own.orphans(at(11), 2).await.unwrap().iter().map(|run| run.id).collect();
    assert_eq!(first, wanted[..2]);
    assert_eq!(own.orphans(at(11), 0).await.unwrap(), []);
    let whole = own.orphans(at(11), 3).await.unwrap();
    assert_eq!(whole[2], of_the_dead);

    assert_eq!(own.orphan(of_the_dead.id, at(11)).await.unwrap(), Some(of_the_dead));
    for held in [mine, theirs] {
        assert_eq!(own.orphan(held.id, at(11)).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_store_in_memory_knows_the_dead_by_their_leases() {
    let store = SqliteStore::in_memory().await.unwrap();
    held_by(&store).await;
    let other = Run { holder: Some(Holder::new("node-1-0123456789ab")), ..run() };
    store.commit(change(&other)).await.unwrap();
    beat(&store, 10, 20).await;
    assert_eq!(orphans(&store, 11).await, [other.id]);
    assert_eq!(orphans(&store, 30).await, [other.id]);
}

#[tokio::test]
async fn runs_that_somebody_wants_cancelled_are_told_to_their_holder() {
    let (_folder, path) = place();
    let (one, two) = (open(&path).await, open(&path).await);
    let (run, untouched) = (held_by(&one).await, held_by(&one).await);
    let of_two = held_by(&two).await;
    assert_eq!(one.cancelled().await.unwrap(), []);

    // The wish comes through another store than the holder's.
    let wished = Run { cancel_requested: true, ..later(&run, 1, run.state.clone()) };
    two.commit(change(&wished)).await.unwrap();
    one.commit(change(&Run { cancel_requested: true, ..later(&of_two, 1, of_two.state.clone()) }))
        .await
        .unwrap();
    assert_eq!(one.cancelled().await.unwrap(), [run.id]);
    assert_eq!(two.cancelled().await.unwrap(), [of_two.id]);

    one.commit(change(&later(&wished, 1, State::Cancelled))).await.unwrap();
    assert_eq!(one.cancelled().await.unwrap(), []);
    assert_eq!(one.run(untouched.id).await.unwrap(), Some(untouched));
}

#[tokio::test]
async fn the_files_of_the_dead_go_when_a_store_is_opened_and_their_leases_after_a_day() {
    const DAY: i64 = 86_400;
    let (_folder, path) = place();
    let (living, dead) = (open(&path).await, open(&path).await);
    beat(&living, 10, 20).await;
    beat(&dead, 10, 20).await;
    let mut names = [living.holder().to_string(), dead.holder().to_string()];
    drop(dead);
    assert_eq!(files(&path).len(), 2);
    let next = open(&path).await;
    let mut left = files(&path);
    left.sort();
    let mut wanted = [living.holder().to_string(), next.holder().to_string()];
    wanted.sort();
    assert_eq!(left, wanted);

    names.sort();
    beat(&living, 19 + DAY, 29 + DAY).await;
    assert_eq!(leases(&path).await, names);
    beat(&living, 20 + DAY, 30 + DAY).await;
    assert_eq!(leases(&path).await, [living.holder().to_string()]);
}

#[tokio::test]
async fn by_every_path_to_the_file_the_holders_are_the_same() {
    let (folder, path) = place();
    let one = open(&path).await;
    let link = folder.path().join("link");
    std::fs::create_dir(&link).unwrap();
    let link = link.join("other.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let two = open(&link).await;
    held_by(&one).await;
    held_by(&two).await;
    beat(&one, 10, 20).await;
    beat(&two, 10, 20).await;
    assert_eq!(orphans(&one, 11).await, []);
    assert_eq!(orphans(&two, 11).await, []);
}

#[tokio::test]
async fn a_holder_that_no_store_has_named_is_dead_and_no_path() {
    let (folder, path) = place();
    let store = open(&path).await;
    let victim = folder.path().join("victim");
    std::fs::write(&victim, "needed").unwrap();
    std::fs::create_dir(folder.path().join("store.db.holder-x")).unwrap();
    let mut wanted = Vec::new();
    for name in ["x/../victim", "", "a\0b", &"n".repeat(300)] {
        let run = Run { holder: Some(Holder::new(name)), ..run() };
        store.commit(change(&run)).await.unwrap();
        wanted.push(run.id);
    }
    assert_eq!(orphans(&store, 11).await, wanted);
    assert!(victim.exists());
}

#[tokio::test]
async fn a_beat_waits_for_its_place_and_fails_when_nothing_can_be_written() {
    let (_folder, path) = place();
    let options = Options { queue: 2, busy_timeout: Duration::from_millis(500), ..Options::default() };
    let store = SqliteStore::open(&path, options).await.unwrap();
    let (a, b) = (run(), run());
    // The writer does not run before the first await that waits, so the queue is full when the beat comes.
    let (a, b, probe, beaten) = tokio::join!(
        store.commit(change(&a)),
        store.commit(change(&b)),
        store.ready(),
        store.beat(at(10), at(20))
    );
    assert!(a.is_ok() && b.is_ok());
    assert!(probe.unwrap_err().message.contains("2 changes are waiting"));
    beaten.unwrap();
    assert_eq!(leases(&path).await, [store.holder().to_string()]);

    let connect = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut other = sqlx::ConnectOptions::connect(&connect).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let error = store.beat(at(11), at(21)).await.unwrap_err();
    assert_eq!(error.message, "cannot write to the store: the database is locked by another process");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    beat(&store, 12, 22).await;
}
