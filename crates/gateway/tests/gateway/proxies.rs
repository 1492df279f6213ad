//! What is on this machine is asked without the proxy that the environment names.

use crate::support::receiver::{Receiver, SECRET};
use crate::support::signer::{Signer, TestIssuer};
use crate::support::{Setup, start_with};
use astradesk_gateway::Webhook;
use astradesk_gateway::auth::Issuer;
use astradesk_runtime::port::Clock as _;
use serde_json::json;
use std::net::TcpListener;
use std::process::Command;

/// The environment cannot be changed within a process that has begun, so the test is another process.
#[test]
fn no_proxy_learns_what_stays_on_this_machine() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "proxies::behind_a_proxy", "--ignored", "--nocapture"]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        test.env(name, &address);
    }
    let output = test.env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert!(proxy.accept().is_err(), "the proxy was asked: {said}");
}

#[tokio::test]
#[ignore = "the test above runs it, behind a proxy"]
async fn behind_a_proxy() {
    let receiver = Receiver::start(&[]).await;
    let key = Signer::ed();
    let issuer = TestIssuer::start(&[key.jwk("1")]).await;
    let harness = start_with(Setup {
        issuers: vec![Issuer::new(&issuer.url, "astradesk")],
        webhooks: vec![Webhook::new("chat", &receiver.url, SECRET).unwrap()],
        ..Setup::default()
    })
    .await;
    let claims = json!({
        "iss": issuer.url, "aud": "astradesk", "sub": "anna", "exp": harness.clock.now().as_second() + 600,
        "roles": ["sre"],
    });
    let body = json!({"arguments": {"service": "lead-web"}});
    let asked = harness.post("/v1/tools/restart_thing/runs", &key.sign("1", &claims), body).await;
    assert_eq!(asked.status, 202, "{}", asked.text);
    receiver.told(1).await;
}
