//! The MCP server over real HTTP, with `rmcp`'s client.

mod calls;
mod changes;
mod http;
mod methods;
mod others;
mod procedures;
mod readings;
mod sessions;
mod tasks;

use crate::support::Harness;
use crate::support::pack::TestPack;
use astradesk_runtime::port::{Agent as PlanningAgent, Pack, Tool};
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ErrorData, Implementation,
    MetaObject, ProgressNotificationParam, ProtocolVersion, RequestMetaObject,
};
use rmcp::service::{ClientLifecycleMode, NotificationContext, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ClientServiceExt as _, RoleClient};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// Both generations of the protocol: without sessions and with them.
pub(crate) const VERSIONS: [ProtocolVersion; 2] =
    [ProtocolVersion::V_2026_07_28, ProtocolVersion::V_2025_11_25];

/// An agent's side.
pub(crate) struct Listener {
    config: ClientConfig,
    progress: UnboundedSender<ProgressNotificationParam>,
    changed: UnboundedSender<&'static str>,
}

impl ClientHandler for Listener {
    fn get_info(&self) -> ClientConfig {
        self.config.clone()
    }

    async fn on_progress(&self, told: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let _ = self.progress.send(told);
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        let _ = self.changed.send("tools");
    }

    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        let _ = self.changed.send("resources");
    }

    async fn on_prompt_list_changed(&self, _: NotificationContext<RoleClient>) {
        let _ = self.changed.send("prompts");
    }
}

/// An agent that is connected.
pub(crate) struct Agent {
    pub(crate) client: RunningService<RoleClient, Listener>,
    pub(crate) progress: UnboundedReceiver<ProgressNotificationParam>,
    /// The lists that its session was told have changed.
    pub(crate) changed: UnboundedReceiver<&'static str>,
}

impl Agent {
    pub(crate) async fn connect(harness: &Harness, token: &str, version: &ProtocolVersion) -> Self {
        Self::with(harness, token, version, ClientCapabilities::default()).await
    }

    /// One that can follow tasks.
    pub(crate) async fn with_tasks(harness: &Harness, token: &str, version: &ProtocolVersion) -> Self {
        Self::with(harness, token, version, ClientCapabilities::builder().enable_tasks().build()).await
    }

    async fn with(
        harness: &Harness,
        token: &str,
        version: &ProtocolVersion,
        capabilities: ClientCapabilities,
    ) -> Self {
        let (sender, progress) = mpsc::unbounded_channel();
        let (lists, changed) = mpsc::unbounded_channel();
        let config = ClientConfig::new(capabilities, Implementation::new("test", "1"))
            .with_protocol_version(version.clone());
        let lifecycle = if *version == ProtocolVersion::V_2026_07_28 {
            ClientLifecycleMode::Discover { preferred_versions: vec![version.clone()] }
        } else {
            ClientLifecycleMode::Initialize
        };
        let transport = StreamableHttpClientTransport::with_client(
            harness.client.clone(),
            StreamableHttpClientTransportConfig::with_uri(harness.url("/mcp")).auth_header(token),
        );
        let listener = Listener { config, progress: sender, changed: lists };
        let client = listener.serve_with_lifecycle(transport, lifecycle).await.unwrap();
        assert_eq!(client.peer_info().unwrap().protocol_version, *version);
        Self { client, progress, changed }
    }

    /// The names of the tools that there are for it.
    pub(crate) async fn tools(&self) -> Vec<String> {
        let tools = self.client.list_all_tools().await.unwrap();
        tools.iter().map(|tool| tool.name.to_string()).collect()
    }

    /// Calls a tool on a service.
    pub(crate) async fn call(&self, tool: &str, service: &str) -> CallToolResult {
        self.call_with(tool, &json!({"service": service}), &json!({})).await.unwrap()
    }

    pub(crate) async fn call_with(
        &self,
        tool: &str,
        arguments: &Value,
        meta: &Value,
    ) -> Result<CallToolResult, ServiceError> {
        self.client.call_tool(params(tool, arguments, meta)).await
    }
}

pub(crate) fn params(tool: &str, arguments: &Value, meta: &Value) -> CallToolRequestParams {
    let own = MetaObject::from(meta.as_object().unwrap().clone());
    let mut params =
        CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments.as_object().unwrap().clone());
    params.meta = Some(RequestMetaObject::from(own));
    params
}

/// The structured result.
#[track_caller]
pub(crate) fn facts(result: &CallToolResult) -> &Value {
    let facts = result.structured_content.as_ref().unwrap();
    let text = result.content.last().unwrap().as_text().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text.text).unwrap(), *facts, "the text says the same");
    facts
}

/// The JSON-RPC error.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, ServiceError>) -> ErrorData {
    match answer {
        Err(ServiceError::McpError(error)) => error,
        other => panic!("no JSON-RPC error but {other:?}"),
    }
}

/// The tools that the procedures speak of, each as one of the test's own.
pub(crate) struct Operations(TestPack);

impl Operations {
    pub(crate) fn register(harness: &Harness) -> Arc<Self> {
        let pack = Arc::new(Self(TestPack::of(&[
            ("get_service_status", astradesk_core::Effect::Read),
            ("list_services", astradesk_core::Effect::Read),
            ("restart_service", astradesk_core::Effect::Write),
        ])));
        harness.engine.registry().register(&*pack).unwrap();
        pack
    }
}

impl Pack for Operations {
    fn name(&self) -> &'static str {
        "operations"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn tools(&self) -> Vec<Arc<dyn Tool>> {
        self.0.tools()
    }

    fn agents(&self) -> Vec<Arc<dyn PlanningAgent>> {
        vec![]
    }
}
