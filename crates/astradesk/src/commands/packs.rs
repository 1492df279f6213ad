//! `astradesk packs`

mod accept;

use super::Context;
use crate::cli::{Output, Packs};
use crate::display::{self, Mark, words};
use crate::exit;
use astradesk_core::{Error, Result};
use astradesk_packs::DeclaredPack;
use astradesk_packs::case::{self, Outcome};
use astradesk_packs::scaffold::{self, Typed};
use astradesk_runtime::port::{Pack as _, PackStatus, ServerStatus};
use serde_json::json;
use std::path::Path;

pub(super) async fn run(context: &Context, command: Option<Packs>) -> Result<u8> {
    match command.unwrap_or(Packs::List) {
        Packs::List => list(context).await,
        Packs::New { name, mcp, program } => new(context, &name, mcp, program).await,
        Packs::Accept { pack, tool, digest } => {
            accept::run(context, &pack, tool.as_deref(), digest.as_deref()).await
        }
        Packs::Check { dir } => Ok(check(context, &dir)),
        Packs::Test { dir } => Ok(test(context, &dir)),
    }
}

async fn list(context: &Context) -> Result<u8> {
    let door = context.door().await?;
    let packs = door.packs().await;
    door.close().await;
    let packs = packs?;
    if context.output == Output::Json {
        display::json(&json!({"packs": packs}));
        return Ok(exit::DONE);
    }
    if packs.is_empty() {
        display::note("no pack of which you may use a tool");
    }
    packs.iter().for_each(show);
    Ok(exit::DONE)
}

fn show(pack: &PackStatus) {
    let out = pack.server.as_ref().and_then(|server| server.problem.as_ref());
    let mark = match (pack.problem.as_ref().or(out), pack.doubts.is_empty() && pack.disabled.is_empty()) {
        (Some(_), _) => Mark::Bad,
        (None, false) => Mark::Warning,
        (None, true) => Mark::Good,
    };
    let version = pack.version.as_ref().map_or_else(|| "not in force".to_owned(), |version| words(version));
    let origin = match (&pack.digest, &pack.since) {
        (Some(digest), Some(since)) => {
            format!("  {} since {since:.0}", display::policy::short(&digest.to_string()))
        }
        _ if pack.version.is_some() => "  compiled in".to_owned(),
        _ => String::new(),
    };
    display::mark(mark, format!("{:<20} {version}{origin}", words(&pack.name)));
    if !pack.tools.is_empty() {
        let tools: Vec<&str> = pack.tools.iter().map(astradesk_core::ToolName::as_str).collect();
        display::note(format!("  {}", tools.join(", ")));
    }
    show_readings(&pack.resources, &pack.prompts);
    if let Some(server) = &pack.server {
        show_server(server);
    }
    for fault in pack.disabled.values() {
        show_problem(fault, "");
        let difference = fault.details.get("difference").and_then(serde_json::Value::as_array);
        for place in difference.into_iter().flatten().filter_map(serde_json::Value::as_str) {
            display::note(format!("    {}", words(place)));
        }
    }
    if let Some(problem) = &pack.problem {
        let kept = if pack.version.is_some() { "; the one before it stays in force" } else { "" };
        show_problem(problem, kept);
    }
    for doubt in &pack.doubts {
        display::note(format!("  {}", words(doubt)));
    }
}

/// What agents can read of a pack.
fn show_readings(resources: &[String], prompts: &[String]) {
    for (what, names) in [("resource", resources), ("prompt", prompts)] {
        for name in names {
            display::note(format!("  {what} {}", words(name)));
        }
    }
}

fn show_server(server: &ServerStatus) {
    let version = |name: &String| format!("{name} {}", server.version.as_deref().unwrap_or_default());
    let what = server.name.as_ref().map_or_else(|| "nothing was seen of it yet".to_owned(), version);
    display::note(format!("  server `{}`: {}", words(&server.address), words(&what)));
    if let Some(accepted) = &server.accepted {
        display::note(format!("  its definitions were accepted when it was {}", words(accepted)));
    }
    if let Some(problem) = &server.problem {
        show_problem(problem, "");
    }
}

fn show_problem(problem: &Error, more: &str) {
    display::note(format!("  {} {}{more}", problem.code, words(&problem.message)));
    display::note(format!("  → {}", words(&problem.remedy)));
}

async fn new(context: &Context, name: &str, mcp: Option<String>, program: Vec<String>) -> Result<u8> {
    let here = Path::new("");
    let server = mcp.map(Typed::Url).or_else(|| (!program.is_empty()).then_some(Typed::Argv(program)));
    let (folder, tools) = match server {
        Some(server) => {
            scaffold::of_server(here, name, &server).await.map(|(folder, tools)| (folder, Some(tools)))?
        }
        None => (scaffold::new(here, name)?, None),
    };
    let shown = folder.display();
    match (context.output, tools) {
        (Output::Json, _) => display::json(&json!({"folder": folder, "tools": tools})),
        (Output::Text, Some(tools)) => {
            display::mark(Mark::Good, format!("`{shown}` has the {tools} tools of the server"));
            display::note(format!(
                "  → say in {shown}/pack.toml what each of them does, and remove what nobody needs"
            ));
            display::note(format!("  → astradesk packs check {shown} && astradesk packs accept {shown}"));
        }
        (Output::Text, None) => {
            display::mark(Mark::Good, format!("`{shown}` is a pack to begin with"));
            display::note(format!("  → astradesk packs check {shown} && astradesk packs test {shown}"));
        }
    }
    Ok(exit::DONE)
}

fn check(context: &Context, dir: &Path) -> u8 {
    let pack = match case::check(dir) {
        Ok(pack) => pack,
        Err(error) => {
            display::error(&error, context.output);
            return exit::FAILED;
        }
    };
    match context.output {
        Output::Json => display::json(&json!({
            "valid": true, "name": pack.name(), "version": pack.version(), "digest": pack.digest(), "tools": pack.specs(),
            "resources": pack.resource_uris(), "prompts": pack.prompt_names(),
            "disabled": pack.disabled(),
        })),
        Output::Text => show_checked(&pack),
    }
    exit::DONE
}

fn show_checked(pack: &DeclaredPack) {
    let (name, version) = (words(pack.name()), words(pack.version()));
    let digest = pack.digest().to_string();
    display::mark(
        Mark::Good,
        format!("`{name}` {version} is valid; digest {}", display::policy::short(&digest)),
    );
    for spec in pack.specs() {
        let effect = spec.effect.map_or("none", astradesk_core::Effect::as_str);
        display::note(format!("  {:<24} {effect:<8} {}", spec.name, words(&spec.description)));
    }
    show_readings(&pack.resource_uris(), &pack.prompt_names());
    let disabled = pack.disabled();
    if let Some(fault) = disabled.values().next() {
        let names: Vec<&str> = disabled.keys().map(astradesk_core::ToolName::as_str).collect();
        display::mark(
            Mark::Warning,
            format!("disabled, as their definitions were never accepted: {}", names.join(", ")),
        );
        display::note(format!("  → {}", words(&fault.remedy)));
    }
}

fn test(context: &Context, dir: &Path) -> u8 {
    let tried = match case::test(dir) {
        Ok(tried) => tried,
        Err(error) => {
            display::error(&error, context.output);
            return exit::FAILED;
        }
    };
    let failed = tried.failed();
    match context.output {
        Output::Json => display::json(&json!({
            "pack": tried.pack, "failed": failed, "cases": tried.cases, "untried": tried.untried,
        })),
        Output::Text => {
            tried.cases.iter().for_each(show_case);
            for tool in &tried.untried {
                display::mark(Mark::Warning, format!("no case calls `{tool}`"));
            }
            let mark = if failed == 0 { Mark::Good } else { Mark::Bad };
            display::mark(mark, format!("{} cases, {failed} failed", tried.cases.len()));
        }
    }
    if failed == 0 { exit::DONE } else { exit::FAILED }
}

fn show_case(case: &Outcome) {
    let mark = if case.faults.is_empty() { Mark::Good } else { Mark::Bad };
    display::mark(mark, words(&case.name));
    for fault in &case.faults {
        display::note(format!("  {}", words(fault)));
    }
}
