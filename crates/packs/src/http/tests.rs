//! Every class of answers, from a server that says what it is told to.

use crate::testing::{Say, Server, act, error, json, live, pack, step, word};
use astradesk_core::Code;
use astradesk_runtime::port::Fault;
use serde_json::json as value;

/// A tool that sets a flag, with more keys of its `http`.
fn tool(server: &Server, effect: &str, method: &str, more: &str) -> String {
    format!(
        "effect = \"{effect}\"\ntargets = [\"external/flags/flag/any\"]\n\
         arguments.flag = {{ type = \"string\" }}\n[tools.http]\nmethod = \"{method}\"\n\
         url = \"{}/flags/{{flag}}\"\n{more}",
        server.address
    )
}

async fn live_through(answers: Vec<Say>, effect: &str, method: &str, more: &str) -> (String, String, usize) {
    let server = Server::new(answers).await;
    let pack = pack(&tool(&server, effect, method, more)).unwrap();
    let ended = live(&pack, &step(&pack, &value!({"flag": "checkout"}), 3.0)).await;
    let said = match &ended {
        Ok(output) => output.to_string(),
        Err(_) => error(&ended).message.clone(),
    };
    (word(&ended), said, server.requests().len())
}

fn hang(head: &str) -> Say {
    Say::Hang(head.as_bytes().to_vec())
}

fn bytes(text: &str) -> Say {
    Say::Bytes(text.as_bytes().to_vec())
}

/// What a server says, and what becomes of a read, of a write, and of a write that may be repeated: in a word, and how
/// often each is sent.
type Class = (&'static str, Vec<Say>, [&'static str; 3], [usize; 3]);

#[tokio::test]
async fn each_class_of_answers_has_its_outcome() {
    let truncated = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"a\":";
    let redirect = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let cases: Vec<Class> = vec![
        ("200", vec![json(200, "{}")], ["done", "done", "done"], [1, 1, 1]),
        ("404", vec![json(404, "{}")], ["failed upstream.not_found"; 3], [1, 1, 1]),
        ("403", vec![json(403, "{}")], ["failed upstream.forbidden"; 3], [1, 1, 1]),
        ("409", vec![json(409, "{}")], ["failed upstream.conflict"; 3], [1, 1, 1]),
        ("422", vec![json(422, "{}")], ["failed upstream.rejected"; 3], [1, 1, 1]),
        ("429", vec![json(429, "{}")], ["failed upstream.unreachable"; 3], [1, 1, 1]),
        (
            "500",
            vec![json(500, "{}")],
            ["failed upstream.unreachable", "unknown run.outcome_unknown", "unknown run.outcome_unknown"],
            [3, 1, 3],
        ),
        (
            "500, then 200",
            vec![json(500, "{}"), json(200, "{}")],
            ["done", "unknown run.outcome_unknown", "done"],
            [2, 1, 2],
        ),
        (
            "500, then 404",
            vec![json(500, "{}"), json(404, "{}")],
            ["failed upstream.not_found", "unknown run.outcome_unknown", "unknown run.outcome_unknown"],
            [2, 1, 2],
        ),
        (
            "a redirect",
            vec![bytes(redirect)],
            ["failed upstream.answer_invalid", "unknown run.outcome_unknown", "unknown run.outcome_unknown"],
            [1, 1, 3],
        ),
        ("no JSON", vec![json(200, "<html>")], ["failed upstream.answer_invalid", "done", "done"], [1, 1, 1]),
        ("truncated", vec![bytes(truncated)], ["failed upstream.answer_invalid", "done", "done"], [1, 1, 1]),
        ("huge", vec![Say::Flood(32 << 20)], ["failed upstream.answer_invalid", "done", "done"], [1, 1, 1]),
        ("slow body", vec![hang(truncated)], ["failed upstream.answer_invalid", "done", "done"], [1, 1, 1]),
        (
            "nothing",
            vec![hang("")],
            ["failed upstream.unreachable", "unknown run.outcome_unknown", "unknown run.outcome_unknown"],
            [1, 1, 1],
        ),
        (
            "no HTTP",
            vec![bytes("SSH-2.0-OpenSSH\r\n")],
            ["failed upstream.unreachable", "unknown run.outcome_unknown", "unknown run.outcome_unknown"],
            [3, 1, 3],
        ),
    ];
    let mut all = tokio::task::JoinSet::new();
    let few = std::sync::Arc::new(tokio::sync::Semaphore::new(6));
    for (what, answers, words, sends) in cases {
        let kinds = [("read", "GET", ""), ("write", "PUT", ""), ("write", "PUT", "idempotent = true")];
        for ((kind, expected), sent) in kinds.into_iter().zip(words).zip(sends) {
            let (answers, few) = (answers.clone(), few.clone());
            all.spawn(async move {
                let _turn = few.acquire().await.unwrap();
                let (word, said, requests) = live_through(answers, kind.0, kind.1, kind.2).await;
                assert_eq!((word.as_str(), requests), (expected, sent), "{what}, {kind:?}: {said}");
            });
        }
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn where_nothing_listens_nothing_is_done() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let server = Server { address, heard: std::sync::Arc::default() };
    for (effect, method) in [("read", "GET"), ("write", "PUT")] {
        let pack = pack(&tool(&server, effect, method, "")).unwrap();
        let ended = live(&pack, &step(&pack, &value!({"flag": "checkout"}), 3.0)).await;
        assert_eq!(word(&ended), "failed upstream.unreachable");
    }
}

#[tokio::test]
async fn a_status_that_the_pack_names_means_what_it_says() {
    let more = "success = [200, 404]\nstatuses = { 503 = \"upstream.conflict\" }";
    let (word, said, _) = live_through(vec![json(404, "{\"gone\": true}")], "write", "DELETE", more).await;
    assert_eq!((word.as_str(), said.contains("\"gone\":true")), ("done", true), "{said}");
    let (word, _, requests) = live_through(vec![json(503, "{}")], "write", "DELETE", more).await;
    assert_eq!((word.as_str(), requests), ("failed upstream.conflict", 1));
}

#[tokio::test]
async fn what_is_sent_is_what_the_pack_says_and_secrets_come_back_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("token");
    std::fs::write(&secret, "hunter2-the-secret\n").unwrap();
    let server = Server::new(vec![json(200, "{\"you said\": \"Bearer hunter2-the-secret\"}")]).await;
    let more = format!(
        "headers = {{ authorization = \"Bearer {{file:{}}}\", x-flag = \"{{flag}}\" }}\n\
         idempotency_header = \"idempotency-key\"\nbody = {{ name = \"{{flag}}\", text = \"is {{flag}}\", on = true, run = \"{{run.id}}\" }}",
        secret.display()
    );
    let pack = pack(&tool(&server, "write", "POST", &more)).unwrap();
    let arguments = value!({"flag": "a\"}, \"on\": false, {{x"});
    let context = step(&pack, &arguments, 3.0);
    let output = live(&pack, &context).await.unwrap();
    assert_eq!(output["output"]["you said"], "Bearer [secret]");
    let request = server.requests().remove(0);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /flags/a%22%7D%2C%20%22on%22%3A%20false%2C%20%7B%7Bx HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("authorization: Bearer hunter2-the-secret\r\n"), "{head}");
    assert!(head.contains("idempotency-key: 01920000-0000-7000-8000-000000000001/0\r\n"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let flag = arguments["flag"].as_str().unwrap();
    let expected =
        value!({"name": flag, "text": format!("is {flag}"), "on": true, "run": context.run.to_string()});
    assert_eq!(body, expected);

    let preview = act(&pack).plan(&context.call.arguments).unwrap().to_string();
    assert!(!preview.contains("hunter2") && preview.contains("[secret file:"), "{preview}");
    std::fs::remove_file(&secret).unwrap();
    let ended = live(&pack, &context).await;
    assert_eq!(word(&ended), "failed secret.missing");
    assert_eq!(server.requests().len(), 1, "nothing was sent without its secret");
}

#[tokio::test]
async fn a_value_that_no_header_can_have_is_refused_before_anything_is_sent() {
    let server = Server::new(vec![json(200, "{}")]).await;
    let pack = pack(&tool(&server, "write", "PUT", "headers = { x-flag = \"{flag}\" }")).unwrap();
    for flag in ["żółw", "a\u{7f}"] {
        let ended = live(&pack, &step(&pack, &value!({"flag": "fine"}), 3.0)).await;
        assert_eq!(word(&ended), "done");
        let arguments = value!({"flag": flag}).as_object().unwrap().clone();
        let mut context = step(&pack, &value!({"flag": "fine"}), 3.0);
        context.call.arguments = arguments;
        let ended = live(&pack, &context).await;
        assert_eq!(error(&ended).code, Code::ToolArgumentsInvalid, "{flag:?}");
    }
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn it_succeeded_when_it_is_seen() {
    let on = "[tools.http.verify]\nurl = \"URL/flags/{flag}\"\npointer = \"/enabled\"\nequals = true";
    for (answers, expected) in [
        (
            vec![
                json(200, "{}"),
                json(200, "{\"enabled\": false}"),
                json(500, ""),
                json(200, "{\"enabled\": true}"),
            ],
            "done",
        ),
        (vec![json(200, "{}"), json(200, "{\"enabled\": false}")], "failed upstream.not_verified"),
        (vec![json(200, "{}"), json(200, "{\"enabled\": \"true\"}")], "failed upstream.not_verified"),
        (vec![json(200, "{}"), json(500, "{}")], "unknown run.outcome_unknown"),
        (vec![json(200, "{}"), hang("")], "unknown run.outcome_unknown"),
        (vec![json(404, "{}"), json(200, "{\"enabled\": true}")], "failed upstream.not_found"),
    ] {
        let server = Server::new(answers).await;
        let more = on.replace("URL", &server.address);
        let pack = pack(&tool(&server, "write", "PUT", &more)).unwrap();
        let ended = live(&pack, &step(&pack, &value!({"flag": "checkout"}), 4.5)).await;
        assert_eq!(word(&ended), expected, "{ended:?} {:?}", server.requests());
    }
    // What was not answered, and may be repeated, is found out by looking.
    let lost = [json(500, ""), json(500, ""), json(500, "")];
    for (seen, expected) in [("true", "done"), ("false", "unknown run.outcome_unknown")] {
        let answers = [&lost[..], &[json(200, &format!("{{\"enabled\": {seen}}}"))]].concat();
        let server = Server::new(answers).await;
        let more = format!("idempotent = true\n{}", on.replace("URL", &server.address));
        let pack = pack(&tool(&server, "write", "PUT", &more)).unwrap();
        let ended = live(&pack, &step(&pack, &value!({"flag": "checkout"}), 6.0)).await;
        assert_eq!(word(&ended), expected, "{ended:?}");
    }
}

#[tokio::test]
async fn after_a_crash_only_what_may_be_repeated_is_sent_again() {
    for (more, expected, sent) in [
        ("", "unknown run.outcome_unknown", 0),
        ("idempotent = true", "done", 1),
        ("idempotency_header = \"idempotency-key\"", "done", 1),
    ] {
        let server = Server::new(vec![json(200, "{}")]).await;
        let pack = pack(&tool(&server, "write", "POST", more)).unwrap();
        let mut context = step(&pack, &value!({"flag": "checkout"}), 3.0);
        context.repeated = true;
        let ended = live(&pack, &context).await;
        assert_eq!((word(&ended).as_str(), server.requests().len()), (expected, sent), "{more}");
        if let Err(Fault::Unknown(error)) = ended {
            assert!(error.remedy.contains("idempotent"), "{}", error.remedy);
        }
    }
}

#[tokio::test]
async fn an_answer_is_expected_to_have_what_the_pack_says() {
    let more = "output = \"/flag\"\nexpect = { pointer = \"/flag/name\", equals = \"{flag}\" }";
    let good = json(200, "{\"flag\": {\"name\": \"checkout\"}, \"other\": 1}");
    let (ended, said, _) = live_through(vec![good], "read", "GET", more).await;
    assert_eq!(ended, "done");
    assert!(said.contains("\"output\":{\"name\":\"checkout\"}") && !said.contains("other"), "{said}");
    let bad = json(200, "{\"flag\": {\"name\": \"search\"}}");
    for (effect, method) in [("read", "GET"), ("write", "PUT")] {
        let (ended, said, _) = live_through(vec![bad.clone()], effect, method, more).await;
        assert_eq!(ended, "failed upstream.not_verified");
        assert!(said.contains("\"search\"") && said.contains("/flag/name"), "{said}");
    }
}
