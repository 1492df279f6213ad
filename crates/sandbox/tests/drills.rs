//! Faults on demand, and what happens by itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::manual_assert,
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "tests and their helpers: a failed unwrap is a failed test"
)]

mod common;

use std::time::{Duration, Instant};

use astradesk_sandbox::{Config, scenario};
use common::{Cluster, PATIENCE, next, start};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const FAULTS: &str = "/sandbox/faults";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A cluster with two config maps and these faults.
async fn failing(faults: &str) -> Cluster {
    let map = |name: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
    let file = format!("objects: [{}, {}]\nfaults:\n{faults}", map("a"), map("b"));
    start(Config { pace: 0.1, ..scenario::read(&file).unwrap() }).await
}

impl Cluster {
    /// How often each fault has happened.
    async fn fired(&self) -> Vec<(String, u64)> {
        let (code, answer) = self.get(FAULTS).await;
        assert_eq!(code, 200, "{answer}");
        let faults = answer["faults"].as_array().unwrap().iter();
        faults
            .map(|fault| (fault["name"].as_str().unwrap().to_owned(), fault["fired"].as_u64().unwrap()))
            .collect()
    }

    /// Waits until the faults have happened as wanted.
    async fn until_fired(&self, wanted: impl Fn(&[(String, u64)]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let fired = self.fired().await;
            if wanted(&fired) {
                return;
            }
            assert!(Instant::now() < deadline, "{fired:?}");
        }
    }

    async fn code(&self, method: &str, path: &str) -> u16 {
        let body =
            if method == "PATCH" { json!({ "data": { "x": "y" } }).to_string() } else { String::new() };
        self.call(method, path, MERGE, body).await.0
    }

    async fn label(&self, name: &str) -> Value {
        self.get(&format!("{CONFIG_MAPS}/{name}")).await.1["data"].clone()
    }
}

fn counted(faults: &[(&str, u64)]) -> Vec<(String, u64)> {
    faults.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[tokio::test]
async fn an_error_happens_to_what_fits_and_is_counted() {
    let cluster = failing(
        "- {name: busy, match: {verb: [patch, update], resource: configmaps, namespace: default, name: a}, count: 2, \
         error: {code: 429, retry_after: 7}}\n\
         - {match: {verb: get, agent: curl}, error: {code: 503, reason: Custom, message: no more}}\n\
         - {name: for-bob, match: {user: bob}, error: {code: 500}}\n",
    )
    .await;
    let (a, b) = (format!("{CONFIG_MAPS}/a"), format!("{CONFIG_MAPS}/b"));
    assert_eq!(cluster.code("PATCH", &b).await, 200);
    assert_eq!(cluster.code("GET", &a).await, 200);
    let answer = cluster.request("PATCH", &a, cluster.sandbox.token()).header("content-type", MERGE);
    let answer = answer.body("{}").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"7".parse().unwrap()));
    let status: Value = answer.json().await.unwrap();
    assert_eq!(
        (&status["reason"], &status["details"]["retryAfterSeconds"]),
        (&json!("TooManyRequests"), &json!(7))
    );
    assert_eq!(cluster.code("PATCH", &a).await, 429);
    assert_eq!(cluster.code("PATCH", &a).await, 200);

    let (code, status) =
        cluster.call_with(&[("user-agent", "curl/8")], cluster.sandbox.token(), "GET", &a, JSON, "").await;
    assert_eq!((code, &status["reason"], &status["message"]), (503, &json!("Custom"), &json!("no more")));
    let as_bob = [("impersonate-user", "bob")];
    assert_eq!(cluster.call_with(&as_bob, cluster.sandbox.token(), "GET", &b, JSON, "").await.0, 500);
    assert_eq!(cluster.fired().await, counted(&[("busy", 2), ("fault-2", 1), ("for-bob", 1)]));
}

#[tokio::test]
async fn a_connection_is_cut_before_or_after_the_effect() {
    let cluster = failing(
        "- {name: before, match: {verb: patch, name: a}, cut: before}\n\
         - {name: after, match: {verb: patch, name: b}, cut: after}\n",
    )
    .await;
    for (name, expected) in [("a", json!(null)), ("b", json!({ "x": "y" }))] {
        let path = format!("{CONFIG_MAPS}/{name}");
        let request = cluster.request("PATCH", &path, cluster.sandbox.token()).header("content-type", MERGE);
        let sent = request.body(json!({ "data": { "x": "y" } }).to_string()).send().await;
        assert!(sent.is_err(), "an answer came: {sent:?}");
        assert_eq!(cluster.label(name).await, expected, "{name}");
    }
    assert_eq!(cluster.fired().await, counted(&[("before", 1), ("after", 1)]));
}

#[tokio::test]
async fn an_error_after_the_effect_disowns_it() {
    let cluster = failing("- {match: {verb: patch}, error: {code: 504, when: after}}\n").await;
    assert_eq!(cluster.code("PATCH", &format!("{CONFIG_MAPS}/a")).await, 504);
    assert_eq!(cluster.label("a").await, json!({ "x": "y" }));
}

#[tokio::test]
async fn kube_and_its_tls_are_cut_too() {
    let cluster = failing("- {match: {resource: configmaps, verb: list}, cut: before}\n").await;
    let maps: kube::Api<k8s_openapi::api::core::v1::ConfigMap> = cluster.api();
    let error = maps.list(&kube::api::ListParams::default()).await.unwrap_err();
    assert!(
        matches!(error, kube::Error::Service(_) | kube::Error::HyperError(_)),
        "an answer came: {error:?}"
    );
    assert!(maps.get("a").await.is_ok());
}

#[tokio::test]
async fn a_request_is_held_up_within_limits() {
    let cluster = failing("- {match: {verb: list}, latency: [200ms, 300ms]}\n").await;
    let begun = Instant::now();
    assert_eq!(cluster.code("GET", CONFIG_MAPS).await, 200);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    // A request that is held up for long does not hold up the end.
    let long = json!({ "faults": [{ "match": { "verb": "list" }, "latency": "60s" }] });
    assert_eq!(cluster.call("PUT", FAULTS, JSON, long).await.0, 200);
    let held = cluster.request("GET", CONFIG_MAPS, cluster.sandbox.token()).send();
    let held = tokio::spawn(held);
    cluster.until_fired(|fired| fired == counted(&[("fault-1", 1)])).await;
    tokio::time::timeout(PATIENCE, cluster.sandbox.shutdown()).await.unwrap();
    assert!(held.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_share_is_the_same_for_the_same_seed() {
    let mut lives = Vec::new();
    for seed in [7, 7, 8] {
        let mut config =
            scenario::read("faults: [{match: {verb: list}, share: 0.5, error: {code: 500}}]").unwrap();
        config.seed = seed;
        let cluster = start(config).await;
        let mut life = Vec::new();
        for _ in 0..40 {
            life.push(cluster.code("GET", CONFIG_MAPS).await);
        }
        let failures = life.iter().filter(|code| **code == 500).count();
        assert!((8..=32).contains(&failures), "{failures} of 40");
        lives.push(life);
    }
    assert_eq!(lives[0], lives[1]);
    assert_ne!(lives[0], lives[2]);
}

/// What a watch of the config maps sends until it ends, and whether it ends well.
async fn watched(cluster: &Cluster) -> (Vec<Value>, bool) {
    let request = cluster.request("GET", &format!("{CONFIG_MAPS}?watch=true"), cluster.sandbox.token());
    let Ok(response) = request.send().await else { return (Vec::new(), false) };
    let mut chunks = response.bytes_stream();
    let (mut text, mut well) = (String::new(), true);
    while let Some(chunk) = tokio::time::timeout(PATIENCE, chunks.next()).await.unwrap() {
        match chunk {
            Ok(chunk) => text += std::str::from_utf8(&chunk).unwrap(),
            Err(_) => well = false,
        }
        if !well {
            break;
        }
    }
    (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), well)
}

#[tokio::test]
async fn a_watch_ends_when_it_is_told() {
    let put = async |cluster: &Cluster, watch: Value| {
        let faults = json!({ "faults": [{ "match": { "resource": "configmaps" }, "watch": watch }] });
        assert_eq!(cluster.call("PUT", FAULTS, JSON, faults).await.0, 200);
    };
    let cluster = failing("- {cut: before, match: {user: nobody}}\n").await;
    put(&cluster, json!({ "events": 1, "end": "cut" })).await;
    let (events, well) = watched(&cluster).await;
    assert_eq!((events.len(), well), (1, false));
    assert_eq!(cluster.code("GET", CONFIG_MAPS).await, 200);

    put(&cluster, json!({ "end": "cut" })).await;
    let (events, well) = watched(&cluster).await;
    assert_eq!((events.len(), well), (0, false));

    put(&cluster, json!({ "events": 2, "end": "gone" })).await;
    let (events, well) = watched(&cluster).await;
    assert_eq!((events.len(), well), (3, true));
    assert_eq!((&events[2]["type"], &events[2]["object"]["code"]), (&json!("ERROR"), &json!(410)));

    put(&cluster, json!({ "after": "50ms", "end": "gone" })).await;
    let (events, well) = watched(&cluster).await;
    assert_eq!((events.len(), well), (3, true));
    assert_eq!(cluster.fired().await, counted(&[("fault-1", 1)]));
}

#[tokio::test]
async fn faults_change_while_the_cluster_runs() {
    let cluster = failing("- {name: one, match: {verb: list}, error: {code: 500}}\n").await;
    assert_eq!(cluster.code("GET", CONFIG_MAPS).await, 500);
    let two = "faults:\n- name: two\n  match: {verb: list}\n  error: {code: 501}\n";
    assert_eq!(cluster.call("PUT", FAULTS, "application/yaml", two).await.0, 200);
    assert_eq!(cluster.code("GET", CONFIG_MAPS).await, 501);
    let (_, shown) = cluster.get(FAULTS).await;
    assert_eq!(cluster.call("PUT", FAULTS, JSON, &shown).await.0, 200);
    assert_eq!(cluster.fired().await, counted(&[("two", 0)]));
    assert_eq!(cluster.code("DELETE", "/sandbox/faults/one").await, 404);
    assert_eq!(cluster.code("DELETE", "/sandbox/faults/two").await, 200);
    assert_eq!(cluster.code("GET", CONFIG_MAPS).await, 200);
    assert_eq!(cluster.call("PUT", FAULTS, JSON, shown).await.0, 200);
    assert_eq!(cluster.code("DELETE", FAULTS).await, 200);
    assert!(cluster.fired().await.is_empty());
    assert_eq!(cluster.code("POST", FAULTS).await, 405);
    let (code, answer) = cluster.call("PUT", FAULTS, JSON, "faults:\n- {}\n- {verbs: get}\n").await;
    assert_eq!(code, 400);
    let expected = "line 3: unknown key `verbs`";
    assert!(answer["message"].as_str().unwrap().contains(expected), "{answer}");
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_line() {
    let fault = |fault: &str| format!("nodes: 1\nfaults:\n  - {{{fault}}}\n");
    let entry = |entry: &str| format!("demo: true\ntimeline:\n  - {{{entry}}}\n");
    let table = [
        ("nodez: 3\n".into(), "line 1: unknown key `nodez`: did you mean `nodes`?"),
        ("nodes: three\n".into(), "line 1: "),
        (
            "nodes: 1\nobjects:\n- kind: Sofa\n  apiVersion: v1\n".into(),
            "line 3: no kind `Sofa` in version `v1` is served",
        ),
        (
            "nodes: 1\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_B}\n".into(),
            "line 3: ConfigMap \"A_B\" is invalid: metadata.name: Invalid value",
        ),
        ("users:\n- name: bob\n- name: bob\n".into(), "line 3: there is a user `bob` already"),
        ("users:\n- name: bob\n  group: x\n".into(), "line 3: unknown key `group`: did you mean `groups`?"),
        (fault("match: {verb: patsh}"), "line 3: unknown value `patsh`: did you mean `patch`?"),
        (fault("name: x"), "line 3: the fault `x` does nothing"),
        (fault("latency: 2m"), "line 3: the fault `fault-1` has a `latency` of more than 60s"),
        (fault("latency: [3s, 2s]"), "line 3: the fault `fault-1` has a `latency` that is neither"),
        (fault("latency: soon"), "line 3: "),
        (fault("cut: before, share: 2"), "line 3: the fault `fault-1` has a `share`"),
        (fault("cut: before, error: {code: 500}"), "line 3: the fault `fault-1` has more than one of"),
        (fault("error: {code: 200}"), "line 3: the fault `fault-1` has a `code`"),
        (entry("at: 1s"), "line 3: an entry does one thing"),
        (entry("at: 1s, delete: deployment/webap"), "line 3: deployments.apps \"webap\" not found"),
        (
            entry("at: 1s, delete: deploiment/webapp"),
            "line 3: unknown kind `deploiment`: did you mean `deployment`?",
        ),
        (entry("delete: deployment/webapp"), "line 3: an entry has either `at`"),
        (
            entry("at: 1s, behave: {object: deployment/webapp, as: crahs}"),
            "line 3: unknown behaviour `crahs`",
        ),
        (
            entry("at: 1s, node: {name: sandbox-node-9, is: down}"),
            "line 3: nodes \"sandbox-node-9\" not found",
        ),
        (entry("at: 1s, heal: busy"), "line 3: there is no fault `busy`"),
        (entry("at: 1s, faults: [{cut: before}]"), "line 3: a fault that begins later has a `name`"),
        (
            entry("at: 1s, patch: {object: deployment/webapp, with: {spec: {replicas: -1}}}"),
            "line 3: Deployment.apps \"webapp\" is invalid",
        ),
        (
            entry("when: {object: deployment/webapp, event: restartd}, delete: deployment/webapp"),
            "line 3: unknown event `restartd`: did you mean `restarted`?",
        ),
    ];
    for (text, expected) in table {
        let error = scenario::read(&text).expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{text}: {error}\nexpected {expected}");
    }
}

#[tokio::test]
async fn the_example_can_be_started() {
    let text = include_str!("../../../docs/examples/incident.sandbox.yaml");
    let config = scenario::read(text).unwrap();
    assert_eq!((config.users.len(), config.faults.len(), config.timeline.len()), (2, 2, 6));
    let cluster = start(config).await;
    let checkout = "/apis/apps/v1/namespaces/default/deployments/checkout";
    for (user, expected) in [("bob", 200), ("eve", 403)] {
        let answer = cluster.call_with(&[], &cluster.token_of(user), "GET", checkout, JSON, "").await;
        assert_eq!(answer.0, expected, "{answer:?}");
    }
}

#[tokio::test]
async fn what_a_file_says_happens() {
    let text = "
pace: 0.1
demo: true
users: [{name: bob, groups: [sre]}]
timeline:
- at: 10ms
  apply: {apiVersion: v1, kind: ConfigMap, metadata: {name: made}, data: {a: b}}
- at: 20ms
  patch: {object: configmap/made, with: {data: {a: c}}}
- at: 30ms
  faults: [{name: busy, match: {verb: delete}, error: {code: 503}}]
- when: {object: deployment/webapp, event: restarted}
  behave: {object: deployment/search, as: never-ready}
- when: {object: deployment/search, event: ScalingReplicaSet}
  after: 10ms
  delete: deployment/reports
- when: {object: deployment/reports, event: deleted}
  heal: all
- when: {object: pod/payments-api-*, event: BackOff}
  node: {name: sandbox-node-2, is: down}
";
    let mut cluster = start(scenario::read(text).unwrap()).await;
    let mut told = cluster.sandbox.happenings().unwrap();
    let made =
        |map: &k8s_openapi::api::core::v1::ConfigMap| map.data.as_ref().is_some_and(|data| data["a"] == "c");
    cluster.until("made", "made and patched", made).await;
    cluster.until_fired(|fired| !fired.is_empty()).await;
    let delete = cluster.call("DELETE", &format!("{CONFIG_MAPS}/made"), JSON, "").await;
    assert_eq!(delete.0, 503);
    for name in ["webapp", "payments-api"] {
        let path = format!("/apis/apps/v1/namespaces/default/deployments/{name}");
        assert_eq!(cluster.call("PATCH", &path, MERGE, common::restart()).await.0, 200);
    }
    let never_ready = |search: &Deployment| {
        let template = search.spec.as_ref().unwrap().template.metadata.as_ref().unwrap();
        let annotations = template.annotations.as_ref().unwrap();
        annotations.get("sandbox.astradesk.dev/behaviour").map(String::as_str) == Some("never-ready")
    };
    cluster.until("search", "never ready", never_ready).await;
    let mut seen = Vec::new();
    while !["heal all", "node sandbox-node-2 is down"]
        .iter()
        .all(|last| seen.iter().any(|one: &String| one.ends_with(last)))
    {
        seen.push(next(&mut Box::pin(futures::stream::once(told.recv()))).await.unwrap());
    }
    assert!(cluster.fired().await.is_empty());
    let (code, _) = cluster.get("/apis/apps/v1/namespaces/default/deployments/reports").await;
    assert_eq!(code, 404, "{seen:?}");
    let (_, node) = cluster.get("/api/v1/nodes/sandbox-node-2").await;
    assert_eq!(node["metadata"]["annotations"]["sandbox.astradesk.dev/behaviour"], "down");
}
