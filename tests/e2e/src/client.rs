//! HTTP to a gateway, and its evidence, verified.

use crate::PATIENCE;
use astradesk_core::canonical::Digest;
use astradesk_core::evidence::Head;
use astradesk_runtime::evidence::Checkpoint;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::time::Duration;

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its JSON; null when it is none.
    pub body: Value,
}

impl Reply {
    /// The code of a problem.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The id of the run that it is about.
    pub fn run(&self) -> &str {
        let run = self.body["run"]["id"].as_str().or_else(|| self.body["details"]["run"].as_str());
        run.unwrap_or_else(|| panic!("there is no run in {:#}", self.body))
    }

    /// Checks status and code of a problem.
    #[track_caller]
    pub fn expect(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{:#}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
    }

    /// Checks that a run succeeded.
    #[track_caller]
    pub fn expect_success(&self) {
        assert_eq!(self.status, 200, "{:#}", self.body);
        assert_eq!(self.body["run"]["state"], "succeeded", "{:#}", self.body);
    }
}

/// Somebody who speaks to a gateway.
#[derive(Clone)]
pub struct Client {
    /// The gateway's address.
    pub url: String,
    token: Option<String>,
    http: reqwest::Client,
}

impl Client {
    /// The holder of `token`.
    pub fn new(url: &str, token: &str) -> Self {
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Self { url: url.to_owned(), token: Some(token.to_owned()), http }
    }

    /// The same with another token, or without one.
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    /// A request.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Asks.
    pub async fn get(&self, path: &str) -> Reply {
        send(self.request(Method::GET, path)).await
    }

    /// Says a sentence and waits for its run.
    pub async fn say(&self, sentence: &str) -> Reply {
        send(self.saying(sentence).header("prefer", "wait=60")).await
    }

    /// Says a sentence and does not wait.
    pub async fn start(&self, sentence: &str) -> Reply {
        send(self.saying(sentence)).await
    }

    /// Says a sentence under an idempotency key and waits for its run.
    pub async fn say_once(&self, sentence: &str, key: &str) -> Reply {
        send(self.saying(sentence).header("prefer", "wait=60").header("idempotency-key", key)).await
    }

    /// Calls a tool and waits for its run.
    pub async fn call(&self, tool: &str, arguments: &Value) -> Reply {
        let request = self.request(Method::POST, &format!("/v1/tools/{tool}/runs"));
        send(request.json(&json!({"arguments": arguments})).header("prefer", "wait=60")).await
    }

    /// Calls a tool, with more in the request, and does not wait.
    pub async fn ask(&self, tool: &str, request: &Value) -> Reply {
        send(self.request(Method::POST, &format!("/v1/tools/{tool}/runs")).json(request)).await
    }

    /// Posts a body.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        send(self.request(Method::POST, path).json(body)).await
    }

    fn saying(&self, sentence: &str) -> RequestBuilder {
        self.request(Method::POST, "/v1/run").json(&json!({"agent": "ops", "input": sentence}))
    }

    /// A run as it stands.
    pub async fn run(&self, id: &str) -> Value {
        let reply = self.get(&format!("/v1/runs/{id}")).await;
        assert!(reply.status == 200 && reply.body["id"] == id, "{:#}", reply.body);
        reply.body
    }

    /// A run once it has ended, as its events say.
    pub async fn ended(&self, id: &str) -> Value {
        self.event(id, |event| event["kind"] == "end").await;
        self.run(id).await
    }

    /// Waits for an event of a run: `data` as it was sent, with `kind`; a last one has the kind `end`.
    pub async fn event(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let finding = async {
            let mut response =
                self.request(Method::GET, &format!("/v1/runs/{id}/events")).send().await.unwrap();
            let mut text = String::new();
            while let Some(chunk) = response.chunk().await.unwrap() {
                text += std::str::from_utf8(&chunk).unwrap();
                while let Some((frame, rest)) = text.split_once("\n\n") {
                    let field =
                        |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                    let mut event = field("data:").map_or(json!({}), |data| {
                        serde_json::from_str(data).unwrap_or_else(|_| json!({"text": data}))
                    });
                    let kind = field("event:").unwrap_or_default();
                    event["kind"] = kind.into();
                    if wanted(&event) {
                        return event;
                    }
                    assert_ne!(kind, "end", "run {id} ended without the event that is waited for");
                    text = rest.to_owned();
                }
            }
            panic!("the events of run {id} broke off: {text}");
        };
        let found = tokio::time::timeout(PATIENCE, finding).await;
        found.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for an event of run {id}"))
    }

    /// Every record of the evidence, once the chain and a signed checkpoint of it are verified.
    pub async fn evidence(&self) -> Vec<Value> {
        let checkpoint = self.get("/v1/audit/checkpoint").await;
        assert_eq!(checkpoint.status, 200, "{:#}", checkpoint.body);
        let checkpoint: Checkpoint = serde_json::from_value(checkpoint.body).unwrap();
        let signed = checkpoint.verify(checkpoint.key().unwrap()).unwrap();
        let (mut head, mut records) = (Head::EMPTY, Vec::new());
        loop {
            let page = self.get(&format!("/v1/audit?after={}&limit=200", head.seq)).await;
            assert_eq!(page.status, 200, "{:#}", page.body);
            let page = page.body["records"].as_array().unwrap();
            if page.is_empty() {
                break;
            }
            for record in page {
                let body = record["body"].as_str().unwrap();
                let hash: Digest = serde_json::from_value(record["hash"].clone()).unwrap();
                head = head.verify(body, hash).unwrap();
                if head.seq == signed.seq {
                    assert_eq!(head, signed, "the checkpoint is for another chain");
                }
                records.push(serde_json::from_str(body).unwrap());
            }
        }
        assert!(head.seq >= signed.seq, "the chain is shorter than its checkpoint says");
        records
    }

    /// The kinds of a run's records, in order.
    pub async fn evidence_of(&self, run: &str) -> Vec<String> {
        let records = self.evidence().await;
        let of = records.iter().filter(|record| record["run"] == run);
        of.map(|record| record["kind"].as_str().unwrap().to_owned()).collect()
    }
}

/// Sends a request and reads its answer.
pub async fn send(request: RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default();
    Reply { status, headers, body }
}

/// How long a run took, by its own clock.
pub fn took(run: &Value) -> Duration {
    let at = |name: &str| run[name].as_str().unwrap().parse::<astradesk_core::Timestamp>().unwrap();
    Duration::try_from(at("updated_at").duration_since(at("created_at"))).unwrap()
}
