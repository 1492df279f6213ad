//! MCP clients that others wrote, each of which goes through what an agent does (`tests/e2e/clients`), and a server.
//!
//! `cargo xtask test` names their folder in [`TEST_CLIENTS`]; without one the tests that need it are skipped loudly, and
//! fail where `CI` is set.

use crate::place::skipped;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// The variable that names the folder.
pub const TEST_CLIENTS: &str = "ASTRADESK_TEST_MCP_CLIENTS";
/// How long a client may take for its whole story, with a restart in it.
const PATIENCE: Duration = Duration::from_mins(1);

/// The clients.
pub struct Others {
    folder: PathBuf,
}

/// Which of them.
#[derive(Debug, Clone, Copy)]
pub enum Language {
    /// `@modelcontextprotocol/client`, from npm.
    TypeScript,
    /// `mcp`, from PyPI.
    Python,
}

impl Others {
    /// The clients to test with; says loudly when there are none, and fails where `CI` is set.
    pub fn find() -> Option<Self> {
        let named = std::env::var_os(TEST_CLIENTS).filter(|path| !path.is_empty());
        if named.is_none() {
            skipped(&format!("no MCP clients in `{TEST_CLIENTS}`; use `cargo xtask test`"));
        }
        named.map(|folder| Self { folder: folder.into() })
    }

    /// What one of them saw: at this gateway, as the holder of this token, in this version of the protocol or in
    /// the `legacy` one, of this service.
    pub async fn look(&self, who: Language, url: &str, token: &str, version: &str, service: &str) -> Value {
        let told = [("MCP_VERSION", version), ("MCP_SERVICE", service)];
        self.story(who, "agent", url, token, &told).await
    }

    /// What one of them saw that ran the restart of `service` as a task to its end, and cancelled that of `stuck`.
    pub async fn run_tasks(
        &self,
        who: Language,
        url: &str,
        token: &str,
        service: &str,
        stuck: &str,
    ) -> Value {
        self.story(who, "tasks", url, token, &[("MCP_SERVICE", service), ("MCP_STUCK", stuck)]).await
    }

    /// What one of them prints, going through a script.
    async fn story(
        &self,
        who: Language,
        script: &str,
        url: &str,
        token: &str,
        told: &[(&str, &str)],
    ) -> Value {
        let mut command = match who {
            Language::TypeScript => self.node(&[&format!("{script}.mjs")]),
            Language::Python => {
                let mut python = Command::new(self.folder.join("venv/bin/python"));
                python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("clients/{script}.py")));
                python
            }
        };
        command.env("MCP_URL", format!("{url}/mcp")).env("MCP_TOKEN", token).envs(told.iter().copied());
        let said = self.run(&mut command).await;
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{who:?} prints no JSON: {error}\n{said}"))
    }

    /// What the MCP inspector's command line prints.
    pub async fn inspect(&self, url: &str, token: &str, arguments: &[&str]) -> Value {
        let program = "node_modules/.bin/mcp-inspector";
        let mut command = self.node(&[program, "--cli"]);
        command.arg(format!("{url}/mcp")).args(["--transport", "http", "--header"]);
        command.arg(format!("Authorization: Bearer {token}")).args(arguments);
        let said = self.run(&mut command).await;
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("no JSON: {error}\n{said}"))
    }

    /// The program of the MCP server `kubernetes-mcp-server`, from npm.
    pub fn kubernetes_mcp_server(&self) -> Option<PathBuf> {
        let name = "kubernetes-mcp-server-linux-amd64";
        let program = self.folder.join("node_modules").join(name).join("bin").join(name);
        if !program.exists() {
            skipped(&format!("there is no `{}`: it is installed on x86-64 only", program.display()));
            return None;
        }
        Some(program)
    }

    fn node(&self, arguments: &[&str]) -> Command {
        let mut node = Command::new(self.folder.join("node_modules/.bin/node"));
        node.args(arguments);
        node
    }

    async fn run(&self, command: &mut Command) -> String {
        command.current_dir(&self.folder).env("HOME", &self.folder).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.expect("the client does not come to an end").unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (said, complained) = (text(output.stdout), text(output.stderr));
        assert!(output.status.success(), "{}\n{said}\n{complained}", output.status);
        said
    }
}
