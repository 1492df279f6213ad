//! One clause: what it says of the slots of its tool, and what is left over.

use super::aliases::Aliases;
use super::measure::{self, described};
use super::shown;
use super::vocabulary::{Detail, Piece, Sense, Vocabulary};
use super::words::{Word, text};
use astradesk_core::name::Namespace;
use astradesk_core::tool::{Form, Measure, Slot};
use astradesk_core::{Arguments, Code, Effect, Error, Result, ToolSpec};
use serde_json::Value;
use std::ops::Range;
use std::sync::Arc;

/// What a clause says, in terms of one tool.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) tool: Arc<ToolSpec>,
    /// The words that ask for it; those of another clause if they are said once for several.
    pub(super) action: String,
    pub(super) arguments: Arguments,
    /// The words that each argument was said by.
    pub(super) said: Vec<(String, String)>,
    /// Words that may be a name.
    pub(super) found: Vec<Found>,
    /// The word that stands for a name said before.
    pub(super) pronoun: Option<String>,
    /// The arguments that a clause of their own says.
    pub(super) more: Vec<String>,
    /// Readings of one number share the words that ask for the tool.
    pub(super) group: usize,
}

/// Words that may be a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// What was said.
    pub(super) said: String,
    /// What it means if it is an alias.
    pub(super) alias_of: Option<String>,
}

/// The names that a clause may use without a namespace of its own.
#[derive(Clone, Copy)]
pub(super) struct Known<'k> {
    pub(super) names: &'k [String],
    pub(super) aliases: &'k Aliases,
}

impl Known<'_> {
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
    }
}

impl Reading {
    /// Reads a clause in terms of a tool. `known` are its names, if there is something to choose from.
    pub(super) fn new(
        (vocabulary, words, clause): (&Vocabulary, &[Word], &[Piece<'_>]),
        (tool, action): (Arc<ToolSpec>, String),
        known: Option<Known<'_>>,
    ) -> Result<Self> {
        let empty = Self {
            tool,
            action,
            arguments: Arguments::new(),
            said: Vec::new(),
            found: Vec::new(),
            pronoun: None,
            more: Vec::new(),
            group: 0,
        };
        Reader { vocabulary, words, known, reading: empty }.read(clause)
    }

    /// The slot that is a name.
    pub(super) fn name(&self) -> Option<&Slot> {
        self.tool.grammar.slots.iter().find(|slot| slot.form == Form::Name)
    }

    /// The slots that must be said and are not.
    pub(super) fn missing(&self) -> impl Iterator<Item = &Slot> {
        let slots = self.tool.grammar.slots.iter();
        slots.filter(|slot| slot.required && !self.arguments.contains_key(&slot.argument))
    }

    pub(super) fn set(&mut self, argument: &str, value: Value, said: String) -> Result<()> {
        if let Some(before) = self.arguments.get(argument).filter(|before| **before != value) {
            let message = format!("the input says two things for `{argument}`: `{before}` and `{value}`");
            return Err(Error::new(Code::PlanAmbiguous, message));
        }
        self.arguments.insert(argument.to_owned(), value);
        self.said.push((argument.to_owned(), said));
        Ok(())
    }

    /// It is not clear what these words mean.
    pub(super) fn unclear<'s>(&self, said: impl Iterator<Item = &'s str>) -> Error {
        let message = format!("it is not clear what {} means for `{}`", listed(said), self.tool.name);
        Error::new(Code::PlanAmbiguous, message)
    }
}

/// At most eight words, each in backticks.
pub(super) fn listed<'s>(words: impl Iterator<Item = &'s str>) -> String {
    let mut words = words.peekable();
    let mut all: Vec<String> = words.by_ref().take(8).map(|word| format!("`{}`", shown(word))).collect();
    let more = words.count();
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    all.join(", ")
}

/// A reading that is being made, from the first word to the last.
struct Reader<'r> {
    vocabulary: &'r Vocabulary,
    words: &'r [Word],
    known: Option<Known<'r>>,
    reading: Reading,
}

impl Reader<'_> {
    fn read(mut self, clause: &[Piece<'_>]) -> Result<Reading> {
        let reads = self.reading.tool.effect == Some(Effect::Read);
        let asks = |piece: &Piece<'_>| piece.tools().next().is_some() || (reads && piece.is(&Sense::Look));
        let mut rest = clause;
        let mut asked = false;
        // What stands between two phrases that ask for the tool is read by itself.
        while let Some(first) = rest.first() {
            let length = rest.iter().take_while(|piece| !asks(piece)).count();
            let (between, behind) = rest.split_at(length);
            if let Some(last) = between.last() {
                self.read_between(between, first.words.start..last.words.end, asked)?;
            }
            asked = behind.first().is_some_and(|piece| piece.tools().next().is_some());
            rest = behind.get(1..).unwrap_or_default();
        }
        Ok(self.reading)
    }

    /// Reads what stands between two phrases that ask; `asked` if it stands behind one that asks for the tool.
    fn read_between(&mut self, pieces: &[Piece<'_>], range: Range<usize>, asked: bool) -> Result<()> {
        let mut pieces = pieces.iter().peekable();
        let mut refers = asked;
        let mut at = range.start;
        while at < range.end {
            while pieces.next_if(|piece| piece.words.start < at).is_some() {}
            let piece = pieces.peek().filter(|piece| piece.words.start == at).copied();
            at += self.read_one(piece, at..range.end, refers)?;
            refers = piece.is_some_and(|piece| piece.is(&Sense::Request));
        }
        Ok(())
    }

    /// Reads what begins the range; how many words that took. A pronoun stands for what is to be changed only directly
    /// behind what asks for it (`refers`): `restart it`.
    fn read_one(&mut self, piece: Option<&Piece<'_>>, range: Range<usize>, refers: bool) -> Result<usize> {
        let (at, vocabulary) = (range.start, self.vocabulary);
        let detail = vocabulary.detail(&self.reading.tool.name, self.words, range.clone());
        let alias = self.known.and_then(|known| known.aliases.longest(self.words, range.clone()));
        if let Some((length, name)) =
            alias.filter(|(length, _)| detail.is_none_or(|(other, _)| other <= *length))
        {
            let alias_of = Some(name.to_owned());
            self.reading.found.push(Found { said: self.text(at..at + length), alias_of });
            return Ok(length);
        }
        if let Some((length, details)) = detail
            && let Some(taken) = self.read_detail(details, at..at + length, range.end)?
        {
            return Ok(taken);
        }
        if let Some(taken) = self.read_measured(range.clone())? {
            return Ok(taken);
        }
        let Some(word) = self.words.get(at) else { return Ok(1) };
        // A word that says nothing and is the name of something is that name.
        if self.known.is_some_and(|known| known.has(&word.text)) {
            self.reading.found.push(Found { said: word.text.clone(), alias_of: None });
            return Ok(1);
        }
        if let Some((length, details)) = detail
            && details.contains(&Detail::Filler)
        {
            return Ok(length);
        }
        if let Some(piece) = piece {
            let length = piece.words.len();
            let says_nothing = [
                Sense::Courtesy,
                Sense::Greeting,
                Sense::Request,
                Sense::Sequence,
                Sense::First,
                Sense::Last,
            ];
            if says_nothing.iter().any(|sense| piece.is(sense)) {
                return Ok(length);
            }
            if piece.is(&Sense::Quantity) {
                let message = format!("`{}` names nothing", shown(&self.text(piece.words.clone())));
                return Err(Error::new(Code::PlanAmbiguous, message).with_remedy("name each by its name"));
            }
            let reads = self.reading.tool.effect == Some(Effect::Read);
            let is_pronoun = piece.is(&Sense::Pronoun) || piece.is(&Sense::Written(word.text.clone()));
            if (is_pronoun && (reads || refers)) || (piece.is(&Sense::Possessive) && reads) {
                self.reading.pronoun = Some(self.text(piece.words.clone()));
                return Ok(length);
            }
        }
        self.reading.found.push(Found { said: word.text.clone(), alias_of: None });
        Ok(1)
    }

    fn text(&self, range: Range<usize>) -> String {
        text(self.words.get(range).unwrap_or_default())
    }

    /// A phrase of a slot, and the value behind it if it has one; how many words that takes, if it is one here. `end` is
    /// where the range ends.
    fn read_detail(&mut self, details: &[Detail], phrase: Range<usize>, end: usize) -> Result<Option<usize>> {
        let behind = self.words.get(phrase.end..end).unwrap_or_default();
        let mut expected = None;
        let mut fitting = None;
        let mut meant = None;
        for detail in details {
            match detail {
                Detail::Means(slot, value) => meant = Some((*slot, value.clone())),
                Detail::After(slot) => {
                    let Some(of) = self.measure_of(*slot) else { continue };
                    expected = Some(of);
                    if let Some((value, taken)) = self.value(*slot, of, phrase.end, behind) {
                        fitting = Some((*slot, value, taken + self.before(*slot, phrase.end + taken..end)));
                    }
                }
                Detail::Around(slot, tail) => {
                    let of = self.measure_of(*slot);
                    let value = of.and_then(|of| self.value(*slot, of, phrase.end, behind));
                    let Some((value, taken)) = value else { continue };
                    let closing = behind.get(taken..taken + tail.len()).unwrap_or_default();
                    if closing.iter().map(Word::key).eq(tail.iter().map(String::as_str)) {
                        fitting = Some((*slot, value, taken + tail.len()));
                    }
                }
                Detail::Before(_) | Detail::Filler => {}
            }
        }
        // A phrase may mean something and have a value behind it, too: `at least 4`.
        let taken = fitting.as_ref().map_or(0, |(_, _, taken)| *taken);
        let whole = phrase.start..phrase.end + taken;
        let said: Vec<_> = meant.into_iter().chain(fitting.map(|(slot, value, _)| (slot, value))).collect();
        if !said.is_empty() {
            for (slot, value) in said {
                self.set(slot, value, self.text(whole.clone()))?;
            }
            return Ok(Some(whole.len()));
        }
        let Some(of) = expected.filter(|_| !details.contains(&Detail::Filler)) else { return Ok(None) };
        let marker = self.text(phrase);
        let message = match behind.first() {
            Some(word) if of != Measure::Word => {
                format!("`{}` behind `{marker}` is not {}", shown(&word.text), described(of))
            }
            _ => format!("nothing belongs to `{marker}`"),
        };
        Err(Error::new(Code::PlanAmbiguous, message))
    }

    /// The value that begins `behind`, which begins at `at`. Where something is, is said by a name that means nothing else.
    fn value(&self, slot: usize, of: Measure, at: usize, behind: &[Word]) -> Option<(Value, usize)> {
        let locates = self.reading.tool.grammar.slots.get(slot).is_some_and(|slot| slot.locates);
        let is_name = || {
            behind.first().is_some_and(|word| Namespace::parse(&word.text).is_ok())
                && !self.vocabulary.means_something(self.words, at)
        };
        measure::value(of, behind).filter(|_| !locates || is_name())
    }

    /// A value that is told by what stands behind it: `3 replicas`.
    fn read_measured(&mut self, range: Range<usize>) -> Result<Option<usize>> {
        let here = self.words.get(range.clone()).unwrap_or_default();
        if !here.first().is_some_and(|word| word.text.starts_with(|c: char| c.is_ascii_digit())) {
            return Ok(None);
        }
        let slots = 0..self.reading.tool.grammar.slots.len();
        let measured = slots.filter_map(|slot| {
            let (value, taken) = measure::value(self.measure_of(slot)?, here)?;
            let unit = self.before(slot, range.start + taken..range.end);
            (unit > 0).then_some((slot, value, taken + unit))
        });
        let Some((slot, value, taken)) = measured.collect::<Vec<_>>().pop() else { return Ok(None) };
        let said = self.text(range.start..range.start + taken);
        self.set(slot, value, said)?;
        Ok(Some(taken))
    }

    fn measure_of(&self, slot: usize) -> Option<Measure> {
        match self.reading.tool.grammar.slots.get(slot)?.form {
            Form::Value { of, .. } => Some(of),
            _ => None,
        }
    }

    /// How many words at the beginning of the range stand behind values of the slot.
    fn before(&self, slot: usize, range: Range<usize>) -> usize {
        match self.vocabulary.detail(&self.reading.tool.name, self.words, range) {
            Some((length, details)) if details.contains(&Detail::Before(slot)) => length,
            _ => 0,
        }
    }

    fn set(&mut self, slot: usize, value: Value, said: String) -> Result<()> {
        let Some(slot) = self.reading.tool.grammar.slots.get(slot) else { return Ok(()) };
        let argument = slot.argument.clone();
        self.reading.set(&argument, value, said)
    }
}
