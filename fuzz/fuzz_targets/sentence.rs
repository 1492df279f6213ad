//! A sentence: whatever it is, it becomes calls that say only what was said, or it is refused, in time.
#![no_main]

use astradesk_core::tool::{Effect, Form, Grammar, Measure, Slot};
use astradesk_core::{Result, ToolName, ToolSpec};
use astradesk_runtime::planner::{Aliases, KeywordPlanner};
use astradesk_runtime::port::{Names, Planner as _};
use async_trait::async_trait;
use libfuzzer_sys::fuzz_target;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What one sentence may take.
const LIMIT: Duration = Duration::from_millis(10);

static PLANNER: LazyLock<KeywordPlanner> = LazyLock::new(|| {
    let aliases = [("payments".to_owned(), "payments-api".to_owned())].into();
    KeywordPlanner::new(Arc::new(Aliases::new(&aliases).expect("they are valid")))
});
static TOOLS: LazyLock<[Arc<ToolSpec>; 3]> = LazyLock::new(tools);

fuzz_target!(|sentence: &str| {
    let begun = worked();
    let mut planning = pin!(PLANNER.plan(sentence, &*TOOLS, &Services));
    let Poll::Ready(planned) = planning.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("nobody is asked who could take time");
    };
    let took = worked() - begun;
    assert!(took < LIMIT, "{took:?} for {} bytes", sentence.len());
    let said = sentence.to_lowercase();
    for call in planned.map(|plan| plan.calls).unwrap_or_default() {
        for (argument, value) in &call.arguments {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let was_said = match argument.as_str() {
                "accept_downtime" => said.contains("downtime"),
                // The digits are those of a number without its leading zeros.
                "timeout" | "replicas" => said.contains(text.trim_end_matches(char::is_alphabetic)),
                "service" => said.contains(&text) || (text == "payments-api" && said.contains("payments")),
                _ => said.contains(&text),
            };
            assert!(was_said, "{sentence:?}: {argument}={value}");
        }
    }
});

/// How long this thread has worked: the time of others, on a machine that is busy, does not count.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

struct Services;

#[async_trait]
impl Names for Services {
    async fn candidates(&self, _: &ToolName, _: &str) -> Result<Option<Vec<String>>> {
        Ok(Some(["auth", "payments-api", "webapp"].map(str::to_owned).to_vec()))
    }

    async fn permitted(&self, _: &ToolName, _: &str, names: &[String]) -> Vec<String> {
        names.to_vec()
    }
}

fn tools() -> [Arc<ToolSpec>; 3] {
    let list = |phrases: &str| phrases.split(", ").map(str::to_owned).collect::<Vec<_>>();
    let slot = |argument: &str, form: Form, required: bool, locates: bool| Slot {
        argument: argument.to_owned(),
        form,
        required,
        locates,
    };
    let value =
        |of: Measure, after: &str, before: Vec<String>| Form::Value { of, after: list(after), before };
    let namespace =
        value(Measure::Word, "in namespace, namespace, in the * namespace, w przestrzeni", Vec::new());
    let where_ = [slot("service", Form::Name, true, false), slot("namespace", namespace, false, true)];
    let tool = |name: &str, effect: Effect, phrases: &str, nouns: &str, slots: Vec<Slot>| {
        Arc::new(ToolSpec {
            name: ToolName::parse(name).expect("it is a name"),
            version: "1".to_owned(),
            description: String::new(),
            effect: Some(effect),
            input_schema: json!({}).into(),
            timeout: Duration::from_secs(1),
            grammar: Grammar {
                phrases: list(phrases),
                nouns: list(nouns),
                slots: [where_.to_vec(), slots].concat(),
                fillers: list("service, usługę"),
            },
        })
    };
    let timeout =
        slot("timeout", value(Measure::Duration, "timeout, within, w ciągu", Vec::new()), false, false);
    let downtime = slot("accept_downtime", Form::Flag(list("accept downtime, with downtime")), false, false);
    let replicas =
        slot("replicas", value(Measure::Number, "to, do, na", list("replicas, repliki")), true, false);
    [
        tool(
            "restart",
            Effect::Write,
            "restart, uruchom ponownie, zrestartuj",
            "restart",
            vec![timeout, downtime],
        ),
        tool("scale", Effect::Write, "scale, przeskaluj", "scale", vec![replicas]),
        tool("status", Effect::Read, "status, check, sprawdź, how is, jak się ma", "status", Vec::new()),
    ]
}
