//! `pack.lock`: the definitions that a person has accepted, each with its digest.

use super::definition::Definition;
use astradesk_core::canonical::Digest;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The name of the file.
pub(crate) const FILE: &str = "pack.lock";

/// A definition that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pin {
    pub(crate) digest: Digest,
    pub(crate) definition: Definition,
}

/// What a server calls itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// What was accepted of a server.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Lock {
    /// What the server called itself then.
    pub(crate) server: Identity,
    /// By the tool's name in the server.
    pub(crate) pins: BTreeMap<String, Pin>,
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Identity,
    tools: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    digest: Digest,
    definition: Value,
}

impl Pin {
    pub(crate) fn of(definition: Definition) -> Self {
        Self { digest: definition.digest(), definition }
    }
}

impl Lock {
    /// Reads the text of the file of the folder `folder`.
    ///
    /// # Errors
    /// `pack.invalid`: it is no such file, or a definition is not the one that its digest says.
    pub(crate) fn read(folder: &str, text: &str) -> Result<Self> {
        let wrong = |why: String| {
            let message = format!("`{}/{FILE}`: {why}", shown(folder, 64));
            Error::new(Code::PackInvalid, message)
                .with_remedy("remove the file and accept the definitions again with `astradesk packs accept`")
        };
        let file: File = serde_json::from_str(text).map_err(|error| wrong(shown(&error.to_string(), 200)))?;
        let mut pins = BTreeMap::new();
        for (name, entry) in file.tools {
            let of = |why: &str| wrong(format!("tool `{}`: {why}", shown(&name, 128)));
            let definition = Definition::read(entry.definition).map_err(|why| of(&why))?;
            if definition.digest() != entry.digest || definition.name() != name {
                return Err(of("its definition is not the one that was accepted"));
            }
            pins.insert(name, Pin { digest: entry.digest, definition });
        }
        Ok(Self { server: file.server, pins })
    }

    /// The text of the file.
    pub(crate) fn text(&self) -> Result<String> {
        let entry = |pin: &Pin| Entry { digest: pin.digest, definition: pin.definition.as_value().clone() };
        let tools = self.pins.iter().map(|(name, pin)| (name.clone(), entry(pin))).collect();
        let file = File { server: self.server.clone(), tools };
        let text = serde_json::to_string_pretty(&file);
        text.map(|text| text + "\n").map_err(|error| Error::internal(format!("{FILE}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_read_as_it_was_written_and_no_other_way() {
        let definition =
            Definition::read(json!({"name": "act", "description": "acts", "inputSchema": {}})).unwrap();
        let server = Identity { name: "server".to_owned(), version: "1".to_owned() };
        let lock = Lock { server, pins: [("act".to_owned(), Pin::of(definition))].into() };
        let text = lock.text().unwrap();
        assert_eq!(Lock::read("x", &text).unwrap(), lock);
        for (from, to) in
            [("acts", "acts and more"), ("\"tools\"", "\"toolz\""), ("{", ""), ("\"act\": {", "\"other\": {")]
        {
            let error = Lock::read("x", &text.replacen(from, to, 1)).unwrap_err();
            assert_eq!(error.code, Code::PackInvalid);
            assert!(error.message.starts_with("`x/pack.lock`: "), "{}", error.message);
        }
    }
}
