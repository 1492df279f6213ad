//! The sentences, read from their file.

use astradesk_core::{Arguments, Code};
use serde_json::Value;

/// A sentence and what it must become.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its class, such as `restart-pl`; those that must not act begin with `not-`.
    pub class: String,
    /// Its line in the file, from 1.
    pub line: usize,
    /// What is said.
    pub sentence: String,
    /// What it must become.
    pub expected: Expected,
}

/// What a sentence must become.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// These calls, in this order.
    Plan(Vec<(String, Arguments)>),
    /// A refusal with one of these codes.
    Refusal(Vec<Code>),
}

impl Case {
    /// Whether nothing may be planned.
    pub fn must_not_act(&self) -> bool {
        matches!(self.expected, Expected::Refusal(_))
    }
}

/// Reads the file.
///
/// # Errors
/// The number of the line, and what is wrong with it.
pub fn read(text: &str) -> Result<Vec<Case>, String> {
    let mut class = String::new();
    let mut cases = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if let Some(name) = text.strip_prefix("# class: ") {
            name.clone_into(&mut class);
        } else if !text.trim().is_empty() && !text.starts_with('#') {
            let case = case(line, &class, text).map_err(|why| format!("line {line}: {why}"))?;
            cases.push(case);
        }
    }
    Ok(cases)
}

fn case(line: usize, class: &str, text: &str) -> Result<Case, String> {
    let (sentence, expected) = text.rsplit_once(" => ").ok_or("there is no ` => `")?;
    let expected = match expected.strip_prefix("! ") {
        Some(codes) => {
            Expected::Refusal(codes.split('|').map(|code| read_code(code.trim())).collect::<Result<_, _>>()?)
        }
        None => {
            Expected::Plan(expected.split(';').map(|call| read_call(call.trim())).collect::<Result<_, _>>()?)
        }
    };
    if class.starts_with("not-") != matches!(expected, Expected::Refusal(_)) {
        return Err(format!("the class `{class}` does not fit `{text}`"));
    }
    Ok(Case { class: class.to_owned(), line, sentence: sentence.replace("\\n", "\n"), expected })
}

fn read_code(code: &str) -> Result<Code, String> {
    Code::parse(code).ok_or_else(|| format!("there is no code `{code}`"))
}

fn read_call(call: &str) -> Result<(String, Arguments), String> {
    let mut words = call.split_whitespace();
    let tool = words.next().ok_or("a call names no tool")?;
    let argument = |word: &str| {
        let (name, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is not NAME=VALUE"))?;
        let number_or_truth = serde_json::from_str::<Value>(value).ok().filter(|value| !value.is_null());
        Ok::<_, String>((name.to_owned(), number_or_truth.unwrap_or_else(|| Value::from(value))))
    };
    Ok((tool.to_owned(), words.map(argument).collect::<Result<_, _>>()?))
}
