//! `astradesk audit`

use super::Context;
use crate::cli::{Audit, Output};
use crate::display::{self, Mark};
use crate::door::Door;
use crate::exit;
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Head, Record};
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::evidence::{Checkpoint, TrustedKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write};
use std::path::Path;

/// Records that are asked for at once.
const PAGE: u32 = 200;

/// A line of an export.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Record { seq: u64, hash: Digest, body: String },
    Checkpoint { checkpoint: Checkpoint },
}

pub(super) async fn run(context: &Context, command: Audit) -> Result<u8> {
    if let Audit::Verify { file: Some(file), key, .. } = command {
        let verified = verify_file(&file, key.as_deref())?;
        return Ok(report(&verified, context.output));
    }
    let door = context.door().await?;
    let result = match command {
        Audit::Tail { lines } => tail(&door, lines as usize, context.output).await,
        Audit::Export { file } => export(&door, file.as_deref()).await,
        Audit::Verify { key, against, .. } => verify(&door, key.as_deref(), against.as_deref())
            .await
            .map(|verified| report(&verified, context.output)),
    };
    door.close().await;
    result
}

/// What verification found.
pub(super) struct Verified {
    pub(super) head: Head,
    pub(super) checkpoint: Checkpoint,
    /// Whether the checkpoint's key is known to who verifies, and did not come with the evidence.
    trusted: bool,
}

/// Verifies the whole chain behind a door, against a fresh checkpoint.
pub(super) async fn verify(door: &Door, key: Option<&str>, against: Option<&Path>) -> Result<Verified> {
    let kept = against.map(|file| verify_file(file, key)).transpose()?.map(|verified| verified.head);
    let mut found_kept = kept.is_none_or(|kept| kept.seq == 0);
    let checkpoint = door.checkpoint().await?;
    let mut head = Head::EMPTY;
    let mut at_checkpoint = None;
    each(door, 0, |record| {
        head = head.verify(&record.body, record.hash)?;
        if head.seq == checkpoint.head().seq {
            at_checkpoint = Some(head);
        }
        found_kept |= kept == Some(head);
        Ok(())
    })
    .await?;
    if let Some(kept) = kept.filter(|_| !found_kept) {
        let message = format!(
            "record {} is not what the export was signed for: the chain was cut or rewritten",
            kept.seq
        );
        return Err(Error::new(Code::EvidenceBroken, message).with_detail("seq", kept.seq));
    }
    pinned(at_checkpoint.unwrap_or(head), &checkpoint, key)?;
    // This machine's own key is as good as its user's word; a gateway's must be known from elsewhere.
    let trusted = key.is_some() || matches!(door, Door::Embedded { .. });
    Ok(Verified { head, checkpoint, trusted })
}

fn verify_file(path: &Path, key: Option<&str>) -> Result<Verified> {
    let unreadable = |why: String| Error::new(Code::ConfigInvalid, format!("`{}`: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut head = Head::EMPTY;
    let mut checkpoint = None;
    for (i, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|error| unreadable(error.to_string()))?;
        match serde_json::from_str(&line) {
            Ok(Line::Record { hash, body, .. }) if checkpoint.is_none() => head = head.verify(&body, hash)?,
            Ok(Line::Checkpoint { checkpoint: found }) if checkpoint.is_none() => checkpoint = Some(found),
            Ok(_) => {
                return Err(Error::new(
                    Code::EvidenceBroken,
                    format!("line {} stands behind the checkpoint", i + 1),
                ));
            }
            Err(_) => return Err(Error::new(Code::EvidenceBroken, format!("line {} is no record", i + 1))),
        }
    }
    let checkpoint = checkpoint.ok_or_else(|| {
        Error::new(Code::EvidenceBroken, "the export has no checkpoint at its end, so it may be cut short")
    })?;
    pinned(head, &checkpoint, key)?;
    Ok(Verified { head, checkpoint, trusted: key.is_some() })
}

/// Checks that the chain ends, or passes, where the checkpoint says.
fn pinned(head: Head, checkpoint: &Checkpoint, key: Option<&str>) -> Result<()> {
    let known = match key {
        Some(key) => Some(TrustedKey::parse(key)?),
        None => checkpoint.key().cloned(),
    };
    let known = known.ok_or_else(|| Error::new(Code::EvidenceBroken, "no key came with the checkpoint"))?;
    let signed = checkpoint.verify(&known)?;
    if signed == head {
        return Ok(());
    }
    let message =
        format!("the checkpoint is for record {} and the chain has another record {}", signed.seq, head.seq);
    Err(Error::new(Code::EvidenceBroken, message))
}

fn report(verified: &Verified, output: Output) -> u8 {
    let Verified { head, checkpoint, trusted } = verified;
    if output == Output::Json {
        display::json(
            &json!({"verified": true, "records": head.seq, "hash": head.hash, "key": checkpoint.key(), "key_trusted": trusted}),
        );
        return exit::DONE;
    }
    display::mark(Mark::Good, format!("{} records, unbroken; head {}", head.seq, head.hash));
    display::mark(
        Mark::Good,
        format!("checkpoint at record {} signed by {}", checkpoint.head().seq, checkpoint.origin()),
    );
    if !trusted {
        display::mark(
            Mark::Warning,
            "the key came with the evidence: give the one that you trust with --key",
        );
    }
    exit::DONE
}

/// Gives every record after number `after` to `take`.
async fn each(door: &Door, mut after: u64, mut take: impl FnMut(Record) -> Result<()>) -> Result<()> {
    loop {
        let records = door.evidence(after, PAGE).await?;
        let Some(last) = records.last() else { return Ok(()) };
        after = last.seq;
        records.into_iter().try_for_each(&mut take)?;
    }
}

async fn tail(door: &Door, lines: usize, output: Output) -> Result<u8> {
    let after = door.checkpoint().await?.head().seq.saturating_sub(lines as u64);
    let mut last: Vec<Value> = Vec::new();
    each(door, after, |record| {
        last.push(serde_json::from_str(&record.body).unwrap_or_default());
        Ok(())
    })
    .await?;
    if output == Output::Json {
        display::json(&last);
        return Ok(exit::DONE);
    }
    for record in &last {
        let text = |path: &str| record.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let detail =
            [text("/data/code"), text("/data/state")].into_iter().find(|s| !s.is_empty()).unwrap_or_default();
        let seq = record.get("seq").and_then(Value::as_u64).unwrap_or_default();
        let at: String = text("/at").chars().take(19).collect();
        let kind = text("/kind");
        display::line(format!(
            "{seq:>6}  {at}  {kind:<16} {:<10} {detail:<24} {}",
            text("/principal/subject"),
            text("/run")
        ));
    }
    Ok(exit::DONE)
}

async fn export(door: &Door, file: Option<&Path>) -> Result<u8> {
    let failed = |error: std::io::Error| {
        Error::new(Code::ConfigInvalid, format!("the export cannot be written: {error}"))
    };
    let checkpoint = door.checkpoint().await?;
    let mut out: Box<dyn Write> = match file {
        Some(path) => Box::new(std::io::BufWriter::new(crate::app::private_file(path).map_err(failed)?)),
        None => Box::new(std::io::stdout().lock()),
    };
    let mut write = |line: &Line| {
        let text = serde_json::to_string(line).map_err(|error| Error::internal(error.to_string()))?;
        writeln!(out, "{text}").map_err(failed)
    };
    each(door, 0, |Record { seq, body, hash }| {
        // What came after the checkpoint is not signed by it: it belongs to the next export.
        if seq <= checkpoint.head().seq { write(&Line::Record { seq, hash, body }) } else { Ok(()) }
    })
    .await?;
    write(&Line::Checkpoint { checkpoint })?;
    out.flush().map_err(failed)?;
    Ok(exit::DONE)
}
