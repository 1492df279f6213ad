//! What is refused, and in which words: one wrong field at a time, generated from tables.

use astradesk_differential::script::{Script, Step, create, delete, get, merge, raw, script, specimen, with};
use http::Method;
use serde_json::{Value, json};

/// A wrong value for a field, which is created as a dry run.
type Wrong = (&'static str, Value);

fn refusals(name: &str, kind: &str, wrong: Vec<Wrong>) -> Script {
    let good = specimen(kind, "web");
    let steps = wrong.into_iter().map(|(pointer, value)| {
        let label = format!("{pointer} {value}");
        create(format!("{kind}?dryRun=All"), &with(&good, pointer, value)).named(&label).into()
    });
    script(name, steps.collect())
}

/// Changes of an object that is there.
fn changes(kind: &str, wrong: Vec<Wrong>) -> Script {
    let mut steps: Vec<Step> = vec![create(kind, &specimen(kind, "web")).into(), Step::Rest];
    for (label, patch) in wrong {
        steps.push(merge(format!("{kind}/web?dryRun=All"), &patch).named(label).into());
    }
    script(format!("changes of {kind}"), steps)
}

fn names(kind: &str) -> Script {
    let long = "a".repeat(254);
    let wrong = ["", "Web", "web_1", "-web", "web-", "we b", "web.1", "1web", "a/b", "..", long.as_str()];
    refusals(&format!("names of {kind}"), kind, wrong.map(|name| ("/metadata/name", json!(name))).to_vec())
}

fn meta(kind: &str) -> Script {
    refusals(
        &format!("metadata of {kind}"),
        kind,
        vec![
            ("/metadata/name", Value::Null),
            ("/metadata/name", json!(7)),
            ("/metadata/namespace", json!("elsewhere")),
            ("/metadata/labels", json!("a=b")),
            ("/metadata/labels", json!({"a": 1})),
            ("/metadata/labels", json!({"a b": "c"})),
            ("/metadata/labels", json!({"a": "b c"})),
            ("/metadata/labels", json!({"a": "b".repeat(64)})),
            ("/metadata/labels", json!({"A.com/x": "c"})),
            ("/metadata/labels", json!({"/x": "c"})),
            ("/metadata/annotations", json!({"a": ["b"]})),
            ("/metadata/annotations", json!({"a b": "c"})),
            ("/metadata/finalizers", json!(["bare"])),
            ("/metadata/finalizers", json!(["example.com/"])),
            ("/metadata/ownerReferences", json!([{"apiVersion": "v1", "kind": "Pod", "name": "a"}])),
            ("/metadata/ownerReferences", json!([{"apiVersion": "", "kind": "", "name": "", "uid": ""}])),
            (
                "/metadata/ownerReferences",
                json!([
                    {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1", "controller": true},
                    {"apiVersion": "v1", "kind": "Pod", "name": "b", "uid": "2", "controller": true},
                ]),
            ),
            ("/metadata/resourceVersion", json!("1")),
            ("/metadata/uid", json!("x")),
            ("/metadata/generation", json!(-1)),
            ("/metadata/creationTimestamp", json!("yesterday")),
            ("/metadata/generateName", json!("UPPER")),
            ("/kind", json!("Other")),
            ("/apiVersion", json!("v9")),
            ("/apiVersion", json!("nonsense/v1/x")),
            ("/unknown", json!(1)),
        ],
    )
}

/// What is wrong with any pod, at its place in this kind.
fn pods(kind: &str) -> Script {
    let place = if kind == "pods" { "/spec" } else { "/spec/template/spec" };
    let container = json!({"name": "app", "image": "a:1"});
    let contained = |field: &str, value: Value| {
        let mut container = container.clone();
        container[field] = value;
        json!([container])
    };
    let wrong = vec![
        ("containers", json!([])),
        ("containers", Value::Null),
        ("containers", json!("one")),
        ("containers", json!([{}])),
        ("containers", contained("name", json!("App"))),
        ("containers", contained("name", json!(""))),
        ("containers", contained("image", json!(""))),
        ("containers", contained("image", json!(" a"))),
        ("containers", json!([container, container])),
        ("containers", contained("imagePullPolicy", json!("Sometimes"))),
        ("containers", contained("ports", json!([{"containerPort": 0}]))),
        ("containers", contained("ports", json!([{"containerPort": 70_000}]))),
        ("containers", contained("ports", json!([{"containerPort": 80, "protocol": "HTTP"}]))),
        ("containers", contained("ports", json!([{"containerPort": "http"}]))),
        ("containers", contained("env", json!([{"name": "", "value": "x"}]))),
        ("containers", contained("env", json!([{"name": "1 A", "value": "x"}]))),
        ("containers", contained("env", json!([{"name": "A", "value": 1}]))),
        ("containers", contained("resources", json!({"requests": {"cpu": "much"}}))),
        ("containers", contained("resources", json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}))),
        ("containers", contained("resources", json!({"requests": {"cpu": "-1"}}))),
        ("containers", contained("volumeMounts", json!([{"name": "missing", "mountPath": "/x"}]))),
        ("containers", contained("readinessProbe", json!({}))),
        ("containers", contained("readinessProbe", json!({"tcpSocket": {"port": 80}, "periodSeconds": -1}))),
        ("containers", contained("command", json!("sh"))),
        ("restartPolicy", json!("Sometimes")),
        ("restartPolicy", json!("Never")),
        ("dnsPolicy", json!("Sometimes")),
        ("terminationGracePeriodSeconds", json!(-1)),
        ("terminationGracePeriodSeconds", json!("1")),
        ("terminationGracePeriodSeconds", json!(1.5)),
        ("nodeSelector", json!({"a b": "c"})),
        ("nodeName", json!("Bad Name")),
        ("activeDeadlineSeconds", json!(0)),
        ("hostNetwork", json!("yes")),
        ("tolerations", json!([{"key": "a", "operator": "Perhaps"}])),
        ("volumes", json!([{"name": "a", "emptyDir": {}}, {"name": "a", "emptyDir": {}}])),
    ];
    let good = specimen(kind, "web");
    let steps = wrong.into_iter().map(|(field, value)| {
        let label = format!("{field} {value}");
        create(format!("{kind}?dryRun=All"), &with(&good, &format!("{place}/{field}"), value))
            .named(&label)
            .into()
    });
    script(format!("pods of {kind}"), steps.collect())
}

/// What is wrong with any workload.
fn workload(kind: &str) -> Vec<Wrong> {
    vec![
        ("/spec", Value::Null),
        ("/spec", json!([])),
        ("/spec/selector", Value::Null),
        ("/spec/selector", json!({})),
        ("/spec/selector", json!({"matchLabels": {"app": "other"}})),
        ("/spec/selector", json!({"matchLabels": {"app": 1}})),
        ("/spec/selector", json!({"matchLabels": {"a b": "c"}})),
        (
            "/spec/selector",
            json!({"matchExpressions": [{"key": "app", "operator": "Like", "values": ["web"]}]}),
        ),
        ("/spec/selector", json!({"matchExpressions": [{"key": "app", "operator": "In"}]})),
        (
            "/spec/selector",
            json!({"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["web"]}]}),
        ),
        (
            "/spec/selector",
            json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}]}),
        ),
        ("/spec/template", Value::Null),
        ("/spec/template/metadata", Value::Null),
        ("/spec/template/metadata/labels", json!({"a b": "c"})),
        ("/spec/template/metadata/annotations", json!({"a b": "c"})),
        ("/spec/minReadySeconds", if kind == "statefulsets" { json!("1") } else { json!(-1) }),
    ]
}

fn replicas() -> Vec<Wrong> {
    vec![
        ("/spec/replicas", json!(-1)),
        ("/spec/replicas", json!("2")),
        ("/spec/replicas", json!(1.5)),
        ("/spec/replicas", json!(3_000_000_000_i64)),
        ("/spec/replicas", Value::Null),
    ]
}

fn deployments() -> Vec<Wrong> {
    let rolling = |surge: Value, unavailable: Value| json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
    vec![
        ("/spec/strategy", json!({"type": "Sometimes"})),
        ("/spec/strategy", json!({"type": "Recreate", "rollingUpdate": {"maxSurge": 1}})),
        ("/spec/strategy", json!({"type": "Recreate"})),
        ("/spec/strategy", rolling(json!(0), json!(0))),
        ("/spec/strategy", rolling(json!("0%"), json!("0%"))),
        ("/spec/strategy", rolling(json!(-1), json!(1))),
        ("/spec/strategy", rolling(json!("half"), json!(1))),
        ("/spec/strategy", rolling(json!("150%"), json!("50%"))),
        ("/spec/strategy", rolling(json!(1), json!("150%"))),
        ("/spec/strategy", rolling(json!(1.5), json!(1))),
        ("/spec/strategy", json!({"rollingUpdate": {"maxSurge": 2}})),
        ("/spec/revisionHistoryLimit", json!(-1)),
        ("/spec/progressDeadlineSeconds", json!(-1)),
        ("/spec/progressDeadlineSeconds", json!(0)),
        ("/spec/minReadySeconds", json!(600)),
        ("/spec/paused", json!("yes")),
    ]
}

fn stateful_sets() -> Vec<Wrong> {
    vec![
        ("/spec/podManagementPolicy", json!("Sometimes")),
        ("/spec/podManagementPolicy", json!("Parallel")),
        ("/spec/updateStrategy", json!({"type": "Sometimes"})),
        ("/spec/updateStrategy", json!({"type": "OnDelete"})),
        ("/spec/updateStrategy", json!({"type": "OnDelete", "rollingUpdate": {"partition": 1}})),
        ("/spec/updateStrategy", json!({"type": "RollingUpdate", "rollingUpdate": {"partition": -1}})),
        ("/spec/updateStrategy", json!({"type": "RollingUpdate"})),
        ("/spec/serviceName", json!("")),
    ]
}

fn daemon_sets() -> Vec<Wrong> {
    vec![
        ("/spec/updateStrategy", json!({"type": "Sometimes"})),
        ("/spec/updateStrategy", json!({"type": "OnDelete"})),
        ("/spec/updateStrategy", json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}})),
        (
            "/spec/updateStrategy",
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "20%"}}),
        ),
        ("/spec/updateStrategy", json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": -1}})),
        ("/spec/revisionHistoryLimit", json!(-1)),
    ]
}

fn others() -> Vec<Script> {
    vec![
        refusals(
            "fields of configmaps",
            "configmaps",
            vec![
                ("/data", json!({"a b": "c"})),
                ("/data", json!({"a": 1})),
                ("/data", json!(["a"])),
                ("/binaryData", json!({"a": "YQ=="})),
                ("/binaryData", json!({"key": "YQ=="})),
                ("/binaryData", json!({"a": "?"})),
                ("/immutable", json!(true)),
            ],
        ),
        refusals(
            "fields of poddisruptionbudgets",
            "poddisruptionbudgets",
            vec![
                ("/spec/minAvailable", json!(-1)),
                ("/spec/minAvailable", json!("half")),
                ("/spec/minAvailable", json!("150%")),
                ("/spec/minAvailable", json!("50%")),
                ("/spec/maxUnavailable", json!(1)),
                ("/spec/minAvailable", Value::Null),
                ("/spec/selector", json!({"matchLabels": {"a b": "c"}})),
                ("/spec", Value::Null),
            ],
        ),
        refusals(
            "fields of services",
            "services",
            vec![
                ("/spec/ports", json!([{"port": 0}])),
                ("/spec/ports", json!([{"port": 80}, {"port": 81}])),
                ("/spec/ports", json!([{"port": 80, "targetPort": "http"}])),
                ("/spec/ports", json!([{"port": 80, "protocol": "HTTP"}])),
                ("/spec/type", json!("Sometimes")),
                ("/spec/selector", json!({"a b": "c"})),
                ("/spec/sessionAffinity", json!("Sometimes")),
            ],
        ),
        refusals(
            "fields of controllerrevisions",
            "controllerrevisions",
            vec![
                ("/revision", Value::Null),
                ("/revision", json!(-1)),
                ("/data", Value::Null),
                ("/revision", json!("1")),
            ],
        ),
    ]
}

/// Requests that are wrong whatever the object.
fn requests(kind: &str) -> Script {
    let good = specimen(kind, "web").to_string();
    let web = format!("{kind}/web");
    let post = |query: &str| raw(Method::POST, format!("{kind}{query}"), &good);
    script(
        format!("requests of {kind}"),
        vec![
            post("?dryRun=Some").into(),
            post("?dryRun=All&dryRun=All").into(),
            post(&format!("?fieldManager={}", "m".repeat(129))).named("long manager").into(),
            post("").content_type("text/plain").named("as text").into(),
            post("").content_type("application/xml").named("as xml").into(),
            post("?dryRun=All").accept("application/xml").named("xml back").into(),
            raw(Method::POST, kind, "").named("empty").into(),
            raw(Method::POST, kind, "{").named("half an object").into(),
            raw(Method::POST, kind, "[]").named("a list").into(),
            raw(Method::POST, kind, "null").named("null").into(),
            raw(Method::POST, kind, "{}").named("nothing in it").into(),
            raw(Method::POST, kind, r#"{"metadata": {"name": "web"}, "metadata": 1}"#)
                .named("twice the same")
                .into(),
            raw(Method::POST, web.clone(), &good).into(),
            raw(Method::PUT, kind, &good).into(),
            raw(Method::PATCH, kind, "{}").content_type("application/merge-patch+json").into(),
            raw(Method::PUT, web.clone(), "{}").named("put nothing").into(),
            raw(Method::PUT, web.clone(), "").named("put empty").into(),
            get(format!("{web}/nothing")).into(),
            get(format!("{web}/status/more")).into(),
            get(format!("{kind}/Bad_Name")).into(),
            get(format!("{kind}/web?resourceVersion=abc")).into(),
            delete(format!("{web}/nothing")).into(),
            get(format!("{kind}s")).into(),
        ],
    )
}

fn addresses() -> Script {
    script(
        "addresses",
        [
            "/apis/nothing.example.com/v1/things",
            "/apis/apps/v9/deployments",
            "/apis/apps/v1/nothings",
            "/api/v9/pods",
            "/api/v1/namespaces/{{namespace}}/nothings",
            "/nothing",
            "/apis/apps/v1/namespaces/{{namespace}}/pods",
            "/api/v1/namespaces/{{namespace}}/nodes",
            "/api/v1/nodes/nowhere",
            "/api/v1/namespaces/nowhere/status",
            "/healthz",
            "/readyz",
            "/livez",
        ]
        .into_iter()
        .map(|path| get(path).into())
        .collect(),
    )
}

pub(crate) fn scripts() -> Vec<Script> {
    let mut scripts = others();
    scripts.push(addresses());
    for kind in super::objects::KINDS {
        scripts.extend([names(kind), meta(kind), requests(kind)]);
    }
    for kind in ["deployments", "replicasets", "statefulsets", "daemonsets"] {
        let mut wrong = workload(kind);
        wrong.extend(match kind {
            "deployments" => [deployments(), replicas()].concat(),
            "statefulsets" => [stateful_sets(), replicas()].concat(),
            "daemonsets" => daemon_sets(),
            _ => replicas(),
        });
        scripts.push(refusals(&format!("fields of {kind}"), kind, wrong));
        let mut changed = vec![
            ("selector", json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}})),
            (
                "selector and labels",
                json!({"spec": {
                    "selector": {"matchLabels": {"more": "x"}}, "template": {"metadata": {"labels": {"more": "x"}}},
                }}),
            ),
            ("template labels", json!({"spec": {"template": {"metadata": {"labels": null}}}})),
            ("template", json!({"spec": {"template": {"spec": {"containers": null}}}})),
        ];
        if kind == "statefulsets" {
            changed.push(("service name", json!({"spec": {"serviceName": "other"}})));
            changed.push(("pod management", json!({"spec": {"podManagementPolicy": "Parallel"}})));
        }
        scripts.push(changes(kind, changed));
    }
    for kind in ["pods", "deployments"] {
        scripts.push(pods(kind));
    }
    scripts.push(changes(
        "pods",
        vec![
            ("image", json!({"spec": {"containers": [{"name": "app", "image": "b:2"}]}})),
            ("node name", json!({"spec": {"nodeName": "elsewhere"}})),
            ("grace", json!({"spec": {"terminationGracePeriodSeconds": 5}})),
            ("restart policy", json!({"spec": {"restartPolicy": "Never"}})),
            ("deadline", json!({"spec": {"activeDeadlineSeconds": 60}})),
            ("labels", json!({"metadata": {"labels": {"app": null}}})),
        ],
    ));
    scripts
}
