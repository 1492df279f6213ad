//! Verification of an export, and SHA-256 of the same file; run by `cargo xtask bench --evidence`, each in a process
//! of its own.
//!
//! `make FILE RECORDS` writes an export and prints the key; `verify FILE KEY` and `hash FILE` print one line of JSON.
#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use anyhow::{Context as _, Result, bail, ensure};
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Draft, Head, Kind};
use astradesk_core::{Principal, RoleName, RunId, Timestamp};
use astradesk_runtime::evidence::{Signer, TrustedKey, export};
use astradesk_runtime::key;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read as _};
use std::path::Path;
use std::time::Instant;

/// After how many records a checkpoint was signed: at 500 records a second, one every 10 s.
const SIGNED_EVERY: u64 = 5000;
/// What is read of a file at once, by both.
const BUFFER: usize = 256 * 1024;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let printed = match *arguments.as_slice() {
        ["make", file, records] => make(Path::new(file), records.parse().context("no number of records")?)?,
        ["verify", file, key] => verify(Path::new(file), TrustedKey::parse(key)?)?,
        ["hash", file] => hash(Path::new(file))?,
        _ => bail!("make FILE RECORDS, verify FILE KEY or hash FILE"),
    };
    println!("{printed}");
    Ok(())
}

fn make(file: &Path, records: u64) -> Result<Value> {
    let signer = Signer::from_pkcs8(&key::fresh()?)?;
    let principal = Principal {
        subject: "anna.kowalska@example.com".to_owned(),
        issuer: "https://id.example.com/realms/operations".to_owned(),
        roles: [RoleName::parse("on-call")?, RoleName::parse("sre")?].into(),
        actor: None,
    };
    let mut export = export::Writer::new(BufWriter::with_capacity(BUFFER, File::create(file)?));
    let mut head = Head::EMPTY;
    while head.seq < records {
        let record = head.append(&draft(head.seq, &principal)?);
        head = Head { seq: record.seq, hash: record.hash };
        export.record(&record)?;
        if head.seq.is_multiple_of(SIGNED_EVERY) || head.seq == records {
            export.checkpoint(signer.checkpoint(head, at(head.seq)?))?;
        }
    }
    export.finish()?;
    Ok(json!({"key": signer.key()}))
}

/// One record of a restart, as the Engine writes it: four of them make a run.
fn draft(place: u64, principal: &Principal) -> Result<Draft> {
    let run = place / 4;
    let service = format!("payments-{:03}", run % 1000);
    let target = format!("kubernetes/production/payments/deployment/{service}");
    let call = json!({
        "tool": "restart_service", "version": "3", "effect": "execute",
        "arguments": {"namespace": "payments", "service": service, "on_failure": "undo"},
        "targets": [target], "digest": Digest::of(&target),
    });
    let bound = json!({
        "uid": format!("6f1c3a52-7d40-4f0e-9a3e-{run:012x}"), "generation": run % 97, "revision": "41",
        "resource_version": (run * 7).to_string(), "restarted_at": at(place)?, "run": run.to_string(),
    });
    let policies = json!(["builtin.restart_service", "team.sre_may_restart"]);
    let (kind, data) = match place % 4 {
        0 => (
            Kind::Admitted,
            json!({
                "input": format!("restart {service} in payments, \"connections are stale\""), "planner": "keyword",
                "source": "http", "reason": "connections are stale after the failover", "break_glass": false,
                "calls": [call], "state": "queued", "policies": policies, "policy_set": Digest::of("policies"),
            }),
        ),
        1 => (
            Kind::Intended,
            json!({
                "step": 0, "attempt": 1, "call": call, "undoes": false, "intent": bound, "policies": policies,
                "policy_set": Digest::of("policies"),
            }),
        ),
        2 => (Kind::Performed, json!({"step": 0, "receipt": bound})),
        _ => (
            Kind::Finished,
            json!({
                "state": "succeeded", "error": null, "milliseconds": 8417 + run % 1000,
                "steps": [{"digest": Digest::of(&target), "undoes": null, "state": {"step": "succeeded", "at": at(place)?, "output": {
                    "summary": format!("deployment {service} was restarted: all 5 pods are new and available, and no old one is left after about 8 s"),
                    "target": target, "replicas": 5, "generation": run % 97, "took_seconds": 8, "observed_at": at(place)?,
                    "pods": (0..5).map(|pod| format!("{service}-5d9c7f6b8-{pod:05x}")).collect::<Vec<_>>(),
                }}}],
            }),
        ),
    };
    let id = format!("01890a5d-ac96-774b-bcce-{run:012x}");
    Ok(Draft {
        at: at(place)?,
        kind,
        run: Some(RunId::parse(&id).context("no run")?),
        principal: Some(principal.clone()),
        trace: Some(format!("4bf92f3577b34da6a3ce{run:012x}")),
        data,
    })
}

fn at(place: u64) -> Result<Timestamp> {
    Timestamp::from_microsecond(1_772_000_000_000_000 + place as i64 * 2_000).context("no time")
}

fn verify(file: &Path, key: TrustedKey) -> Result<Value> {
    let input = BufReader::with_capacity(BUFFER, File::open(file)?);
    let begun = Instant::now();
    let report = export::verify(input, Some(key), &[])?;
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(report.trusted && report.unsigned == 0, "the export is not signed to its end");
    let (records, checkpoints) = (report.records, report.checkpoints);
    let (cpu, peak) = (cpu()?, peak()?);
    Ok(json!({
        "seconds": seconds, "cpu": cpu, "records": records, "checkpoints": checkpoints, "peak": peak,
    }))
}

fn hash(file: &Path) -> Result<Value> {
    let mut input = File::open(file)?;
    let mut buffer = vec![0; BUFFER];
    let mut digest = Sha256::new();
    let mut bytes = 0;
    let begun = Instant::now();
    loop {
        let read = input.read(&mut buffer)?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
        digest.update(part);
        bytes += read;
    }
    let digest = Digest::new(digest.finalize().into());
    let seconds = begun.elapsed().as_secs_f64();
    Ok(json!({"seconds": seconds, "cpu": cpu()?, "bytes": bytes, "sha256": digest, "peak": peak()?}))
}

/// The seconds that this process has had a core: whoever else wants one does not count.
fn cpu() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/schedstat").context("only Linux tells the time on a core")?;
    let nanoseconds: u64 = text.split(' ').next().unwrap_or_default().parse().context("no time on a core")?;
    Ok(nanoseconds as f64 / 1e9)
}

/// The most memory that this process has had, in KiB: `VmHWM`.
fn peak() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("only Linux tells the peak")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    line.trim().trim_end_matches("kB").trim().parse().context("VmHWM is no number")
}
