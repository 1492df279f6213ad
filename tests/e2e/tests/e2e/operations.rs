//! The operator's tools beside the restart, on both clusters.

use astradesk_e2e::{Gateway, Place, Settings, deployment, on_both};
use serde_json::json;

on_both!(logs_of_every_pod);

async fn logs_of_every_pod(place: &Place) {
    let webapp = deployment("webapp", 2).logs("starting\nGET /a\ntoken=abc123\nGET /b");
    place.run(&[&webapp]).await;
    let gateway = Gateway::start(place, Settings::of(place, &["webapp"])).await;
    let reply = gateway.client.say("show the last 2 lines of webapp logs").await;
    reply.expect_success();
    let output = &reply.body["run"]["steps"][0]["output"];
    assert_eq!(output["logs"].as_array().map(Vec::len), Some(2), "{:#}", reply.body);
    for log in output["logs"].as_array().unwrap() {
        assert_eq!(log["lines"], json!(["token=[redacted]", "GET /b"]), "{log:#}");
    }
    let arguments = json!({"service": "webapp", "matching": "^GET", "since": "1h"});
    let matching = gateway.client.call("get_service_logs", &arguments).await;
    matching.expect_success();
    assert_eq!(matching.body["run"]["steps"][0]["output"]["lines"], 4, "{:#}", matching.body);

    let wrong = json!({"service": "webapp", "matching": "("});
    gateway.client.call("get_service_logs", &wrong).await.expect(422, "tool.arguments_invalid");
    let missing = gateway.client.call("get_service_logs", &json!({"service": "nothing"})).await;
    missing.expect(404, "kubernetes.not_found");
    assert!(gateway.stop().await);
}
