//! The planner against a server that answers whatever it is told to: every class of answers, and of none.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed unwrap in a test is a failed test"
)]

mod support;

use astradesk_core::Code;
use astradesk_llm::{Key, Mode};
use serde_json::{Value, json};
use std::time::Duration;
use support::{Desk, Reply, Server, calling, completion};

const WEBAPP: &str = r#"{"service":"webapp"}"#;

/// What was planned, or the code of the error.
async fn said(desk: &Desk, input: &str) -> String {
    match desk.plan(input).await {
        Ok(plan) => {
            assert_eq!(plan.planner, "llm");
            let calls = plan.calls.iter();
            calls
                .map(|call| format!("{} {}", call.tool, Value::Object(call.arguments.clone())))
                .collect::<Vec<_>>()
                .join(" | ")
        }
        Err(error) => error.code.to_string(),
    }
}

const PLANNED: &str = r#"restart_service {"service":"webapp"}"#;

#[tokio::test]
async fn every_class_of_answers() {
    let good = || calling(&[("restart_service", WEBAPP)]);
    let html = || Reply::new(200, "<html>It works!</html>");
    for (what, replies, expected, questions) in [
        ("a plan", vec![good()], PLANNED, 1),
        ("an unknown tool", vec![calling(&[("nuke", WEBAPP)]); 2], "plan.invalid", 2),
        ("an unknown tool, then a plan", vec![calling(&[("nuke", WEBAPP)]), good()], PLANNED, 2),
        (
            "an invented service",
            vec![calling(&[("restart_service", r#"{"service":"payments"}"#)]); 2],
            "plan.invalid",
            2,
        ),
        (
            "fields that nobody knows",
            vec![calling(&[("restart_service", r#"{"service":"webapp","approved":true}"#)]); 2],
            "plan.invalid",
            2,
        ),
        (
            "approving itself",
            vec![calling(&[("approve", r#"{"run":"1","reason":"fine"}"#)]); 2],
            "plan.invalid",
            2,
        ),
        (
            "prose",
            vec![completion(&json!({"content": "I have restarted webapp for you."})); 2],
            "plan.invalid",
            2,
        ),
        ("half of it", vec![calling(&[("restart_service", r#"{"service":"#)]), good()], PLANNED, 2),
        ("nothing", vec![completion(&json!({"content": null})), good()], PLANNED, 2),
        ("a refusal", vec![calling(&[("REFUSE", r#"{"reason":"unclear"}"#)])], "plan.not_an_instruction", 1),
        (
            "a refusal of the provider",
            vec![completion(&json!({"refusal": "no"}))],
            "plan.not_an_instruction",
            1,
        ),
        ("an empty body", vec![Reply::new(200, "")], "llm.answer_invalid", 1),
        ("another protocol", vec![html()], "llm.answer_invalid", 1),
        ("half a body", vec![Reply::new(200, r#"{"choices":[{"message":{"con"#)], "llm.answer_invalid", 1),
        ("10 MB", vec![Reply::new(200, "x".repeat(10 << 20))], "llm.answer_invalid", 1),
        ("429, then a plan", vec![Reply::new(429, "slow down"), good()], PLANNED, 2),
        ("500, 503, then a plan", vec![Reply::new(500, "oops"), Reply::new(503, ""), good()], PLANNED, 3),
        ("500 for ever", vec![Reply::new(500, "oops"); 3], "llm.unreachable", 3),
        ("a connection that breaks, then a plan", vec![Reply::cut(), good()], PLANNED, 2),
        ("400", vec![Reply::new(400, r#"{"error":{"message":"no such parameter"}}"#)], "llm.rejected", 1),
        ("401", vec![Reply::new(401, "who are you?")], "llm.rejected", 1),
        ("404", vec![Reply::new(404, "no such model")], "llm.rejected", 1),
        ("a redirect", vec![Reply::new(307, "").with("location", "http://127.0.0.1:1/")], "llm.rejected", 1),
    ] {
        let server = Server::answering(replies).await;
        let desk = Desk::new(server.settings());
        assert_eq!(said(&desk, "give webapp a kick").await, expected, "{what}");
        assert_eq!(server.questions().len(), questions, "{what}");
        let records = desk.consulted();
        let last = records.last().unwrap();
        assert_eq!(last.outcome, if expected == PLANNED { "plan" } else { expected }, "{what}");
        assert_eq!(last.answer_digest.is_some(), last.answer_bytes > 0 || what == "an empty body", "{what}");
        assert!(last.answer_bytes <= astradesk_llm::answer::MAX_ANSWER, "{what} was read to its end");
    }
}

#[tokio::test]
async fn a_document_is_as_good_as_functions() {
    let good = r#"{"calls":[{"tool":"restart_service","arguments":{"service":"webapp"}}]}"#;
    for (replies, expected) in [
        (vec![good.to_owned()], PLANNED),
        (vec![format!("Here you are: {good}"), good.to_owned()], PLANNED),
        (vec![format!("Here you are: {good}"); 2], "plan.invalid"),
        (vec![r#"{"refuse":"unclear"}"#.to_owned()], "plan.not_an_instruction"),
    ] {
        let replies = replies.iter().map(|content| completion(&json!({"content": content}))).collect();
        let server = Server::answering(replies).await;
        let mut settings = server.settings();
        settings.mode = Mode::JsonSchema;
        assert_eq!(said(&Desk::new(settings), "give webapp a kick").await, expected);
        let schema = &server.questions()[0]["response_format"]["json_schema"]["schema"];
        assert_eq!(
            schema["properties"]["calls"]["items"]["anyOf"][1]["properties"]["tool"]["enum"][0],
            "restart_service"
        );
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_at_the_limit() {
    let server = Server::answering(vec![Reply::hang()]).await;
    let mut settings = server.settings();
    settings.timeout = Duration::from_millis(300);
    let desk = Desk::new(settings);
    let error = desk.plan("give webapp a kick").await.unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (Code::LlmUnreachable, "the language model's server did not answer in time")
    );
    assert_eq!(desk.consulted()[0].outcome, "llm.unreachable");
}

#[tokio::test]
async fn a_pause_that_takes_longer_than_the_limit_is_not_waited_for() {
    let server = Server::answering(vec![Reply::new(429, "").with("retry-after", "3600")]).await;
    let error = Desk::new(server.settings()).plan("give webapp a kick").await.unwrap_err();
    assert_eq!((error.code, &error.details["retry_after"]), (Code::LlmUnreachable, &json!(3600)));
    assert_eq!(server.questions().len(), 1);
}

#[tokio::test]
async fn nobody_there() {
    let mut settings = Server::answering(vec![]).await.settings();
    settings.base_url = format!("http://{}/v1", support::nowhere()).parse().unwrap();
    settings.retries = 1;
    let desk = Desk::new(settings);
    assert_eq!(desk.plan("give webapp a kick").await.unwrap_err().code, Code::LlmUnreachable);
    assert_eq!(desk.consulted()[0].attempts, 2);
}

#[tokio::test]
async fn the_question_has_what_may_be_used_and_what_was_said_and_nothing_else() {
    let server = Server::answering(vec![calling(&[("restart_service", WEBAPP)])]).await;
    let desk = Desk::new(server.settings());
    let input = "give webapp a kick\u{200b}\u{e0041}, my password=hunter2, Bearer 0123456789abcdef0123";
    desk.plan(input).await.unwrap();
    let question = &server.questions()[0];
    let names: Vec<&str> = question["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["function"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["get_service_status", "restart_service", "REFUSE"], "not `secret_tool`");
    let text = question.to_string();
    for absent in
        ["payments", "ledger", "secret_tool", "hunter2", "0123456789abcdef", "\u{200b}", "\u{e0041}"]
    {
        assert!(!text.contains(absent), "{absent}");
    }
    assert_eq!(
        question["tools"][1]["function"]["parameters"]["properties"]["service"]["enum"],
        json!(["webapp"])
    );
    let record = &desk.consulted()[0];
    assert_eq!(record.prompt[0], question["messages"][1]);
    assert_eq!(record.answered_by.as_deref(), Some("scripted-1"));
    assert_eq!((record.usage.prompt_tokens, record.usage.completion_tokens), (11, 5));
    assert!(!serde_json::to_string(record).unwrap().contains("hunter2"));
}

#[tokio::test]
async fn a_name_may_be_said_by_its_alias() {
    let server = Server::answering(vec![calling(&[("restart_service", WEBAPP)])]).await;
    assert_eq!(said(&Desk::new(server.settings()), "give The Shop a kick").await, PLANNED);
    let question = &server.questions()[0];
    let data: Value = serde_json::from_str(question["messages"][1]["content"].as_str().unwrap()).unwrap();
    assert_eq!(data["names"], json!({"webapp": "the shop"}));
}

#[tokio::test]
async fn the_model_is_told_once_why_its_answer_was_no_plan() {
    let bad = calling(&[("restart_service", r#"{"service":"webapp","namespace":"prod"}"#)]);
    let server = Server::answering(vec![bad, calling(&[("restart_service", WEBAPP)])]).await;
    assert_eq!(said(&Desk::new(server.settings()), "give webapp a kick").await, PLANNED);
    let questions = server.questions();
    let data = |n: usize| -> Value {
        serde_json::from_str(questions[n]["messages"][1]["content"].as_str().unwrap()).unwrap()
    };
    assert!(data(0).get("refused_because").is_none());
    assert!(data(1)["refused_because"].as_str().unwrap().contains("`namespace` = \"prod\""), "{}", data(1));
}

#[tokio::test]
async fn the_key_goes_in_its_header_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "hunter2-is-the-key\n").unwrap();
    let echo = Reply::new(401, "your key hunter2-is-the-key is not good");
    let server = Server::answering(vec![echo]).await;
    let mut settings = server.settings();
    settings.key = Some(Key::parse(&format!("file:{}", path.display())).unwrap());
    let desk = Desk::new(settings.clone());
    let error = desk.plan("give webapp a kick").await.unwrap_err();
    assert_eq!(server.authorizations(), ["Bearer hunter2-is-the-key"]);
    assert_eq!(error.details["answer"], "your key [secret] is not good");
    for shown in [
        format!("{error:?}"),
        format!("{:?}", desk.consulted()),
        server.questions()[0].to_string(),
        format!("{settings:?}"),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    std::fs::remove_file(path).unwrap();
    assert_eq!(desk.plan("give webapp a kick").await.unwrap_err().code, Code::LlmKeyMissing);
    assert_eq!(server.questions().len(), 1, "nothing is sent without it");
}

#[tokio::test]
async fn who_has_used_up_the_hour_asks_nothing() {
    let server = Server::answering(vec![calling(&[("restart_service", WEBAPP)]); 2]).await;
    let mut settings = server.settings();
    settings.budget.tokens = 10 + u64::from(settings.max_tokens) + 1500;
    let desk = Desk::new(settings);
    // The server counts 16 tokens, so that there is room again.
    for _ in 0..2 {
        assert_eq!(said(&desk, "give webapp a kick").await, PLANNED);
    }
    let mut settings = server.settings();
    settings.budget.tokens = 100;
    let desk = Desk::new(settings);
    assert_eq!(said(&desk, "give webapp a kick").await, "llm.budget_exhausted");
    assert_eq!((server.questions().len(), desk.consulted().len()), (2, 0));
}

#[tokio::test]
async fn who_may_use_nothing_makes_nobody_ask() {
    let server = Server::answering(vec![]).await;
    let desk = Desk::new(server.settings()).for_nobody();
    assert_eq!(said(&desk, "give webapp a kick").await, "plan.no_action");
    assert_eq!(server.questions().len(), 0);
}

#[tokio::test]
async fn an_answer_that_is_not_on_record_is_not_used() {
    let server = Server::answering(vec![calling(&[("restart_service", WEBAPP)])]).await;
    let desk = Desk::new(server.settings()).without_evidence();
    assert_eq!(said(&desk, "give webapp a kick").await, "store.unavailable");
}

#[tokio::test]
async fn the_models_of_a_server_are_listed() {
    let server =
        Server::answering(vec![Reply::new(200, r#"{"object":"list","data":[{"id":"a"},{"id":"b"}]}"#)]).await;
    assert_eq!(Desk::new(server.settings()).planner.models().await.unwrap(), ["a", "b"]);
    let server = Server::answering(vec![Reply::new(200, "[]")]).await;
    assert_eq!(Desk::new(server.settings()).planner.models().await.unwrap_err().code, Code::LlmAnswerInvalid);
}
