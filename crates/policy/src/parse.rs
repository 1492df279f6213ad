//! From the text of a file to policies that have a name and a place.

use crate::source::invalid;
use astradesk_core::text::shown;
use astradesk_core::{Error, Result};
use cedar_policy::{Policy, PolicyId, PolicySet};
use miette::Diagnostic;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// What the names of built-in policies begin with, and no other's may.
pub(crate) const BUILTIN: &str = "builtin.";
/// The longest name, in characters.
const MAX_ID: usize = 128;
/// The longest part of Cedar's own words that an error repeats, in characters.
const MAX_WORDS: usize = 400;

/// Where a policy stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is made from the settings.
    BuiltIn,
    /// It begins in this line of this file.
    File(Arc<str>, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("the built-in policies"),
            Self::File(name, line) => write!(f, "{name}:{line}"),
        }
    }
}

/// A policy that can be read, with its name, not yet checked against the schema.
#[derive(Debug, Clone)]
pub(crate) struct Parsed {
    /// The policy; its id is its name.
    pub(crate) policy: Policy,
    /// Where it stands.
    pub(crate) place: Place,
}

/// Reads the built-in policies.
pub(crate) fn built_in(text: &str) -> Result<Vec<Parsed>> {
    let set: PolicySet = text
        .parse()
        .map_err(|error: cedar_policy::ParseErrors| invalid(format!("built-in policies: {error}")))?;
    let named = set.policies().map(|policy| {
        let id = policy.annotation("id").unwrap_or_default();
        Parsed { policy: policy.new_id(PolicyId::new(id)), place: Place::BuiltIn }
    });
    Ok(named.collect())
}

/// Reads the policies of a file. Each has the name that its `@id` says, else its file and line.
///
/// # Errors
/// `policy.set_invalid` with file and line.
pub(crate) fn file(name: &str, text: &str) -> Result<Vec<Parsed>> {
    let set: PolicySet = text.parse().map_err(|error: cedar_policy::ParseErrors| {
        let line = line_of(&error, text).unwrap_or(1);
        at(name, line, &error)
    })?;
    if let Some(template) = set.templates().next() {
        let line = line_at(text, text.find(&template.to_cedar()).unwrap_or(0));
        return Err(invalid(format!(
            "{name}:{line}: a policy with `?principal` or `?resource` applies to nothing"
        )));
    }
    let file: Arc<str> = name.into();
    let mut parsed = Vec::with_capacity(set.num_of_policies());
    let mut policies: Vec<&Policy> = set.policies().collect();
    // Cedar numbers the policies of a text from 0: `policy0`, `policy1`, …
    policies.sort_by_key(|policy| number(policy));
    let mut from = 0;
    for policy in policies {
        let own = policy.to_cedar().unwrap_or_default();
        let begin = text.get(from..).and_then(|rest| rest.find(&own)).map_or(from, |found| from + found);
        from = begin + own.len();
        let place = Place::File(file.clone(), line_at(text, begin));
        let id = match policy.annotation("id") {
            Some(id) => checked_id(id).map_err(|why| invalid(format!("{place}: {why}")))?,
            None => place.to_string(),
        };
        parsed.push(Parsed { policy: policy.new_id(PolicyId::new(id)), place });
    }
    Ok(parsed)
}

/// Puts policies into one set.
///
/// # Errors
/// `policy.set_invalid` when two have the same name, with both places.
pub(crate) fn together(all: &[Parsed]) -> Result<(PolicySet, HashMap<String, Place>)> {
    let mut set = PolicySet::new();
    let mut places: HashMap<String, Place> = HashMap::with_capacity(all.len());
    for Parsed { policy, place } in all {
        let id = policy.id().to_string();
        if let Some(other) = places.insert(id.clone(), place.clone()) {
            let text = format!("{place}: the name `{id}` is taken by a policy at {other}");
            return Err(invalid(text).with_remedy("give each policy an `@id(\"…\")` of its own"));
        }
        set.add(policy.clone()).map_err(|error| invalid(format!("{place}: {error}")))?;
    }
    Ok((set, places))
}

/// What is wrong with a policy, with its place and Cedar's words.
pub(crate) fn fault(place: &Place, text: Option<&str>, error: &(impl Diagnostic + fmt::Display)) -> Error {
    match (place, text) {
        (Place::File(name, begin), Some(text)) => at(name, line_of(error, text).unwrap_or(*begin), error),
        (Place::File(name, begin), None) => at(name, *begin, error),
        (Place::BuiltIn, _) => invalid(format!("built-in policies: {error}")),
    }
}

fn at(name: &str, line: usize, error: &(impl Diagnostic + fmt::Display)) -> Error {
    let words = shown(&error.to_string(), MAX_WORDS);
    let text = format!("{name}:{line}: {words}");
    match error.help() {
        Some(help) => invalid(text).with_remedy(shown(&help.to_string(), MAX_WORDS)),
        None => invalid(text),
    }
}

fn line_of(error: &impl Diagnostic, text: &str) -> Option<usize> {
    error.labels()?.next().map(|label| line_at(text, label.offset()))
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn number(policy: &Policy) -> usize {
    policy
        .id()
        .to_string()
        .strip_prefix("policy")
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(usize::MAX)
}

fn checked_id(id: &str) -> Result<String, String> {
    let length = id.chars().count();
    if length == 0 || length > MAX_ID || shown(id, MAX_ID) != id || id.trim() != id {
        let shown = shown(id, 32);
        return Err(format!("`{shown}` is no name for a policy: 1 to {MAX_ID} printable characters"));
    }
    if id.starts_with(BUILTIN) {
        return Err(format!("`{id}` begins with `{BUILTIN}`, which only built-in policies do"));
    }
    Ok(id.to_owned())
}
