//! Every command, with what it is authorized by: a table that is reviewed, and fails when a command is missing.
#![allow(clippy::unwrap_used, reason = "tests: a failed unwrap is a failed test")]

use clap::{Command, CommandFactory as _};

/// What a command may do is decided by:
///
/// - `engine`: the Engine, embedded or behind a gateway: policy decides on the principal, and what is done or
///   refused is recorded;
/// - `runs`: the Engine: one's own runs, those that one can approve, and those of others for who may see them;
/// - `approver`: the Engine: never who asked, nor an agent for them; a role that counts; recorded either way;
/// - `evidence`: the Engine: who may read the evidence;
/// - `state folder`: who may read and write the state folder of this machine, which is its owner only;
/// - `nothing`: it shows or checks what its caller gives it, reaches nobody and changes nothing.
const COMMANDS: &[(&str, &str)] = &[
    ("approvals", "runs"),
    ("approvals approve", "approver"),
    ("approvals list", "runs"),
    ("approvals reject", "approver"),
    ("approvals revoke", "approver"),
    ("approvals show", "runs"),
    ("audit export", "evidence"),
    ("audit prune", "state folder, and evidence"),
    ("audit show", "evidence"),
    ("audit tail", "evidence"),
    ("audit verify", "evidence; nothing with --file or --database"),
    ("call", "engine"),
    ("completions", "nothing"),
    ("config check", "nothing"),
    ("config show", "nothing: no key holds a secret"),
    ("demo", "engine, on a cluster and a state folder of its own"),
    ("doctor", "state folder"),
    ("mcp", "engine, by the table of methods in the gateway's tests"),
    ("packs", "engine: those of the tools that one may use; evidence for what is wrong with them"),
    ("packs accept", "the pack's folder: it writes there what its server defines"),
    ("packs check", "nothing"),
    ("packs list", "engine: those of the tools that one may use; evidence for what is wrong with them"),
    ("packs new", "nothing: it makes a folder, with the tools of a server if one is named"),
    ("packs test", "nothing"),
    ("policy check", "nothing"),
    ("policy explain", "nothing; runs for a run; evidence with --server"),
    ("policy test", "nothing; evidence with --server"),
    ("run", "engine"),
    ("runs", "runs"),
    ("runs cancel", "engine: one's own runs, and those of others for who may do the same"),
    ("runs list", "runs"),
    ("runs show", "runs"),
    ("runs watch", "runs"),
    ("sandbox", "nothing: a cluster of its own, on loopback"),
    ("serve", "state folder; each request by its token"),
    ("token", "state folder: the key of the development issuer, which is accepted on loopback only"),
    ("tools", "engine: those that one may use"),
    ("webhooks", "evidence"),
    ("webhooks dead", "evidence"),
    ("webhooks retry", "evidence"),
];

/// Every command that does something, by its words.
fn commands(command: &Command, before: &str) -> Vec<String> {
    let mut all = Vec::new();
    for one in command.get_subcommands() {
        let name = format!("{before} {}", one.get_name()).trim().to_owned();
        if !one.is_subcommand_required_set() {
            all.push(name.clone());
        }
        all.extend(commands(one, &name));
    }
    all
}

#[test]
fn every_command_is_in_the_table_and_nothing_else_is() {
    let mut found = commands(&astradesk::cli::Cli::command(), "");
    found.sort();
    let listed: Vec<&str> = COMMANDS.iter().map(|(command, _)| *command).collect();
    assert_eq!(found, listed, "say in the table what authorizes each command");
}

/// The page has every command, too.
#[test]
fn every_command_is_on_the_page_of_the_command_line() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let page = std::fs::read_to_string(page).unwrap();
    for (command, _) in COMMANDS {
        let (first, second) = command.split_once(' ').unwrap_or((command, ""));
        let row = page.lines().find(|line| line.starts_with(&format!("| `{first}"))).unwrap_or_default();
        assert!(row.contains(second) && !row.is_empty(), "docs/cli.md has no `{command}`");
    }
}

/// What reaches the Engine without a gateway is authorized there as well: without the role it is denied.
#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_engine_authorizes_as_a_gateway_does() {
    let sandbox = astradesk_sandbox::Sandbox::start(astradesk_sandbox::Config {
        objects: astradesk_sandbox::scenario::demo(),
        ..astradesk_sandbox::Config::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kubeconfig"), sandbox.kubeconfig()).unwrap();
    let denied: [&[&str]; 9] = [
        &["run", "restart", "webapp"],
        &["call", "restart_service", "service=webapp"],
        &["audit", "tail"],
        &["audit", "export"],
        &["audit", "verify"],
        &["audit", "show", "01920000-0000-7000-8000-000000000001"],
        &["audit", "prune", "--before", "2020-01-01", "--yes"],
        &["webhooks"],
        &["webhooks", "retry", "x"],
    ];
    for arguments in denied {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_astradesk"));
        command
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .env("HOME", folder.path())
            .env("KUBECONFIG", folder.path().join("kubeconfig"))
            .env("ALLOWED_SERVICES", "webapp")
            .env("ASTRADESK_LOCAL_ROLES", "intern");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {said}");
        assert!(said.contains("policy."), "{arguments:?}: {said}");
    }
}
