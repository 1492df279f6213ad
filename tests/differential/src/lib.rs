//! The sandbox held to a real control plane: the same scripts of client actions on both, and what differs.
//!
//! A [`script`] is data. [`play`] acts it out on a [`cluster`], [`normal`] replaces what must differ (identities,
//! versions, times, addresses, generated names) by placeholders that keep who refers to whom, [`compare`] says what is
//! left, and [`known`] holds that against the list of known differences, each with its reason: a difference that is
//! not on the list fails the test, and so does an entry that no difference needs any more. The list only shrinks.
//!
//! The real control plane is the one of `ASTRADESK_TEST_CLUSTER`, as `cargo xtask test` and `cargo xtask cluster run`
//! set it: without it, a test is skipped loudly, and fails where `CI` is set.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "a harness for tests: whatever goes wrong in it fails the test"
)]

pub mod cluster;
pub mod compare;
pub mod known;
pub mod normal;
pub mod play;
pub mod script;

use cluster::Cluster;
use compare::Difference;
use futures::StreamExt as _;
use known::Known;
use script::Script;

/// The variable that names the kubeconfig of the real control plane.
pub const TEST_CLUSTER: &str = "ASTRADESK_TEST_CLUSTER";
/// How many scripts of a family are acted out at once.
const AT_ONCE: usize = 4;

/// What one script came to.
struct Played {
    replies: usize,
    /// It was played again.
    again: bool,
    differences: Vec<Difference>,
}

/// Acts out the scripts of a family on both clusters and holds what differs against the list.
pub fn check(family: &str, scripts: Vec<Script>) {
    let Some(kubeconfig) = std::env::var_os(TEST_CLUSTER).filter(|path| !path.is_empty()) else {
        let why = format!("no real control plane in `{TEST_CLUSTER}`; use `cargo xtask test`");
        let in_ci = !matches!(std::env::var("CI").as_deref(), Err(_) | Ok("" | "0" | "false"));
        assert!(!in_ci, "in CI nothing may be skipped: {why}");
        eprintln!("SKIPPED: {why}");
        return;
    };
    let known = Known::read();
    let only = std::env::var("DIFFERENTIAL_ONLY").unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let real = Cluster::real(kubeconfig.as_ref()).await;
        let sandbox = Cluster::sandbox().await;
        let chosen: Vec<Script> = scripts.into_iter().filter(|script| script.name.contains(&only)).collect();
        let count = chosen.len();
        let played: Vec<Played> = futures::stream::iter(chosen)
            .map(|script| play(&sandbox, &real, script, |found| known.explains(family, found)))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        sandbox.close().await;
        let again = played.iter().filter(|played| played.again).count();
        let replies: usize = played.iter().map(|played| played.replies).sum();
        let differences: Vec<Difference> = played.into_iter().flat_map(|played| played.differences).collect();
        // A script that was not played compares nothing: no entry of the list may excuse that.
        let broken: Vec<&Difference> = differences.iter().filter(|found| found.step == WHOLE).collect();
        assert!(broken.is_empty(), "{family}: scripts that could not be played: {broken:#?}");
        let entries = known.judge(family, &differences, only.is_empty());
        println!("{family}: {count} scripts, {replies} replies compared, {entries} known differences, {again} played again");
    });
}

/// The step of a script that broke off.
const WHOLE: &str = "whole";

/// What differs between the clusters. What is not explained must differ again when it is played again: which of two
/// writes of a controller comes first is decided by chance, on the real one too.
async fn play(
    sandbox: &Cluster,
    real: &Cluster,
    script: Script,
    explained: impl Fn(&Difference) -> bool,
) -> Played {
    let counts = |found: &Difference| found.step != WHOLE && explained(found);
    let mut played = play_on_both(sandbox, real, script.clone()).await;
    if !played.differences.iter().all(counts) {
        let again = play_on_both(sandbox, real, script).await.differences;
        let recurs = |found: &Difference| {
            again.iter().any(|other| (&other.step, &other.pointer) == (&found.step, &found.pointer))
        };
        played.differences.retain(|found| counts(found) || recurs(found));
        played.again = true;
    }
    played
}

async fn play_on_both(sandbox: &Cluster, real: &Cluster, script: Script) -> Played {
    let namespace = format!("diff-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    let (here, there) =
        futures::join!(play::play(sandbox, &namespace, &script), play::play(real, &namespace, &script));
    let (here, there) = match (here, there) {
        (Ok(here), Ok(there)) => (here, there),
        (here, there) => {
            let shown = |played: Result<Vec<play::Reply>, String>| {
                played.err().unwrap_or_else(|| "went through".to_owned())
            };
            let difference = Difference {
                script: script.name,
                step: WHOLE.to_owned(),
                pointer: String::new(),
                sandbox: shown(here),
                real: shown(there),
            };
            return Played { replies: 0, again: false, differences: vec![difference] };
        }
    };
    let replies = here.len();
    let here = normal::normalise(here, &sandbox.node);
    let there = normal::normalise(there, &real.node);
    Played { replies, again: false, differences: compare::compare(&script.name, &here, &there) }
}
