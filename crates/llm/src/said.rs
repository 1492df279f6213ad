//! The words of the sentence, and whether a value stands in it.

use serde_json::Number;
use std::collections::{BTreeMap, HashSet};

/// A sentence, taken apart.
#[derive(Debug, Clone)]
pub struct Said {
    /// Lower case.
    text: String,
    /// The words in order, lower case, without the punctuation around them. Addresses of the web are no words.
    words: Vec<String>,
    known: HashSet<String>,
    /// What is said by another word: the name, and the alias that stands for it.
    aliases: BTreeMap<String, String>,
}

impl Said {
    /// Takes a sentence apart.
    pub fn of(sentence: &str) -> Self {
        let text = sentence.to_lowercase();
        let mut words = Vec::new();
        for part in text.split_whitespace().filter(|part| !part.contains("://")) {
            words.extend(part.split(|c| !is_word(c)).map(trimmed).filter(|word| !word.is_empty()));
        }
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let known = words.iter().cloned().collect();
        Self { text, words, known, aliases: BTreeMap::new() }
    }

    /// With those of the aliases that the sentence says, each with the name that it stands for.
    pub fn with_aliases<'a>(mut self, aliases: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        for (alias, name) in aliases {
            if self.says_phrase(alias) {
                self.aliases.insert(name.to_owned(), alias.to_owned());
            }
        }
        self
    }

    /// The names that are said by another word, with that word.
    pub fn aliases(&self) -> &BTreeMap<String, String> {
        &self.aliases
    }

    /// Whether the sentence says the name, or an alias of it.
    pub fn names(&self, name: &str) -> bool {
        self.says(name) || self.aliases.contains_key(name)
    }

    /// Whether the value stands in the sentence as a word, or as words next to each other; in whichever case.
    pub fn says(&self, value: &str) -> bool {
        let value = value.to_lowercase();
        if value.is_empty() {
            return false;
        }
        if value.chars().all(is_word) {
            return self.known.contains(&value);
        }
        let apart = |c: Option<char>| c.is_none_or(|c| !is_word(c));
        self.text.match_indices(&value).any(|(at, _)| {
            let (before, after) = (self.text.get(..at), self.text.get(at + value.len()..));
            apart(before.and_then(|text| text.chars().next_back())) && after.is_some_and(ends_here)
        })
    }

    /// Whether the words stand in the sentence next to each other, whatever is between them.
    pub fn says_phrase(&self, phrase: &str) -> bool {
        let phrase: Vec<String> = phrase.split_whitespace().map(str::to_lowercase).collect();
        !phrase.is_empty() && self.words.windows(phrase.len()).any(|words| words == phrase)
    }

    /// Whether the number stands in the sentence, in digits.
    pub fn says_number(&self, number: &Number) -> bool {
        let wanted = number.as_f64();
        let exact = number.to_string();
        self.words.iter().any(|word| {
            *word == exact || (is_plain_number(word) && word.parse().ok() == wanted && wanted.is_some())
        })
    }

    /// Whether the duration, such as `5m`, stands in the sentence, as that or as `5 minutes`.
    pub fn says_duration(&self, value: &str) -> bool {
        let Some(wanted) = duration(value) else { return false };
        let alone = self.words.iter().filter_map(|word| duration(word));
        let pairs = self.words.windows(2).filter_map(|pair| match pair {
            [count, unit] => seconds(count, unit),
            _ => None,
        });
        alone.chain(pairs).any(|said| said == wanted)
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Without what punctuation and dashes leave at the ends; the sign of a number stays.
fn trimmed(word: &str) -> &str {
    let word = word.trim_end_matches(['.', '-']);
    let bare = word.trim_start_matches(['.', '-']);
    let signed = word.len() == bare.len() + 1 && word.starts_with('-');
    if signed && bare.starts_with(|c: char| c.is_ascii_digit()) { word } else { bare }
}

/// Whether a word ends before `rest`: a full stop ends one unless something follows it at once.
fn ends_here(rest: &str) -> bool {
    let rest = rest.trim_start_matches('.');
    rest.chars().next().is_none_or(|c| !is_word(c))
}

fn is_plain_number(word: &str) -> bool {
    let digits = word.strip_prefix('-').unwrap_or(word);
    !digits.is_empty() && digits.len() <= 20 && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// `90s`, `5m`, `1h`: its seconds.
fn duration(word: &str) -> Option<u64> {
    let unit = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let count = word.strip_suffix(unit).filter(|_| !unit.is_empty())?;
    seconds(count, unit)
}

fn seconds(count: &str, unit: &str) -> Option<u64> {
    let whole = (1..=6).contains(&count.len()) && count.bytes().all(|b| b.is_ascii_digit());
    let count: u64 = count.parse().ok().filter(|_| whole)?;
    let each = match unit {
        "s" | "sec" | "secs" | "second" | "seconds" | "sek" | "sekund" | "sekundy" | "sekundę" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" | "minut" | "minuty" | "minutę" => 60,
        "h" | "hour" | "hours" | "godz" | "godzin" | "godziny" | "godzinę" => 3600,
        "d" | "day" | "days" | "dni" | "dzień" => 86_400,
        _ => return None,
    };
    Some(count * each)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_said_as_a_word_and_not_as_a_part_of_one() {
        let said =
            Said::of("Bounce WebApp, payments-api and deployment/cart (now). See https://x.example/ledger!");
        for (value, expected) in [
            ("webapp", true),
            ("WEBAPP", true),
            ("payments-api", true),
            ("cart", true),
            ("deployment/cart", true),
            ("payments", false),
            ("api", false),
            ("web", false),
            ("ledger", false),
            ("https://x.example/ledger", true),
            ("payments-api and", true),
            ("payments-api an", false),
            ("", false),
            (" ", false),
        ] {
            assert_eq!(said.says(value), expected, "{value}");
        }
        // A name in other letters that look the same is another name.
        assert!(!Said::of("restart p\u{430}yments").says("payments"));
        assert!(!Said::of("restart web.app").says("web") && Said::of("restart web.").says("web"));
        assert!(Said::of("the webapp's pods").says("webapp"));
    }

    #[test]
    fn phrases_numbers_and_durations() {
        let said =
            Said::of("scale cart-2 to 3 replicas by -5, 50% within 5 minutes; accept   downtime, 90s, v1.2.");
        assert!(said.says_phrase("accept downtime") && !said.says_phrase("downtime accept"));
        for (number, expected) in [
            ("3", true),
            ("3.0", true),
            ("50", true),
            ("-5", true),
            ("5", true),
            ("2", false),
            ("1.2", false),
            ("7", false),
        ] {
            assert_eq!(said.says_number(&number.parse().unwrap()), expected, "{number}");
        }
        assert!(!Said::of("by -5").says_number(&"5".parse().unwrap()));
        for (value, expected) in [
            ("5m", true),
            ("300s", true),
            ("90s", true),
            ("3m", false),
            ("50m", false),
            ("5h", false),
            ("m", false),
            ("5", false),
        ] {
            assert_eq!(said.says_duration(value), expected, "{value}");
        }
        assert!(Said::of("czekaj 2 godziny").says_duration("2h"));
    }
}
