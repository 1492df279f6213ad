//! What was said, word by word.

use super::shown;
use astradesk_core::{Code, Error, Result};
use std::ops::Range;

/// One word, lower case, without the punctuation around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// Whether a comma or semicolon follows.
    pub(super) ends_clause: bool,
    /// Whether a question mark follows.
    pub(super) asks: bool,
}

/// The words of `input`.
pub(super) fn words(input: &str) -> Result<Vec<Word>> {
    let mut words = Vec::new();
    for raw in input.split_whitespace() {
        let quoted = raw.chars().any(|c| matches!(c, '"' | '“' | '”' | '„' | '`' | '«' | '»'))
            || raw.starts_with(['\'', '‘'])
            || raw.ends_with(['\'', '’']);
        if quoted {
            return Err(Error::new(
                Code::PlanNotInstruction,
                format!("`{}` is quoted, and a quotation is not an instruction", shown(raw)),
            ));
        }
        let text = raw.trim_matches(|c: char| matches!(c, ',' | ';' | '.' | '!' | '?' | ':' | '(' | ')'));
        let after = if text.is_empty() { raw } else { raw.rsplit_once(text).map_or("", |(_, after)| after) };
        let ends_clause = after.contains([',', ';']);
        let asks = after.contains('?');
        if text.is_empty() {
            if let Some(last) = words.last_mut() {
                let last: &mut Word = last;
                last.ends_clause |= ends_clause;
                last.asks |= asks;
            }
            continue;
        }
        words.push(Word { text: text.to_lowercase().replace('’', "'"), ends_clause, asks });
    }
    Ok(words)
}

/// The words of a range, joined.
pub(super) fn text(words: &[Word], range: &Range<usize>) -> String {
    let said: Vec<&str> =
        words.get(range.clone()).unwrap_or_default().iter().map(|w| w.text.as_str()).collect();
    said.join(" ")
}
