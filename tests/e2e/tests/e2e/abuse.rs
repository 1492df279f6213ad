//! What goes wrong around a restart: processes that end, clients that hang up, replies that are lost.

use crate::once::{Before, LIFE, taken_over};
use astradesk_e2e::fault::{Fault, Rule, Verb};
use astradesk_e2e::observer::{Kind, is_complete};
use astradesk_e2e::proxy::write_kubeconfig;
use astradesk_e2e::{Gateway, Place, Proxy, Serve, Settings, deployment, on_both};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

on_both!(
    a_process_that_ends_during_a_rollout,
    a_client_that_hangs_up,
    many_runs_on_one_target,
    a_reply_that_is_lost,
    a_cluster_that_cannot_be_reached,
);

/// Waits until a restart has reached the cluster.
async fn marked(place: &Place, name: &str) {
    place
        .observer
        .until("the restart has begun", |view| (view.marks(Kind::Deployment, name).len() > 1).then_some(()))
        .await;
}

/// SIGTERM ends it cleanly, SIGKILL at once: the next process takes the run up, and nothing is done twice.
async fn a_process_that_ends_during_a_rollout(place: &Place) {
    let (stopped, killed) =
        (deployment("stopped", 3).once_restarted("slow:1"), deployment("killed", 3).once_restarted("slow:1"));
    place.run(&[&stopped, &killed]).await;
    let before = [Before::of(place, &stopped).await, Before::of(place, &killed).await];
    let settings = Settings::of(place, &["stopped", "killed"]);

    let serve = Serve::start(place, &settings).await;
    let first = serve.client.start("restart stopped").await;
    assert_eq!(first.status, 202, "{:#}", first.body);
    marked(place, "stopped").await;
    let (code, log) = serve.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("panicked") && !log.contains("cut off"), "{log}");
    place.observer.look(|view| {
        let object = view.workload(Kind::Deployment, "stopped").unwrap();
        assert!(!is_complete(Kind::Deployment, object), "it waited for the rollout");
    });

    let serve = Serve::start(place, &settings).await;
    let run = serve.client.ended(first.run()).await;
    before[0].verify(place, &stopped, &run).await;
    taken_over(serve.client.evidence_of(first.run()).await, 1);

    let second = serve.client.start("restart killed").await;
    assert_eq!(second.status, 202, "{:#}", second.body);
    marked(place, "killed").await;
    serve.kill().await;
    let serve = Serve::start(place, &settings).await;
    let run = serve.client.ended(second.run()).await;
    before[1].verify(place, &killed, &run).await;
    taken_over(serve.client.evidence_of(second.run()).await, 1);
    let (code, log) = serve.terminate().await;
    assert!(code == Some(0) && !log.contains("panicked"), "{log}");
}

async fn a_client_that_hangs_up(place: &Place) {
    let webapp = deployment("webapp", 3).once_restarted("slow:0");
    place.run(&[&webapp]).await;
    let before = Before::of(place, &webapp).await;
    let gateway = Gateway::start(place, Settings::of(place, &["webapp"])).await;
    let body = json!({"agent": "ops", "input": "restart webapp"}).to_string();
    let request = format!(
        "POST /v1/run HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         prefer: wait=60\r\ncontent-length: {}\r\n\r\n{body}",
        gateway.settings.token("ada", "sre"),
        body.len(),
    );
    let address = gateway.client.url.strip_prefix("http://").unwrap();

    // In the middle of its request: nothing was asked for yet.
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(&request.as_bytes()[..request.len() - 5]).await.unwrap();
    half.shutdown().await.unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(gateway.client.get("/v1/runs").await.body["runs"], json!([]));

    // While it waits: the run goes on.
    let mut waiting = TcpStream::connect(address).await.unwrap();
    waiting.write_all(request.as_bytes()).await.unwrap();
    marked(place, "webapp").await;
    drop(waiting);
    let runs = gateway.client.get("/v1/runs").await.body;
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1);
    let run = gateway.client.ended(runs["runs"][0]["id"].as_str().unwrap()).await;
    before.verify(place, &webapp, &run).await;
}

async fn many_runs_on_one_target(place: &Place) {
    let webapp = deployment("webapp", 2).once_restarted("slow:1");
    place.run(&[&webapp]).await;
    let before = Before::of(place, &webapp).await;
    let gateway = Gateway::start(place, Settings::of(place, &["webapp"])).await;
    let replies = futures::future::join_all((0..8).map(|_| gateway.client.say("restart webapp"))).await;
    let (won, lost): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!(won.len(), 1, "{won:#?}");
    for reply in lost {
        place.note("refused", &reply.body);
        assert_eq!(reply.status, 409);
        assert!(
            matches!(reply.code(), "guard.target_locked" | "guard.rollout_in_progress"),
            "{}",
            reply.code()
        );
        let kinds = gateway.client.evidence_of(reply.run()).await;
        assert!(!kinds.iter().any(|kind| kind == "step.intended" || kind == "step.performed"), "{kinds:?}");
    }
    before.verify(place, &webapp, &won[0].body["run"]).await;
}

/// The patch is applied and its reply lost: AstraDesk looks, finds its mark, and does not do it again.
async fn a_reply_that_is_lost(place: &Place) {
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let before = Before::of(place, &webapp).await;
    let proxy = Proxy::start(place, vec![Rule::new(Fault::Lose).on(Verb::Patch).times(1)]).await;
    let mut settings = Settings::of(place, &["webapp"]);
    settings.kubeconfig = proxy.kubeconfig.clone();
    let gateway = Gateway::start(place, settings).await;
    let reply = gateway.client.say("restart webapp").await;
    reply.expect_success();
    assert_eq!((proxy.patches(), proxy.faults()), (vec![200], 1));
    before.verify(place, &webapp, &reply.body["run"]).await;
    assert_eq!(gateway.client.evidence_of(reply.run()).await, LIFE);
}

async fn a_cluster_that_cannot_be_reached(place: &Place) {
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let before = place.state(&webapp).await;
    // A port that was free a moment ago, and that nobody else is given while this holds it.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut settings = Settings::of(place, &["webapp"]);
    settings.kubeconfig = settings.state.join("kubeconfig");
    let url = format!("http://{}", nobody.local_addr().unwrap());
    write_kubeconfig(&settings.kubeconfig, &url, place.cluster());
    let gateway = Gateway::start(place, settings).await;
    let ada = &gateway.client;
    let service = json!({"service": "webapp"});
    let (said, called, read) = tokio::join!(
        ada.say("restart webapp"),
        ada.call("restart_service", &service),
        ada.call("get_service_status", &service),
    );
    for reply in [said, called, read] {
        place.note("unreachable", &reply.body);
        reply.expect(503, "kubernetes.unavailable");
        assert!(reply.headers.contains_key("retry-after"));
    }
    let records = ada.evidence().await;
    let intended: Vec<&Value> = records.iter().filter(|r| r["kind"] == "step.intended").collect();
    assert!(intended.is_empty(), "{intended:#?}");
    assert_eq!(place.state(&webapp).await, before);
}
