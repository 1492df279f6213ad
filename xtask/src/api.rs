//! An API server, asked through curl: TLS without a TLS library, and seen independently of AstraDesk.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::proc;

/// Where an API server is, and who asks.
pub(crate) struct Api {
    server: String,
    /// A file with the `Authorization` header: arguments are seen by everybody.
    header: PathBuf,
    /// The server's certificate, where it speaks TLS.
    authority: Option<PathBuf>,
}

impl Api {
    /// A control plane of `cargo xtask cluster`, as its administrator.
    pub(crate) fn of_control_plane(kubeconfig: &Path) -> Result<Self> {
        let text = fs::read_to_string(kubeconfig).context("cannot read the kubeconfig")?;
        let read: Value = serde_json::from_str(&text).context("the kubeconfig is not ours")?;
        let server =
            read["clusters"][0]["cluster"]["server"].as_str().context("the kubeconfig has no server")?;
        let certs = kubeconfig.with_file_name("certs");
        Ok(Self {
            server: server.to_owned(),
            header: certs.join("admin.header"),
            authority: Some(certs.join("apiserver.crt")),
        })
    }

    /// One that speaks plain HTTP on loopback; `header` is written.
    pub(crate) fn plain(server: &str, token: &str, header: &Path) -> Result<Self> {
        fs::write(header, format!("Authorization: Bearer {token}\n"))
            .with_context(|| format!("cannot write `{}`", header.display()))?;
        Ok(Self { server: server.to_owned(), header: header.to_owned(), authority: None })
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server)
    }

    /// Adds what every request needs to curl's arguments.
    pub(crate) fn authorize(&self, curl: &mut Command) {
        curl.args(["--disable", "--noproxy", "*", "--silent", "--fail", "--user-agent", "xtask"]);
        if let Some(authority) = &self.authority {
            curl.arg("--cacert").arg(authority);
        }
        curl.arg("--header").arg(format!("@{}", self.header.display()));
    }

    /// curl with a path, which is read unless more arguments follow.
    pub(crate) fn curl(&self, path: &str) -> Command {
        let mut curl = Command::new("curl");
        self.authorize(&mut curl);
        curl.arg(self.url(path));
        curl
    }

    /// Reads what is at a path.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let mut curl = self.curl(path);
        let said = proc::output(curl.args(["--max-time", "30"]))?;
        serde_json::from_str(&said).with_context(|| format!("`{path}` is no JSON"))
    }

    /// Creates an object, which is left in the file `body`.
    pub(crate) fn create(&self, path: &str, object: &Value, body: &Path) -> Result<()> {
        fs::write(body, object.to_string()).with_context(|| format!("cannot write `{}`", body.display()))?;
        let mut curl = self.curl(path);
        curl.args([
            "--max-time",
            "30",
            "--header",
            "Content-Type: application/json",
            "--output",
            "/dev/null",
        ]);
        curl.arg("--data").arg(format!("@{}", body.display()));
        proc::output(&mut curl)
            .map(drop)
            .with_context(|| format!("cannot create `{}`", object["metadata"]["name"]))
    }
}
