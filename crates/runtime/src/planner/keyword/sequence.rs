//! Clauses in order: which of them share the words that ask for the tool, and what one takes from those before it.

use super::action::{action, clause_text};
use super::clause::{Found, Known, Reading, listed};
use super::names::Inventory;
use super::sentence::{Clause, Joint};
use super::shown;
use super::vocabulary::{Piece, Vocabulary};
use super::words::Word;
use astradesk_core::name::ObjectName;
use astradesk_core::plan::MAX_CALLS;
use astradesk_core::tool::Form;
use astradesk_core::{Code, Effect, Error, Result};
use serde_json::Value;

/// Reads every clause. What was read before an error stays in `readings`.
pub(super) async fn read(
    (vocabulary, words): (&Vocabulary, &[Word]),
    clauses: &[Clause<'_, '_>],
    inventory: &mut Inventory<'_>,
    readings: &mut Vec<Reading>,
) -> Result<()> {
    let asked: Vec<_> = clauses.iter().map(|clause| action(words, clause.pieces)).collect::<Result<_>>()?;
    let Some(first) = asked.iter().flatten().next().cloned() else { return Ok(()) };
    let mut ahead: Vec<Reading> = Vec::new();
    for ((group, clause), own) in clauses.iter().enumerate().zip(asked) {
        let asks = own.is_some();
        let last = readings.last().map(|last| (last.tool.clone(), last.action.clone()));
        let (tool, said) = own.or(last).unwrap_or_else(|| first.clone());
        let read = |known: Option<Known<'_>>| {
            Reading::new((vocabulary, words, clause.pieces), (tool.clone(), said.clone()), known)
        };
        let mut reading = read(None)?;
        if says_where(&reading).is_none() && reading.name().is_some() {
            reading = read(inventory.known(&tool).await?)?;
        }
        reading.group = group;
        let says_more = says_more(&reading, clause.joint);
        match readings.last_mut() {
            _ if asks => {
                ahead.drain(..).try_for_each(|more| take_over(&mut reading, more))?;
                readings.push(reading);
            }
            Some(last) if says_more => take_over(last, reading)?,
            None if says_more => ahead.push(reading),
            Some(last) if reading.pronoun.is_none() && !reading.found.is_empty() => {
                reading.group = last.group;
                readings.push(reading);
            }
            _ => return Err(no_action(vocabulary, words, clause.pieces, &said)),
        }
        if readings.len() > MAX_CALLS {
            let message = format!("the input asks for more than {MAX_CALLS} steps, which is the limit");
            return Err(Error::new(Code::PlanTooLong, message));
        }
    }
    for at in 0..readings.len() {
        let (earlier, rest) = readings.split_at_mut(at);
        if let Some(reading) = rest.first_mut() {
            name(reading, earlier, inventory).await?;
        }
    }
    readings.chunk_by(|one, two| one.group == two.group).try_for_each(says_the_same_of_each)?;
    says_where_each_is(readings)?;
    readings.iter().try_for_each(is_whole)?;
    refuse_what_is_said_twice(readings)
}

fn no_action(vocabulary: &Vocabulary, words: &[Word], clause: &[Piece<'_>], action: &str) -> Error {
    let said = clause_text(words, clause);
    let message = format!("`{said}` names no action, so it is not clear what is to be done with it");
    Error::new(Code::PlanAmbiguous, message)
        .with_candidates(vocabulary.phrases().iter().cloned())
        .with_remedy(format!("say the action again if it is meant: `{} {said}`", shown(action)))
}

/// Whether a clause only says more of the one beside it: `restart webapp, in namespace shop`. What is joined by a word is
/// more of the same only where it cannot be another thing to do, as an option is: `and accept downtime`.
fn says_more(reading: &Reading, joint: Joint) -> bool {
    let fits = |(argument, _): &(String, String)| {
        let slot = reading.tool.grammar.slots.iter().find(|slot| slot.argument == *argument);
        slot.is_some_and(|slot| match (&slot.form, joint) {
            (_, Joint::Then) => false,
            (Form::OneOf(_) | Form::Flag(_), _) => !slot.locates,
            (_, Joint::And) => false,
            (_, Joint::Start | Joint::Stop) => true,
        })
    };
    let says_nothing_else = reading.pronoun.is_none() && reading.found.is_empty();
    says_nothing_else && !reading.said.is_empty() && reading.said.iter().all(fits)
}

fn take_over(last: &mut Reading, more: Reading) -> Result<()> {
    let said = more.said;
    for ((argument, value), (_, words)) in more.arguments.into_iter().zip(said) {
        last.set(&argument, value, words)?;
        last.more.push(argument);
    }
    Ok(())
}

/// The namespace that it says, if it says one: what is there is for the tool to look up.
fn says_where(reading: &Reading) -> Option<&Value> {
    reading.arguments.get("namespace")
}

/// Fills the slot that is a name: by the one word left over, or from the clauses before.
async fn name(reading: &mut Reading, earlier: &[Reading], inventory: &mut Inventory<'_>) -> Result<()> {
    let known = match says_where(reading) {
        Some(_) => None,
        None => inventory.known(&reading.tool).await?,
    };
    let mut found = reading.found.clone();
    found.iter_mut().filter(|_| known.is_none()).for_each(|found| found.alias_of = None);
    found.dedup();
    let Some(slot) = reading.name() else {
        let unclear = found.iter().map(|found| found.said.as_str()).chain(reading.pronoun.as_deref());
        return if unclear.clone().next().is_none() { Ok(()) } else { Err(reading.unclear(unclear)) };
    };
    let argument = slot.argument.clone();
    let required = slot.required;
    // What is elsewhere, the tool looks up; it must only be a name.
    let exists = |name: &str| known.map_or_else(|| ObjectName::parse(name).is_ok(), |known| known.has(name));
    let reads = reading.tool.effect == Some(Effect::Read);
    let (code, message) = match found.as_slice() {
        [one] if reading.pronoun.is_some() => {
            return Err(reading.unclear([one.said.as_str()].into_iter().chain(reading.pronoun.as_deref())));
        }
        [Found { said, alias_of: Some(name) }]
            if known.is_some_and(|known| known.has(said)) && name != said =>
        {
            (
                Code::PlanAmbiguousTarget,
                format!("`{}` is the name of a {argument} and an alias of `{name}`", shown(said)),
            )
        }
        [Found { said, alias_of }] if exists(alias_of.as_deref().unwrap_or(said)) => {
            let (name, said) = (alias_of.clone().unwrap_or_else(|| said.clone()), said.clone());
            return reading.set(&argument, Value::from(name), said);
        }
        [] if reading.pronoun.is_some() || (reads && required && !earlier.is_empty()) => {
            return refer(reading, &argument, earlier);
        }
        [] if !required => return Ok(()),
        [] => {
            let message =
                format!("`{}` needs a {argument}, which the input does not name", reading.tool.name);
            (Code::PlanMissingTarget, message)
        }
        [Found { said, alias_of: Some(name) }] => {
            let message =
                format!("`{}` stands for the {argument} `{name}`, which does not exist", shown(said));
            (Code::PlanUnknownTarget, message)
        }
        [one] => (Code::PlanUnknownTarget, format!("there is no {argument} `{}`", shown(&one.said))),
        many if known.is_some() && many.iter().all(|one| one.alias_of.is_some() || exists(&one.said)) => {
            let names = listed(many.iter().map(|one| one.said.as_str()));
            (Code::PlanAmbiguousTarget, format!("the input names more than one {argument}: {names}"))
        }
        many => {
            let is_name = |one: &&Found| known.is_some() && (one.alias_of.is_some() || exists(&one.said));
            return Err(reading.unclear(many.iter().filter(|one| !is_name(one)).map(|one| one.said.as_str())));
        }
    };
    let tried = found.first().map(|one| one.said.as_str());
    Err(inventory.offer(Error::new(code, message), &reading.tool, tried).await)
}

/// Takes the name, and where it is, from the clauses before, if they are about one thing only.
fn refer(reading: &mut Reading, argument: &str, earlier: &[Reading]) -> Result<()> {
    let slots = &reading.tool.grammar.slots;
    let wanted: Vec<&str> = slots
        .iter()
        .filter(|slot| slot.argument == argument || slot.locates)
        .map(|slot| slot.argument.as_str())
        .collect();
    let place = |of: &Reading| -> Vec<(String, Value)> {
        let said = wanted.iter().filter_map(|&slot| Some((slot.to_owned(), of.arguments.get(slot)?.clone())));
        said.collect()
    };
    let mut named = earlier.iter().filter(|of| of.arguments.contains_key(argument)).map(place);
    let said = reading.pronoun.clone().unwrap_or_else(|| reading.action.clone());
    let Some(first) = named.next() else {
        let message = format!("`{}` stands for nothing that was named before it", shown(&said));
        return Err(Error::new(Code::PlanMissingTarget, message));
    };
    if named.any(|other| other != first) {
        let message = format!("it is not clear which {argument} `{}` is about", shown(&said));
        return Err(Error::new(Code::PlanAmbiguousTarget, message));
    }
    let says_where_itself = says_where(reading).is_some();
    for (slot, value) in first {
        if slot == argument || !(says_where_itself || reading.arguments.contains_key(&slot)) {
            reading.set(&slot, value, said.clone())?;
        }
    }
    Ok(())
}

/// What is said of one of several is not said of the others: it must be said of each, or of none.
fn says_the_same_of_each(group: &[Reading]) -> Result<()> {
    let [first, others @ ..] = group else { return Ok(()) };
    let differs = |other: &Reading| {
        let only = |one: &Reading, two: &Reading| {
            one.said.iter().find(|(argument, _)| !two.arguments.contains_key(argument)).cloned()
        };
        only(first, other).or_else(|| only(other, first))
    };
    let Some((_, said)) = others.iter().find_map(differs) else { return Ok(()) };
    Err(of_each(&said))
}

/// Where something is that is said of one clause is not said of the others; nor is what has a clause of its own.
fn says_where_each_is(readings: &[Reading]) -> Result<()> {
    let locates = |of: &Reading, argument: &str| {
        of.tool.grammar.slots.iter().any(|slot| slot.argument == argument && slot.locates)
    };
    for reading in readings {
        for (argument, said) in &reading.said {
            let concerns_all = locates(reading, argument) || reading.more.contains(argument);
            let could = |of: &&Reading| of.tool.grammar.slots.iter().any(|slot| slot.argument == *argument);
            let says = |of: &Reading| of.arguments.contains_key(argument);
            if concerns_all && readings.iter().filter(could).any(|of| !says(of)) {
                return Err(of_each(said));
            }
        }
    }
    Ok(())
}

fn of_each(said: &str) -> Error {
    let message = format!("it is not clear whether `{}` is said of each or of one only", shown(said));
    Error::new(Code::PlanAmbiguous, message).with_remedy("say it of each, or as separate requests")
}

/// Nobody means to change the same thing twice in a row.
fn refuse_what_is_said_twice(readings: &[Reading]) -> Result<()> {
    for (at, one) in readings.iter().enumerate() {
        let same = |other: &Reading| other.tool.name == one.tool.name && other.arguments == one.arguments;
        if one.tool.effect != Some(Effect::Read) && readings.iter().skip(at + 1).any(same) {
            let message = format!("`{}` is asked for twice, of the same", one.tool.name);
            return Err(Error::new(Code::PlanAmbiguous, message).with_remedy("say it once"));
        }
    }
    Ok(())
}

fn is_whole(reading: &Reading) -> Result<()> {
    let Some(slot) = reading.missing().next() else { return Ok(()) };
    let message = format!("`{}` needs `{}`, which the input does not say", reading.tool.name, slot.argument);
    Err(Error::new(Code::PlanMissingTarget, message))
}
