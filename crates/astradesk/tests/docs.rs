//! The pages that speak of the command line and its configuration say what the program says.
//!
//! `ASTRADESK_UPDATE_DOCS=1 cargo nextest run -p astradesk --test docs` writes the table of keys anew.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

use astradesk::config::keys::KEYS;
use astradesk::config::{Config, Sources, load};
use astradesk_core::{Code, Guardrail};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

const BEGIN: &str = "<!-- keys -->\n";
const END: &str = "<!-- /keys -->\n";

fn page(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// The keys as a table.
fn table() -> String {
    let mut table = String::from("| key | environment | default | meaning |\n|---|---|---|---|\n");
    for key in KEYS {
        let environment: Vec<String> = key.env.iter().map(|name| format!("`{name}`")).collect();
        let environment = if environment.is_empty() { "–".to_owned() } else { environment.join(", ") };
        let meaning = key.meaning.replace('|', "\\|");
        writeln!(table, "| `{}` | {environment} | `{}` | {meaning} |", key.path, key.default).unwrap();
    }
    table
}

#[test]
fn the_page_of_the_configuration_has_every_key() {
    let path = page("configuration.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = written.split_once(BEGIN).unwrap();
    let (table_written, after) = rest.split_once(END).unwrap();
    let table = table();
    if std::env::var_os("ASTRADESK_UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(table_written, table, "configuration.md is not what the keys say: write it anew");
}

/// Errors that need neither a cluster nor a gateway: the program ends as the page of errors says.
#[test]
fn the_exit_codes_are_those_of_the_page_of_errors() {
    let errors = std::fs::read_to_string(page("errors.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wrong.toml"), "[server]\nlissten = \"x\"\n").unwrap();
    std::fs::write(folder.path().join("broken.jsonl"), "nothing\n").unwrap();
    let cases: [(&str, &[&str]); 4] = [
        ("config.invalid", &["--config", "wrong.toml", "config", "check"]),
        ("evidence.broken", &["audit", "verify", "--file", "broken.jsonl"]),
        ("server.unreachable", &["--server", "http://127.0.0.1:1", "runs"]),
        ("request.malformed", &["--server", "http://127.0.0.1:1", "runs", "show", "x"]),
    ];
    for (code, arguments) in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_astradesk"))
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .env("HOME", folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(code), "{arguments:?} says {said}");
        let section = errors.split_once(&format!("`{code}`\n")).unwrap().1;
        let exit = format!("exit code {}.", output.status.code().unwrap());
        let line = section.lines().find(|line| line.starts_with("HTTP ")).unwrap();
        assert!(line.contains(&exit), "`{code}` ends with {exit} and the page says: {line}");
    }
}

/// The examples of a page in this language.
fn examples(name: &str, language: &str) -> Vec<String> {
    let written = std::fs::read_to_string(page(name)).unwrap();
    let begin = format!("```{language}\n");
    let blocks = written.split(&begin).skip(1);
    blocks.map(|block| block.split("\n```").next().unwrap().to_owned()).collect()
}

fn configured(toml: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("astradesk.toml");
    std::fs::write(&file, toml).unwrap();
    let sources = Sources { file: Some(file), ..Sources::default() };
    load(&sources).map_or_else(|error| unreachable!("{error}:\n{toml}"), |(config, _)| config)
}

#[test]
fn the_examples_of_the_configuration_are_read() {
    let issuers_and_webhooks = examples("configuration.md", "toml");
    let read: Vec<Config> = issuers_and_webhooks.iter().map(|toml| configured(toml)).collect();
    assert!(read.iter().any(|config| !config.auth.issuers.is_empty()));
    assert!(read.iter().any(|config| config.webhooks.len() == 2));
    let guardrails = examples("guardrails.md", "toml");
    let names = |config: &Config| {
        config.guardrails.iter().map(|Guardrail { name, .. }| name.clone()).collect::<Vec<_>>()
    };
    let all: Vec<String> = guardrails.iter().flat_map(|toml| names(&configured(toml))).collect();
    assert_eq!(all.len(), 7, "{all:?}");
}

/// Policies on the pages fit the schema.
#[test]
fn the_examples_of_policies_are_valid() {
    for (name, text) in ["ansible.md", "cli.md", "guardrails.md"]
        .iter()
        .flat_map(|name| examples(name, "cedar").into_iter().map(move |text| (*name, text)))
    {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("page.cedar"), &text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_astradesk"))
            .args(["policy", "check", "."])
            .current_dir(folder.path())
            .env_clear()
            .env("HOME", folder.path())
            .env("ASTRADESK_ANSIBLE_FOLDER", folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{name}: {said}\n{text}");
    }
}

/// Every guardrail's code stands on its page, with its remedy.
#[test]
fn the_page_of_guardrails_has_every_code_with_its_remedy() {
    let written = std::fs::read_to_string(page("guardrails.md")).unwrap();
    for code in Code::ALL.iter().filter(|code| code.as_str().starts_with("guard.")) {
        let row = written.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{code}`")));
        let row = row.unwrap_or_else(|| unreachable!("docs/guardrails.md has no `{code}`"));
        assert!(row.contains(code.remedy()), "`{code}` on the page has another remedy: {}", code.remedy());
    }
}
