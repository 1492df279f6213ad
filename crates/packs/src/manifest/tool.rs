//! One `[[tools]]` of a manifest.

use super::section::{Fault, Section};
use super::{Shared, meaning, words};
use crate::command::Command;
use crate::declared::{Action, Declared};
use crate::http::Http;
use crate::kubernetes::Patch;
use crate::mcp::Mcp;
use crate::parameters::Parameters;
use crate::template::{Place, Template};
use astradesk_core::canonical::Digest;
use astradesk_core::{Effect, Target, ToolName, ToolSpec};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

const KEYS: &[&str] = &[
    "name",
    "description",
    "effect",
    "targets",
    "arguments",
    "optional",
    "timeout_seconds",
    "words",
    "summary",
    "http",
    "command",
    "kubernetes-patch",
    "mcp",
];
/// The kinds of tools.
const KINDS: [&str; 4] = ["http", "command", "kubernetes-patch", "mcp"];
/// The most targets of a call.
const MAX_TARGETS: usize = 8;
/// The longest text of a template, in bytes.
pub(crate) const MAX_TEMPLATE: usize = 16 << 10;
/// The time limit of a tool, in seconds: unless it says so, and at most.
const TIMEOUT: (u64, u64) = (30, 3600);

pub(super) fn read(number: usize, table: Map<String, Value>, shared: &Shared<'_>) -> Result<Declared, Fault> {
    let label = match table.get("name").and_then(Value::as_str) {
        Some(name) => format!("tool `{}`", astradesk_core::text::shown(name, 64)),
        None => format!("tool {number}"),
    };
    let meaning = meaning(&table);
    let mut tool = Section::new(label, table, KEYS)?;
    let name = tool.text("name", 64)?;
    let name = ToolName::parse(name).map_err(|error| tool.fault_of("name", error.message))?;
    let description = tool.text("description", 500)?;
    let effect = effect(&mut tool)?;
    let arguments = tool.table("arguments")?.unwrap_or_default();
    let optional = tool.texts("optional")?;
    let parameters =
        Parameters::read(arguments, &optional).map_err(|why| tool.fault(why.as_str()).colon())?;
    let timeout = Duration::from_secs(tool.number("timeout_seconds", TIMEOUT.0, 1..=TIMEOUT.1)?);
    let grammar = words::of_tool(&mut tool, &parameters)?;
    let summary =
        tool.text_if("summary")?.map(|text| template(&tool, "summary", &text, &parameters, Place::Seen));
    let summary = summary.transpose()?;
    let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| tool.has(kind)).collect();
    let action = match kinds.as_slice() {
        ["http"] => Action::Http(Box::new(Http::read(&mut tool, &parameters, effect, &shared.client)?)),
        ["command"] => Action::Command(Box::new(Command::read(&mut tool, &parameters)?)),
        ["kubernetes-patch"] => {
            Action::Patch(Box::new(Patch::read(&mut tool, &parameters, effect, shared.objects.clone())?))
        }
        ["mcp"] => Action::Mcp(Box::new(Mcp::read(&mut tool, &parameters, effect, shared.served.as_ref())?)),
        [] => return Err(tool.fault(format!("does nothing: add one of the tables {}", KINDS.join(", ")))),
        several => {
            return Err(tool.fault(format!("has several kinds, and must have one: {}", several.join(", "))));
        }
    };
    let targets = targets(&mut tool, &parameters, &action)?;
    let meaning = match (&action, &shared.served) {
        (Action::Mcp(mcp), Some(served)) => json!({"tool": meaning, "server": mcp.meaning(served)}),
        _ => meaning,
    };
    let digest = Digest::of_value(&meaning).to_string();
    let version = format!("{}+{}", shared.version, digest.get(..12).unwrap_or(&digest));
    let spec = Arc::new(ToolSpec {
        name,
        version,
        description,
        effect: Some(effect),
        input_schema: parameters.schema.clone(),
        timeout,
        grammar,
    });
    Ok(Declared { spec, parameters, targets, summary, action })
}

/// Reads a template of a tool.
pub(crate) fn template(
    section: &Section,
    key: &str,
    text: &str,
    parameters: &Parameters,
    place: Place,
) -> Result<Template, Fault> {
    if text.len() > MAX_TEMPLATE {
        return Err(section.fault_of(key, format!("it is longer than {MAX_TEMPLATE} bytes")));
    }
    let template = Template::parse(text).map_err(|why| section.fault_of(key, why))?;
    template.check(parameters, place).map_err(|why| section.fault_of(key, why))?;
    Ok(template)
}

fn effect(tool: &mut Section) -> Result<Effect, Fault> {
    let Some(effect) = tool.text_if("effect")? else {
        return Err(tool.fault("has no `effect`: say `read`, `write` or `execute`"));
    };
    let known = [Effect::Read, Effect::Write, Effect::Execute];
    known
        .into_iter()
        .find(|known| known.as_str() == effect)
        .ok_or_else(|| tool.fault_of("effect", "it must be `read`, `write` or `execute`"))
}

fn targets(tool: &mut Section, parameters: &Parameters, action: &Action) -> Result<Vec<Template>, Fault> {
    let texts = tool.texts("targets")?;
    if let Action::Patch(_) = action {
        return if texts.is_empty() {
            Ok(Vec::new())
        } else {
            Err(tool.fault_of("targets", "leave it out: the target is the object that is patched"))
        };
    }
    if texts.is_empty() || texts.len() > MAX_TARGETS {
        let why = format!("there are {}, and there must be 1 to {MAX_TARGETS}", texts.len());
        return Err(tool.fault_of("targets", why));
    }
    let read = |text: &String| {
        let template = template(tool, "targets", text, parameters, Place::Target)?;
        // The system and the kind are the author's: policies are written for them.
        let fixed = template.prefix();
        let parts: Vec<&str> = fixed.split('/').collect();
        let is_external = matches!(parts.as_slice(), [Target::EXTERNAL, system, kind, ..] if !system.is_empty() && !kind.is_empty());
        let name_is_one_part = parts.len() == 4 && text.matches('/').count() == 3;
        let example = text.replace(['{', '}'], "");
        if !is_external || !name_is_one_part || example.parse::<Target>().is_err() {
            let why = format!(
                "`{}` must be `external/SYSTEM/KIND/NAME`, with arguments in NAME only, such as \
                 `external/unleash/flag/{{flag}}`",
                astradesk_core::text::shown(text, 120)
            );
            return Err(tool.fault_of("targets", why));
        }
        Ok(template)
    };
    texts.iter().map(read).collect()
}

impl Fault {
    /// `tool `x` argument …` with a colon between.
    pub(super) fn colon(mut self) -> Self {
        if let Some(at) = self.message.find("` ") {
            self.message.replace_range(at..at + 2, "`: ");
        }
        self
    }
}
