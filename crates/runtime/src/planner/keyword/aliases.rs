//! Other words for names, as the configuration gives them.

use super::lexicon::Lexicon;
use super::words::{Word, keys};
use astradesk_core::name::ObjectName;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;

/// The most aliases.
const MAX_ALIASES: usize = 1024;
/// The most words of an alias.
const MAX_WORDS: usize = 4;

/// What people call services: `payments` for `payments-api`. An alias holds in the managed namespace, and there is none
/// that the configuration does not name.
#[derive(Debug, Default)]
pub struct Aliases {
    lexicon: Lexicon<String>,
    all: BTreeMap<String, String>,
}

impl Aliases {
    /// The aliases, each with the name that it stands for.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`]: there are too many, or one has no word, too many, or stands for what cannot be a name.
    pub fn new(aliases: &BTreeMap<String, String>) -> Result<Self> {
        if aliases.len() > MAX_ALIASES {
            let message = format!("there are {} aliases, and may be {MAX_ALIASES}", aliases.len());
            return Err(Error::new(Code::ConfigInvalid, message));
        }
        let mut lexicon = Lexicon::default();
        let mut names: BTreeMap<Vec<String>, &str> = BTreeMap::new();
        for (alias, name) in aliases {
            let wrong = |why: String| {
                let message = format!("the alias `{}` {why}", shown(alias, 64));
                Err(Error::new(Code::ConfigInvalid, message))
            };
            let words: Vec<String> = keys(alias).collect();
            if words.is_empty() || words.len() > MAX_WORDS {
                return wrong(format!("must have 1 to {MAX_WORDS} words"));
            }
            if ObjectName::parse(name).is_err() {
                return wrong(format!("stands for `{}`, which is no name of an object", shown(name, 64)));
            }
            if let Some(other) = names.insert(words, name) {
                return wrong(format!("is there twice, for `{other}` and for `{name}`"));
            }
            lexicon.add(alias, name.clone());
        }
        Ok(Self { lexicon, all: aliases.clone() })
    }

    /// Every alias with the name that it stands for.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all.iter().map(|(alias, name)| (alias.as_str(), name.as_str()))
    }

    /// The longest alias that begins where `range` does, as its length and the name.
    pub(super) fn longest(&self, words: &[Word], range: Range<usize>) -> Option<(usize, &str)> {
        let (length, names) = self.lexicon.longest(words, range)?;
        names.first().map(|name| (length, name.as_str()))
    }
}
