//! `astradesk packs`, and packs as the whole program has them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap in a test is a failed test; a JSON value that lacks a key yields null"
)]

use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn run(folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_astradesk"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !arguments.contains(&"json") {
        said.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    (output.status.code().unwrap(), said)
}

fn examples() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/packs").display().to_string()
}

#[test]
fn a_pack_is_begun_checked_and_tried_without_a_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = run(folder.path(), &["packs", "new", "mine"], &[]);
    assert_eq!((code, said.contains("`mine` is a pack to begin with")), (0, true), "{said}");
    let (code, said) = run(folder.path(), &["packs", "check", "mine"], &[]);
    assert_eq!((code, said.contains("`mine` 0.1.0 is valid")), (0, true), "{said}");
    let (code, said) = run(&folder.path().join("mine"), &["packs", "test"], &[]);
    assert_eq!((code, said.contains("3 cases, 0 failed")), (0, true), "{said}");
    let (code, said) = run(folder.path(), &["-o", "json", "packs", "test", "mine"], &[]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &told["failed"], told["cases"].as_array().unwrap().len()), (0, &0.into(), 3));

    let file = folder.path().join("mine/pack.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("[tools.http]", "[tools.htpp]")).unwrap();
    for command in ["check", "test"] {
        let (code, said) = run(folder.path(), &["packs", command, "mine"], &[]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("`mine/pack.toml`: tool `get_thing` has the unknown key `htpp`"), "{said}");
        assert!(said.contains("did you mean `http`?"), "{said}");
        let (_, said) = run(folder.path(), &["-o", "json", "packs", command, "mine"], &[]);
        let told: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(told["error"]["code"], "pack.invalid", "{said}");
    }
    let cases = folder.path().join("mine/cases.toml");
    std::fs::write(&file, text).unwrap();
    let wrong = std::fs::read_to_string(&cases).unwrap().replace("thing/lamp\"]", "thing/door\"]");
    std::fs::write(cases, wrong).unwrap();
    let (code, said) = run(folder.path(), &["packs", "test", "mine"], &[]);
    assert!(code == 1 && said.contains("it acts on `external/example/thing/lamp`"), "{said}");
}

/// The policies know the tools of packs, and those of the page permit what they say.
#[test]
fn policies_speak_of_the_tools_of_packs() {
    let folder = tempfile::tempdir().unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/packs.md");
    let page = std::fs::read_to_string(page).unwrap();
    let policies = page.split("```cedar\n").nth(1).unwrap().split("```").next().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    std::fs::write(folder.path().join("policies/flags.cedar"), policies).unwrap();
    let cases = "cases:
  - name: on call, elsewhere
    principal: {subject: ada, roles: [oncall]}
    call: {tool: enable_flag, arguments: {project: p, environment: test, flag: f}, targets: [external/unleash/flag/p.test.f]}
    expect: {decision: permit}
  - name: on call, in production
    principal: {subject: ada, roles: [oncall]}
    call: {tool: enable_flag, arguments: {project: p, environment: production, flag: f}, targets: [external/unleash/flag/p.production.f]}
    expect: {decision: needs_approval}
  - name: the required role alone
    principal: {subject: eve, roles: [sre]}
    call: {tool: enable_flag, arguments: {project: p, environment: test, flag: f}, targets: [external/unleash/flag/p.test.f]}
    expect: {decision: deny, code: policy.denied}
  - name: no policy speaks of sessions
    principal: {subject: ada, roles: [oncall, sre]}
    call: {tool: pg_terminate_backend, arguments: {database: d, pid: 7, user: u}, targets: ['external/postgresql/session/d:7']}
    expect: {decision: deny, code: policy.denied}
  - name: an Ingress is no service
    principal: {subject: eve, roles: [sre]}
    call: {tool: end_maintenance, arguments: {namespace: default, ingress: webapp}, targets: [kubernetes/prod/default/ingress.networking.k8s.io/webapp]}
    expect: {decision: deny, code: policy.denied}
";
    std::fs::write(folder.path().join("cases.yaml"), cases).unwrap();
    let packs = examples();
    let env = [
        ("ASTRADESK_PACKS_FOLDER", packs.as_str()),
        ("ASTRADESK_POLICY_DIR", "policies"),
        ("ALLOWED_SERVICES", "webapp"),
    ];
    let (code, said) = run(folder.path(), &["policy", "test", "cases.yaml"], &env);
    assert_eq!((code, said.contains("5 cases, 0 failed")), (0, true), "{said}");
    let (code, said) = run(folder.path(), &["policy", "check"], &env);
    assert_eq!((code, said.contains("there is no tool")), (0, false), "{said}");
    let (_, said) = run(folder.path(), &["policy", "check"], &env[1..]);
    assert!(said.contains("there is no tool"), "without the packs there is none: {said}");
    let (_, said) = run(folder.path(), &["doctor"], &env);
    assert!(said.contains("pack `unleash`: 3 tool(s)"), "{said}");
    assert!(said.contains("no policy permits `pg_terminate_backend` to anybody"), "{said}");
}

const SETTINGS: &str = r#"
name = "settings"
version = "1"
description = "settings of the shop"

[[tools]]
name = "set_banner"
description = "says something to everybody"
effect = "write"
[tools.arguments.text]
type = "string"
[tools.kubernetes-patch]
api_version = "v1"
kind = "ConfigMap"
namespace = "default"
name = "banner"
patch = { data = { text = "{text}" } }
verify = [{ pointer = "/data/text", equals = "{text}" }]

[[tools]]
name = "count_words"
description = "counts words"
effect = "execute"
targets = ["external/shop/text/any"]
[tools.arguments.text]
type = "string"
[tools.command]
argv = ["/usr/bin/wc", "-w"]
env = { SECRET = "{env:SHOP_SECRET}" }
stdin = "{text}"
"#;

const PERMIT: &str = r#"
permit (principal, action == Action::"set_banner", resource) when { resource.kind == "configmap.core" };
permit (principal, action == Action::"count_words", resource) when { resource.system == "shop" };
"#;

/// By the one door: policy, a dry run of the API server, the patch, its verification, the evidence.
#[tokio::test(flavor = "multi_thread")]
async fn a_tool_of_a_pack_goes_the_way_of_every_effect() {
    let banner = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "banner"}, "data": {"text": "hello"}});
    let config = astradesk_sandbox::Config { objects: vec![banner], ..astradesk_sandbox::Config::default() };
    let sandbox = astradesk_sandbox::Sandbox::start(config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kubeconfig"), sandbox.kubeconfig()).unwrap();
    std::fs::create_dir_all(folder.path().join("packs/settings")).unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    std::fs::write(folder.path().join("packs/settings/pack.toml"), SETTINGS).unwrap();
    std::fs::write(folder.path().join("policies/permit.cedar"), "").unwrap();
    let astradesk = async |arguments: &[&str]| {
        let (path, arguments) =
            (folder.path().to_owned(), arguments.iter().map(ToString::to_string).collect::<Vec<_>>());
        let kubeconfig = path.join("kubeconfig").display().to_string();
        let running = tokio::task::spawn_blocking(move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let env = [
                ("KUBECONFIG", kubeconfig.as_str()),
                ("ASTRADESK_PACKS_FOLDER", "packs"),
                ("ASTRADESK_POLICY_DIR", "policies"),
                ("SHOP_SECRET", "hunter2-the-secret"),
            ];
            run(&path, &arguments, &env)
        });
        running.await.unwrap()
    };
    let set = ["call", "set_banner", "text=sale: -50%\"}"];
    let (code, said) = astradesk(&set).await;
    assert_eq!((code, said.contains("policy.denied")), (3, true), "{said}");
    let (code, said) = astradesk(&["packs"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("settings") && said.contains("no policy permits `set_banner` to anybody"),
        "{said}"
    );

    std::fs::write(folder.path().join("policies/permit.cedar"), PERMIT).unwrap();
    let (code, said) = astradesk(&["-o", "json", "call", "--dry-run", "set_banner", "text=x"]).await;
    assert_eq!((code, said.contains("accepted the same patch as a dry run")), (0, true), "{said}");
    let (code, said) = astradesk(&["-o", "json", set[0], set[1], set[2]]).await;
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &told["state"]), (0, &"succeeded".into()), "{said}");
    let (code, said) = astradesk(&["call", "count_words", "text=-x --help $(id)"]).await;
    assert_eq!(code, 0, "{said}");

    // Nobody is told the secret: it is in no record, no run and no output.
    let (code, said) = astradesk(&["audit", "export"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("external/shop/text/any") && said.contains("configmap.core/banner"), "{said}");
    assert!(said.contains("resource_version") && !said.contains("hunter2"), "{said}");
    let (code, said) = astradesk(&["audit", "verify"]).await;
    assert_eq!(code, 0, "{said}");

    // What is not valid is told, and keeps nothing else out.
    std::fs::create_dir(folder.path().join("packs/broken")).unwrap();
    std::fs::write(folder.path().join("packs/broken/pack.toml"), "name = 1").unwrap();
    let (code, said) = astradesk(&["packs"]).await;
    assert!(code == 0 && said.contains("`broken/pack.toml`: `name`: it is no text"), "{said}");
    let (code, said) = astradesk(&["-o", "json", "packs", "list"]).await;
    let told: Value = serde_json::from_str(&said).unwrap();
    let packs: Vec<&str> =
        told["packs"].as_array().unwrap().iter().map(|pack| pack["name"].as_str().unwrap()).collect();
    assert_eq!((code, packs), (0, vec!["broken", "operations", "settings"]), "{said}");
    assert_eq!(told["packs"][0]["problem"]["code"], "pack.invalid");
    sandbox.shutdown().await;
}
