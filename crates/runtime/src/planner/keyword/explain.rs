//! What was understood of a sentence, for whoever said it.

use super::clause::Reading;
use super::shown;
use super::vocabulary::Piece;
use super::words::{Word, text};
use serde_json::{Value, json};

/// The most parts that are explained.
const MAX_PARTS: usize = 16;

/// The words that ask for tools, when nothing more was read.
pub(super) fn actions(words: &[Word], pieces: &[Piece<'_>]) -> Value {
    let part = |piece: &Piece<'_>| {
        let tool = piece.tools().next()?;
        let said = text(words.get(piece.words.clone()).unwrap_or_default());
        Some(json!({"tool": tool.name, "words": shown(&said)}))
    };
    pieces.iter().filter_map(part).take(MAX_PARTS).collect()
}

/// The words behind each call and each of its arguments, what is missing and what is not clear.
pub(super) fn readings(readings: &[Reading]) -> Value {
    readings.iter().take(MAX_PARTS).map(reading).collect()
}

fn reading(of: &Reading) -> Value {
    let arguments = of.said.iter().map(|(argument, said)| {
        let value = of.arguments.get(argument).cloned().unwrap_or_default();
        json!({"name": argument, "words": shown(said), "value": value})
    });
    let slots = &of.tool.grammar.slots;
    let is_missing =
        |slot: &&astradesk_core::tool::Slot| slot.required && !of.arguments.contains_key(&slot.argument);
    let missing: Vec<&str> = slots.iter().filter(is_missing).map(|slot| slot.argument.as_str()).collect();
    let mut part =
        json!({"tool": of.tool.name, "words": shown(&of.action), "arguments": arguments.collect::<Value>()});
    if !missing.is_empty() {
        part["missing"] = missing.into();
    }
    part
}
