//! The MCP server over standard input and output, for a client that starts this process.

use super::{Over, Server};
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Principal, Result};
use astradesk_runtime::Engine;
use rmcp::ServiceExt as _;
use rmcp::service::{QuitReason, ServerInitializeError};
use rmcp::transport::io::stdio_pipes;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

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
    let server = Server { engine, over: Over::Stdio(Arc::new(principal)), wait };
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
