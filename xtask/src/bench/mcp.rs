//! MCP over Streamable HTTP, as far as a load needs it: the same requests for AstraDesk and the peer.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::load;
use crate::http::{Answer, Request};

/// The version of the protocol that both speak, as the handshake names it.
const VERSION: &str = "2025-06-18";
/// What the transport asks a client to accept.
const ACCEPT: &str = "application/json, text/event-stream";
/// Where a load puts the number of a request.
const ID: &str = "@ID@";

/// A session with a server, opened by `initialize`.
pub(super) struct Session {
    address: SocketAddr,
    headers: Vec<(String, String)>,
}

impl Session {
    /// Opens one, with this value of `Authorization` if the server asks for it. `None` while it does not answer.
    pub(super) fn open(address: SocketAddr, authorization: Option<String>) -> Result<Option<Self>> {
        let mut headers: Vec<(String, String)> =
            vec![("Accept".into(), ACCEPT.into()), ("Content-Type".into(), "application/json".into())];
        headers.extend(authorization.map(|value| ("Authorization".into(), value)));
        let mut session = Self { address, headers };
        let initialize = request(
            "0",
            "initialize",
            &json!({
                "protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"},
            }),
        );
        let Some(answer) = session.post(&initialize).ok().filter(|answer| answer.status == 200) else {
            return Ok(None);
        };
        let id = answer.header("Mcp-Session-Id").map(str::to_owned);
        session.headers.extend(id.map(|id| ("Mcp-Session-Id".into(), id)));
        session.headers.push(("MCP-Protocol-Version".into(), VERSION.into()));
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
        let status = session.post(&initialized)?.status;
        ensure!((200..300).contains(&status), "`initialized` was answered with {status}");
        Ok(Some(session))
    }

    /// Calls a tool once; the text of the answer, which must be a result, and no error of the tool's.
    pub(super) fn call(&self, tool: &str, arguments: &Value) -> Result<String> {
        let answer = self.post(&call("1", tool, arguments)).context("the call was not answered")?;
        let (status, text) = (answer.status, answer.text()?);
        ensure!(
            status == 200 && text.contains("\"result\"") && !text.contains("\"isError\":true"),
            "`tools/call` of `{tool}` was answered with {status}: {text}"
        );
        Ok(text)
    }

    /// `tools/call`, as a load; `good` is in every good answer.
    pub(super) fn calls(&self, tool: &str, arguments: &Value, good: &'static str) -> load::Call {
        self.load(call(ID, tool, arguments), good)
    }

    /// `tools/list`, as a load.
    pub(super) fn lists(&self) -> load::Call {
        self.load(request(ID, "tools/list", &json!({})), "\"tools\"")
    }

    fn load(&self, body: String, good: &'static str) -> load::Call {
        let (url, headers) = (format!("http://{}/mcp", self.address), self.headers.clone());
        load::Call { url, method: "POST", headers, body, good: Some(good) }
    }

    fn post(&self, body: &str) -> Result<Answer> {
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Request { method: "POST", path: "/mcp", headers: &headers, body }.send(self.address)
    }
}

fn call(id: &str, tool: &str, arguments: &Value) -> String {
    request(id, "tools/call", &json!({"name": tool, "arguments": arguments}))
}

fn request(id: &str, method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}
