//! `astradesk packs accept`: what the MCP server of a pack defines, shown before it is accepted.

use super::Context;
use crate::cli::Output;
use crate::commands::approvals::{PREFIX, ask, begins};
use crate::display::{self, Mark, policy::short, words};
use crate::exit;
use astradesk_core::Result;
use astradesk_packs::accept::{Change, Offer, Offered};
use serde_json::json;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

pub(super) async fn run(
    context: &Context,
    pack: &Path,
    tool: Option<&str>,
    digest: Option<&str>,
) -> Result<u8> {
    let dir = folder(context, pack)?;
    let offer = Offer::of(&dir, tool).await?;
    let again = match tool {
        Some(tool) => format!("astradesk packs accept {} {tool}", pack.display()),
        None => format!("astradesk packs accept {}", pack.display()),
    };
    if context.output == Output::Text {
        show(&offer);
    }
    if !offer.has_news() {
        return Ok(told(context, &offer, false, "nothing to accept"));
    }
    let asks = context.output == Output::Text && std::io::stdin().is_terminal();
    let typed = match digest {
        Some(digest) => digest.to_owned(),
        None if asks => ask(&format!("to accept it, type the first {PREFIX} characters of the digest"))?,
        None => {
            told(context, &offer, false, "not accepted yet");
            if context.output == Output::Text {
                display::note(format!("  → {again} --digest {}", short(&offer.digest.to_string())));
            }
            return Ok(exit::APPROVAL_NEEDED);
        }
    };
    begins(offer.digest, &typed, &again)?;
    offer.accept()?;
    Ok(told(context, &offer, true, "accepted: `pack.lock` has it now"))
}

/// A folder that has a pack, else the pack of this name.
fn folder(context: &Context, pack: &Path) -> Result<PathBuf> {
    if pack.join("pack.toml").exists() {
        return Ok(pack.to_owned());
    }
    let folder = context.config()?.packs.folder;
    Ok(if folder.as_os_str().is_empty() { pack.to_owned() } else { folder.join(pack) })
}

fn told(context: &Context, offer: &Offer, accepted: bool, said: &str) -> u8 {
    let unfit = offer.tools.iter().any(|tool| tool.change == Change::Unfit);
    match context.output {
        Output::Json => display::json(&json!({"offer": offer, "accepted": accepted})),
        Output::Text => {
            let mark = if accepted || !offer.has_news() { Mark::Good } else { Mark::Warning };
            display::mark(if unfit { Mark::Warning } else { mark }, said);
        }
    }
    if unfit && !accepted { exit::FAILED } else { exit::DONE }
}

fn show(offer: &Offer) {
    display::line(format!("`{}`, by {}", offer.pack, words(&offer.server)));
    offer.tools.iter().for_each(show_tool);
    if offer.has_news() {
        display::line(format!("digest {}", offer.digest));
    }
}

fn show_tool(tool: &Offered) {
    let (mark, what) = match tool.change {
        Change::Same => (Mark::Good, "as it was accepted"),
        Change::New => (Mark::Warning, "new"),
        Change::Changed => (Mark::Warning, "changed"),
        Change::Unfit => (Mark::Bad, "cannot be accepted"),
    };
    display::mark(mark, format!("{} ({}): {what}", tool.tool, words(&tool.name)));
    for doubt in &tool.doubts {
        display::line(format!("  {}", words(doubt)));
    }
    for place in &tool.difference {
        display::line(format!("  {}", words(place)));
    }
    if let Some(definition) = &tool.definition {
        let text = serde_json::to_string_pretty(definition).unwrap_or_default();
        text.lines().for_each(|line| display::line(format!("  {}", words(line))));
    }
}
