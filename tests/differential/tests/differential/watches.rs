//! Watches: from the beginning, from a version, through selectors.

use astradesk_differential::script::{
    Script, Step, create, delete, get, merge, script, specimen, watch, with,
};
use serde_json::json;

/// A little history of three objects, after the list `start`.
fn history(kind: &str) -> Vec<Step> {
    vec![
        create(kind, &specimen(kind, "old")).save("old").into(),
        get(kind).save("start").into(),
        create(kind, &specimen(kind, "web")).into(),
        merge(format!("{kind}/web"), &json!({"metadata": {"labels": {"tier": "front"}}})).into(),
        create(kind, &with(&specimen(kind, "api"), "/metadata/labels/tier", json!("front"))).into(),
        merge(format!("{kind}/web"), &json!({"metadata": {"labels": {"tier": "back"}}})).into(),
        delete(format!("{kind}/api")).into(),
        delete(format!("{kind}/old")).into(),
    ]
}

pub(crate) fn scripts() -> Vec<Script> {
    let mut scripts = Vec::new();
    for kind in ["configmaps", "services"] {
        let from = "resourceVersion={{start:/metadata/resourceVersion}}";
        let watched =
            |rest: &str, events: usize| watch(format!("{kind}?watch=true&timeoutSeconds=20&{rest}"), events);
        let mut steps = history(kind);
        steps.extend([
            watched(from, 6).named("all since").into(),
            watched(&format!("{from}&labelSelector=tier%3Dfront"), 4)
                .named("in and out of a selector")
                .into(),
            watched(&format!("{from}&fieldSelector=metadata.name%3Dweb"), 3).named("one object").into(),
            watched("resourceVersion=0", 1).named("from any version").into(),
            watched("", 1).named("from now").into(),
            watch(format!("{kind}?watch=1&timeoutSeconds=1&{from}"), 99).named("until its end").into(),
            watch(format!("{kind}?watch=true&timeoutSeconds=1&labelSelector=nothing"), 1)
                .named("nothing")
                .into(),
            watch(format!("{kind}?watch=true&resourceVersion=abc"), 1).named("no version").into(),
            watch(format!("{kind}?watch=true&timeoutSeconds=no"), 1).named("no timeout").into(),
            watch(format!("{kind}?watch=true&labelSelector=%3D"), 1).named("no selector").into(),
            watch(format!("{kind}/web?watch=true&timeoutSeconds=1"), 1).named("an object").into(),
        ]);
        scripts.push(script(format!("watch {kind}"), steps));
    }
    for (kind, group) in [("deployments", "/apis/apps/v1"), ("pods", "/api/v1")] {
        let from = "resourceVersion={{start:/metadata/resourceVersion}}";
        scripts.push(script(
            format!("watch {kind} come and go"),
            vec![
                get(kind).save("start").into(),
                create(kind, &specimen(kind, "web")).into(),
                Step::Rest,
                delete(format!("{kind}/web")).into(),
                Step::Rest,
                watch(
                    format!("{kind}?watch=true&timeoutSeconds=20&{from}&fieldSelector=metadata.name%3Dweb"),
                    1,
                )
                .named("its coming")
                .into(),
                watch(
                    format!("{group}/watch/namespaces/{{{{namespace}}}}/{kind}?timeoutSeconds=1&{from}"),
                    1,
                )
                .named("the old way")
                .into(),
            ],
        ));
    }
    scripts
}
