//! `StatefulSet`s over time.

use super::deployments::{broken, image};
use astradesk_differential::script::{
    Script, Step, create, delete, get, merge, script, specimen, strategic, until, with,
};
use serde_json::{Value, json};

const WEB: &str = "statefulsets/web";

fn web(replicas: u32, more: &Value) -> Value {
    let mut set = with(&specimen("statefulsets", "web"), "/spec/replicas", json!(replicas));
    for (field, value) in more.as_object().unwrap() {
        set["spec"][field] = value.clone();
    }
    set
}

fn observed() -> Vec<Step> {
    let all = ["statefulsets", "controllerrevisions", "pods"];
    std::iter::once(Step::Rest).chain(all.map(|plural| get(plural).into())).collect()
}

fn ready(replicas: u32) -> Step {
    let count = if replicas == 0 { Value::Null } else { json!(replicas) };
    until(WEB, &[("/status/replicas", json!(replicas)), ("/status/readyReplicas", count)])
}

/// All pods are ready, and so many are at the newest revision.
fn updated(replicas: u32, updated: u32) -> Vec<Step> {
    vec![until(
        WEB,
        &[("/status/readyReplicas", json!(replicas)), ("/status/updatedReplicas", json!(updated))],
    )]
}

fn story(name: &str, set: &Value, begun: Vec<Step>, changes: Vec<Vec<Step>>) -> Script {
    let mut steps: Vec<Step> = vec![create("statefulsets", set).into()];
    steps.extend(begun);
    steps.extend(observed());
    for change in changes {
        steps.extend(change);
        steps.extend(observed());
    }
    script(name, steps)
}

fn then(first: Step, rest: Vec<Step>) -> Vec<Step> {
    std::iter::once(first).chain(rest).collect()
}

fn changed(patch: &Value) -> Step {
    strategic(WEB, patch).into()
}

fn scaled(replicas: u32) -> Vec<Step> {
    vec![
        merge("statefulsets/web/scale", &json!({"spec": {"replicas": replicas}})).named("scale").into(),
        ready(replicas),
    ]
}

pub(crate) fn scripts() -> Vec<Script> {
    let none = json!({});
    let partition = |partition: u32| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}});
    let parallel = json!({"podManagementPolicy": "Parallel"});
    let move_partition = |to: u32| changed(&json!({"spec": partition(to)}));
    vec![
        story("rollout", &web(3, &none), vec![ready(3)], vec![then(changed(&image("2")), updated(3, 3))]),
        story(
            "undo",
            &web(1, &none),
            vec![ready(1)],
            vec![then(changed(&image("2")), updated(1, 1)), then(changed(&image("1")), updated(1, 1))],
        ),
        story("scaling", &web(1, &none), vec![ready(1)], vec![scaled(3), scaled(1), scaled(0)]),
        story(
            "partition",
            &web(3, &partition(2)),
            vec![ready(3)],
            vec![
                then(changed(&image("2")), updated(3, 1)),
                vec![delete("pods/web-0").into(), ready(3)],
                then(move_partition(1), updated(3, 2)),
                then(move_partition(0), updated(3, 3)),
            ],
        ),
        story(
            "partition beyond",
            &web(2, &partition(5)),
            vec![ready(2)],
            vec![vec![changed(&image("2"))], scaled(3)],
        ),
        story(
            "parallel",
            &web(3, &parallel),
            vec![ready(3)],
            vec![scaled(5), scaled(2), then(changed(&image("2")), updated(2, 2))],
        ),
        story(
            "on delete",
            &web(2, &json!({"updateStrategy": {"type": "OnDelete"}})),
            vec![ready(2)],
            vec![
                vec![changed(&image("2"))],
                then(delete("pods/web-1").into(), updated(2, 1)),
                then(delete("pods/web-0").into(), updated(2, 2)),
            ],
        ),
        story(
            "a failing rollout",
            &web(3, &none),
            vec![ready(3)],
            vec![vec![
                changed(&broken()),
                until(WEB, &[("/status/readyReplicas", json!(2)), ("/status/updatedReplicas", json!(1))]),
            ]],
        ),
        story(
            "never ready",
            &with(
                &web(2, &none),
                "/spec/template/metadata/annotations",
                json!({"sandbox.astradesk.dev/behaviour": "never-ready"}),
            ),
            vec![until(WEB, &[("/status/replicas", json!(1))])],
            vec![],
        ),
        story(
            "never ready in parallel",
            &with(
                &web(2, &parallel),
                "/spec/template/metadata/annotations",
                json!({"sandbox.astradesk.dev/behaviour": "never-ready"}),
            ),
            vec![until(WEB, &[("/status/replicas", json!(2))])],
            vec![],
        ),
        story(
            "history",
            &web(1, &json!({"revisionHistoryLimit": 1})),
            vec![ready(1)],
            vec![
                then(changed(&image("2")), updated(1, 1)),
                then(changed(&image("3")), updated(1, 1)),
                then(changed(&image("4")), updated(1, 1)),
            ],
        ),
    ]
}
