//! `astradesk audit prune`

use super::time;
use crate::cli::Output;
use crate::commands::Context;
use crate::display::{self, Mark};
use crate::door::Door;
use crate::exit;
use astradesk_core::{Code, Error, Result};
use serde_json::json;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

pub(super) async fn run(context: &Context, door: &Door, before: &str, yes: bool) -> Result<u8> {
    let at = time(before)?;
    if let Door::Embedded { .. } = door
        && !yes
    {
        confirm(&display::time(at))?;
    }
    let removed = door.prune_evidence(at).await?;
    match (context.output, removed) {
        (Output::Json, removed) => display::json(&json!({"removed_up_to": removed})),
        (Output::Text, Some(seq)) => {
            display::mark(
                Mark::Good,
                format!("the records up to {seq} are removed; a signed checkpoint pins them"),
            );
        }
        (Output::Text, None) => display::note("nothing to remove: no checkpoint was kept before that"),
    }
    Ok(exit::DONE)
}

/// Asks whether evidence is to be removed for good.
fn confirm(before: &str) -> Result<()> {
    let refuse = |why: &str| {
        Err(Error::new(Code::RequestMalformed, why).with_remedy("export it first; then say it with `--yes`"))
    };
    if !std::io::stdin().is_terminal() {
        return refuse("evidence is removed for good, and there is no terminal to ask at");
    }
    let mut out = anstream::stderr();
    let _ = write!(out, "Remove the evidence before {before} for good? Type `remove`: ")
        .and_then(|()| out.flush());
    let mut answer = String::new();
    if std::io::stdin().lock().read_line(&mut answer).is_err() || answer.trim() != "remove" {
        return refuse("it was not confirmed, so nothing was removed");
    }
    Ok(())
}
