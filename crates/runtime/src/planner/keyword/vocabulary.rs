//! Every phrase of every tool, and where they stand in a sentence.

use super::words::Word;
use astradesk_core::{Code, Error, Result, ToolSpec};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// A phrase that asks for a tool, found in a sentence.
#[derive(Debug, Clone)]
pub(super) struct Action {
    pub(super) words: Range<usize>,
    pub(super) tool: Arc<ToolSpec>,
}

/// The words of a phrase, and the tool that they ask for.
type Phrase = (Vec<String>, Arc<ToolSpec>);

/// Every phrase of every tool, by its first word.
pub(super) struct Vocabulary {
    by_first_word: HashMap<String, Vec<Phrase>>,
}

impl Vocabulary {
    pub(super) fn new(tools: &[Arc<ToolSpec>]) -> Self {
        let mut by_first_word: HashMap<String, Vec<Phrase>> = HashMap::new();
        for tool in tools {
            for phrase in &tool.grammar.phrases {
                let words = split(phrase);
                if let Some(first) = words.first() {
                    by_first_word.entry(first.clone()).or_default().push((words, tool.clone()));
                }
            }
        }
        for phrases in by_first_word.values_mut() {
            phrases.sort_by_key(|(words, _)| std::cmp::Reverse(words.len()));
        }
        Self { by_first_word }
    }

    /// Every phrase, sorted: what could have been said.
    pub(super) fn phrases(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.by_first_word.values().flatten().map(|(words, _)| words.join(" ")).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The phrases in a sentence, the longest first at each place.
    pub(super) fn actions(&self, words: &[Word]) -> Result<Vec<Action>> {
        let mut actions = Vec::new();
        let mut i = 0;
        while let Some(word) = words.get(i) {
            let matching = |(phrase, _): &&Phrase| stands_at(words, i, phrase);
            let mut found = self.by_first_word.get(&word.text).into_iter().flatten().filter(matching);
            let Some((phrase, tool)) = found.next() else {
                i += 1;
                continue;
            };
            if let Some((_, other)) = found.find(|(p, t)| p.len() == phrase.len() && t.name != tool.name) {
                let message = format!("`{}` can mean `{}` or `{}`", phrase.join(" "), tool.name, other.name);
                return Err(Error::new(Code::PlanAmbiguous, message));
            }
            actions.push(Action { words: i..i + phrase.len(), tool: tool.clone() });
            i += phrase.len();
        }
        Ok(actions)
    }
}

pub(super) fn split(phrase: &str) -> Vec<String> {
    phrase.split_whitespace().map(str::to_lowercase).collect()
}

fn stands_at(words: &[Word], at: usize, phrase: &[String]) -> bool {
    let here = words.get(at..at + phrase.len());
    here.is_some_and(|here| {
        let (last, before) = (here.len().saturating_sub(1), here);
        before
            .iter()
            .zip(phrase)
            .enumerate()
            .all(|(i, (word, said))| word.text == *said && (i == last || !word.ends_clause))
    })
}
