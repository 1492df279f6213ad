//! The names that there are, asked once a sentence.

use super::aliases::Aliases;
use super::clause::Known;
use crate::port::Names;
use astradesk_core::text::near;
use astradesk_core::tool::Form;
use astradesk_core::{Error, Result, ToolName, ToolSpec};
use std::collections::HashMap;

/// The names that each tool may be asked for.
pub(super) struct Inventory<'n> {
    names: &'n dyn Names,
    aliases: &'n Aliases,
    asked: HashMap<ToolName, Option<Vec<String>>>,
}

impl<'n> Inventory<'n> {
    pub(super) fn new(names: &'n dyn Names, aliases: &'n Aliases) -> Self {
        Self { names, aliases, asked: HashMap::new() }
    }

    /// The names for a tool; `None` for a principal who may not use it.
    pub(super) async fn known(&mut self, tool: &ToolSpec) -> Result<Option<Known<'_>>> {
        if !self.asked.contains_key(&tool.name) {
            let names = match argument(tool) {
                Some(argument) => self.names.candidates(&tool.name, argument).await?,
                None => None,
            };
            self.asked.insert(tool.name.clone(), names);
        }
        let names = self.asked.get(&tool.name).and_then(Option::as_deref);
        Ok(names.map(|names| Known { names, aliases: self.aliases }))
    }

    /// The error with the names that the principal may use the tool on, and those that may have been meant.
    pub(super) async fn offer(&self, error: Error, tool: &ToolSpec, tried: Option<&str>) -> Error {
        let known = self.asked.get(&tool.name).and_then(Option::as_deref).unwrap_or_default();
        let permitted = self.names.permitted(&tool.name, argument(tool).unwrap_or_default(), known).await;
        let meant = tried.map(|tried| near(tried, &permitted)).unwrap_or_default();
        let error = error.with_candidates(permitted.clone());
        match meant.as_slice() {
            [] => error,
            [one] => error.with_remedy(format!("say `{one}` if that is what you mean")),
            several => error.with_remedy(format!("say which you mean: `{}`", several.join("`, `"))),
        }
    }
}

fn argument(tool: &ToolSpec) -> Option<&str> {
    let name = tool.grammar.slots.iter().find(|slot| slot.form == Form::Name)?;
    Some(&name.argument)
}
