//! Scripts of client actions, as data.

use http::Method;
use serde_json::{Value, json};

/// What a client does, one step after another, in a namespace of its own.
#[derive(Debug, Clone)]
pub struct Script {
    /// Unique within its family; the list of known differences goes by it.
    pub name: String,
    /// What is done.
    pub steps: Vec<Step>,
}

/// One thing that is done.
#[derive(Debug, Clone)]
pub enum Step {
    /// A request; its reply is compared.
    Ask(Ask),
    /// Waits until what is at this path has these values; compares nothing.
    Until(String, Vec<(&'static str, Value)>),
    /// Waits until the controllers have nothing more to do in the namespace; compares nothing.
    Rest,
}

/// A request. In path and body `{{NAME:/pointer}}` stands for a value of the reply that was saved under that name,
/// and `{{namespace}}` for the script's namespace.
#[derive(Debug, Clone)]
pub struct Ask {
    /// What the list of known differences calls the step.
    pub label: String,
    /// The verb.
    pub method: Method,
    /// With a slash in front, the whole path; else relative to the script's namespace: `pods/web?limit=1`.
    pub path: String,
    /// The type of the body.
    pub content_type: &'static str,
    /// The type of the reply.
    pub accept: &'static str,
    /// The body; empty for none.
    pub body: String,
    /// The name under which the reply is saved for later steps.
    pub save: Option<&'static str>,
    /// For a watch: how many events are read.
    pub events: Option<usize>,
}

/// A script.
pub fn script(name: impl Into<String>, steps: Vec<Step>) -> Script {
    Script { name: name.into(), steps }
}

fn ask(method: Method, path: impl Into<String>, body: String, content_type: &'static str) -> Ask {
    let path = path.into();
    let label = format!("{} {path}", method.as_str().to_lowercase());
    Ask { label, method, path, content_type, accept: "application/json", body, save: None, events: None }
}

/// Reads an object or a list.
pub fn get(path: impl Into<String>) -> Ask {
    ask(Method::GET, path, String::new(), "")
}

/// Watches a collection until so many events have come.
pub fn watch(path: impl Into<String>, events: usize) -> Ask {
    let mut ask = get(path);
    ask.label = ask.label.replacen("get", "watch", 1);
    ask.events = Some(events);
    ask
}

/// Creates an object in a collection.
pub fn create(path: impl Into<String>, body: &Value) -> Ask {
    ask(Method::POST, path, body.to_string(), "application/json")
}

/// Replaces an object.
pub fn put(path: impl Into<String>, body: &Value) -> Ask {
    ask(Method::PUT, path, body.to_string(), "application/json")
}

/// Deletes an object.
pub fn delete(path: impl Into<String>) -> Ask {
    ask(Method::DELETE, path, String::new(), "application/json")
}

/// Deletes an object, with options.
pub fn delete_with(path: impl Into<String>, options: &Value) -> Ask {
    ask(Method::DELETE, path, options.to_string(), "application/json")
}

/// Applies a JSON merge patch.
pub fn merge(path: impl Into<String>, body: &Value) -> Ask {
    ask(Method::PATCH, path, body.to_string(), "application/merge-patch+json").named("merge")
}

/// Applies a JSON patch.
pub fn operations(path: impl Into<String>, body: &Value) -> Ask {
    ask(Method::PATCH, path, body.to_string(), "application/json-patch+json").named("json patch")
}

/// Applies a strategic merge patch.
pub fn strategic(path: impl Into<String>, body: &Value) -> Ask {
    ask(Method::PATCH, path, body.to_string(), "application/strategic-merge-patch+json").named("strategic")
}

/// Any request.
pub fn raw(method: Method, path: impl Into<String>, body: &str) -> Ask {
    ask(method, path, body.to_owned(), "application/json")
}

impl Ask {
    /// Gives it a label of its own.
    #[must_use]
    pub fn named(mut self, label: &str) -> Self {
        label.clone_into(&mut self.label);
        self
    }

    /// Saves the reply under a name.
    #[must_use]
    pub fn save(mut self, name: &'static str) -> Self {
        self.save = Some(name);
        self
    }

    /// Gives the body another type.
    #[must_use]
    pub fn content_type(mut self, content_type: &'static str) -> Self {
        self.content_type = content_type;
        self
    }

    /// Asks for another type of reply.
    #[must_use]
    pub fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }
}

impl From<Ask> for Step {
    fn from(ask: Ask) -> Self {
        Step::Ask(ask)
    }
}

/// Waits until what is at this path has these values.
pub fn until(path: impl Into<String>, wanted: &[(&'static str, Value)]) -> Step {
    Step::Until(path.into(), wanted.to_vec())
}

/// An object of the kind with this plural, small and complete.
pub fn specimen(plural: &str, name: &str) -> Value {
    // The StatefulSet controller of Kubernetes 1.20 takes in revisions of other namespaces that it selects.
    let labels = if plural == "controllerrevisions" { json!({"of": name}) } else { json!({"app": name}) };
    let pod = json!({
        "containers": [{"name": "app", "image": "registry.example.com/app:1"}], "terminationGracePeriodSeconds": 1,
    });
    let template = json!({"metadata": {"labels": labels}, "spec": pod});
    let selector = json!({"matchLabels": labels});
    let (version, kind, rest) = match plural {
        "deployments" => (
            "apps/v1",
            "Deployment",
            json!({"spec": {"replicas": 1, "selector": selector, "template": template}}),
        ),
        "replicasets" => (
            "apps/v1",
            "ReplicaSet",
            json!({"spec": {"replicas": 1, "selector": selector, "template": template}}),
        ),
        "statefulsets" => (
            "apps/v1",
            "StatefulSet",
            json!({"spec": {"replicas": 1, "serviceName": name, "selector": selector, "template": template}}),
        ),
        "daemonsets" => {
            ("apps/v1", "DaemonSet", json!({"spec": {"selector": selector, "template": template}}))
        }
        "controllerrevisions" => ("apps/v1", "ControllerRevision", json!({"revision": 1, "data": {"a": 1}})),
        "pods" => ("v1", "Pod", json!({"spec": pod})),
        "configmaps" => ("v1", "ConfigMap", json!({"data": {"key": "value"}})),
        "services" => (
            "v1",
            "Service",
            json!({"spec": {"clusterIP": "None", "selector": labels, "ports": [{"port": 80}]}}),
        ),
        "poddisruptionbudgets" => {
            ("policy/v1", "PodDisruptionBudget", json!({"spec": {"minAvailable": 1, "selector": selector}}))
        }
        "ingresses" => {
            let backend = json!({"service": {"name": name, "port": {"number": 80}}});
            let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
            let rules = json!([{"host": "web.example.com", "http": {"paths": [path]}}]);
            ("networking.k8s.io/v1", "Ingress", json!({"spec": {"rules": rules}}))
        }
        "namespaces" => ("v1", "Namespace", json!({})),
        other => panic!("there is no specimen of {other}"),
    };
    let mut object =
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}});
    for (key, value) in rest.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

/// The same object with a value set, or (null) taken out.
pub fn with(object: &Value, pointer: &str, value: Value) -> Value {
    let mut object = object.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut at = &mut object;
    for part in parent.split('/').skip(1) {
        at = match part.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[part],
        };
    }
    let key = key.replace("~1", "/");
    if value.is_null() {
        at.as_object_mut().unwrap().remove(&key);
    } else {
        match key.parse::<usize>() {
            Ok(index) if at.is_array() => at[index] = value,
            _ => at[key.as_str()] = value,
        }
    }
    object
}
