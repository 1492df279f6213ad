//! A cluster, and requests to it exactly as they are written.

use astradesk_sandbox::{Config, Sandbox};
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// How long any reply may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much faster than life the sandbox's pods are.
const PACE: f64 = 0.1;

/// One of the two clusters.
pub struct Cluster {
    client: kube::Client,
    /// The version in which it serves `policy`: `v1` since Kubernetes 1.21.
    policy: &'static str,
    /// The name of its only node.
    pub node: String,
    sandbox: Option<Sandbox>,
}

impl Cluster {
    /// A sandbox with one node, as the real control plane has.
    pub async fn sandbox() -> Self {
        let sandbox = Sandbox::start(Config { nodes: 1, pace: PACE, ..Config::default() }).await.unwrap();
        let kubeconfig = Kubeconfig::from_yaml(&sandbox.kubeconfig()).unwrap();
        Self::open(kubeconfig, Some(sandbox)).await
    }

    /// The real control plane of this kubeconfig.
    pub async fn real(kubeconfig: &Path) -> Self {
        Self::open(Kubeconfig::read_from(kubeconfig).unwrap(), None).await
    }

    async fn open(kubeconfig: Kubeconfig, sandbox: Option<Sandbox>) -> Self {
        let options = KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        config.default_retry = false;
        let client = kube::Client::try_from(config).unwrap();
        let mut cluster = Self { client, policy: "v1", node: String::new(), sandbox };
        if cluster.value("/apis/policy").await["preferredVersion"]["version"] == "v1beta1" {
            cluster.policy = "v1beta1";
        }
        let nodes = cluster.value("/api/v1/nodes").await;
        nodes["items"][0]["metadata"]["name"].as_str().unwrap().clone_into(&mut cluster.node);
        cluster
    }

    /// Ends the sandbox.
    pub async fn close(self) {
        if let Some(sandbox) = self.sandbox {
            sandbox.shutdown().await;
        }
    }

    /// What is at a path.
    pub async fn value(&self, path: &str) -> Value {
        let (_, body) = self.send(http::Request::get(path), "", None).await.unwrap();
        body
    }

    /// Sends a request; the status, and the body as JSON, as text where it is none, or for a watch as a list of
    /// its first events.
    pub async fn send(
        &self,
        request: http::request::Builder,
        body: &str,
        events: Option<usize>,
    ) -> Result<(u16, Value), String> {
        // The same kinds under the name that this version has for them.
        let body = body.replace("\"policy/v1\"", &format!("\"policy/{}\"", self.policy));
        let mut request = request.body(Body::from(body.into_bytes())).unwrap();
        let uri =
            request.uri().to_string().replace("/apis/policy/v1/", &format!("/apis/policy/{}/", self.policy));
        *request.uri_mut() = uri.parse().unwrap();
        let reading = async {
            let response = self.client.send(request).await.map_err(|error| format!("{uri}: {error}"))?;
            let status = response.status().as_u16();
            let text = read(response.into_body(), events).await.map_err(|error| format!("{uri}: {error}"))?;
            let text = text
                .replace("policy/v1beta1", "policy/v1")
                .replace("version \\\"v1beta1\\\"", "version \\\"v1\\\"");
            Ok((
                status,
                match events {
                    Some(events) if status == 200 => text.lines().take(events).map(parse).collect(),
                    _ => parse(&text),
                },
            ))
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .unwrap_or_else(|_| Err(format!("{uri}: no reply in {PATIENCE:?}")))
    }
}

/// Reads a body whole, or so many lines of it.
async fn read(mut body: Body, events: Option<usize>) -> Result<String, String> {
    let mut bytes = Vec::new();
    let enough =
        |bytes: &[u8]| events.is_some_and(|events| bytes.split(|byte| *byte == b'\n').count() > events);
    while !enough(&bytes) {
        let Some(frame) = body.frame().await else { break };
        if let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
