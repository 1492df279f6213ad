//! What people write in YAML: what is wrong with it is said with its line, and what is unknown with what is near.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use serde::de::{
    self, Deserialize, DeserializeOwned, Deserializer, IntoDeserializer, SeqAccess, Unexpected, Visitor,
};
use serde::ser::{Serialize, Serializer};
use serde_saphyr::Spanned;

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Error {
    /// Counted from one.
    pub line: u64,
    /// What is wrong there.
    pub what: String,
}

/// Reads a text of one or more documents.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, Error> {
    serde_saphyr::from_multiple(text).map_err(|error| explain(&error))
}

fn explain(error: &serde_saphyr::Error) -> Error {
    let line = error.location().map_or(1, |location| location.line());
    let what = match error.without_snippet() {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => unknown("key", field, expected),
        serde_saphyr::Error::SerdeUnknownVariant { variant, expected, .. } => {
            unknown("value", variant, expected)
        }
        other => {
            let text = other.to_string();
            text.split(" at line ").next().unwrap_or(&text).trim_end_matches(':').to_owned()
        }
    };
    Error { line, what }
}

/// An error about a value that was read.
pub(crate) fn at<T>(value: &Spanned<T>, what: impl Into<String>) -> Error {
    Error { line: value.referenced.line(), what: what.into() }
}

/// Says that a word is none of those that are known, and which of them is near.
pub(crate) fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    let word: String = word.chars().take(80).collect();
    let near = known.iter().map(|known| (strsim::jaro_winkler(&word, known), known));
    let nearest = near.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, nearest)) => format!("unknown {what} `{word}`: did you mean `{nearest}`?"),
        None => format!("unknown {what} `{word}`: known are {}", known.join(", ")),
    }
}

/// A time as people write it: `250ms`, `30s`, `1m 30s`; at most a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
        let fits = parsed.filter(|span| *span <= Duration::from_hours(24));
        let expected = "a time of at most a day, such as `250ms`, `30s` or `1m 30s`";
        fits.map(Span).ok_or_else(|| de::Error::invalid_value(Unexpected::Str(&text), &expected))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", SignedDuration::try_from(self.0).unwrap_or_default())
    }
}

/// A list; one item may stand for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Many<T>(pub(crate) Vec<T>);

impl<T> Default for Many<T> {
    fn default() -> Many<T> {
        Many(Vec::new())
    }
}

impl<T> Many<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Serialize> Serialize for Many<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

/// How many items a list may have.
const ITEMS: usize = 100;

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Many<T>, D::Error> {
        struct One<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for One<T> {
            type Value = Many<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a text or a list of at most {ITEMS} texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Many<T>, E> {
                T::deserialize(text.into_deserializer()).map(|one| Many(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Many<T>, A::Error> {
                let mut many = Vec::new();
                while let Some(item) = items.next_element()? {
                    many.push(item);
                    if many.len() > ITEMS {
                        return Err(de::Error::invalid_length(many.len(), &self));
                    }
                }
                Ok(Many(many))
            }
        }

        deserializer.deserialize_any(One(std::marker::PhantomData))
    }
}
