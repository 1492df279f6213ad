//! Playbooks through the one door: Debian's Ansible, on connections of its own machine.

use astradesk_e2e::place::skipped;
use astradesk_e2e::{Client, Gateway, Place, Serve, Settings, Which};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The variable that names the folder with Ansible's programs.
const TEST_ANSIBLE: &str = "ASTRADESK_TEST_ANSIBLE";

/// Somebody else must agree to what is not only a check.
const POLICY: &str = r#"
@id("playbooks")
permit (principal in Role::"sre", action == Action::"run_playbook", resource)
when {
    context.approvals.count >= 1 || context.arguments.playbook == "wait"
    || (context.arguments has check && context.arguments.check)
};

@id("not.web3")
forbid (principal, action == Action::"run_playbook", resource)
when { resource.kind == "host" && resource.name == "web3" };
"#;

const INVENTORY: &str = "[web]\nweb1\nweb2\nweb3\n[web:vars]\nansible_connection=local\nansible_python_interpreter=/usr/bin/python3\n";
const WRITE: &str = "- hosts: web
  gather_facts: false
  tasks:
    - {name: write, ansible.builtin.copy: {dest: 'OUT/{{ inventory_hostname }}', content: '{{ text }}'}}
";
const WAIT: &str = "- hosts: web
  gather_facts: false
  tasks:
    - {name: begin, ansible.builtin.shell: 'echo begun >> OUT/begun'}
    - {name: wait, ansible.builtin.wait_for: {path: OUT/go, timeout: 90}}
    - {name: say, ansible.builtin.debug: {msg: 'password=hunter2'}}
    - {name: end, ansible.builtin.shell: 'echo ended >> OUT/ended'}
";

#[test]
fn an_approved_playbook_is_run_once_and_only_as_it_was_seen() {
    on_sandbox(approved);
}

#[test]
fn a_cancelled_playbook_is_killed() {
    on_sandbox(cancelled);
}

#[test]
fn a_playbook_outlives_a_killed_gateway() {
    on_sandbox(outlives);
}

/// Runs a test's body in the sandbox, if there is an Ansible.
fn on_sandbox(body: impl AsyncFnOnce(&Place)) {
    if std::env::var_os(TEST_ANSIBLE).is_none_or(|path| path.is_empty()) {
        skipped(&format!("no Ansible in `{TEST_ANSIBLE}`; use `cargo xtask test`"));
        return;
    }
    // Each start of Ansible takes a second of a core that has nothing else to do.
    let limit = Duration::from_secs(200);
    astradesk_e2e::test_within(limit, Which::Sandbox, env!("CARGO_BIN_EXE_astradesk-e2e-cli"), body);
}

/// Settings with playbooks, the folder of these, and that in which they write.
fn settings(place: &Place) -> (Settings, PathBuf, PathBuf) {
    let (play, out) = (place.folder("play"), place.folder("out"));
    let text = |text: &str| text.replace("OUT", out.to_str().unwrap());
    let manifest = "description = \"x\"\nhosts = [\"web\"]\ntime_limit = \"2m\"\n";
    for (name, content) in [
        ("inventory", INVENTORY.to_owned()),
        ("write.yml", text(WRITE)),
        ("write.toml", format!("{manifest}check = true\nvars.text = {{ type = \"string\" }}")),
        ("wait.yml", text(WAIT)),
        ("wait.toml", manifest.to_owned()),
    ] {
        fs::write(play.join(name), content).unwrap();
    }
    let mut settings = Settings::of(place, &[]).policies(POLICY);
    let programs = std::env::var(TEST_ANSIBLE).unwrap();
    let quoted = |path: &Path| toml::Value::from(path.display().to_string()).to_string();
    let table = [("folder", quoted(&play)), ("programs", quoted(Path::new(&programs)))];
    settings.toml.push_str("[ansible]\n");
    settings.toml.extend(table.map(|(key, value)| format!("{key} = {value}\n")));
    (settings, play, out)
}

/// Asks for a playbook that needs an approval.
async fn awaiting(client: &Client, limit: &str) -> Value {
    let arguments = json!({"playbook": "write", "limit": limit, "vars": {"text": "{{ 1 + 1 }}"}});
    let reply = client.ask("run_playbook", &json!({"arguments": arguments, "reason": "needed"})).await;
    assert_eq!(reply.status, 202, "{:#}", reply.body);
    assert_eq!(reply.body["run"]["state"], "awaiting_approval", "{:#}", reply.body);
    reply.body["run"].clone()
}

async fn approve(gateway: &Gateway, run: &Value) -> astradesk_e2e::Reply {
    let other = gateway.client.with_token(Some(&gateway.settings.token("bo", "sre")));
    let path = format!("/v1/runs/{}/approve", run["id"].as_str().unwrap());
    other.post(&path, &json!({"digest": run["approvals"]["digest"], "reason": "seen"})).await
}

async fn approved(place: &Place) {
    let (settings, play, out) = settings(place);
    let gateway = Gateway::start(place, settings).await;
    let client = &gateway.client;
    let call =
        |limit: &str| json!({"playbook": "write", "limit": limit, "vars": {"text": "x"}, "check": true});
    client.call("run_playbook", &call("web1")).await.expect_success();
    client.call("run_playbook", &call("web")).await.expect(403, "policy.denied");
    client.call("run_playbook", &call("web9")).await.expect(409, "ansible.hosts_refused");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "a check changes nothing");

    let run = awaiting(client, "web1,web2").await;
    let id = run["id"].as_str().unwrap();
    let changed = awaiting(client, "web1").await;
    let done = approve(&gateway, &run).await;
    assert_eq!(done.status, 200, "{:#}", done.body);
    let ended = client.ended(id).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    assert_eq!(fs::read_to_string(out.join("web2")).unwrap(), "{{ 1 + 1 }}");
    let kinds = client.evidence_of(id).await;
    for kind in ["approval.requested", "step.intended", "step.performed", "run.finished"] {
        assert!(kinds.iter().any(|found| found == kind), "{kind}: {kinds:?}");
    }
    // What is changed since is not what was seen.
    fs::remove_file(out.join("web1")).unwrap();
    fs::write(play.join("other"), "x").unwrap();
    approve(&gateway, &changed).await.expect(409, "approval.withdrawn");
    assert!(!out.join("web1").exists());
    assert!(gateway.stop().await);
}

/// Starts the playbook that waits, and waits until it does.
async fn waiting(client: &Client) -> String {
    let arguments = json!({"playbook": "wait", "limit": "web1"});
    let reply = client.ask("run_playbook", &json!({"arguments": arguments})).await;
    assert_eq!(reply.status, 202, "{:#}", reply.body);
    let run = reply.run().to_owned();
    client.event(&run, |event| event.to_string().contains("task 2: `wait`")).await;
    run
}

async fn cancelled(place: &Place) {
    let (settings, _, out) = settings(place);
    let gateway = Gateway::start(place, settings).await;
    let run = waiting(&gateway.client).await;
    let reply = gateway.client.post(&format!("/v1/runs/{run}/cancel"), &json!({})).await;
    assert!(matches!(reply.status, 200 | 202), "{:#}", reply.body);
    let ended = gateway.client.ended(&run).await;
    assert_eq!(ended["state"], "cancelled", "{ended:#}");
    let said = ended["steps"][0].to_string();
    assert!(said.contains("was killed") && said.contains("it was in `wait`"), "{ended:#}");
    fs::write(out.join("go"), "").unwrap();
    assert!(out.join("begun").exists() && !out.join("ended").exists());
    assert!(gateway.stop().await);
}

async fn outlives(place: &Place) {
    let (settings, _, out) = settings(place);
    let first = Serve::start(place, &settings).await;
    let run = waiting(&first.client).await;
    first.kill().await;
    let second = Serve::start(place, &settings).await;
    fs::write(out.join("go"), "").unwrap();
    let ended = second.client.ended(&run).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    for name in ["begun", "ended"] {
        assert_eq!(fs::read_to_string(out.join(name)).unwrap().lines().count(), 1, "{name}: exactly once");
    }
    assert!(second.client.evidence_of(&run).await.contains(&"run.claimed".to_owned()));
    assert!(!second.log().contains("hunter2") && !ended.to_string().contains("hunter2"));
    assert_eq!(second.terminate().await.0, Some(0));
}
