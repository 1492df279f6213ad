//! What makes a sentence no instruction, and its clauses.

use super::shown;
use super::vocabulary::Action;
use super::words::Word;
use astradesk_core::{Code, Error, Result};
use std::ops::Range;

const NEGATIONS: &[&str] = &[
    "not",
    "never",
    "no",
    "don't",
    "dont",
    "doesn't",
    "shouldn't",
    "can't",
    "cannot",
    "won't",
    "without",
    "except",
    "avoid",
    "stop",
    "nie",
    "nigdy",
    "bez",
    "oprócz",
    "zamiast",
    "instead",
];
const CONDITIONS: &[&str] = &[
    "if", "unless", "when", "whenever", "while", "until", "after", "before", "once", "jeśli", "jesli",
    "jeżeli", "jezeli", "gdy", "gdyby", "kiedy", "dopóki", "chyba", "albo", "lub", "or", "either", "maybe",
    "perhaps", "może",
];
const QUESTIONS: &[&str] = &[
    "should", "would", "could", "can", "may", "does", "did", "is", "are", "was", "were", "has", "have",
    "why", "what", "who", "how", "where", "which", "czy", "dlaczego", "jak", "kto", "co", "gdzie", "który",
    "która",
];
/// What may stand in a clause of its own and says nothing.
const COURTESIES: &[&str] = &["please", "thanks", "now", "proszę", "prosze", "dzięki", "teraz"];
const CONJUNCTIONS: &[&str] = &["and", "then", "also", "next", "i", "oraz", "potem", "następnie", "też", "&"];

/// Refuses negations, conditions and questions, wherever they stand outside of the tools' own phrases.
pub(super) fn refuse_what_is_no_instruction(words: &[Word], actions: &[Action]) -> Result<()> {
    let outside = |i: &usize| !actions.iter().any(|action| action.words.contains(i));
    let said = |list: &[&str]| {
        let mut places = (0..words.len()).filter(outside).filter_map(|i| words.get(i));
        places.find(|word| list.contains(&word.text.as_str())).map(|word| word.text.clone())
    };
    if let Some(word) = said(NEGATIONS) {
        let message = format!("`{}` says what not to do, so nothing was planned", shown(&word));
        return Err(Error::new(Code::PlanNegated, message));
    }
    if let Some(word) = said(CONDITIONS) {
        let message = format!("`{}` makes it a condition or a choice, not an instruction", shown(&word));
        return Err(Error::new(Code::PlanNotInstruction, message));
    }
    let asked = words.iter().any(|word| word.asks).then(|| "?".to_owned());
    let opens = words.first().filter(|word| outside(&0) && QUESTIONS.contains(&word.text.as_str()));
    if let Some(sign) = asked.or_else(|| opens.map(|word| word.text.clone())) {
        let message = format!("`{}` makes it a question, not an instruction", shown(&sign));
        return Err(Error::new(Code::PlanNotInstruction, message));
    }
    Ok(())
}

/// The clauses, without the commas and conjunctions between them.
pub(super) fn clauses(words: &[Word], actions: &[Action]) -> Vec<Range<usize>> {
    let mut clauses = Vec::new();
    let mut start = 0;
    for (i, word) in words.iter().enumerate() {
        let in_phrase = actions.iter().any(|action| action.words.contains(&i));
        let conjunction = !in_phrase && CONJUNCTIONS.contains(&word.text.as_str());
        if conjunction || word.ends_clause {
            let end = if conjunction { i } else { i + 1 };
            if start < end {
                clauses.push(start..end);
            }
            start = i + 1;
        }
    }
    if start < words.len() {
        clauses.push(start..words.len());
    }
    clauses
}

/// Whether a clause is nothing but courtesy.
pub(super) fn is_courtesy(words: &[Word], clause: &Range<usize>) -> bool {
    words.get(clause.clone()).unwrap_or_default().iter().all(|word| COURTESIES.contains(&word.text.as_str()))
}
