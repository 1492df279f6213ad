//! One `[[resources]]` or `[[prompts]]` of a manifest.

use super::section::{Fault, Section};
use super::tool::template;
use crate::parameters::Parameters;
use crate::prompt::{DeclaredPrompt, Said};
use crate::resource::{Body, DeclaredResource, Uri, content};
use crate::source::Source;
use crate::template::{Place, Template};
use astradesk_core::ToolName;
use astradesk_core::text::shown;
use astradesk_runtime::port::{About, PromptArgument, Resource as _, Speaker};
use astradesk_runtime::schema::Schema;
use serde_json::{Map, Value, json};
use std::sync::Arc;

const RESOURCE: &[&str] = &["uri", "name", "title", "description", "tools", "mime_type", "text", "file"];
const PROMPT: &[&str] = &["name", "title", "description", "tools", "arguments", "messages"];
const MESSAGE: &[&str] = &["role", "text", "image", "mime_type", "resource"];
/// The most messages of a prompt.
const MAX_MESSAGES: usize = 16;
/// The longest URI, in characters.
const MAX_URI: usize = 512;
/// The longest text, in bytes.
const MAX_TEXT: usize = 256 << 10;

/// Reads a resource.
pub(super) fn resource(
    number: usize,
    table: Map<String, Value>,
    source: &Source,
) -> Result<DeclaredResource, Fault> {
    let mut section = section("resource", "uri", number, table, RESOURCE)?;
    let text = section.text("uri", MAX_URI)?;
    let uri = Uri::parse(&text).map_err(|why| section.fault_of("uri", why))?;
    let about = about(&mut section)?;
    let mime_type = mime_type(&mut section)?;
    let (text, file) = (section.text_if("text")?, section.text_if("file")?);
    let body = match (text, file) {
        (Some(text), None) => {
            let parameters = places(&section, &uri)?;
            Body::Text(long_template(&section, "text", &text, &parameters)?, parameters)
        }
        (None, Some(file)) if uri.places().is_empty() => {
            Body::File(content(source.file(&file).map_err(|why| section.fault_of("file", why))?))
        }
        (None, Some(_)) => {
            return Err(section.fault_of("file", "a template of URIs has a `text`: a file is as it is"));
        }
        _ => return Err(section.fault("must have one of `text` and `file`")),
    };
    Ok(DeclaredResource { about, uri, mime_type, body })
}

/// The places of a URI as arguments of its text.
fn places(section: &Section, uri: &Uri) -> Result<Parameters, Fault> {
    let text = json!({"type": "string"});
    let arguments = uri.places().iter().map(|place| (place.clone(), text.clone())).collect();
    Parameters::read(arguments, &[]).map_err(|why| section.fault_of("uri", why))
}

/// Reads a prompt.
pub(super) fn prompt(
    number: usize,
    table: Map<String, Value>,
    source: &Source,
    resources: &[Arc<DeclaredResource>],
) -> Result<DeclaredPrompt, Fault> {
    let mut section = section("prompt", "name", number, table, PROMPT)?;
    let about = about(&mut section)?;
    let tables = section.table("arguments")?.unwrap_or_default();
    let arguments = arguments(&section, &tables)?;
    let parameters = Parameters::read(tables, &[]).map_err(|why| section.fault(why.as_str()).colon())?;
    let schema = Schema::compile(&parameters.schema).map_err(|why| section.fault(why))?;
    let messages = match section.value("messages") {
        Some(Value::Array(messages)) if (1..=MAX_MESSAGES).contains(&messages.len()) => messages,
        _ => {
            let why = format!("there must be 1 to {MAX_MESSAGES}: write `[[prompts.messages]]`");
            return Err(section.fault_of("messages", why));
        }
    };
    let place = format!("prompt `{}`, message", about.name);
    let each = (1..).zip(messages).map(|(number, message)| match message {
        Value::Object(table) => {
            let mut message = Section::new(format!("{place} {number}"), table, MESSAGE)?;
            self::message(&mut message, &parameters, source, resources)
        }
        _ => Err(section.fault_of("messages", format!("number {number} is no table"))),
    });
    let messages = each.collect::<Result<_, _>>()?;
    Ok(DeclaredPrompt { about, parameters, schema, arguments, messages, resources: resources.to_vec() })
}

fn message(
    message: &mut Section,
    parameters: &Parameters,
    source: &Source,
    resources: &[Arc<DeclaredResource>],
) -> Result<(Speaker, Said), Fault> {
    let by = match message.text_if("role")?.as_deref() {
        None | Some("user") => Speaker::User,
        Some("assistant") => Speaker::Assistant,
        Some(_) => return Err(message.fault_of("role", "it must be `user` or `assistant`")),
    };
    let (text, image) = (message.text_if("text")?, message.text_if("image")?);
    let said = match (text, image, message.text_if("resource")?) {
        (Some(text), None, None) => Said::Text(long_template(message, "text", &text, parameters)?),
        (None, Some(image), None) => {
            let mime_type = mime_type(message)?;
            if !mime_type.starts_with("image/") {
                return Err(message.fault_of("mime_type", "an image has one that begins with `image/`"));
            }
            Said::Image(source.file(&image).map_err(|why| message.fault_of("image", why))?, mime_type)
        }
        (None, None, Some(uri)) => {
            let template = template(message, "resource", &uri, parameters, Place::Seen)?;
            if template.is_fixed() && !resources.iter().any(|resource| resource.read(&uri).is_some()) {
                let why = format!("the pack has no resource `{}`", shown(&uri, 120));
                return Err(message.fault_of("resource", why));
            }
            Said::Resource(template)
        }
        _ => return Err(message.fault("must have one of `text`, `image` and `resource`")),
    };
    if message.has("mime_type") {
        return Err(message.fault_of("mime_type", "only an image has one"));
    }
    Ok((by, said))
}

/// What is told of the arguments; each is a text.
fn arguments(section: &Section, tables: &Map<String, Value>) -> Result<Vec<PromptArgument>, Fault> {
    let one = |(name, schema): (&String, &Value)| {
        if schema.get("type").and_then(Value::as_str) != Some("string") || schema.get("writeOnly").is_some() {
            let why =
                format!("`{}` must have `type = \"string\"`, and cannot be `writeOnly`", shown(name, 64));
            return Err(section.fault_of("arguments", why));
        }
        let values = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
        Ok(PromptArgument {
            name: name.clone(),
            description: schema.get("description").and_then(Value::as_str).map(str::to_owned),
            required: schema.get("default").is_none(),
            values: values.filter_map(Value::as_str).map(str::to_owned).collect(),
        })
    };
    tables.iter().map(one).collect()
}

/// The table of a resource or a prompt, which is called by one of its keys, or by its number.
fn section(
    what: &str,
    key: &str,
    number: usize,
    table: Map<String, Value>,
    keys: &[&str],
) -> Result<Section, Fault> {
    let label = match table.get(key).and_then(Value::as_str) {
        Some(name) => format!("{what} `{}`", shown(name, 120)),
        None => format!("{what} {number}"),
    };
    Section::new(label, table, keys)
}

fn about(section: &mut Section) -> Result<About, Fault> {
    let name = section.text("name", 64)?;
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) {
        return Err(section.fault_of("name", "it must have letters, digits, `_`, `-` and `.` only"));
    }
    let title = if section.has("title") { Some(section.text("title", 120)?) } else { None };
    let description = section.text("description", 500)?;
    let tools = section.texts("tools")?.into_iter().map(ToolName::parse).collect::<Result<_, _>>();
    let tools = tools.map_err(|error| section.fault_of("tools", error.message))?;
    Ok(About { name, title, description, tools })
}

fn mime_type(section: &mut Section) -> Result<String, Fault> {
    let text = section.text("mime_type", 100)?;
    let is_token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    match text.split_once('/') {
        Some((kind, subkind)) if is_token(kind) && is_token(subkind) => Ok(text),
        _ => Err(section.fault_of("mime_type", "it must be a media type, such as `text/markdown`")),
    }
}

/// A template that may be as long as a document.
fn long_template(
    section: &Section,
    key: &str,
    text: &str,
    parameters: &Parameters,
) -> Result<Template, Fault> {
    if text.len() > MAX_TEXT {
        return Err(section.fault_of(key, format!("it is longer than {MAX_TEXT} bytes: put it into a file")));
    }
    let long = Template::parse(text).map_err(|why| section.fault_of(key, why))?;
    long.check(parameters, Place::Seen).map_err(|why| section.fault_of(key, why))?;
    Ok(long)
}
