//! Who may do what.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::manual_assert,
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "tests and their helpers: a failed unwrap is a failed test"
)]

mod common;

use astradesk_sandbox::{Config, User};
use common::{Cluster, start, workload};
use serde_json::{Value, json};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1";

/// A cluster with `webapp` and the user `bob`, who is in `sre`.
async fn with_bob() -> (Cluster, String) {
    let users = vec![User { name: "bob".into(), groups: vec!["sre".into()] }];
    let objects = vec![
        workload("Deployment", "webapp", json!({}), json!({ "replicas": 0 })),
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } }),
    ];
    let cluster = start(Config { users, objects, pace: 0.1, ..Config::default() }).await;
    let bob = cluster.token_of("bob");
    (cluster, bob)
}

fn role(kind: &str, name: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": name }, "rules": rules,
    })
}

fn binding(kind: &str, name: &str, role: (&str, &str), subject: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1 },
        "subjects": [subject],
    })
}

fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or_default()
}

impl Cluster {
    async fn make(&self, path: &str, object: &Value) -> Value {
        let (code, made) = self.call("POST", path, JSON, object).await;
        assert_eq!(code, 201, "{made}");
        made
    }

    async fn as_(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let kind = if method == "PATCH" { MERGE } else { JSON };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.call_with(&[], token, method, path, kind, body).await
    }
}

#[tokio::test]
async fn a_refusal_is_worded_as_the_real_one() {
    let (cluster, bob) = with_bob().await;
    let table = [
        (
            "PATCH",
            format!("{DEPLOYMENTS}/webapp"),
            r#"deployments.apps "webapp" is forbidden: User "bob" cannot patch resource "deployments" in API group "apps" in the namespace "default""#,
        ),
        (
            "PUT",
            format!("{DEPLOYMENTS}/webapp/scale"),
            r#"deployments.apps "webapp" is forbidden: User "bob" cannot update resource "deployments/scale" in API group "apps" in the namespace "default""#,
        ),
        (
            "GET",
            "/api/v1/nodes".into(),
            r#"nodes is forbidden: User "bob" cannot list resource "nodes" in API group "" at the cluster scope"#,
        ),
        (
            "GET",
            "/api/v1/namespaces/shop".into(),
            r#"namespaces "shop" is forbidden: User "bob" cannot get resource "namespaces" in API group "" in the namespace "shop""#,
        ),
        (
            "POST",
            "/api/v1/namespaces/shop/secrets".into(),
            r#"secrets is forbidden: User "bob" cannot create resource "secrets" in API group "" in the namespace "shop""#,
        ),
        ("GET", "/metrics".into(), r#"forbidden: User "bob" cannot get path "/metrics""#),
        ("PUT", "/sandbox/faults".into(), r#"forbidden: User "bob" cannot put path "/sandbox/faults""#),
    ];
    for (method, path, expected) in table {
        let (code, answer) = cluster.as_(&bob, method, &path, &json!({})).await;
        assert_eq!(
            (code, message(&answer), &answer["reason"]),
            (403, expected, &json!("Forbidden")),
            "{path}"
        );
    }
    let (_, answer) = cluster.as_(&bob, "PATCH", &format!("{DEPLOYMENTS}/webapp"), &json!({})).await;
    assert_eq!(answer["details"], json!({ "name": "webapp", "group": "apps", "kind": "deployments" }));
    for path in ["/api", "/apis", "/apis/apps/v1", "/version", "/healthz"] {
        assert_eq!(cluster.as_(&bob, "GET", path, &json!(null)).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn roles_are_enforced_as_they_change() {
    let (cluster, bob) = with_bob().await;
    let restart = json!({ "spec": { "template": { "metadata": { "annotations": { "a": "b" } } } } });
    let webapp = format!("{DEPLOYMENTS}/webapp");
    let may = async |method: &str, path: &str| {
        let body = if method == "GET" { json!(null) } else { restart.clone() };
        cluster.as_(&bob, method, path, &body).await
    };
    let rules = json!([
        { "verbs": ["get", "patch"], "apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["webapp"] },
        { "verbs": ["list"], "apiGroups": [""], "resources": ["pods"] },
    ]);
    let group = json!({ "kind": "Group", "name": "sre" });
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    cluster.make(&bindings, &binding("RoleBinding", "sre", ("Role", "restarter"), &group)).await;
    let (code, answer) = may("PATCH", &webapp).await;
    assert_eq!(code, 403);
    assert!(
        message(&answer).ends_with(r#": RBAC: role.rbac.authorization.k8s.io "restarter" not found"#),
        "{answer}"
    );

    cluster.make(&format!("{RBAC}/namespaces/default/roles"), &role("Role", "restarter", &rules)).await;
    assert_eq!(may("PATCH", &webapp).await.0, 200);
    assert_eq!(may("PATCH", &format!("{DEPLOYMENTS}/other")).await.0, 403);
    assert_eq!(may("GET", DEPLOYMENTS).await.0, 403);
    assert_eq!(may("GET", "/api/v1/namespaces/default/pods").await.0, 200);
    assert_eq!(may("GET", "/api/v1/namespaces/shop/pods").await.0, 403);
    assert_eq!(may("GET", "/api/v1/pods").await.0, 403);
    assert_eq!(may("GET", "/api/v1/namespaces/default/pods/x/log").await.0, 403);

    let everywhere = binding(
        "ClusterRoleBinding",
        "bob",
        ("ClusterRole", "view"),
        &json!({ "kind": "User", "name": "bob" }),
    );
    cluster.make(&format!("{RBAC}/clusterrolebindings"), &everywhere).await;
    assert_eq!(may("GET", "/api/v1/pods").await.0, 200);
    assert_eq!(may("GET", "/api/v1/namespaces/default/pods/x/log").await.0, 404);
    assert_eq!(may("GET", &format!("{RBAC}/clusterroles")).await.0, 403);

    assert_eq!(cluster.call("DELETE", &format!("{bindings}/sre"), JSON, "").await.0, 200);
    assert_eq!(may("PATCH", &webapp).await.0, 403);
}

#[tokio::test]
async fn bindings_are_checked() {
    let (cluster, _) = with_bob().await;
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let subject = json!({ "kind": "User", "name": "bob" });
    let made =
        cluster.make(&bindings, &binding("RoleBinding", "system:x", ("ClusterRole", "view"), &subject)).await;
    assert_eq!(made["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
    let other = json!({ "roleRef": { "name": "edit" } });
    let (code, answer) = cluster.call("PATCH", &format!("{bindings}/system:x"), MERGE, other).await;
    assert_eq!(code, 422);
    assert!(message(&answer).ends_with("cannot change roleRef"), "{answer}");
    let wide = binding("ClusterRoleBinding", "x", ("Role", "view"), &subject);
    let (code, answer) = cluster.call("POST", &format!("{RBAC}/clusterrolebindings"), JSON, wide).await;
    assert_eq!(code, 422, "{answer}");
}

#[tokio::test]
async fn an_administrator_speaks_for_others() {
    let (cluster, bob) = with_bob().await;
    let admin = cluster.sandbox.token().to_owned();
    let ask = async |token: &str, headers: &[(&str, &str)]| {
        let (code, answer) = cluster.call_with(headers, token, "GET", DEPLOYMENTS, JSON, "").await;
        (code, message(&answer).to_owned())
    };
    let carol = ("impersonate-user", "carol");
    let (code, why) = ask(&admin, &[carol]).await;
    assert_eq!(code, 403);
    assert!(why.contains(r#"User "carol" cannot list resource "deployments""#), "{why}");
    assert_eq!(
        ask(&admin, &[carol, ("impersonate-group", "x"), ("impersonate-group", "system:masters")]).await.0,
        200
    );
    assert_eq!(ask(&admin, &[("impersonate-group", "x")]).await.0, 500);
    let (code, why) = ask(&bob, &[("impersonate-user", "sandbox")]).await;
    assert_eq!(code, 403);
    let expected = r#"users "sandbox" is forbidden: User "bob" cannot impersonate resource "users" in API group "" at the cluster scope"#;
    assert_eq!(why, expected);

    let may = role(
        "ClusterRole",
        "for-bob",
        &json!([
            { "verbs": ["impersonate"], "apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["robot"] },
        ]),
    );
    cluster.make(&format!("{RBAC}/clusterroles"), &may).await;
    let bound = binding(
        "ClusterRoleBinding",
        "bob",
        ("ClusterRole", "for-bob"),
        &json!({ "kind": "User", "name": "bob" }),
    );
    cluster.make(&format!("{RBAC}/clusterrolebindings"), &bound).await;
    let robots = json!({ "kind": "Group", "name": "system:serviceaccounts:shop" });
    let bound = binding("ClusterRoleBinding", "robots", ("ClusterRole", "view"), &robots);
    cluster.make(&format!("{RBAC}/clusterrolebindings"), &bound).await;
    assert_eq!(ask(&bob, &[("impersonate-user", "system:serviceaccount:shop:robot")]).await.0, 200);
    assert_eq!(ask(&bob, &[("impersonate-user", "system:serviceaccount:default:robot")]).await.0, 403);
    assert_eq!(ask(&bob, &[("impersonate-user", "system:serviceaccount:shop:other")]).await.0, 403);
}

#[tokio::test]
async fn a_service_account_has_tokens_as_long_as_it_lives() {
    let (cluster, bob) = with_bob().await;
    let accounts = "/api/v1/namespaces/shop/serviceaccounts";
    let robot = json!({ "metadata": { "name": "robot" } });
    cluster.make(accounts, &robot).await;
    let bound = binding(
        "RoleBinding",
        "robot",
        ("ClusterRole", "view"),
        &json!({ "kind": "ServiceAccount", "name": "robot" }),
    );
    cluster.make(&format!("{RBAC}/namespaces/shop/rolebindings"), &bound).await;
    let tokens = format!("{accounts}/robot/token");
    let request = json!({ "spec": { "expirationSeconds": 600 } });
    assert_eq!(cluster.as_(&bob, "POST", &tokens, &request).await.0, 403);
    let short = json!({ "spec": { "expirationSeconds": 60 } });
    assert_eq!(cluster.call("POST", &tokens, JSON, short).await.0, 422);
    let made = cluster.make(&tokens, &request).await;
    let token = made["status"]["token"].as_str().unwrap();
    assert_eq!(cluster.as_(token, "GET", "/api/v1/namespaces/shop/pods", &json!(null)).await.0, 200);
    let (code, answer) = cluster.as_(token, "GET", "/api/v1/namespaces/default/pods", &json!(null)).await;
    assert_eq!(code, 403);
    assert!(message(&answer).contains(r#"User "system:serviceaccount:shop:robot" cannot list"#), "{answer}");

    assert_eq!(cluster.call("DELETE", &format!("{accounts}/robot"), JSON, "").await.0, 200);
    assert_eq!(cluster.as_(token, "GET", "/api/v1/namespaces/shop/pods", &json!(null)).await.0, 401);
    cluster.make(accounts, &robot).await;
    assert_eq!(cluster.as_(token, "GET", "/api/v1/namespaces/shop/pods", &json!(null)).await.0, 401);
}

#[tokio::test]
async fn reviews_answer_truly() {
    let (cluster, bob) = with_bob().await;
    let rules = json!([{ "verbs": ["patch"], "apiGroups": ["apps"], "resources": ["deployments"] }]);
    cluster.make(&format!("{RBAC}/namespaces/shop/roles"), &role("Role", "restarter", &rules)).await;
    let subject = json!({ "kind": "User", "name": "bob" });
    let bound = binding("RoleBinding", "bob", ("Role", "restarter"), &subject);
    cluster.make(&format!("{RBAC}/namespaces/shop/rolebindings"), &bound).await;
    let patch = |namespace: &str| {
        json!({ "spec": { "resourceAttributes": {
            "verb": "patch", "group": "apps", "resource": "deployments", "namespace": namespace,
        } } })
    };
    let own = format!("{REVIEWS}/selfsubjectaccessreviews");
    let table = [
        (&bob, patch("shop"), true),
        (&bob, patch("default"), false),
        (&bob, json!({ "spec": { "nonResourceAttributes": { "verb": "get", "path": "/version" } } }), true),
        (&bob, json!({ "spec": { "nonResourceAttributes": { "verb": "get", "path": "/metrics" } } }), false),
        (&cluster.sandbox.token().to_owned(), patch("default"), true),
    ];
    for (token, review, expected) in table {
        let (code, answer) = cluster.as_(token, "POST", &own, &review).await;
        assert_eq!((code, &answer["status"]["allowed"]), (201, &json!(expected)), "{answer}");
    }
    let (_, answer) = cluster.as_(&bob, "POST", &own, &patch("shop")).await;
    let reason = r#"RBAC: allowed by RoleBinding "bob/shop" of Role "restarter" to User "bob""#;
    assert_eq!(answer["status"]["reason"], reason);
    assert_eq!(cluster.as_(&bob, "POST", &own, &json!({ "spec": {} })).await.0, 422);

    let mut of_bob = patch("shop");
    of_bob["spec"]["user"] = "bob".into();
    let others = format!("{REVIEWS}/subjectaccessreviews");
    assert_eq!(cluster.as_(&bob, "POST", &others, &of_bob).await.0, 403);
    assert_eq!(cluster.make(&others, &of_bob).await["status"]["allowed"], true);
    let local = format!("{REVIEWS}/namespaces/shop/localsubjectaccessreviews");
    assert_eq!(cluster.make(&local, &of_bob).await["status"]["allowed"], true);

    let list = json!({ "spec": { "namespace": "shop" } });
    let (_, all) = cluster.as_(&bob, "POST", &format!("{REVIEWS}/selfsubjectrulesreviews"), &list).await;
    assert!(all["status"]["resourceRules"].as_array().unwrap().contains(&rules[0]), "{all}");
    assert!(all["status"]["nonResourceRules"].to_string().contains("/healthz"), "{all}");
    let whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (_, who) = cluster.as_(&bob, "POST", whoami, &json!({})).await;
    assert_eq!(
        who["status"]["userInfo"],
        json!({ "username": "bob", "groups": ["sre", "system:authenticated"] })
    );
}

#[tokio::test]
async fn nobody_may_ask_how_the_server_is() {
    let (cluster, _) = with_bob().await;
    let http = reqwest::Client::new();
    for (path, expected) in
        [("/readyz", 200), ("/version", 200), ("/api", 401), (DEPLOYMENTS, 401), ("/sandbox/faults", 401)]
    {
        let answer = http.get(format!("{}{path}", cluster.sandbox.url())).send().await.unwrap();
        assert_eq!(answer.status(), expected, "{path}");
    }
}

#[tokio::test]
async fn a_right_reaches_as_far_as_it_says() {
    let (cluster, bob) = with_bob().await;
    let admin = cluster.sandbox.token().to_owned();
    let maps = "/api/v1/namespaces/default/configmaps";
    for name in ["public", "private"] {
        cluster.make(maps, &json!({ "metadata": { "name": name } })).await;
    }
    let rules = json!([
        { "verbs": ["watch"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["public"] },
        { "verbs": ["patch"], "apiGroups": [""], "resources": ["configmaps"] },
        { "verbs": ["create"], "apiGroups": ["authorization.k8s.io"], "resources": ["localsubjectaccessreviews"] },
    ]);
    cluster.make(&format!("{RBAC}/namespaces/default/roles"), &role("Role", "some", &rules)).await;
    let bound = binding("RoleBinding", "some", ("Role", "some"), &json!({ "kind": "User", "name": "bob" }));
    cluster.make(&format!("{RBAC}/namespaces/default/rolebindings"), &bound).await;

    // One object is read, whatever the query says of watching another.
    let sly = format!("{maps}/private?watch=true&fieldSelector=metadata.name=public");
    assert_eq!(cluster.as_(&bob, "GET", &sly, &Value::Null).await.0, 403);

    // An applied configuration makes what is missing, for whoever may create it.
    let apply = |token: String, name: &'static str| {
        let path = format!("{maps}/{name}?fieldManager=test");
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "b" } });
        let cluster = &cluster;
        async move { cluster.call_with(&[], &token, "PATCH", &path, "application/apply-patch+yaml", map).await }
    };
    assert_eq!(apply(bob.clone(), "public").await.0, 200);
    let (code, why) = apply(bob.clone(), "fresh").await;
    assert_eq!((code, message(&why).contains("cannot create resource \"configmaps\"")), (403, true), "{why}");
    assert_eq!(apply(admin.clone(), "fresh").await.0, 201);

    // A local review is about its namespace.
    let path = format!("{REVIEWS}/namespaces/default/localsubjectaccessreviews");
    let ask = |namespace: &str| {
        let about = json!({ "verb": "get", "resource": "pods", "namespace": namespace });
        json!({ "spec": { "user": "sandbox", "resourceAttributes": about } })
    };
    assert_eq!(cluster.as_(&bob, "POST", &path, &ask("default")).await.0, 201);
    assert_eq!(cluster.as_(&bob, "POST", &path, &ask("kube-system")).await.0, 422);

    // Whom nobody can read is nobody, and not the administrator.
    let url = format!("{}{maps}", cluster.sandbox.url());
    let ask = |user: &[u8]| {
        let user = reqwest::header::HeaderValue::from_bytes(user).unwrap();
        reqwest::Client::new().get(&url).bearer_auth(&admin).header("impersonate-user", user).send()
    };
    assert_eq!(ask("jürgen".as_bytes()).await.unwrap().status().as_u16(), 403);
    assert_eq!(ask(b"j\xfcrgen").await.unwrap().status().as_u16(), 400);
}
