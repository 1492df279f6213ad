//! `astradesk audit export`

use super::source::{self, Kept, each};
use super::time;
use crate::cli::{Export, Format, Selection};
use crate::door::Door;
use crate::{display, exit};
use astradesk_core::evidence::{Head, Kind};
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::evidence::export::Writer;
use astradesk_runtime::evidence::{Checkpoint, cloud_events};
use astradesk_runtime::port::EvidenceFilter;
use serde_json::Value;
use std::io::{self, Write};

pub(super) async fn run(door: &Door, args: &Export) -> Result<u8> {
    let now = door.checkpoint().await?;
    let filter = filter(&args.selection, now.head().seq)?;
    let out: Box<dyn Write> = match &args.file {
        Some(path) => {
            Box::new(io::BufWriter::new(crate::app::private_file(path).map_err(|error| failed(&error))?))
        }
        None => Box::new(io::BufWriter::new(io::stdout())),
    };
    match args.format {
        Format::Jsonl => lines(door, &args.selection, filter, now, out).await?,
        Format::Cloudevents => {
            let mut out = out;
            each(door, filter, async |record| cloud_events::write(&mut out, now.origin(), &record)).await?;
            out.flush().map_err(|error| failed(&error))?;
            display::warn("CloudEvents are for other systems: they cannot be verified as a chain");
        }
    }
    Ok(exit::DONE)
}

fn failed(error: &io::Error) -> Error {
    Error::new(Code::ConfigInvalid, format!("the export cannot be written: {error}"))
        .with_remedy("give another --file, or free the disk")
}

/// What is wanted, up to the fresh checkpoint: what came after it is not signed by it.
fn filter(selection: &Selection, last: u64) -> Result<EvidenceFilter> {
    let Selection { after, up_to, run, kinds, since, until } = selection;
    for kind in kinds {
        if serde_json::from_value::<Kind>(Value::from(kind.as_str())).is_err() {
            let message = format!("there is no kind of record `{}`", shown(kind, 80));
            return Err(Error::new(Code::RequestMalformed, message).with_remedy(
                "`astradesk audit tail` shows kinds, such as `run.admitted` and `approval.given`",
            ));
        }
    }
    Ok(EvidenceFilter {
        after: after.unwrap_or(0),
        up_to: Some(up_to.map_or(last, |up_to| up_to.min(last))),
        run: run.as_deref().map(crate::commands::runs::parse).transpose()?,
        kinds: kinds.clone(),
        since: since.as_deref().map(time).transpose()?,
        until: until.as_deref().map(time).transpose()?,
        limit: 0,
    })
}

/// Records as lines, with the checkpoints: a chain that can be verified, or a selection that says that it cannot.
async fn lines(
    door: &Door,
    selection: &Selection,
    filter: EvidenceFilter,
    now: Checkpoint,
    out: Box<dyn Write>,
) -> Result<()> {
    let (last, begin) = (filter.up_to.unwrap_or_default(), filter.after);
    let mut writer = Writer::new(out);
    let chosen = chosen(selection, pinned(door, last, &now).await?);
    if let Some(words) = &chosen {
        writer.selection(words).map_err(|error| failed(&error))?;
        display::warn(format!("this export cannot be verified as a chain: it has only {words}"));
    } else if let Some(cut) = source::cut(door).await?.filter(|cut| begin == 0 || begin == cut.head().seq) {
        let cut = now.key().map_or_else(|| cut.clone(), |key| cut.clone().with_key(key));
        writer.cut(&cut).map_err(|error| failed(&error))?;
    } else if begin > 0 {
        writer.begin(place(door, begin).await?).map_err(|error| failed(&error))?;
    }
    let mut kept = Kept::new(door, begin, &now);
    let mut signed = 0;
    each(door, filter, async |record| {
        let seq = record.seq;
        writer.record(&record).map_err(|error| failed(&error))?;
        while let Some(checkpoint) = kept.due(seq).await? {
            if chosen.is_none() {
                signed = checkpoint.head().seq;
                writer.checkpoint(checkpoint).map_err(|error| failed(&error))?;
            }
        }
        Ok(())
    })
    .await?;
    if chosen.is_none() && signed != last {
        writer.checkpoint(now).map_err(|error| failed(&error))?;
    }
    writer.finish().map_err(|error| failed(&error))
}

/// Which records are wanted, in words, unless it is a whole range that ends where it is pinned.
fn chosen(selection: &Selection, is_pinned: bool) -> Option<String> {
    let Selection { after, up_to, run, kinds, since, until } = selection;
    let filters = [
        run.as_ref().map(|run| format!("of run {run}")),
        (!kinds.is_empty()).then(|| format!("of kind {}", kinds.join(", "))),
        since.as_ref().map(|since| format!("since {since}")),
        until.as_ref().map(|until| format!("until {until}")),
    ];
    let mut words: Vec<String> = filters.into_iter().flatten().collect();
    if words.is_empty() && is_pinned {
        return None;
    }
    words.extend(after.map(|after| format!("after {after}")));
    words.extend(up_to.map(|up_to| format!("up to {up_to}, of which no checkpoint was kept")));
    Some(format!("records {}", words.join(", ")))
}

/// Whether a checkpoint is of this record.
async fn pinned(door: &Door, seq: u64, now: &Checkpoint) -> Result<bool> {
    if seq == now.head().seq {
        return Ok(true);
    }
    let kept = Kept::new(door, seq.saturating_sub(1), now).due(seq).await?;
    Ok(kept.is_some_and(|kept| kept.head().seq == seq))
}

/// The place of a record in the chain.
async fn place(door: &Door, seq: u64) -> Result<Head> {
    let one = EvidenceFilter { after: seq - 1, up_to: Some(seq), limit: 1, ..EvidenceFilter::default() };
    let page = door.evidence(&one).await?;
    page.records.first().map(|record| Head { seq: record.seq, hash: record.hash }).ok_or_else(|| {
        Error::new(Code::RequestMalformed, format!("there is no record {seq} to begin behind"))
            .with_remedy("look at the numbers with `astradesk audit tail`")
    })
}
