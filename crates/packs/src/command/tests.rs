//! Programs that behave, and programs that do not.

use crate::testing::{act, error, live, pack, step, word};
use astradesk_core::Code;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A tool that runs a script with `{value}` as its first argument.
fn tool(effect: &str, script: &str, more: &str) -> String {
    format!(
        "effect = \"{effect}\"\ntargets = [\"external/local/thing/one\"]\narguments.value = {{ type = \"string\" }}\n\
         [tools.command]\nargv = [\"/bin/sh\", \"-c\", '''{script}''', \"--\", \"{{value}}\"]\n{more}"
    )
}

async fn run(
    effect: &str,
    script: &str,
    more: &str,
    value: &str,
) -> Result<Value, astradesk_runtime::port::Fault> {
    let pack = pack(&tool(effect, &script.replace('{', "{{").replace('}', "}}"), more)).unwrap();
    live(&pack, &step(&pack, &json!({"value": value}), 2.0)).await
}

#[tokio::test]
async fn what_it_is_given_is_what_the_pack_lists() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "hunter2-the-secret").unwrap();
    let more = format!(
        "directory = \"{0}\"\nstdin = \"said {{value}}\"\nenv = {{ TOKEN = \"{{file:{0}/secret}}\", RUN = \"{{run.id}}\" }}",
        folder.path().display()
    );
    let script = r#"printf '%s|' "$#" "$1" "$PWD" "$(cat)" "$RUN"; env | sort | cut -d= -f1 | tr '\n' ','; printf '|%s' "$TOKEN""#;
    let output = run("read", script, &more, "a b;$(id) `id` \"'\n{x}").await.unwrap();
    let said: Vec<&str> = output["output"].as_str().unwrap().split('|').collect();
    let value = "a b;$(id) `id` \"'\n{x}";
    assert_eq!(&said[..2], ["1", value]);
    assert_eq!(said[2], folder.path().canonicalize().unwrap().to_str().unwrap());
    assert_eq!(said[3..5], [format!("said {value}"), "01920000-0000-7000-8000-000000000001".to_owned()]);
    assert_eq!(said[5], "PWD,RUN,TOKEN,", "nothing of our own environment");
    assert_eq!(said[6], "[secret]", "what it prints of a secret is told to nobody");
}

#[tokio::test]
async fn each_end_has_its_outcome() {
    let mut all = tokio::task::JoinSet::new();
    let mapped = "exit_codes = { 3 = \"upstream.not_found\" }\nsuccess = [0, 7]";
    for (what, script, more, read, write) in [
        ("well", "echo fine", "", "done", "done"),
        ("a success of another name", "exit 7", mapped, "done", "done"),
        ("a known failure", "exit 3", mapped, "failed upstream.not_found", "failed upstream.not_found"),
        ("a failure", "echo broken >&2; exit 1", "", "failed upstream.failed", "unknown run.outcome_unknown"),
        ("a signal", "kill -9 $$", "", "failed upstream.failed", "unknown run.outcome_unknown"),
        ("too late", "sleep 60", "", "failed tool.timed_out", "unknown run.outcome_unknown"),
        (
            "deaf",
            "trap '' TERM; while :; do sleep 60; done",
            "",
            "failed tool.timed_out",
            "unknown run.outcome_unknown",
        ),
        ("no JSON", "echo nothing", "stdout = \"json\"", "failed upstream.answer_invalid", "done"),
        (
            "not as expected",
            "echo '{\"ok\": false}'",
            "stdout = \"json\"\nexpect = { pointer = \"/ok\", equals = true }",
            "failed upstream.not_verified",
            "failed upstream.not_verified",
        ),
        (
            "as expected",
            "echo '{\"ok\": true}'",
            "stdout = \"json\"\nexpect = { pointer = \"/ok\", equals = true }",
            "done",
            "done",
        ),
    ] {
        for (effect, expected) in [("read", read), ("write", write), ("execute", write)] {
            all.spawn(async move {
                let begun = Instant::now();
                let ended = run(effect, script, more, "x").await;
                assert_eq!(word(&ended), expected, "{what}, {effect}: {ended:?}");
                assert!(begun.elapsed() < Duration::from_secs(10), "{what} took {:?}", begun.elapsed());
            });
        }
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    let broken = run("write", "seq 30 >&2; printf 'a\\033[31mb' >&2; exit 1", "", "x").await;
    let said = error(&broken).details["output"].as_array().unwrap();
    assert_eq!((said.len(), &said[0], &said[19]), (20, &"12".into(), &"a\\u{1b}[31mb".into()));
}

#[tokio::test]
async fn what_it_prints_is_bounded_and_cannot_stop_it() {
    let begun = Instant::now();
    let output = run("read", "head -c 100000000 /dev/zero | tr '\\0' x", "max_output_bytes = 1000", "x")
        .await
        .unwrap();
    assert_eq!(output["output"].as_str().unwrap().chars().count(), 1001, "and an ellipsis");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let json = "max_output_bytes = 1000\nstdout = \"json\"";
    let ended = run("read", "head -c 100000 /dev/zero | tr '\\0' 1", json, "x").await;
    assert!(error(&ended).message.contains("more than 1000 bytes"), "{ended:?}");
    // It need not read what it is given.
    let big = "y".repeat(1024);
    assert_eq!(word(&run("read", "true", "stdin = \"{value}{value}{value}\"", &big).await), "done");
}

/// The processes whose command line has this text.
fn alive(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.windows(mark.len()).any(|part| part == mark.as_bytes())).count()
}

/// Waits until none is left: one that was killed is seen for a moment.
async fn until_gone(mark: &str) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(5);
    while alive(mark) > 0 {
        assert!(tokio::time::Instant::now() < limit, "{mark} is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn nothing_that_it_started_outlives_it() {
    // So many seconds that no other process sleeps.
    let mark = |number: u32| format!("1000.{}00{number}", std::process::id());
    for (mark, script, expected) in [
        (mark(1), "sleep MARK & sleep MARK & echo started", "done"),
        (mark(2), "trap '' TERM; (trap '' TERM; sleep MARK) & sleep MARK", "failed tool.timed_out"),
    ] {
        let ended = run("read", &script.replace("MARK", &mark), "", "x").await;
        assert_eq!(word(&ended), expected, "{ended:?}");
        until_gone(&mark).await;
    }
    // Nor does it when whoever waits for it does not wait any more.
    let mark = mark(3);
    let script = "sleep MARK & sleep MARK".replace("MARK", &mark);
    let dropped = tokio::time::timeout(Duration::from_millis(300), run("read", &script, "", "x")).await;
    assert!(dropped.is_err());
    until_gone(&mark).await;
}

#[tokio::test]
async fn after_a_crash_only_what_may_be_repeated_is_run_again() {
    for (more, expected) in [("", "unknown run.outcome_unknown"), ("idempotent = true", "done")] {
        let pack = pack(&tool("write", "true", more)).unwrap();
        let mut context = step(&pack, &json!({"value": "x"}), 2.0);
        context.repeated = true;
        let ended = live(&pack, &context).await;
        assert_eq!(word(&ended), expected);
    }
    let missing = pack("effect = \"write\"\ntargets = [\"external/local/thing/one\"]\n[tools.command]\nargv = [\"/no/such/program\"]").unwrap();
    let ended = live(&missing, &step(&missing, &json!({}), 2.0)).await;
    assert_eq!(word(&ended), "failed upstream.unreachable", "nothing was started, so nothing was done");
}

#[test]
fn a_value_is_no_option_unless_options_are_over() {
    let tool = |argv: &str| {
        format!(
            "effect = \"read\"\ntargets = [\"external/local/thing/one\"]\narguments.value = {{ type = \"string\" }}\n[tools.command]\nargv = {argv}"
        )
    };
    for (argv, value, fine) in [
        ("[\"/bin/echo\", \"{value}\"]", "-n", false),
        ("[\"/bin/echo\", \"{value}\"]", "--help", false),
        ("[\"/bin/echo\", \"{value}\"]", "n-", true),
        ("[\"/bin/echo\", \"{value}\"]", "", true),
        ("[\"/bin/echo\", \"--\", \"{value}\"]", "--help", true),
        ("[\"/bin/echo\", \"--name={value}\"]", "--help", true),
        ("[\"/bin/echo\", \"x\", \"{value}\", \"--\"]", "-n", false),
        ("[\"/bin/echo\", \"{value}\"]", "a\0b", false),
    ] {
        let pack = pack(&tool(argv)).unwrap();
        let plan = act(&pack).plan(json!({"value": value}).as_object().unwrap());
        assert_eq!(plan.is_ok(), fine, "{argv} {value:?}");
        if let Err(error) = plan {
            assert_eq!(error.code, Code::ToolArgumentsInvalid);
        }
    }
}

proptest! {
    #[test]
    fn no_value_changes_the_number_of_arguments(value in ".{0,60}", other in "[-{}'\"\\\\$`;|&\n ]{0,8}") {
        let tool = "effect = \"read\"\ntargets = [\"external/local/thing/one\"]\n\
            arguments = { value = { type = \"string\" }, other = { type = \"string\" } }\n[tools.command]\n\
            argv = [\"/bin/echo\", \"--a={value}\", \"{{{value}}}\", \"--\", \"{other}\"]";
        let pack = pack(tool).unwrap();
        let arguments = json!({"value": value, "other": other});
        if let Ok(plan) = act(&pack).plan(arguments.as_object().unwrap()) {
            let expected = json!(["/bin/echo", format!("--a={value}"), format!("{{{value}}}"), "--", other]);
            prop_assert_eq!(&plan["command"]["argv"], &expected);
        } else {
            prop_assert!(value.contains('\0') || other.contains('\0'));
        }
    }
}
