//! Checks with a Prometheus that answers as the test says. What began a minute ago is known at once.

use super::Checks;
use crate::kubernetes::Cluster;
use crate::prometheus::Prometheus;
use crate::prometheus::testing::{asked_for, nothing, number, scripted, series, success};
use crate::tools::kubernetes::{ScaleService, unreachable};
use crate::upstream::testing::{Answer, Asked};
use astradesk_core::{Call, Code, Effect, Error, FrozenCall, Principal, Timestamp, ToolName};
use astradesk_runtime::port::{Clock as _, Fault, Progress, StepContext, SystemClock};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn step(check: &str) -> StepContext {
    let call = Call {
        tool: ToolName::parse("restart_service").unwrap(),
        arguments: serde_json::from_value(json!({"service": "webapp", "check": check})).unwrap(),
    };
    let target = "kubernetes/nowhere/default/deployment/webapp".parse().unwrap();
    StepContext {
        run: SystemClock.run_id(),
        step: 0,
        call: FrozenCall::new(call, "1".into(), Effect::Write, vec![target]),
        principal: Principal {
            subject: "ada".into(),
            issuer: "test".into(),
            roles: std::collections::BTreeSet::new(),
            actor: None,
        },
        intent: Value::Null,
        undoes: None,
        repeated: false,
        deadline: Instant::now() + Duration::from_secs(20),
        progress: Progress::default(),
    }
}

type Script = fn(&Asked) -> Answer;
/// How it ended, with what code, and what was seen of Prometheus; nothing: it held.
type Ended = Option<(&'static str, Code, Option<Value>)>;

const CHECK: &str = "restarts < 2 for 6s";

async fn confirm(prometheus: &Prometheus, step: &StepContext, seconds_ago: i64) -> Result<Value, Fault> {
    let done = Timestamp::from_second(SystemClock.now().as_second() - seconds_ago).unwrap();
    let checks = Checks::from(Some(prometheus.clone()));
    checks.confirm(&unreachable(), step, done, json!({"summary": "restarted"})).await
}

fn code(ended: Result<Value, Fault>) -> (&'static str, Code, Option<Value>) {
    match ended {
        Ok(output) => panic!("{output:#}"),
        Err(Fault::Failed(Error { code, details, .. })) => ("failed", code, details.get("seen").cloned()),
        Err(Fault::Unknown(Error { code, details, .. })) => ("unknown", code, details.get("seen").cloned()),
        Err(Fault::Moved(error)) => panic!("{error}"),
    }
}

#[tokio::test]
async fn what_was_measured_decides() {
    let (held, broken, unmeasured) =
        (None, Some(("failed", Code::MetricsCheckFailed, None)), |seen: Option<&str>| {
            Some(("unknown", Code::MetricsNotMeasured, seen.map(Value::from)))
        });
    let cases: Vec<(&str, Script, Ended)> = vec![
        ("all is well", |asked| series(asked, |_| Some(1.0)), held),
        ("all is not", |asked| series(asked, |_| Some(2.0)), broken.clone()),
        (
            "one moment was not",
            |asked| {
                let start = asked_for(asked, "start").parse::<f64>().unwrap();
                series(asked, move |at| Some(if at > start + 0.5 && at < start + 1.5 { 3.0 } else { 0.0 }))
            },
            broken.clone(),
        ),
        ("infinitely many", |asked| series(asked, |_| Some(f64::INFINITY)), broken),
        ("no number", |asked| series(asked, |_| Some(f64::NAN)), unmeasured(None)),
        ("no series", |_| success(&json!({"resultType": "matrix", "result": []})), unmeasured(None)),
        (
            "the end is missing",
            |asked| {
                let end = asked_for(asked, "end").parse::<f64>().unwrap();
                series(asked, move |at| (at < end - 0.5).then_some(1.0))
            },
            unmeasured(None),
        ),
        (
            "several series",
            |_| {
                let one = json!({"metric": {}, "values": [[1, "1"]]});
                success(&json!({"resultType": "matrix", "result": [one, one]}))
            },
            unmeasured(Some("upstream.answer_invalid")),
        ),
        ("forbidden", |_| Answer::Text(403, "no".into()), unmeasured(Some("upstream.forbidden"))),
        ("silent", |_| Answer::Silence, unmeasured(Some("upstream.unreachable"))),
    ];
    for (what, script, expected) in cases {
        let (_server, prometheus) = scripted(script).await;
        let ended = confirm(&prometheus, &step(CHECK), 60).await;
        if expected.is_some() {
            assert_eq!(Some(code(ended)), expected, "{what}");
            continue;
        }
        let output = ended.unwrap();
        assert_eq!(output["summary"], "restarted; `restarts < 2 for 6s` held: 1 at worst", "{what}");
        let check = &output["check"];
        assert_eq!((&check["worst"], &check["metric"]), (&json!(1.0), &json!("restarts")));
        assert_eq!(check["points"].as_array().unwrap().len(), 5, "{output:#}");
    }
}

#[tokio::test]
async fn only_what_looks_back_on_nothing_before_the_change_is_asked_for() {
    let (server, prometheus) = scripted(|asked| series(asked, |_| Some(0.0))).await;
    let done = SystemClock.now().as_second() - 60;
    confirm(&prometheus, &step(CHECK), 60).await.unwrap();
    let asked = server.asked().remove(0);
    assert_eq!(asked.what, "GET /api/v1/query_range");
    let number = |name: &str| asked_for(&asked, name).parse::<f64>().unwrap();
    assert!(
        (number("start") - (done + 2) as f64).abs() < 1.1 && (number("end") - (done + 6) as f64).abs() < 1.1
    );
    assert_eq!((number("end") - number("start"), number("step")), (4.0, 1.0));
    assert!(asked_for(&asked, "query").contains("[2s]"), "{asked:?}");
    assert!(asked_for(&asked, "query").contains(r#"namespace="default",pod=~"webapp-"#), "{asked:?}");
    assert!(asked_for(&asked, "timeout").ends_with("ms") && asked_for(&asked, "limit") == "3");
}

#[tokio::test]
async fn what_breaks_later_is_seen_when_it_does_and_an_outage_in_between_is_not_held_against_it() {
    let begun = SystemClock.now().as_second() as f64;
    let mut times = 0;
    let (server, prometheus) = scripted(move |asked| {
        times += 1;
        match times {
            1 => Answer::Text(403, "for a moment".into()),
            _ => series(asked, move |at| Some(if at > begun + 4.5 { 9.0 } else { 0.0 })),
        }
    })
    .await;
    let ended = confirm(&prometheus, &step("restarts < 2 for 10s"), 0).await;
    assert_eq!(code(ended), ("failed", Code::MetricsCheckFailed, None));
    assert!(server.asked().len() >= 3, "{:?}", server.asked());
}

#[tokio::test]
async fn nothing_is_begun_that_could_not_be_checked() {
    let cases: Vec<(Script, &str, Option<Code>)> = vec![
        (|_| number("1"), CHECK, None),
        (|_| number("9"), CHECK, None),
        (|_| number("NaN"), CHECK, None),
        (|_| nothing(), CHECK, Some(Code::MetricsNoData)),
        (|_| Answer::Text(403, "no".into()), CHECK, Some(Code::UpstreamForbidden)),
        (|_| Answer::Break, CHECK, Some(Code::UpstreamUnreachable)),
        (|_| number("1"), "restarts < 2 for 1s", Some(Code::ToolArgumentsInvalid)),
        (|_| number("1"), "restart < 2 for 6s", Some(Code::ToolArgumentsInvalid)),
    ];
    for (script, check, expected) in cases {
        let (_server, prometheus) = scripted(script).await;
        let checks = Checks::from(Some(prometheus));
        let ready = checks.ready(&step(check).call).await;
        assert_eq!(ready.err().map(|error| error.code), expected, "{check}");
        let arguments = step(check).call.arguments;
        assert_eq!(
            checks.examine(&arguments).is_err(),
            expected == Some(Code::ToolArgumentsInvalid),
            "{check}"
        );
    }
}

#[tokio::test]
async fn without_prometheus_there_is_no_such_argument_and_with_it_there_is_more_time() {
    let cluster: Cluster = unreachable();
    let (_server, prometheus) = scripted(|_| nothing()).await;
    let tool = Arc::new(ScaleService::new(cluster.clone(), crate::Bounds::default()).unwrap());
    let without = Checks::default().on(&cluster, tool.clone());
    assert!(without.spec().input_schema["properties"].get("check").is_none());
    let arguments = step("restarts < 2 for 5m").call.arguments;
    assert_eq!(without.timeout(&arguments), Duration::from_mins(10));

    let checks = Checks::from(Some(prometheus));
    let with = checks.on(&cluster, tool);
    let description = with.spec().input_schema["properties"]["check"]["description"].as_str().unwrap();
    assert!(description.contains("error_rate, p50"), "{description}");
    assert_eq!(with.timeout(&arguments), Duration::from_mins(15) + super::MARGIN);
    let mut step = step("restarts < 2 for 5s");
    assert_eq!(checks.before(&step).deadline, step.deadline - Duration::from_secs(5) - super::MARGIN);
    step.undoes = Some(json!({}));
    assert_eq!(checks.before(&step).deadline, step.deadline);
    let output = checks.confirm(&cluster, &step, SystemClock.now(), json!({"undone": true})).await.unwrap();
    assert_eq!(output, json!({"undone": true}));
}
