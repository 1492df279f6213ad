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
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8787)),
            limits: Limits::default(),
            webhooks: Vec::new(),
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
