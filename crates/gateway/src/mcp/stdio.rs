//! The MCP server over standard input and output, for a client that starts this process.

use super::{Over, Server};
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Principal, Result};
use astradesk_runtime::Engine;
use rmcp::ServiceExt as _;
use rmcp::service::{QuitReason, ServerInitializeError};
use rmcp::transport::io::stdio_pipes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The client at standard input.
pub(super) struct Client {
    pub(super) principal: Arc<Principal>,
    /// Whether it is told of changes already.
    listens: AtomicBool,
    ended: CancellationToken,
}

impl Client {
    /// What tells when it has gone, for the first who asks.
    pub(super) fn listener(&self) -> Option<CancellationToken> {
        (!self.listens.swap(true, Ordering::Relaxed)).then(|| self.ended.clone())
    }
}

/// Serves the client at standard input until it closes that, or `shutdown` is cancelled; a call waits for its run for
/// `wait`, unless it says otherwise. Nothing but the protocol is written to standard output.
///
/// # Errors
/// [`Code::RequestMalformed`] when what comes is not the protocol.
pub async fn serve(
    engine: Engine,
    principal: Principal,
    wait: Duration,
    shutdown: CancellationToken,
) -> Result<()> {
    let client = Arc::new(Client {
        principal: Arc::new(principal),
        listens: AtomicBool::new(false),
        ended: CancellationToken::new(),
    });
    let _ended = client.ended.clone().drop_guard();
    let server = Server { engine, over: Over::Stdio(client), wait };
    let wrong = |error: &dyn std::fmt::Display| {
        let error = shown(&error.to_string(), 200);
        Error::new(Code::RequestMalformed, format!("the client does not speak MCP: {error}"))
    };
    let running = match Box::pin(server.serve_with_ct(stdio_pipes(), shutdown)).await {
        Ok(running) => running,
        // It closed its end before it said anything, or we are to stop.
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => return Ok(()),
        Err(error) => return Err(wrong(&error)),
    };
    match running.waiting().await {
        Ok(QuitReason::JoinError(error)) | Err(error) => {
            Err(Error::internal(format!("the MCP server ended: {error}")))
        }
        Ok(_) => Ok(()),
    }
}
