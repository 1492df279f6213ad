//! The words of sentences: those that ask for a tool, and those of a language.

use super::section::{Fault, Section};
use crate::parameters::Parameters;
use astradesk_core::ToolName;
use astradesk_core::text::shown;
use astradesk_core::tool::{Form, Grammar, Measure, Slot};
use astradesk_runtime::planner::Language;
use serde_json::{Map, Value};

/// The keys of a tool's words.
const WORDS: &[&str] = &["phrases", "nouns", "fillers", "after", "before", "measures"];
/// The keys of the words that a language has for a tool.
const TOOL_OF_LANGUAGE: &[&str] = &["phrases", "nouns", "fillers", "after", "before"];
/// The keys of a language.
const LANGUAGE: &[&str] = &[
    "name",
    "negations",
    "conditions",
    "questions",
    "openings",
    "conjunctions",
    "sequences",
    "firsts",
    "lasts",
    "courtesies",
    "greetings",
    "determiners",
    "genitives",
    "requests",
    "pronouns",
    "possessives",
    "looks",
    "quantities",
    "tools",
];
/// The most phrases that ask for a tool, and the most words beside a value.
const MAX_PHRASES: usize = 16;
/// The most fillers of a tool.
const MAX_FILLERS: usize = 64;
/// The most entries of one kind in a language.
const MAX_ENTRIES: usize = 256;

/// The words that ask for a tool, and for each argument the words beside it.
pub(super) fn of_tool(tool: &mut Section, parameters: &Parameters) -> Result<Grammar, Fault> {
    let Some(mut words) = tool.section("words", WORDS)? else { return Ok(Grammar::default()) };
    let measures = words.table_of_texts("measures")?;
    let mut grammar = grammar(&mut words)?;
    for slot in &mut grammar.slots {
        let parameter = parameters.known(&slot.argument).map_err(|why| words.fault_of("after", why))?;
        slot.required = parameter.required;
        let measure = measures.iter().find(|(argument, _)| *argument == slot.argument);
        let said = match (measure.map(|(_, measure)| measure.as_str()), parameter.kind()) {
            (None, "string") => Measure::Word,
            (None | Some("number"), "integer") => Measure::Number,
            (Some("percentage"), "integer") => Measure::Percentage,
            (Some("duration"), "string") => Measure::Duration,
            (None, kind) => {
                let why =
                    format!("`{}` is a {kind}, and a sentence can say texts and integers", slot.argument);
                return Err(words.fault_of("after", why));
            }
            (Some(measure), kind) => {
                let why = format!(
                    "`{}` is a {kind} and cannot be a `{}`: a text may be a `duration`, an integer a `number` or a `percentage`",
                    slot.argument,
                    shown(measure, 32)
                );
                return Err(words.fault_of("measures", why));
            }
        };
        if let Form::Value { of, before, .. } = &mut slot.form {
            *of = said;
            if said == Measure::Word && !before.is_empty() {
                let why = format!(
                    "`{}` is a text: only what is measured can stand before its words",
                    slot.argument
                );
                return Err(words.fault_of("before", why));
            }
        }
    }
    let is_said = |name: &str| grammar.slots.iter().any(|slot| slot.argument == name);
    if let Some((name, _)) = measures.iter().find(|(name, _)| !is_said(name)) {
        return Err(
            words.fault_of("measures", format!("`{}` has no words in `after` or `before`", shown(name, 64)))
        );
    }
    let unsaid = parameters.iter().find(|(name, one)| one.required && !is_said(name));
    if let Some((name, _)) = unsaid {
        let why = format!(
            "no sentence could say `{name}`, which is required: give it words here, or leave `words` out"
        );
        return Err(words.fault_of("after", why));
    }
    Ok(grammar)
}

/// The words of a language.
pub(super) fn language(table: Map<String, Value>) -> Result<Language, Fault> {
    let mut section = Section::new("a language", table, LANGUAGE)?;
    let name = section.text("name", 16)?;
    let mut section = section.at(format!("language `{}`", shown(&name, 16)));
    let mut entries = |key: &str| {
        let phrases = section.texts(key)?;
        if phrases.len() > MAX_ENTRIES || !phrases.iter().all(|phrase| is_plain(phrase)) {
            return Err(section.fault_of(key, format!("there may be {MAX_ENTRIES}, in lower case")));
        }
        Ok(phrases)
    };
    let mut language = Language {
        name,
        negations: entries("negations")?,
        conditions: entries("conditions")?,
        questions: entries("questions")?,
        openings: entries("openings")?,
        conjunctions: entries("conjunctions")?,
        sequences: entries("sequences")?,
        firsts: entries("firsts")?,
        lasts: entries("lasts")?,
        courtesies: entries("courtesies")?,
        greetings: entries("greetings")?,
        determiners: entries("determiners")?,
        genitives: entries("genitives")?,
        requests: entries("requests")?,
        possessives: entries("possessives")?,
        pronouns: entries("pronouns")?,
        looks: entries("looks")?,
        quantities: entries("quantities")?,
        ..Language::default()
    };
    for (tool, words) in section.table("tools")?.unwrap_or_default() {
        let place = format!("language `{}`, tool `{}`", shown(&language.name, 16), shown(&tool, 64));
        let name = ToolName::parse(&tool).map_err(|error| section.fault_of("tools", error.message))?;
        let Value::Object(words) = words else {
            return Err(section.fault_of("tools", format!("`{tool}` is no table")));
        };
        language.tools.push((name, grammar(&mut Section::new(place, words, TOOL_OF_LANGUAGE)?)?));
    }
    Ok(language)
}

/// Phrases, fillers and slots; what each slot must be is for its tool to say.
fn grammar(words: &mut Section) -> Result<Grammar, Fault> {
    let (phrases, fillers) = (words.texts("phrases")?, words.texts("fillers")?);
    if !(1..=MAX_PHRASES).contains(&phrases.len()) || !phrases.iter().all(|phrase| is_plain(phrase)) {
        let why =
            format!("there must be 1 to {MAX_PHRASES}, in lower case, with single spaces between words");
        return Err(words.fault_of("phrases", why));
    }
    let nouns = words.texts("nouns")?;
    if let Some(other) = nouns.iter().find(|noun| !phrases.contains(noun)) {
        return Err(words.fault_of("nouns", format!("`{}` is none of the phrases", shown(other, 64))));
    }
    if fillers.len() > MAX_FILLERS || !fillers.iter().all(|filler| is_plain(filler)) {
        return Err(words.fault_of("fillers", format!("there may be {MAX_FILLERS}, in lower case")));
    }
    let mut slots: Vec<Slot> = Vec::new();
    for key in ["after", "before"] {
        for (argument, beside) in words.table(key)?.unwrap_or_default() {
            let texts: Option<Vec<String>> = beside
                .as_array()
                .and_then(|all| all.iter().map(|text| text.as_str().map(str::to_owned)).collect());
            let texts = texts.filter(|texts| {
                (1..=MAX_PHRASES).contains(&texts.len()) && texts.iter().all(|text| is_plain(text))
            });
            let Some(texts) = texts else {
                let why = format!("`{argument}` must have 1 to {MAX_PHRASES} texts in lower case");
                return Err(words.fault_of(key, why));
            };
            let known = slots.iter().position(|slot| slot.argument == argument);
            let place = known.unwrap_or(slots.len());
            if known.is_none() {
                let form = Form::Value { of: Measure::Word, after: Vec::new(), before: Vec::new() };
                slots.push(Slot { argument, form, required: false, locates: false });
            }
            if let Some(Form::Value { after, before, .. }) = slots.get_mut(place).map(|slot| &mut slot.form) {
                if key == "after" { *after = texts } else { *before = texts }
            }
        }
    }
    Ok(Grammar { phrases, nouns, slots, fillers })
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text.split(' ').all(|word| !word.is_empty())
        && text == text.to_lowercase()
}
