//! Deployments over time: what the controllers make of changes, once they have come to rest.

use astradesk_differential::script::{
    Script, Step, create, delete, get, merge, script, specimen, strategic, until, with,
};
use serde_json::{Value, json};

pub(crate) const WEB: &str = "deployments/web";

/// A Deployment of so many pods, with more in its specification.
pub(crate) fn web(replicas: u32, more: &Value) -> Value {
    let mut deployment = with(&specimen("deployments", "web"), "/spec/replicas", json!(replicas));
    for (field, value) in more.as_object().unwrap() {
        deployment["spec"][field] = value.clone();
    }
    deployment
}

/// Everything that there is, once nothing moves.
pub(crate) fn observed() -> Vec<Step> {
    let all = ["deployments", "replicasets", "pods"];
    std::iter::once(Step::Rest).chain(all.map(|plural| get(plural).into())).collect()
}

/// A change of the template.
pub(crate) fn image(tag: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": format!("registry.example.com/app:{tag}")}]}}}})
}

/// The template's pods are never ready.
pub(crate) fn broken() -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {"sandbox.astradesk.dev/behaviour": "never-ready"}}}}})
}

/// The template's pods are ready again, with another image.
fn mended(tag: &str) -> Value {
    with(&image(tag), "/spec/template/metadata", json!({"annotations": null}))
}

/// Waits until a rollout is complete with so many pods.
pub(crate) fn rolled_out(replicas: u32) -> Step {
    until(
        WEB,
        &[
            ("/status/updatedReplicas", json!(replicas)),
            ("/status/availableReplicas", json!(replicas)),
            ("/status/replicas", json!(replicas)),
        ],
    )
}

/// A script that begins with a Deployment at rest and looks at everything after each change.
pub(crate) fn story(name: &str, deployment: &Value, changes: Vec<Vec<Step>>) -> Script {
    let mut steps: Vec<Step> = vec![create("deployments", deployment).into()];
    steps.extend(observed());
    for change in changes {
        steps.extend(change);
        steps.extend(observed());
    }
    script(name, steps)
}

fn restarted(at: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": at}}}}})
}

fn changed(patch: &Value) -> Step {
    strategic(WEB, patch).into()
}

fn replicas(count: u32) -> Step {
    merge("deployments/web/scale", &json!({"spec": {"replicas": count}})).named("scale").into()
}

pub(crate) fn scripts() -> Vec<Script> {
    let paused = |paused: bool| changed(&json!({"spec": {"paused": paused}}));
    let none = json!({});
    vec![
        story("rollout", &web(3, &none), vec![vec![changed(&image("2")), rolled_out(3)]]),
        story(
            "restart",
            &web(2, &none),
            vec![vec![changed(&restarted("2026-01-02T03:04:05Z")), rolled_out(2)]],
        ),
        story(
            "scaling",
            &web(1, &none),
            vec![vec![replicas(3), rolled_out(3)], vec![replicas(1), rolled_out(1)], vec![replicas(0)]],
        ),
        story(
            "from none",
            &web(0, &none),
            vec![vec![changed(&image("2"))], vec![replicas(2), rolled_out(2)]],
        ),
        story(
            "pause and resume",
            &web(2, &none),
            vec![
                vec![paused(true)],
                vec![changed(&image("2"))],
                vec![replicas(3)],
                vec![paused(false), rolled_out(3)],
            ],
        ),
        story(
            "undo",
            &web(2, &none),
            vec![
                vec![changed(&image("2")), rolled_out(2)],
                vec![changed(&image("1")), rolled_out(2)],
                vec![changed(&image("2")), rolled_out(2)],
            ],
        ),
        story(
            "history",
            &web(1, &json!({"revisionHistoryLimit": 1})),
            ["2", "3", "4"].map(|tag| vec![changed(&image(tag)), rolled_out(1)]).to_vec(),
        ),
        story(
            "no history",
            &web(1, &json!({"revisionHistoryLimit": 0})),
            ["2", "3"].map(|tag| vec![changed(&image(tag)), rolled_out(1)]).to_vec(),
        ),
        story(
            "a failing rollout",
            &web(3, &none),
            vec![
                vec![changed(&broken())],
                vec![replicas(5)],
                vec![replicas(2)],
                vec![changed(&mended("3")), rolled_out(2)],
            ],
        ),
        story(
            "a deadline",
            &web(2, &json!({"progressDeadlineSeconds": 4})),
            vec![
                vec![
                    changed(&broken()),
                    until(WEB, &[("/status/conditions/1/reason", json!("ProgressDeadlineExceeded"))]),
                ],
                vec![changed(&json!({"spec": {"template": {"metadata": {"annotations": null}}}}))],
            ],
        ),
        story(
            "never available",
            &with(
                &web(2, &none),
                "/spec/template/metadata/annotations",
                json!({"sandbox.astradesk.dev/behaviour": "never-ready"}),
            ),
            vec![vec![replicas(1)]],
        ),
        story(
            "minimal readiness",
            &web(1, &json!({"minReadySeconds": 1})),
            vec![vec![rolled_out(1)], vec![changed(&image("2")), rolled_out(1)]],
        ),
        story(
            "annotations",
            &web(1, &none),
            vec![
                vec![
                    merge(WEB, &json!({"metadata": {"annotations": {"note": "x"}, "labels": {"more": "y"}}}))
                        .into(),
                ],
                vec![merge(WEB, &json!({"metadata": {"annotations": {"note": null}}})).into()],
            ],
        ),
        story("a pod lost", &web(2, &none), vec![vec![delete("pods").into(), rolled_out(2)]]),
        story("a replica set lost", &web(1, &none), vec![vec![delete("replicasets").into(), rolled_out(1)]]),
        events(),
    ]
}

/// What the controllers say.
fn events() -> Script {
    let mut steps: Vec<Step> = vec![create("deployments", &web(1, &json!({}))).into(), Step::Rest];
    steps.extend([replicas(2), rolled_out(2), Step::Rest, replicas(0), Step::Rest]);
    for kind in ["Deployment", "ReplicaSet"] {
        steps.push(get(format!("events?fieldSelector=involvedObject.kind%3D{kind}")).into());
    }
    script("events", steps)
}
