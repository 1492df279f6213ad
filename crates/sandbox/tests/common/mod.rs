//! A sandbox with clients: a typed one, and a plain one for what the typed one cannot say.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fmt::Debug;
use std::time::Duration;

use astradesk_sandbox::{Config, Sandbox};
use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Cluster {
    pub sandbox: Sandbox,
    pub client: Client,
    http: reqwest::Client,
}

pub async fn cluster(objects: Vec<Value>) -> Cluster {
    start(Config { objects, pace: 0.1, ..Config::default() }).await
}

pub async fn start(config: Config) -> Cluster {
    let sandbox = Sandbox::start(config).await.unwrap();
    let kubeconfig = Kubeconfig::from_yaml(&sandbox.kubeconfig()).unwrap();
    let options = KubeConfigOptions { context: Some("sandbox".into()), ..KubeConfigOptions::default() };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    let client = Client::try_from(config).unwrap();
    Cluster { sandbox, client, http: reqwest::Client::new() }
}

impl Cluster {
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    /// A request as it stands: the status code, and the body as JSON (or as text).
    pub async fn call(&self, method: &str, path: &str, kind: &str, body: impl ToString) -> (u16, Value) {
        self.call_with(&[], self.sandbox.token(), method, path, kind, body).await
    }

    /// The same by whoever has this token, with further headers.
    pub async fn call_with(
        &self,
        headers: &[(&str, &str)],
        token: &str,
        method: &str,
        path: &str,
        kind: &str,
        body: impl ToString,
    ) -> (u16, Value) {
        let mut request = self.request(method, path, token).header("content-type", kind);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body.to_string()).send().await.unwrap();
        let code = response.status().as_u16();
        let text = response.text().await.unwrap();
        (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// A request that has not been sent.
    pub fn request(&self, method: &str, path: &str, token: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.sandbox.url());
        self.http.request(method.parse().unwrap(), url).bearer_auth(token)
    }

    /// The token of the kubeconfig's user of this name.
    pub fn token_of(&self, user: &str) -> String {
        let kubeconfig: Value = serde_saphyr::from_str(&self.sandbox.kubeconfig()).unwrap();
        let mut users = kubeconfig["users"].as_array().unwrap().iter();
        let found = users.find(|found| found["name"] == user).unwrap();
        found["user"]["token"].as_str().unwrap().to_owned()
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call("GET", path, "application/json", "").await
    }

    /// Waits until the object is as wanted, and gives it.
    pub async fn until<K>(&self, name: &str, what: &str, wanted: impl Fn(&K) -> bool) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let objects = watcher::watch_object(self.api::<K>(), name);
        let wanted = objects.filter_map(|object| {
            let object = object.unwrap().filter(|object| wanted(object));
            async { object }
        });
        let mut wanted = std::pin::pin!(wanted);
        match tokio::time::timeout(PATIENCE, wanted.next()).await {
            Ok(Some(object)) => object,
            _ => panic!("{name} did not become {what}:\n{}", self.picture().await),
        }
    }

    /// Waits until the pods of an app are as wanted, and gives them by name.
    pub async fn until_pods(&self, app: &str, what: &str, wanted: impl Fn(&[Pod]) -> bool) -> Vec<Pod> {
        let label = format!("app={app}");
        let mut changes =
            std::pin::pin!(watcher(self.api::<Pod>(), watcher::Config::default().labels(&label)));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let pods = self.pods(app).await;
            if wanted(&pods) {
                return pods;
            }
            if tokio::time::timeout_at(deadline, changes.next()).await.is_err() {
                panic!("the pods of {app} did not become {what}:\n{}", self.picture().await);
            }
        }
    }

    pub async fn pods(&self, app: &str) -> Vec<Pod> {
        let label = ListParams::default().labels(&format!("app={app}"));
        self.api::<Pod>().list(&label).await.unwrap().items
    }

    /// Waits for an event with this reason, and gives it.
    pub async fn until_event(&self, reason: &str) -> Event {
        let fields = watcher::Config::default().fields(&format!("reason={reason}"));
        let events = watcher(self.api::<Event>(), fields);
        let found = events.filter_map(|event| async move {
            match event.unwrap() {
                watcher::Event::Apply(event) | watcher::Event::InitApply(event) => Some(event),
                _ => None,
            }
        });
        next(&mut std::pin::pin!(found)).await
    }

    /// What there is, for the message of a test that fails.
    async fn picture(&self) -> String {
        let mut picture = String::new();
        for path in ["/apis/apps/v1/deployments", "/apis/apps/v1/replicasets", "/api/v1/pods"] {
            let (_, list) = self.get(path).await;
            for item in list["items"].as_array().unwrap() {
                picture += &[
                    path,
                    ": ",
                    &item["metadata"]["name"].to_string(),
                    " ",
                    &item["status"].to_string(),
                    "\n",
                ]
                .concat();
            }
        }
        picture
    }
}

/// The stream's next item, in good time.
pub async fn next<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> T {
    tokio::time::timeout(PATIENCE, stream.next()).await.expect("in good time").expect("an item")
}

/// A workload of a kind, with these annotations on its template and these fields in its specification.
pub fn workload(kind: &str, name: &str, annotations: Value, spec: Value) -> Value {
    let mut workload = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": name, "namespace": "default" },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name }, "annotations": annotations },
                "spec": { "containers": [{ "name": "app", "image": "example.com/app:1" }] },
            },
        },
    });
    json_patch::merge(&mut workload["spec"], &spec);
    workload
}

pub fn behaves(behaviour: &str) -> Value {
    json!({ "sandbox.astradesk.dev/behaviour": behaviour })
}

/// What `kubectl rollout restart` writes.
pub fn restart() -> Value {
    let annotations = json!({ "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z" });
    json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } })
}

pub fn pod_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
        && pod.metadata.deletion_timestamp.is_none()
}

pub fn names<K: Resource>(objects: &[K]) -> Vec<String> {
    let mut names: Vec<String> = objects.iter().map(|o| o.meta().name.clone().unwrap()).collect();
    names.sort();
    names
}
