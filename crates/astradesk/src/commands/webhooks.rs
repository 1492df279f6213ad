//! `astradesk webhooks`

use super::Context;
use crate::cli::{Output, Webhooks};
use crate::display::{self, Mark};
use crate::door::Door;
use crate::exit;
use astradesk_core::Result;
use astradesk_core::text::shown;
use serde_json::json;

pub(super) async fn run(context: &Context, command: Option<Webhooks>) -> Result<u8> {
    let command = command.unwrap_or(Webhooks::Dead { limit: 50 });
    let door = context.door().await?;
    let result = perform(&door, command, context.output).await;
    door.close().await;
    result
}

async fn perform(door: &Door, command: Webhooks, output: Output) -> Result<u8> {
    match command {
        Webhooks::Dead { limit } => {
            let dead = door.dead_announcements(limit).await?;
            if output == Output::Json {
                display::json(&json!({"announcements": dead}));
            } else if dead.is_empty() {
                display::note("every webhook has been told everything, or is still being tried");
            }
            if output == Output::Text {
                for one in dead {
                    let at = display::time(one.at);
                    display::line(format!(
                        "{}  to {}, since {at}, {} attempts",
                        display::words(&one.id),
                        display::words(&one.to),
                        one.attempts
                    ));
                    display::note(format!("  {}", shown(&one.error.unwrap_or_default(), 200)));
                }
            }
        }
        Webhooks::Retry { id } => {
            door.retry(&id).await?;
            match output {
                Output::Json => display::json(&json!({"id": id, "due": true})),
                Output::Text => display::mark(Mark::Good, "it is due again; `astradesk serve` tells it"),
            }
        }
    }
    Ok(exit::DONE)
}
