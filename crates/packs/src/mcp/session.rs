//! A connection to a server: opened, asked for its tools, asked to perform one, each within its time.

use super::definition::Definition;
use super::lock::Identity;
use super::program::{Program, last_words, start};
use super::server::{Reach, Server};
use super::transport::{Ended, Guarded, MAX_MESSAGE};
use crate::secret::Secrets;
use ::http::HeaderMap;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::port::Progress;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ClientRequest,
    Implementation, PaginatedRequestParams, ProgressNotificationParam, ProgressToken, ProtocolVersion,
    ServerResult,
};
use rmcp::service::{
    ClientCacheConfig, ClientInitializeError, ClientLifecycleMode, NotificationContext, Peer,
    PeerRequestOptions, RunningService, ServiceError,
};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, Transport};
use rmcp::{ClientHandler, ClientServiceExt as _, RoleClient};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The most tools of a server, and the most pages that it may list them in.
const MAX_TOOLS: usize = 1024;
const MAX_PAGES: usize = 64;
/// The most characters of what a server says that an error shows.
const SHOWN: usize = 300;
/// The most bytes of an answer that is no message which are read.
const DIAGNOSTIC: usize = 4096;
/// How long it is waited for that a call was given up.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection.
pub(crate) struct Session {
    service: RunningService<RoleClient, Listener>,
    listener: Listener,
    program: Option<Program>,
    ended: Ended,
    /// The headers that it was opened with: with others, such as a new token, it is opened anew.
    headers: HeaderMap,
    secrets: Secrets,
    name: String,
    pub(crate) opened: Instant,
}

/// The generations of the protocol. Nearly every server knows the one before, and some that are of it do not say so when
/// they are asked for the one of now, or say nothing.
#[derive(Debug, Clone, Copy)]
enum Generation {
    /// With `initialize`.
    Before,
    /// With `server/discover`.
    Now,
}

/// Why a connection was not opened.
enum Unopened {
    For(Error),
    /// It answered, and would not have it so.
    OtherGeneration(Error),
}

impl From<Error> for Unopened {
    fn from(error: Error) -> Self {
        Self::For(error)
    }
}

/// How a call ended.
pub(crate) enum Answer {
    /// With a result.
    Result(Outcome),
    /// The server refused it: nothing was done.
    Refused(Error),
    /// The server says that it failed, or says what nobody understands.
    Failed(Error),
    /// It was never sent.
    Never(String),
    /// It may have arrived.
    Unanswered(String),
}

/// The result of a call.
pub(crate) struct Outcome {
    /// Whether the tool says that it failed.
    pub(crate) is_error: bool,
    /// `content`, a list of blocks as the protocol has them, and `structured` if there is any.
    pub(crate) output: Value,
}

impl Outcome {
    fn of(result: CallToolResult, secrets: &Secrets) -> Self {
        let mut output = json!({"content": result.content});
        if let (Some(structured), Some(fields)) = (result.structured_content, output.as_object_mut()) {
            fields.insert("structured".to_owned(), structured);
        }
        Self { is_error: result.is_error == Some(true), output: secrets.hide_within(output) }
    }

    /// What it says in words.
    pub(crate) fn text(&self) -> String {
        let blocks = self.output.get("content").and_then(Value::as_array).into_iter().flatten();
        let texts: Vec<&str> = blocks.filter_map(|block| block.get("text").and_then(Value::as_str)).collect();
        texts.join("\n")
    }
}

/// Hears what a server tells.
#[derive(Clone, Default)]
pub(crate) struct Listener(Arc<Heard>);

#[derive(Default)]
struct Heard {
    tools_changed: AtomicBool,
    calls: Mutex<HashMap<ProgressToken, Progress>>,
}

impl Listener {
    fn calls(&self) -> MutexGuard<'_, HashMap<ProgressToken, Progress>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientHandler for Listener {
    /// We can do nothing for a server: no sampling, no elicitation, no roots.
    fn get_info(&self) -> ClientConfig {
        let ourselves = Implementation::new("astradesk", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), ourselves)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn on_progress(&self, told: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        if let Some(call) = self.calls().get(&told.progress_token) {
            let message = told.message.unwrap_or_else(|| "its server is at work".to_owned());
            call.report(message, json!({"progress": told.progress, "total": told.total}));
        }
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.tools_changed.store(true, Ordering::Relaxed);
    }
}

impl Session {
    /// Connects, until `deadline`.
    ///
    /// # Errors
    /// `upstream.unreachable`, `upstream.forbidden`, `secret.missing`.
    pub(crate) async fn open(server: &Server, deadline: Instant) -> Result<Self> {
        match Self::open_in(server, Generation::Before, deadline).await {
            Err(Unopened::OtherGeneration(_)) => Self::open_in(server, Generation::Now, deadline).await,
            opened => opened,
        }
        .map_err(|unopened| match unopened {
            Unopened::For(error) | Unopened::OtherGeneration(error) => error,
        })
    }

    async fn open_in(server: &Server, generation: Generation, deadline: Instant) -> Result<Self, Unopened> {
        let mut secrets = Secrets::default();
        let (listener, ended, name) = (Listener::default(), Ended::default(), server.name());
        let (opening, program, headers) = match server.reach(&mut secrets)? {
            Reach::Program { argv, env, directory } => {
                let (program, transport) = start(argv, env, &directory, &ended).map_err(|error| {
                    Error::new(Code::UpstreamUnreachable, format!("`{name}` cannot be started: {error}"))
                })?;
                let shaking = shake_hands(listener.clone(), transport, generation);
                (timeout_at(deadline, shaking).await, Some(program), HeaderMap::new())
            }
            Reach::Http { url, headers, client } => {
                let transport =
                    StreamableHttpClientTransport::with_client(client, http_config(url, &headers));
                let shaking = shake_hands(listener.clone(), transport, generation);
                (timeout_at(deadline, shaking).await, None, headers)
            }
        };
        let error = match opening {
            Ok(Ok(service)) => {
                // What a server says about how long its list holds is not relied on.
                service.peer().set_response_cache_config(ClientCacheConfig::disabled()).await;
                let opened = Instant::now();
                return Ok(Self { service, listener, program, ended, headers, secrets, name, opened });
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        if error
            .as_ref()
            .is_some_and(|error| error.is_authorization_required() || super::trouble::is_refusal(error))
        {
            let message = format!("`{name}` does not let us in with the pack's credentials");
            return Err(Error::new(Code::UpstreamForbidden, message).into());
        }
        let why = match &error {
            Some(error) => ended.why().unwrap_or_else(|| shown(&error.to_string(), SHOWN)),
            None => "it did not answer in time".to_owned(),
        };
        let said = last_words(program.as_ref()).await;
        let why = secrets.hide(&format!("{why}{said}"));
        let unreachable =
            Error::new(Code::UpstreamUnreachable, format!("`{name}` cannot be spoken to: {why}"));
        Err(match error {
            Some(ClientInitializeError::JsonRpcError(_)) => Unopened::OtherGeneration(unreachable),
            _ => unreachable.into(),
        })
    }

    fn peer(&self) -> &Peer<RoleClient> {
        self.service.peer()
    }

    /// Whether it can be used: it is not broken, and with what would be sent now it would be the same.
    pub(crate) fn is_good(&self, server: &Server) -> Result<bool> {
        let same = match server.reach(&mut Secrets::default())? {
            Reach::Program { .. } => true,
            Reach::Http { headers, .. } => headers == self.headers,
        };
        Ok(same && !self.peer().is_transport_closed())
    }

    /// Whether the server said that its tools have changed since it was asked last.
    pub(crate) fn has_news(&self) -> bool {
        self.listener.0.tools_changed.load(Ordering::Relaxed)
    }

    /// What the server calls itself.
    pub(crate) fn identity(&self) -> Identity {
        let info = self.peer().peer_info().and_then(|info| info.server_info.clone());
        info.map(|info| Identity { name: shown(&info.name, 128), version: shown(&info.version, 64) })
            .unwrap_or_default()
    }

    /// Every tool that the server has now, in its order.
    pub(crate) async fn tools(&self, deadline: Instant) -> Result<Vec<Definition>> {
        self.listener.0.tools_changed.store(false, Ordering::Relaxed);
        let listing = timeout_at(deadline, self.all_pages()).await;
        let error = match listing {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => error,
            Err(_) => {
                let message = format!("`{}` did not list its tools in time", self.name);
                return Err(Error::new(Code::UpstreamUnreachable, message));
            }
        };
        Err(match self.answer(error).await {
            Answer::Refused(error) | Answer::Failed(error) => error,
            Answer::Never(why) | Answer::Unanswered(why) => Error::new(Code::UpstreamUnreachable, why),
            Answer::Result(_) => Error::internal("a list of tools that is a result"),
        })
    }

    async fn all_pages(&self) -> Result<Vec<Definition>, ServiceError> {
        let mut found = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let page =
                self.peer().list_tools(Some(PaginatedRequestParams::default().with_cursor(cursor))).await?;
            found.extend(page.tools.iter().map(Definition::of));
            cursor = page.next_cursor;
            if found.len() > MAX_TOOLS {
                break;
            }
            if cursor.is_none() {
                return Ok(found);
            }
        }
        Err(ServiceError::UnexpectedResponse)
    }

    /// Calls a tool. A call that is not answered by `deadline` is given up, and the server told so.
    pub(crate) async fn call(
        &self,
        tool: &str,
        arguments: Map<String, Value>,
        deadline: Instant,
        progress: &Progress,
    ) -> Answer {
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let options = PeerRequestOptions::with_timeout(deadline.saturating_duration_since(Instant::now()));
        let sending = timeout_at(deadline, self.peer().send_request_with_option(request, options)).await;
        let Ok(sent) = sending else {
            return Answer::Never(format!("`{}` takes nothing any more", self.name));
        };
        let call = match sent {
            Ok(call) => call,
            Err(error) => return self.answer(error).await,
        };
        let token = call.progress_token.clone();
        self.listener.calls().insert(token.clone(), progress.clone());
        let _forgotten = Forgotten(&self.listener, token);
        match timeout_at(deadline + FAREWELL, call.await_response()).await {
            Ok(Ok(ServerResult::CallToolResult(result))) => {
                Answer::Result(Outcome::of(result, &self.secrets))
            }
            Ok(Ok(ServerResult::InputRequiredResult(_))) => {
                let message = format!("`{}` asks for more, and nobody can be asked", self.name);
                Answer::Failed(Error::new(Code::UpstreamRejected, message))
            }
            Ok(Ok(_)) => self.answer(ServiceError::UnexpectedResponse).await,
            Ok(Err(error)) => self.answer(error).await,
            Err(_) => Answer::Unanswered(format!("`{}` did not answer in time", self.name)),
        }
    }

    /// What an error means for the call that it came of.
    async fn answer(&self, error: ServiceError) -> Answer {
        let name = &self.name;
        match error {
            ServiceError::McpError(error) => {
                let said = self.secrets.hide(&shown(&error.message, SHOWN));
                let refused = matches!(error.code.0, -32700 | -32602..=-32600);
                let code = if refused { Code::UpstreamRejected } else { Code::UpstreamFailed };
                let error =
                    Error::new(code, format!("`{name}` answered with the error {}: {said}", error.code.0));
                if refused { Answer::Refused(error) } else { Answer::Failed(error) }
            }
            ServiceError::TransportSend(error) => super::trouble::of(name, error.error.as_ref()),
            ServiceError::Timeout { .. } => Answer::Unanswered(format!("`{name}` did not answer in time")),
            ServiceError::UnexpectedResponse => {
                let message =
                    format!("`{name}` answered with something that the protocol does not have here");
                Answer::Failed(Error::new(Code::UpstreamAnswerInvalid, message))
            }
            _ => {
                let why =
                    self.ended.why().unwrap_or_else(|| "the connection broke before it answered".to_owned());
                let said = last_words(self.program.as_ref()).await;
                Answer::Unanswered(self.secrets.hide(&format!("`{name}`: {why}{said}")))
            }
        }
    }
}

/// A call whose progress is heard until this is dropped.
struct Forgotten<'a>(&'a Listener, ProgressToken);

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.0.calls().remove(&self.1);
    }
}

async fn shake_hands(
    listener: Listener,
    transport: impl Transport<RoleClient> + 'static,
    generation: Generation,
) -> Result<RunningService<RoleClient, Listener>, ClientInitializeError> {
    let lifecycle = match generation {
        Generation::Before => ClientLifecycleMode::Initialize,
        Generation::Now => {
            ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::LATEST] }
        }
    };
    listener.serve_with_lifecycle(Guarded::new(transport), lifecycle).await
}

fn http_config(url: String, headers: &HeaderMap) -> StreamableHttpClientTransportConfig {
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    StreamableHttpClientTransportConfig::with_uri(url)
        .custom_headers(headers)
        .max_sse_event_size(MAX_MESSAGE)
        .max_json_response_size(MAX_MESSAGE)
        .max_error_response_size(DIAGNOSTIC)
        // A new session may be with another program: its definitions are looked at first.
        .reinit_on_expired_session(false)
}
