//! The answer of a language model: whatever it is, it is a plan that says only what was said, or refused, in time.
#![no_main]

use astradesk_core::tool::{Effect, Form, Grammar, Slot};
use astradesk_core::{ToolName, ToolSpec};
use astradesk_llm::Mode;
use astradesk_llm::answer::{Asked, Proposal, read};
use astradesk_llm::offer::{Known, Offer};
use astradesk_llm::said::Said;
use libfuzzer_sys::fuzz_target;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// What was said.
const SENTENCE: &str = "give webapp 3 kicks within 5 minutes";
/// What one answer may take.
const LIMIT: Duration = Duration::from_millis(10);

static ASKED: LazyLock<[Asked; 2]> = LazyLock::new(|| [Mode::Tools, Mode::JsonSchema].map(asked));

fuzz_target!(|data: &[u8]| {
    for asked in &*ASKED {
        let begun = worked();
        let answer = read(data, asked);
        let took = worked() - begun;
        assert!(took < LIMIT, "{took:?} for {} bytes", data.len());
        if let Ok(Proposal::Calls(calls)) = answer.proposal {
            assert!((1..=2).contains(&calls.len()));
            for call in &calls {
                assert!(matches!(call.tool.as_str(), "restart_service" | "get_service_status"));
                // In a namespace that was said, only the tool knows which names there are.
                let elsewhere = call.arguments.contains_key("namespace");
                assert!(elsewhere || call.arguments.get("service") == Some(&Value::from("webapp")));
                assert!(call.arguments.values().all(was_said), "{:?}", call.arguments);
            }
        }
    }
});

/// How long this thread has worked: the time of others, on a machine that is busy, does not count.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Whether the sentence has it, told in another way than the planner tells it.
fn was_said(value: &Value) -> bool {
    match value {
        Value::String(text) => {
            SENTENCE.contains(&text.to_lowercase()) || matches!(text.as_str(), "5m" | "300s")
        }
        Value::Number(number) => number.as_f64().is_some_and(|number| number == 3.0 || number == 5.0),
        Value::Bool(consents) => !consents,
        _ => false,
    }
}

fn asked(mode: Mode) -> Asked {
    let names = ["restart_service", "get_service_status"];
    let offers = names.map(|name| {
        let known = Known { said: vec!["webapp".to_owned()], all_permitted: true };
        Offer::new(Arc::new(spec(name)), [("service".to_owned(), known)].into()).expect("it has no secret")
    });
    let said = Said::of(SENTENCE);
    Asked { mode, said, offers: offers.into(), max_steps: 2 }
}

fn spec(name: &str) -> ToolSpec {
    let slot = |argument: &str, form: Form| Slot {
        argument: argument.to_owned(),
        form,
        required: false,
        locates: false,
    };
    ToolSpec {
        name: ToolName::parse(name).expect("it is a name"),
        version: "1".to_owned(),
        description: String::new(),
        effect: Some(Effect::Write),
        input_schema: json!({
            "type": "object", "additionalProperties": false, "required": ["service"],
            "properties": {
                "service": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"},
                "namespace": {"type": "string", "maxLength": 63},
                "timeout": {"type": "string", "pattern": "^[0-9]+[smh]$"},
                "accept_downtime": {"type": "boolean"},
                "replicas": {"type": "integer"},
            },
        })
        .into(),
        timeout: Duration::from_secs(1),
        grammar: Grammar {
            slots: vec![
                slot("service", Form::Name),
                slot("accept_downtime", Form::Flag(vec!["accept downtime".to_owned()])),
            ],
            ..Grammar::default()
        },
    }
}
