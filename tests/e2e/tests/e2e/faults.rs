//! A cluster that misbehaves: whatever happens to requests, a run ends with the truth, and nothing is done twice.
//!
//! Each case is a service of its own behind a gateway and a proxy of its own; they run at the same time.

use crate::once::Before;
use astradesk_e2e::client::{send, took};
use astradesk_e2e::fault::{Answer, Fault, Rule, Verb, plain, status};
use astradesk_e2e::proxy::Seen;
use astradesk_e2e::{Gateway, Place, Proxy, Reply, Settings, Workload, deployment, on_both};
use futures::{FutureExt as _, StreamExt as _};
use http::Method;
use serde_json::{Value, json};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

on_both!(
    the_patch_fails_and_is_settled,
    the_patch_stays_unclear,
    a_dry_run_fails,
    reads_fail_at_submission,
    watches_fail_at_submission,
    watches_fail_during_the_rollout,
    watches_hang,
    watches_that_show_nothing_start_over,
    thirty_seconds_of_silence,
);

/// What happens to the requests of one restart, and what must come of it.
struct Case {
    /// Also the service's name.
    name: String,
    rules: Vec<Rule>,
    /// The time limit that the restart is given, in seconds.
    limit: u64,
    /// The states that are true; `refused` is one that was not admitted.
    states: &'static [&'static str],
    /// Whether the restart was done.
    done: bool,
}

fn case(name: &str, limit: u64, rules: Vec<Rule>) -> Case {
    Case { name: name.to_owned(), rules, limit, states: &["succeeded"], done: true }
}

impl Case {
    /// It is done, and how it ends is another matter.
    fn ends(self, states: &'static [&'static str]) -> Self {
        Self { states, ..self }
    }

    /// It cannot be done, and that is said, unless nobody can be sure of it.
    fn fails(self, states: &'static [&'static str]) -> Self {
        Self { states, done: false, ..self }
    }
}

/// Every kind of answer that is no success.
fn refusals() -> Vec<(&'static str, Fault)> {
    vec![
        ("429", Fault::Refuse(status(429))),
        ("429-later", Fault::Refuse(status(429).after(1))),
        ("429-plain", Fault::Refuse(plain(429))),
        ("500", Fault::Refuse(status(500))),
        ("500-plain", Fault::Refuse(plain(500))),
        ("503", Fault::Refuse(status(503))),
        ("503-plain", Fault::Refuse(plain(503).after(1))),
        ("reset", Fault::Reset),
    ]
}

/// How much longer than its time limit a restart may take: for a last look at the cluster, on a busy machine.
const GRACE: Duration = Duration::from_secs(10);
/// How many cases run at the same time: each watches its namespace six times over.
const AT_ONCE: usize = 8;
/// A restart that waits for nothing but its cluster.
struct Restart<'a> {
    place: &'a Place,
    case: Case,
    workload: Workload,
    before: Before,
    proxy: Proxy,
    gateway: Gateway,
}

impl<'a> Restart<'a> {
    async fn new(place: &'a Place, case: Case, workload: Workload) -> Self {
        let before = Before::of(place, &workload).await;
        let proxy = Proxy::start(place, Vec::new()).await;
        let mut settings = Settings::of(place, &[&case.name]);
        settings.kubeconfig = proxy.kubeconfig.clone();
        let gateway = Gateway::start(place, settings).await;
        Self { place, case, workload, before, proxy, gateway }
    }

    /// Submits it. Who is refused for now is told that nothing was done, and repeats the request.
    async fn start(&self) -> Reply {
        let Case { name, limit, .. } = &self.case;
        let sentence = format!("restart {name} timeout {limit}s");
        let mut patience = 5;
        loop {
            let reply = self.gateway.client.start(&sentence).await;
            if !self.case.done || reply.status == 202 || patience == 0 {
                return reply;
            }
            patience -= 1;
            reply.expect(503, "kubernetes.unavailable");
            self.before.never_changed(self.place, &self.workload).await;
            let seconds = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
    }

    /// The fault is there when the restart is submitted.
    async fn submitted_into_it(self) {
        self.begin();
        let reply = self.start().await;
        self.check(reply).await;
    }

    /// The fault begins when the restart was performed, and before it can be complete.
    async fn watched_into_it(self) {
        let (reply, held) = self.performed().await;
        self.begin();
        self.proxy.struck(1).await;
        assert_eq!(self.gateway.client.run(reply.run()).await["state"], "running", "an old pod is left");
        self.place.release(&held).await;
        self.check(reply).await;
    }

    /// A restart that was performed, and the old pod that it cannot be complete with.
    async fn performed(&self) -> (Reply, String) {
        let held = self.place.hold(&self.case.name).await;
        let reply = self.start().await;
        assert_eq!(reply.status, 202, "{:#}", reply.body);
        let performed = |event: &Value| event.to_string().contains("\"performed\"");
        self.gateway.client.event(reply.run(), performed).await;
        (reply, held)
    }

    async fn silence(&self, time: Duration) {
        self.proxy.silence(true);
        tokio::time::sleep(time).await;
        self.proxy.silence(false);
    }

    fn begin(&self) {
        self.proxy.rules(self.case.rules.clone());
        self.proxy.cut();
    }

    /// Checks that the end of the restart is true, in time, and that it was done once or not at all.
    async fn check(self, reply: Reply) {
        let Self { place, case, workload, before, proxy, gateway } = self;
        let mut told = reply.body.clone();
        let state = if reply.status == 202 {
            let run = gateway.client.ended(reply.run()).await;
            told = run["error"].clone();
            assert!(took(&run) < Duration::from_secs(case.limit) + GRACE, "it took {:?}", took(&run));
            if run["state"] == "succeeded" {
                before.verify(place, &workload, &run).await;
            }
            run["state"].as_str().unwrap().to_owned()
        } else {
            reply.expect(503, "kubernetes.unavailable");
            "refused".to_owned()
        };
        assert!(case.states.contains(&&*state), "{} ended {state}: {told:#}", case.name);
        proxy.arrived().await;
        if case.done {
            before.changed_once(place, &workload, reply.run()).await;
        } else {
            before.never_changed(place, &workload).await;
        }
        // Somebody else may change the object's status in between, and then a patch is refused.
        let patches = proxy.patches();
        let applied = patches.iter().filter(|status| **status == 200).count();
        assert_eq!(applied, usize::from(case.done), "{} {patches:?}", case.name);
        assert!(patches.iter().all(|status| matches!(status, 200 | 409)), "{patches:?}");
        assert!(patches.len() <= applied + 2, "{patches:?}");
        retries_wait(&proxy.seen());
        assert!(case.rules.is_empty() || proxy.faults() > 0, "no fault happened to {}", case.name);
        gateway.client.evidence().await;
        assert!(gateway.stop().await);
    }
}

/// Checks that nobody asked the same again before the time that an answer named.
fn retries_wait(seen: &[Seen]) {
    for (number, one) in seen.iter().enumerate() {
        let Some(Fault::Refuse(Answer { status, retry_after: Some(seconds), .. })) = one.fault else {
            continue;
        };
        let same = |other: &&Seen| (other.verb, &other.path) == (one.verb, &one.path);
        if let Some(next) = seen[number + 1..].iter().find(same) {
            let waited = next.at - one.at;
            let (verb, path) = (one.verb, &one.path);
            assert!(
                waited >= Duration::from_secs(seconds.into()),
                "{verb:?} {path} came {waited:?} after {status} with `Retry-After: {seconds}`"
            );
        }
    }
}

/// Runs all cases, some at the same time, and tells which failed.
async fn all<'a>(place: &'a Place, cases: Vec<Case>, run: impl AsyncFn(Restart<'a>)) {
    let workloads: Vec<Workload> = cases.iter().map(|case| deployment(&case.name, 2)).collect();
    place.run(&workloads.iter().collect::<Vec<_>>()).await;
    let running = cases.into_iter().zip(workloads).map(async |(case, workload)| {
        let name = case.name.clone();
        let restart = Restart::new(place, case, workload).await;
        let failed = AssertUnwindSafe(run(restart)).catch_unwind().await.is_err();
        failed.then_some(name)
    });
    let failed: Vec<Option<String>> =
        futures::stream::iter(running).buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<String> = failed.into_iter().flatten().collect();
    assert!(failed.is_empty(), "failed: {failed:?}");
}

async fn the_patch_fails_and_is_settled(place: &Place) {
    let on = |fault, times| vec![Rule::new(fault).on(Verb::Patch).times(times)];
    // The slow ones first.
    let mut cases = Vec::new();
    for (name, fault) in [
        ("ignore", Fault::Ignore),
        ("mute", Fault::Mute),
        ("late", Fault::Delay(Duration::from_secs(8))),
        ("too-late", Fault::Delay(Duration::from_secs(14))),
        ("done-500", Fault::Disown(status(500))),
        ("done-503", Fault::Disown(plain(503))),
        ("done-504", Fault::Disown(status(504))),
        ("done-429", Fault::Disown(status(429))),
        ("lose", Fault::Lose),
        ("truncate", Fault::Truncate),
        ("halve", Fault::Halve),
    ] {
        cases.push(case(name, 30, on(fault, 1)));
    }
    for (name, fault) in refusals() {
        cases.push(case(&format!("p{name}"), 20, on(fault, 2)));
    }
    all(place, cases, Restart::submitted_into_it).await;
}

async fn the_patch_stays_unclear(place: &Place) {
    let unread = |fault| {
        let then = Rule::new(Fault::Refuse(status(503))).on(Verb::Get).then();
        vec![Rule::new(fault).on(Verb::Patch).times(1), then]
    };
    let always = |fault| vec![Rule::new(fault).on(Verb::Patch)];
    let cases = vec![
        case("always-429", 4, always(Fault::Refuse(status(429)))).fails(&["failed", "outcome_unknown"]),
        case("always-503", 4, always(Fault::Refuse(plain(503)))).fails(&["failed", "outcome_unknown"]),
        case("always-reset", 4, always(Fault::Reset)).fails(&["failed", "outcome_unknown"]),
        case("always-lost", 20, always(Fault::Lose)),
        case("unread-done", 4, unread(Fault::Lose)).ends(&["outcome_unknown"]),
        case("unread", 4, unread(Fault::Reset)).fails(&["outcome_unknown"]),
        case("always-504", 20, always(Fault::Disown(status(504)))),
    ];
    all(place, cases, Restart::submitted_into_it).await;
}

/// What it could not check is told; in no case is it anything but a dry run.
async fn a_dry_run_fails(place: &Place) {
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let before = Before::of(place, &webapp).await;
    let rules = vec![
        Rule::new(Fault::Refuse(status(503))).on(Verb::DryRun).times(1),
        Rule::new(Fault::Lose).on(Verb::DryRun).times(1),
    ];
    let proxy = Proxy::start(place, rules).await;
    let mut settings = Settings::of(place, &["webapp"]);
    settings.kubeconfig = proxy.kubeconfig.clone();
    let gateway = Gateway::start(place, settings).await;
    let body = json!({"agent": "ops", "input": "restart webapp", "dry_run": true});
    let dry_run = async || send(gateway.client.request(Method::POST, "/v1/run").json(&body)).await;
    for refused in [true, true, false] {
        let reply = dry_run().await;
        assert_eq!(reply.status, 200, "{:#}", reply.body);
        let error = &reply.body["preview"]["steps"][0]["refused"];
        assert_eq!(error["code"] == "kubernetes.unavailable", refused, "{:#}", reply.body);
    }
    assert_eq!((proxy.faults(), proxy.patches()), (2, Vec::new()));
    before.never_changed(place, &webapp).await;
}

async fn reads_fail_at_submission(place: &Place) {
    let on = |fault, times| vec![Rule::new(fault).on(Verb::Get).times(times)];
    let mut cases: Vec<Case> =
        refusals().into_iter().map(|(name, fault)| case(&format!("g{name}"), 20, on(fault, 2))).collect();
    for (name, fault) in [("truncate", Fault::Truncate), ("halve", Fault::Halve)] {
        cases.push(case(name, 20, on(fault, 1)));
    }
    for (name, fault, times) in
        [("always-503", Fault::Refuse(status(503)), u32::MAX), ("ignored", Fault::Ignore, 1)]
    {
        cases.push(case(name, 20, on(fault, times)).fails(&["refused"]));
    }
    all(place, cases, Restart::submitted_into_it).await;
}

/// Makes each of the six watches of a namespace begin with a list again.
fn expire() -> Rule {
    Rule::new(Fault::Expire).on(Verb::Watch).times(6)
}

/// What happens to watches, and to the lists that they begin with.
fn of_watches() -> Vec<Case> {
    let mut cases = Vec::new();
    for (verb, short, times) in [(Verb::List, "l", 6), (Verb::Watch, "w", 12)] {
        let mut faults = refusals();
        // One of each: to a watch they are all the same.
        faults.retain(|(name, _)| !matches!(*name, "429" | "429-plain" | "500-plain" | "503"));
        faults.extend([("410", Fault::Refuse(status(410))), ("truncate", Fault::Truncate)]);
        faults.extend(match verb {
            Verb::List => vec![("halve", Fault::Halve)],
            _ => vec![("close", Fault::Close), ("expire", Fault::Expire)],
        });
        for (name, fault) in faults {
            let mut rules = vec![Rule::new(fault).on(verb).times(times)];
            if verb == Verb::List {
                // A watch that is merely closed goes on without a list.
                rules.push(expire());
            }
            cases.push(case(&format!("{short}{name}"), 25, rules));
        }
    }
    cases
}

async fn watches_fail_at_submission(place: &Place) {
    let mut cases = of_watches();
    for code in [410, 503] {
        let rules = vec![Rule::new(Fault::Refuse(status(code))).on(Verb::List), expire()];
        cases.push(case(&format!("l{code}-always"), 20, rules).fails(&["refused"]));
    }
    all(place, cases, Restart::submitted_into_it).await;
}

async fn watches_fail_during_the_rollout(place: &Place) {
    all(place, of_watches(), Restart::watched_into_it).await;
}

/// The requests are taken and never answered, so nothing fails, and nothing comes.
async fn watches_hang(place: &Place) {
    let on = |verb| vec![expire(), Rule::new(Fault::Ignore).on(verb)];
    let cases = vec![
        case("list", 15, on(Verb::List)).fails(&["refused"]),
        case("watch", 15, on(Verb::Watch)),
        // Which pods there are cannot be known.
        case("watched-list", 15, on(Verb::List)).ends(&["outcome_unknown"]),
        case("watched-watch", 15, on(Verb::Watch)),
    ];
    let hang = async |restart: Restart<'_>| match &*restart.case.name {
        "list" | "watch" => restart.submitted_into_it().await,
        _ => restart.watched_into_it().await,
    };
    all(place, cases, hang).await;
}

/// Long before a request that is never answered is given up, so that it is told how the rollout goes on.
async fn watches_that_show_nothing_start_over(place: &Place) {
    const SOON: Duration = Duration::from_secs(15);
    let cases = vec![case("dumb", 60, vec![expire(), Rule::new(Fault::Ignore).on(Verb::Watch)])];
    let told = async |restart: Restart<'_>| {
        let held = restart.place.hold(&restart.case.name).await;
        restart.begin();
        let (begun, reply, client) = (Instant::now(), restart.start().await, &restart.gateway.client);
        client.event(reply.run(), |event| event.to_string().contains("pods updated, ")).await;
        assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
        let cancel = client.post(&format!("/v1/runs/{}/cancel", reply.run()), &json!({})).await;
        assert!(matches!(cancel.status, 200 | 202), "{:#}", cancel.body);
        assert_eq!(client.ended(reply.run()).await["state"], "cancelled");
        restart.before.changed_once(place, &restart.workload, reply.run()).await;
        restart.place.release(&held).await;
        assert!(restart.gateway.stop().await);
    };
    all(place, cases, told).await;
}

/// For thirty seconds every connection stays, new ones are taken, and nothing comes.
async fn thirty_seconds_of_silence(place: &Place) {
    const SILENCE: Duration = Duration::from_secs(30);
    let muted = vec![Rule::new(Fault::Mute).on(Verb::Patch).times(1)];
    let cases = vec![
        case("submitted", 40, Vec::new()).fails(&["refused"]),
        case("patching", 44, muted),
        case("watched", 44, Vec::new()),
        case("watched-then-cut", 44, Vec::new()),
    ];
    let silent = async |restart: Restart<'_>| match &*restart.case.name {
        "submitted" => {
            restart.proxy.silence(true);
            let reply = restart.start().await;
            restart.check(reply).await;
        }
        "patching" => {
            restart.begin();
            let reply = restart.start().await;
            restart.proxy.struck(1).await;
            restart.silence(SILENCE).await;
            restart.check(reply).await;
        }
        name => {
            let (reply, held) = restart.performed().await;
            tokio::join!(restart.silence(SILENCE), restart.place.release(&held));
            if name == "watched-then-cut" {
                restart.proxy.cut();
            }
            restart.check(reply).await;
        }
    };
    all(place, cases, silent).await;
}
