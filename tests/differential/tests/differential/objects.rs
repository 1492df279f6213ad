//! The verbs, for every kind alike: generated from a table of kinds.

use astradesk_differential::script::{
    Script, Step, create, delete, delete_with, get, merge, operations, put, raw, script, specimen, strategic,
    with,
};
use http::Method;
use serde_json::{Value, json};

/// The kinds, by their plural.
pub(crate) const KINDS: [&str; 10] = [
    "configmaps",
    "services",
    "pods",
    "deployments",
    "replicasets",
    "statefulsets",
    "daemonsets",
    "controllerrevisions",
    "poddisruptionbudgets",
    "ingresses",
];
/// Those of them that have a scale.
const SCALED: [&str; 3] = ["deployments", "replicasets", "statefulsets"];
/// Those of them without a status.
const PLAIN: [&str; 2] = ["configmaps", "controllerrevisions"];

pub(crate) fn scripts() -> Vec<Script> {
    let mut scripts = Vec::new();
    for kind in KINDS {
        scripts.extend([making(kind), replacing(kind), patching(kind), going(kind)]);
        if !PLAIN.contains(&kind) {
            scripts.push(status(kind));
        }
        if SCALED.contains(&kind) {
            scripts.push(scale(kind));
        }
    }
    scripts.push(namespaces());
    scripts
}

/// A path to the object `web`.
fn web(kind: &str) -> String {
    format!("{kind}/web")
}

fn making(kind: &str) -> Script {
    let web_object = specimen(kind, "web");
    let generated =
        with(&with(&web_object, "/metadata/name", Value::Null), "/metadata/generateName", json!("web-"));
    script(
        format!("make {kind}"),
        vec![
            get(web(kind)).into(),
            create(format!("{kind}?dryRun=All"), &web_object).into(),
            get(web(kind)).into(),
            create(kind, &web_object).into(),
            create(kind, &web_object).into(),
            create(format!("{kind}?dryRun=All"), &web_object).into(),
            Step::Rest,
            get(web(kind)).into(),
            get(kind).into(),
            create(format!("{kind}?dryRun=All"), &generated).into(),
            create(
                format!("{kind}?dryRun=All"),
                &with(&with(&web_object, "/apiVersion", Value::Null), "/kind", Value::Null),
            )
            .named("without kind")
            .into(),
            get(format!("{}?pretty=true", web(kind))).into(),
        ],
    )
}

fn replacing(kind: &str) -> Script {
    let web_object = specimen(kind, "web");
    let labelled = with(&web_object, "/metadata/labels/tier", json!("front"));
    let versioned = |object: &Value, version: &str| with(object, "/metadata/resourceVersion", json!(version));
    script(
        format!("replace {kind}"),
        vec![
            put(web(kind), &web_object).named("missing").into(),
            create(kind, &web_object).save("made").into(),
            Step::Rest,
            get(web(kind)).save("made").into(),
            put(
                format!("{}?dryRun=All", web(kind)),
                &versioned(&labelled, "{{made:/metadata/resourceVersion}}"),
            )
            .named("dry")
            .into(),
            put(web(kind), &versioned(&labelled, "{{made:/metadata/resourceVersion}}")).named("fresh").into(),
            Step::Rest,
            put(web(kind), &versioned(&web_object, "{{made:/metadata/resourceVersion}}"))
                .named("stale")
                .into(),
            put(web(kind), &labelled).named("unversioned").into(),
            put(web(kind), &versioned(&labelled, "1")).named("old version").into(),
            put(web(kind), &versioned(&labelled, "no-number")).named("strange version").into(),
            put(web(kind), &with(&labelled, "/metadata/uid", json!("11111111-2222-3333-4444-555555555555")))
                .named("other uid")
                .into(),
            put(web(kind), &with(&labelled, "/metadata/name", json!("other"))).named("other name").into(),
            put(web(kind), &with(&labelled, "/metadata/namespace", json!("elsewhere")))
                .named("other namespace")
                .into(),
            put(web(kind), &with(&labelled, "/kind", json!("Other"))).named("other kind").into(),
            Step::Rest,
            get(web(kind)).into(),
        ],
    )
}

fn patching(kind: &str) -> Script {
    let labels = |value: Value| json!({"metadata": {"labels": value}});
    script(
        format!("patch {kind}"),
        vec![
            merge(web(kind), &labels(json!({"a": "1"}))).named("missing").into(),
            create(kind, &specimen(kind, "web")).into(),
            Step::Rest,
            merge(web(kind), &labels(json!({"a": "1"}))).into(),
            strategic(web(kind), &labels(json!({"b": "2", "a": null}))).into(),
            operations(web(kind), &json!([{"op": "add", "path": "/metadata/labels/c", "value": "3"}])).into(),
            merge(format!("{}?dryRun=All", web(kind)), &labels(json!({"d": "4"}))).named("dry").into(),
            merge(web(kind), &json!({})).named("empty").into(),
            merge(web(kind), &json!({"metadata": {"name": "other"}})).named("other name").into(),
            merge(web(kind), &json!({"metadata": {"resourceVersion": "1"}})).named("other version").into(),
            merge(web(kind), &json!({"metadata": {"uid": "11111111-2222-3333-4444-555555555555"}}))
                .named("other uid")
                .into(),
            merge(web(kind), &json!({"kind": "Other"})).named("other kind").into(),
            merge(web(kind), &json!([])).named("list as merge").into(),
            operations(web(kind), &json!({})).named("mapping as operations").into(),
            operations(web(kind), &json!([{"op": "test", "path": "/metadata/name", "value": "other"}]))
                .named("failed test")
                .into(),
            operations(web(kind), &json!([{"op": "remove", "path": "/metadata/labels/nothing"}]))
                .named("nothing to remove")
                .into(),
            operations(web(kind), &json!([{"op": "explode", "path": "/metadata"}]))
                .named("unknown operation")
                .into(),
            raw(Method::PATCH, web(kind), "{")
                .content_type("application/merge-patch+json")
                .named("half a patch")
                .into(),
            raw(Method::PATCH, web(kind), "{}").content_type("text/plain").named("plain text").into(),
            merge(web(kind), &labels(json!({"a": 1}))).named("number as label").into(),
            merge(web(kind), &labels(json!({"a": "b c"}))).named("bad label").into(),
            merge(web(kind), &json!({"metadata": {"annotations": {"-a": "b"}}}))
                .named("bad annotation")
                .into(),
            merge(web(kind), &json!({"metadata": {"finalizers": ["bare"]}})).named("bad finalizer").into(),
            Step::Rest,
            get(web(kind)).into(),
        ],
    )
}

fn going(kind: &str) -> Script {
    let condition = |field: &str, value: &str| json!({"preconditions": {field: value}});
    script(
        format!("delete {kind}"),
        vec![
            delete(web(kind)).named("missing").into(),
            create(kind, &specimen(kind, "web")).into(),
            Step::Rest,
            get(web(kind)).save("made").into(),
            delete(format!("{}?dryRun=All", web(kind))).named("dry").into(),
            delete_with(web(kind), &condition("uid", "11111111-2222-3333-4444-555555555555"))
                .named("other uid")
                .into(),
            delete_with(web(kind), &condition("resourceVersion", "1")).named("other version").into(),
            delete_with(web(kind), &json!({"propagationPolicy": "Sometimes"})).named("unknown policy").into(),
            delete_with(web(kind), &json!({"propagationPolicy": "Orphan", "orphanDependents": true}))
                .named("both policies")
                .into(),
            delete(format!("{}?gracePeriodSeconds=no", web(kind))).named("no number").into(),
            delete_with(web(kind), &condition("uid", "{{made:/metadata/uid}}")).named("with uid").into(),
            Step::Rest,
            get(web(kind)).into(),
            delete(web(kind)).named("again").into(),
            create(kind, &specimen(kind, "one")).named("create one").into(),
            create(kind, &specimen(kind, "two")).named("create two").into(),
            Step::Rest,
            delete(format!("{kind}?labelSelector=app%3Done")).into(),
            Step::Rest,
            get(kind).into(),
            delete(kind).into(),
            Step::Rest,
            get(kind).into(),
        ],
    )
}

fn status(kind: &str) -> Script {
    let path = format!("{kind}/web/status");
    script(
        format!("status of {kind}"),
        vec![
            get(path.clone()).named("missing").into(),
            create(
                kind,
                &with(
                    &specimen(kind, "web"),
                    "/status",
                    json!({"conditions": [{"type": "X", "status": "True"}]}),
                ),
            )
            .into(),
            Step::Rest,
            get(path.clone()).save("made").into(),
            merge(path.clone(), &json!({"metadata": {"labels": {"by": "status"}}, "spec": {"replicas": 7}}))
                .named("not the status")
                .into(),
            merge(web(kind), &json!({"status": {"replicas": 7}})).named("not from outside").into(),
            merge(path.clone(), &json!({"status": "no mapping"})).named("no mapping").into(),
            raw(Method::POST, path.clone(), "{}").into(),
            delete(path).into(),
            Step::Rest,
            get(web(kind)).into(),
        ],
    )
}

fn scale(kind: &str) -> Script {
    let path = format!("{kind}/web/scale");
    let scaled = |replicas: i64| {
        json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": "web", "namespace": "{{namespace}}"}, "spec": {"replicas": replicas},
        })
    };
    script(
        format!("scale {kind}"),
        vec![
            get(path.clone()).named("missing").into(),
            create(kind, &specimen(kind, "web")).into(),
            Step::Rest,
            get(path.clone()).save("made").into(),
            put(path.clone(), &scaled(2)).named("to two").into(),
            Step::Rest,
            get(path.clone()).into(),
            put(
                path.clone(),
                &with(&scaled(3), "/metadata/resourceVersion", json!("{{made:/metadata/resourceVersion}}")),
            )
            .named("stale")
            .into(),
            put(path.clone(), &scaled(-1)).named("negative").into(),
            put(path.clone(), &with(&scaled(1), "/metadata/name", json!("other"))).named("other name").into(),
            put(path.clone(), &with(&scaled(1), "/kind", json!("Other"))).named("other kind").into(),
            merge(path.clone(), &json!({"spec": {"replicas": 0}})).named("to none").into(),
            Step::Rest,
            merge(path.clone(), &json!({"spec": {"replicas": "many"}})).named("no number").into(),
            get(path).into(),
            get(web(kind)).into(),
            get("pods").into(),
        ],
    )
}

fn namespaces() -> Script {
    let own = "namespaces/{{namespace}}-more";
    let made = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "{{namespace}}-more"}});
    let inside = |path: &str| format!("/api/v1/{own}/{path}");
    script(
        "namespaces",
        vec![
            get("namespaces/{{namespace}}").into(),
            get(own).named("missing").into(),
            create("namespaces", &made).into(),
            create("namespaces", &made).into(),
            get(own).into(),
            merge(own, &json!({"metadata": {"labels": {"a": "b"}}})).into(),
            create(inside("configmaps"), &specimen("configmaps", "held")).into(),
            merge(inside("configmaps/held"), &json!({"metadata": {"finalizers": ["example.com/hold"]}}))
                .into(),
            create(
                inside("configmaps"),
                &with(&specimen("configmaps", "other"), "/metadata/namespace", json!("elsewhere")),
            )
            .into(),
            delete(own).into(),
            Step::Until(
                format!("/api/v1/{own}/configmaps/held"),
                vec![("/metadata/deletionGracePeriodSeconds", json!(0))],
            ),
            create(inside("configmaps"), &specimen("configmaps", "late")).into(),
            merge(inside("configmaps/held"), &json!({"metadata": {"finalizers": null}})).into(),
            Step::Until(own.to_owned(), vec![("/code", json!(404))]),
            get(inside("configmaps")).into(),
            create(inside("configmaps"), &specimen("configmaps", "late")).into(),
        ],
    )
}
