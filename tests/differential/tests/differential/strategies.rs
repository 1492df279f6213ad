//! Where a rollout that cannot go on comes to rest: surge, unavailability and proportional scaling, worked out.

use super::deployments::{WEB, broken, image, rolled_out, story, web};
use astradesk_differential::script::{Script, Step, merge, strategic};
use serde_json::{Value, json};

fn rolling(surge: Value, unavailable: Value) -> Value {
    json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}})
}

fn scaled(replicas: u32) -> Vec<Step> {
    vec![merge(WEB, &json!({"spec": {"replicas": replicas}})).named("scale").into()]
}

pub(crate) fn scripts() -> Vec<Script> {
    let mut scripts = Vec::new();
    for (surge, unavailable, replicas, then) in [
        (json!(1), json!(0), 3, vec![5, 2]),
        (json!(0), json!(1), 3, vec![6, 1]),
        (json!(2), json!(2), 4, vec![8, 3]),
        (json!("25%"), json!("25%"), 4, vec![10]),
        (json!("50%"), json!("0%"), 5, vec![7, 4]),
        (json!("100%"), json!("100%"), 3, vec![4]),
        (json!("0%"), json!("30%"), 6, vec![9, 0]),
    ] {
        let name = format!("stalled {surge} {unavailable} of {replicas}");
        let mut changes = vec![vec![strategic(WEB, &broken()).into()]];
        changes.extend(then.into_iter().map(scaled));
        scripts.push(story(&name, &web(replicas, &rolling(surge, unavailable)), changes));
    }
    scripts.push(story(
        "recreate",
        &web(2, &json!({"strategy": {"type": "Recreate"}})),
        vec![
            vec![strategic(WEB, &image("2")).into(), rolled_out(2)],
            vec![strategic(WEB, &broken()).into()],
            scaled(3),
        ],
    ));
    // Two rollouts at once: the second begins while the first cannot go on.
    scripts.push(story(
        "three generations",
        &web(4, &rolling(json!(1), json!(1))),
        vec![
            vec![strategic(WEB, &broken()).into()],
            vec![strategic(WEB, &image("3")).into()],
            scaled(6),
            vec![
                strategic(WEB, &json!({"spec": {"template": {"metadata": {"annotations": null}}}})).into(),
                rolled_out(6),
            ],
        ],
    ));
    scripts
}
