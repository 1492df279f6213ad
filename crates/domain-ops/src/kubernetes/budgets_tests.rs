use super::super::client::Requests;
use super::super::gate::{Gate, Listening, Pace};
use super::*;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use kube::client::Body;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tower::{BoxError, Layer as _, service_fn};

fn budget(selector: &Value, status: &Value) -> Value {
    let mut budget = json!({
        "metadata": {"name": "web", "namespace": "shop", "generation": 2},
        "spec": {"maxUnavailable": 1, "selector": selector},
        "status": {"disruptionsAllowed": 2, "observedGeneration": 2, "currentHealthy": 3, "desiredHealthy": 1,
                   "expectedPods": 3},
    });
    for (key, value) in status.as_object().into_iter().flatten() {
        budget["status"][key] = value.clone();
    }
    budget
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_budget_covers_what_its_selector_says_and_allows_what_its_status_says() {
    let app = json!({"matchLabels": {"app": "web"}});
    let other = json!({"matchLabels": {"app": "web", "tier": "back"}});
    let set = |operator: &str, key: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    let pods = labels(&[("app", "web"), ("tier", "front")]);
    // Selector and status; what is allowed in policy/v1, and in policy/v1beta1, if it covers them.
    for (selector, status, allowed, in_beta) in [
        (app.clone(), json!({}), Some(2), Some(2)),
        (other, json!({}), None, None),
        (set("In", "tier", &["front", "back"]), json!({}), Some(2), Some(2)),
        (set("NotIn", "tier", &["front"]), json!({}), None, None),
        (set("NotIn", "zone", &["a"]), json!({}), Some(2), Some(2)),
        (set("Exists", "tier", &[]), json!({}), Some(2), Some(2)),
        (set("DoesNotExist", "tier", &[]), json!({}), None, None),
        (set("Near", "tier", &["front"]), json!({}), Some(2), Some(2)),
        (json!({}), json!({}), Some(2), None),
        (Value::Null, json!({}), None, None),
        (app.clone(), json!({"observedGeneration": 1}), Some(0), Some(0)),
        (app.clone(), json!({"observedGeneration": null}), Some(0), Some(0)),
        (app.clone(), json!({"disruptionsAllowed": 0}), Some(0), Some(0)),
        (app.clone(), json!({"disruptionsAllowed": -1}), Some(0), Some(0)),
    ] {
        let object: Budget = serde_json::from_value(budget(&selector, &status)).unwrap();
        for (beta, expected) in [(false, allowed), (true, in_beta)] {
            let found = of(std::slice::from_ref(&object), &pods, beta);
            let found = found.first().map(|budget| budget.disruptions_allowed);
            assert_eq!(found, expected, "{selector} {status} {beta}");
        }
    }
    let mut unseen = budget(&app, &json!({}));
    unseen.as_object_mut().unwrap().remove("status");
    let unseen: Budget = serde_json::from_value(unseen).unwrap();
    assert_eq!(of(&[unseen], &pods, false)[0].disruptions_allowed, 0, "nobody has looked at it yet");
}

/// Status and body for an address.
type Answer = Box<dyn Fn(&str) -> (u16, String) + Send + Sync>;

/// A server that answers so, and the addresses that it was asked for.
fn server(
    answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static,
) -> (Requests, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let answer = Arc::new(answer);
    let service = service_fn(move |request: Request<Body>| {
        let address = request.uri().to_string();
        let (status, body) = answer(&address);
        seen.lock().unwrap().push(address);
        let body: UnsyncBoxBody<_, BoxError> = Full::from(body).map_err(Into::into).boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        async { Ok::<_, BoxError>(response) }
    });
    let gate = Arc::new(Gate::new(Pace::default()));
    let client = kube::Client::new(Listening(gate.clone()).layer(service), "default");
    (Requests::with(client, gate), asked)
}

fn unknown() -> (u16, String) {
    (404, "404 page not found\n".to_owned())
}

fn page(names: &[&str], next: &str) -> (u16, String) {
    let app = json!({"matchLabels": {"app": "web"}});
    let items: Vec<Value> = names
        .iter()
        .map(|name| {
            let mut one = budget(&app, &json!({}));
            one["metadata"]["name"] = json!(name);
            one
        })
        .collect();
    (200, json!({"metadata": {"continue": next}, "items": items}).to_string())
}

async fn names(budgets: &Budgets, requests: &Requests) -> Result<Vec<String>> {
    let found = budgets.covering(requests, "shop", &labels(&[("app", "web")])).await?;
    Ok(found.into_iter().map(|budget| budget.name).collect())
}

#[tokio::test]
async fn the_version_that_a_cluster_has_is_found_out_and_remembered() {
    for (has, first, later) in [("/v1/", 1, 1), ("/v1beta1/", 2, 1)] {
        let (requests, asked) =
            server(move |address| if address.contains(has) { page(&["web"], "") } else { unknown() });
        let budgets = Budgets::default();
        assert_eq!(names(&budgets, &requests).await.unwrap(), ["web"]);
        assert_eq!(asked.lock().unwrap().len(), first, "{has}");
        assert_eq!(names(&budgets, &requests).await.unwrap(), ["web"]);
        assert_eq!(asked.lock().unwrap().len(), first + later, "{has}: once it is known");
        assert!(asked.lock().unwrap().iter().all(|a| a.contains("/namespaces/shop/poddisruptionbudgets")));
    }
    // A cluster that was upgraded lets the old one go.
    let upgraded = Arc::new(Mutex::new(false));
    let is_upgraded = upgraded.clone();
    let (requests, _) = server(move |address| {
        let has = if *is_upgraded.lock().unwrap() { "/v1/" } else { "/v1beta1/" };
        if address.contains(has) { page(&["web"], "") } else { unknown() }
    });
    let budgets = Budgets::default();
    names(&budgets, &requests).await.unwrap();
    *upgraded.lock().unwrap() = true;
    assert_eq!(names(&budgets, &requests).await.unwrap(), ["web"]);
}

#[tokio::test]
async fn those_who_wait_share_a_list_that_began_after_they_asked() {
    let (requests, asked) = server(|_| page(&["web"], ""));
    let budgets = Budgets::default();
    let all = futures::future::join_all((0..20).map(|_| names(&budgets, &requests))).await;
    assert!(all.into_iter().all(|found| found.unwrap() == ["web"]));
    assert_eq!(asked.lock().unwrap().len(), 2, "the first one's, and one for all who came meanwhile");
    names(&budgets, &requests).await.unwrap();
    assert_eq!(asked.lock().unwrap().len(), 3, "nothing is kept for later");
    let pods = labels(&[("app", "web")]);
    let other = budgets.covering(&requests, "bank", &pods);
    let (_, other) = tokio::join!(names(&budgets, &requests), other);
    assert_eq!((other.unwrap().len(), asked.lock().unwrap().len()), (1, 5), "each namespace has its own");
    assert!(budgets.lists.lock().unwrap().values().all(|slot| slot.strong_count() == 0));
}

#[tokio::test]
async fn all_pages_are_read_and_what_cannot_be_read_is_an_error() {
    let (requests, _) =
        server(
            |address| {
                if address.contains("continue=more") { page(&["b"], "") } else { page(&["a"], "more") }
            },
        );
    assert_eq!(names(&Budgets::default(), &requests).await.unwrap(), ["a", "b"]);

    let forbidden = json!({
        "kind": "Status", "code": 403, "status": "Failure", "reason": "Forbidden",
        "message": "poddisruptionbudgets.policy is forbidden: User \"a\" cannot list resource \"poddisruptionbudgets\"",
    });
    let cases: [(Answer, Code, &str); 3] = [
        (
            Box::new(move |_| (403, forbidden.to_string())),
            Code::KubernetesForbidden,
            "may not list poddisruptionbudgets.policy in namespace `shop`",
        ),
        (Box::new(|_| unknown()), Code::KubernetesRejected, "neither in `policy/v1` nor in `policy/v1beta1`"),
        (Box::new(|_| page(&["a"], "more")), Code::KubernetesRejected, "more than 5000"),
    ];
    for (answer, code, words) in cases {
        let (requests, _) = server(answer);
        let error = names(&Budgets::default(), &requests).await.unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(words), "{}", error.message);
    }
}
