//! Restarts of several services, one after another and at the same time, while requests fail at random.
//!
//! The seed is told; `ASTRADESK_TEST_SEED` repeats the choices, though not the moments at which they meet.

use crate::once::LIFE;
use astradesk_e2e::fault::{Fault, Random, Rule, Verb, plain, status};
use astradesk_e2e::observer::Kind;
use astradesk_e2e::{Client, Gateway, Place, Proxy, Reply, Settings, deployment, on_both};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

on_both!(nothing_is_lost_or_done_twice);

const SERVICES: [&str; 6] = ["auth", "billing", "cart", "search", "stock", "webapp"];
/// How often each is restarted.
const TURNS: usize = 5;

/// One or two faults that will happen to a service's own requests, or to anybody's watches.
fn faults(random: &mut Random, service: &str) -> Vec<Rule> {
    let refusals = [
        Fault::Refuse(status(429)),
        Fault::Refuse(plain(429).after(1)),
        Fault::Refuse(status(500)),
        Fault::Refuse(plain(503)),
        Fault::Reset,
    ];
    let unclear = [
        Fault::Disown(status(500)),
        Fault::Disown(plain(503)),
        Fault::Disown(status(504)),
        Fault::Lose,
        Fault::Truncate,
        Fault::Halve,
        Fault::Delay(Duration::from_secs(2)),
    ];
    let streams = [Fault::Close, Fault::Expire, Fault::Truncate, Fault::Reset, Fault::Refuse(status(410))];
    (0..=random.below(2))
        .map(|_| {
            let times = 1 + random.below(2) as u32;
            let rule = match random.below(5) {
                0 => Rule::new(*random.of(&refusals)).on(Verb::Patch).at(service),
                1 | 2 => Rule::new(*random.of(&unclear)).on(Verb::Patch).at(service),
                3 => Rule::new(*random.of(&refusals)).on(Verb::Get).at(service),
                _ => Rule::new(*random.of(&streams)).on(Verb::Watch),
            };
            rule.times(times)
        })
        .collect()
}

/// A run, and how it ended.
type Ended = (String, Value);

/// Restarts a service again and again; every run that was admitted, with its end.
async fn turns(client: &Client, proxy: &Proxy, mut random: Random, service: &str) -> Vec<Ended> {
    let mut ended = Vec::new();
    for _ in 0..TURNS {
        for rule in faults(&mut random, service) {
            proxy.add(rule);
        }
        if random.below(4) == 0 {
            proxy.cut();
        }
        let sentence = format!("restart {service} timeout 40s");
        // Now and then two want the same at the same time.
        let both = 1 + usize::from(random.below(4) == 0);
        let replies = futures::future::join_all((0..both).map(|_| client.start(&sentence))).await;
        for reply in &replies {
            ended.extend(end(client, reply).await);
        }
    }
    ended
}

/// What came of a submission; nothing if it was refused.
async fn end(client: &Client, reply: &Reply) -> Option<Ended> {
    match reply.status {
        202 => {
            let run = client.ended(reply.run()).await;
            Some((reply.run().to_owned(), run))
        }
        503 => {
            reply.expect(503, "kubernetes.unavailable");
            None
        }
        _ => {
            assert!(in_the_way(reply.code()), "{:#}", reply.body);
            None
        }
    }
}

/// Whether a code says that another restart stood in the way.
fn in_the_way(code: &str) -> bool {
    matches!(code, "guard.target_locked" | "guard.rollout_in_progress")
}

async fn nothing_is_lost_or_done_twice(place: &Place) {
    let mut random = Random::seeded();
    let workloads = SERVICES.map(|name| deployment(name, 2));
    place.run(&workloads.iter().collect::<Vec<_>>()).await;
    let proxy = Proxy::start(place, Vec::new()).await;
    let mut settings = Settings::of(place, &SERVICES);
    settings.kubeconfig = proxy.kubeconfig.clone();
    let gateway = Gateway::start(place, settings).await;
    let ada = &gateway.client;
    let running =
        SERVICES.map(|name| (name, random.fork())).map(|(name, random)| turns(ada, &proxy, random, name));
    let ended = futures::future::join_all(running).await;
    assert!(proxy.faults() >= SERVICES.len() * TURNS / 2, "only {} faults happened", proxy.faults());

    proxy.arrived().await;
    let records = ada.evidence().await;
    let mut succeeded = 0;
    for (name, ended) in SERVICES.iter().zip(&ended) {
        let done = changes(place, name).await;
        for (id, run) in ended {
            place.note(name, run);
            let kinds: Vec<&str> =
                records.iter().filter(|r| r["run"] == **id).filter_map(|r| r["kind"].as_str()).collect();
            let times = done.get(id).copied().unwrap_or_default();
            match run["state"].as_str().unwrap() {
                "succeeded" => {
                    succeeded += 1;
                    assert_eq!(times, 1, "run {id} of {name} was done {times} times");
                    assert_eq!(kinds, LIFE);
                }
                "failed" => {
                    let code = run["error"]["code"].as_str().unwrap();
                    assert!(code == "kubernetes.unavailable" || in_the_way(code), "{:#}", run["error"]);
                    assert_eq!(times, 0, "run {id} of {name} failed and was done {times} times");
                }
                state => panic!("run {id} of {name} ended {state}: {:#}", run["error"]),
            }
        }
        let ours: BTreeSet<&String> = ended.iter().map(|(id, _)| id).collect();
        assert!(done.keys().all(|id| ours.contains(id)), "{name} was restarted by nobody: {done:?}");
    }
    let mut listed = listed(ada).await;
    for (id, run) in ended.iter().flatten() {
        assert_eq!(listed.remove(id).as_deref(), run["state"].as_str(), "run {id}");
    }
    assert!(listed.values().all(|state| state == "denied"), "{listed:?}");
    let applied = proxy.patches().into_iter().filter(|status| *status == 200).count();
    assert_eq!(applied, succeeded, "every patch that was applied made a run succeed");
    let wanted = SERVICES.len() * TURNS;
    assert!(succeeded * 2 >= wanted, "only {succeeded} of {wanted} restarts succeeded");
}

/// How often each run changed a service's template, as the cluster saw it.
async fn changes(place: &Place, name: &str) -> BTreeMap<String, usize> {
    let object = place.get(Kind::Deployment, name).await;
    let version = object["metadata"]["resourceVersion"].clone();
    let marks = place
        .observer
        .until("the watch has seen it all", |view| {
            view.saw(Kind::Deployment, name, &version).then(|| view.marks(Kind::Deployment, name))
        })
        .await;
    let mut changes = BTreeMap::new();
    for (_, run) in marks.iter().skip(1) {
        *changes.entry(run.as_str().unwrap().to_owned()).or_default() += 1;
    }
    // Each change of the specification counts, also one that the watch would have missed.
    let generation = object["metadata"]["generation"].as_u64().unwrap();
    assert_eq!(generation, marks.len() as u64, "{marks:?}");
    changes
}

/// The state of every run that the gateway knows of.
async fn listed(client: &Client) -> BTreeMap<String, String> {
    let page = client.get("/v1/runs?limit=200").await.body;
    let runs = page["runs"].as_array().unwrap_or_else(|| panic!("{page:#}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    runs.iter().map(|run| (text(&run["id"]), text(&run["state"]))).collect()
}
