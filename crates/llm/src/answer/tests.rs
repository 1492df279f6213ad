use super::*;
use crate::offer::Known;
use astradesk_core::tool::{Effect, Form, Grammar, Slot};
use astradesk_core::{ToolName, ToolSpec};
use proptest::prelude::*;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn slot(argument: &str, form: Form) -> Slot {
    Slot { argument: argument.to_owned(), form, required: false, locates: false }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|&word| word.to_owned()).collect()
}

pub(crate) fn spec(name: &str) -> ToolSpec {
    ToolSpec {
        name: ToolName::parse(name).unwrap(),
        version: "1".to_owned(),
        description: "for tests".to_owned(),
        effect: Some(Effect::Write),
        input_schema: json!({
            "type": "object", "additionalProperties": false, "required": ["service"],
            "properties": {
                "service": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"},
                "namespace": {"type": "string"},
                "kind": {"type": "string", "enum": ["deployment", "statefulset"]},
                "timeout": {"type": "string", "pattern": "^[0-9]+[smh]$"},
                "accept_downtime": {"type": "boolean"},
                "replicas": {"type": "integer"},
            },
        }),
        timeout: Duration::from_secs(1),
        grammar: Grammar {
            nouns: Vec::new(),
            phrases: words(&["restart"]),
            slots: vec![
                slot("service", Form::Name),
                slot("kind", Form::OneOf(vec![("sts".to_owned(), json!("statefulset"))])),
                slot("accept_downtime", Form::Flag(words(&["accept downtime", "with downtime"]))),
            ],
            fillers: Vec::new(),
        },
    }
}

pub(crate) fn offer(name: &str, said: Vec<String>) -> Offer {
    let names = Known { said, all_permitted: true };
    Offer::new(Arc::new(spec(name)), [("service".to_owned(), names)].into_iter().collect()).unwrap()
}

pub(crate) fn asked(mode: Mode, sentence: &str) -> Asked {
    let said = Said::of(sentence);
    let names: Vec<String> =
        ["webapp", "payments"].map(str::to_owned).into_iter().filter(|name| said.says(name)).collect();
    let offers = vec![offer("restart_service", names.clone()), offer("get_service_status", names)];
    Asked { mode, said, offers, max_steps: 2 }
}

fn completion(message: &Value) -> Vec<u8> {
    json!({"id": "x", "object": "chat.completion", "model": "m-1", "choices": [{"index": 0, "message": message}],
           "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}})
    .to_string()
    .into_bytes()
}

fn calling(calls: &[(&str, &str)]) -> Vec<u8> {
    let calls: Vec<Value> = calls
        .iter()
        .map(|(name, arguments)| {
            json!({"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}})
        })
        .collect();
    completion(&json!({"role": "assistant", "content": null, "tool_calls": calls}))
}

/// What came of an answer, in short.
fn came(answer: &Answer) -> String {
    match &answer.proposal {
        Ok(Proposal::Calls(calls)) => {
            let calls =
                calls.iter().map(|call| format!("{} {}", call.tool, Value::Object(call.arguments.clone())));
            calls.collect::<Vec<_>>().join(" | ")
        }
        Ok(Proposal::Refusal(reason)) => format!("refused: {reason}"),
        Err(Fault::Protocol(what)) => format!("protocol: {what}"),
        Err(Fault::Plan(what)) => format!("fault: {what}"),
    }
}

const CALL: &str =
    "fault: each of `calls` must be an object with a text `tool`, an object `arguments`, and no more";

const WEBAPP: &str = r#"{"service":"webapp"}"#;

#[test]
fn functions_that_are_called() {
    let many = [("restart_service", WEBAPP); 3];
    let long = format!(r#"{{"service":"{}"}}"#, "x".repeat(20_000));
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[("restart_service", WEBAPP)], r#"restart_service {"service":"webapp"}"#),
        (
            &[("get_service_status", WEBAPP), ("restart_service", WEBAPP)],
            r#"get_service_status {"service":"webapp"} | restart_service {"service":"webapp"}"#,
        ),
        (&[], "fault: it calls no function"),
        (&many, "fault: it has 3 calls, and 1 to 2 may be"),
        (&[("drop_database", WEBAPP)], "fault: there is no function `drop_database`"),
        (&[("Restart_Service", WEBAPP)], "fault: there is no function `Restart_Service`"),
        (&[("approve_run", r#"{"run":"1"}"#)], "fault: there is no function `approve_run`"),
        (
            &[("restart_service", r#"{"service":"payments"}"#)],
            "fault: `restart_service`: the request names no `service` that exists and is `payments`",
        ),
        (
            &[("restart_service", r#"{"service":"webapp","approved":true}"#)],
            "fault: `restart_service`: Additional properties are not allowed ('approved' was unexpected)",
        ),
        (
            &[("restart_service", r#"{"service":7}"#)],
            "fault: `restart_service`: at `/service`: 7 is not of type \"string\"",
        ),
        (
            &[("restart_service", r#"{"service":"webapp","service":"payments"}"#)],
            "fault: the arguments of `restart_service`: a member of an object is there twice at line 1 column 41",
        ),
        (
            &[("restart_service", r#"{"service":"weba"#)],
            "fault: the arguments of `restart_service`: the JSON breaks off at line 1, column 16",
        ),
        (
            &[("restart_service", "")],
            "fault: the arguments of `restart_service`: the JSON breaks off at line 1, column 0",
        ),
        (&[("restart_service", "[]")], "fault: the arguments of `restart_service` are no object"),
        (&[("restart_service", &long)], "fault: the arguments of `restart_service` are too long"),
        (
            &[("restart_service", r#"{"service":"webapp","namespace":"default"}"#)],
            "fault: `restart_service`: the request does not say `namespace` = \"default\": leave out what it does not say, \
             and spell what it says as it does",
        ),
        (&[("REFUSE", r#"{"reason":"not clear"}"#)], "refused: not clear"),
        (&[("REFUSE", r#"{"reason":"a\u001b[31m token=hunter2"}"#)], "refused: a token=[redacted]"),
        (&[("REFUSE", "{}")], "fault: it refuses without one `reason`"),
        (
            &[("REFUSE", r#"{"reason":"x"}"#), ("restart_service", WEBAPP)],
            "fault: it refuses and calls functions as well",
        ),
        (
            &[("restart_service", WEBAPP), ("REFUSE", r#"{"reason":"x"}"#)],
            "fault: it refuses and calls functions as well",
        ),
    ];
    for (calls, expected) in table {
        let answer = read(&calling(calls), &asked(Mode::Tools, "give webapp a kick"));
        assert_eq!(came(&answer), *expected);
        assert_eq!(answer.model.as_deref(), Some("m-1"));
        assert_eq!(answer.usage, Some(Usage { prompt_tokens: 7, completion_tokens: 3 }));
    }
}

#[test]
fn documents_that_are_written() {
    let one = r#"{"calls":[{"tool":"restart_service","arguments":{"service":"webapp"}}]}"#;
    for (content, expected) in [
        (one.to_owned(), r#"restart_service {"service":"webapp"}"#),
        (format!("\n{one}\n"), r#"restart_service {"service":"webapp"}"#),
        (r#"{"refuse":"no"}"#.to_owned(), "refused: no"),
        (format!("Sure, here it is: {one}"), "fault: it is no JSON at line 1, column 1"),
        (format!("{one}\nAnything else?"), "fault: something follows the JSON document"),
        (format!("```json\n{one}\n```"), "fault: it is no JSON at line 1, column 1"),
        (one[..40].to_owned(), "fault: the JSON breaks off at line 1, column 40"),
        (String::new(), "fault: the JSON breaks off at line 1, column 0"),
        ("null".to_owned(), "fault: it is no object"),
        ("{}".to_owned(), "fault: it must have either a list `calls` or a text `refuse`"),
        (
            r#"{"calls":[],"refuse":"x"}"#.to_owned(),
            "fault: it must have either a list `calls` or a text `refuse`",
        ),
        (r#"{"calls":{}}"#.to_owned(), "fault: it must have either a list `calls` or a text `refuse`"),
        (r#"{"refuse":true}"#.to_owned(), "fault: it must have either a list `calls` or a text `refuse`"),
        (r#"{"calls":[]}"#.to_owned(), "fault: it has 0 calls, and 1 to 2 may be"),
        (
            r#"{"calls":[{"tool":"restart_service","arguments":{"service":"webapp"},"approved":true}]}"#
                .to_owned(),
            CALL,
        ),
        (r#"{"calls":[["restart_service",{"service":"webapp"}]]}"#.to_owned(), CALL),
        (r#"{"calls":[{"tool":"restart_service"}]}"#.to_owned(), CALL),
        (r#"{"calls":[],"roles":["sre"]}"#.to_owned(), "fault: it has the unknown member `roles`"),
    ] {
        let message = json!({"role": "assistant", "content": content});
        let answer = read(&completion(&message), &asked(Mode::JsonSchema, "give webapp a kick"));
        assert_eq!(came(&answer), expected, "{content}");
    }
}

#[test]
fn servers_that_answer_something_else() {
    let choice = json!({"message": {"content": "x"}});
    for (bytes, expected) in [
        (b"".to_vec(), "protocol: it is no completion as the protocol has it"),
        (b"<html>".to_vec(), "protocol: it is no completion as the protocol has it"),
        (b"{\"choices\":[".to_vec(), "protocol: it is no completion as the protocol has it"),
        (b"\xff\xfe".to_vec(), "protocol: it is no completion as the protocol has it"),
        (vec![b' '; MAX_ANSWER + 1], "protocol: it is too large"),
        (json!({"choices": []}).to_string().into_bytes(), "protocol: it has 0 choices instead of one"),
        (
            json!({"choices": [choice, choice]}).to_string().into_bytes(),
            "protocol: it has 2 choices instead of one",
        ),
        (completion(&json!({"content": null, "refusal": "I cannot"})), "refused: I cannot"),
        (completion(&json!({"content": "I restarted it."})), "fault: it calls no function"),
        (
            json!({"choices": [{"message": {}, "finish_reason": "length"}]}).to_string().into_bytes(),
            "fault: it was cut off, since it reached the limit of tokens",
        ),
        (
            json!({"choices": [{"message": {}, "finish_reason": "content_filter"}]}).to_string().into_bytes(),
            "refused: a content filter stopped the answer",
        ),
    ] {
        assert_eq!(came(&read(&bytes, &asked(Mode::Tools, "give webapp a kick"))), expected);
    }
}

#[test]
fn what_is_named_twice_or_half_is_no_plan() {
    let both = asked(Mode::Tools, "kick webapp and payments");
    let half = read(&calling(&[("restart_service", WEBAPP)]), &both);
    assert_eq!(came(&half), "fault: the request names `payments`, and nothing is planned for it");
}

/// The slowest shapes: deep, wide, repeated, near the limits.
#[test]
fn a_megabyte_of_anything_is_refused_soon() {
    let mode = [Mode::Tools, Mode::JsonSchema];
    let deep = "[".repeat(100_000);
    let wide = format!("{{{}}}", (0..20_000).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(","));
    let shapes = [
        vec![b'{'; 1 << 20],
        completion(&json!({"content": deep})),
        completion(&json!({"content": wide})),
        calling(&vec![("restart_service", WEBAPP); 2000]),
        calling(&[("restart_service", &wide[..16_000])]),
        completion(&json!({"content": "a".repeat(250_000)})),
    ];
    for (bytes, mode) in shapes.iter().flat_map(|shape| mode.map(|mode| (shape, mode))) {
        let asked = asked(mode, "kick webapp");
        let begun = Instant::now();
        let answer = read(bytes, &asked);
        // Unoptimized, on a machine that is busy: the fuzzer measures it optimized.
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert!(answer.proposal.is_err());
    }
}

/// Names that exist, and words that are none; some are parts of others.
const WORDS: [&str; 8] = ["webapp", "payments", "web", "payments-api", "kick", "the", "3", "prod"];

proptest! {
    /// Whatever a model calls: what is planned was said, and every name that exists and was said is in it.
    #[test]
    fn no_target_is_invented_and_none_is_left_out(
        sentence in prop::collection::vec(prop::sample::select(&WORDS[..]), 1..6),
        called in prop::collection::vec((prop::sample::select(&WORDS[..]), prop::option::of(prop::sample::select(&WORDS[..]))), 0..4),
    ) {
        let text = sentence.join(" ");
        let arguments: Vec<String> = called
            .iter()
            .map(|(service, namespace)| match namespace {
                Some(namespace) => json!({"service": service, "namespace": namespace}).to_string(),
                None => json!({"service": service}).to_string(),
            })
            .collect();
        let calls: Vec<(&str, &str)> = arguments.iter().map(|text| ("restart_service", text.as_str())).collect();
        let answer = read(&calling(&calls), &asked(Mode::Tools, &text));
        if let Ok(Proposal::Calls(calls)) = answer.proposal {
            let values: Vec<&str> =
                calls.iter().flat_map(|call| call.arguments.values()).map(|value| value.as_str().unwrap()).collect();
            prop_assert!(values.iter().all(|value| sentence.contains(value)), "{text}: {values:?}");
            for name in ["webapp", "payments"] {
                prop_assert!(!sentence.contains(&name) || values.contains(&name), "{text}: {values:?}");
            }
        }
    }
}
