//! Packs that come, change, break and go again and again, in a gateway's process that is called all the while: no call is
//! lost, none sees half a pack, and nothing stays in memory.
#![expect(clippy::print_stderr, reason = "figures are told")]

use astradesk_e2e::client::Client;
use astradesk_e2e::{PATIENCE, Place, Serve, Settings, Which};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

#[test]
fn sandbox() {
    let binary = env!("CARGO_BIN_EXE_astradesk-e2e-cli");
    let body = packs_come_change_break_and_go_a_thousand_times;
    astradesk_e2e::test_within(LIMIT, Which::Sandbox, binary, body);
}

const ROUNDS: usize = 1000;
/// A thousand times the policies are put together, beside the load.
const LIMIT: Duration = Duration::from_mins(8);
/// Between two calls of a caller.
const PAUSE: Duration = Duration::from_millis(10);
/// How much more memory there may be after the last rounds than after the first: for what calls leave in caches.
const GROWTH_KIB: u64 = 12 << 10;
const POLICY: &str =
    r#"permit (principal in Role::"sre", action, resource) when { resource.system == "test" };"#;

/// A pack whose tools all print its version: one reads, two write.
fn pack(name: &str, version: &str) -> String {
    let mut text =
        format!("name = \"{name}\"\nversion = \"{version}\"\ndescription = \"prints its version\"\n");
    for (tool, effect) in [("look", "read"), ("set", "write"), ("reset", "write")] {
        write!(
            text,
            "[[tools]]\nname = \"{name}_{tool}\"\ndescription = \"prints\"\neffect = \"{effect}\"\n\
             targets = [\"external/test/thing/{{thing}}\"]\narguments.thing = {{ type = \"string\" }}\n\
             [tools.command]\nargv = [\"/bin/echo\", \"-n\", \"{version}\"]\n"
        )
        .unwrap();
    }
    text
}

/// Writes a pack as its user should: beside its place, then renamed into it.
fn put(folder: &Path, name: &str, text: &str) {
    let pack = folder.join(name);
    std::fs::create_dir_all(&pack).unwrap();
    std::fs::write(pack.join(".new"), text).unwrap();
    std::fs::rename(pack.join(".new"), pack.join("pack.toml")).unwrap();
}

/// What became of the calls.
#[derive(Debug, Default)]
struct Tally {
    done: usize,
    gone: usize,
    replaced: usize,
}

/// Calls a tool until it is over: what is done is of one version.
async fn call(client: Client, tool: &'static str, over: Arc<AtomicBool>) -> Tally {
    let (mut tally, mut number) = (Tally::default(), 0);
    while !over.load(Ordering::SeqCst) {
        number += 1;
        tokio::time::sleep(PAUSE).await;
        let reply = client.call(tool, &json!({"thing": format!("{tool}-{number}")})).await;
        let step = &reply.body["run"]["steps"][0];
        match (reply.status, reply.body["code"].as_str()) {
            (200, _) => {
                let version = step["call"]["version"].as_str().unwrap().split('+').next().unwrap();
                assert_eq!(step["output"]["output"], version, "{:#}", reply.body);
                tally.done += 1;
            }
            (404, Some("tool.not_found")) if tool.starts_with("flip") => tally.gone += 1,
            (_, Some("run.state_conflict")) if tool.starts_with("flip") => tally.replaced += 1,
            _ => panic!("a call of `{tool}` was lost: {} {:#}", reply.status, reply.body),
        }
    }
    tally
}

/// Looks at the tools until it is over; how often.
async fn look(client: Client, over: Arc<AtomicBool>) -> usize {
    let mut looks = 0;
    while !over.load(Ordering::SeqCst) {
        let reply = client.get("/v1/tools").await;
        let tools = reply.body["tools"].as_array().unwrap().iter();
        let flip = tools.filter(|tool| tool["pack"] == "flip");
        let versions: Vec<&str> =
            flip.map(|tool| tool["version"].as_str().unwrap().split('+').next().unwrap()).collect();
        assert!(versions.is_empty() || versions.len() == 3, "half a pack: {versions:?}");
        assert!(versions.windows(2).all(|two| two[0] == two[1]), "two versions in one pack: {versions:?}");
        looks += 1;
        tokio::time::sleep(PAUSE).await;
    }
    looks
}

/// The gateway looks at the folder at once, until it tells of the pack what it should.
async fn seen(serve: &Serve, wanted: impl Fn(&Value) -> bool) {
    let begun = Instant::now();
    serve.signal(Signal::HUP);
    loop {
        let packs = serve.client.get("/v1/packs").await.body["packs"].clone();
        let pack = packs.as_array().unwrap().iter().find(|pack| pack["name"] == "flip").cloned();
        if wanted(&pack.unwrap_or_default()) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "it is not seen: {packs:#}\n{}", serve.log());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn packs_come_change_break_and_go_a_thousand_times(place: &Place) {
    let mut settings = Settings::of(place, &[]).policies(POLICY);
    let folder = settings.state.join("packs");
    settings.toml.extend([
        "[packs]\nfolder = ",
        &toml::Value::from(folder.display().to_string()).to_string(),
        "\n",
    ]);
    put(&folder, "steady", &pack("steady", "1"));
    put(&folder, "flip", &pack("flip", "0"));
    let serve = Serve::start(place, &settings).await;
    seen(&serve, |flip| flip["version"] == "0").await;

    let over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for tool in ["steady_look", "steady_set", "flip_look", "flip_set"] {
        callers.spawn(call(serve.client.clone(), tool, over.clone()));
    }
    let looking = tokio::spawn(look(serve.client.clone(), over.clone()));
    let (mut version, mut resident) = ("0".to_owned(), Vec::new());
    for round in 1..=ROUNDS {
        match round % 5 {
            0 => {
                std::fs::remove_dir_all(folder.join("flip")).unwrap();
                seen(&serve, |flip| flip["version"].is_null()).await;
                version = round.to_string();
                put(&folder, "flip", &pack("flip", &version));
                seen(&serve, |flip| flip["version"] == version.as_str()).await;
            }
            2 => {
                put(&folder, "flip", &pack("flip", "broken").replace("\"write\"", "\"maybe\""));
                seen(&serve, |flip| flip["version"] == version.as_str() && flip["problem"].is_object()).await;
            }
            _ => {
                version = round.to_string();
                put(&folder, "flip", &pack("flip", &version));
                seen(&serve, |flip| flip["version"] == version.as_str() && flip["problem"].is_null()).await;
            }
        }
        if round % (ROUNDS / 5) == 0 {
            resident.push(serve.resident());
        }
    }
    over.store(true, Ordering::SeqCst);
    let mut all = Tally::default();
    while let Some(tally) = callers.join_next().await {
        let Tally { done, gone, replaced } = tally.unwrap();
        (all.done, all.gone, all.replaced) = (all.done + done, all.gone + gone, all.replaced + replaced);
    }
    let looks = looking.await.unwrap();
    eprintln!("{all:?}, {looks} looks; resident: {resident:?} KiB");
    assert!(all.done > 100 && looks > 100, "there was hardly any load: {all:?}, {looks} looks");
    assert!(resident[4] < resident[0] + GROWTH_KIB, "memory grows with packs: {resident:?} KiB");
    let kinds = serve.client.evidence().await;
    assert!(!kinds.iter().any(|record| record["kind"] == "run.denied"), "nothing was denied");
    assert_eq!(serve.terminate().await.0, Some(0));
}
