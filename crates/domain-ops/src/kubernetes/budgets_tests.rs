use super::super::client::Requests;
use super::super::gate::{Gate, Listening, Pace};
use super::super::testing::Hand;
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

/// A moment in which nothing is remembered any more.
const LATER: Duration = Duration::from_millis(1001);
/// A moment later than another one.
const TICK: Duration = Duration::from_nanos(1);

fn budgets() -> (Budgets, Arc<Hand>) {
    let hand = Arc::new(Hand::default());
    hand.go(LATER);
    (Budgets::new(hand.clone()), hand)
}

async fn names(budgets: &Budgets, requests: &Requests) -> Result<Vec<String>> {
    let found = budgets.covering(requests, "shop", &labels(&[("app", "web")]), 1).await?;
    Ok(found.into_iter().map(|budget| budget.name).collect())
}

#[tokio::test]
async fn the_version_that_a_cluster_has_is_found_out_and_remembered() {
    for (has, first, later) in [("/v1/", 1, 1), ("/v1beta1/", 2, 1)] {
        let (requests, asked) =
            server(move |address| if address.contains(has) { page(&["web"], "") } else { unknown() });
        let (budgets, hand) = budgets();
        assert_eq!(names(&budgets, &requests).await.unwrap(), ["web"]);
        assert_eq!(asked.lock().unwrap().len(), first, "{has}");
        hand.go(LATER);
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
    let (budgets, hand) = budgets();
    names(&budgets, &requests).await.unwrap();
    *upgraded.lock().unwrap() = true;
    hand.go(LATER);
    assert_eq!(names(&budgets, &requests).await.unwrap(), ["web"]);
}

#[tokio::test]
async fn those_who_ask_within_a_second_share_a_list() {
    let (requests, asked) = server(|_| page(&["web"], ""));
    let asked = || asked.lock().unwrap().len();
    let (budgets, hand) = budgets();
    let all = futures::future::join_all((0..20).map(|_| names(&budgets, &requests))).await;
    assert!(all.into_iter().all(|found| found.unwrap() == ["web"]));
    assert_eq!(asked(), 1);
    hand.go(KEPT);
    names(&budgets, &requests).await.unwrap();
    assert_eq!(asked(), 1, "it is just young enough");
    hand.go(TICK);
    names(&budgets, &requests).await.unwrap();
    assert_eq!(asked(), 2);

    let pods = labels(&[("app", "web")]);
    let other = budgets.covering(&requests, "bank", &pods, 1);
    let (_, other) = tokio::join!(names(&budgets, &requests), other);
    assert_eq!((other.unwrap().len(), asked()), (1, 3), "each namespace has its own");
    assert_eq!(budgets.lists.lock().unwrap().len(), 2);
    hand.go(LATER);
    budgets.covering(&requests, "lab", &pods, 1).await.unwrap();
    assert_eq!(budgets.lists.lock().unwrap().len(), 1, "what serves nobody any more goes");
}

/// What the budget allows by then, or the code of the error.
async fn allows(budgets: &Budgets, requests: &Requests, taken: u32) -> Result<u32, Code> {
    let found = budgets.covering(requests, "shop", &labels(&[("app", "web")]), taken).await;
    found.map(|found| found[0].disruptions_allowed).map_err(|error| error.code)
}

#[tokio::test]
async fn nothing_old_stops_anybody_and_no_error_is_covered_up() {
    let answer = Arc::new(Mutex::new(Ok(2)));
    let told = answer.clone();
    let (requests, asked) = server(move |_| match *told.lock().unwrap() {
        Ok(allowed) => {
            let (status, body) = page(&["web"], "");
            (status, body.replace("\"disruptionsAllowed\":2", &format!("\"disruptionsAllowed\":{allowed}")))
        }
        Err(code) => {
            let message = "User \"a\" cannot list resource \"poddisruptionbudgets\"";
            (
                code,
                json!({"kind": "Status", "status": "Failure", "code": code, "message": message}).to_string(),
            )
        }
    });
    let (budgets, hand) = budgets();
    // How long after the last question, what the cluster says by then, how many are taken; the answer, and requests.
    let forbidden = Err(Code::KubernetesForbidden);
    for (number, (pause, says, taken, expected, sent)) in [
        (TICK, Ok(2), 2, Ok(2), 1),
        (TICK, Ok(1), 2, Ok(2), 0),
        (TICK, Ok(4), 3, Ok(4), 1),
        (TICK, Ok(0), 0, Ok(4), 0),
        (LATER, Ok(0), 0, Ok(0), 1),
        (TICK, Ok(0), 0, Ok(0), 1),
        (TICK, Ok(2), 1, Ok(2), 1),
        (TICK, Err(403), 3, forbidden, 1),
        (TICK, Err(403), 1, forbidden, 1),
        (TICK, Ok(2), 1, Ok(2), 1),
        (LATER, Err(403), 1, forbidden, 1),
        (LATER, Err(404), 1, Err(Code::KubernetesRejected), 2),
    ]
    .into_iter()
    .enumerate()
    {
        hand.go(pause);
        *answer.lock().unwrap() = says;
        asked.lock().unwrap().clear();
        assert_eq!(allows(&budgets, &requests, taken).await, expected, "question {number}");
        assert_eq!(asked.lock().unwrap().len(), sent, "question {number}");
    }
}

#[tokio::test]
async fn all_pages_are_read_and_what_cannot_be_read_is_an_error() {
    let (requests, _) =
        server(
            |address| {
                if address.contains("continue=more") { page(&["b"], "") } else { page(&["a"], "more") }
            },
        );
    assert_eq!(names(&budgets().0, &requests).await.unwrap(), ["a", "b"]);

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
        let error = names(&budgets().0, &requests).await.unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.message.contains(words), "{}", error.message);
    }
}
