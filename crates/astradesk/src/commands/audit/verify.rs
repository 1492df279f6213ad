//! `astradesk audit verify`

use super::source::{self, Kept, each};
use super::walk::Walk;
use crate::cli::Output;
use crate::display::{self, Mark};
use crate::door::Door;
use crate::exit;
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::evidence::export::{self, Line, Reader};
use astradesk_runtime::evidence::{Checkpoint, Report, Signer, TrustedKey, Verifier};
use astradesk_runtime::port::EvidenceFilter;
use astradesk_store::{Entry, EvidenceFile};
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// What verification found, and how long it took.
pub(in crate::commands) struct Verified {
    pub(in crate::commands) report: Report,
    seconds: f64,
}

/// Verifies the whole chain behind a door, against a fresh checkpoint.
pub(in crate::commands) async fn verify(
    door: &Door,
    key: Option<&str>,
    against: Option<&Path>,
) -> Result<Verified> {
    let now = door.checkpoint().await?;
    let key = match (key, door) {
        (Some(key), _) => Some(TrustedKey::parse(key)?),
        // This machine's own key is as good as its user's word; a gateway's must be known from elsewhere.
        (None, Door::Embedded { .. }) => now.key().cloned(),
        (None, Door::Remote(_)) => None,
    };
    let mut verifier = begun(key.as_ref(), against)?;
    let cut = source::cut(door).await?;
    let begin = cut.as_ref().map_or(0, |cut| cut.head().seq);
    if let Some(cut) = cut {
        // The note alone has no key; the fresh checkpoint has.
        verifier.cut(&now.key().map_or_else(|| cut.clone(), |key| cut.clone().with_key(key)))?;
    }
    let end = now.head().seq;
    let mut kept = Kept::new(door, begin, &now);
    let mut walk = Walk::new(Some(end));
    let filter = EvidenceFilter { after: begin, up_to: Some(end), ..EvidenceFilter::default() };
    let walked = each(door, filter, async |record| {
        verifier.record(&record.body, record.hash)?;
        while let Some(checkpoint) = kept.due(record.seq).await? {
            verifier.checkpoint(&checkpoint)?;
        }
        walk.at(record.seq);
        Ok(())
    })
    .await;
    let seconds = walk.end();
    walked?;
    verifier.checkpoint(&now)?;
    Ok(Verified { report: verifier.finish()?, seconds })
}

/// Verifies the chain in a database file, which is only read. The key beside it is trusted in the folder `own`, which
/// is this installation's; anywhere else it came with the evidence.
///
/// # Errors
/// [`Code::RequestMalformed`] when there is no key to verify with.
pub(super) async fn database(
    path: &Path,
    key: Option<&str>,
    against: Option<&Path>,
    own: Option<&Path>,
) -> Result<Verified> {
    let (key, is_trusted) = match key {
        Some(key) => (TrustedKey::parse(key)?, true),
        None => (key_beside(path)?, is_in(path, own)),
    };
    let (trusted, beside) = if is_trusted { (Some(key), None) } else { (None, Some(key)) };
    let read = |note: &str| {
        let checkpoint = Checkpoint::parse(note)?;
        Ok::<_, Error>(beside.iter().fold(checkpoint, Checkpoint::with_key))
    };
    let mut verifier = begun(trusted.as_ref(), against)?;
    let mut file = EvidenceFile::open(path).await?;
    let cut = file.cut().await?;
    if let Some(cut) = &cut {
        verifier.cut(&read(&cut.checkpoint)?)?;
    }
    let mut walk = Walk::new(None);
    let walked = file
        .read(cut.map_or(0, |cut| cut.head.seq), |entry| match entry {
            Entry::Record { body, hash } => {
                verifier.record(body, hash)?;
                walk.at(verifier.head().seq);
                Ok(())
            }
            Entry::Checkpoint(note) => verifier.checkpoint(&read(note)?),
        })
        .await;
    let seconds = walk.end();
    walked?;
    let report = verifier.finish()?;
    file.check_columns().await?;
    Ok(Verified { report, seconds })
}

/// Verifies the chain of this process's own store in the folder `state`, and that what records are searched by is what
/// they say: else some could be hidden from who looks for them.
pub(super) async fn own(
    door: &Door,
    key: Option<&str>,
    against: Option<&Path>,
    state: &Path,
) -> Result<Verified> {
    let verified = verify(door, key, against).await?;
    EvidenceFile::open(&state.join("astradesk.db")).await?.check_columns().await?;
    Ok(verified)
}

/// The public half of the key that stands beside a database.
fn key_beside(path: &Path) -> Result<TrustedKey> {
    let document = std::fs::read(path.with_file_name("evidence.key")).map_err(|_| {
        let message = format!("there is no key to verify `{}` with: none stands beside it", path.display());
        Error::new(Code::RequestMalformed, message)
            .with_remedy("give the key that you trust with --key: `audit verify` shows it where it is kept")
    })?;
    Ok(Signer::from_pkcs8(&document)?.key().clone())
}

/// Whether the file is directly in the folder, whatever links lead there.
fn is_in(file: &Path, folder: Option<&Path>) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    let parent = real(file).and_then(|file| file.parent().map(Path::to_path_buf));
    parent.is_some() && parent == folder.and_then(real)
}

/// A verification of nothing yet but what was kept elsewhere.
fn begun(key: Option<&TrustedKey>, against: Option<&Path>) -> Result<Verifier> {
    let mut verifier = Verifier::new(key.cloned());
    if let Some(elsewhere) = against {
        verifier.checkpoint(&last_of(elsewhere, key)?)?;
    }
    Ok(verifier)
}

/// The checkpoint at the end of an export, which is verified.
fn last_of(path: &Path, key: Option<&TrustedKey>) -> Result<Checkpoint> {
    verify_lines(path, key.cloned(), &[])?;
    let mut reader = Reader::new(open(path)?.0);
    let mut last = None;
    while let Some(line) = reader.line()? {
        if let Line::Checkpoint(checkpoint) = line {
            last = Some(checkpoint);
        }
    }
    last.ok_or_else(|| Error::new(Code::EvidenceBroken, "the export has no checkpoint"))
}

/// Verifies an export.
pub(super) fn file(path: &Path, key: Option<&str>, kept: &[Checkpoint]) -> Result<Verified> {
    verify_lines(path, key.map(TrustedKey::parse).transpose()?, kept)
}

fn verify_lines(path: &Path, key: Option<TrustedKey>, kept: &[Checkpoint]) -> Result<Verified> {
    let (file, length) = open(path)?;
    let mut lines = Watched { inner: file, read: 0, walk: Walk::new(Some(length)).of_bytes() };
    let verified = export::verify(&mut lines, key, kept);
    let seconds = lines.walk.end();
    Ok(Verified { report: verified?, seconds })
}

fn open(path: &Path) -> Result<(BufReader<std::fs::File>, u64)> {
    let unreadable = |error: std::io::Error| {
        Error::new(Code::ConfigInvalid, format!("`{}` cannot be read: {error}", path.display()))
            .with_remedy("give the path of an export")
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    Ok((BufReader::with_capacity(1 << 18, file), length))
}

/// A reader that tells how far it has come.
struct Watched {
    inner: BufReader<std::fs::File>,
    read: u64,
    walk: Walk,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl BufRead for Watched {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
        self.read += amount as u64;
        self.walk.at(self.read);
    }
}

/// Tells what was verified; gives the exit code.
pub(in crate::commands) fn report(verified: &Verified, output: Output) -> u8 {
    let Verified { report, seconds } = verified;
    let a_second = report.records as f64 / seconds.max(1e-6);
    if output == Output::Json {
        display::json(&json!({
            "verified": true, "records": report.records, "hash": report.head.hash, "key": report.key,
            "key_trusted": report.trusted, "first": report.first, "last": report.head.seq,
            "checkpoints": report.checkpoints, "signed": report.signed, "unsigned": report.unsigned,
            "cut": report.is_cut, "seconds": seconds, "records_per_second": a_second.round(),
        }));
        return exit::DONE;
    }
    told(report);
    display::note(format!("  {seconds:.2} s, {a_second:.0} records a second"));
    exit::DONE
}

/// What was verified, in words.
pub(in crate::commands) fn told(report: &Report) {
    let Report { records, head, checkpoints, signed, .. } = report;
    let from = if report.first > 1 { format!(" from record {}", report.first) } else { String::new() };
    display::mark(Mark::Good, format!("{records} records{from}, unbroken; head {}", head.hash));
    if report.is_cut {
        let message =
            format!("the records before {} were removed, and the key has signed that", report.first);
        display::mark(Mark::Good, message);
    }
    match (signed, &report.key) {
        (Some(signed), Some(key)) => {
            let noun = if *checkpoints == 1 { "checkpoint agrees" } else { "checkpoints agree" };
            display::mark(
                Mark::Good,
                format!("{checkpoints} {noun}, the last at record {}, signed by", signed.seq),
            );
            display::line(format!("  {key}"));
            if !report.trusted {
                let message = "the key came with the evidence: give the one that you trust with --key";
                display::mark(Mark::Warning, message);
            }
        }
        _ => display::mark(
            Mark::Warning,
            "no checkpoint was signed yet: whoever can write the store could have changed it",
        ),
    }
    if report.unsigned > 0 && signed.is_some() {
        let message = format!("{} records since the last checkpoint are not signed yet", report.unsigned);
        display::mark(Mark::Warning, message);
    }
}
