//! Scripts by seeded chance: what no table thought of. `ASTRADESK_TEST_SEED` makes others.

use astradesk_differential::script::{
    Ask, Script, Step, create, delete, delete_with, get, merge, operations, put, script, specimen, strategic,
    with,
};
use serde_json::{Value, json};

/// How many there are of each kind.
const EACH: u64 = 10;
/// How many steps each has.
const STEPS: usize = 14;

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

pub(crate) fn scripts() -> Vec<Script> {
    let seed = std::env::var("ASTRADESK_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let kinds = ["configmaps", "deployments"];
    let scripts = kinds.into_iter().flat_map(|kind| (0..EACH).map(move |number| one(kind, seed, number)));
    scripts.collect()
}

fn one(kind: &str, seed: u64, number: u64) -> Script {
    let mut random = Random(seed.wrapping_mul(1_000).wrapping_add(number));
    let mut steps = Vec::new();
    for _ in 0..STEPS {
        let name = random.of(&["a", "b", "c"]);
        steps.push(action(&mut random, kind, name).into());
        if kind == "deployments" {
            steps.push(Step::Rest);
        }
    }
    steps.push(get(kind).into());
    script(format!("chance {number} with {kind}"), steps)
}

fn action(random: &mut Random, kind: &str, name: &str) -> Ask {
    let path = format!("{kind}/{name}");
    let query = random.of(&["", "", "", "?dryRun=All", "?fieldManager=somebody"]);
    let object = object(random, kind, name);
    match random.below(12) {
        0..=2 => create(format!("{kind}{query}"), &object),
        3 => put(format!("{path}{query}"), &object),
        4 => put(
            path,
            &with(&object, "/metadata/resourceVersion", random.of(&[json!("1"), json!("0"), json!("")])),
        ),
        5 => merge(format!("{path}{query}"), &change(random, kind)),
        6 => strategic(format!("{path}{query}"), &change(random, kind)),
        7 => {
            let pointer = random.of(&[
                "/metadata/labels/app",
                "/metadata/labels/new",
                "/metadata/annotations",
                "/metadata/name",
                "/kind",
            ]);
            let value = random.of(&[json!("x"), json!({"k": "v"}), json!(1)]);
            operations(
                path,
                &json!([{"op": random.of(&["add", "replace", "remove", "test"]), "path": pointer, "value": value}]),
            )
        }
        8 => delete(format!(
            "{path}{}",
            random.of(&["", "?dryRun=All", "?propagationPolicy=Background", "?gracePeriodSeconds=0"])
        )),
        9 => delete_with(
            path,
            &random.of(&[
                json!({"preconditions": {"resourceVersion": "1"}}),
                json!({"dryRun": ["All"]}),
                json!({}),
            ]),
        ),
        10 => get(path),
        _ => get(format!(
            "{kind}{}",
            random.of(&["", "?limit=1", "?labelSelector=app%3Da", "?fieldSelector=metadata.name%3Db"])
        )),
    }
}

fn object(random: &mut Random, kind: &str, name: &str) -> Value {
    let mut object = specimen(kind, name);
    if kind == "deployments" {
        object["spec"]["replicas"] = json!(0);
    }
    match random.below(8) {
        0 => with(&object, "/metadata/annotations", json!({"note": random.of(&["x", "", "y z"])})),
        1 => with(&object, "/metadata/labels", random.of(&[Value::Null, json!({}), json!({"app": "b c"})])),
        2 => with(&object, "/kind", random.of(&[Value::Null, json!("Other"), json!("")])),
        3 => with(&object, "/metadata/name", random.of(&[json!("Bad"), json!(""), json!(1), json!("c")])),
        4 => with(
            &object,
            "/metadata/finalizers",
            random.of(&[json!([]), json!(["bad finalizer"]), Value::Null]),
        ),
        _ => object,
    }
}

fn change(random: &mut Random, kind: &str) -> Value {
    let own = match kind {
        "configmaps" => random.of(&[
            json!({"data": {"key": null, "b": "2"}}),
            json!({"data": null}),
            json!({"data": {"b": 2}}),
        ]),
        _ => random.of(&[
            json!({"spec": {"paused": true}}),
            json!({"spec": {"revisionHistoryLimit": 3, "minReadySeconds": null}}),
            json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}),
            json!({"spec": {"replicas": -2}}),
        ]),
    };
    random.of(&[
        own.clone(),
        own,
        json!({"metadata": {"annotations": {"note": "changed"}}}),
        json!({"metadata": {"labels": {"app": null}}}),
        json!({"metadata": {"name": "other"}}),
        json!({"metadata": {"ownerReferences": [{"uid": "1"}]}}),
        json!({"unknown": {"a": 1}}),
    ])
}
