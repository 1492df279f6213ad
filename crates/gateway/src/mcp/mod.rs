//! The MCP server: where AI agents meet the Engine, over HTTP at `/mcp` and over standard input and output.
//!
//! | module | part |
//! |---|---|
//! | `asker` | who asks, found anew for every request |
//! | `tools`, `call`, `follow`, `result` | `tools/list`; `tools/call`: submit, wait and tell how it goes, answer |
//! | `tasks` | runs as tasks: poll, result, cancel |
//! | `resources`, `uri` | runs, their evidence, services, what packs give to read |
//! | `prompts`, `complete` | procedures, of AstraDesk and of packs, and what their arguments can be |
//! | `changes` | lists that have changed, told to who listens |
//! | `content` | what packs give, in the protocol's form |
//! | `page` | pages of lists |
//! | `fault` | errors as JSON-RPC errors |
//! | `http`, `sessions`, `origin`, `oauth` | Streamable HTTP: sessions and whose they are, Host and Origin, metadata for clients |
//! | `stdio` | standard input and output |
//!
//! The protocol itself (2026-07-28, which has no sessions, and the versions before it) is `rmcp`'s.
//!
//! **Invariants.** A call goes through [`Engine::submit`] as one over the HTTP API does, with the source `mcp`, and
//! nothing else here performs anything. The principal is the request's own, never the session's; a session serves who
//! opened it and nobody else. Nothing asks the client to confirm: what needs approval is approved by a person, elsewhere.

mod asker;
mod call;
mod changes;
mod complete;
mod content;
mod fault;
mod follow;
pub(crate) mod http;
pub(crate) mod oauth;
mod origin;
mod page;
mod prompts;
mod resources;
mod result;
mod sessions;
mod stdio;
mod tasks;
mod tools;
mod uri;

pub(crate) use origin::Allowed;
pub use stdio::serve as serve_stdio;

use crate::http::{App, redact};
use asker::Asker;
use astradesk_core::run::State;
use astradesk_core::{Code, Run};
use astradesk_runtime::Engine;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelTaskParams, CompleteRequestParams, CompleteResult,
    GetPromptRequestParams, GetPromptResponse, GetTaskParams, GetTaskResult, Implementation,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities,
    ServerConfig, SubscriptionFilter, UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use sessions::Sessions;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument as _;

/// What a client may tell its model about this server.
const INSTRUCTIONS: &str = "Tools act on production, under policy. A result's `state` says what became of a call: \
    `succeeded` is verified; `awaiting_approval` means that nothing is done until a person agrees, which you cannot do; \
    `denied`, `refused` and `failed` carry a stable code and a remedy: follow the remedy, and do not repeat the call \
    unchanged; `outcome_unknown` means that a person must look. Names are never guessed: ask for the exact service.";

/// The MCP server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Server {
    engine: Engine,
    over: Over,
    /// How long a call waits for its run unless it says otherwise.
    wait: Duration,
}

/// What it is served over.
#[derive(Clone)]
enum Over {
    /// HTTP: who asks is found in each request.
    Http(Site),
    /// Standard input and output, of the one who started this process.
    Stdio(Arc<stdio::Client>),
}

/// Where it is served over HTTP.
#[derive(Clone)]
struct Site {
    app: App,
    sessions: Arc<Sessions>,
}

impl Server {
    fn over_http(app: App, sessions: Arc<Sessions>) -> Self {
        let wait = Duration::from_secs(app.limits.mcp_wait_seconds);
        Self { engine: app.engine.clone(), over: Over::Http(Site { app, sessions }), wait }
    }

    /// Makes a run fit to be shown, and counts and announces what an answer with it has to.
    fn answered(&self, run: &mut Run) {
        if let Over::Http(Site { app, .. }) = &self.over {
            if run.state == State::AwaitingApproval {
                app.webhooks.wake();
            }
            app.metrics.run_answered(run);
        }
        redact::fit(&self.engine, run);
    }

    /// Counts a refusal.
    fn refused(&self, code: Code) {
        if let Over::Http(Site { app, .. }) = &self.over {
            app.metrics.refused(code);
        }
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_completions()
            .enable_tasks()
            .build();
        let server = Implementation::new("astradesk", env!("CARGO_PKG_VERSION")).with_title("AstraDesk Ops");
        ServerConfig::new(capabilities).with_server_info(server).with_instructions(INSTRUCTIONS)
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        changes::tell_session(self, context);
    }

    fn accepted_subscription_filter(&self, _: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(changes::accepted())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let asker = Asker::of(self, context.request_context())?;
        changes::listen(self, &asker.principal, &context).instrument(asker.span.clone()).await;
        Ok(())
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let asker = Asker::of(self, &context)?;
        tools::list(&self.engine, &asker.principal, request.as_ref())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let asker = Asker::of(self, &context)?;
        call::call(self, &asker, request, &context).instrument(asker.span.clone()).await
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let asker = Asker::of(self, &context)?;
        tasks::get(self, &asker, &request.task_id).instrument(asker.span.clone()).await
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let asker = Asker::of(self, &context)?;
        tasks::update(self, &asker, &request.task_id).instrument(asker.span.clone()).await
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let asker = Asker::of(self, &context)?;
        tasks::cancel(self, &asker, &request.task_id).instrument(asker.span.clone()).await
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let asker = Asker::of(self, &context)?;
        resources::list(self, &asker, request).instrument(asker.span.clone()).await
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let asker = Asker::of(self, &context)?;
        Ok(resources::templates(self, &asker, request))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let asker = Asker::of(self, &context)?;
        resources::read(self, &asker, &request.uri).instrument(asker.span.clone()).await.map(Into::into)
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let asker = Asker::of(self, &context)?;
        Ok(prompts::list(self, &asker, request))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let asker = Asker::of(self, &context)?;
        prompts::get(self, &asker, &request).map(Into::into)
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let asker = Asker::of(self, &context)?;
        complete::complete(self, &asker, &request).instrument(asker.span.clone()).await
    }
}
