//! The languages of patches on what they are hard on: lists with keys, directives, defaults.

use astradesk_differential::script::{
    Ask, Script, Step, create, get, merge, operations, script, specimen, strategic, with,
};
use serde_json::{Value, json};

/// A paused Deployment without pods and with much to patch.
fn rich() -> Value {
    let pod = json!({
        "containers": [
            {"name": "app", "image": "app:1", "args": ["a", "b"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
             "ports": [{"containerPort": 80, "name": "http"}], "volumeMounts": [{"name": "v", "mountPath": "/v"}],
             "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "1"}}},
            {"name": "side", "image": "side:latest"},
        ],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "one"}],
        "nodeSelector": {"disk": "fast"},
    });
    let mut deployment = specimen("deployments", "web");
    deployment["spec"]["template"]["spec"] = pod;
    deployment["spec"]["replicas"] = json!(0);
    deployment["spec"]["paused"] = json!(true);
    with(&deployment, "/metadata/finalizers", json!(["example.com/a", "example.com/b"]))
}

fn patched(name: &str, patches: Vec<Ask>) -> Script {
    let mut steps: Vec<Step> = vec![create("deployments", &rich()).into(), Step::Rest];
    for patch in patches {
        steps.push(patch.into());
        steps.push(Step::Rest);
    }
    steps.push(get("deployments/web").into());
    // Lets the namespace go.
    steps.push(merge("deployments/web", &json!({"metadata": {"finalizers": null}})).named("release").into());
    script(name, steps)
}

fn in_pod(body: &Value) -> Value {
    json!({"spec": {"template": {"spec": body}}})
}

fn each(name: &str, verb: fn(&'static str, &Value) -> Ask, bodies: Vec<(&str, Value)>) -> Script {
    patched(
        name,
        bodies.into_iter().map(|(label, body)| verb("deployments/web", &body).named(label)).collect(),
    )
}

fn app(field: &str, value: Value) -> Value {
    in_pod(&json!({"containers": [{"name": "app", field: value}]}))
}

pub(crate) fn scripts() -> Vec<Script> {
    vec![
        each(
            "strategic lists",
            strategic,
            vec![
                ("an image", app("image", json!("app:2"))),
                ("a variable more", app("env", json!([{"name": "C", "value": "3"}]))),
                ("a variable changed", app("env", json!([{"name": "A", "value": "9"}]))),
                ("a variable less", app("env", json!([{"name": "B", "$patch": "delete"}]))),
                ("arguments", app("args", json!(["c"]))),
                ("a port more", app("ports", json!([{"containerPort": 81}]))),
                ("a port less", app("ports", json!([{"containerPort": 80, "$patch": "delete"}]))),
                ("a mount", app("volumeMounts", json!([{"name": "v", "mountPath": "/w"}]))),
                ("a container more", in_pod(&json!({"containers": [{"name": "third", "image": "third:1"}]}))),
                ("a container less", in_pod(&json!({"containers": [{"name": "side", "$patch": "delete"}]}))),
                ("a volume", in_pod(&json!({"volumes": [{"name": "w", "emptyDir": {}}]}))),
                (
                    "a volume of another kind",
                    in_pod(
                        &json!({"volumes": [{"name": "w", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/h"}}]}),
                    ),
                ),
                ("tolerations", in_pod(&json!({"tolerations": [{"key": "b", "operator": "Exists"}]}))),
                ("a secret", in_pod(&json!({"imagePullSecrets": [{"name": "two"}]}))),
                ("finalizers", json!({"metadata": {"finalizers": ["example.com/c"]}})),
                (
                    "a finalizer less",
                    json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/c"]}}),
                ),
                (
                    "an order",
                    in_pod(
                        &json!({"$setElementOrder/containers": [{"name": "third"}, {"name": "app"}], "containers": [{"name": "app", "image": "app:3"}]}),
                    ),
                ),
            ],
        ),
        each(
            "strategic directives",
            strategic,
            vec![
                ("replace a mapping", in_pod(&json!({"nodeSelector": {"$patch": "replace", "zone": "a"}}))),
                ("delete a mapping", in_pod(&json!({"nodeSelector": {"$patch": "delete"}}))),
                ("retain keys", json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}})),
                ("back to rolling", json!({"spec": {"strategy": {"type": "RollingUpdate"}}})),
                ("no key", in_pod(&json!({"containers": [{"image": "x"}]}))),
                ("unknown directive", json!({"spec": {"$patch": "explode"}})),
                (
                    "replace a list",
                    in_pod(
                        &json!({"containers": [{"$patch": "replace"}, {"name": "only", "image": "only:1"}]}),
                    ),
                ),
                ("null for a list", app("env", Value::Null)),
                ("null for a default", json!({"spec": {"revisionHistoryLimit": null, "strategy": null}})),
                ("a number for a list", in_pod(&json!({"containers": 1}))),
            ],
        ),
        each(
            "merges",
            merge,
            vec![
                ("null for a default", json!({"spec": {"revisionHistoryLimit": null}})),
                ("null for a label", json!({"metadata": {"labels": {"app": null}}})),
                ("null for all labels", json!({"metadata": {"labels": null}})),
                ("null for nothing", json!({"metadata": {"annotations": {"none": null}}})),
                (
                    "a list whole",
                    in_pod(&json!({"containers": [{"name": "app", "image": "app:2"}], "volumes": null})),
                ),
                ("recreate", json!({"spec": {"strategy": {"type": "Recreate"}}})),
                (
                    "recreate properly",
                    json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}),
                ),
                ("an unknown field", json!({"spec": {"unknown": 1}})),
                ("a status", json!({"status": {"replicas": 9}})),
                ("a generation", json!({"metadata": {"generation": 99}})),
                ("a time", json!({"metadata": {"creationTimestamp": "2000-01-01T00:00:00Z"}})),
                ("a deletion", json!({"metadata": {"deletionTimestamp": "2000-01-01T00:00:00Z"}})),
                ("a namespace", json!({"metadata": {"namespace": "elsewhere"}})),
                ("nothing", json!(null)),
                ("a text", json!("text")),
            ],
        ),
        each(
            "operations",
            operations,
            vec![
                (
                    "replace",
                    json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "app:2"}]),
                ),
                (
                    "add to the end",
                    json!([{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "c"}]),
                ),
                (
                    "insert",
                    json!([{"op": "add", "path": "/spec/template/spec/containers/0/args/0", "value": "z"}]),
                ),
                ("remove", json!([{"op": "remove", "path": "/spec/template/spec/containers/0/args/1"}])),
                (
                    "move",
                    json!([{"op": "move", "from": "/metadata/labels/app", "path": "/metadata/labels/moved"}]),
                ),
                (
                    "copy",
                    json!([{"op": "copy", "from": "/metadata/labels/moved", "path": "/metadata/labels/app"}]),
                ),
                ("test", json!([{"op": "test", "path": "/metadata/labels/app", "value": "web"}])),
                ("escape", json!([{"op": "add", "path": "/metadata/labels/example.com~1x", "value": "y"}])),
                (
                    "replace nothing",
                    json!([{"op": "replace", "path": "/metadata/labels/none", "value": "y"}]),
                ),
                (
                    "beyond the end",
                    json!([{"op": "add", "path": "/spec/template/spec/containers/9", "value": {}}]),
                ),
                ("no parent", json!([{"op": "add", "path": "/metadata/nothing/x", "value": "y"}])),
                (
                    "one fails",
                    json!([{"op": "add", "path": "/metadata/labels/half", "value": "y"}, {"op": "remove", "path": "/none"}]),
                ),
                ("invalid", json!([{"op": "replace", "path": "/spec/replicas", "value": -1}])),
                ("of another type", json!([{"op": "replace", "path": "/spec/replicas", "value": "x"}])),
                ("no path", json!([{"op": "remove"}])),
                ("none", json!([])),
            ],
        ),
        quantities(),
        defaults(),
    ]
}

/// How amounts are written back.
fn quantities() -> Script {
    let mut steps: Vec<Step> = Vec::new();
    for amount in ["1", "1000m", "0.5", "1.5Gi", "1024Mi", "1e3", "100k", "0", "1500m", "2048Ki"] {
        let pod = with(
            &specimen("pods", "web"),
            "/spec/containers/0/resources",
            json!({"requests": {"memory": amount}}),
        );
        steps.push(create("pods?dryRun=All", &pod).named(amount).into());
    }
    script("quantities", steps)
}

/// What is filled in.
fn defaults() -> Script {
    let container = |fields: Value| {
        let mut container = json!({"name": "app", "image": "app:1"});
        for (key, value) in fields.as_object().unwrap() {
            container[key] = value.clone();
        }
        with(&specimen("pods", "web"), "/spec/containers/0", container)
    };
    let pods = [
        ("no tag", container(json!({"image": "app"}))),
        ("a port and registry", container(json!({"image": "registry.example.com:5000/app"}))),
        ("a digest", container(json!({"image": format!("app@sha256:{}", "a".repeat(64))}))),
        (
            "a probe",
            container(
                json!({"readinessProbe": {"httpGet": {"port": 80}}, "livenessProbe": {"exec": {"command": ["true"]}}}),
            ),
        ),
        ("ports", container(json!({"ports": [{"containerPort": 80}]}))),
        (
            "a field as variable",
            container(
                json!({"env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            ),
        ),
        ("limits alone", container(json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}))),
        ("requests alone", container(json!({"resources": {"requests": {"cpu": "1"}}}))),
        (
            "volumes",
            with(
                &specimen("pods", "web"),
                "/spec/volumes",
                json!([
                    {"name": "a"}, {"name": "b", "configMap": {"name": "x"}}, {"name": "c", "secret": {"secretName": "x"}},
                    {"name": "d", "hostPath": {"path": "/x"}},
                ]),
            ),
        ),
        (
            "an init container",
            with(
                &specimen("pods", "web"),
                "/spec/initContainers",
                json!([{"name": "first", "image": "first"}]),
            ),
        ),
        ("a service account", with(&specimen("pods", "web"), "/spec/serviceAccountName", json!("someone"))),
        (
            "a host network",
            with(
                &with(&specimen("pods", "web"), "/spec/hostNetwork", json!(true)),
                "/spec/containers/0/ports",
                json!([{"containerPort": 80}]),
            ),
        ),
    ];
    let mut steps: Vec<Step> =
        pods.into_iter().map(|(label, pod)| create("pods?dryRun=All", &pod).named(label).into()).collect();
    for (label, service) in [
        ("a service", with(&specimen("services", "web"), "/spec/clusterIP", Value::Null)),
        (
            "a named port",
            with(
                &specimen("services", "web"),
                "/spec/ports",
                json!([{"port": 80, "targetPort": "http", "name": "http"}]),
            ),
        ),
    ] {
        steps.push(create("services", &service).named(label).into());
    }
    script("defaults", steps)
}
