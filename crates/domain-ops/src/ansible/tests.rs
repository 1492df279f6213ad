//! Against Ansible itself, on connections of its own machine.

use super::{Ansible, Request, Settings, unseen};
use astradesk_core::{Call, Code, Effect, Error, FrozenCall, Principal, RunId, ToolName};
use astradesk_runtime::port::{Fault, Progress, ProgressReport, StepContext};
use astradesk_runtime::secret::Secret;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// The variable that names the folder with Ansible's programs.
const TEST_ANSIBLE: &str = "ASTRADESK_TEST_ANSIBLE";
/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long a playbook may take, in seconds, where that is not what is tested.
const LIMIT: u64 = 100;

const INVENTORY: &str = "
all:
  vars: {ansible_connection: local, ansible_python_interpreter: /usr/bin/python3}
  children:
    web: {hosts: {web1: {}, web2: {}, web3: {}}}
    closed: {hosts: {db1: {ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1}}}
";

/// Each playbook, with its manifest and its tasks.
const PLAYBOOKS: &[(&str, &str, &str)] = &[
    (
        "write",
        "description = \"writes\"\nhosts = [\"web\"]\ncheck = true\nvars.to = { type = \"string\" }\nvars.text = { type = \"string\" }\noptional = [\"text\"]",
        "
    - name: write
      ansible.builtin.copy: {dest: '{{ to }}/{{ inventory_hostname }}', content: \"{{ text | default('hi') }}\\n\"}
    - name: say
      ansible.builtin.debug: {msg: 'wrote {{ text | default(\"hi\") }}'}",
    ),
    (
        "partial",
        "description = \"fails on one\"\nhosts = [\"web\", \"closed\"]",
        "
    - {name: prepare, ansible.builtin.command: /bin/true}
    - {name: break, ansible.builtin.fail: {msg: 'password=hunter2 is wrong'}, when: inventory_hostname == 'web2'}",
    ),
    (
        "slow",
        "description = \"takes long\"\nhosts = [\"web\"]\nvars.mark = { type = \"string\" }",
        "
    - {name: begin, ansible.builtin.command: /bin/true}
    - {name: wait, ansible.builtin.command: 'sleep {{ mark }}'}",
    ),
    (
        "secret",
        "description = \"has a vault\"\nhosts = [\"web1\"]",
        "
    - {name: tell, ansible.builtin.debug: {msg: 'the vault opens with vault-password-1 and has {{ kept }}'}}
    - {name: hide, ansible.builtin.fail: {msg: 'this is for nobody'}, no_log: true}",
    ),
    (
        "flood",
        "description = \"says much\"\nhosts = [\"web1\"]",
        "
    - {name: say, ansible.builtin.fail: {msg: \"{{ 'x' * 3000000 }}\"}, ignore_errors: true}
    - {name: print, ansible.builtin.command: \"head -c 20000000 /dev/zero\"}
    - {name: change, ansible.builtin.command: /bin/true, loop: \"{{ range(3) | list }}\"}",
    ),
    (
        "broken",
        "description = \"names no module\"\nhosts = [\"web\"]",
        "
    - {name: broken, ansible.builtin.no_such_module: {}}",
    ),
    ("elsewhere", "description = \"is for web1\"\nhosts = [\"web1\"]", "\n    - {name: do, ansible.builtin.command: /bin/true}"),
];

/// A folder of playbooks, an inventory, and what is kept of runs.
struct Site {
    folder: TempDir,
    ansible: Ansible,
}

impl Site {
    /// None, loudly, where there is no Ansible; where `CI` is set, that is a failure.
    fn new() -> Option<Self> {
        let Some(programs) = std::env::var_os(TEST_ANSIBLE).filter(|path| !path.is_empty()) else {
            assert!(
                std::env::var_os("CI").is_none(),
                "in CI nothing may be skipped: {TEST_ANSIBLE} is not set"
            );
            eprintln!("SKIPPED: no Ansible in `{TEST_ANSIBLE}`; use `cargo xtask test`");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let play = folder.path().join("play");
        fs::create_dir_all(play.join("group_vars")).unwrap();
        fs::create_dir_all(folder.path().join("out")).unwrap();
        fs::write(play.join("inventory"), INVENTORY).unwrap();
        for (name, manifest, tasks) in PLAYBOOKS {
            let text = format!("- hosts: all\n  gather_facts: false\n  tasks:{tasks}\n");
            fs::write(play.join(format!("{name}.yml")), text).unwrap();
            fs::write(play.join(format!("{name}.toml")), manifest).unwrap();
        }
        let ansible = Ansible::new(Settings {
            folder: play,
            inventory: "inventory".into(),
            programs: programs.into(),
            vault_password: None,
            environment: Vec::new(),
            max_hosts: 3,
            state: folder.path().join("state"),
        });
        Some(Self { folder, ansible })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.ansible.settings);
        self
    }

    /// Another process on the same state.
    fn again(&self) -> Ansible {
        Ansible::new(self.ansible.settings.clone())
    }

    fn written(&self) -> usize {
        fs::read_dir(self.path("out")).unwrap().count()
    }

    /// A step that calls the tool so.
    async fn step(&self, arguments: &Value, seconds: u64) -> (StepContext, mpsc::Receiver<ProgressReport>) {
        let arguments = arguments.as_object().unwrap().clone();
        let request = Request::of(&arguments);
        let unseen = unseen(&request.playbook).unwrap();
        let targets = self.ansible.plan(request).await.map_or_else(|_| vec![unseen], |plan| plan.targets);
        let call = Call { tool: ToolName::parse("run_playbook").unwrap(), arguments };
        let (sender, reports) = mpsc::channel(1000);
        let step = StepContext {
            run: RunId::parse("01920000-0000-7000-8000-000000000001").unwrap(),
            step: 0,
            call: FrozenCall::new(call, "1".to_owned(), Effect::Execute, targets),
            principal: Principal {
                subject: "ada".to_owned(),
                issuer: "test".to_owned(),
                roles: std::collections::BTreeSet::new(),
                actor: None,
            },
            intent: Value::Null,
            undoes: None,
            repeated: false,
            deadline: Instant::now() + Duration::from_secs(seconds),
            progress: Progress::to(sender),
        };
        (step, reports)
    }

    /// Intends, begins and watches a call, as the Engine does.
    async fn live(&self, arguments: &Value, seconds: u64) -> Result<Value, Fault> {
        let (mut step, _reports) = self.step(arguments, seconds).await;
        step.intent = self.ansible.intend(&step).await.map_err(Fault::Failed)?;
        let receipt = self.ansible.begin(&step).await?;
        self.ansible.watch(&step, &receipt).await
    }

    /// Begins a call that takes long, and waits until it is in its second task.
    async fn slow(&self, seconds: u64, mark: &str) -> (StepContext, Value) {
        let arguments = json!({"playbook": "slow", "limit": "web1", "vars": {"mark": mark}});
        let (mut step, _reports) = self.step(&arguments, seconds).await;
        step.intent = self.ansible.intend(&step).await.unwrap();
        let receipt = self.ansible.begin(&step).await.unwrap();
        let journal = self.path("state/ansible").join(format!("{}-0/journal", step.run));
        until("the task that waits", || {
            fs::read_to_string(&journal).is_ok_and(|text| text.contains("\"wait\""))
        })
        .await;
        until("its sleep", || alive(mark) > 0).await;
        (step, receipt)
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited for {what}"));
}

/// The processes whose command line has this text.
fn alive(mark: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.windows(mark.len()).any(|part| part == mark.as_bytes())).count()
}

/// So many seconds that no other process sleeps.
fn mark(number: u32) -> String {
    format!("1000.{}{number}", std::process::id())
}

fn error(ended: &Result<Value, Fault>) -> &Error {
    match ended {
        Err(Fault::Failed(error) | Fault::Moved(error) | Fault::Unknown(error)) => error,
        Ok(output) => panic!("it succeeded: {output}"),
    }
}

#[tokio::test]
async fn a_playbook_is_run_on_its_hosts_and_nowhere_else() {
    let Some(site) = Site::new() else { return };
    let to = site.path("out").display().to_string();
    let (mut step, mut reports) =
        site.step(&json!({"playbook": "write", "limit": "web1,web3", "vars": {"to": to}}), LIMIT).await;
    let targets: Vec<String> = step.call.targets.iter().map(ToString::to_string).collect();
    assert!(targets[0].starts_with("external/ansible/playbook/write@"), "{targets:?}");
    assert_eq!(targets[1..], ["external/ansible/host/web1", "external/ansible/host/web3"]);
    step.intent = site.ansible.intend(&step).await.unwrap();
    let receipt = site.ansible.begin(&step).await.unwrap();
    let output = site.ansible.watch(&step, &receipt).await.unwrap();
    assert_eq!(output["summary"], "playbook `write` changed 2 of 2 hosts, in 2 tasks");
    assert_eq!(output["hosts"]["web1"]["changed"], 1);
    assert_eq!(output["changes"].as_array().unwrap().len(), 2, "{output}");
    assert!(site.path("out/web1").exists() && site.path("out/web3").exists() && site.written() == 2);
    let mut told = Vec::new();
    while let Ok(report) = reports.try_recv() {
        told.push(report.message);
    }
    let expected =
        ["play `all`", "task 1: `write`", "`write`: changed on 2", "task 2: `say`", "`say`: ok on 2"];
    assert_eq!(told, expected);
    // It is done: the same step again does nothing more, and says the same.
    fs::remove_file(site.path("out/web1")).unwrap();
    step.repeated = true;
    let again = site.again();
    assert_eq!(again.begin(&step).await.unwrap(), receipt);
    assert_eq!(again.watch(&step, &receipt).await.unwrap(), output);
    assert!(!site.path("out/web1").exists());
}

#[tokio::test]
async fn check_mode_changes_nothing_and_shows_what_would_be() {
    let Some(site) = Site::new() else { return };
    let vars = json!({"to": site.path("out").display().to_string()});
    let call = json!({"playbook": "write", "limit": "web1", "vars": vars, "check": true});
    let output = site.live(&call, LIMIT).await.unwrap();
    assert_eq!(output["summary"], "playbook `write`, in check mode, would change 1 of 1 host, in 2 tasks");
    let plan = site.ansible.plan(Request::of(call.as_object().unwrap())).await.unwrap();
    assert_eq!(plan.tasks, ["write", "say"]);
    let rehearsed = site.ansible.rehearse(&plan).await.unwrap();
    assert_eq!(rehearsed["changes"][0]["diff"][0], "--- before", "{rehearsed}");
    assert_eq!(site.written(), 0);
}

#[tokio::test]
async fn no_variable_is_a_template_or_more_than_it_may_be() {
    let Some(site) = Site::new() else { return };
    let to = site.path("out").display().to_string();
    let text = format!("{{{{ lookup('pipe', 'touch {to}/pwned') }}}}");
    let call = json!({"playbook": "write", "limit": "web1", "vars": {"to": to, "text": text}});
    site.live(&call, LIMIT).await.unwrap();
    assert_eq!(fs::read_to_string(site.path("out/web1")).unwrap(), format!("{text}\n"));
    assert_eq!(site.written(), 1);
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_with_its_code() {
    let Some(site) = Site::new() else { return };
    fs::write(site.path("play/syntax.yml"), "- hosts: [").unwrap();
    fs::write(site.path("play/syntax.toml"), "description = \"x\"\nhosts = [\"web\"]").unwrap();
    fs::write(site.path("play/lost.yml"), "- hosts: all").unwrap();
    fs::write(site.path("play/lost.toml"), "description = \"x\"\nhosts = [\"nosuch\"]").unwrap();
    fs::write(site.path("play/odd.yml"), "- hosts: all").unwrap();
    fs::write(site.path("play/odd.toml"), "description = 1").unwrap();
    let vars = json!({"to": "/nowhere"});
    let call = |playbook: &str, limit: &str, vars: &Value| json!({"playbook": playbook, "limit": limit, "vars": vars});
    for (call, code, why) in [
        (call("nosuch", "web1", &json!({})), Code::AnsiblePlaybookNotFound, "`nosuch`"),
        (call("odd", "web1", &json!({})), Code::AnsiblePlaybookInvalid, "`odd.toml`"),
        (call("syntax", "web1", &json!({})), Code::AnsiblePlaybookInvalid, "ERROR!"),
        (call("broken", "web1", &json!({})), Code::AnsiblePlaybookInvalid, "no_such_module"),
        (call("lost", "web1", &json!({})), Code::AnsiblePlaybookInvalid, "`nosuch`"),
        (call("write", "web1", &json!({})), Code::ToolArgumentsInvalid, "to"),
        (call("write", "web1", &json!({"to": 1})), Code::ToolArgumentsInvalid, "/to"),
        (
            call("write", "web1", &json!({"to": "/", "ansible_host": "x"})),
            Code::ToolArgumentsInvalid,
            "ansible_host",
        ),
        (call("write", "web*", &vars), Code::ToolArgumentsInvalid, "`web*`"),
        (call("write", "@/etc/passwd", &vars), Code::ToolArgumentsInvalid, "`@/etc/passwd`"),
        (call("write", "web1,!web2", &vars), Code::ToolArgumentsInvalid, "`!web2`"),
        (call("write", "web9", &vars), Code::AnsibleHostsRefused, "`web9`"),
        (call("write", "web1,db1", &vars), Code::AnsibleHostsRefused, "`db1`, only on web"),
        (
            call("partial", "all", &json!({})),
            Code::AnsibleHostsRefused,
            "`all` is 4 hosts, and 3 is the limit",
        ),
        (call("elsewhere", "web2", &json!({})), Code::AnsibleHostsRefused, "`web2`, only on web1"),
        (
            json!({"playbook": "slow", "limit": "web1", "vars": {"mark": "1"}, "check": true}),
            Code::ToolArgumentsInvalid,
            "check mode",
        ),
    ] {
        let refused = site.ansible.plan(Request::of(call.as_object().unwrap())).await.unwrap_err();
        assert_eq!(refused.code, code, "{call}: {}", refused.message);
        assert!(refused.message.contains(why), "{call}: {}", refused.message);
    }
    let write = Request::of(call("write", "web1", &vars).as_object().unwrap());
    let site = site.with(|settings| settings.inventory = "nosuch".into());
    let refused = site.ansible.plan(write.clone()).await.unwrap_err();
    assert_eq!(refused.code, Code::AnsibleUnavailable, "{}", refused.message);
    let site = site.with(|settings| settings.programs = "/no/such/folder".into());
    assert_eq!(site.ansible.plan(write.clone()).await.unwrap_err().code, Code::AnsibleUnavailable);
    let site = site.with(|settings| settings.folder = "/no/such/folder".into());
    assert_eq!(site.ansible.plan(write).await.unwrap_err().code, Code::AnsibleUnavailable);
}

#[tokio::test]
async fn what_fails_says_where() {
    let call = |limit: &str| json!({"playbook": "partial", "limit": limit});
    let why = "failed on `web2`, succeeded on `web1`; `break` on `web2`: password=[redacted] is wrong";
    ends(&call("web1,web2"), Code::AnsiblePartial, why).await;
    ends(&call("web2"), Code::AnsibleFailed, "failed on `web2`; `break`").await;
}

#[tokio::test]
async fn what_cannot_be_reached_is_named() {
    let call = |limit: &str| json!({"playbook": "partial", "limit": limit});
    ends(&call("db1"), Code::AnsibleUnreachable, "could not reach `db1`").await;
    ends(&call("web1,db1"), Code::AnsiblePartial, "could not reach `db1`, succeeded on `web1`").await;
}

/// Checks how a call fails.
async fn ends(call: &Value, code: Code, why: &str) {
    let Some(site) = Site::new() else { return };
    let ended = site.live(call, LIMIT).await;
    let told = error(&ended);
    assert!(matches!(ended, Err(Fault::Failed(_))) && told.code == code, "{call}: {ended:?}");
    assert!(told.message.contains(why), "{call}: {}", told.message);
    assert!(!json!(told).to_string().contains("hunter2"), "{told:?}");
}

#[tokio::test]
async fn much_is_said_and_little_is_kept() {
    let Some(site) = Site::new() else { return };
    let output = site.live(&json!({"playbook": "flood", "limit": "web1"}), LIMIT).await.unwrap();
    assert_eq!(output["hosts"]["web1"]["ignored"], 1, "{output}");
    assert!(output.to_string().len() < 10_000);
}

#[tokio::test]
async fn a_vault_is_opened_and_its_password_shown_to_nobody() {
    let Some(site) = Site::new() else { return };
    let password = site.path("password");
    fs::write(&password, "vault-password-1\n").unwrap();
    let vault = site.ansible.settings.programs.join("ansible-vault");
    let encrypted = std::process::Command::new(vault)
        .args(["encrypt_string", "--vault-password-file"])
        .args([password.to_str().unwrap(), "--name", "kept", "what-is-kept"])
        .output()
        .unwrap();
    assert!(encrypted.status.success(), "{encrypted:?}");
    fs::write(site.path("play/group_vars/web.yml"), &encrypted.stdout).unwrap();
    let call = json!({"playbook": "secret", "limit": "web1"});
    let without = site.live(&call, LIMIT).await;
    assert_eq!(error(&without).code, Code::AnsibleFailed, "{without:?}");
    let site = site.with(|settings| settings.vault_password = Some(Secret::File(password.clone())));
    let (mut step, mut reports) = site.step(&call, LIMIT).await;
    step.run = RunId::parse("01920000-0000-7000-8000-000000000002").unwrap();
    step.intent = site.ansible.intend(&step).await.unwrap();
    let receipt = site.ansible.begin(&step).await.unwrap();
    assert!(!site.path("state/ansible").join(format!("{}-0/vault", step.run)).exists());
    let ended = site.ansible.watch(&step, &receipt).await;
    let mut told = json!(error(&ended)).to_string();
    while let Ok(report) = reports.try_recv() {
        let _ = write!(told, "{report:?}");
    }
    assert!(told.contains("hide") && told.contains("failed"), "{told}");
    for secret in ["vault-password-1", "this is for nobody"] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    fs::remove_file(&password).unwrap();
    let missing = site.live(&call, LIMIT).await;
    assert_eq!(error(&missing).code, Code::SecretMissing, "{missing:?}");
}

#[tokio::test]
async fn what_takes_too_long_is_killed_and_what_was_done_is_said() {
    let Some(site) = Site::new() else { return };
    let mark = mark(1);
    let (mut step, receipt) = site.slow(LIMIT, &mark).await;
    step.deadline = Instant::now();
    let ended = site.ansible.watch(&step, &receipt).await;
    assert_eq!(error(&ended).code, Code::ToolTimedOut, "{ended:?}");
    assert!(
        error(&ended).message.contains("after 2 tasks; it was in `wait`, and `web1` had not answered"),
        "{ended:?}"
    );
    assert_eq!(error(&ended).details["hosts"]["web1"]["ok"], 1);
    until("its end", || alive(&mark) == 0).await;
}

#[tokio::test]
async fn what_is_cancelled_is_killed_and_what_was_done_is_said() {
    let Some(site) = Site::new() else { return };
    let mark = mark(2);
    let (step, receipt) = site.slow(LIMIT, &mark).await;
    let stopped = site.ansible.stop(&step, &receipt).await.unwrap();
    assert_eq!(stopped.code, Code::RunCancelled);
    assert!(stopped.message.contains("after 2 tasks; it was in `wait`"), "{}", stopped.message);
    until("its end", || alive(&mark) == 0).await;
    // A process that died before it could say so asks again.
    let again = site.again().stop(&step, &receipt).await.unwrap();
    assert_eq!(again, stopped);
}

#[tokio::test]
async fn a_run_outlives_its_watcher_and_is_watched_on() {
    let Some(site) = Site::new() else { return };
    let mark = format!("2.{}3", std::process::id());
    let (mut step, receipt) = site.slow(LIMIT, &mark).await;
    step.repeated = true;
    let other = site.again();
    assert_eq!(other.begin(&step).await.unwrap(), receipt, "it was begun already");
    assert_eq!(alive(&mark), 1, "and not once more");
    let output = other.watch(&step, &receipt).await.unwrap();
    assert_eq!(output["summary"], "playbook `slow` changed 1 of 1 host, in 2 tasks");
}

#[tokio::test]
async fn what_dies_half_way_is_unknown_and_never_begun_again() {
    let Some(site) = Site::new() else { return };
    let mark = mark(4);
    let (mut step, receipt) = site.slow(LIMIT, &mark).await;
    let journal = site.path("state/ansible").join(format!("{}-0/journal", step.run));
    let first = fs::read_to_string(&journal).unwrap();
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    let group = rustix::process::Pid::from_raw(first["group"].as_i64().unwrap() as i32).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    step.repeated = true;
    let other = site.again();
    assert_eq!(other.begin(&step).await.unwrap(), receipt);
    let ended = other.watch(&step, &receipt).await;
    assert!(matches!(ended, Err(Fault::Unknown(_))), "{ended:?}");
    assert!(error(&ended).message.contains("died half-way"), "{ended:?}");
    assert_eq!(alive(&mark), 0);
    // Nor is one begun whose journal is somewhere else.
    fs::remove_dir_all(site.path("state")).unwrap();
    assert!(matches!(other.begin(&step).await, Err(Fault::Unknown(_))));
}

#[tokio::test]
async fn what_was_intended_and_not_begun_is_begun_by_the_next_process() {
    let Some(site) = Site::new() else { return };
    let vars = json!({"to": site.path("out").display().to_string()});
    let (mut step, _reports) =
        site.step(&json!({"playbook": "write", "limit": "web1", "vars": vars}), LIMIT).await;
    step.intent = site.ansible.intend(&step).await.unwrap();
    step.repeated = true;
    // What is changed by then is not what is run.
    fs::write(site.path("play/write.yml"), "- hosts: nosuch").unwrap();
    let other = site.again();
    let receipt = other.begin(&step).await.unwrap();
    other.watch(&step, &receipt).await.unwrap();
    assert_eq!(site.written(), 1);
}

#[tokio::test]
async fn what_has_changed_since_it_was_asked_for_is_not_run() {
    let Some(site) = Site::new() else { return };
    let change = |path: &str, text: &str| {
        let path = site.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let vars = json!({"to": site.path("out").display().to_string()});
    let (step, _) = site.step(&json!({"playbook": "write", "limit": "web", "vars": vars}), LIMIT).await;
    site.ansible.intend(&step).await.unwrap();
    change("play/roles/nginx/tasks/main.yml", "[]");
    let refused = site.ansible.intend(&step).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (Code::AnsibleChanged, "the folder of playbooks has changed since `write` was asked for")
    );
    let site = site.with(|settings| settings.inventory = settings.state.with_file_name("hosts.yml"));
    fs::write(site.path("hosts.yml"), INVENTORY).unwrap();
    let (step, _) = site.step(&json!({"playbook": "write", "limit": "web", "vars": vars}), LIMIT).await;
    fs::write(site.path("hosts.yml"), INVENTORY.replace("web3: {}", "web4: {}")).unwrap();
    let refused = site.ansible.intend(&step).await.unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (Code::AnsibleChanged, "the inventory has changed since `write` was asked for")
    );
    assert_eq!(site.written(), 0);
}

#[tokio::test]
async fn a_doctor_is_told_what_is_there() {
    let Some(site) = Site::new() else { return };
    fs::write(site.path("play/odd.yml"), "- hosts: all").unwrap();
    fs::write(site.path("play/odd.toml"), "description = 1").unwrap();
    let (playbooks, hosts, broken) = site.ansible.answers().await.unwrap();
    assert_eq!((playbooks, hosts, broken.len()), (PLAYBOOKS.len() + 1, 4, 1));
    assert!(Path::new(&site.path("play/odd.toml")).exists());
}
