//! How requests are sent: one at a time through the gate, each with a limit, only reads more than once.
//!
//! | verb | an answer that may pass (408, 429, 5xx), or none | any other error |
//! |---|---|---|
//! | `get`, `list`, `create` of a review | again after 0.1, 0.3 and 0.9 s, within 10 s | told at once |
//! | `patch` | told at once: whoever sent it looks at the object first | told at once |
//! | `watch` | begins again with a list, see `scope` | the same |
//!
//! `Retry-After` holds back the next requests of every kind; see [`super::gate`].

use super::FIELD_MANAGER;
use super::errors::{Failure, Operation};
use super::gate::{Gate, Listening, Pace};
use astradesk_core::{Code, Error, Result};
use kube::api::{Patch, PatchParams};
use kube::client::ClientBuilder;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The longest that one request may take, from its turn to the last byte of its answer; watches aside.
pub(crate) const REQUEST: Duration = Duration::from_secs(10);
/// The longest that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection on which nothing comes for so long is dead: longer than the API server lets a watch last.
pub(crate) const SILENCE: Duration = Duration::from_secs(40);
/// How often a read is tried, and how long the first pause is.
const READ_TRIES: u32 = 4;
const READ_PAUSE: Duration = Duration::from_millis(100);

/// The way to the API server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Requests {
    client: Client,
    gate: Arc<Gate>,
}

impl Requests {
    /// The way that `config` leads. Nothing is sent yet. Must be called inside a Tokio runtime.
    pub(crate) fn new(mut config: kube::Config, pace: Pace) -> Result<Self> {
        limit(&mut config);
        let builder = ClientBuilder::try_from(config).map_err(|error| {
            Error::new(Code::ConfigInvalid, format!("the kubeconfig cannot be used: {error}"))
                .with_remedy("correct the cluster's entry in the kubeconfig")
        })?;
        let gate = Arc::new(Gate::new(pace));
        let client = builder.with_layer(&Listening(gate.clone())).build();
        Ok(Self { client, gate })
    }

    /// A client, which must not retry by itself, with the gate that its responses tell.
    #[cfg(test)]
    pub(crate) fn with(client: Client, gate: Arc<Gate>) -> Self {
        Self { client, gate }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Reads, trying again a few times when that may help.
    pub(crate) async fn read<T, F>(&self, operation: &Operation, ask: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let mut pause = READ_PAUSE;
        let begun = Instant::now();
        for _ in 1..READ_TRIES {
            match self.once(ask()).await {
                Err(failure) if failure.is_transient() && begun.elapsed() < REQUEST => {
                    tracing::debug!(%operation, ?failure, "trying again");
                }
                answer => return answer,
            }
            sleep(pause).await;
            pause *= 3;
        }
        self.once(ask()).await
    }

    /// Sends one merge patch, once, if its turn comes before `until`. Without that it is a dry run: the API server does
    /// everything but store it.
    pub(crate) async fn patch<K>(
        &self,
        namespace: &str,
        name: &str,
        patch: &Value,
        until: Option<Instant>,
    ) -> Result<K, Failure>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let manager = Some(FIELD_MANAGER.to_owned());
        let params =
            PatchParams { dry_run: until.is_none(), field_manager: manager, ..PatchParams::default() };
        let api: Api<K> = self.api(namespace);
        let patch = Patch::Merge(patch);
        self.in_turn(api.patch(name, &params, &patch), until).await
    }

    /// Sends one write, once, if its turn comes before `until`; a dry run, without that, waits as reads do.
    pub(crate) async fn in_turn<T>(
        &self,
        request: impl Future<Output = kube::Result<T>>,
        until: Option<Instant>,
    ) -> Result<T, Failure> {
        match until {
            None => self.once(request).await,
            // A turn that does not come in time is certain to have sent nothing.
            Some(until) => match timeout_at(until, self.gate.turn()).await {
                Ok(true) => self.send(request).await,
                Ok(false) | Err(_) => Err(Failure::NotSent),
            },
        }
    }

    /// Sends one request when its turn has come, and waits for the whole answer.
    pub(crate) async fn once<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        if !self.gate.turn().await {
            return Err(Failure::NotSent);
        }
        self.send(request).await
    }

    async fn send<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
        match timeout(REQUEST, request).await {
            Ok(answer) => answer.map_err(Failure::Api),
            Err(_) => Err(Failure::TimedOut),
        }
    }
}

/// No retries of the client's own, and no wait without a limit. kube's own retries would repeat a write after a
/// 429, 503 or 504 of any origin, and hide that they did.
pub(crate) fn limit(config: &mut kube::Config) {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    config.write_timeout = Some(REQUEST);
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures::future::BoxFuture;
    use futures::{StreamExt as _, stream};
    use http::{Request, Response, StatusCode};
    use http_body_util::combinators::UnsyncBoxBody;
    use http_body_util::{BodyExt as _, Full, StreamBody};
    use hyper::body::Frame;
    use k8s_openapi::api::core::v1::Pod;
    use kube::client::Body;
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use tower::{BoxError, Layer as _, service_fn};

    type Reply = Result<Response<UnsyncBoxBody<Bytes, BoxError>>, BoxError>;
    type Answer = fn() -> BoxFuture<'static, Reply>;

    fn reply(status: u16, retry_after: Option<&str>, body: &'static str) -> BoxFuture<'static, Reply> {
        let body = Full::new(Bytes::from_static(body.as_bytes())).map_err(Into::into).boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(http::header::RETRY_AFTER, seconds.parse().unwrap());
        }
        Box::pin(async { Ok(response) })
    }

    /// A server that answers so, and when it was asked.
    fn server(answers: &[Answer]) -> (Requests, Arc<Mutex<Vec<Instant>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let answers = Arc::new(Mutex::new(VecDeque::from(answers.to_vec())));
        let service = service_fn(move |_: Request<Body>| {
            seen.lock().unwrap().push(Instant::now());
            let next = answers.lock().unwrap().pop_front().unwrap_or(pod);
            next()
        });
        let gate = Arc::new(Gate::new(Pace::default()));
        let client = Client::new(Listening(gate.clone()).layer(service), "default");
        (Requests::with(client, gate), asked)
    }

    fn pod() -> BoxFuture<'static, Reply> {
        reply(200, None, r#"{"metadata": {"name": "webapp-1"}}"#)
    }

    fn busy() -> BoxFuture<'static, Reply> {
        reply(429, Some("2"), "Too many requests, please try again later.")
    }

    fn down() -> BoxFuture<'static, Reply> {
        Box::pin(async { Err("connection refused".into()) })
    }

    fn forbidden() -> BoxFuture<'static, Reply> {
        reply(403, None, r#"{"kind": "Status", "code": 403, "message": "no"}"#)
    }

    fn cut() -> BoxFuture<'static, Reply> {
        reply(200, None, r#"{"metadata": {"na"#)
    }

    /// A head, some bytes, and then nothing.
    fn stalled() -> BoxFuture<'static, Reply> {
        let begin = Frame::data(Bytes::from_static(br#"{"metadata": "#));
        let frames = stream::once(async { Ok::<_, BoxError>(begin) }).chain(stream::pending());
        Box::pin(async { Ok(Response::new(StreamBody::new(frames).boxed_unsync())) })
    }

    async fn read(requests: &Requests) -> Result<Pod, Failure> {
        let api: Api<Pod> = requests.api("default");
        let operation = Operation::new("get", "pods", "default", "webapp-1");
        requests.read(&operation, || api.get("webapp-1")).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_repeated_when_that_may_help_and_not_sooner_than_the_server_says() {
        let (requests, asked) = server(&[busy, pod]);
        read(&requests).await.unwrap();
        let asked = asked.lock().unwrap();
        let waited = asked[1] - asked[0];
        assert!(waited >= Duration::from_secs(2) && waited < Duration::from_secs(3), "{waited:?}");
        assert_eq!(
            requests.gate().sent().iter().map(|s| (s.verb, s.status, s.count)).collect::<Vec<_>>(),
            [("get", Some(200), 1), ("get", Some(429), 1)]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn each_kind_of_answer_has_its_number_of_tries_and_its_time() {
        for (answers, tries, well, within) in [
            (vec![down as Answer, down, pod], 3, true, 1),
            (vec![down, down, down, down], 4, false, 2),
            (vec![cut, pod], 2, true, 1),
            (vec![forbidden, pod], 1, false, 0),
            (vec![stalled, pod], 1, false, 10),
        ] {
            let (requests, asked) = server(&answers);
            let begun = Instant::now();
            let answer = read(&requests).await;
            assert_eq!(answer.is_ok(), well, "{answer:?}");
            assert_eq!(asked.lock().unwrap().len(), tries);
            assert_eq!(begun.elapsed().as_secs_f64().ceil() as u64, within, "{:?}", begun.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_never_repeated() {
        for answer in [busy as Answer, down, cut, stalled] {
            let (requests, asked) = server(&[answer]);
            let patch: Result<Pod, Failure> = requests
                .patch("default", "webapp-1", &serde_json::json!({}), Some(Instant::now() + REQUEST))
                .await;
            assert!(patch.is_err());
            assert_eq!(asked.lock().unwrap().len(), 1);
        }
    }
}
