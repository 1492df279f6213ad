//! `astradesk audit`

mod export;
mod prune;
mod source;
mod verify;
mod walk;

pub(super) use verify::{told, verify};

use super::Context;
use crate::cli::{Audit, Output};
use crate::door::Door;
use crate::{display, exit};
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result, RunId, Timestamp};
use astradesk_runtime::evidence::story;
use astradesk_runtime::port::EvidenceFilter;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use source::each;

pub(super) async fn run(context: &Context, command: Audit) -> Result<u8> {
    if let Audit::Verify { file: Some(file), key, .. } = &command {
        return Ok(verify::report(&verify::file(file, key.as_deref(), &[])?, context.output));
    }
    if let Audit::Verify { database: Some(file), key, against, .. } = &command {
        // A database from elsewhere is verified where nothing is configured, too.
        let own = context.config().ok().map(|config| config.state_dir());
        let verified = verify::database(file, key.as_deref(), against.as_deref(), own.as_deref()).await?;
        return Ok(verify::report(&verified, context.output));
    }
    let door = context.door().await?;
    let result = perform(context, &door, command).await;
    door.close().await;
    result
}

async fn perform(context: &Context, door: &Door, command: Audit) -> Result<u8> {
    match command {
        Audit::Tail { lines } => tail(door, u64::from(lines), context.output).await,
        Audit::Show { id } => show(door, super::runs::parse(&id)?, context.output).await,
        Audit::Export(args) => export::run(door, &args).await,
        Audit::Prune { before, yes } => prune::run(context, door, &before, yes).await,
        Audit::Verify { key, against, .. } => {
            let (key, against) = (key.as_deref(), against.as_deref());
            let verified = match door {
                Door::Embedded { .. } => {
                    verify::own(door, key, against, &context.config()?.state_dir()).await?
                }
                Door::Remote(_) => verify(door, key, against).await?,
            };
            Ok(verify::report(&verified, context.output))
        }
    }
}

async fn tail(door: &Door, lines: u64, output: Output) -> Result<u8> {
    let up_to = door.checkpoint().await?.head().seq;
    let filter = EvidenceFilter {
        after: up_to.saturating_sub(lines),
        up_to: Some(up_to),
        ..EvidenceFilter::default()
    };
    let mut last: Vec<Value> = Vec::new();
    each(door, filter, async |record| {
        last.push(serde_json::from_str(&record.body).unwrap_or_default());
        Ok(())
    })
    .await?;
    match output {
        Output::Json => display::json(&last),
        Output::Text => last.iter().for_each(|record| display::line(row(record))),
    }
    Ok(exit::DONE)
}

/// A record in one line.
fn row(record: &Value) -> String {
    let text = |path: &str| record.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let first = |paths: &[&'static str]| {
        paths.iter().map(|path| text(path)).find(|text| !text.is_empty()).unwrap_or_default().to_owned()
    };
    let number = |path: &str| record.pointer(path).and_then(Value::as_u64);
    let detail = match text("/kind") {
        "approval.given" | "approval.rejected" | "approval.revoked" => text("/data/reason").to_owned(),
        "evidence.pruned" => format!("up to {}", number("/data/up_to").unwrap_or_default()),
        "policy.loaded" => first(&["/data/problem/code", "/data/digest"]).chars().take(22).collect(),
        _ => first(&["/data/code", "/data/state", "/data/guardrails/0/guardrail"]),
    };
    let who = first(&["/data/by/subject", "/principal/subject"]);
    let (seq, at) = (number("/seq").unwrap_or_default(), text("/at").get(5..19).unwrap_or_default());
    format!(
        "{seq:>6}  {}  {:<20} {:<9} {:<36} {}",
        at.replace('T', " "),
        text("/kind"),
        shown(&who, 24),
        text("/run"),
        shown(&detail, 60)
    )
    .trim_end()
    .to_owned()
}

async fn show(door: &Door, id: RunId, output: Output) -> Result<u8> {
    let mut records = Vec::new();
    let filter = EvidenceFilter { run: Some(id), ..EvidenceFilter::default() };
    each(door, filter, async |record| {
        records.push(record);
        Ok(())
    })
    .await?;
    if records.is_empty() {
        return Err(Error::new(Code::RunNotFound, format!("the evidence has no record of run {id}")));
    }
    match output {
        Output::Json => {
            let bodies: Vec<Value> =
                records.iter().map(|record| serde_json::from_str(&record.body).unwrap_or_default()).collect();
            display::json(&json!({"run": id, "records": bodies}));
        }
        Output::Text => story(&records).iter().for_each(display::line),
    }
    Ok(exit::DONE)
}

/// A day, which begins at midnight UTC, or a time.
fn time(text: &str) -> Result<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    // A day with a time, but without its zone, would be read as the whole day.
    let day = Some(text).filter(|text| text.len() == 10).and_then(|text| text.parse::<Date>().ok());
    let day = day.and_then(|day| day.to_zoned(TimeZone::UTC).ok());
    day.map(|day| day.timestamp()).ok_or_else(|| {
        Error::new(Code::RequestMalformed, format!("`{}` is no day and no time", shown(text, 80)))
            .with_remedy("write `2026-01-31` (midnight UTC) or `2026-01-31T12:00:00Z`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_are_read_and_nothing_else() {
        assert_eq!(time("2026-01-31").unwrap().to_string(), "2026-01-31T00:00:00Z");
        assert_eq!(time("2026-01-31T12:00:00+02:00").unwrap().to_string(), "2026-01-31T10:00:00Z");
        for bad in ["", "yesterday", "2026-02-30", "2026-01-31T12:00:00"] {
            assert_eq!(time(bad).unwrap_err().code, Code::RequestMalformed, "{bad}");
        }
    }

    #[test]
    fn an_approval_is_told_by_who_gave_it() {
        let record = json!({
            "seq": 7, "at": "2026-03-01T09:30:00Z", "kind": "approval.given", "run": "r",
            "principal": {"subject": "ada"}, "data": {"by": {"subject": "bob"}, "reason": "seen it"},
        });
        let row = row(&record);
        assert!(row.starts_with("     7  03-01 09:30:00  approval.given       bob"), "{row}");
        assert!(row.ends_with("seen it"), "{row}");
    }
}
