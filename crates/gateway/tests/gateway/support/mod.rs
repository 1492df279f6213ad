//! A gateway for tests: a small pack, a policy by role, tokens of the development issuer.

#![allow(dead_code, reason = "the example uses a part of this module only")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test support: a failed unwrap is a failed test"
)]
#![allow(unreachable_pub, reason = "shared by the tests and the example, and private in both")]

pub mod pack;
pub mod signer;
pub mod store;

use astradesk_core::{Code, Effect, Error, decision::Reason};
use astradesk_core::{Decision, Principal, Result, RoleName, RunId, Timestamp, ToolSpec};
use astradesk_gateway::{Auth, Config, DevIssuer, Gateway, Issuer, Limits};
use astradesk_runtime::engine::{self, Parts};
use astradesk_runtime::evidence::Signer;
use astradesk_runtime::port::{Clock, Policy, PolicyRequest, SystemClock};
use astradesk_runtime::{Engine, ToolRegistry};
use pack::TestPack;
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

/// `viewer` reads, `sre` also writes, `auditor` reads the evidence and everybody's runs.
pub struct RolePolicy;

fn has(principal: &Principal, role: &str) -> bool {
    principal.has_role(&RoleName::parse(role).unwrap())
}

impl Policy for RolePolicy {
    fn decide(&self, request: &PolicyRequest<'_>) -> Decision {
        let reasons = vec![Reason { policy: "test".into(), text: "by role".into() }];
        let permitted = match request.call.effect {
            Effect::Read => has(request.principal, "viewer") || has(request.principal, "sre"),
            Effect::Write | Effect::Execute => has(request.principal, "sre"),
        };
        if permitted {
            return Decision::Permit { reasons };
        }
        let error = Error::new(Code::PolicyRoleRequired, "the role is missing");
        Decision::Deny { error, reasons: vec![] }
    }

    fn may_use(&self, principal: &Principal, tool: &ToolSpec) -> bool {
        has(principal, "sre") || (has(principal, "viewer") && tool.effect == Some(Effect::Read))
    }

    fn may_see_runs_of_others(&self, principal: &Principal) -> bool {
        has(principal, "auditor")
    }

    fn may_read_evidence(&self, principal: &Principal) -> bool {
        has(principal, "auditor")
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
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            engine: engine::Limits::default(),
            store: None,
            issuers: vec![],
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }
}

pub struct Harness {
    pub address: SocketAddr,
    pub engine: Engine,
    pub clock: Arc<TestClock>,
    pub store: Arc<TestStore>,
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
    let registry = ToolRegistry::default();
    registry.register(pack).unwrap();
    let engine = Engine::new(Parts {
        store,
        policy: Arc::new(RolePolicy),
        registry: Arc::new(registry),
        clock,
        signer: Arc::new(Signer::from_pkcs8(&astradesk_runtime::key::fresh().unwrap()).unwrap()),
        limits,
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
    let store = match setup.store {
        Some(store) => store,
        None => Arc::new(TestStore::in_memory().await),
    };
    let engine = engine(clock.clone(), &pack, store.clone(), setup.engine).await;
    let dev = DevIssuer::generate().unwrap();
    let auth = Auth::new(setup.issuers, Some(&dev), clock.clone()).unwrap();
    let config = Config { listen: setup.listen, limits: setup.limits };
    let gateway = Gateway::bind(config, engine.clone(), auth).unwrap();
    let address = gateway.local_addr();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(gateway.serve(shutdown.clone()));
    let client = Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
    Harness { address, engine, clock, store, dev, pack, client, shutdown, serving }
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
        let auditor = Principal { subject: "t".into(), issuer: "t".into(), roles, actor: None };
        let records = self.engine.evidence(&auditor, 0, 10_000).await?;
        Ok(records.iter().map(|record| serde_json::from_str(&record.body).unwrap()).collect())
    }

    pub async fn stop(self) -> bool {
        self.shutdown.cancel();
        self.serving.await.unwrap()
    }
}
