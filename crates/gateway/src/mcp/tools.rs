//! `tools/list`: every tool that who asks may use, with what is true of it.

use super::fault;
use super::page::page;
use super::result::{self, object};
use astradesk_core::{Effect, Principal, ToolName};
use astradesk_runtime::Engine;
use astradesk_runtime::registry::Registered;
use rmcp::ErrorData;
use rmcp::model::{ListToolsResult, MetaObject, PaginatedRequestParams, Tool, ToolAnnotations};
use serde_json::json;
use std::sync::Arc;

/// Tools in one page, resources of packs, or prompts.
pub(super) const PAGE: usize = 100;

/// The tools that the principal may use on some target, by name. The cursor is the name of the page's last one.
pub(super) fn list(
    engine: &Engine,
    principal: &Principal,
    request: Option<&PaginatedRequestParams>,
) -> Result<ListToolsResult, ErrorData> {
    let after = request.and_then(|request| request.cursor.as_deref()).map(ToolName::parse).transpose();
    let after = after.map_err(|_| fault::malformed("`cursor` is none that this server has given"))?;
    let tools = engine.tools(principal);
    let after = after.as_ref().map(ToolName::as_str);
    let (tools, next) = page(&tools, |tool| tool.spec().name.as_str(), after, PAGE);
    let mut page = ListToolsResult::with_all_items(tools.iter().map(described).collect());
    page.next_cursor = next;
    Ok(page)
}

fn described(tool: &Arc<Registered>) -> Tool {
    let spec = tool.spec();
    let meta = json!({
        "dev.astradesk/effect": tool.effect,
        "dev.astradesk/pack": tool.pack,
        "dev.astradesk/version": spec.version,
    });
    Tool::new(spec.name.to_string(), spec.description.clone(), tool.input_schema.clone())
        .with_title(title(spec.name.as_str()))
        .with_raw_output_schema(result::schema())
        .with_annotations(annotations(tool.effect))
        .with_meta(MetaObject::from(object(meta)))
}

/// What the effect says of the tool. A write may always replace what is there, and repeating one does it again: only
/// the same idempotency key makes a repetition safe. What a write can reach are the targets that policy decides on;
/// of `execute` nobody knows.
fn annotations(effect: Effect) -> ToolAnnotations {
    let read = effect == Effect::Read;
    ToolAnnotations::new()
        .read_only(read)
        .destructive(!read)
        .idempotent(read)
        .open_world(effect == Effect::Execute)
}

/// `restart_service` → `Restart service`
fn title(name: &str) -> String {
    let mut letters = name.chars().map(|c| if c == '_' { ' ' } else { c });
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_tell_the_truth_of_an_effect() {
        for (effect, read, open) in
            [(Effect::Read, true, false), (Effect::Write, false, false), (Effect::Execute, false, true)]
        {
            let said = annotations(effect);
            let hints =
                [said.read_only_hint, said.destructive_hint, said.idempotent_hint, said.open_world_hint];
            assert_eq!(hints, [Some(read), Some(!read), Some(read), Some(open)], "{effect:?}");
        }
    }

    #[test]
    fn a_name_makes_a_title() {
        assert_eq!(title("restart_service"), "Restart service");
        assert_eq!(title("x"), "X");
    }
}
