//! What a clause asks for.

use super::shown;
use super::vocabulary::{Piece, Sense};
use super::words::{Word, text};
use astradesk_core::{Code, Effect, Error, Result, ToolSpec};
use std::sync::Arc;

/// The tool that a clause asks for and the words that do, if any do.
///
/// # Errors
/// [`Code::PlanAmbiguous`] if it asks for several.
pub(super) fn action(words: &[Word], clause: &[Piece<'_>]) -> Result<Option<(Arc<ToolSpec>, String)>> {
    let said = |piece: &Piece<'_>| text(words.get(piece.words.clone()).unwrap_or_default());
    let asking = || clause.iter().filter(|piece| piece.tools().next().is_some());
    // `check the logs` asks for logs; `check the restart` asks for who knows what.
    let subject = |piece: &&Piece<'_>| !piece.is(&Sense::Look);
    let reads = |piece: &Piece<'_>| piece.tools().all(|tool| tool.effect == Some(Effect::Read));
    let only_subjects = asking().any(|piece| subject(&piece)) && asking().filter(subject).all(reads);
    let mut asked: Option<(Arc<ToolSpec>, String)> = None;
    refuse_nouns(words, clause)?;
    for piece in asking().filter(|piece| !only_subjects || subject(piece)) {
        for tool in piece.tools() {
            match &asked {
                None => asked = Some((tool.clone(), said(piece))),
                Some((first, _)) if first.name == tool.name && first.effect == Some(Effect::Read) => {}
                Some((first, one)) => {
                    let two = said(piece);
                    let message = if *one == two {
                        format!("`{}` can mean `{}` or `{}`", shown(one), first.name, tool.name)
                    } else {
                        let clause = clause_text(words, clause);
                        format!(
                            "`{clause}` asks for two things at once: `{}` and `{}`",
                            shown(one),
                            shown(&two)
                        )
                    };
                    return Err(Error::new(Code::PlanAmbiguous, message)
                        .with_remedy("say one thing in each part, with `and` or a comma between them"));
                }
            }
        }
    }
    Ok(asked)
}

/// `the restart of webapp`, `webapp restart`: a noun asks for nothing, unless somebody asks for it. Of reads there is nothing
/// to fear.
fn refuse_nouns(words: &[Word], clause: &[Piece<'_>]) -> Result<()> {
    if clause.iter().any(|piece| piece.is(&Sense::Request)) {
        return Ok(());
    }
    for (at, piece) in clause.iter().enumerate() {
        let changes = |tool: &&Arc<ToolSpec>| {
            tool.effect != Some(Effect::Read) && piece.senses.contains(&Sense::Noun(tool.name.clone()))
        };
        if piece.tools().find(changes).is_none() {
            continue;
        }
        let before = clause.get(..at).unwrap_or_default();
        let has_colon = |piece: &Piece<'_>| {
            words.get(piece.words.clone()).is_some_and(|here| here.iter().any(|word| word.colon))
        };
        let is_value = |at: usize| at > 0 && before.get(at - 1).is_some_and(|piece| piece.is(&Sense::Detail));
        let says_something = |(at, piece): (usize, &Piece<'_>)| {
            let means = [Sense::Detail, Sense::Courtesy, Sense::Greeting, Sense::First, Sense::Last];
            let is_content = !means.iter().any(|sense| piece.senses.contains(sense));
            piece.is(&Sense::Determiner) || (is_content && !has_colon(piece) && !is_value(at))
        };
        let is_of = clause.get(at + 1).is_some_and(|behind| behind.is(&Sense::Genitive));
        if is_of || before.iter().enumerate().any(says_something) {
            let said = text(words.get(piece.words.clone()).unwrap_or_default());
            let message = format!(
                "`{}` is a noun in `{}`, and asks for nothing",
                shown(&said),
                clause_text(words, clause)
            );
            return Err(Error::new(Code::PlanAmbiguous, message).with_remedy(format!(
                "say it as an instruction: `{} …`, or `do a {} …`",
                shown(&said),
                shown(&said)
            )));
        }
    }
    Ok(())
}

/// A clause as it was said, safe to show.
pub(super) fn clause_text(words: &[Word], clause: &[Piece<'_>]) -> String {
    shown(&text(clause.iter().flat_map(|piece| words.get(piece.words.clone()).unwrap_or_default())))
}
