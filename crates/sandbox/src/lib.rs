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
//! - `controllers` is one task: what manages workloads, the garbage collector, the
//!   scheduler and the kubelet, driven by changes and by one heap of timers.
//! - `behaviour` reads from a pod's annotations what becomes of it:
//!   `sandbox.astradesk.dev/behaviour` is `ready`, `slow:SECONDS`, `crash:EXIT_CODE`, `image-pull` or
//!   `never-ready`; `sandbox.astradesk.dev/behaviour-once-restarted` takes its place when the template also
//!   carries `kubectl.kubernetes.io/restartedAt`; `sandbox.astradesk.dev/logs` are the lines of its log.
//!
//! # What is absent
//!
//! No etcd, no containers, no network, no admission; one administrator, and no RBAC. Of protobuf only what
//! kubectl sends; the OpenAPI document knows no fields. An applied configuration is merged: conflicts are not reported, and what is left out stays.

mod behaviour;
mod controllers;
mod deletion;
mod json;
mod object;
mod resource;
mod rules;
pub mod scenario;
mod server;
mod storage;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::serve::ListenerExt;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

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
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            objects: Vec::new(),
            pace: 1.0,
            nodes: 3,
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

/// A running cluster. It ends with [`Sandbox::shutdown`], or when it is dropped.
#[derive(Debug)]
pub struct Sandbox {
    url: String,
    secure_url: String,
    /// The certificate of `secure_url`, as PEM.
    certificate: String,
    token: String,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
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
        for object in first_objects(config.nodes).into_iter().chain(config.objects) {
            let object = json::Value::from(object);
            let (kind, name) = (object::text(&object, "/kind").to_owned(), object::name(&object).to_owned());
            server::create_object(&storage, object).map_err(|why| Error::Object { kind, name, why })?;
        }

        let stop = CancellationToken::new();
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let shared = server::Shared { storage: storage.clone(), token: token.clone(), stop: stop.clone() };
        let controllers = controllers::Controllers::new(storage, config.seed, config.pace);
        let router = server::router(Arc::new(shared));
        let tasks = vec![
            tokio::spawn(controllers.run(stop.clone())),
            serve(listener.tap_io(send_at_once), router.clone(), stop.clone()),
            serve(tls::TlsListener::new(secure, acceptor), router, stop.clone()),
        ];
        tracing::debug!(url, "the sandbox listens");
        Ok(Sandbox { url, secure_url, certificate, token, stop, tasks })
    }

    /// Where the API is: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The administrator's bearer token, new with every start.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A kubeconfig (YAML) for this cluster; its only context is `sandbox`. It leads to the same API over TLS on a
    /// port of its own, because kubectl sends no token in the clear.
    pub fn kubeconfig(&self) -> String {
        let (url, token) = (&self.secure_url, &self.token);
        let authority = STANDARD.encode(&self.certificate);
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: sandbox\nclusters:\n- name: sandbox\n  cluster:\n    \
             server: {url}\n    certificate-authority-data: {authority}\ncontexts:\n- name: sandbox\n  context:\n    cluster: sandbox\n    namespace: default\n    \
             user: sandbox\nusers:\n- name: sandbox\n  user:\n    token: {token}\n"
        )
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
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
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

fn check(config: &Config) -> Result<(), Error> {
    if !(0.0..=1_000.0).contains(&config.pace) {
        return Err(Error::OutOfRange { name: "pace", expected: "a number from 0 to 1000" });
    }
    if config.nodes > 1_000 {
        return Err(Error::OutOfRange { name: "nodes", expected: "at most 1000" });
    }
    Ok(())
}

/// What every cluster has: its namespaces and nodes.
fn first_objects(nodes: u32) -> Vec<Value> {
    let namespace =
        |name: &&str| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    let mut objects: Vec<Value> =
        ["default", "kube-system", "kube-public", "kube-node-lease"].iter().map(namespace).collect();
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
