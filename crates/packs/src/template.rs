//! Templates: a text in which `{argument}` stands for the value of an argument.
//!
//! | in braces | stands for |
//! |---|---|
//! | `{name}` | the argument: a text as it is, a number or a truth value as JSON writes it |
//! | `{run.id}`, `{run.step}` | the run, and its step from 0 |
//! | `{env:NAME}`, `{file:/path}` | a secret, where secrets may stand |
//! | `{{`, `}}` | a brace |
//!
//! There is nothing else: no condition, no loop, no nesting. What a value is put into decides what it may be.

use crate::parameters::{Parameter, Parameters};
use crate::secret::Secrets;
use astradesk_core::{Arguments, Code, Error, Result, RunId};
use astradesk_runtime::secret::Secret;
use serde_json::Value;

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Text that its author wrote.
    Text(String),
    /// The value of an argument.
    Argument(String),
    /// The run's id.
    Run,
    /// The step's number.
    Step,
    /// A secret.
    Secret(Secret),
}

/// A text with places for values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// What may stand in a template, besides arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Only required arguments that may be seen: what policy decides on.
    Target,
    /// Arguments that may be seen: what is logged by others, such as a URL.
    Seen,
    /// Arguments, also `writeOnly` ones, and the run.
    Plain,
    /// The same, and secrets.
    Secret,
    /// Secrets only: what a connection to a server has, which is there for many runs.
    Connection,
}

/// For whom a template is filled in.
pub(crate) enum For<'a> {
    /// For who asks what would be done: secrets and `writeOnly` arguments are hidden.
    Preview,
    /// For a step. The secrets that are looked up are kept, to be taken out of what comes back.
    Step(RunId, usize, &'a mut Secrets),
    /// For a connection to a server, likewise.
    Connection(&'a mut Secrets),
}

/// Where the values come from.
pub(crate) struct Values<'a> {
    pub(crate) parameters: &'a Parameters,
    pub(crate) arguments: &'a Arguments,
    pub(crate) purpose: For<'a>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A sentence on what is wrong: a brace without its other one, or something in braces that means nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("it has a NUL character".to_owned());
        }
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
                plain.extend(from.chars().next());
                rest = after;
                continue;
            }
            let within =
                from.strip_prefix('{').ok_or("it has a `}` without a `{`: write `}}` for a brace")?;
            let (name, after) =
                within.split_once('}').ok_or("it has a `{` without a `}`: write `{{` for a brace")?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::parse(name)?);
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// Whether it has no place for a value.
    pub(crate) fn is_fixed(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// Whether it has a secret.
    pub(crate) fn has_secret(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Secret(_)))
    }

    /// The text before the first value.
    pub(crate) fn prefix(&self) -> &str {
        match self.0.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// The argument, if it is nothing but one.
    pub(crate) fn whole(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Argument(name)] => Some(name),
            _ => None,
        }
    }

    /// Checks that what stands in braces may stand there, and always has a value.
    pub(crate) fn check(&self, parameters: &Parameters, place: Place) -> Result<(), String> {
        for piece in &self.0 {
            match piece {
                Piece::Argument(name) => {
                    let parameter = parameters.known(name)?;
                    self.check_argument(name, parameter, place)?;
                }
                Piece::Run | Piece::Step
                    if matches!(place, Place::Target | Place::Seen | Place::Connection) =>
                {
                    return Err("the run cannot stand here".to_owned());
                }
                Piece::Secret(secret) if !matches!(place, Place::Secret | Place::Connection) => {
                    return Err(format!(
                        "the secret `{secret}` cannot stand here: put it into a header, the environment or `stdin`"
                    ));
                }
                Piece::Text(_) | Piece::Run | Piece::Step | Piece::Secret(_) => {}
            }
        }
        Ok(())
    }

    fn check_argument(&self, name: &str, parameter: &Parameter, place: Place) -> Result<(), String> {
        let _ = self;
        if !parameter.is_text() {
            return Err(format!(
                "`{{{name}}}` cannot stand in a text: its type must be one of `string`, `integer`, `number`, `boolean`"
            ));
        }
        if !parameter.required && parameter.default.is_none() {
            return Err(format!("`{{{name}}}` may have no value: require it, or give it a `default`"));
        }
        if place == Place::Target && !parameter.required {
            return Err(format!("`{{{name}}}` is part of a target, so it must be required"));
        }
        if parameter.write_only && matches!(place, Place::Target | Place::Seen) {
            return Err(format!("`{{{name}}}` is `writeOnly` and would be seen here"));
        }
        Ok(())
    }

    /// The text with every value in its place, each as `fit` makes it fit.
    pub(crate) fn fill(
        &self,
        values: &mut Values<'_>,
        fit: impl Fn(&str) -> Result<String>,
    ) -> Result<String> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Argument(name) => {
                    filled.push_str(&fit(&values.text(name)?).map_err(|error| of(error, name))?);
                }
                Piece::Run => filled.push_str(&values.run()),
                Piece::Step => filled.push_str(&values.step()),
                Piece::Secret(secret) => filled.push_str(&values.secret(secret)?),
            }
        }
        Ok(filled)
    }

    /// The same with every value as it is.
    pub(crate) fn fill_plain(&self, values: &mut Values<'_>) -> Result<String> {
        self.fill(values, |value| Ok(value.to_owned()))
    }
}

/// The same refusal, with the name of the argument.
fn of(error: Error, argument: &str) -> Error {
    Error { message: format!("`{argument}` {}", error.message), ..error }
}

/// An argument's value does not fit where it is to be put.
pub(crate) fn unfit(why: impl Into<String>) -> Error {
    Error::new(Code::ToolArgumentsInvalid, why).with_remedy("give a value without it")
}

impl Piece {
    fn parse(name: &str) -> Result<Self, String> {
        if let Some(secret) = Secret::parse(name) {
            return secret.map(Self::Secret);
        }
        match name {
            "run.id" => Ok(Self::Run),
            "run.step" => Ok(Self::Step),
            name if is_argument_name(name) => Ok(Self::Argument(name.to_owned())),
            name => Err(format!(
                "`{{{}}}` means nothing: write the name of an argument, `run.id`, `run.step`, `env:NAME` or `file:/PATH`",
                astradesk_core::text::shown(name, 64)
            )),
        }
    }
}

/// Whether it can be the name of an argument: 1 to 64 letters, digits and `_`, beginning with a lower-case letter.
pub(crate) fn is_argument_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl Values<'_> {
    /// The value of an argument: what was given, else its default.
    pub(crate) fn value(&self, name: &str) -> Option<Value> {
        let given = self.arguments.get(name).cloned();
        let parameter = self.parameters.get(name)?;
        let value = given.or_else(|| parameter.default.clone())?;
        let hidden = parameter.write_only && matches!(self.purpose, For::Preview);
        Some(if hidden { "[redacted]".into() } else { value })
    }

    fn text(&self, name: &str) -> Result<String> {
        match self.value(name) {
            Some(Value::String(text)) => Ok(text),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => {
                Err(Error::new(Code::ToolArgumentsInvalid, format!("`{name}` has no value that is a text")))
            }
        }
    }

    fn run(&self) -> String {
        match &self.purpose {
            For::Preview | For::Connection(_) => "RUN".to_owned(),
            For::Step(run, ..) => run.to_string(),
        }
    }

    fn step(&self) -> String {
        match &self.purpose {
            For::Preview | For::Connection(_) => "STEP".to_owned(),
            For::Step(_, step, _) => step.to_string(),
        }
    }

    fn secret(&mut self, secret: &Secret) -> Result<String> {
        match &mut self.purpose {
            For::Preview => Ok(format!("[secret {secret}]")),
            For::Step(_, _, secrets) | For::Connection(secrets) => secrets.look_up(secret),
        }
    }
}
