//! The MCP server over standard input and output, for a client that starts this process.

use super::{Over, Server};
use astradesk_core::{Code, Error, Principal, Result};
use astradesk_runtime::Engine;
use rmcp::ServiceExt as _;
use rmcp::service::{QuitReason, ServerInitializeError};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// Serves one client until it closes `input` or `shutdown` is cancelled; a call waits for its run for `wait`, unless it
/// says otherwise. Nothing but the protocol is written to `output`.
///
/// # Errors
/// [`Code::RequestMalformed`] when what comes is not the protocol.
pub async fn serve(
    engine: Engine,
    principal: Principal,
    wait: Duration,
    (input, output): (impl AsyncRead + Send + Unpin + 'static, impl AsyncWrite + Send + Unpin + 'static),
    shutdown: CancellationToken,
) -> Result<()> {
    let server = Server { engine, over: Over::Stdio(Arc::new(principal)), wait };
    let wrong = |error: &dyn std::fmt::Display| {
        Error::new(Code::RequestMalformed, format!("the client does not speak MCP: {error}"))
    };
    let running = match server.serve_with_ct((input, output), shutdown).await {
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
