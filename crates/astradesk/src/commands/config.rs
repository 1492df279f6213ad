//! `astradesk config`

use super::{Context, serve};
use crate::cli::{self, Output};
use crate::config::keys::KEYS;
use crate::config::{Config, load};
use crate::display::{self, Mark};
use crate::{app, exit};
use astradesk_core::Result;
use serde_json::{Map, Value, json};

pub(super) fn run(context: &Context, command: &cli::Config) -> Result<u8> {
    let (config, mut values) = load(&context.sources()?)?;
    if let Some((webhooks, _)) = values.get_mut("webhooks") {
        hide_paths(webhooks);
    }
    match (command, context.output) {
        (cli::Config::Check, output) => check(&config, output)?,
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

/// Whether a gateway would start with it, and what is doubtful about it.
fn check(config: &Config, output: Output) -> Result<()> {
    serve::webhooks(config)?;
    let warnings = app::doubts(config, &app::offline(config)?.0);
    if output == Output::Json {
        display::json(&json!({"valid": true, "warnings": warnings}));
        return Ok(());
    }
    display::mark(Mark::Good, "the configuration is valid");
    for warning in warnings {
        display::mark(Mark::Warning, display::words(&warning));
    }
    Ok(())
}

/// The path of a webhook's URL is a secret of some receivers.
fn hide_paths(webhooks: &mut toml::Value) {
    let tables = webhooks.as_array_mut().into_iter().flatten().filter_map(toml::Value::as_table_mut);
    for table in tables {
        let url =
            table.get("url").and_then(toml::Value::as_str).and_then(|url| reqwest::Url::parse(url).ok());
        if let Some(url) = url {
            let host = url.origin().ascii_serialization();
            table.insert("url".to_owned(), toml::Value::String(format!("{host}/…")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_webhook_the_host_is_shown_and_not_the_path() {
        let mut table: toml::Table =
            "webhooks = [{ name = \"a\", url = \"https://x.example:8443/hooks/T0/s3cret?k=v\" }]"
                .parse()
                .unwrap();
        hide_paths(table.get_mut("webhooks").unwrap());
        let shown = table.to_string();
        assert!(shown.contains("\"https://x.example:8443/…\"") && !shown.contains("s3cret"), "{shown}");
    }
}
