//! What makes a sentence no instruction, and its clauses.

use super::shown;
use super::vocabulary::{Piece, Sense};
use super::words::{Word, text};
use astradesk_core::{Code, Effect, Error, Result};

/// A part of a sentence that says something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clause<'p, 'v> {
    /// Its pieces, without what joins it to the others.
    pub(super) pieces: &'p [Piece<'v>],
    /// What parts it from the clause before.
    pub(super) joint: Joint,
}

/// What stands between two clauses; the last of these counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Joint {
    /// Nothing: it is the first.
    Start,
    /// A comma, or the end of a sentence or a line.
    Stop,
    /// A conjunction.
    And,
    /// A word that says that it comes later, or besides.
    Then,
}

/// Refuses negations, conditions and questions, wherever they stand outside of the tools' own phrases.
pub(super) fn refuse_what_is_no_instruction(words: &[Word], pieces: &[Piece<'_>]) -> Result<()> {
    let said = |sense: &Sense| pieces.iter().find(|piece| piece.is(sense)).map(|piece| said(words, piece));
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

/// A piece as it was said, safe to show.
fn said(words: &[Word], piece: &Piece<'_>) -> String {
    shown(&text(words.get(piece.words.clone()).unwrap_or_default()))
}

/// What makes a question of a clause that begins with it.
fn opening(words: &[Word], pieces: &[Piece<'_>]) -> Option<String> {
    let mut begins = true;
    for piece in pieces {
        if begins && piece.is(&Sense::Opening) {
            return Some(said(words, piece));
        }
        let speaks = begins && piece.is(&Sense::Speaker);
        let joins = (piece.is(&Sense::Conjunction) && !speaks) || piece.is(&Sense::Sequence);
        begins = joins || ends(words, piece) || (begins && says_nothing(piece));
    }
    None
}

/// A question mark, unless everything that it could ask for only reads.
fn mark(words: &[Word], pieces: &[Piece<'_>]) -> Option<String> {
    let mut tools = pieces.iter().flat_map(Piece::tools).peekable();
    let only_reads = tools.peek().is_some() && tools.all(|tool| tool.effect == Some(Effect::Read));
    (!only_reads && words.iter().any(|word| word.asks)).then(|| "?".to_owned())
}

/// The clauses that say something.
///
/// # Errors
/// [`Code::PlanAmbiguous`] if a word stands where it is not clear what it means.
pub(super) fn clauses<'v, 'p>(words: &[Word], pieces: &'p [Piece<'v>]) -> Result<Vec<Clause<'p, 'v>>> {
    refuse_labels_and_late_greetings(words, pieces)?;
    let mut clauses: Vec<Clause<'p, 'v>> = Vec::new();
    let (mut start, mut joint) = (0, Joint::Start);
    // Whether so far the clause has only what says nothing, or what asks to see something that follows.
    let (mut nothing, mut little) = (true, true);
    for (at, piece) in pieces.iter().enumerate() {
        if let Some(joins) = joins(pieces, start..at, joint) {
            if clauses.is_empty() && nothing {
                return Err(misplaced(words, piece, "stands before anything that it could join"));
            }
            if let Some(pieces) = pieces.get(start..at).filter(|_| !nothing) {
                clauses.push(Clause { pieces, joint });
                joint = joins;
            }
            (start, joint, nothing, little) = (at + 1, joint.max(joins), true, true);
            continue;
        }
        nothing &= says_nothing(piece);
        little &= says_nothing(piece) || piece.is(&Sense::Look);
        // `Check, please, the status`: what is to be checked follows.
        if ends(words, piece) && !little {
            clauses.extend(pieces.get(start..=at).map(|pieces| Clause { pieces, joint }));
            (start, joint, nothing, little) = (at + 1, Joint::Stop, true, true);
        }
    }
    match pieces.get(start..).filter(|_| !nothing) {
        Some(pieces) => clauses.push(Clause { pieces, joint }),
        None if joint > Joint::Stop => {
            let joiner =
                pieces.iter().rev().find(|piece| piece.is(&Sense::Conjunction) || piece.is(&Sense::Sequence));
            return Err(joiner.map_or_else(
                || Error::internal("a clause is joined by nothing"),
                |joiner| misplaced(words, joiner, "joins nothing that follows"),
            ));
        }
        None => {}
    }
    refuse_order_that_is_not_kept(words, &clauses)?;
    Ok(clauses)
}

/// How the piece behind the range joins what follows, if it does.
fn joins(pieces: &[Piece<'_>], clause: std::ops::Range<usize>, joint: Joint) -> Option<Joint> {
    let piece = pieces.get(clause.end)?;
    // `I restart webapp` says who does it; `zrestartuj webapp i auth` joins.
    let speaks = piece.is(&Sense::Speaker) && clause.is_empty() && joint <= Joint::Stop;
    if piece.is(&Sense::Conjunction) && !speaks {
        return Some(Joint::And);
    }
    // `restart also auth` is no sequence.
    let behind_action =
        pieces.get(clause).and_then(<[_]>::last).is_some_and(|last| last.tools().next().is_some());
    let is_last = piece.words.end == pieces.last().map_or(0, |last| last.words.end);
    (piece.is(&Sense::Sequence) && (!behind_action || is_last)).then_some(Joint::Then)
}

/// Whether a comma or an end follows.
fn ends(words: &[Word], piece: &Piece<'_>) -> bool {
    words.get(piece.words.clone()).and_then(<[_]>::last).is_some_and(|word| word.ends_clause)
}

fn says_nothing(piece: &Piece<'_>) -> bool {
    piece.is(&Sense::Courtesy) || piece.is(&Sense::Greeting)
}

/// `ok` behind something tells what came of it; `A:` says who speaks.
fn refuse_labels_and_late_greetings(words: &[Word], pieces: &[Piece<'_>]) -> Result<()> {
    let mut greets = true;
    for piece in pieces {
        let is_label = says_nothing(piece)
            && words
                .get(piece.words.clone())
                .is_some_and(|said| said.iter().any(|word| word.colon || word.bracketed));
        if is_label {
            return Err(misplaced(words, piece, "has a colon behind it, or brackets around it"));
        }
        greets &= says_nothing(piece);
        if !greets && piece.is(&Sense::Greeting) && !piece.is(&Sense::Courtesy) {
            return Err(misplaced(words, piece, "does not stand at the beginning"));
        }
    }
    Ok(())
}

/// Steps are performed in the order in which they are said.
fn refuse_order_that_is_not_kept(words: &[Word], clauses: &[Clause<'_, '_>]) -> Result<()> {
    let last = clauses.len().saturating_sub(1);
    for (at, clause) in clauses.iter().enumerate() {
        let wrong =
            |piece: &&Piece<'_>| (at > 0 && piece.is(&Sense::First)) || (at < last && piece.is(&Sense::Last));
        if let Some(piece) = clause.pieces.iter().find(wrong) {
            return Err(misplaced(words, piece, "is not in the order in which things are said"));
        }
    }
    Ok(())
}

fn misplaced(words: &[Word], piece: &Piece<'_>, why: &str) -> Error {
    let message = format!("it is not clear what `{}` means: it {why}", said(words, piece));
    Error::new(Code::PlanAmbiguous, message)
}
