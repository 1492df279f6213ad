//! A server that answers what it is told to, and somebody who plans with it.

use astradesk_core::tool::{Effect, Form, Grammar, Slot};
use astradesk_core::{Code, Consultation, Error, Plan, Result, ToolName, ToolSpec};
use astradesk_llm::settings::{Budget, base_url};
use astradesk_llm::{LlmPlanner, Mode, Settings};
use astradesk_runtime::planner::Aliases;
use astradesk_runtime::port::{Names, Planner as _, SystemClock};
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a server answers.
#[derive(Clone)]
pub(crate) struct Reply {
    status: u16,
    body: String,
    headers: Vec<(&'static str, &'static str)>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Whole,
    /// The connection breaks in the middle of the body.
    Cut,
    /// There is never an answer.
    Hang,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), headers: Vec::new(), kind: Kind::Whole }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn cut() -> Self {
        Self { kind: Kind::Cut, ..Self::new(200, "") }
    }

    pub(crate) fn hang() -> Self {
        Self { kind: Kind::Hang, ..Self::new(200, "") }
    }
}

/// A completion with this message.
pub(crate) fn completion(message: &Value) -> Reply {
    let completion = json!({
        "id": "c-1", "object": "chat.completion", "created": 1, "model": "scripted-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
    });
    Reply::new(200, completion.to_string())
}

/// A completion that calls these functions.
pub(crate) fn calling(calls: &[(&str, &str)]) -> Reply {
    let calls: Value = calls
        .iter()
        .map(|(name, arguments)| {
            json!({"id": "f-1", "type": "function", "function": {"name": name, "arguments": arguments}})
        })
        .collect();
    completion(&json!({"role": "assistant", "content": null, "tool_calls": calls}))
}

#[derive(Default)]
struct Script {
    replies: VecDeque<Reply>,
    questions: Vec<Value>,
    authorizations: Vec<String>,
}

/// A server with a script.
pub(crate) struct Server {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Server {
    pub(crate) async fn answering(replies: Vec<Reply>) -> Self {
        let script = Arc::new(Mutex::new(Script { replies: replies.into(), ..Script::default() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(answer).with_state(script.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, script }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            base_url: base_url(&format!("http://{}/v1", self.address), false).unwrap(),
            model: "scripted".to_owned(),
            key: None,
            mode: Mode::Tools,
            timeout: Duration::from_secs(20),
            retries: 2,
            max_tokens: 200,
            max_steps: 2,
            seed: 0,
            max_prompt_bytes: 64 << 10,
            budget: Budget { tokens: 1_000_000, cost: None, prompt_price: 0.0, completion_price: 0.0 },
        }
    }

    pub(crate) fn questions(&self) -> Vec<Value> {
        self.script.lock().unwrap().questions.clone()
    }

    pub(crate) fn authorizations(&self) -> Vec<String> {
        self.script.lock().unwrap().authorizations.clone()
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let reply = {
        let mut script = script.lock().unwrap();
        script.questions.push(serde_json::from_slice(&body).unwrap_or_default());
        let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        script.authorizations.extend(authorization);
        script.replies.pop_front().unwrap_or_else(|| Reply::new(418, "the script is over"))
    };
    let mut response = Response::builder().status(reply.status);
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    match reply.kind {
        Kind::Whole => response.body(Body::from(reply.body)).unwrap(),
        // Less comes than was promised.
        Kind::Cut => response.header("content-length", "100").body(Body::from("{\"cho")).unwrap(),
        Kind::Hang => std::future::pending().await,
    }
}

/// An address where nobody listens.
pub(crate) fn nowhere() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Somebody who plans, what they may use, and what is on record.
pub(crate) struct Desk {
    pub(crate) planner: LlmPlanner,
    known: Known,
}

struct Known {
    anything: bool,
    evidence: bool,
    records: Mutex<Vec<Consultation>>,
}

impl Desk {
    pub(crate) fn new(settings: Settings) -> Self {
        let aliases = [("the shop".to_owned(), "webapp".to_owned())].into();
        let aliases = Arc::new(Aliases::new(&aliases).unwrap());
        let planner = LlmPlanner::new(settings, aliases, Arc::new(SystemClock)).unwrap();
        Self { planner, known: Known { anything: true, evidence: true, records: Mutex::default() } }
    }

    pub(crate) fn for_nobody(mut self) -> Self {
        self.known.anything = false;
        self
    }

    pub(crate) fn without_evidence(mut self) -> Self {
        self.known.evidence = false;
        self
    }

    pub(crate) async fn plan(&self, input: &str) -> Result<Plan> {
        let tools = ["get_service_status", "restart_service", "secret_tool"].map(|name| Arc::new(spec(name)));
        self.planner.plan(input, &tools, &self.known).await
    }

    pub(crate) fn consulted(&self) -> Vec<Consultation> {
        self.known.records.lock().unwrap().clone()
    }
}

#[async_trait]
impl Names for Known {
    async fn candidates(&self, _: &ToolName, argument: &str) -> Result<Option<Vec<String>>> {
        let names = ["ledger", "payments", "webapp"].map(str::to_owned).to_vec();
        Ok(Some(if argument == "service" { names } else { Vec::new() }))
    }

    async fn permitted(&self, _: &ToolName, _: &str, names: &[String]) -> Vec<String> {
        names.iter().filter(|name| *name != "ledger").cloned().collect()
    }

    fn may_use(&self, tool: &ToolSpec) -> bool {
        self.anything && tool.name.as_str() != "secret_tool"
    }

    async fn consulted(&self, consultation: Consultation) -> Result<()> {
        if !self.evidence {
            return Err(Error::new(Code::StoreUnavailable, "cut off"));
        }
        self.records.lock().unwrap().push(consultation);
        Ok(())
    }
}

fn spec(name: &str) -> ToolSpec {
    ToolSpec {
        name: ToolName::parse(name).unwrap(),
        version: "1".to_owned(),
        description: format!("`{name}`, for tests"),
        effect: Some(Effect::Write),
        input_schema: json!({
            "type": "object", "additionalProperties": false, "required": ["service"],
            "properties": {"service": {"type": "string"}, "namespace": {"type": "string"}},
        }),
        timeout: Duration::from_secs(1),
        grammar: Grammar {
            nouns: Vec::new(),
            phrases: Vec::new(),
            slots: vec![Slot {
                argument: "service".to_owned(),
                form: Form::Name,
                required: true,
                locates: false,
            }],
            fillers: Vec::new(),
        },
    }
}
