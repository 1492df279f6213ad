//! What was understood of a sentence, for whoever said it.

use super::clause::Reading;
use super::shown;
use super::vocabulary::Piece;
use super::words::{Word, text};
use astradesk_core::Error;
use astradesk_core::plan::{Heard, MAX_CALLS, Understood};
use astradesk_core::tool::{Form, Slot};

/// The error with what was understood before it, if it does not say so already.
pub(super) fn told(error: Error, understood: &[Understood]) -> Error {
    let known = understood.is_empty() || error.details.contains_key("understood");
    match serde_json::to_value(understood) {
        Ok(understood) if !known => error.with_detail("understood", understood),
        _ => error,
    }
}

/// The words that ask for tools, when nothing more was read.
pub(super) fn actions(words: &[Word], pieces: &[Piece<'_>]) -> Vec<Understood> {
    let part = |piece: &Piece<'_>| {
        let tool = piece.tools().next()?.name.clone();
        let words = shown(&text(words.get(piece.words.clone()).unwrap_or_default()));
        Some(Understood { tool, words, arguments: Vec::new(), missing: Vec::new() })
    };
    pieces.iter().filter_map(part).take(MAX_CALLS).collect()
}

/// The words behind each call and each of its arguments, and what is missing.
pub(super) fn readings(readings: &[Reading]) -> Vec<Understood> {
    readings.iter().take(MAX_CALLS).map(reading).collect()
}

fn reading(of: &Reading) -> Understood {
    let heard = of.said.iter().map(|(argument, said)| Heard {
        name: argument.clone(),
        words: shown(said),
        value: of.arguments.get(argument).cloned().unwrap_or_default(),
    });
    // A name that was said and is not clear is not missing.
    let unclear = |slot: &&Slot| slot.form == Form::Name && !of.found.is_empty();
    let missing = of.missing().filter(|slot| !unclear(slot)).map(|slot| slot.argument.clone());
    Understood {
        tool: of.tool.name.clone(),
        words: shown(&of.action),
        arguments: heard.collect(),
        missing: missing.collect(),
    }
}
