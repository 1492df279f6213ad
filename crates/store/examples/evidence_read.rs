//! How fast the evidence in a file is read, and how fast it is verified, a record of 480 bytes at a time; and the
//! most memory that this took. It takes 0.75 GB a million records.
//!
//! `cargo run --release -p astradesk-store --example evidence_read [RECORDS] [FOLDER]`

#[path = "../tests/common/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod common;

use astradesk_core::evidence::{Draft, Head};
use astradesk_runtime::port::{Change, Store};
use astradesk_store::{Entry, EvidenceFile, Options, SqliteStore};
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const GROUP: u64 = 1000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints figures")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let records = args.next().map_or(1_000_000, |records| records.parse().unwrap());
    let folder = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(&folder).unwrap();
    let path = folder.path().join("store.db");
    write(&path, records).await;
    let before = memory();

    println!("{:>8} {:>10} {:>11} {:>12}", "", "records", "records/s", "records/s CPU");
    for what in ["read", "verified"] {
        let (begin, cpu) = (Instant::now(), cpu());
        let mut file = EvidenceFile::open(&path).await.unwrap();
        let (mut head, mut read) = (Head::EMPTY, 0_u64);
        let take = |entry: Entry<'_>| {
            if let Entry::Record { body, hash } = entry {
                read += 1;
                if what == "verified" {
                    head = head.verify(body, hash)?;
                }
            }
            Ok(())
        };
        file.read(0, take).await.unwrap();
        let rate = |time: Duration| read as f64 / time.as_secs_f64();
        let cpu = rate(self::cpu().saturating_sub(cpu));
        println!("{what:>8} {read:>10} {:>11.0} {cpu:>12.0}", rate(begin.elapsed()));
    }
    println!("memory: {} KiB before, {} KiB at most", before, memory());
}

/// Writes a chain.
#[expect(clippy::unwrap_used, reason = "a program that prints figures")]
async fn write(path: &Path, records: u64) {
    let store = SqliteStore::open(path, Options { durable: false, ..Options::default() }).await.unwrap();
    let data = json!({
        "decision": {"effect": "permit", "policies": ["builtin.read"]},
        "outcome": {"service": "webapp", "replicas": {"wanted": 3, "ready": 3}, "sound": true},
        "targets": ["kubernetes/prod/default/deployment/webapp"],
        "tool": "get_status",
        "version": "1",
    });
    let draft = || Draft { data: data.clone(), ..common::draft(Some(common::id())) };
    for _ in 0..records / GROUP {
        let evidence = (0..GROUP).map(|_| draft()).collect();
        store.commit(Change { evidence, ..Change::default() }).await.unwrap();
    }
    store.close().await;
}

/// The most memory that this process has had, in KiB.
#[expect(clippy::unwrap_used, reason = "a program that prints figures")]
fn memory() -> i64 {
    getrusage(UsageWho::RUSAGE_SELF).unwrap().max_rss()
}

/// What this process has used of the processors.
#[expect(clippy::unwrap_used, reason = "a program that prints figures")]
fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec();
    Duration::from_micros(micros as u64)
}
