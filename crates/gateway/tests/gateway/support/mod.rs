//! A gateway for tests: a small pack, a policy by role, tokens of the development issuer.

#![allow(dead_code, reason = "the example uses a part of this module only")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test support: a failed unwrap is a failed test"
)]
#![allow(unreachable_pub, reason = "shared by the tests and the example, and private in both")]

pub mod log;
pub mod pack;
pub mod policy;
pub mod receiver;
pub mod signer;
pub mod store;

use astradesk_core::{Guardrail, Principal, Result, RoleName, RunId, Timestamp};
use astradesk_gateway::{Auth, Config, DevIssuer, Gateway, Issuer, Limits, Webhook};
use astradesk_runtime::engine::{self, Parts};
use astradesk_runtime::evidence::Signer;
use astradesk_runtime::port::{Clock, EvidenceFilter, SystemClock};
use astradesk_runtime::{Engine, ToolRegistry};
use pack::TestPack;
use policy::RolePolicy;
use reqwest::{Client, Method, Response};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use store::TestStore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The machine's clock, which a test can set forward.
#[derive(Default)]
pub struct TestClock {
    ahead: AtomicI64,
    elapsed: AtomicU64,
}

impl TestClock {
    /// Time passes.
    pub fn advance(&self, seconds: u32) {
        self.ahead.fetch_add(seconds.into(), Ordering::SeqCst);
        self.elapsed.fetch_add(seconds.into(), Ordering::SeqCst);
    }

    /// The clock steps, and no time passes.
    pub fn step(&self, seconds: i64) {
        self.ahead.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let now = SystemClock.now();
        let ahead = self.ahead.load(Ordering::SeqCst);
        Timestamp::new(now.as_second() + ahead, now.subsec_nanosecond()).unwrap()
    }

    fn elapsed(&self) -> Duration {
        SystemClock.elapsed() + Duration::from_secs(self.elapsed.load(Ordering::SeqCst))
    }

    fn run_id(&self) -> RunId {
        SystemClock.run_id()
    }
}

/// What a test's gateway is made of.
pub struct Setup {
    pub limits: Limits,
    pub engine: engine::Limits,
    /// The store; a fresh one unless several gateways share it.
    pub store: Option<Arc<TestStore>>,
    pub issuers: Vec<Issuer>,
    pub listen: SocketAddr,
    pub guardrails: Vec<Guardrail>,
    pub webhooks: Vec<Webhook>,
    /// The names of the webhooks that the Engine tells; those of `webhooks` unless they are to differ.
    pub told: Option<Vec<String>>,
    pub public_url: Option<String>,
    pub allowed_hosts: Vec<String>,
    pub allowed_origins: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            engine: engine::Limits::default(),
            store: None,
            issuers: vec![],
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            guardrails: vec![],
            webhooks: vec![],
            told: None,
            public_url: None,
            allowed_hosts: vec![],
            allowed_origins: vec![],
        }
    }
}

/// The issuer of [`Harness::token_of`].
pub const ISSUER: &str = "https://login.example.com";

pub struct Harness {
    pub address: SocketAddr,
    pub engine: Engine,
    pub clock: Arc<TestClock>,
    pub store: Arc<TestStore>,
    pub policy: Arc<RolePolicy>,
    pub dev: DevIssuer,
    pub pack: Arc<TestPack>,
    pub client: Client,
    pub shutdown: CancellationToken,
    pub serving: JoinHandle<bool>,
}

pub async fn engine(
    clock: Arc<TestClock>,
    pack: &TestPack,
    store: Arc<TestStore>,
    limits: engine::Limits,
) -> Engine {
    engine_of(clock, pack, store, Arc::default(), Setup { engine: limits, ..Setup::default() }).await
}

async fn engine_of(
    clock: Arc<TestClock>,
    pack: &TestPack,
    store: Arc<TestStore>,
    policy: Arc<RolePolicy>,
    setup: Setup,
) -> Engine {
    let registry = ToolRegistry::default();
    registry.register(pack).unwrap();
    let engine = Engine::new(Parts {
        store,
        policy,
        registry: Arc::new(registry),
        clock,
        signer: Arc::new(Signer::from_pkcs8(&astradesk_runtime::key::fresh().unwrap()).unwrap()),
        guardrails: setup.guardrails,
        webhooks: setup.told.unwrap_or_default(),
        limits: setup.engine,
    });
    engine.begin().await.unwrap();
    engine
}

pub async fn start() -> Harness {
    start_with(Setup::default()).await
}

pub async fn start_with(setup: Setup) -> Harness {
    let clock = Arc::new(TestClock::default());
    let pack = Arc::new(TestPack::new());
    let store = match &setup.store {
        Some(store) => store.clone(),
        None => Arc::new(TestStore::in_memory().await),
    };
    let policy = Arc::<RolePolicy>::default();
    let config = Config {
        listen: setup.listen,
        limits: setup.limits.clone(),
        webhooks: setup.webhooks.clone(),
        public_url: setup.public_url.clone(),
        allowed_hosts: setup.allowed_hosts.clone(),
        allowed_origins: setup.allowed_origins.clone(),
    };
    let dev = DevIssuer::generate().unwrap();
    let auth = Auth::new(setup.issuers.clone(), Some(&dev), clock.clone()).unwrap();
    let names = setup.webhooks.iter().map(|webhook| webhook.name().to_owned()).collect();
    let setup = Setup { told: Some(setup.told.clone().unwrap_or(names)), ..setup };
    let engine = engine_of(clock.clone(), &pack, store.clone(), policy.clone(), setup).await;
    let gateway = Gateway::bind(config, engine.clone(), auth).unwrap();
    let address = gateway.local_addr();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(gateway.serve(shutdown.clone()));
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
    Harness { address, engine, clock, store, policy, dev, pack, client, shutdown, serving }
}

/// Asks until the answer will do.
pub async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if ask().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{what}: not within 10 s");
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Reply {
    pub async fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { status, headers, body, text }
    }

    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is a well-formed problem with this status and code.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        for member in ["type", "title", "detail", "remedy", "instance", "request_id"] {
            assert!(self.body[member].is_string(), "no `{member}` in {}", self.text);
        }
        assert_eq!(self.body["status"], status);
    }
}

impl Harness {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn token(&self, subject: &str, roles: &[&str]) -> String {
        let roles: Vec<RoleName> = roles.iter().map(|role| RoleName::parse(*role).unwrap()).collect();
        self.dev.mint(subject, &roles, Duration::from_hours(1), self.clock.now()).unwrap()
    }

    /// A token of `subject` that `actor` acts with, by an issuer of the test's own.
    pub fn token_of(&self, signer: &signer::Signer, claims: &Value) -> String {
        let now = self.clock.now().as_second();
        let mut all = serde_json::json!({"iss": ISSUER, "aud": "astradesk", "iat": now, "exp": now + 3600});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        signer.sign("k1", &all)
    }

    /// Somebody with every role.
    pub fn admin(&self) -> String {
        self.token("admin", &["viewer", "sre", "auditor"])
    }

    pub fn request(&self, method: Method, path: &str, token: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path)).bearer_auth(token)
    }

    pub async fn get(&self, path: &str, token: &str) -> Reply {
        Reply::read(self.request(Method::GET, path, token).send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, token: &str, body: Value) -> Reply {
        Reply::read(self.request(Method::POST, path, token).json(&body).send().await.unwrap()).await
    }

    /// The run, once it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        let path = format!("/v1/runs/{id}/events");
        let watched = self.get(&path, &self.admin()).await;
        assert!(watched.text.contains("event: end"), "{}", watched.text);
        self.get(&format!("/v1/runs/{id}"), &self.admin()).await.body
    }

    /// The evidence so far, as parsed bodies.
    pub async fn evidence(&self) -> Result<Vec<Value>> {
        let roles = [RoleName::parse("auditor").unwrap()].into();
        let filter = EvidenceFilter { limit: 10_000, ..EvidenceFilter::default() };
        let auditor = Principal { subject: "t".into(), issuer: "t".into(), roles, actor: None };
        let records = self.engine.evidence(&auditor, &filter).await?;
        Ok(records.iter().map(|record| serde_json::from_str(&record.body).unwrap()).collect())
    }

    pub async fn stop(self) -> bool {
        self.shutdown.cancel();
        self.serving.await.unwrap()
    }
}
