//! Who asks, found anew for every request.

use super::{Over, Server};
use crate::http::caller::Caller;
use crate::http::trace;
use astradesk_core::Principal;
use axum::http::request::Parts;
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use std::sync::Arc;
use tracing::Span;

/// Who asks, and for which trace.
pub(super) struct Asker {
    pub(super) principal: Arc<Principal>,
    /// The trace that the request belongs to.
    pub(super) trace: Option<String>,
    /// The span of the HTTP request, under which everything is logged that is done for it.
    pub(super) span: Span,
}

impl Asker {
    /// Who sent this request. Over HTTP, the layer before authenticated them: without its word nobody is served.
    pub(super) fn of(server: &Server, context: &RequestContext<RoleServer>) -> Result<Self, ErrorData> {
        let trace = || context.meta.get_traceparent().and_then(trace::parse);
        match &server.over {
            Over::Stdio(client) => {
                Ok(Self { principal: client.principal.clone(), trace: trace(), span: Span::current() })
            }
            Over::Http(_) => {
                let parts = context.extensions.get::<Parts>();
                let caller = parts.and_then(|parts| Some((parts, parts.extensions.get::<Caller>()?)));
                let Some((parts, Caller(principal))) = caller else {
                    tracing::error!("a request came to the MCP server without authentication");
                    return Err(ErrorData::internal_error("this is a defect of AstraDesk", None));
                };
                let span = parts.extensions.get::<Span>().cloned().unwrap_or_else(Span::none);
                let trace = trace::id(&parts.headers).or_else(trace);
                Ok(Self { principal: principal.clone(), trace, span })
            }
        }
    }
}
