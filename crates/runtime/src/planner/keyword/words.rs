//! What was said, word by word.

use super::shown;
use astradesk_core::{Code, Error, Result};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// One word, without the punctuation around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// In lower case: what a name or a value is.
    pub(super) text: String,
    /// The same without diacritics, where it has any.
    plain: Option<String>,
    /// Whether a comma or the end of a sentence follows.
    pub(super) ends_clause: bool,
    /// Whether a question mark follows.
    pub(super) asks: bool,
}

impl Word {
    /// What phrases are found by: the word without diacritics.
    pub(super) fn key(&self) -> &str {
        self.plain.as_deref().unwrap_or(&self.text)
    }
}

/// The most words of an input.
const MAX_WORDS: usize = 4096;
/// The longest word, in bytes. What is longer can be no name.
const MAX_WORD: usize = 1024;

/// The words of `input`.
///
/// # Errors
/// [`Code::PlanNotInstruction`] if anything in it is quoted; [`Code::PlanInputInvalid`] if it has too many words or one that
/// is too long.
pub(super) fn words(input: &str) -> Result<Vec<Word>> {
    let mut words: Vec<Word> = Vec::new();
    let quoted = |raw: &str| {
        let message = format!("`{}` is quoted, and a quotation is not an instruction", shown(raw));
        Err(Error::new(Code::PlanNotInstruction, message))
    };
    if let Some(line) = input.lines().find(|line| line.trim_start().starts_with('>')) {
        return quoted(line.trim());
    }
    for raw in input.lines().flat_map(parts) {
        let Some(raw) = raw else {
            if let Some(last) = words.last_mut() {
                last.ends_clause = true;
            }
            continue;
        };
        if words.len() == MAX_WORDS || raw.len() > MAX_WORD {
            let message =
                format!("the input has more than {MAX_WORDS} words, or one of more than {MAX_WORD} bytes");
            return Err(Error::new(Code::PlanInputInvalid, message));
        }
        if raw.contains(['"', '“', '”', '„', '`', '«', '»'])
            || raw.starts_with(['\'', '‘'])
            || raw.ends_with(['\'', '’'])
        {
            return quoted(raw);
        }
        let text = raw.trim_matches(is_punctuation);
        let after = if text.is_empty() { raw } else { raw.rsplit_once(text).map_or("", |(_, after)| after) };
        let ends_clause = after.contains([',', ';', '.', '!', '…', '–', '—']) || raw == "-";
        let asks = after.contains('?');
        if text.is_empty() {
            if let Some(last) = words.last_mut() {
                last.ends_clause |= ends_clause;
                last.asks |= asks;
            }
            continue;
        }
        let text = text.to_lowercase().replace('’', "'");
        words.push(Word { plain: plain(&text), text, ends_clause, asks });
    }
    Ok(words)
}

/// The parts of a line, and its end. `timeout=5m` has two parts.
fn parts(line: &str) -> impl Iterator<Item = Option<&str>> {
    let split = |raw| match str::split_once(raw, '=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => [Some(key), Some(value)],
        _ => [Some(raw), None],
    };
    line.split_whitespace().flat_map(split).flatten().map(Some).chain([None])
}

const fn is_punctuation(c: char) -> bool {
    matches!(c, ',' | ';' | '.' | '!' | '?' | ':' | '(' | ')' | '[' | ']' | '…' | '–' | '—')
}

/// `text` without diacritics, if it has any: `usługę` is `usluge`.
fn plain(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let stripped = text.nfd().filter(|c| !is_combining_mark(*c));
    let plain: String = stripped.map(|c| if c == 'ł' { 'l' } else { c }).collect();
    (plain != text).then_some(plain)
}

/// The words of a phrase, as they are found in a sentence.
pub(super) fn keys(phrase: &str) -> impl Iterator<Item = String> + '_ {
    phrase.split_whitespace().map(|word| {
        let word = word.to_lowercase();
        plain(&word).unwrap_or(word)
    })
}

/// Words as they were said.
pub(super) fn text<'a>(words: impl IntoIterator<Item = &'a Word>) -> String {
    let said: Vec<&str> = words.into_iter().map(|word| word.text.as_str()).collect();
    said.join(" ")
}
