//! The tools with a Prometheus that answers as the test says; `tests/e2e` has them with a real one.

use super::{GetMetrics, QueryMetrics};
use crate::kubernetes::testing::{World, webapp};
use crate::prometheus::testing::{asked_for, nothing, number, scripted, success};
use crate::tools::kubernetes::frozen;
use crate::upstream::testing::{Answer, Asked};
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error};
use astradesk_runtime::port::Tool as _;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

type Script = fn(&Asked) -> Answer;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(8)
}

/// A service without CPU figures, of which nobody has asked anything lately.
fn partly(asked: &Asked) -> Answer {
    let query = asked_for(asked, "query");
    let about = r#"{namespace="default",service="webapp"}[3600s]"#;
    match () {
        () if query.contains("container_cpu") => {
            Answer::Text(400, r#"{"status":"error","error":"too many"}"#.into())
        }
        () if query.contains("histogram_quantile") => number("NaN"),
        () if query.contains("working_set_bytes") => nothing(),
        () if query.contains("5..") => number("0.004"),
        () if query.contains(about) => number("12.5"),
        () => number("0"),
    }
}

#[tokio::test]
async fn a_query_that_fails_or_finds_nothing_does_not_hide_the_others() {
    let world = World::start(vec![webapp("Deployment", 1, &json!({}), &json!({}))]).await;
    world.healthy(Kind::Deployment).await;
    let (server, prometheus) = scripted(partly).await;
    let tool = GetMetrics::new(prometheus, world.cluster.clone()).unwrap();
    let call = frozen(&tool, &json!({"service": "webapp", "window": "1h"})).await;
    assert_eq!(call.targets[0].to_string(), "kubernetes/sandbox/default/deployment/webapp");
    let output = tool.read(&call, soon()).await.unwrap();
    assert_eq!(
        output["summary"],
        "deployment/webapp in namespace `default`, the last 1h: rate 12.5/s, error_rate 0.4 %, restarts 0; none: p50, p95, \
         p99, memory, memory_saturation; not read: cpu, cpu_saturation"
    );
    let row =
        |name: &str| output["metrics"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
    assert_eq!((&row("memory")["value"], &row("memory")["told"]), (&Value::Null, &json!("none")), "no zero");
    assert_eq!((&row("restarts")["value"], &row("restarts")["note"]), (&json!(0.0), &Value::Null));
    assert_eq!(row("cpu")["code"], "upstream.rejected");
    assert!(output["left_out"][0].as_str().unwrap().contains("too many"), "{output:#}");
    assert_eq!(server.asked().len(), 10);
    let times: Vec<String> = server.asked().iter().map(|asked| asked_for(asked, "time")).collect();
    assert!(times.iter().all(|time| *time == times[0]), "{times:?}");

    let call = frozen(&tool, &json!({"service": "nothing"})).await;
    assert_eq!(tool.read(&call, soon()).await.unwrap_err().code, Code::KubernetesNotFound);
    let (_server, prometheus) = scripted(|_| Answer::Text(401, "who?".into())).await;
    let tool = GetMetrics::new(prometheus, world.cluster.clone()).unwrap();
    let call = frozen(&tool, &json!({"service": "webapp"})).await;
    assert_eq!(tool.read(&call, soon()).await.unwrap_err().code, Code::UpstreamForbidden);
}

async fn query(script: impl FnMut(&Asked) -> Answer + Send + 'static, input: &Value) -> Result<Value, Error> {
    let (_server, prometheus) = scripted(script).await;
    let tool = QueryMetrics::new(prometheus).unwrap();
    let call = frozen(&tool, input).await;
    assert_eq!(call.targets[0].to_string(), "external/prometheus/server/main");
    tool.query(&call, soon()).await
}

#[tokio::test]
async fn every_way_not_to_answer_has_its_code() {
    let error = |status: u16, kind: &str| {
        Answer::Json(status, json!({"status": "error", "errorType": kind, "error": kind}))
    };
    let cases: Vec<(&str, Script, Code)> = vec![
        ("401", |_| Answer::Text(401, String::new()), Code::UpstreamForbidden),
        ("403", |_| Answer::Text(403, String::new()), Code::UpstreamForbidden),
        ("404", |_| Answer::Text(404, String::new()), Code::UpstreamNotFound),
        ("a redirect", |_| Answer::Redirect("http://127.0.0.1:1/"), Code::UpstreamAnswerInvalid),
        ("500", |_| Answer::Text(500, String::new()), Code::UpstreamFailed),
        ("a broken connection", |_| Answer::Break, Code::UpstreamUnreachable),
        ("silence", |_| Answer::Silence, Code::UpstreamUnreachable),
        ("a page", |_| Answer::Text(200, "<html>".into()), Code::UpstreamAnswerInvalid),
        ("another API", |_| Answer::Json(200, json!({"items": []})), Code::UpstreamAnswerInvalid),
        ("nothing", |_| Answer::Text(200, String::new()), Code::UpstreamAnswerInvalid),
        ("a huge one", |_| Answer::Text(200, " ".repeat(100 << 10)), Code::UpstreamAnswerInvalid),
        (
            "text",
            |_| success(&json!({"resultType": "string", "result": [1, "x"]})),
            Code::UpstreamAnswerInvalid,
        ),
    ];
    for (what, script, code) in cases {
        let error = query(script, &json!({"promql": "up"})).await.unwrap_err();
        assert_eq!(error.code, code, "{what}: {error}");
    }
    for (status, kind) in [(400, "bad_data"), (422, "execution"), (200, "odd")] {
        let refused = query(move |_| error(status, kind), &json!({"promql": "up"})).await.unwrap_err();
        assert!(refused.code == Code::UpstreamRejected && refused.message.contains(kind), "{refused:?}");
    }
}

#[tokio::test]
async fn what_is_answered_is_limited_and_what_is_left_out_is_told() {
    let item =
        |n: u32| json!({"metric": {"__name__": "up", "n": n.to_string()}, "values": [[1, "1"], [2, "NaN"]]});
    let many =
        move |_: &Asked| success(&json!({"resultType": "matrix", "result": [item(0), item(1), item(2)]}));
    let over = json!({"promql": "up", "window": "1h", "chart": true});
    let output = query(many, &over).await.unwrap();
    assert_eq!(output["summary"], "2 series with 4 numbers; left out: all series but the first 2");
    assert_eq!(output["series"][1]["points"], json!([[1.0, 1.0], [2.0, "NaN"]]));
    assert_eq!(output["series"][1]["told"], "up{n=\"1\"}");
    let svg = output["content"][0]["resource"]["text"].as_str().unwrap();
    assert!(svg.contains("<polyline") && svg.contains("up{n=&quot;1&quot;}"), "{svg}");

    let one = query(|_| number("3"), &json!({"promql": "count(up)"})).await.unwrap();
    assert_eq!((&one["summary"], one.get("content")), (&json!("{} 3"), None));
    assert_eq!(
        query(|_| nothing(), &json!({"promql": "x"})).await.unwrap()["summary"],
        "the query finds no series"
    );
    let warned = |_: &Asked| {
        let data = json!({"resultType": "vector", "result": []});
        Answer::Json(200, json!({"status": "success", "data": data, "warnings": ["partial\u{1b}[31m"]}))
    };
    let said = query(warned, &json!({"promql": "x"})).await.unwrap()["said"][0].clone();
    assert!(
        said.as_str().unwrap().starts_with("partial") && !said.as_str().unwrap().contains('\u{1b}'),
        "{said}"
    );
}

#[tokio::test]
async fn a_time_is_divided_and_never_into_too_many_parts() {
    let (server, prometheus) = scripted(|_| nothing()).await;
    let tool = QueryMetrics::new(prometheus).unwrap();
    for (input, expected) in [
        (json!({"promql": "up", "window": "1h"}), Ok("60.000")),
        (json!({"promql": "up", "window": "5s"}), Ok("1.000")),
        (json!({"promql": "up", "window": "1h", "step": "5m"}), Ok("300.000")),
        (json!({"promql": "up", "window": "999s", "step": "1s"}), Ok("1.000")),
        (json!({"promql": "up", "window": "1000s", "step": "1s"}), Err("1001 numbers")),
        (json!({"promql": "up", "step": "1s"}), Err("`window` only")),
        (json!({"promql": "up", "chart": true}), Err("`window` only")),
    ] {
        let arguments = serde_json::from_value(input.clone()).unwrap();
        match (tool.targets(&arguments).await, expected) {
            (Ok(_), Ok(step)) => {
                tool.query(&frozen(&tool, &input).await, soon()).await.unwrap();
                assert_eq!(asked_for(server.asked().last().unwrap(), "step"), step, "{input}");
            }
            (Err(error), Err(why)) => {
                assert_eq!(error.code, Code::ToolArgumentsInvalid);
                assert!(error.message.contains(why), "{input}: {error}");
            }
            (done, _) => panic!("{input}: {done:?}"),
        }
    }
}
