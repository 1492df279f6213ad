//! A node that is the test's own: of the real control plane's only one others have need.

use crate::place::{Place, Which};
use crate::workload::Workload;
use astradesk_test_kubelet::Options;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

/// The taint that keeps the pods of other tests off it.
const TAINT: &str = "e2e.astradesk.dev/own";

/// A node, with a kubelet that keeps it.
pub struct OwnNode {
    /// Its name.
    pub name: String,
    nodes: Api<Node>,
    kubelet: Option<AbortOnDropHandle<()>>,
}

impl OwnNode {
    /// One of the sandbox's nodes, or a new one of the real control plane.
    pub async fn open(place: &Place) -> Self {
        let nodes = Api::all(place.client.clone());
        if place.which == Which::Sandbox {
            return Self { name: "sandbox-node-1".to_owned(), nodes, kubelet: None };
        }
        let name = format!("own-{}", place.namespace);
        let options = Options { node: name.clone(), taint: Some(TAINT.to_owned()), ..Options::default() };
        let client = place.client.clone();
        let kubelet = tokio::spawn(async move {
            astradesk_test_kubelet::run(client, options).await.unwrap();
        });
        let this = Self { name, nodes, kubelet: Some(AbortOnDropHandle::new(kubelet)) };
        this.until("it is registered", |node| node["spec"]["taints"].to_string().contains(TAINT)).await;
        this
    }

    /// A workload whose pods run on this node only.
    #[must_use]
    pub fn hosts(&self, workload: Workload) -> Workload {
        workload.pods(&json!({
            "nodeSelector": {"kubernetes.io/hostname": self.name},
            "tolerations": [{"key": TAINT, "operator": "Exists"}],
        }))
    }

    /// The node as it is now; null if there is none yet.
    pub async fn get(&self) -> Value {
        serde_json::to_value(self.nodes.get_opt(&self.name).await.unwrap()).unwrap()
    }

    /// Whether the scheduler leaves it alone.
    pub async fn is_cordoned(&self) -> bool {
        self.get().await["spec"]["unschedulable"] == true
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let begun = std::time::Instant::now();
        while !is_so(&self.get().await) {
            assert!(begun.elapsed() < crate::PATIENCE, "waited until {what}: {}", self.name);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Takes it away again.
    pub async fn close(self) {
        if self.kubelet.is_some() {
            let _ = self.nodes.delete(&self.name, &DeleteParams::default()).await;
        }
    }
}
