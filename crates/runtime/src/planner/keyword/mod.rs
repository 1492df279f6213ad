//! The `KeywordPlanner`: deterministic, explainable, incapable of inventing a target.
//!
//! A sentence is cut into clauses at commas and conjunctions. Each clause must hold a phrase of exactly one tool, or share
//! that of the clause before it, and every other word of it must say nothing or fill one of that tool's slots. A word
//! that does neither is an error that names it. A negation, a question, a condition or a quotation anywhere refuses the
//! whole sentence: nothing of it is planned.
//!
//! | module | what it does |
//! |---|---|
//! | `words` | what was said, word by word |
//! | `language`, `built_in` | the words that belong to no tool; English and Polish, and packs add others |
//! | `lexicon` | phrases, found in a time that does not depend on how many there are |
//! | `vocabulary` | every phrase of every tool and language, and what it means |
//! | `sentence` | what makes a sentence no instruction, and its clauses |
//! | `action` | the tool that a clause asks for |
//! | `clause` | one clause in terms of its tool: its slots, its leftover words |
//! | `measure` | numbers, durations, percentages |
//! | `sequence` | what clauses share, and what they take from those before them |
//! | `names`, `aliases` | what names there are, and what people call them |
//! | `explain` | what was understood |

mod action;
mod aliases;
mod built_in;
mod clause;
mod explain;
mod language;
mod lexicon;
mod measure;
mod names;
mod sentence;
mod sequence;
mod vocabulary;
mod words;

pub use aliases::Aliases;
pub use language::Language;

use crate::port::{Names, Planner};
use arc_swap::ArcSwapOption;
use astradesk_core::text::near;
use astradesk_core::{Call, Code, Error, Plan, Result, ToolSpec};
use async_trait::async_trait;
use clause::Reading;
use names::Inventory;
use std::sync::Arc;
use vocabulary::{Piece, Vocabulary};
use words::Word;

/// Plans by the words that tools declare.
#[derive(Debug, Default)]
pub struct KeywordPlanner {
    aliases: Arc<Aliases>,
    /// The vocabulary of the tools and languages that were there last.
    learned: ArcSwapOption<Learned>,
}

#[derive(Debug)]
struct Learned {
    tools: Vec<Arc<ToolSpec>>,
    languages: Vec<Arc<Language>>,
    vocabulary: Vocabulary,
}

#[async_trait]
impl Planner for KeywordPlanner {
    fn name(&self) -> &'static str {
        "keyword"
    }

    async fn plan(&self, input: &str, tools: &[Arc<ToolSpec>], names: &dyn Names) -> Result<Plan> {
        let learned = self.learned(tools, names.languages());
        let vocabulary = &learned.vocabulary;
        let words = words::words(input)?;
        let pieces = vocabulary.pieces(&words);
        let actions = |error: Error| explain::told(error, &explain::actions(&words, &pieces));
        sentence::refuse_what_is_no_instruction(&words, &pieces).map_err(actions)?;
        if pieces.iter().all(|piece| piece.tools().next().is_none()) {
            return Err(no_action(vocabulary, input, &words, &pieces));
        }
        let clauses = sentence::clauses(&words, &pieces).map_err(actions)?;
        let mut readings = Vec::with_capacity(clauses.len());
        let mut inventory = Inventory::new(names, &self.aliases);
        let read = sequence::read((vocabulary, &words), &clauses, &mut inventory, &mut readings).await;
        let understood = explain::readings(&readings);
        read.map_err(|error| actions(explain::told(error, &understood)))?;
        let call = |reading: Reading| Call { tool: reading.tool.name.clone(), arguments: reading.arguments };
        let calls = readings.into_iter().map(call).collect();
        Ok(Plan { planner: self.name().to_owned(), calls, understood })
    }
}

impl KeywordPlanner {
    /// The planner, with what people call services.
    pub fn new(aliases: Arc<Aliases>) -> Self {
        Self { aliases, learned: ArcSwapOption::empty() }
    }

    /// The vocabulary of these tools and languages. It is put together anew only when they are others than the last time.
    fn learned(&self, tools: &[Arc<ToolSpec>], languages: Vec<Arc<Language>>) -> Arc<Learned> {
        let known = self.learned.load_full();
        let known = known.filter(|known| same(&known.tools, tools) && same(&known.languages, &languages));
        known.unwrap_or_else(|| {
            let built_in = built_in::languages();
            let all = built_in.iter().chain(languages.iter().map(AsRef::as_ref));
            let vocabulary = Vocabulary::new(tools, all);
            let learned = Arc::new(Learned { tools: tools.to_vec(), languages, vocabulary });
            self.learned.store(Some(learned.clone()));
            learned
        })
    }
}

fn same<T>(known: &[Arc<T>], now: &[Arc<T>]) -> bool {
    known.len() == now.len() && known.iter().zip(now).all(|(one, other)| Arc::ptr_eq(one, other))
}

/// No word names an action; the phrases that may have been meant are offered.
fn no_action(vocabulary: &Vocabulary, input: &str, words: &[Word], pieces: &[Piece<'_>]) -> Error {
    /// Only so many words and phrases are compared: it is a courtesy.
    const MOST: usize = 32;
    let unknown = pieces.iter().filter(|piece| piece.senses.is_empty()).take(MOST);
    let phrases: Vec<String> = vocabulary.phrases().iter().take(MOST * MOST).cloned().collect();
    let meant = unknown.filter_map(|piece| words.get(piece.words.start)).find_map(|word| {
        let phrase = near(word.key(), &phrases).into_iter().next()?;
        Some((shown(&word.text), phrase))
    });
    let error = Error::new(Code::PlanNoAction, format!("no word of `{}` names an action", shown(input)))
        .with_candidates(phrases);
    match meant {
        Some((said, phrase)) => {
            error.with_remedy(format!("say `{phrase}` if that is what you mean by `{said}`"))
        }
        None => error,
    }
}

/// The beginning of what was said, safe to show.
fn shown(text: &str) -> String {
    astradesk_core::text::shown(text, 80)
}
