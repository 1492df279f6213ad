//! How things go, and what goes with them; and what is taken in.

use super::deployments::web;
use astradesk_differential::script::{
    Script, Step, create, delete, delete_with, get, merge, script, specimen, until, with,
};
use serde_json::{Value, json};

fn all(extra: &[&str]) -> Vec<Step> {
    let plurals = ["replicasets", "pods"].iter().chain(extra);
    std::iter::once(Step::Rest).chain(plurals.map(|plural| get(*plural).into())).collect()
}

/// A workload goes, in each of the ways.
fn going(kind: &'static str, policy: &str) -> Script {
    let path = format!("{kind}/web");
    let mut steps: Vec<Step> = vec![create(kind, &specimen(kind, "web")).into(), Step::Rest];
    steps.push(delete_with(path.clone(), &json!({"propagationPolicy": policy})).into());
    steps.push(until(path, &[("/code", json!(404))]));
    let follows = match (kind, policy) {
        (_, "Orphan") => None,
        ("deployments", _) => Some("replicasets"),
        _ => Some("pods"),
    };
    steps.extend(follows.map(|plural| until(plural, &[("/items", json!([]))])));
    if follows == Some("replicasets") {
        steps.push(until("pods", &[("/items", json!([]))]));
    }
    // Orphaned revisions may be taken in by a StatefulSet of another script: see `specimen`.
    steps.extend(if policy == "Orphan" { all(&[kind]) } else { all(&["controllerrevisions", kind]) });
    script(format!("{kind} with {policy}"), steps)
}

fn owned(plural: &str, name: &str, owners: Value) -> Value {
    with(&specimen(plural, name), "/metadata/ownerReferences", owners)
}

pub(crate) fn scripts() -> Vec<Script> {
    let mut scripts = Vec::new();
    for kind in ["deployments", "replicasets", "statefulsets", "daemonsets"] {
        for policy in ["Background", "Foreground", "Orphan"] {
            scripts.push(going(kind, policy));
        }
    }
    scripts.extend([
        finalizers(),
        owners(),
        grace(),
        adoption("replicasets"),
        adoption("statefulsets"),
        adopted_replica_set(),
        released(),
    ]);
    scripts
}

fn finalizers() -> Script {
    let held = with(
        &specimen("configmaps", "web"),
        "/metadata/finalizers",
        json!(["example.com/a", "example.com/b"]),
    );
    let path = "configmaps/web";
    script(
        "finalizers",
        vec![
            create("configmaps", &held).into(),
            delete(path).into(),
            get(path).into(),
            delete(path).named("again").into(),
            create("configmaps", &held).named("create again").into(),
            merge(path, &json!({"data": {"more": "x"}})).named("change").into(),
            merge(path, &json!({"metadata": {"finalizers": ["example.com/a", "example.com/c"]}}))
                .named("one more")
                .into(),
            merge(path, &json!({"metadata": {"finalizers": ["example.com/b"]}})).named("one less").into(),
            merge(path, &json!({"metadata": {"finalizers": null}})).named("none").into(),
            get(path).into(),
            create("configmaps", &held).named("anew").into(),
            delete_with(path, &json!({"propagationPolicy": "Foreground"})).named("foreground").into(),
            until(path, &[("/metadata/finalizers", json!(["example.com/a", "example.com/b"]))]),
            get(path).into(),
            merge(path, &json!({"metadata": {"finalizers": []}})).named("empty").into(),
            get(path).into(),
        ],
    )
}

/// The collector, on what no controller manages.
fn owners() -> Script {
    let owner = |uid: &str, name: &str, block: bool| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": block});
    let (first, second) = ("{{first:/metadata/uid}}", "{{second:/metadata/uid}}");
    script(
        "owners",
        vec![
            create("configmaps", &specimen("configmaps", "first")).save("first").into(),
            create("configmaps", &specimen("configmaps", "second")).save("second").into(),
            create("configmaps", &owned("configmaps", "of-first", json!([owner(first, "first", false)])))
                .into(),
            create(
                "configmaps",
                &owned(
                    "configmaps",
                    "of-both",
                    json!([owner(first, "first", false), owner(second, "second", false)]),
                ),
            )
            .into(),
            create("configmaps", &owned("configmaps", "blocks", json!([owner(second, "second", true)])))
                .into(),
            delete("configmaps/first").into(),
            until("configmaps/of-first", &[("/code", json!(404))]),
            until("configmaps/of-both", &[("/metadata/ownerReferences/0/name", json!("second"))]),
            get("configmaps/of-both").named("of both").into(),
            delete_with("configmaps/second", &json!({"propagationPolicy": "Foreground"})).into(),
            until("configmaps/second", &[("/code", json!(404))]),
            until("configmaps/of-both", &[("/code", json!(404))]),
            get("configmaps").into(),
            create(
                "configmaps",
                &owned(
                    "configmaps",
                    "stray",
                    json!([owner("11111111-2222-3333-4444-555555555555", "none", false)]),
                ),
            )
            .into(),
            until("configmaps/stray", &[("/code", json!(404))]),
            get("configmaps").into(),
        ],
    )
}

fn grace() -> Script {
    let slow = with(&specimen("pods", "web"), "/spec/terminationGracePeriodSeconds", json!(30));
    let unplaceable = with(&slow, "/spec/nodeSelector", json!({"nowhere": "yes"}));
    let held = with(&slow, "/metadata/finalizers", json!(["example.com/hold"]));
    let path = "pods/web";
    let gone = || until(path, &[("/code", json!(404))]);
    script(
        "grace",
        vec![
            create("pods", &held).into(),
            Step::Rest,
            delete(format!("{path}?gracePeriodSeconds=20")).into(),
            until(path, &[("/metadata/deletionGracePeriodSeconds", json!(0))]),
            merge(path, &json!({"metadata": {"finalizers": null}})).named("let go").into(),
            gone(),
            create("pods", &unplaceable).named("unplaceable").into(),
            until(path, &[("/status/conditions/0/reason", json!("Unschedulable"))]),
            delete(path).into(),
            gone(),
            create("pods", &slow).into(),
            Step::Rest,
            delete(format!("{path}?gracePeriodSeconds=0")).named("at once, running").into(),
            get(path).into(),
        ],
    )
}

/// Orphans are adopted by whoever selects them.
fn adoption(kind: &'static str) -> Script {
    let path = format!("{kind}/web");
    let mut steps: Vec<Step> =
        vec![create(kind, &with(&specimen(kind, "web"), "/spec/replicas", json!(2))).into(), Step::Rest];
    steps.push(until(path.clone(), &[("/status/readyReplicas", json!(2))]));
    steps.push(delete_with(path.clone(), &json!({"propagationPolicy": "Orphan"})).into());
    steps.push(until(path.clone(), &[("/code", json!(404))]));
    steps.extend(all(&[]));
    steps.push(create(kind, &with(&specimen(kind, "web"), "/spec/replicas", json!(2))).into());
    steps.push(until(path, &[("/status/readyReplicas", json!(2))]));
    steps.extend(all(&[kind]));
    script(format!("adoption by {kind}"), steps)
}

fn adopted_replica_set() -> Script {
    let path = "deployments/web";
    let mut steps: Vec<Step> = vec![create("deployments", &web(2, &json!({}))).into(), Step::Rest];
    steps.push(delete_with(path, &json!({"propagationPolicy": "Orphan"})).into());
    steps.push(until(path, &[("/code", json!(404))]));
    steps.push(create("deployments", &web(1, &json!({}))).into());
    steps.push(until(path, &[("/status/availableReplicas", json!(1)), ("/status/replicas", json!(1))]));
    steps.extend(all(&["deployments"]));
    script("adoption by deployments", steps)
}

/// A pod that is not selected any more is let go, and replaced.
fn released() -> Script {
    let mut steps: Vec<Step> =
        vec![create("replicasets", &specimen("replicasets", "web")).into(), Step::Rest];
    steps.push(get("pods").save("pods").into());
    steps.push(
        merge("pods/{{pods:/items/0/metadata/name}}", &json!({"metadata": {"labels": {"app": "other"}}}))
            .named("relabel")
            .into(),
    );
    steps.push(until("pods?labelSelector=app%3Dweb", &[("/items/0/status/phase", json!("Running"))]));
    steps.extend(all(&[]));
    steps.push(
        merge("pods/{{pods:/items/0/metadata/name}}", &json!({"metadata": {"labels": {"app": "web"}}}))
            .named("back")
            .into(),
    );
    steps.extend(all(&[]));
    script("a pod let go", steps)
}
