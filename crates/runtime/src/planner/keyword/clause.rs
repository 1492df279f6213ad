//! One clause: its action, its slots, its leftover words.

use super::shown;
use super::vocabulary::{Action, Vocabulary, split};
use super::words::{Word, text};
use crate::port::Names;
use astradesk_core::tool::{Form, Slot};
use astradesk_core::{Arguments, Call, Code, Error, Result, ToolSpec};
use serde_json::Value;
use std::ops::Range;

/// The call that a clause asks for.
pub(super) async fn call(
    vocabulary: &Vocabulary,
    words: &[Word],
    actions: &[Action],
    clause: Range<usize>,
    names: &dyn Names,
) -> Result<Call> {
    let mut here = actions.iter().filter(|a| a.words.start >= clause.start && a.words.end <= clause.end);
    let said = text(words, &clause);
    let Some(action) = here.next() else {
        let first = actions.first().map_or_else(String::new, |a| text(words, &a.words));
        let message =
            format!("`{}` names no action, so it is not clear what is to be done with it", shown(&said));
        return Err(Error::new(Code::PlanAmbiguous, message)
            .with_remedy(format!("say the action again if it is meant: `{first} {}`", shown(&said)))
            .with_candidates(vocabulary.phrases()));
    };
    if let Some(second) = here.next() {
        let (one, two) = (text(words, &action.words), text(words, &second.words));
        let message = format!("`{}` asks for two things at once: `{one}` and `{two}`", shown(&said));
        return Err(Error::new(Code::PlanAmbiguous, message).with_remedy("put `and` or a comma between them"));
    }
    // The gap where the action stood keeps what is said before it apart from what is said behind it.
    let word = |i: usize| words.get(i);
    let before = (clause.start..action.words.start).map(word);
    let rest = before.chain([None]).chain((action.words.end..clause.end).map(word)).collect();
    Filling::new(&action.tool, rest).fill(names).await
}

/// The slots of one tool, being filled from the words of one clause.
struct Filling<'a> {
    tool: &'a ToolSpec,
    rest: Vec<Option<&'a Word>>,
    arguments: Arguments,
}

impl<'a> Filling<'a> {
    fn new(tool: &'a ToolSpec, rest: Vec<Option<&'a Word>>) -> Self {
        Self { tool, rest, arguments: Arguments::new() }
    }

    async fn fill(mut self, names: &dyn Names) -> Result<Call> {
        for slot in &self.tool.grammar.slots {
            match &slot.form {
                Form::After(markers) => self.fill_after(slot, markers, |word| Ok(Value::from(word)))?,
                Form::DurationAfter(markers) => self.fill_after(slot, markers, duration)?,
                Form::OneOf(choices) => {
                    for (word, value) in choices {
                        self.fill_phrase(slot, word, value)?;
                    }
                }
                Form::Flag(phrases) => {
                    for phrase in phrases {
                        self.fill_phrase(slot, phrase, &Value::Bool(true))?;
                    }
                }
                Form::Name => {}
            }
        }
        let name = self.tool.grammar.slots.iter().find(|slot| slot.form == Form::Name);
        // In a namespace that the sentence names, the tool itself looks the name up.
        let known = match name {
            Some(slot) if !self.arguments.contains_key("namespace") => {
                names.candidates(&self.tool.name, &slot.argument).await?
            }
            _ => None,
        };
        for filler in &self.tool.grammar.fillers {
            // A filler that is the name of something is that name.
            if !known.as_ref().is_some_and(|known| known.contains(filler)) {
                while self.take(&split(filler)).is_some() {}
            }
        }
        let leftover: Vec<String> = self.rest.iter().flatten().map(|word| word.text.clone()).collect();
        match name {
            Some(slot) => self.fill_name(slot, leftover, known, names).await?,
            None if leftover.is_empty() => {}
            None => return Err(self.unclear(&leftover)),
        }
        for slot in &self.tool.grammar.slots {
            if slot.required && !self.arguments.contains_key(&slot.argument) {
                let message =
                    format!("`{}` needs `{}`, which the input does not say", self.tool.name, slot.argument);
                return Err(Error::new(Code::PlanMissingTarget, message));
            }
        }
        Ok(Call { tool: self.tool.name.clone(), arguments: self.arguments })
    }

    /// Takes `phrase` out of the rest; gives the place behind it.
    fn take(&mut self, phrase: &[String]) -> Option<usize> {
        let at = (0..self.rest.len()).find(|&at| {
            let here = self.rest.get(at..at + phrase.len());
            here.is_some_and(|here| {
                here.iter().zip(phrase).all(|(word, said)| word.is_some_and(|w| w.text == *said))
            })
        })?;
        let end = at + phrase.len();
        self.rest.get_mut(at..end)?.fill(None);
        Some(end)
    }

    fn fill_phrase(&mut self, slot: &Slot, phrase: &str, value: &Value) -> Result<()> {
        while self.take(&split(phrase)).is_some() {
            self.set(slot, value)?;
        }
        Ok(())
    }

    fn fill_after(&mut self, slot: &Slot, markers: &[String], read: fn(&str) -> Result<Value>) -> Result<()> {
        let mut markers: Vec<Vec<String>> = markers.iter().map(|marker| split(marker)).collect();
        markers.sort_by_key(|words| std::cmp::Reverse(words.len()));
        for marker in markers {
            while let Some(after) = self.take(&marker) {
                let Some(word) = self.rest.get_mut(after).and_then(Option::take) else {
                    let message = format!("nothing follows `{}`", marker.join(" "));
                    return Err(Error::new(Code::PlanAmbiguous, message));
                };
                self.set(slot, &read(&word.text)?)?;
            }
        }
        Ok(())
    }

    fn set(&mut self, slot: &Slot, value: &Value) -> Result<()> {
        match self.arguments.insert(slot.argument.clone(), value.clone()) {
            Some(before) if before != *value => {
                let message =
                    format!("the input says two things for `{}`: `{before}` and `{value}`", slot.argument);
                Err(Error::new(Code::PlanAmbiguous, message))
            }
            _ => Ok(()),
        }
    }

    /// The name is the one leftover word, and one of the known names, where they are known.
    async fn fill_name(
        &mut self,
        slot: &Slot,
        mut leftover: Vec<String>,
        known: Option<Vec<String>>,
        names: &dyn Names,
    ) -> Result<()> {
        leftover.dedup();
        let exists = |name: &String| known.as_ref().is_none_or(|known| known.contains(name));
        let mut code = Code::PlanUnknownTarget;
        let message = match leftover.as_slice() {
            [one] if exists(one) => return self.set(slot, &Value::from(one.as_str())),
            [] if !slot.required => return Ok(()),
            [] => {
                code = Code::PlanMissingTarget;
                format!("`{}` needs a {}, which the input does not name", self.tool.name, slot.argument)
            }
            [one] => format!("there is no {} `{}`", slot.argument, shown(one)),
            many if known.is_some() && many.iter().all(exists) => {
                code = Code::PlanAmbiguousTarget;
                format!("the input names more than one {}: {}", slot.argument, listed(many))
            }
            many => {
                let unknown = |word: &&String| known.is_none() || !exists(word);
                return Err(self.unclear(&many.iter().filter(unknown).cloned().collect::<Vec<_>>()));
            }
        };
        let permitted = names.permitted(&self.tool.name, &slot.argument, &known.unwrap_or_default()).await;
        Err(Error::new(code, message).with_candidates(permitted))
    }

    fn unclear(&self, words: &[String]) -> Error {
        let message = format!("it is not clear what {} means for `{}`", listed(words), self.tool.name);
        Error::new(Code::PlanAmbiguous, message)
    }
}

/// At most eight words, each in backticks.
fn listed(words: &[String]) -> String {
    let mut all: Vec<String> = words.iter().take(8).map(|word| format!("`{}`", shown(word))).collect();
    if words.len() > 8 {
        all.push(format!("and {} more", words.len() - 8));
    }
    all.join(", ")
}

/// A duration as tools take it: `90s`, `5m`, `1h`.
fn duration(word: &str) -> Result<Value> {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let unit = word.strip_prefix(digits).unwrap_or_default();
    let sound = !digits.is_empty() && digits.len() <= 6 && digits.bytes().all(|b| b.is_ascii_digit());
    let unit = match unit {
        "s" | "sec" | "sek" => "s",
        "m" | "min" => "m",
        "h" | "godz" => "h",
        _ => "",
    };
    if sound && !unit.is_empty() {
        return Ok(Value::from(format!("{digits}{unit}")));
    }
    let message = format!("`{}` is not a duration, such as `90s`, `5m` or `1h`", shown(word));
    Err(Error::new(Code::PlanAmbiguous, message))
}
