//! Language models: one that does whatever a text tells it to, and LiteLLM's proxy, which others wrote.

use crate::place::skipped;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A model that calls what it is told to, whoever tells it and whatever its instructions are: the worst that there
/// can be. At `/told` it gives the text that it is to obey, for tools that read something.
pub struct Obedient {
    /// Its address, to which `/chat/completions` is added.
    pub base_url: String,
    state: Arc<Mutex<State>>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct State {
    calls: Vec<Value>,
    told: String,
    questions: Vec<String>,
}

impl Obedient {
    /// Starts one.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = shared.clone();
                let service = service_fn(move |request| answer(request, state.clone()));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { base_url, state, _serving: AbortOnDropHandle::new(serving) }
    }

    /// From now on it calls this: `[{"tool", "arguments"}]`, because of `told`.
    pub fn obey(&self, told: &str, calls: &Value) {
        let mut state = self.state.lock().unwrap();
        state.calls.clone_from(calls.as_array().unwrap());
        told.clone_into(&mut state.told);
    }

    /// What it was asked, as it came.
    pub fn questions(&self) -> Vec<String> {
        self.state.lock().unwrap().questions.clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let is_question = request.uri().path().ends_with("/chat/completions");
    let body = request.into_body().collect().await?.to_bytes();
    let mut state = state.lock().unwrap();
    if !is_question {
        return Ok(Response::new(Full::from(json!({"text": state.told}).to_string())));
    }
    state.questions.push(String::from_utf8_lossy(&body).into_owned());
    let calls: Value = state
        .calls
        .iter()
        .map(|call| {
            let function = json!({"name": call["tool"], "arguments": call["arguments"].to_string()});
            json!({"id": "c", "type": "function", "function": function})
        })
        .collect();
    let message = json!({"role": "assistant", "content": null, "tool_calls": calls});
    let completion = json!({"model": "obedient", "choices": [{"index": 0, "message": message}]});
    Ok(Response::new(Full::from(completion.to_string())))
}

/// The variable that names the address of LiteLLM's proxy, which has the models of `tests/e2e/litellm.yaml`.
pub const TEST_LITELLM: &str = "ASTRADESK_TEST_LITELLM";
/// The key that it wants.
pub const LITELLM_KEY: &str = "sk-e2e-hunter2-0123456789";

/// The proxy's address, to which `/chat/completions` is added. Says loudly when there is none, and fails where `CI` is
/// set.
pub fn litellm() -> Option<String> {
    let address = std::env::var(TEST_LITELLM).ok().filter(|address| !address.is_empty());
    if address.is_none() {
        skipped(&format!("no LiteLLM at `{TEST_LITELLM}`; use `cargo xtask test`"));
    }
    address
}
