//! `astradesk approvals`

use super::Context;
use super::submit::{Interrupt, follow, needs_gateway};
use crate::cli::{Approvals, Output, Verdict};
use crate::display::{self, Mark, approval};
use crate::door::Door;
use crate::exit;
use astradesk_core::approval::{MAX_REASON, check_reason};
use astradesk_core::canonical::Digest;
use astradesk_core::run::State;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result, Run, RunId};
use astradesk_runtime::engine::Awaiting;
use serde_json::json;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// How much of a digest must be given, in characters.
pub(super) const PREFIX: usize = 8;

pub(super) async fn run(context: &Context, command: Option<Approvals>) -> Result<u8> {
    let command = command.unwrap_or(Approvals::List { limit: 50 });
    let door = context.door().await?;
    let result = perform(context, &door, command).await;
    door.close().await;
    result
}

async fn perform(context: &Context, door: &Door, command: Approvals) -> Result<u8> {
    match command {
        Approvals::List { limit } => list(context, door, limit).await,
        Approvals::Show { id } => show(context, door, super::runs::parse(&id)?).await,
        Approvals::Approve { verdict, no_wait } => approve(context, door, &verdict, no_wait).await,
        Approvals::Reject { verdict } => reject(context, door, &verdict).await,
        Approvals::Revoke { id } => revoke(context, door, super::runs::parse(&id)?).await,
    }
}

async fn list(context: &Context, door: &Door, limit: u32) -> Result<u8> {
    let awaiting = door.approvals(limit).await?;
    if context.output == Output::Json {
        display::json(&json!({"approvals": awaiting}));
    } else if awaiting.is_empty() {
        display::note("no run awaits approval");
    } else {
        awaiting.iter().for_each(approval::row);
        display::note("look at one with: astradesk approvals show RUN");
    }
    Ok(exit::DONE)
}

async fn show(context: &Context, door: &Door, id: RunId) -> Result<u8> {
    let awaiting = door.awaiting(id).await?;
    match context.output {
        Output::Json => display::json(&awaiting),
        Output::Text => approval::story(&awaiting, context.server.as_deref()),
    }
    Ok(exit::DONE)
}

async fn approve(context: &Context, door: &Door, verdict: &Verdict, no_wait: bool) -> Result<u8> {
    if no_wait {
        needs_gateway(door)?;
    }
    let id = super::runs::parse(&verdict.id)?;
    let (digest, reason) = seen(context, door, id, verdict, "approve").await?;
    let run = door.approve(id, digest, &reason).await?;
    if context.output == Output::Text {
        let asked = run.approvals.as_ref().map(approval::standing).unwrap_or_default();
        match run.state {
            State::AwaitingApproval => {
                display::mark(Mark::Good, format!("your approval counts; the run {asked}"));
            }
            _ => display::mark(Mark::Good, "approved; the run has everything that it needs"),
        }
    }
    if no_wait || run.state == State::AwaitingApproval {
        if context.output == Output::Json {
            display::json(&run);
        }
        return Ok(exit::DONE);
    }
    // It is somebody else's run: to stop watching does not stop it.
    let run = follow(door, run, context.output, Interrupt::Leaves).await?;
    Ok(display::outcome(&run, context.output))
}

async fn reject(context: &Context, door: &Door, verdict: &Verdict) -> Result<u8> {
    let id = super::runs::parse(&verdict.id)?;
    let (digest, reason) = seen(context, door, id, verdict, "reject").await?;
    let run = door.reject(id, digest, &reason).await?;
    Ok(told(context, &run, "rejected; the run has ended, and nothing was done"))
}

async fn revoke(context: &Context, door: &Door, id: RunId) -> Result<u8> {
    let run = door.revoke(id).await?;
    let asked = run.approvals.as_ref().map(approval::standing).unwrap_or_default();
    Ok(told(context, &run, &format!("your approval is taken back; the run {asked}")))
}

fn told(context: &Context, run: &Run, said: &str) -> u8 {
    match context.output {
        Output::Json => display::json(run),
        Output::Text => display::mark(Mark::Good, said),
    }
    exit::DONE
}

/// The digest that was seen, and the reason: as they were given, or as they are typed at a terminal below what
/// they are about.
async fn seen(
    context: &Context,
    door: &Door,
    id: RunId,
    verdict: &Verdict,
    verb: &str,
) -> Result<(Digest, String)> {
    let asks = context.output == Output::Text && std::io::stdin().is_terminal();
    if !asks && (verdict.digest.is_none() || verdict.reason.is_none()) {
        let missing = if verdict.digest.is_none() { "--digest" } else { "--reason" };
        let message = format!("`{missing}` is missing, and there is no terminal to ask at");
        return Err(Error::new(Code::RequestMalformed, message).with_remedy(format!(
            "look at it with `astradesk approvals show {id}`, and give the digest shown there"
        )));
    }
    if let Some(reason) = &verdict.reason {
        check_reason(reason)?;
    }
    // Whoever gives the whole digest has seen it: what is wrong with it, the Engine says and records.
    let whole = verdict.digest.as_deref().and_then(Digest::parse);
    let digest = match (whole, &verdict.digest) {
        (Some(digest), _) => digest,
        (None, Some(prefix)) => completed(&door.awaiting(id).await?, prefix)?,
        (None, None) => {
            let awaiting = door.awaiting(id).await?;
            approval::story(&awaiting, context.server.as_deref());
            if let Some(refused) = awaiting.refused {
                return Err(refused);
            }
            completed(
                &awaiting,
                &ask(&format!("to {verb} it, type the first {PREFIX} characters of the digest"))?,
            )?
        }
    };
    let reason = match &verdict.reason {
        Some(reason) => reason.clone(),
        None => ask(&format!("why do you {verb} it? (1 to {MAX_REASON} characters)"))?,
    };
    check_reason(&reason)?;
    Ok((digest, reason))
}

/// The run's digest, if it begins so.
fn completed(awaiting: &Awaiting, prefix: &str) -> Result<Digest> {
    let asked = awaiting.run.approvals.as_ref();
    let digest = asked.map(|asked| asked.digest).ok_or_else(|| Error::internal("a run without a digest"))?;
    begins(digest, prefix, &format!("astradesk approvals show {}", awaiting.run.id))
}

/// The digest, if it begins so; else where it can be seen.
pub(super) fn begins(digest: Digest, prefix: &str, seen_by: &str) -> Result<Digest> {
    let prefix = prefix.trim().to_ascii_lowercase();
    let hexadecimal = prefix.bytes().all(|b| b.is_ascii_hexdigit());
    if prefix.len() < PREFIX || prefix.len() > 64 || !hexadecimal {
        let message =
            format!("`{}` is not a digest, nor at least its first {PREFIX} characters", shown(&prefix, 80));
        return Err(
            Error::new(Code::RequestMalformed, message).with_remedy(format!("copy it from `{seen_by}`"))
        );
    }
    if digest.to_string().starts_with(&prefix) {
        return Ok(digest);
    }
    let message =
        format!("what was seen has a digest that begins with {prefix}, and what is asked for has {digest}");
    Err(Error::new(Code::ApprovalDigestMismatch, message))
}

pub(super) fn ask(question: &str) -> Result<String> {
    let failed = |error: std::io::Error| Error::new(Code::RequestMalformed, format!("no answer: {error}"));
    let mut out = anstream::stderr();
    write!(out, "{question}: ").and_then(|()| out.flush()).map_err(failed)?;
    let mut answer = String::new();
    if std::io::stdin().lock().read_line(&mut answer).map_err(failed)? == 0 {
        return Err(Error::new(Code::RequestMalformed, "no answer was given, so nothing was done")
            .with_remedy("repeat the command when you have decided"));
    }
    Ok(answer.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_the_digest_that_is_asked_for_is_completed() {
        let run = json!({
            "id": "01920000-0000-7000-8000-000000000001", "version": 1,
            "principal": {"subject": "ada", "issuer": "x", "roles": []}, "source": "http", "planner": "direct",
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
            "state": "awaiting_approval", "steps": [],
            "approvals": {
                "digest": "ab".repeat(32), "required": {"count": 1}, "reasons": [],
                "asked_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-01T01:00:00Z",
            },
        });
        let run: Run = serde_json::from_value(run).unwrap();
        let awaiting = Awaiting { run, refused: None, preview: None, risks: Vec::new() };
        let whole = "ab".repeat(32);
        for good in ["abababab", "ABABABAB", " abababababab\n", &whole] {
            assert_eq!(completed(&awaiting, good).unwrap().to_string(), whole, "{good}");
        }
        let code = |prefix: &str| completed(&awaiting, prefix).unwrap_err().code;
        for bad in ["", "ab", "abababa", "abababax", &format!("{whole}ab")] {
            assert_eq!(code(bad), Code::RequestMalformed, "{bad}");
        }
        assert_eq!(code("abababac"), Code::ApprovalDigestMismatch);
    }
}
