//! How long it takes to find what can be claimed among 1,000,000 runs that have finished and 10,000 that have
//! not. Takes about 700 MB of the folder.
//!
//! `cargo run --release -p astradesk-store --example orphan_scan [FOLDER]`

#[path = "../tests/common/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod common;

use astradesk_core::Run;
use astradesk_core::run::State;
use astradesk_runtime::port::Store;
use astradesk_store::{Options, SqliteStore};
use common::{at, change, run};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const FINISHED: u32 = 1_000_000;
/// A quarter of the runs that have not finished.
const QUARTER: usize = 2_500;
const TIMES: usize = 50;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints figures")]
async fn main() {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(&folder).unwrap();
    let path = folder.path().join("store.db");
    let options = Options { durable: false, ..Options::default() };
    let (dead, living, own) =
        (open(&path, &options).await, open(&path, &options).await, open(&path, &options).await);
    finished(&path).await;
    for store in [&dead, &living, &own] {
        store.beat(at(10), at(20)).await.unwrap();
    }

    for holder in [&own, &living, &dead, &dead] {
        hold(&own, holder).await;
    }

    println!("{:>40} {:>6} {:>9} {:>9}", "of 10,000 unfinished runs", "found", "p50 ms", "max ms");
    print(&own, "all are held by living holders").await;
    drop(dead);
    print(&own, "the holder of 5,000 has died").await;
    living.close().await;
    print(&own, "the holders of 7,500 are gone").await;
}

/// Prints how long it takes to look for orphans.
#[expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints figures")]
async fn print(store: &SqliteStore, what: &str) {
    let mut times = Vec::new();
    let mut found = 0;
    for _ in 0..TIMES {
        let began = Instant::now();
        found = store.orphans(at(11), 256).await.unwrap().len();
        store.cancelled().await.unwrap();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let ms = |time: Option<&Duration>| time.unwrap().as_secs_f64() * 1e3;
    println!("{what:>40} {found:>6} {:>9.2} {:>9.2}", ms(times.get(TIMES / 2)), ms(times.last()));
}

#[expect(clippy::unwrap_used, reason = "a program that prints figures")]
async fn open(path: &Path, options: &Options) -> SqliteStore {
    SqliteStore::open(path, options.clone()).await.unwrap()
}

/// Writes finished runs, older than those that are made now.
#[expect(clippy::unwrap_used, reason = "a program that prints figures")]
async fn finished(path: &Path) {
    let connect = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = sqlx::ConnectOptions::connect(&connect).await.unwrap();
    let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) \
                  INSERT INTO runs (id, version, state, principal, tool, created_at, updated_at, finished, body) \
                  SELECT printf('%08x-0000-7000-8000-000000000000', i), 4, 'succeeded', 'test#ada', \
                  'restart_service', i, i, 1, printf('%400s', '') FROM n";
    sqlx::query(insert).bind(FINISHED).execute(&mut connection).await.unwrap();
}

/// Commits a quarter of the unfinished runs, held by the holder of `holder`.
#[expect(clippy::unwrap_used, reason = "a program that prints figures")]
async fn hold(store: &SqliteStore, holder: &SqliteStore) {
    let state = State::Running { step: 0 };
    for _ in 0..QUARTER / 500 {
        let mut commits = tokio::task::JoinSet::new();
        for _ in 0..500 {
            let run = Run { holder: Some(holder.holder()), state: state.clone(), ..run() };
            let store = store.clone();
            commits.spawn(async move { store.commit(change(&run)).await.unwrap() });
        }
        commits.join_all().await;
    }
}
