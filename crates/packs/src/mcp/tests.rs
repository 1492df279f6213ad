//! Servers that behave, and servers that do not, over both transports.

mod pins;

use super::definition::Definition;
use super::lock::{Identity, Lock, Pin};
use crate::pack::DeclaredPack;
use crate::source::Source;
use crate::testing::{act, error, live, nowhere, step, word};
use astradesk_core::{Code, Error};
use astradesk_runtime::port::{Fault, Progress};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

const HEAD: &str = "name = \"test\"\nversion = \"1\"\ndescription = \"a test\"\n";

/// A scripted server, and how it is spoken to.
struct Scripted {
    folder: tempfile::TempDir,
    table: String,
    process: Option<Child>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Stdio,
    Http,
}

const BOTH: [Way; 2] = [Way::Stdio, Way::Http];

fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples/scripted");
    assert!(path.exists(), "{} is not built: `cargo build -p astradesk-packs --examples`", path.display());
    path
}

/// What the server has: a tool `do_it`.
fn tool() -> Value {
    json!({"name": "do_it", "description": "does it", "inputSchema": {"type": "object"}})
}

impl Scripted {
    fn start(way: Way, script: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().display().to_string();
        std::fs::write(folder.path().join("heard"), "").unwrap();
        let mut scripted = Self { folder, table: String::new(), process: None };
        scripted.script(script);
        scripted.table = match way {
            Way::Stdio => format!("[server]\nargv = [\"{}\", \"stdio\", \"{dir}\"]\n", program().display()),
            Way::Http => {
                let started = Command::new(program()).args(["http", &dir]).stdin(Stdio::null()).spawn();
                scripted.process = Some(started.unwrap());
                let address = until(|| std::fs::read_to_string(scripted.folder.path().join("address")).ok());
                format!("[server]\nurl = \"{address}/mcp\"\n")
            }
        };
        scripted
    }

    /// From now on it does this. What is not said of `tools` is one tool, `do_it`.
    fn script(&self, script: &Value) {
        let mut script = script.clone();
        if script.get("tools").is_none() {
            script["tools"] = json!([tool()]);
        }
        let (new, path) = (self.path("script.new"), self.path("script.json"));
        std::fs::write(&new, script.to_string()).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What it has heard, of a method.
    fn heard(&self, method: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("heard")).unwrap();
        let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        all.filter(|message| message["method"] == method).collect()
    }

    /// The pack `test` with the tool `act`, which is `do_it`, after its definition was accepted.
    fn pack(&self, effect: &str, more: &str) -> DeclaredPack {
        self.pack_with(effect, more, &[tool()]).unwrap()
    }

    fn pack_with(&self, effect: &str, more: &str, accepted: &[Value]) -> Result<DeclaredPack, Error> {
        let pins = accepted.iter().map(|definition| {
            (
                definition["name"].as_str().unwrap().to_owned(),
                Pin::of(Definition::read(definition.clone()).unwrap()),
            )
        });
        let server = Identity { name: "scripted".to_owned(), version: "1".to_owned() };
        let lock = Lock { server, pins: pins.collect() };
        let lock = if accepted.is_empty() { None } else { Some(lock.text().unwrap()) };
        DeclaredPack::of("test", &Source::of(&self.text(effect, more)).with_lock(lock), &nowhere())
    }

    fn text(&self, effect: &str, more: &str) -> String {
        format!(
            "{HEAD}{}[[tools]]\nname = \"act\"\ndescription = \"acts\"\neffect = \"{effect}\"\n\
             targets = [\"external/local/thing/one\"]\narguments.value = {{ type = \"string\" }}\n\
             [tools.mcp]\ntool = \"do_it\"\n{more}",
            self.table
        )
    }
}

/// Waits where nothing else has to go on.
fn until<T>(look: impl Fn() -> Option<T>) -> T {
    let limit = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < limit, "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits while everything else goes on.
async fn meanwhile<T>(look: impl Fn() -> Option<T>) -> T {
    let limit = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < limit, "it never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn run(pack: &DeclaredPack, seconds: f64) -> Result<Value, Fault> {
    live(pack, &step(pack, &json!({"value": "x"}), seconds)).await
}

fn says(text: &str) -> Value {
    json!({"result": {"content": [{"type": "text", "text": text}]}})
}

#[tokio::test]
async fn a_result_is_given_back_as_the_protocol_has_it() {
    let content = json!([
        {"type": "text", "text": "done"}, {"type": "image", "data": "aGk=", "mimeType": "image/png"},
        {"type": "resource", "resource": {"uri": "file:///a", "text": "b"}},
    ]);
    let result = json!({"content": content, "structuredContent": {"replicas": 3}});
    for way in BOTH {
        let server = Scripted::start(way, &json!({"calls": {"do_it": {"result": result}}}));
        let pack = server.pack("read", "arguments = { theValue = \"{value}\", fixed = [1] }");
        let output = run(&pack, 10.0).await.unwrap();
        assert_eq!(output["content"], content, "{way:?}");
        assert_eq!(output["structured"], json!({"replicas": 3}), "{way:?}");
        assert_eq!(output["summary"], "`act` was performed on `external/local/thing/one`");
        let called = server.heard("tools/call");
        assert_eq!(called[0]["params"]["name"], "do_it");
        assert_eq!(called[0]["params"]["arguments"], json!({"theValue": "x", "fixed": [1]}));
        let plain = server.pack("read", "");
        run(&plain, 10.0).await.unwrap();
        assert_eq!(server.heard("tools/call")[1]["params"]["arguments"], json!({"value": "x"}));
        // It is told nothing that we could do for it.
        assert_eq!(server.heard("initialize")[0]["params"]["capabilities"], json!({}), "{way:?}");
    }
}

#[tokio::test]
async fn each_end_has_its_outcome() {
    let turns = Arc::new(Semaphore::new(8));
    let mut all = tokio::task::JoinSet::new();
    let failed =
        json!({"result": {"content": [{"type": "text", "text": "no such \u{1b}[31mpod"}], "isError": true}});
    let unknown = "unknown run.outcome_unknown";
    for (what, does, way, read, write) in [
        ("well", says("fine"), None, "done", "done"),
        ("without content", json!({"result": {"structuredContent": 1}}), None, "done", "done"),
        ("failed", failed, None, "failed upstream.rejected", "failed upstream.rejected"),
        (
            "bad arguments",
            json!({"error": {"code": -32602, "message": "no"}}),
            None,
            "failed upstream.rejected",
            "failed upstream.rejected",
        ),
        (
            "a defect",
            json!({"error": {"code": -32603, "message": "no"}}),
            None,
            "failed upstream.failed",
            unknown,
        ),
        ("no result", json!({"result": {"strange": true}}), None, "failed upstream.answer_invalid", unknown),
        (
            "it asks",
            json!({"result": {"resultType": "input_required", "inputRequests": {}}}),
            None,
            "failed upstream.rejected",
            unknown,
        ),
        ("100 MB", json!({"flood": 100_000_000}), Some(Way::Stdio), "failed upstream.unreachable", unknown),
        ("100 MB", json!({"flood": 100_000_000}), Some(Way::Http), "failed upstream.answer_invalid", unknown),
        ("dies", json!({"die": "out of order\n"}), None, "failed upstream.unreachable", unknown),
        ("never answers", json!({}), None, "failed upstream.unreachable", unknown),
        (
            "401",
            json!({"status": 401}),
            Some(Way::Http),
            "failed upstream.forbidden",
            "failed upstream.forbidden",
        ),
        (
            "403",
            json!({"status": 403}),
            Some(Way::Http),
            "failed upstream.forbidden",
            "failed upstream.forbidden",
        ),
        (
            "400",
            json!({"status": 400}),
            Some(Way::Http),
            "failed upstream.rejected",
            "failed upstream.rejected",
        ),
        (
            "404",
            json!({"status": 404}),
            Some(Way::Http),
            "failed upstream.unreachable",
            "failed upstream.unreachable",
        ),
        (
            "429",
            json!({"status": 429}),
            Some(Way::Http),
            "failed upstream.unreachable",
            "failed upstream.unreachable",
        ),
        ("500", json!({"status": 500}), Some(Way::Http), "failed upstream.unreachable", unknown),
        ("302", json!({"status": 302}), Some(Way::Http), "failed upstream.unreachable", unknown),
        ("200", json!({"status": 200}), Some(Way::Http), "failed upstream.answer_invalid", unknown),
    ] {
        for way in BOTH.into_iter().filter(|one| way.is_none_or(|way| way == *one)) {
            for (effect, expected) in [("read", read), ("write", write), ("execute", write)] {
                let (does, turns) = (does.clone(), turns.clone());
                all.spawn(async move {
                    let _turn = turns.acquire_owned().await.unwrap();
                    // What never answers takes all of its time.
                    let seconds = if does == json!({}) { 6.0 } else { 30.0 };
                    let server = Scripted::start(way, &json!({"calls": {"do_it": does}}));
                    let begun = Instant::now();
                    let ended = run(&server.pack(effect, ""), seconds).await;
                    assert_eq!(word(&ended), expected, "{what}, {effect}, {way:?}: {ended:?}");
                    assert!(begun.elapsed() < Duration::from_secs(25), "{what} took {:?}", begun.elapsed());
                    if effect != "read" {
                        assert_eq!(server.heard("tools/call").len(), 1, "{what}, {way:?}: once");
                    }
                });
            }
        }
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn what_a_tool_says_of_its_failure_is_shown_and_can_do_nothing() {
    let said = format!("no such \u{1b}[31m\u{202e}pod {}", "x".repeat(100_000));
    let failed = json!({"result": {"content": [{"type": "text", "text": said}], "isError": true}});
    let server = Scripted::start(Way::Stdio, &json!({"calls": {"do_it": failed}}));
    let ended = run(&server.pack("write", ""), 10.0).await;
    let message = &error(&ended).message;
    assert!(
        message.starts_with("`do_it` of `scripted` failed: no such \\u{1b}[31m\\u{202e}pod xx"),
        "{message}"
    );
    assert!(message.chars().count() < 1200, "{}", message.len());
}

#[tokio::test]
async fn an_answer_is_no_larger_than_the_pack_allows() {
    let big = says(&"x".repeat(3000));
    for way in BOTH {
        let server = Scripted::start(way, &json!({"calls": {"do_it": big}}));
        let ended = run(&server.pack("read", "max_answer_bytes = 3000"), 10.0).await;
        assert_eq!(word(&ended), "failed upstream.answer_invalid", "{ended:?}");
        assert_eq!(word(&run(&server.pack("read", "max_answer_bytes = 4000"), 10.0).await), "done");
        let written = run(&server.pack("write", "max_answer_bytes = 3000"), 10.0).await.unwrap();
        assert_eq!(
            (&written["content"], &written["note"]),
            (&json!([]), &"its answer is larger than 3000 bytes".into())
        );
    }
}

/// The most memory that this process had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn a_flood_is_not_kept_in_memory() {
    for way in BOTH {
        let server = Scripted::start(way, &json!({"calls": {"do_it": {"flood": 400_000_000}}}));
        let pack = server.pack("write", "");
        let before = peak();
        assert_eq!(word(&run(&pack, 30.0).await), "unknown run.outcome_unknown", "{way:?}");
        let grown = peak() - before;
        assert!(grown < 64 << 20, "{way:?}: {grown} bytes");
    }
}

#[tokio::test]
async fn a_call_that_may_be_repeated_is_called_again() {
    let calls = json!({"calls": {"do_it": [{"die": "once"}, says("fine")]}});
    for (effect, more, expected) in [
        ("read", "", "done"),
        ("write", "idempotent = true", "done"),
        ("write", "", "unknown run.outcome_unknown"),
    ] {
        for way in BOTH {
            let server = Scripted::start(way, &calls);
            let ended = run(&server.pack(effect, more), 20.0).await;
            assert_eq!(word(&ended), expected, "{effect} {more} {way:?}: {ended:?}");
        }
    }
    // What an earlier process may have done is not done again.
    for (effect, more, expected) in [
        ("read", "", "done"),
        ("write", "idempotent = true", "done"),
        ("write", "", "unknown run.outcome_unknown"),
    ] {
        let server = Scripted::start(Way::Stdio, &json!({"calls": {"do_it": says("fine")}}));
        let pack = server.pack(effect, more);
        let mut context = step(&pack, &json!({"value": "x"}), 10.0);
        context.repeated = true;
        assert_eq!(word(&live(&pack, &context).await), expected, "{effect} {more}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_waited_for_within_the_time_only() {
    let gone = "[server]\nurl = \"http://127.0.0.1:1/mcp\"\n";
    let missing = "[server]\nargv = [\"/no/such/program\"]\n";
    let dies = "[server]\nargv = [\"/bin/sh\", \"-c\", \"echo no license >&2; exit 3\"]\n";
    let silent = "[server]\nargv = [\"/bin/sleep\", \"1000\"]\n";
    for (table, said) in [
        (gone, "cannot be spoken to"),
        (missing, "cannot be started"),
        (dies, "it said last `no license`"),
        (silent, "did not answer in time"),
    ] {
        let mut server = Scripted::start(Way::Stdio, &json!({}));
        server.table = table.to_owned();
        let begun = Instant::now();
        let pack = server.pack("write", "");
        let ended = run(&pack, 3.0).await;
        assert_eq!(word(&ended), "failed upstream.unreachable", "nothing was sent: {table} {ended:?}");
        assert!(error(&ended).message.contains(said), "{}", error(&ended).message);
        assert!(begun.elapsed() < Duration::from_secs(5), "{table} took {:?}", begun.elapsed());
        // It is not tried again at once; the tool is there all the while, and it is told why.
        let ended = run(&pack, 3.0).await;
        assert!(error(&ended).message.contains("tried again in"), "{}", error(&ended).message);
        assert!(act(&pack).fault().is_none());
        let status = pack.upstream().unwrap().status();
        assert_eq!(status.problem.unwrap().code, Code::UpstreamUnreachable);
    }
}

#[tokio::test]
async fn a_list_that_never_comes_or_never_ends_is_bounded() {
    let endless = json!({"result": {"tools": [tool()], "nextCursor": "more"}});
    let many: Vec<Value> = (0..2000).map(|n| json!({"name": format!("t{n}"), "inputSchema": {}})).collect();
    for (lists, code) in [
        (json!({}), "failed upstream.unreachable"),
        (endless, "failed upstream.answer_invalid"),
        (json!({"result": {"tools": many}}), "failed upstream.answer_invalid"),
        (json!({"result": {"tools": [{"name": 7}]}}), "failed upstream.answer_invalid"),
        (json!({"flood": 100_000_000}), "failed upstream.unreachable"),
    ] {
        let server = Scripted::start(Way::Stdio, &json!({"on": {"tools/list": lists}}));
        let ended = run(&server.pack("write", ""), 6.0).await;
        assert_eq!(word(&ended), code, "{ended:?}");
        assert!(server.heard("tools/call").is_empty());
    }
}

#[tokio::test]
async fn what_a_server_asks_is_refused_and_what_it_tells_is_progress() {
    let ask = |id: u32, method: &str| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {"messages": [], "maxTokens": 1, "message": "your password?", "requestedSchema": {"type": "object", "properties": {}}}});
    let tell = json!([
        ask(901, "sampling/createMessage"),
        ask(902, "elicitation/create"),
        ask(903, "roots/list"),
        ask(904, "ping"),
        {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": "noise"}},
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 99_999, "progress": 1, "message": "of another"}},
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "$token", "progress": 1, "total": 2, "message": "half\u{1b}[31m"}},
    ]);
    let mut does = says("fine");
    does["tell"] = tell;
    let server = Scripted::start(Way::Stdio, &json!({"calls": {"do_it": does}}));
    let pack = server.pack("read", "");
    let (sender, mut reports) = tokio::sync::mpsc::channel(16);
    let mut context = step(&pack, &json!({"value": "x"}), 10.0);
    context.progress = Progress::to(sender);
    assert_eq!(word(&live(&pack, &context).await), "done");
    let answered = meanwhile(|| {
        let text = std::fs::read_to_string(server.path("heard")).unwrap();
        let all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |id: u32| {
            all.iter().find(|message| message["id"] == id && message.get("method").is_none()).cloned()
        };
        Some([of(901)?, of(902)?, of(903)?, of(904)?])
    })
    .await;
    for refused in &answered[..3] {
        assert_eq!(refused["error"]["code"], -32601, "{refused}");
    }
    assert_eq!(answered[3]["result"], json!({}));
    let told = reports.recv().await.unwrap();
    assert_eq!(told.message, "half\\u{1b}[31m");
    assert_eq!(told.data, json!({"progress": 1.0, "total": 2.0}));
    drop(context);
    assert!(reports.recv().await.is_none(), "and of nothing else");
}

#[tokio::test]
async fn a_call_that_is_given_up_is_cancelled() {
    let server = Scripted::start(Way::Stdio, &json!({"calls": {"do_it": {}}}));
    let pack = server.pack("write", "");
    assert_eq!(word(&run(&pack, 5.0).await), "unknown run.outcome_unknown");
    let cancelled = meanwhile(|| server.heard("notifications/cancelled").pop()).await;
    assert_eq!(cancelled["params"]["requestId"], server.heard("tools/call")[0]["id"]);
}

#[tokio::test]
async fn a_server_of_either_generation_is_spoken_to() {
    let no = json!({"error": {"code": -32601, "message": "no such method"}});
    let found = json!({"result": {
        "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
        "serverInfo": {"name": "scripted", "version": "1"}, "ttlMs": 3_600_000, "cacheScope": "public",
    }});
    let tools = json!({"result": {
        "resultType": "complete", "tools": [tool()], "ttlMs": 3_600_000, "cacheScope": "public",
    }});
    let mut does = says("fine");
    does["result"]["resultType"] = "complete".into();
    let script = json!({
        "on": {"initialize": no, "server/discover": found, "tools/list": tools}, "calls": {"do_it": does},
    });
    for way in BOTH {
        let server = Scripted::start(way, &script);
        let pack = server.pack("write", "");
        for _ in 0..2 {
            assert_eq!(word(&run(&pack, 20.0).await), "done", "{way:?}");
        }
        let told = &server.heard("tools/call")[0]["params"]["_meta"];
        assert_eq!(told["io.modelcontextprotocol/clientCapabilities"], json!({}), "{way:?} {told:#}");
        // However long it says that its list holds.
        assert_eq!(server.heard("tools/list").len(), 2, "{way:?}");
    }
    let neither = Scripted::start(Way::Stdio, &json!({"on": {"initialize": no}}));
    let ended = run(&neither.pack("write", ""), 10.0).await;
    assert_eq!(word(&ended), "failed upstream.unreachable", "{ended:?}");
}

#[tokio::test]
async fn a_secret_reaches_the_server_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "hunter2-the-secret").unwrap();
    let echo = says("you are hunter2-the-secret");
    let mut server = Scripted::start(Way::Http, &json!({"calls": {"do_it": echo}}));
    let path = file.display().to_string();
    server.table.extend(["headers = { authorization = \"Bearer {file:", &path, "}\" }\n"]);
    let pack = server.pack("read", "");
    let output = run(&pack, 10.0).await.unwrap();
    assert_eq!(output["content"][0]["text"], "you are [secret]");
    assert_eq!(server.heard("tools/call")[0]["authorization"], "Bearer hunter2-the-secret");
    // A new one is used from the next call on.
    std::fs::write(&file, "another-secret").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    run(&pack, 10.0).await.unwrap();
    assert_eq!(server.heard("tools/call")[1]["authorization"], "Bearer another-secret");

    let shell = "printenv | cut -d= -f1 | sort | tr '\\n' ' ' >&2; printf '%s' \"$TOKEN\" >&2; exit 1";
    let mut server = Scripted::start(Way::Stdio, &json!({}));
    server.table = format!(
        "[server]\nargv = [\"/bin/sh\", \"-c\", '''{shell}''']\nenv = {{ TOKEN = \"{{file:{}}}\" }}\n",
        file.display()
    );
    let ended = run(&server.pack("read", ""), 3.0).await;
    let message = &error(&ended).message;
    assert!(message.contains("it said last `PWD TOKEN [secret]`"), "{message}");
}

#[tokio::test]
async fn a_program_goes_with_its_pack() {
    // So many seconds that no other process sleeps.
    let mark = format!("1000.{}77", std::process::id());
    let mut server = Scripted::start(Way::Stdio, &json!({"calls": {"do_it": says("fine")}}));
    let line =
        format!("sleep {mark} & exec {} stdio {}", program().display(), server.folder.path().display());
    server.table = format!("[server]\nargv = [\"/bin/sh\", \"-c\", \"{line}\"]\n");
    let pack = server.pack("read", "");
    assert_eq!(word(&run(&pack, 10.0).await), "done");
    let alive = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let mut lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.any(|line| {
            line.starts_with(b"sleep") && line.windows(mark.len()).any(|part| part == mark.as_bytes())
        })
    };
    meanwhile(|| alive().then_some(())).await;
    drop(pack);
    meanwhile(|| (!alive()).then_some(())).await;
}
