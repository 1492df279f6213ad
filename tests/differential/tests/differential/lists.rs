//! Lists: selectors, pages, versions, and what is refused.

use astradesk_differential::script::{Script, Step, create, get, script, specimen, with};
use serde_json::{Value, json};

/// Five objects of a kind with labels to choose by.
fn five(kind: &str) -> Vec<Step> {
    let labels = [
        json!({"app": "web", "tier": "front"}),
        json!({"app": "web", "tier": "back"}),
        json!({"app": "api"}),
        json!({"example.com/app": "x", "empty": ""}),
        Value::Null,
    ];
    let objects = labels.into_iter().zip(["a", "b", "c", "d", "e"]);
    objects
        .map(|(labels, name)| create(kind, &with(&specimen(kind, name), "/metadata/labels", labels)).into())
        .collect()
}

const LABELS: [&str; 22] = [
    "app=web",
    "app==web",
    "app!=web",
    "app=web,tier=front",
    "app in (web,api)",
    "app in (web, api),tier",
    "app notin (web)",
    "!app",
    "tier",
    "empty=",
    "example.com/app=x",
    "nothing=x",
    "app in ()",
    "app in (web",
    "app=web=x",
    "=web",
    "app=a b",
    "-app",
    "a/b/c=d",
    "app in (web),",
    "app>1",
    "app gt 1",
];

const FIELDS: [&str; 9] = [
    "metadata.name=a",
    "metadata.name!=a",
    "metadata.name=nothing",
    "metadata.namespace={{namespace}}",
    "metadata.labels=a",
    "spec.nodeName=",
    "metadata.name",
    "metadata.name=a,metadata.name=b",
    "=a",
];

fn query(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            ' ' => out += "%20",
            '=' => out += "%3D",
            '!' => out += "%21",
            ',' => out += "%2C",
            '>' => out += "%3E",
            c => out.push(c),
        }
    }
    out
}

pub(crate) fn scripts() -> Vec<Script> {
    let mut scripts = Vec::new();
    for kind in ["configmaps", "services"] {
        let mut steps = five(kind);
        for selector in LABELS {
            steps.push(
                get(format!("{kind}?labelSelector={}", query(selector)))
                    .named(&format!("labels {selector}"))
                    .into(),
            );
        }
        scripts.push(script(format!("labels of {kind}"), steps));
        let mut steps = five(kind);
        for selector in FIELDS {
            steps.push(
                get(format!("{kind}?fieldSelector={}", query(selector)))
                    .named(&format!("fields {selector}"))
                    .into(),
            );
        }
        scripts.push(script(format!("fields of {kind}"), steps));
        scripts.push(pages(kind));
        scripts.push(versions(kind));
    }
    scripts.push(fields_of_pods());
    scripts.push(fields_of_events());
    scripts.push(elsewhere());
    scripts
}

fn pages(kind: &str) -> Script {
    let mut steps = five(kind);
    let more = |name: &'static str| format!("{kind}?limit=2&continue={{{{{name}:/metadata/continue}}}}");
    steps.extend([
        get(format!("{kind}?limit=2")).save("first").into(),
        create(kind, &specimen(kind, "aa")).into(),
        get(more("first")).save("second").named("second page").into(),
        get(more("second")).named("last page").into(),
        get(format!("{kind}?limit=6")).into(),
        get(format!("{kind}?limit=5")).into(),
        get(format!("{kind}?limit=0")).into(),
        get(format!("{kind}?limit=-1")).into(),
        get(format!("{kind}?limit=two")).into(),
        get(format!("{kind}?limit=1&labelSelector=app%3Dweb")).save("chosen").into(),
        get(format!("{kind}?limit=1&labelSelector=app%3Dweb&continue={{{{chosen:/metadata/continue}}}}"))
            .named("second chosen")
            .into(),
        get(format!("{kind}?continue=nonsense")).into(),
        get(format!("{kind}?limit=1&continue={{{{first:/metadata/continue}}}}&resourceVersion=1"))
            .named("both continue and version")
            .into(),
    ]);
    script(format!("pages of {kind}"), steps)
}

fn versions(kind: &str) -> Script {
    let mut steps = vec![create(kind, &specimen(kind, "z")).save("made").into()];
    steps.extend(five(kind));
    let at = "{{made:/metadata/resourceVersion}}";
    for rest in [
        "resourceVersion=0".to_owned(),
        "resourceVersion=".to_owned(),
        format!("resourceVersion={at}"),
        format!("resourceVersion={at}&resourceVersionMatch=Exact"),
        format!("resourceVersion={at}&resourceVersionMatch=NotOlderThan"),
        format!("resourceVersion={at}&resourceVersionMatch=Sometimes"),
        "resourceVersion=0&resourceVersionMatch=Exact".to_owned(),
        "resourceVersionMatch=Exact".to_owned(),
        format!("resourceVersion={at}&limit=2"),
        "resourceVersion=abc".to_owned(),
        "resourceVersion=-1".to_owned(),
    ] {
        steps.push(get(format!("{kind}?{rest}")).named(&rest.replace(at, "made")).into());
    }
    script(format!("versions of {kind}"), steps)
}

fn fields_of_pods() -> Script {
    let mut steps: Vec<Step> = ["a", "b"].map(|name| create("pods", &specimen("pods", name)).into()).to_vec();
    let unplaceable = with(&specimen("pods", "c"), "/spec/nodeSelector", json!({"nowhere": "yes"}));
    steps.push(create("pods", &unplaceable).into());
    steps.push(Step::Rest);
    for selector in [
        "status.phase=Running",
        "status.phase!=Running",
        "spec.nodeName=",
        "spec.nodeName!=",
        "spec.restartPolicy=Always",
        "spec.restartPolicy=Never",
        "spec.schedulerName=default-scheduler",
        "spec.serviceAccountName=",
        "status.podIP=",
        "status.nominatedNodeName=",
        "spec.hostNetwork=true",
        "status.reason=x",
    ] {
        steps.push(
            get(format!("pods?fieldSelector={}", query(selector)))
                .named(&format!("fields {selector}"))
                .into(),
        );
    }
    script("fields of pods", steps)
}

fn fields_of_events() -> Script {
    let event = |name: &str, kind: &str| {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "type": kind, "reason": "Tested", "message": "m",
            "involvedObject": {"kind": "Pod", "namespace": "{{namespace}}", "name": "web"}, "source": {"component": "differential"},
        })
    };
    let mut steps: Vec<Step> =
        vec![create("events", &event("a", "Normal")).into(), create("events", &event("b", "Warning")).into()];
    for selector in [
        "type=Normal",
        "type!=Normal",
        "reason=Tested",
        "involvedObject.name=web",
        "involvedObject.kind=Node",
        "source=differential",
        "involvedObject.nothing=x",
    ] {
        steps.push(
            get(format!("events?fieldSelector={}", query(selector)))
                .named(&format!("fields {selector}"))
                .into(),
        );
    }
    script("fields of events", steps)
}

/// Lists of a kind in all namespaces, chosen so that nobody else's objects are among them.
fn elsewhere() -> Script {
    let own =
        |plural: &str| with(&specimen(plural, "web"), "/metadata/labels", json!({"own": "{{namespace}}"}));
    let mut steps: Vec<Step> = vec![create("configmaps", &own("configmaps")).into()];
    for path in [
        "/api/v1/configmaps?labelSelector=own%3D{{namespace}}",
        "/api/v1/configmaps?fieldSelector=metadata.namespace%3D{{namespace}}",
        "/api/v1/namespaces?fieldSelector=metadata.name%3D{{namespace}}",
        "/api/v1/namespaces?fieldSelector=status.phase%3DActive,metadata.name%3D{{namespace}}",
        "/api/v1/namespaces/nowhere-{{namespace}}/configmaps",
        "/api/v1/nodes?fieldSelector=metadata.name%3Dnowhere",
        "/api/v1/nodes?fieldSelector=spec.unschedulable%3Dtrue",
    ] {
        steps.push(get(path).into());
    }
    script("lists elsewhere", steps)
}
