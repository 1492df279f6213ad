//! What was said, word by word.

use super::shown;
use astradesk_core::{Code, Error, Result};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// One word, without the punctuation around it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a mark that stands beside the word or does not")]
pub(super) struct Word {
    /// In lower case: what a name or a value is.
    pub(super) text: String,
    /// The same without diacritics, where it has any.
    plain: Option<String>,
    /// Whether a comma or the end of a sentence follows.
    pub(super) ends_clause: bool,
    /// Whether a question mark stands before or behind it.
    pub(super) asks: bool,
    /// Whether a colon follows.
    pub(super) colon: bool,
    /// Whether it is in square brackets.
    pub(super) bracketed: bool,
    /// Whether an equals sign stands before or behind it.
    pub(super) equals: bool,
}

impl Word {
    /// What phrases are found by: the word without diacritics.
    pub(super) fn key(&self) -> &str {
        self.plain.as_deref().unwrap_or(&self.text)
    }
}

/// The longest input, in bytes: more than the Engine lets in.
const MAX_BYTES: usize = 64 << 10;
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
    if input.len() > MAX_BYTES {
        let message = format!("the input has {} bytes, and may have {MAX_BYTES}", input.len());
        return Err(Error::new(Code::PlanInputInvalid, message));
    }
    let mut words: Vec<Word> = Vec::new();
    let mut asked = false;
    let quoted = |raw: &str| {
        let message = format!("`{}` is quoted, and a quotation is not an instruction", shown(raw));
        Err(Error::new(Code::PlanNotInstruction, message))
    };
    if let Some(line) = input.lines().find(|line| line.trim_start().starts_with('>')) {
        return quoted(line.trim());
    }
    for (raw, equals) in input.lines().flat_map(parts) {
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
        asked |= raw.contains('?');
        if text.is_empty() && raw.chars().all(|c| is_end(c) || c == '?') {
            if let Some(last) = words.last_mut() {
                last.ends_clause |= raw.contains(is_end);
                last.asks |= std::mem::take(&mut asked);
            }
            continue;
        }
        // Of brackets around nothing, and of a dash that begins direct speech, it is not clear what they mean.
        let (text, after) = if text.is_empty() { (raw, "") } else { (text, behind(raw, text)) };
        let text = text.to_lowercase().replace('’', "'");
        words.push(Word {
            plain: plain(&text),
            text,
            ends_clause: after.contains(is_end),
            asks: std::mem::take(&mut asked),
            colon: after.contains(':'),
            bracketed: raw.contains(['[', ']']),
            equals,
        });
    }
    Ok(words)
}

/// The parts of a line, with whether an equals sign stands beside them, and its end. `timeout=5m` has two parts, and so has
/// `webapp,auth`.
fn parts(line: &str) -> impl Iterator<Item = (Option<&str>, bool)> {
    let split = |raw| match str::split_once(raw, '=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => {
            [Some((key, true)), Some((value, true))]
        }
        _ => [Some((raw, false)), None],
    };
    let pieces =
        line.split_whitespace().flat_map(|raw| raw.split_inclusive([',', ';'])).flat_map(split).flatten();
    pieces.map(|(part, equals)| (Some(part), equals)).chain([(None, false)])
}

fn behind<'r>(raw: &'r str, text: &str) -> &'r str {
    raw.rsplit_once(text).map_or("", |(_, behind)| behind)
}

const fn is_punctuation(c: char) -> bool {
    is_end(c) || matches!(c, '?' | ':' | '(' | ')' | '[' | ']')
}

/// Whether it ends a clause.
const fn is_end(c: char) -> bool {
    matches!(c, ',' | ';' | '.' | '!' | '…' | '–' | '—')
}

/// `text` without diacritics, if it has any: `usługę` is `usluge`.
fn plain(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    // What no letter is written with, such as a stroke through a word, stays, and makes it another word.
    let plain: String = text.nfc().map(|c| if is_combining_mark(c) { c } else { bare(c) }).collect();
    (plain != text).then_some(plain)
}

/// A letter without its diacritics.
fn bare(letter: char) -> char {
    let letter = if letter == 'ł' { 'l' } else { letter };
    std::iter::once(letter).nfd().next().unwrap_or(letter)
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
