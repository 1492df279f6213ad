//! One gateway, several clusters.

use astradesk_e2e::observer::Kind;
use astradesk_e2e::own_node::OwnNode;
use astradesk_e2e::{Gateway, Place, Settings, deployment, on_both};
use serde_json::json;

on_both!(a_call_acts_on_the_cluster_that_it_names, a_node_is_cordoned_in_the_cluster_that_the_call_names);

async fn a_call_acts_on_the_cluster_that_it_names(place: &Place) {
    let second = place.another().await;
    let webapp = deployment("webapp", 1);
    place.run(&[&webapp]).await;
    second.run(&[&webapp]).await;
    let gateway = Gateway::start(place, with_both(place, &second)).await;
    let client = &gateway.client;
    let generations = || async {
        let generation = |object: serde_json::Value| object["metadata"]["generation"].as_i64().unwrap();
        let here = place.get(Kind::Deployment, "webapp").await;
        (generation(here), generation(second.get(Kind::Deployment, "webapp").await))
    };
    let before = generations().await;

    client.say("restart webapp, accept downtime").await.expect(422, "plan.missing_target");
    let nowhere = json!({"service": "webapp", "cluster": "nowhere", "accept_downtime": true});
    client.call("restart_service", &nowhere).await.expect(422, "tool.arguments_invalid");
    let none = json!({"service": "webapp", "accept_downtime": true});
    client.call("restart_service", &none).await.expect(422, "tool.arguments_invalid");
    assert_eq!(generations().await, before);

    let there = client.say("restart webapp in cluster second, accept downtime").await;
    there.expect_success();
    let target = format!("kubernetes/second/{}/deployment/webapp", place.namespace);
    assert_eq!(there.body["run"]["steps"][0]["call"]["targets"], json!([target]), "{:#}", there.body);
    assert_eq!(generations().await, (before.0, before.1 + 1));

    let here = json!({"service": "webapp", "cluster": place.cluster(), "accept_downtime": true});
    client.call("restart_service", &here).await.expect_success();
    assert_eq!(generations().await, (before.0 + 1, before.1 + 1));

    let listed = client.say("list services on the second cluster").await;
    listed.expect_success();
    assert!(gateway.stop().await);
    second.close().await;
}

async fn a_node_is_cordoned_in_the_cluster_that_the_call_names(place: &Place) {
    let (second, here) = (place.another().await, OwnNode::open(place).await);
    let there = OwnNode::open(&second).await;
    let policy = r#"permit (principal in Role::"sre", action, resource) when { resource.kind == "node" };"#;
    let gateway = Gateway::start(place, with_both(place, &second).policies(policy)).await;
    let client = &gateway.client;
    client.say(&format!("cordon node {}", there.name)).await.expect(422, "plan.missing_target");
    let said = client.say(&format!("cordon node {} in cluster second", there.name)).await;
    said.expect_success();
    let target = format!("kubernetes/second/node/{}", there.name);
    assert_eq!(said.body["run"]["steps"][0]["call"]["targets"], json!([target]), "{:#}", said.body);
    assert!(there.is_cordoned().await && !here.is_cordoned().await);

    let nothing = json!({"node": "nothing", "cluster": "second"});
    client.call("cordon_node", &nothing).await.expect(404, "kubernetes.not_found");
    let drain = json!({"node": here.name, "cluster": place.cluster()});
    client.call("drain_node", &drain).await.expect_success();
    assert!(here.is_cordoned().await);
    let uncordon = json!({"node": there.name, "cluster": "second"});
    client.call("uncordon_node", &uncordon).await.expect_success();
    assert!(!there.is_cordoned().await && here.is_cordoned().await);
    assert!(gateway.stop().await);
    here.close().await;
    second.close().await;
}

/// The place's cluster, and the other one as `second`.
fn with_both(place: &Place, second: &Place) -> Settings {
    let settings = Settings::of(place, &["webapp"]);
    // Both kubeconfigs of a sandbox call everything `sandbox`.
    let renamed = std::fs::read_to_string(&second.kubeconfig).unwrap().replace("sandbox", "other");
    let other = settings.state.join("other.kubeconfig");
    std::fs::write(&other, renamed).unwrap();
    let both = std::env::join_paths([&place.kubeconfig, &other]).unwrap();
    let toml = "[kubernetes]\ncontexts = [\"second=other\"]\n".to_owned();
    Settings { kubeconfig: both.into(), toml, ..settings }
}
