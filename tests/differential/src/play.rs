//! Acts a script out on a cluster.

use crate::cluster::Cluster;
use crate::script::{Ask, Script, Step};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long is waited for what a step waits for.
const PATIENCE: Duration = Duration::from_secs(45);
/// Between two looks at what is waited for.
const PAUSE: Duration = Duration::from_millis(100);
/// So many looks in a row show the same when the controllers are at rest.
const CALM: usize = 5;
/// What controllers make of what.
const WORKED_ON: [(&str, &[&str]); 5] = [
    ("deployments", &["deployments", "replicasets", "pods"]),
    ("replicasets", &["replicasets", "pods"]),
    ("statefulsets", &["statefulsets", "controllerrevisions", "pods"]),
    ("daemonsets", &["daemonsets", "controllerrevisions", "pods"]),
    ("poddisruptionbudgets", &["poddisruptionbudgets"]),
];

/// A reply, and the step that it is of.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The step's number and label.
    pub step: String,
    /// `{"code": …, "body": …}`.
    pub value: Value,
}

/// Does every step in order, in a namespace that is made for it and deleted afterwards.
pub async fn play(cluster: &Cluster, namespace: &str, script: &Script) -> Result<Vec<Reply>, String> {
    let made = json!({"metadata": {"name": namespace}}).to_string();
    let place = http::Request::post("/api/v1/namespaces").header("content-type", "application/json");
    let (code, body) = cluster.send(place, &made, None).await?;
    if code != 201 {
        return Err(format!("no namespace: {body}"));
    }
    let mut stage = Stage { cluster, namespace, saved: BTreeMap::new(), concerned: concerned(script) };
    let played = stage.play(script).await;
    cluster.send(http::Request::delete(format!("/api/v1/namespaces/{namespace}")), "", None).await?;
    played
}

struct Stage<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    saved: BTreeMap<&'static str, Value>,
    /// The kinds of what may be at work.
    concerned: BTreeSet<&'static str>,
}

/// The kinds that a script, or a controller because of it, makes objects of.
fn concerned(script: &Script) -> BTreeSet<&'static str> {
    let asks =
        || script.steps.iter().filter_map(|step| if let Step::Ask(ask) = step { Some(ask) } else { None });
    let is_made = |kind: &str| asks().any(|ask| ask.path.starts_with(kind));
    let made = WORKED_ON.iter().filter(|(kind, _)| is_made(kind)).flat_map(|(_, concerned)| *concerned);
    made.copied().chain(is_made("pods").then_some("pods")).collect()
}

impl Stage<'_> {
    async fn play(&mut self, script: &Script) -> Result<Vec<Reply>, String> {
        let mut replies = Vec::new();
        for (number, step) in script.steps.iter().enumerate() {
            match step {
                Step::Ask(ask) => {
                    let value =
                        self.ask(ask).await.map_err(|error| format!("{number} {}: {error}", ask.label))?;
                    replies.push(Reply { step: format!("{number} {}", ask.label), value });
                }
                Step::Until(path, wanted) => {
                    let waiting = self.until(path, wanted).await;
                    waiting.map_err(|seen| format!("{number} until {path} {wanted:?}: {seen}"))?;
                }
                Step::Rest => self.rest().await.map_err(|seen| format!("{number} rest: {seen}"))?,
            }
        }
        Ok(replies)
    }

    async fn ask(&mut self, ask: &Ask) -> Result<Value, String> {
        let path = self.path(&self.filled_in(&ask.path)?);
        let mut request = http::Request::builder().method(ask.method.clone()).uri(path);
        request = request.header("accept", ask.accept).header("user-agent", "differential/1");
        if !ask.content_type.is_empty() && !ask.body.is_empty() {
            request = request.header("content-type", ask.content_type);
        }
        let body = self.filled_in(&ask.body)?;
        let (code, body) = self.cluster.send(request, &body, ask.events).await?;
        if let Some(name) = ask.save {
            self.saved.insert(name, body.clone());
        }
        Ok(json!({"code": code, "body": body}))
    }

    fn path(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        let end = path.find(['/', '?']).unwrap_or(path.len());
        let group = match &path[..end] {
            "deployments" | "replicasets" | "statefulsets" | "daemonsets" | "controllerrevisions" => {
                "/apis/apps/v1"
            }
            "poddisruptionbudgets" => "/apis/policy/v1",
            "ingresses" => "/apis/networking.k8s.io/v1",
            "namespaces" | "nodes" => return format!("/api/v1/{path}"),
            _ => "/api/v1",
        };
        format!("{group}/namespaces/{}/{path}", self.namespace)
    }

    /// With the values of saved replies in their places.
    fn filled_in(&self, text: &str) -> Result<String, String> {
        let mut text = text.replace("{{namespace}}", self.namespace);
        while let Some((before, rest)) = text.split_once("{{") {
            let (reference, after) = rest.split_once("}}").ok_or("a reference has no end")?;
            let (name, pointer) = reference.split_once(':').ok_or("a reference has no pointer")?;
            let value = self.saved.get(name).and_then(|reply| reply.pointer(pointer));
            let value =
                value.ok_or_else(|| format!("`{name}` has no `{pointer}`: {:?}", self.saved.get(name)))?;
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text = format!("{before}{value}{after}");
        }
        Ok(text)
    }

    async fn until(&self, path: &str, wanted: &[(&'static str, Value)]) -> Result<(), String> {
        let path = self.path(&self.filled_in(path)?);
        let begun = tokio::time::Instant::now();
        loop {
            let value = self.cluster.value(&path).await;
            let is_there =
                |(pointer, wanted): &(&str, Value)| value.pointer(pointer).unwrap_or(&Value::Null) == wanted;
            if is_observed(&value) && wanted.iter().all(is_there) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(value.to_string());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn rest(&self) -> Result<(), String> {
        let begun = tokio::time::Instant::now();
        let (mut before, mut calm) = (Value::Null, 0);
        if self.concerned.is_empty() {
            return Ok(());
        }
        while calm < CALM {
            if begun.elapsed() > PATIENCE {
                return Err(before.to_string());
            }
            let lists = self.concerned.iter().map(|plural| async {
                let list = self.cluster.value(&self.path(plural)).await;
                list["items"].as_array().cloned().unwrap_or_default()
            });
            let now: Vec<Value> = futures::future::join_all(lists).await.concat();
            let done = now.iter().all(is_done);
            let now = Value::Array(now);
            calm = if done && now == before { calm + 1 } else { 0 };
            before = now;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }
}

/// Whether the controllers have seen the last change of the object, if they tell.
fn is_observed(object: &Value) -> bool {
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64);
    let generation = number("/metadata/generation");
    generation.is_none() || number("/status/observedGeneration") >= generation
}

/// Whether nobody has to do anything about this object.
fn is_done(object: &Value) -> bool {
    let held = object["metadata"]["finalizers"].as_array().is_some_and(|held| !held.is_empty());
    let going = object["metadata"]["deletionTimestamp"].is_string() && !held;
    let observed = is_observed(object);
    let is_pod = object["spec"]["containers"].is_array();
    let begun = !is_pod || object["status"]["containerStatuses"].is_array() || is_unschedulable(object);
    let starting = object["status"]["containerStatuses"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|container| container["state"]["waiting"]["reason"] == "ContainerCreating");
    let number = |field: &str| object["status"][field].as_i64().unwrap_or(0);
    let maturing = number("readyReplicas") > number("availableReplicas")
        && object["status"]["currentRevision"].is_null();
    !going && !maturing && observed && begun && !starting && !is_about_to_be_ready(object)
}

fn is_unschedulable(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["reason"] == "Unschedulable")
}

/// A running pod that is not ready, unless it says that it never will be.
fn is_about_to_be_ready(pod: &Value) -> bool {
    let behaves =
        pod["metadata"]["annotations"]["sandbox.astradesk.dev/behaviour"].as_str().unwrap_or("ready");
    let ready = pod["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Ready" && c["status"] == "True");
    pod["status"]["phase"] == "Running"
        && !ready
        && behaves == "ready"
        && pod["metadata"]["deletionTimestamp"].is_null()
}
