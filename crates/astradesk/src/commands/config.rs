//! `astradesk config`

use super::Context;
use crate::cli::{self, Output};
use crate::config::keys::KEYS;
use crate::config::load;
use crate::{display, exit};
use astradesk_core::Result;
use serde_json::{Map, Value, json};

pub(super) fn run(context: &Context, command: &cli::Config) -> Result<u8> {
    let (_, values) = load(&context.sources()?)?;
    match (command, context.output) {
        (cli::Config::Check, Output::Json) => display::json(&json!({"valid": true})),
        (cli::Config::Check, Output::Text) => {
            display::mark(display::Mark::Good, "the configuration is valid");
        }
        (cli::Config::Show, Output::Json) => {
            let shown: Map<String, Value> = values
                .iter()
                .map(|(path, (value, origin))| {
                    ((*path).to_owned(), json!({"value": value, "origin": origin}))
                })
                .collect();
            display::json(&shown);
        }
        (cli::Config::Show, Output::Text) => {
            for key in KEYS {
                let Some((value, origin)) = values.get(key.path) else { continue };
                display::line(format!("{} = {value}", key.path));
                let env = key.env.first().map(|env| format!(" · {env}")).unwrap_or_default();
                display::note(format!("    {}{env} · from: {origin}", key.meaning));
            }
        }
    }
    Ok(exit::DONE)
}
