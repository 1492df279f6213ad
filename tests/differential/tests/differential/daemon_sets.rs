//! `DaemonSet`s over time, on one node.

use super::deployments::{broken, image};
use astradesk_differential::script::{
    Script, Step, create, delete, get, script, specimen, strategic, until, with,
};
use serde_json::{Value, json};

const WEB: &str = "daemonsets/web";

fn observed() -> Vec<Step> {
    let all = ["daemonsets", "controllerrevisions", "pods"];
    std::iter::once(Step::Rest).chain(all.map(|plural| get(plural).into())).collect()
}

fn rolled_out() -> Step {
    until(WEB, &[("/status/updatedNumberScheduled", json!(1)), ("/status/numberAvailable", json!(1))])
}

fn story(name: &str, set: &Value, changes: Vec<Vec<Step>>) -> Script {
    let mut steps: Vec<Step> = vec![create("daemonsets", set).into()];
    steps.extend(observed());
    for change in changes {
        steps.extend(change);
        steps.extend(observed());
    }
    script(name, steps)
}

fn changed(patch: &Value) -> Step {
    strategic(WEB, patch).into()
}

pub(crate) fn scripts() -> Vec<Script> {
    let web = specimen("daemonsets", "web");
    let nowhere = json!({"spec": {"template": {"spec": {"nodeSelector": {"nowhere": "yes"}}}}});
    let anywhere = json!({"spec": {"template": {"spec": {"nodeSelector": null}}}});
    vec![
        story(
            "rollout",
            &web,
            vec![vec![changed(&image("2")), rolled_out()], vec![changed(&image("1")), rolled_out()]],
        ),
        story(
            "on delete",
            &with(&web, "/spec/updateStrategy", json!({"type": "OnDelete"})),
            vec![vec![changed(&image("2"))], vec![delete("pods").into(), rolled_out()]],
        ),
        story("a failing rollout", &web, vec![vec![changed(&broken())]]),
        story("nowhere", &web, vec![vec![changed(&nowhere)], vec![changed(&anywhere), rolled_out()]]),
        story("a pod lost", &web, vec![vec![delete("pods").into(), rolled_out()]]),
        story(
            "history",
            &with(&web, "/spec/revisionHistoryLimit", json!(1)),
            vec![
                vec![changed(&image("2")), rolled_out()],
                vec![changed(&image("3")), rolled_out()],
                vec![changed(&image("4")), rolled_out()],
            ],
        ),
    ]
}
