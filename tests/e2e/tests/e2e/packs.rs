//! Packs that patch objects: the example of the maintenance of an Ingress, as it stands in the documentation.

use astradesk_e2e::client::{Client, send};
use astradesk_e2e::fault::{Fault, Rule, Verb};
use astradesk_e2e::{Gateway, PATIENCE, Place, Proxy, Reply, Settings, on_both};
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::networking::v1::Ingress;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use serde_json::{Value, json};
use std::path::Path;
use std::pin::Pin;

on_both!(
    the_maintenance_of_an_ingress_begins_and_ends,
    a_patch_that_is_lost_is_found_or_sent_again_and_done_once,
);

const SNIPPET: &str = "nginx.ingress.kubernetes.io/server-snippet";
const REASON: &str = "example.com/maintenance";
const MARK: &str = "astradesk.dev/run";
/// Who is on call may begin, and somebody else must agree to what is called `production-…`.
const POLICIES: &str = r#"
permit (principal in Role::"sre", action in [Action::"begin_maintenance", Action::"end_maintenance"], resource)
when { resource.kind == "ingress.networking.k8s.io" };
forbid (principal, action, resource)
when { resource.kind == "ingress.networking.k8s.io" && resource.name like "production-*" }
unless { context.approvals.count >= 1 };
"#;

/// The place's settings, with the example pack and policies for it.
fn settings(place: &Place) -> Settings {
    let mut settings = Settings::of(place, &[]).policies(POLICIES);
    let packs = settings.state.join("packs/ingress-maintenance");
    std::fs::create_dir_all(&packs).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/packs/ingress-maintenance");
    for file in ["pack.toml", "runbook.md"] {
        std::fs::copy(example.join(file), packs.join(file)).unwrap();
    }
    let folder = toml::Value::from(packs.parent().unwrap().display().to_string());
    settings.toml.extend(["[packs]\nfolder = ", &folder.to_string(), "\n"]);
    settings
}

/// An Ingress with an annotation of its own.
async fn ingress(place: &Place, name: &str) -> Api<Ingress> {
    let api = Api::namespaced(place.client.clone(), &place.namespace);
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let rule = json!({"host": "web.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}});
    let object = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name, "annotations": {"example.com/owner": "web"}}, "spec": {"rules": [rule]},
    });
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    api
}

async fn seen(api: &Api<Ingress>, name: &str) -> Value {
    serde_json::to_value(api.get(name).await.unwrap()).unwrap()
}

fn annotation<'a>(object: &'a Value, name: &str) -> &'a Value {
    &object["metadata"]["annotations"][name]
}

fn arguments(place: &Place, name: &str) -> Value {
    json!({"namespace": place.namespace, "ingress": name})
}

fn beginning(place: &Place, name: &str) -> Value {
    let mut arguments = arguments(place, name);
    arguments["reason"] = "the \"database\" is moved {}".into();
    arguments
}

/// Calls `begin_maintenance` under a key.
async fn begin_once(client: &Client, place: &Place, name: &str, key: &str) -> Reply {
    let request = client.request(http::Method::POST, "/v1/tools/begin_maintenance/runs");
    let request = request.header("prefer", "wait=60").header("idempotency-key", key);
    send(request.json(&json!({"arguments": beginning(place, name)}))).await
}

async fn the_maintenance_of_an_ingress_begins_and_ends(place: &Place) {
    let api = ingress(place, "checkout").await;
    let gateway = Gateway::start(place, settings(place)).await;
    let (client, before) = (&gateway.client, seen(&api, "checkout").await);

    // A dry run asks the API server, and changes nothing.
    let request = json!({"arguments": beginning(place, "checkout"), "dry_run": true});
    let tried = client.ask("begin_maintenance", &request).await;
    assert_eq!(tried.status, 200, "{:#}", tried.body);
    assert!(tried.body.to_string().contains("accepted the same patch as a dry run"), "{:#}", tried.body);
    assert_eq!(seen(&api, "checkout").await, before);

    let begun = begin_once(client, place, "checkout", "once").await;
    begun.expect_success();
    let run = begun.run().to_owned();
    let target =
        format!("kubernetes/{}/{}/ingress.networking.k8s.io/checkout", place.cluster(), place.namespace);
    assert_eq!(begun.body["run"]["steps"][0]["call"]["targets"], json!([target]), "{:#}", begun.body);
    let during = seen(&api, "checkout").await;
    assert_eq!(annotation(&during, SNIPPET), "return 503;");
    assert_eq!(annotation(&during, REASON), "the \"database\" is moved {}");
    assert_eq!(annotation(&during, "example.com/owner"), "web", "what is others' stays");
    assert_eq!(*annotation(&during, MARK), format!("{run}/0"));
    assert_eq!(during["spec"], before["spec"]);
    let managers = during["metadata"]["managedFields"].to_string();
    assert!(managers.contains("\"astradesk\""), "{managers}");

    // The same request again finds the run, and does nothing more.
    let again = begin_once(client, place, "checkout", "once").await;
    assert_eq!((again.run(), seen(&api, "checkout").await), (run.as_str(), during));
    assert_eq!(client.evidence_of(&run).await, crate::once::LIFE);

    let ended = client.call("end_maintenance", &arguments(place, "checkout")).await;
    ended.expect_success();
    let after = seen(&api, "checkout").await;
    assert!(annotation(&after, SNIPPET).is_null() && annotation(&after, REASON).is_null(), "{after:#}");
    assert_eq!(*annotation(&after, MARK), format!("{}/0", ended.run()));

    // What is not there, what no policy permits, and what somebody else must agree to.
    let none = client.call("begin_maintenance", &beginning(place, "nothing")).await;
    none.expect(404, "kubernetes.not_found");
    let viewer = client.with_token(Some(&gateway.settings.token("vera", "viewer")));
    let denied = viewer.call("end_maintenance", &arguments(place, "checkout")).await;
    denied.expect(403, "policy.role_required");
    let production = ingress(place, "production-shop").await;
    let waits =
        client.ask("begin_maintenance", &json!({"arguments": beginning(place, "production-shop")})).await;
    assert_eq!(waits.body["run"]["state"], "awaiting_approval", "{:#}", waits.body);
    assert!(annotation(&seen(&production, "production-shop").await, MARK).is_null());
    assert!(gateway.stop().await);
}

/// An API server whose requests and answers are lost: the patch is there once.
async fn a_patch_that_is_lost_is_found_or_sent_again_and_done_once(place: &Place) {
    for (name, fault, sent) in [("answer-lost", Fault::Lose, 1), ("request-lost", Fault::Reset, 2)] {
        let api = ingress(place, name).await;
        let rule = Rule::new(fault).on(Verb::Patch).at(&format!("/ingresses/{name}")).times(1);
        let proxy = Proxy::start(place, vec![rule]).await;
        let mut settings = settings(place);
        settings.kubeconfig = proxy.kubeconfig.clone();
        let gateway = Gateway::start(place, settings).await;
        let versions = Versions::of(place, name).await;
        let begun = gateway.client.call("begin_maintenance", &beginning(place, name)).await;
        begun.expect_success();
        let during = seen(&api, name).await;
        assert_eq!(*annotation(&during, MARK), format!("{}/0", begun.run()), "{name}");
        let patches = proxy.seen().iter().filter(|seen| seen.verb == Verb::Patch).count();
        assert_eq!((patches, proxy.faults()), (sent, 1), "{name}");

        // What others change meanwhile stays.
        let label = json!({"metadata": {"labels": {"team": "shop"}}});
        api.patch(name, &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
        gateway.client.call("end_maintenance", &arguments(place, name)).await.expect_success();
        let after = seen(&api, name).await;
        assert_eq!(after["metadata"]["labels"]["team"], "shop");
        // As it was, the maintenance, the label, and the end of the maintenance: each once.
        assert_eq!(versions.until(&after["metadata"]["resourceVersion"]).await, 4, "{name}");
        assert!(gateway.stop().await);
    }
}

/// Every version of an Ingress, as an independent watch sees them.
struct Versions(Pin<Box<dyn Stream<Item = Value> + Send>>);

impl Versions {
    async fn of(place: &Place, name: &str) -> Self {
        let api: Api<Ingress> = Api::namespaced(place.client.clone(), &place.namespace);
        let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let versions =
            watcher(api, only).default_backoff().applied_objects().filter_map(|object| async move {
                Some(serde_json::to_value(object.ok()?).unwrap()["metadata"]["resourceVersion"].clone())
            });
        let mut versions: Pin<Box<dyn Stream<Item = Value> + Send>> = Box::pin(versions);
        let first = versions.next().await.unwrap();
        Self(Box::pin(futures::stream::iter([first]).chain(versions)))
    }

    /// How many there were with this one.
    async fn until(mut self, last: &Value) -> usize {
        let mut count = 0;
        let seeing = async {
            while let Some(version) = self.0.next().await {
                count += 1;
                if version == *last {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, seeing).await.expect("the watch sees the last version");
        count
    }
}
