//! The few questions that the start asks the API server, through curl: TLS without a TLS library.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::proc;

/// The file with the administrator's `Authorization` header.
pub(super) const HEADER: &str = "admin.header";

/// Whether `/readyz` says so; everybody may ask that.
pub(super) fn is_ready(server: &str) -> bool {
    // The certificate is not there before the server is: this one question goes without.
    let mut curl = curl();
    curl.arg("--insecure").arg(format!("{server}/readyz"));
    proc::output(&mut curl).is_ok_and(|said| said == "ok")
}

/// Asks as the administrator.
pub(super) struct Client {
    server: String,
    certs: PathBuf,
}

impl Client {
    pub(super) fn new(server: &str, certs: PathBuf) -> Self {
        Self { server: server.to_owned(), certs }
    }

    /// The object at `path`; `None` when it is not there or the server does not answer.
    pub(super) fn get(&self, path: &str) -> Option<Value> {
        let mut curl = curl();
        curl.arg("--cacert").arg(self.certs.join("apiserver.crt"));
        curl.arg("--header").arg(format!("@{}", self.certs.join(HEADER).display()));
        curl.arg(format!("{}{path}", self.server));
        serde_json::from_str(&proc::output(&mut curl).ok()?).ok()
    }
}

fn curl() -> Command {
    let mut command = Command::new("curl");
    // Not `.curlrc`, and no proxy: this is loopback.
    command.args([
        "--disable",
        "--noproxy",
        "*",
        "--silent",
        "--fail",
        "--user-agent",
        "xtask",
        "--max-time",
        "3",
    ]);
    command
}
