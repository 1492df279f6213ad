//! Packs are loaded, replaced, broken and removed while calls go through the Engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a failed unwrap in a test is a failed test, and figures are told"
)]

#[path = "../../runtime/tests/support/memory.rs"]
#[allow(dead_code, reason = "shared with the Engine's tests")]
mod memory;

use astradesk_core::canonical::Digest;
use astradesk_core::decision::Reason;
use astradesk_core::run::{State, StepState};
use astradesk_core::{
    Arguments, Call, Code, Decision, Error, Principal, RoleName, Source, Timestamp, ToolName, ToolSpec,
};
use astradesk_packs::Folder;
use astradesk_packs::kubernetes::NoCluster;
use astradesk_runtime::engine::{Limits, Parts, Request, Submission, Submitted};
use astradesk_runtime::evidence::Signer;
use astradesk_runtime::port::{Explanation, Packs as _, Policy, PolicyRequest, PolicyStatus, SystemClock};
use astradesk_runtime::{Engine, ToolRegistry, key};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Permits every tool in the version that it has adopted, and refuses new tools when it is told to.
#[derive(Default)]
struct Everything {
    refuses: AtomicBool,
    adopted: Mutex<Vec<String>>,
    versions: Mutex<Vec<(String, String)>>,
}

impl Policy for Everything {
    fn decide(&self, request: &PolicyRequest<'_>) -> Decision {
        let asked = (request.call.tool.to_string(), request.call.version.clone());
        if !self.versions.lock().unwrap().contains(&asked) {
            let error = Error::new(Code::PolicyDenied, "no such tool");
            return Decision::Deny { error, reasons: vec![] };
        }
        Decision::Permit { reasons: vec![Reason { policy: "all".into(), text: "all".into() }] }
    }
    fn may_break_glass(&self, _: &PolicyRequest<'_>) -> Result<Vec<Reason>, Error> {
        Err(Error::new(Code::PolicyBreakGlassDenied, "no"))
    }
    fn may_approve(&self, _: &Principal, _: &PolicyRequest<'_>) -> bool {
        false
    }
    fn explain(&self, request: &PolicyRequest<'_>) -> Explanation {
        Explanation { decision: self.decide(request), policies: vec![], otherwise: vec![], set: Digest::ZERO }
    }
    fn needs_facts(&self) -> bool {
        false
    }
    fn status(&self) -> PolicyStatus {
        PolicyStatus {
            digest: Digest::ZERO,
            policies: 1,
            loaded_at: Timestamp::UNIX_EPOCH,
            problem: None,
            warnings: vec![],
        }
    }
    fn reload(&self) -> Result<bool, Error> {
        Ok(false)
    }
    fn adopt_tools(&self, tools: Vec<Arc<ToolSpec>>, swap: &mut dyn FnMut()) -> Result<(), Error> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(Error::new(Code::PolicySetInvalid, "`ours.cedar:3`: no such argument"));
        }
        swap();
        // What is between the two takes no time in life; here it does.
        std::thread::sleep(Duration::from_micros(300));
        *self.versions.lock().unwrap() =
            tools.iter().map(|tool| (tool.name.to_string(), tool.version.clone())).collect();
        *self.adopted.lock().unwrap() = tools.iter().map(|tool| tool.name.to_string()).collect();
        Ok(())
    }
    fn could_permit(&self, tool: &ToolSpec) -> bool {
        !tool.name.as_str().ends_with("forbidden")
    }
    fn may_use(&self, _: &Principal, _: &ToolSpec) -> bool {
        true
    }
    fn may_see_runs_of_others(&self, _: &Principal) -> bool {
        true
    }
    fn may_read_evidence(&self, _: &Principal) -> bool {
        true
    }
}

struct World {
    dir: tempfile::TempDir,
    registry: Arc<ToolRegistry>,
    policy: Arc<Everything>,
    folder: Arc<Folder>,
    engine: Engine,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (registry, policy) = (Arc::new(ToolRegistry::default()), Arc::new(Everything::default()));
        let folder = Arc::new(Folder::new(
            dir.path().to_owned(),
            Arc::new(NoCluster::new().unwrap()),
            registry.clone(),
            policy.clone(),
            Arc::new(SystemClock),
        ));
        let data = Arc::default();
        let engine = Engine::new(Parts {
            store: Arc::new(memory::Memory::open(&data, "one")),
            policy: policy.clone(),
            registry: registry.clone(),
            clock: Arc::new(SystemClock),
            signer: Arc::new(Signer::from_pkcs8(&key::fresh().unwrap()).unwrap()),
            guardrails: vec![],
            webhooks: vec![],
            limits: Limits { queued_per_target: 1000, ..Limits::default() },
        });
        engine.begin().await.unwrap();
        Self { dir, registry, policy, folder, engine }
    }

    fn write(&self, pack: &str, text: &str) {
        put(self.dir.path(), pack, text);
    }

    fn remove(&self, pack: &str) {
        std::fs::remove_dir_all(self.dir.path().join(pack)).unwrap();
    }

    fn version(&self, pack: &str) -> Option<String> {
        self.registry.packs().into_iter().find(|(name, _)| name == pack).map(|(_, version)| version)
    }

    fn problem(&self, pack: &str) -> Option<Error> {
        self.folder.status().into_iter().find(|status| status.name == pack).and_then(|status| status.problem)
    }
}

/// Writes a pack as its user should: beside its place, then renamed into it.
fn put(dir: &Path, pack: &str, text: &str) {
    let folder = dir.join(pack);
    std::fs::create_dir_all(&folder).unwrap();
    let new = folder.join(".pack.toml");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, folder.join("pack.toml")).unwrap();
}

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

fn submission(tool: &str, thing: &str) -> Submission {
    let arguments: Arguments = [("thing".to_owned(), thing.into())].into_iter().collect();
    Submission {
        principal: Principal {
            subject: "ada".into(),
            issuer: "test".into(),
            roles: [RoleName::parse("sre").unwrap()].into(),
            actor: None,
        },
        source: Source::Http,
        request: Request::Call(Call { tool: ToolName::parse(tool).unwrap(), arguments }),
        dry_run: false,
        reason: None,
        break_glass: false,
        trace: None,
        idempotency_key: None,
    }
}

/// What became of a call: what its tool printed, beside the version that it was frozen with; or why it was refused.
async fn call(engine: &Engine, tool: &str, thing: &str) -> Result<(String, String), Code> {
    let submitted = engine.submit(submission(tool, thing)).await.map_err(|error| error.code)?;
    let Submitted::Run { run, .. } = submitted else { panic!("no preview was asked for") };
    let run = if run.state.is_final() {
        *run
    } else {
        engine
            .wait(&submission(tool, thing).principal, run.id, Instant::now() + Duration::from_mins(1))
            .await
            .unwrap()
    };
    match (&run.state, &run.steps[0].state) {
        (State::Succeeded, StepState::Succeeded { output, .. }) => {
            let version = run.steps[0].call.version.split('+').next().unwrap().to_owned();
            Ok((output["output"].as_str().unwrap().to_owned(), version))
        }
        (state, _) => Err(state.error().unwrap_or_else(|| panic!("it has not ended: {state:?}")).code),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn packs_come_change_break_and_go_a_thousand_times_while_calls_go_through_the_engine() {
    const ROUNDS: usize = 1000;
    let world = Arc::new(World::new().await);
    world.write("steady", &pack("steady", "1"));
    world.write("flip", &pack("flip", "0"));
    assert!(world.folder.reload());
    let done = Arc::new(AtomicBool::new(false));
    let (calls, gone, replaced) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut callers = tokio::task::JoinSet::new();
    for (number, tool) in ["steady_look", "steady_set", "flip_look", "flip_set", "flip_reset", "flip_look"]
        .into_iter()
        .enumerate()
    {
        let (world, done) = (world.clone(), done.clone());
        let (calls, gone, replaced) = (calls.clone(), gone.clone(), replaced.clone());
        callers.spawn(async move {
            while !done.load(Ordering::SeqCst) {
                let count = calls.fetch_add(1, Ordering::SeqCst);
                match call(&world.engine, tool, &format!("{number}-{count}")).await {
                    Ok((printed, version)) => {
                        assert_eq!(printed, version, "a call was of one version and another was done");
                    }
                    Err(Code::ToolNotFound) if tool.starts_with("flip") => {
                        gone.fetch_add(1, Ordering::SeqCst);
                    }
                    // It was admitted for a version that was replaced before it began: nothing was done.
                    Err(Code::RunStateConflict) if tool.starts_with("flip") => {
                        replaced.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(code) => panic!("a call of `{tool}` was lost: {code}"),
                }
            }
        });
    }
    // Whoever looks at the registry sees a pack whole or not at all.
    let (looker, looking) = (world.clone(), done.clone());
    let views = tokio::task::spawn_blocking(move || {
        let mut looks = 0_usize;
        while !looking.load(Ordering::SeqCst) {
            let tools = looker.registry.tools();
            let versions: Vec<&str> = tools
                .iter()
                .filter(|tool| tool.pack == "flip")
                .map(|tool| tool.spec().version.split('+').next().unwrap())
                .collect();
            assert!(versions.is_empty() || versions.len() == 3, "half a pack: {versions:?}");
            assert!(
                versions.windows(2).all(|two| two[0] == two[1]),
                "two versions in one pack: {versions:?}"
            );
            looks += 1;
            std::thread::yield_now();
        }
        looks
    });
    let driver = world.clone();
    tokio::task::spawn_blocking(move || {
        let mut version = "0".to_owned();
        for round in 1..=ROUNDS {
            match round % 5 {
                0 => {
                    driver.remove("flip");
                    assert!(driver.folder.reload());
                    assert_eq!(driver.version("flip"), None);
                    version = round.to_string();
                    driver.write("flip", &pack("flip", &version));
                    assert!(driver.folder.reload(), "it is there again");
                }
                2 => {
                    driver.write(
                        "flip",
                        &pack("flip", "broken").replace("effect = \"write\"", "effect = \"maybe\""),
                    );
                    assert!(!driver.folder.reload(), "a bad pack changes nothing");
                    assert!(driver.problem("flip").is_some());
                }
                _ => {
                    version = round.to_string();
                    driver.write("flip", &pack("flip", &version));
                    assert!(driver.folder.reload());
                    assert_eq!(driver.problem("flip"), None);
                }
            }
            assert_eq!(driver.version("flip"), Some(version.clone()), "round {round}");
        }
    })
    .await
    .unwrap();
    done.store(true, Ordering::SeqCst);
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    let looks = views.await.unwrap();
    let (calls, gone, replaced) =
        (calls.load(Ordering::SeqCst), gone.load(Ordering::SeqCst), replaced.load(Ordering::SeqCst));
    eprintln!(
        "{calls} calls, {gone} while the pack was gone, {replaced} of a version that was replaced, {looks} looks"
    );
    // A call of what is gone is answered at once: how many there were of those says nothing of the load.
    assert!(calls - gone - replaced > 100 && looks > 100, "there was hardly any load");
}

/// The resident memory of this process, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_thousand_reloads_leave_no_memory_behind() {
    let world = World::new().await;
    let mut resident_after = Vec::new();
    for round in 0..1000 {
        let bad = if round % 4 == 3 { "nonsense" } else { "" };
        world.write("flip", &format!("{}{bad}", pack("flip", &round.to_string())));
        assert_eq!(world.folder.reload(), bad.is_empty());
        if round % 10 == 9 {
            world.remove("flip");
            world.folder.reload();
        }
        if round % 200 == 199 {
            resident_after.push(resident());
        }
    }
    eprintln!("resident after each 200 reloads: {resident_after:?} KiB");
    let (first, last) = (resident_after[0], resident_after[resident_after.len() - 1]);
    assert!(last < first + 4096, "memory grows with reloads: {resident_after:?} KiB");
}

#[tokio::test]
async fn a_bad_pack_leaves_the_one_before_it_in_force_and_is_explained() {
    let world = World::new().await;
    assert!(!world.folder.reload(), "there is nothing yet");
    world.write("flip", &pack("flip", "1"));
    assert!(world.folder.reload() && !world.folder.reload(), "what has not changed is left alone");
    let status = world.folder.status().remove(0);
    let (digest, since) = (status.digest.unwrap(), status.since.unwrap());
    assert_eq!((status.version.as_deref(), status.tools.len()), (Some("1"), 3));
    assert_eq!(*world.policy.adopted.lock().unwrap(), ["flip_look", "flip_reset", "flip_set"]);

    for (text, said) in [
        ("version = 2".to_owned(), "it has no `name`"),
        (pack("flip", "2").replace("flip_reset", "flip_set"), "two of them have the name"),
        (pack("flip", "2") + &"#".repeat(1 << 20), "is larger than"),
    ] {
        world.write("flip", &text);
        assert!(!world.folder.reload());
        let status = world.folder.status().remove(0);
        assert_eq!(
            (status.version.as_deref(), status.digest, status.since),
            (Some("1"), Some(digest), Some(since))
        );
        assert!(status.problem.unwrap().message.contains(said), "{said}");
        assert_eq!(call(&world.engine, "flip_set", "x").await, Ok(("1".into(), "1".into())));
    }
    std::fs::remove_file(world.dir.path().join("flip/pack.toml")).unwrap();
    world.folder.reload();
    assert!(
        world.problem("flip").unwrap().message.contains("has no `pack.toml`"),
        "a pack goes with its folder only"
    );
    assert_eq!(world.version("flip").as_deref(), Some("1"));
    world.write("flip", &pack("flip", "3"));
    assert!(world.folder.reload() && world.problem("flip").is_none());
    world.remove("flip");
    assert!(world.folder.reload());
    assert_eq!(call(&world.engine, "flip_set", "x").await, Err(Code::ToolNotFound));
    assert!(world.folder.status().is_empty() && world.policy.adopted.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_a_pack_takes_from_others_is_refused_until_it_is_free() {
    let world = World::new().await;
    world.write("a", &pack("a", "1"));
    world.write("b", &pack("b", "1").replace("b_look", "a_look"));
    world.folder.reload();
    assert!(world.problem("b").unwrap().message.contains("`a_look` of pack `b` is already in pack `a`"));
    world.remove("a");
    world.folder.reload();
    assert!(world.folder.reload() || world.problem("b").is_none(), "the name is free by now");
    assert_eq!(world.version("b").as_deref(), Some("1"));

    world.remove("b");
    // Beside one that cannot be, all others are put in force.
    let worded = |name: &str| {
        pack(name, "1").replacen(
            "arguments.thing",
            "words = { phrases = [\"look at\"], after = { thing = [\"thing\"] } }\narguments.thing",
            1,
        )
    };
    world.write("c", &worded("c"));
    world.write("d", &worded("d"));
    world.write("e", &pack("e", "1"));
    world.folder.reload();
    let packs: Vec<String> = world.registry.packs().into_iter().map(|(name, _)| name).collect();
    assert_eq!(packs, ["c", "e"]);
    let problem = world.problem("d").unwrap();
    assert!(
        problem.message.contains("the phrase `look at` of tool `d_look` asks for `c_look`"),
        "{}",
        problem.message
    );
}

#[tokio::test]
async fn policies_that_do_not_fit_keep_a_pack_out_and_doubts_are_told() {
    let world = World::new().await;
    world.policy.refuses.store(true, Ordering::SeqCst);
    world.write("flip", &pack("flip", "1").replace("flip_reset", "flip_forbidden"));
    world.folder.reload();
    let problem = world.problem("flip").unwrap();
    assert!(
        problem.message.contains("the policies cannot be put together with `flip`: `ours.cedar:3`"),
        "{}",
        problem.message
    );
    assert_eq!(call(&world.engine, "flip_look", "x").await, Err(Code::ToolNotFound));
    world.policy.refuses.store(false, Ordering::SeqCst);
    world.write("flip", &pack("flip", "2").replace("flip_reset", "flip_forbidden"));
    assert!(world.folder.reload());
    let status = world.folder.status().remove(0);
    assert_eq!(
        status.doubts,
        ["no policy permits `flip_forbidden` to anybody, so every call of it is denied"]
    );
}

#[tokio::test]
async fn no_pack_takes_the_place_of_one_that_is_compiled_in() {
    struct CompiledIn;
    impl astradesk_runtime::port::Pack for CompiledIn {
        fn name(&self) -> &'static str {
            "operations"
        }
        fn version(&self) -> &'static str {
            "1"
        }
        fn tools(&self) -> Vec<Arc<dyn astradesk_runtime::port::Tool>> {
            Vec::new()
        }
        fn agents(&self) -> Vec<Arc<dyn astradesk_runtime::port::Agent>> {
            Vec::new()
        }
    }
    let world = World::new().await;
    world.registry.register(&CompiledIn).unwrap();
    world.write("operations", &pack("operations", "6"));
    assert!(!world.folder.reload());
    assert!(world.problem("operations").unwrap().message.contains("compiled in"));
    assert_eq!(world.version("operations").as_deref(), Some("1"));
    world.remove("operations");
    world.folder.reload();
    assert_eq!(world.version("operations").as_deref(), Some("1"), "nor does its going take that one away");
    // A folder that cannot be read changes nothing.
    world.write("flip", &pack("flip", "1"));
    world.folder.reload();
    std::fs::rename(world.dir.path(), world.dir.path().with_extension("gone")).unwrap();
    assert!(!world.folder.reload());
    assert!(world.folder.status()[0].problem.as_ref().unwrap().message.contains("cannot be read"));
    assert_eq!(world.version("flip").as_deref(), Some("1"));
    std::fs::rename(world.dir.path().with_extension("gone"), world.dir.path()).unwrap();
    assert!(!world.folder.reload() && world.folder.status().len() == 1);
}
