//! How many governed reads a second the store makes durable: one finished run and one record each.
//!
//! `cargo run --release -p astradesk-store --example commit_rate [FOLDER]`

#[path = "../tests/common/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod common;

use astradesk_core::run::{State, StepState};
use astradesk_runtime::port::Store;
use astradesk_store::{Options, SqliteStore};
use common::{at, change, later, run};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const SECONDS: u64 = 3;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints figures")]
async fn main() {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    println!(
        "{:>10} {:>11} {:>10} {:>10} {:>10} {:>10}",
        "sync", "committers", "commits/s", "p50 ms", "p99 ms", "CPU µs"
    );
    for durable in [true, false] {
        for committers in [1, 16, 64] {
            let folder = tempfile::tempdir_in(&folder).unwrap();
            let options = Options { durable, ..Options::default() };
            let store = SqliteStore::open(&folder.path().join("store.db"), options).await.unwrap();
            let (begin, cpu) = (Instant::now(), cpu());
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..committers {
                tasks.spawn(commit(store.clone(), begin + Duration::from_secs(SECONDS)));
            }
            let mut times: Vec<Duration> = tasks.join_all().await.into_iter().flatten().collect();
            let cpu = self::cpu().saturating_sub(cpu).as_secs_f64() * 1e6 / times.len() as f64;
            let rate = times.len() as f64 / begin.elapsed().as_secs_f64();
            times.sort_unstable();
            let quantile = |q: usize| times.get(times.len() * q / 100).unwrap().as_secs_f64() * 1e3;
            let sync = if durable { "full" } else { "normal" };
            println!(
                "{sync:>10} {committers:>11} {rate:>10.0} {:>10.2} {:>10.2} {cpu:>10.1}",
                quantile(50),
                quantile(99)
            );
            store.close().await;
        }
    }
}

/// What this process has used of the processors: where others use them too, it tells more than the rate.
#[expect(clippy::unwrap_used, reason = "a program that prints figures")]
fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let of = |time: TimeVal| Duration::from_micros((time.tv_sec() * 1_000_000 + time.tv_usec()) as u64);
    of(usage.user_time()) + of(usage.system_time())
}

/// Commits until `end`, and gives the time that each commit took.
#[expect(clippy::unwrap_used, reason = "a program that prints figures")]
async fn commit(store: SqliteStore, end: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    while Instant::now() < end {
        let mut read = later(&run(), 4, State::Succeeded);
        for step in &mut read.steps {
            let output = json!({"service": "webapp", "replicas": {"wanted": 3, "ready": 3}, "sound": true});
            step.state = StepState::Succeeded { at: at(5), output };
        }
        let began = Instant::now();
        store.commit(change(&read)).await.unwrap();
        times.push(began.elapsed());
    }
    times
}
