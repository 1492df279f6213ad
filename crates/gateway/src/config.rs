//! Where to listen, and every limit.

use crate::webhook::Webhook;
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The gateway's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on. Default: `127.0.0.1:8787`. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// The limits.
    pub limits: Limits,
    /// Who is told that a run awaits approval.
    pub webhooks: Vec<Webhook>,
    /// How clients reach the gateway, such as `https://ops.example.com`. Default: the address, by http.
    pub public_url: Option<String>,
    /// Hosts that an agent's request may be for, beside loopback, `listen` and `public_url`.
    pub allowed_hosts: Vec<String>,
    /// Origins of web pages that may speak to `/mcp`, beside loopback and `public_url`.
    pub allowed_origins: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8787)),
            limits: Limits::default(),
            webhooks: Vec::new(),
            public_url: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}

/// The gateway's limits. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest request body, in bytes. Default: 65536.
    pub max_body_bytes: usize,
    /// The largest request head (request line and headers), in bytes; at least 8192. Default: 65536.
    pub max_header_bytes: usize,
    /// How long a client may take to send a head, and how long a connection may be idle. Default: 10.
    pub header_seconds: u64,
    /// How long a client may take to send a body. Default: 10.
    pub body_seconds: u64,
    /// How long the gateway may take to answer, apart from runs (which have their own limits), waits and
    /// event streams. Default: 30.
    pub request_seconds: u64,
    /// Requests that are worked on at the same time; one more is refused at once. Default: 1024.
    pub concurrent_requests: usize,
    /// Open connections; one more waits until another closes. Default: 4096.
    pub connections: usize,
    /// Event streams at the same time; one more is refused at once. Default: 256.
    pub event_streams: usize,
    /// After how long an event stream ends, so that the client authenticates again. Default: 3600.
    pub event_stream_seconds: u64,
    /// Requests that wait for a run (`Prefer: wait`) at the same time; one more is answered 202 at once.
    /// Default: 512.
    pub waits: usize,
    /// How long an agent's call waits for its run unless it says otherwise; at most 600. Default: 50.
    pub mcp_wait_seconds: u64,
    /// MCP sessions at the same time, for protocol versions that have them; one more is refused at once, and one more
    /// than 16 of the same principal closes the oldest of these. Default: 1024.
    pub mcp_sessions: usize,
    /// After how long without a word an MCP session ends. Default: 1800.
    pub mcp_session_seconds: u64,
    /// Denials for lack of authentication that are put on record in one second; the others are counted in
    /// the next record. Default: 50.
    pub auth_records_per_second: u32,
    /// How long requests in flight may take at shutdown. Default: 10.
    pub shutdown_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 * 1024,
            max_header_bytes: 64 * 1024,
            header_seconds: 10,
            body_seconds: 10,
            request_seconds: 30,
            concurrent_requests: 1024,
            connections: 4096,
            event_streams: 256,
            event_stream_seconds: 3600,
            waits: 512,
            mcp_wait_seconds: 50,
            mcp_sessions: 1024,
            mcp_session_seconds: 1800,
            auth_records_per_second: 50,
            shutdown_seconds: 10,
        }
    }
}

impl Limits {
    pub(crate) const fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_seconds)
    }

    pub(crate) const fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_seconds)
    }

    pub(crate) const fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_seconds)
    }
}
