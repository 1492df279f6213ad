//! What makes a sentence no instruction, and its clauses.

use super::shown;
use super::vocabulary::{Piece, Sense};
use super::words::{Word, text};
use astradesk_core::{Code, Effect, Error, Result};

/// Refuses negations, conditions and questions, wherever they stand outside of the tools' own phrases.
pub(super) fn refuse_what_is_no_instruction(words: &[Word], pieces: &[Piece<'_>]) -> Result<()> {
    let said = |sense: &Sense| {
        let piece = pieces.iter().find(|piece| piece.is(sense))?;
        Some(shown(&text(words.get(piece.words.clone())?)))
    };
    if let Some(said) = said(&Sense::Negation) {
        let message = format!("`{said}` says what not to do, so nothing was planned");
        return Err(Error::new(Code::PlanNegated, message));
    }
    if let Some(said) = said(&Sense::Condition) {
        let message = format!("`{said}` makes it a condition, a choice or an example, not an instruction");
        return Err(Error::new(Code::PlanNotInstruction, message));
    }
    let asked = said(&Sense::Question).or_else(|| opening(words, pieces)).or_else(|| mark(words, pieces));
    if let Some(said) = asked {
        let message = format!("`{said}` makes it a question, not an instruction");
        return Err(Error::new(Code::PlanNotInstruction, message));
    }
    Ok(())
}

/// What makes a question of a clause that begins with it.
fn opening(words: &[Word], pieces: &[Piece<'_>]) -> Option<String> {
    clauses(words, pieces).iter().find_map(|clause| {
        let first = clause.iter().find(|piece| !piece.is(&Sense::Courtesy))?;
        let said = words.get(first.words.clone())?;
        first.is(&Sense::Opening).then(|| shown(&text(said)))
    })
}

/// A question mark, unless everything that it could ask for only reads.
fn mark(words: &[Word], pieces: &[Piece<'_>]) -> Option<String> {
    let mut tools = pieces.iter().flat_map(Piece::tools).peekable();
    let only_reads = tools.peek().is_some() && tools.all(|tool| tool.effect == Some(Effect::Read));
    (!only_reads && words.iter().any(|word| word.asks)).then(|| "?".to_owned())
}

/// The clauses that say something, without what joins them.
pub(super) fn clauses<'v, 'p>(words: &[Word], pieces: &'p [Piece<'v>]) -> Vec<&'p [Piece<'v>]> {
    let mut clauses = Vec::new();
    let (mut start, mut acts) = (0, false);
    for (at, piece) in pieces.iter().enumerate() {
        acts |= piece.tools().next().is_some();
        // `I restart webapp` says who does it; `zrestartuj webapp i auth` joins.
        let joins = piece.is(&Sense::Conjunction) && (acts || !piece.is(&Sense::Speaker));
        let ends = words.get(piece.words.clone()).and_then(<[_]>::last).is_some_and(|word| word.ends_clause);
        // `Check, please, the status`: what is to be checked follows.
        let begins = || pieces.get(start..=at).is_some_and(|so_far| so_far.iter().all(says_little));
        if joins || (ends && !begins()) {
            clauses.push(start..if joins { at } else { at + 1 });
            start = at + 1;
        }
    }
    clauses.push(start..pieces.len());
    let mut clauses: Vec<_> = clauses.into_iter().filter_map(|clause| pieces.get(clause)).collect();
    clauses.retain(|clause| !clause.iter().all(|piece| piece.is(&Sense::Courtesy)));
    clauses
}

fn says_little(piece: &Piece<'_>) -> bool {
    piece.is(&Sense::Courtesy) || piece.is(&Sense::Look)
}
