//! The node that all pods are on.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node as Object;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::{Value, json};

/// How often the node says that it is there, as the kubelet does.
const HEARTBEAT: Duration = Duration::from_secs(10);

pub(crate) struct Node {
    api: Api<Object>,
    name: String,
    /// Where the API server finds the logs.
    port: u16,
}

impl Node {
    pub(crate) fn new(client: Client, name: &str, port: u16) -> Self {
        Self { api: Api::all(client), name: name.to_owned(), port }
    }

    /// Creates the node, ready and open to all pods, but for a taint.
    pub(crate) async fn register(&self, taint: Option<&str>) -> Result<(), Error> {
        let object: Object = serde_json::from_value(json!({"metadata": {
            "name": self.name,
            "labels": {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"},
        }}))
        .map_err(Error::SerdeError)?;
        match self.api.create(&PostParams::default(), &object).await {
            Err(Error::Api(status)) if status.code == 409 => {}
            created => drop(created?),
        }
        self.heartbeat().await?;
        // Admission taints every new node as not ready, and the controller that would remove it does not run.
        let taints = taint.map(|key| json!([{"key": key, "effect": "NoSchedule"}]));
        let untainted = Patch::Merge(json!({"spec": {"taints": taints}}));
        self.api.patch(&self.name, &PatchParams::default(), &untainted).await.map(drop)
    }

    /// Says again and again that the node is ready; it ends never.
    pub(crate) async fn keep_ready(&self) -> Result<()> {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            if let Err(error) = self.heartbeat().await {
                tracing::warn!(%error, "the node's heartbeat failed");
            }
        }
    }

    async fn heartbeat(&self) -> Result<(), Error> {
        let status = status(self.port, Timestamp::now());
        self.api.patch_status(&self.name, &PatchParams::default(), &Patch::Strategic(status)).await.map(drop)
    }
}

/// A node with room for every pod of a test.
fn status(port: u16, now: Timestamp) -> Value {
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let room = json!({"cpu": "10000", "memory": "10000Gi", "pods": "100000"});
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": "", "lastHeartbeatTime": now,
               "lastTransitionTime": now})
    };
    json!({"status": {
        "capacity": room,
        "allocatable": room,
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "nodeInfo": {"kubeletVersion": "v1.20.2", "operatingSystem": "linux", "architecture": "amd64",
            "osImage": "stand-in", "kernelVersion": "", "containerRuntimeVersion": "stand-in://1",
            "machineID": "", "systemUUID": "", "bootID": "", "kubeProxyVersion": ""},
        "conditions": [condition("Ready", "True", "KubeletReady"),
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID")],
    }})
}
