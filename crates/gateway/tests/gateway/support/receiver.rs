//! Somebody who is told by a webhook, and checks signatures by their own means.

use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A secret for tests.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// One message, as it came.
#[derive(Debug, Clone)]
pub struct Message {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Message {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Whether one of its signatures is that of the secret.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let signed =
            format!("{}.{}.{}", self.header("webhook-id"), self.header("webhook-timestamp"), self.body);
        let expected = format!("v1,{}", STANDARD.encode(hmac(&key, signed.as_bytes())));
        self.header("webhook-signature").split(' ').any(|signature| signature == expected)
    }
}

/// HMAC-SHA256 as RFC 2104 writes it, for keys of at most one block.
pub fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let pad = |byte: u8| -> Vec<u8> { (0..64).map(|i| key.get(i).copied().unwrap_or(0) ^ byte).collect() };
    let inner = digest(&SHA256, &[pad(0x36), message.to_vec()].concat());
    digest(&SHA256, &[pad(0x5c), inner.as_ref().to_vec()].concat()).as_ref().to_vec()
}

/// How a message is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    Status(u16),
    /// With a `Retry-After`.
    Later(u16, &'static str),
    /// Elsewhere.
    Redirect(String),
    /// With so many bytes.
    Long(usize),
    /// Never.
    Silence,
}

#[derive(Default)]
struct State {
    messages: Mutex<Vec<Message>>,
    answers: Mutex<VecDeque<Answer>>,
}

pub struct Receiver {
    pub url: String,
    state: Arc<State>,
}

impl Receiver {
    /// Answers with these in turn, and with 204 after that.
    pub async fn start(answers: &[Answer]) -> Self {
        let state = Arc::new(State::default());
        state.answers.lock().unwrap().extend(answers.iter().cloned());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/T0PS3CRET", listener.local_addr().unwrap());
        let shared = state.clone();
        let handler = move |uri: Uri, headers: HeaderMap, body: Bytes| async move {
            let body = String::from_utf8(body.to_vec()).unwrap();
            let message = Message { path: uri.path().to_owned(), headers, body };
            shared.messages.lock().unwrap().push(message);
            let answer = shared.answers.lock().unwrap().pop_front();
            answered(answer.unwrap_or(Answer::Status(204))).await
        };
        let router = Router::new().fallback(any(handler));
        tokio::spawn(async move { super::signer::serve(listener, router).await });
        Self { url, state }
    }

    pub fn messages(&self) -> Vec<Message> {
        self.state.messages.lock().unwrap().clone()
    }

    /// The messages, once there are so many.
    pub async fn told(&self, count: usize) -> Vec<Message> {
        super::until(&format!("{count} messages"), async || self.messages().len() >= count).await;
        self.messages()
    }
}

async fn answered(answer: Answer) -> Response {
    let status = |code| StatusCode::from_u16(code).unwrap();
    match answer {
        Answer::Status(code) => status(code).into_response(),
        Answer::Later(code, when) => (status(code), [(header::RETRY_AFTER, when)]).into_response(),
        Answer::Redirect(to) => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response(),
        Answer::Long(bytes) => "x".repeat(bytes).into_response(),
        Answer::Silence => {
            tokio::time::sleep(Duration::from_mins(10)).await;
            StatusCode::OK.into_response()
        }
    }
}
