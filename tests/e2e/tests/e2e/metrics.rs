//! Metrics, and what must be so of them after a change, with a real Prometheus that scrapes what the test pushes.

use crate::once::taken_over;
use astradesk_core::Timestamp;
use astradesk_e2e::metrics::Monitoring;
use astradesk_e2e::observer::{Kind, mark_of};
use astradesk_e2e::{Client, Gateway, Place, Serve, Settings, deployment, on_both};
use serde_json::{Value, json};

on_both!(
    metrics_of_a_service,
    a_check_that_holds,
    a_check_that_breaks_is_undone,
    a_check_goes_on_in_another_process,
    a_check_outlives_a_killed_gateway,
    what_cannot_be_measured_is_not_begun,
);

const MAY_QUERY: &str = "permit (principal in Role::\"sre\", action == Action::\"query_metrics\", resource)\nwhen { \
                         resource.system == \"prometheus\" };\n";

fn output(body: &Value) -> &Value {
    &body["run"]["steps"][0]["output"]
}

fn metric<'a>(body: &'a Value, name: &str) -> &'a Value {
    let all = output(body)["metrics"].as_array().unwrap();
    all.iter().find(|metric| metric["name"] == name).unwrap()
}

async fn metrics_of_a_service(place: &Place) {
    let Some(monitoring) = Monitoring::find() else { return };
    place.run(&[&deployment("webapp", 1)]).await;
    let service = monitoring.service(place, "webapp").await;
    service.fail(5);
    let failing =
        format!("sum(rate(http_requests_total{{namespace=\"{}\",code=\"500\"}}[3s])) > 0", place.namespace);
    monitoring.until(&failing).await;
    let mut settings = Settings::of(place, &["webapp"]);
    settings.toml = monitoring.toml();
    let gateway = Gateway::start(place, settings.policies(MAY_QUERY)).await;
    let client = &gateway.client;

    let reply = client.say("show the metrics of webapp for the last 30 seconds").await;
    reply.expect_success();
    let value = |name: &str| metric(&reply.body, name)["value"].as_f64();
    assert!(value("rate").unwrap() > 0.0, "{:#}", reply.body);
    assert!((0.0..0.6).contains(&value("error_rate").unwrap()), "{:#}", reply.body);
    assert_eq!(output(&reply.body)["left_out"], json!([]), "Prometheus understands each: {:#}", reply.body);
    assert_eq!(metric(&reply.body, "cpu")["told"], "none", "there is no such series, and that is no zero");
    assert!(output(&reply.body)["summary"].as_str().unwrap().contains("none: p50"), "{:#}", reply.body);
    client.say("metrics of ledgerr").await.expect(422, "plan.unknown_target");
    let missing = client.call("get_metrics", &json!({"service": "nothing"})).await;
    missing.expect(404, "kubernetes.not_found");

    let query = format!("sum by (code) (rate(http_requests_total{{namespace=\"{}\"}}[5s]))", place.namespace);
    let arguments = json!({"promql": query, "window": "30s", "step": "1s", "chart": true});
    let reply = client.call("query_metrics", &arguments).await;
    reply.expect_success();
    let series = output(&reply.body)["series"].as_array().unwrap();
    assert_eq!(series.len(), 2, "{:#}", reply.body);
    assert!(series.iter().all(|series| !series["points"].as_array().unwrap().is_empty()));
    let chart = output(&reply.body)["content"][0]["resource"]["text"].as_str().unwrap();
    assert!(chart.starts_with("<svg ") && chart.contains("<polyline"), "{chart}");
    let wrong = client.call("query_metrics", &json!({"promql": "sum("})).await;
    wrong.expect(502, "upstream.rejected");
    assert!(wrong.body["detail"].as_str().unwrap().contains("parse error"), "{:#}", wrong.body);
    let many = client.call("query_metrics", &json!({"promql": "up", "window": "99d", "step": "1s"})).await;
    many.expect(422, "tool.arguments_invalid");
    let other = client.with_token(Some(&gateway.settings.token("bob", "viewer")));
    other.call("query_metrics", &json!({"promql": "up"})).await.expect(403, "policy.role_required");
    assert!(gateway.stop().await);
}

/// A gateway that knows Prometheus.
async fn gateway(place: &Place, monitoring: &Monitoring, names: &[&str]) -> Gateway {
    let settings = Settings { toml: monitoring.toml(), ..Settings::of(place, names) };
    Gateway::start(place, settings).await
}

async fn a_check_that_holds(place: &Place) {
    let Some(monitoring) = Monitoring::find() else { return };
    place.run(&[&deployment("webapp", 2), &deployment("api", 1)]).await;
    let _counting = (monitoring.service(place, "webapp").await, monitoring.service(place, "api").await);
    let gateway = gateway(place, &monitoring, &["webapp", "api"]).await;
    let arguments = json!({"service": "webapp", "check": "error_rate < 1% for 6s"});
    let request = json!({"arguments": arguments, "dry_run": true});
    let preview = gateway.client.ask("restart_service", &request).await;
    let changes = &preview.body["preview"]["steps"][0]["changes"];
    assert_eq!(changes["check"]["now"], "0 %", "{:#}", preview.body);

    let reply = gateway.client.call("restart_service", &arguments).await;
    reply.expect_success();
    let check = &output(&reply.body)["check"];
    assert_eq!(
        (&check["condition"], &check["worst"]),
        (&json!("error_rate < 1% for 6s"), &json!(0.0)),
        "{check:#}"
    );
    assert!(check["points"].as_array().unwrap().len() >= 2, "{check:#}");
    assert!(
        output(&reply.body)["summary"].as_str().unwrap().ends_with("held: 0 % at worst"),
        "{:#}",
        reply.body
    );
    let kept = gateway.client.run(reply.run()).await;
    assert_eq!(&kept["steps"][0]["output"]["check"], check, "what was measured is kept");

    let up = json!({"service": "api", "replicas": 2, "check": "rate > 1/s for 4s"});
    gateway.client.call("scale_service", &up).await.expect_success();
    assert!(gateway.stop().await);
}

async fn a_check_that_breaks_is_undone(place: &Place) {
    let Some(monitoring) = Monitoring::find() else { return };
    place.run(&[&deployment("webapp", 2)]).await;
    let service = monitoring.service(place, "webapp").await;
    let gateway = gateway(place, &monitoring, &["webapp"]).await;
    let client = &gateway.client;
    let before = place.get(Kind::Deployment, "webapp").await;
    let arguments = json!({"service": "webapp", "check": "error_rate < 10% for 40s", "on_failure": "undo"});
    let begun = client.ask("restart_service", &json!({"arguments": arguments})).await;
    let id = begun.run();
    // The rollout is complete, and the watch has begun.
    let watched =
        |event: &Value| event["data"]["message"].as_str().is_some_and(|m| m.starts_with("`error_rate"));
    client.event(id, watched).await;
    service.fail(5);
    let run = client.ended(id).await;
    place.note("run", &run);
    assert_eq!(
        (&run["state"], &run["error"]["code"]),
        (&json!("failed"), &json!("metrics.check_failed")),
        "{run:#}"
    );
    let error = &run["steps"][0]["error"];
    assert!(!error["details"]["check"]["points"].as_array().unwrap().is_empty(), "{error:#}");
    assert_eq!(
        (&run["steps"][1]["undoes"], &run["steps"][1]["step"]),
        (&json!(0), &json!("succeeded")),
        "{run:#}"
    );
    let after = place.get(Kind::Deployment, "webapp").await;
    assert_eq!(after["spec"]["template"], before["spec"]["template"]);
    assert_eq!(mark_of(&after), (Value::Null, Value::Null));
    let records = client.evidence().await;
    let finished =
        records.iter().find(|record| record["kind"] == "run.finished" && record["run"] == id).unwrap();
    assert!(finished.to_string().contains("metrics.check_failed"), "{finished:#}");
    assert!(gateway.stop().await);
}

/// Begins a restart whose check takes 12 seconds, and waits until it is watched.
async fn watched(client: &Client) -> String {
    let arguments = json!({"service": "webapp", "check": "error_rate < 1% for 12s", "accept_downtime": true});
    let begun = client.ask("restart_service", &json!({"arguments": arguments})).await;
    let id = begun.run().to_owned();
    let is_watched =
        |event: &Value| event["data"]["message"].as_str().is_some_and(|m| m.starts_with("`error_rate"));
    client.event(&id, is_watched).await;
    id
}

/// It held, for all of its time: from when the pod was ready, and not from when another process began, after `ended`.
fn held(run: &Value, ended: Timestamp) {
    assert_eq!(run["state"], "succeeded", "{run:#}");
    let (at, from) = (&run["updated_at"], &run["steps"][0]["output"]["check"]["from"]);
    let time = |at: &Value| at.as_str().unwrap().parse::<Timestamp>().unwrap();
    assert!(time(from) < ended, "{ended}: {run:#}");
    let took = time(at).duration_since(time(from)).as_secs();
    assert!((12..30).contains(&took), "{took} s: {run:#}");
}

async fn a_check_goes_on_in_another_process(place: &Place) {
    let Some(monitoring) = Monitoring::find() else { return };
    place.run(&[&deployment("webapp", 1)]).await;
    let _service = monitoring.service(place, "webapp").await;
    let first = gateway(place, &monitoring, &["webapp"]).await;
    let id = watched(&first.client).await;
    let settings = first.settings.clone();
    let ended = Timestamp::now();
    first.stop().await;
    let second = Gateway::start(place, settings).await;
    held(&second.client.ended(&id).await, ended);
    place.observer.look(|view| assert_eq!(view.marks(Kind::Deployment, "webapp").len(), 2, "restarted once"));
    assert!(second.stop().await);
}

async fn a_check_outlives_a_killed_gateway(place: &Place) {
    let Some(monitoring) = Monitoring::find() else { return };
    place.run(&[&deployment("webapp", 1)]).await;
    let _service = monitoring.service(place, "webapp").await;
    let settings = Settings { toml: monitoring.toml(), ..Settings::of(place, &["webapp"]) };
    let (first, second) = Serve::pair(place, &settings).await;
    let id = watched(&first.client).await;
    let ended = Timestamp::now();
    first.kill().await;
    let run = second.client.ended(&id).await;
    held(&run, ended);
    // Measured by the second one, the time before it began included.
    let points = run["steps"][0]["output"]["check"]["points"].as_array().unwrap();
    assert!(points.len() >= 3, "{run:#}");
    place.observer.look(|view| assert_eq!(view.marks(Kind::Deployment, "webapp").len(), 2, "restarted once"));
    taken_over(second.client.evidence_of(&id).await, 1);
}

async fn what_cannot_be_measured_is_not_begun(place: &Place) {
    let Some(monitoring) = Monitoring::find() else { return };
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let unchanged = place.state(&webapp).await.without_version();
    let gateway = gateway(place, &monitoring, &["webapp"]).await;
    let restart = async |gateway: &Gateway, check: &str| {
        gateway.client.call("restart_service", &json!({"service": "webapp", "check": check})).await
    };
    restart(&gateway, "error_rate < 1% for 6s").await.expect(409, "metrics.no_data");
    restart(&gateway, "error_rate < 1% for 1s").await.expect(422, "tool.arguments_invalid");
    restart(&gateway, "apdex < 1% for 6s").await.expect(422, "tool.arguments_invalid");
    assert!(gateway.stop().await);

    let toml = "[prometheus]\nbase_url = \"http://127.0.0.1:1\"\n".to_owned();
    let gateway = Gateway::start(place, Settings { toml, ..Settings::of(place, &["webapp"]) }).await;
    restart(&gateway, "error_rate < 1% for 1m").await.expect(503, "upstream.unreachable");
    assert!(gateway.stop().await);

    let gateway = Gateway::start(place, Settings::of(place, &["webapp"])).await;
    restart(&gateway, "error_rate < 1% for 1m").await.expect(422, "tool.arguments_invalid");
    assert!(gateway.stop().await);
    assert_eq!(place.state(&webapp).await.without_version(), unchanged);
}
