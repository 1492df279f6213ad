//! `astradesk tools`

use super::Context;
use crate::cli::Output;
use crate::{display, exit};
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result};
use serde_json::Value;

pub(super) async fn run(context: &Context, name: Option<String>) -> Result<u8> {
    let door = context.door().await?;
    let tools = door.tools().await;
    door.close().await;
    let tools = tools?;
    let text = |tool: &Value, key: &str| tool.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(name) = name {
        let tool = tools.iter().find(|tool| text(tool, "name") == name).ok_or_else(|| {
            let message = format!("there is no tool `{}`, or you may not use it", shown(&name, 80));
            Error::new(Code::ToolNotFound, message)
                .with_candidates(tools.iter().map(|tool| text(tool, "name")))
        })?;
        display::json(tool);
        return Ok(exit::DONE);
    }
    if context.output == Output::Json {
        display::json(&tools);
    } else if tools.is_empty() {
        display::note("no tool that you may use");
    } else {
        for tool in &tools {
            display::line(format!(
                "{:<20} {:<8} {}",
                display::words(&text(tool, "name")),
                display::words(&text(tool, "effect")),
                display::words(&text(tool, "description"))
            ));
        }
    }
    Ok(exit::DONE)
}
