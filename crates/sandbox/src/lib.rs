//! An embedded cluster that speaks the Kubernetes API over HTTP (and TLS) on loopback, with its state in memory: for the
//! demo, for tests and for drills.
//!
//! ```no_run
//! # async fn run() -> Result<(), astradesk_sandbox::Error> {
//! use astradesk_sandbox::{Config, Sandbox, scenario};
//!
//! let sandbox = Sandbox::start(Config { objects: scenario::demo(), ..Config::default() }).await?;
//! println!("{}", sandbox.kubeconfig());
//! sandbox.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! - `storage` is the versioned store. Everything else reads it and writes to it: watches, controllers and
//!   paging keep a version as their cursor, and one counter of versions orders all that happens.
//! - `server` is the API. One path serves every kind of the table in `resource`; `rules` are its defaults and
//!   checks, `deletion` is how things go.
//!   Who may do what is decided by the roles that are stored, `roles` being those of the start.
//! - [`scenario`] reads files that say what a cluster begins with and what happens to it later; `yaml` says what
//!   is wrong with them.
//! - `controllers` is one task: what manages workloads, the garbage collector, the
//!   scheduler and the kubelet, driven by changes and by one heap of timers.
//! - `behaviour` reads from a pod's annotations what becomes of it:
//!   `sandbox.astradesk.dev/behaviour` is `ready`, `slow:SECONDS`, `flaky:SECONDS`, `crash:EXIT_CODE`,
//!   `image-pull`, `never-ready` or `unschedulable` (of a node: `down`); `sandbox.astradesk.dev/behaviour-once-restarted` takes its place when the template also
//!   carries `kubectl.kubernetes.io/restartedAt`; `sandbox.astradesk.dev/logs` are the lines of its log.
//!
//! # What is absent
//!
//! No etcd, no containers, no network, no admission but quotas. Of protobuf only what kubectl sends; the OpenAPI document knows
//! no fields. An applied configuration is merged: conflicts are not reported, and what is left out stays.

mod behaviour;
mod controllers;
mod deletion;
mod json;
mod object;
mod quota;
mod resource;
mod roles;
mod rules;
pub mod scenario;
mod server;
mod storage;
mod tls;
mod yaml;

pub use scenario::Timeline;
pub use server::faults::Rule as Fault;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::serve::ListenerExt;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use json::json;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How a sandbox starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens. Loopback only; port 0 (the default, on 127.0.0.1) takes a free one.
    pub listen: SocketAddr,
    /// Decides every random choice in the cluster's life: the same seed, the same names and delays.
    pub seed: u64,
    /// Objects that are there from the start, with their namespaces (`default` where they name none).
    pub objects: Vec<Value>,
    /// Stretches the time that a pod's steps take: 1.0 (the default) is believable, 0.1 is ten times faster.
    /// Seconds that a specification names (`minReadySeconds`, deadlines, `slow:SECONDS`) stay as they are.
    pub pace: f64,
    /// How many nodes there are, each with 4 cores, 8 GiB and room for 110 pods. By default 3, at most 1,000.
    pub nodes: u32,
    /// Who may use the cluster beside its administrator, each with a token and a context of their own. What they may do,
    /// the roles say that they or their groups are bound to.
    pub users: Vec<User>,
    /// What goes wrong with requests from the start.
    pub faults: Vec<Fault>,
    /// What happens later.
    pub timeline: Timeline,
}

/// Somebody who may use a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// As roles' bindings and refusals name them; at most 253 bytes.
    pub name: String,
    /// The groups that they are in.
    pub groups: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            objects: Vec::new(),
            pace: 1.0,
            nodes: 3,
            users: Vec::new(),
            faults: Vec::new(),
            timeline: Timeline::default(),
        }
    }
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is reachable from elsewhere.
    #[error("the sandbox listens on loopback only, not on `{0}`: use 127.0.0.1 or [::1]")]
    NotLoopback(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on `{address}`: choose another port, or 0 for a free one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The certificate for TLS could not be made.
    #[error("cannot make a certificate for the sandbox: {0}")]
    Certificate(std::io::Error),
    /// A number of the configuration is out of its range.
    #[error("`{name}` is out of range: {expected}")]
    OutOfRange {
        /// The configuration's field.
        name: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// An object to begin with is not acceptable.
    #[error("cannot create {kind} `{name}`: {why}")]
    Object {
        /// The object's kind.
        kind: String,
        /// The object's name.
        name: String,
        /// What the API server says.
        why: String,
    },
}

/// How many nodes there may be.
const NODES: u32 = 1_000;

/// A running cluster. It ends with [`Sandbox::shutdown`], or when it is dropped.
pub struct Sandbox {
    url: String,
    secure_url: String,
    /// The certificate of `secure_url`, as PEM.
    certificate: String,
    /// Everybody's token; the administrator's is the first.
    tokens: Vec<(String, String)>,
    happenings: Option<mpsc::Receiver<String>>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Sandbox {
    /// Without the tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Starts a cluster. It answers when this returns; its pods need their time to become ready.
    pub async fn start(config: Config) -> Result<Sandbox, Error> {
        if !config.listen.ip().is_loopback() {
            return Err(Error::NotLoopback(config.listen));
        }
        check(&config)?;
        let cannot_listen = |source| Error::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(cannot_listen)?;
        let url = format!("http://{}", listener.local_addr().map_err(cannot_listen)?);
        let secure = TcpListener::bind((config.listen.ip(), 0)).await.map_err(cannot_listen)?;
        let secure_url = format!("https://{}", secure.local_addr().map_err(cannot_listen)?);
        let (acceptor, certificate) = tls::certify(config.listen.ip()).map_err(Error::Certificate)?;
        let storage = Arc::new(storage::Storage::new());
        let objects = config.objects.into_iter().map(json::Value::from);
        for object in first_objects(config.nodes).into_iter().chain(objects) {
            let (kind, name) = (object::text(&object, "/kind").to_owned(), object::name(&object).to_owned());
            server::create_object(&storage, object).map_err(|why| Error::Object { kind, name, why })?;
        }

        let stop = CancellationToken::new();
        let (accounts, tokens) = accounts(&config.users);
        let faults = server::faults::Faults::new(config.faults, config.seed);
        let shared = server::Shared { storage: storage.clone(), accounts, faults, stop: stop.clone() };
        let shared = Arc::new(shared);
        let controllers = controllers::Controllers::new(storage, config.seed, config.pace);
        let router = server::router(shared.clone());
        let (told, happenings) = mpsc::channel(config.timeline.len().max(1));
        let timeline = scenario::follow(config.timeline, shared, told, stop.clone());
        let tasks = vec![
            tokio::spawn(controllers.run(stop.clone())),
            tokio::spawn(timeline),
            serve(listener.tap_io(send_at_once), router.clone(), stop.clone()),
            serve(tls::TlsListener::new(secure, acceptor), router, stop.clone()),
        ];
        tracing::debug!(url, "the sandbox listens");
        Ok(Sandbox { url, secure_url, certificate, tokens, happenings: Some(happenings), stop, tasks })
    }

    /// Where the API is: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The administrator's bearer token, new with every start.
    pub fn token(&self) -> &str {
        self.tokens.first().map_or("", |(_, token)| token)
    }

    /// A kubeconfig (YAML) for this cluster: the context `sandbox` is its administrator's, and each user has one of their
    /// name. It leads to the same API over TLS on a port of its own, because kubectl sends no token in the clear.
    pub fn kubeconfig(&self) -> String {
        let (url, authority) = (&self.secure_url, STANDARD.encode(&self.certificate));
        let named = |entry: fn(&Value, &str) -> String| -> String {
            self.tokens.iter().map(|(name, token)| entry(&name.as_str().into(), token)).collect()
        };
        let contexts = named(|name, _| {
            format!(
                "- name: {name}\n  context:\n    cluster: sandbox\n    namespace: default\n    user: {name}\n"
            )
        });
        let users = named(|name, token| format!("- name: {name}\n  user:\n    token: {token}\n"));
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {ADMINISTRATOR}\nclusters:\n- name: sandbox\n  cluster:\n    \
             server: {url}\n    certificate-authority-data: {authority}\ncontexts:\n{contexts}users:\n{users}"
        )
    }

    /// Tells each thing of the timeline as it happens, in one line, to whoever asks first. It ends with the last.
    pub fn happenings(&mut self) -> Option<mpsc::Receiver<String>> {
        self.happenings.take()
    }

    /// Ends the cluster: watches end, and what is being answered is answered.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        for task in std::mem::take(&mut self.tasks) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the sandbox failed");
            }
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn serve<L>(listener: L, router: axum::Router, stop: CancellationToken) -> JoinHandle<()>
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    tokio::spawn(async move {
        let router = router.into_make_service_with_connect_info::<server::Scissors>();
        let served =
            axum::serve(server::Cuttable(listener), router).with_graceful_shutdown(stop.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "the sandbox's server ended");
        }
    })
}

fn send_at_once(stream: &mut TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot send small packets at once");
    }
}

/// The name of the administrator, and of their context.
const ADMINISTRATOR: &str = "sandbox";

/// Everybody who may use the cluster, and their tokens; they are new with every start, whatever the seed.
fn accounts(users: &[User]) -> (server::Accounts, Vec<(String, String)>) {
    let administrator = User { name: ADMINISTRATOR.into(), groups: vec![server::ADMINISTRATORS.into()] };
    let all = std::iter::once(&administrator).chain(users);
    let known: Vec<_> =
        all.map(|user| (server::fresh_token(), server::Identity::new(&user.name, &user.groups))).collect();
    let tokens = known.iter().map(|(token, identity)| (identity.name.clone(), token.clone())).collect();
    (server::Accounts::new(known), tokens)
}

fn check(config: &Config) -> Result<(), Error> {
    if !(0.0..=1_000.0).contains(&config.pace) {
        return Err(Error::OutOfRange { name: "pace", expected: "a number from 0 to 1000" });
    }
    if config.nodes > NODES {
        return Err(Error::OutOfRange { name: "nodes", expected: "at most 1000" });
    }
    Ok(())
}

/// What every cluster has: its namespaces, roles and nodes.
fn first_objects(nodes: u32) -> Vec<json::Value> {
    let namespace =
        |name: &&str| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    let mut objects: Vec<json::Value> =
        ["default", "kube-system", "kube-public", "kube-node-lease"].iter().map(namespace).collect();
    objects.extend(roles::defaults());
    let now = object::now();
    objects.extend((1..=nodes).map(|number| {
        let name = format!("sandbox-node-{number}");
        let resources = json!({ "cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "50Gi" });
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": name, "labels": {
                "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            } },
            "status": {
                "capacity": resources, "allocatable": resources,
                "addresses": [{ "type": "Hostname", "address": name }],
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": "KubeletReady",
                    "message": "kubelet is posting ready status", "lastHeartbeatTime": now, "lastTransitionTime": now,
                }],
                "nodeInfo": {
                    "kubeletVersion": "v1.33.0", "osImage": "AstraDesk sandbox", "operatingSystem": "linux",
                    "architecture": "amd64", "containerRuntimeVersion": "containerd://2.0.0", "kernelVersion": "6.1.0",
                    "kubeProxyVersion": "v1.33.0", "bootID": "", "machineID": "", "systemUUID": "",
                },
            },
        })
    }));
    objects
}
