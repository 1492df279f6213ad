//! Every phrase of every tool and language, and what they mean in a sentence.

use super::language::Language;
use super::lexicon::Lexicon;
use super::words::{Word, keys};
use astradesk_core::tool::{Form, Grammar, Measure};
use astradesk_core::{ToolName, ToolSpec};
use serde_json::Value;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// What a phrase means anywhere in a sentence.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sense {
    /// It asks for a tool.
    Action(Arc<ToolSpec>),
    /// What asks for the tool here is a noun as well.
    Noun(ToolName),
    /// It belongs to a slot of some tool.
    Detail,
    Negation,
    Condition,
    Question,
    Opening,
    Conjunction,
    Sequence,
    First,
    Last,
    Courtesy,
    Greeting,
    Determiner,
    Genitive,
    Request,
    Pronoun,
    /// A pronoun that must be written like this.
    Written(String),
    Possessive,
    Look,
    Quantity,
    Speaker,
}

/// What a phrase means in a clause that asks for one tool; slots by their places in its grammar.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Detail {
    /// A value of the slot follows.
    After(usize),
    /// A value of the slot follows if it has these words behind it.
    Around(usize, Vec<String>),
    /// It stands behind a value of the slot.
    Before(usize),
    /// It means this value of the slot.
    Means(usize, Value),
    /// It means nothing here.
    Filler,
}

/// A piece of a sentence: the longest phrase at its place, or a word that is none.
#[derive(Debug, Clone)]
pub(super) struct Piece<'v> {
    pub(super) words: Range<usize>,
    pub(super) senses: &'v [Sense],
}

impl Piece<'_> {
    /// The tools that it asks for.
    pub(super) fn tools(&self) -> impl Iterator<Item = &Arc<ToolSpec>> {
        self.senses.iter().filter_map(|sense| match sense {
            Sense::Action(tool) => Some(tool),
            _ => None,
        })
    }

    /// Whether it means this. What a tool declares goes before what a language does, but for what undoes a sentence.
    pub(super) fn is(&self, sense: &Sense) -> bool {
        let always = matches!(sense, Sense::Negation | Sense::Condition | Sense::Look);
        self.senses.contains(sense) && (always || !self.is_a_tools())
    }

    fn is_a_tools(&self) -> bool {
        self.senses.iter().any(|sense| matches!(sense, Sense::Action(_) | Sense::Detail))
    }
}

/// Every phrase of every tool and language.
#[derive(Debug)]
pub(super) struct Vocabulary {
    senses: Lexicon<Sense>,
    details: HashMap<ToolName, Lexicon<Detail>>,
    phrases: Vec<String>,
}

impl Vocabulary {
    pub(super) fn new<'l>(tools: &[Arc<ToolSpec>], languages: impl Iterator<Item = &'l Language>) -> Self {
        let mut vocabulary =
            Self { senses: Lexicon::default(), details: HashMap::new(), phrases: Vec::new() };
        for tool in tools {
            vocabulary.learn(tool, &tool.grammar);
        }
        for language in languages {
            vocabulary.learn_language(language);
            for (name, grammar) in &language.tools {
                for tool in tools.iter().filter(|tool| tool.name == *name) {
                    vocabulary.learn(tool, grammar);
                }
            }
        }
        vocabulary.phrases.sort();
        vocabulary.phrases.dedup();
        vocabulary
    }

    fn learn(&mut self, tool: &Arc<ToolSpec>, grammar: &Grammar) {
        for phrase in &grammar.phrases {
            self.senses.add(phrase, Sense::Action(tool.clone()));
            self.phrases.push(phrase.clone());
        }
        for noun in &grammar.nouns {
            self.senses.add(noun, Sense::Noun(tool.name.clone()));
        }
        let details = self.details.entry(tool.name.clone()).or_default();
        for filler in &grammar.fillers {
            details.add(filler, Detail::Filler);
        }
        let is_own = std::ptr::eq(grammar, &raw const tool.grammar);
        for (number, slot) in grammar.slots.iter().enumerate() {
            let own = tool.grammar.slots.iter().position(|own| own.argument == slot.argument);
            let Some(place) = (if is_own { Some(number) } else { own }) else { continue };
            let measured = tool.grammar.slots.get(place).map(|own| &own.form);
            let is_word = matches!(measured, Some(Form::Value { of: Measure::Word, .. }));
            for (phrase, detail) in details_of(&slot.form, place, is_word) {
                // A phrase of one word says little by itself; what a longer one holds must not be read as something else.
                if phrase.split_whitespace().nth(1).is_some() {
                    self.senses.add(phrase, Sense::Detail);
                }
                details.add(phrase, detail);
            }
        }
    }

    fn learn_language(&mut self, language: &Language) {
        for (phrases, sense) in [
            (&language.negations, Sense::Negation),
            (&language.conditions, Sense::Condition),
            (&language.questions, Sense::Question),
            (&language.openings, Sense::Opening),
            (&language.conjunctions, Sense::Conjunction),
            (&language.sequences, Sense::Sequence),
            (&language.firsts, Sense::First),
            (&language.lasts, Sense::Last),
            (&language.courtesies, Sense::Courtesy),
            (&language.greetings, Sense::Greeting),
            (&language.determiners, Sense::Determiner),
            (&language.genitives, Sense::Genitive),
            (&language.requests, Sense::Request),
            (&language.possessives, Sense::Possessive),
            (&language.looks, Sense::Look),
            (&language.quantities, Sense::Quantity),
            (&language.speaker, Sense::Speaker),
        ] {
            for phrase in phrases {
                self.senses.add(phrase, sense.clone());
            }
        }
        for pronoun in &language.pronouns {
            let sense = if pronoun.is_ascii() { Sense::Pronoun } else { Sense::Written(pronoun.clone()) };
            self.senses.add(pronoun, sense);
        }
    }

    /// Every phrase that asks for a tool, sorted: what could have been said.
    pub(super) fn phrases(&self) -> &[String] {
        &self.phrases
    }

    /// The pieces of a sentence, in order, the longest phrase at each place.
    pub(super) fn pieces(&self, words: &[Word]) -> Vec<Piece<'_>> {
        let mut pieces = Vec::with_capacity(words.len());
        let mut at = 0;
        while at < words.len() {
            let found = self.senses.longest(words, at..words.len());
            // What is said with an equals sign is a value or its name, and nothing else.
            let is_bound = |length: usize| {
                words.get(at..at + length).is_some_and(|here| here.iter().any(|word| word.equals))
            };
            let found =
                found.filter(|(length, senses)| senses.contains(&Sense::Detail) || !is_bound(*length));
            let (length, senses) = found.unwrap_or((1, &[]));
            pieces.push(Piece { words: at..at + length, senses });
            at += length;
        }
        pieces
    }

    /// Whether the word at this place means something in a language.
    pub(super) fn means_something(&self, words: &[Word], at: usize) -> bool {
        self.senses.longest(words, at..at + 1).is_some()
    }

    /// The longest phrase of a tool's slots and fillers that begins where `range` does and ends within it.
    pub(super) fn detail(
        &self,
        tool: &ToolName,
        words: &[Word],
        range: Range<usize>,
    ) -> Option<(usize, &[Detail])> {
        self.details.get(tool)?.longest(words, range)
    }
}

fn details_of(form: &Form, slot: usize, is_word: bool) -> Vec<(&str, Detail)> {
    match form {
        Form::Name => Vec::new(),
        Form::Value { after, before, .. } => {
            let after = after.iter().map(|phrase| match phrase.split_once(" * ") {
                Some((phrase, behind)) => (phrase, Detail::Around(slot, keys(behind).collect())),
                None => (phrase.as_str(), Detail::After(slot)),
            });
            // `webapp namespace shop`: which of the two is the namespace?
            let before = before.iter().filter(|_| !is_word);
            after.chain(before.map(|phrase| (phrase.as_str(), Detail::Before(slot)))).collect()
        }
        Form::OneOf(choices) => choices
            .iter()
            .map(|(phrase, value)| (phrase.as_str(), Detail::Means(slot, value.clone())))
            .collect(),
        Form::Flag(phrases) => {
            phrases.iter().map(|phrase| (phrase.as_str(), Detail::Means(slot, Value::Bool(true)))).collect()
        }
    }
}
