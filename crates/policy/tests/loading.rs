//! Sets that are missing, not valid, doubtful, or replaced while they are used.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap in a test is a failed test")]

mod support;

use astradesk_core::{Code, Decision};
use astradesk_policy::{CedarPolicy, MAX_FILE_BYTES, MAX_FILES, PolicySources};
use astradesk_runtime::port::{Policy, SystemClock};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Ask, folder, line, open, principal, role, settings, tools};

const PERMIT: &str = "@id(\"p\") permit (principal in Role::\"dev\", action in Action::\"write\", resource);";

fn restart(policy: &CedarPolicy) -> String {
    line(&Ask::restart(&principal("dan", &["dev"])).decide(policy))
}

fn problem(files: &[(&str, &str)]) -> String {
    let dir = folder(files);
    let policy = open(&settings("webapp"), Some(dir.path()));
    assert!(policy.status().problem.is_some(), "valid: {files:?}");
    assert_denies_everything(&policy);
    policy.status().problem.unwrap().message
}

fn assert_denies_everything(policy: &CedarPolicy) {
    let sre = principal("ada", &["sre"]);
    let ask = Ask::restart(&sre);
    let Decision::Deny { error, .. } = ask.decide(policy) else { panic!("it is not denied") };
    assert_eq!(error.code, Code::PolicySetInvalid);
    assert_eq!(error.message, "everything is denied, because the policies are not valid");
    assert_eq!(policy.may_break_glass(&ask.request()).unwrap_err().code, Code::PolicySetInvalid);
    assert!(!policy.may_approve(&sre, &ask.request()));
    assert!(!policy.may_read_evidence(&sre) && !policy.may_see_runs_of_others(&sre));
    assert_eq!(policy.status().problem.unwrap().code, Code::PolicySetInvalid);
    assert_eq!(policy.status().policies, 0);
}

#[test]
fn a_set_that_is_missing_or_empty_denies_everything() {
    let nowhere = open(&settings("webapp"), Some(Path::new("/nowhere/at/all")));
    assert_denies_everything(&nowhere);
    assert!(nowhere.reload().is_err());
    assert!(problem(&[]).starts_with("there is no `*.cedar` file in the folder"));
    assert!(
        problem(&[("readme.txt", PERMIT), (".hidden.cedar", PERMIT)])
            .starts_with("there is no `*.cedar` file")
    );
}

#[test]
fn a_fault_is_told_with_file_and_line() {
    for (text, wanted) in [
        ("\n\npermit (principal, action, resource", "a.cedar:3: "),
        (
            "\npermit (principal, action in Action::\"write\", resource)\nwhen { resource.nmae == \"x\" };",
            "a.cedar:3: ",
        ),
        (
            "permit (principal, action in Action::\"write\", resource)\nwhen { resource.tier == \"x\" };",
            "a.cedar:2: ",
        ),
        ("permit (principal, action == Action::\"write\", resource);", "a.cedar:1: no call is `action == "),
        ("permit (principal in User::\"x\", action in Action::\"write\", resource);", "a.cedar:1: "),
        ("\n\npermit (principal == ?principal, action, resource);", "a.cedar:3: a policy with `?principal`"),
        (
            "@id(\"builtin.read\") permit (principal, action in Action::\"read\", resource);",
            "a.cedar:1: `builtin.read` begins with `builtin.`",
        ),
        ("@id(\"\") permit (principal, action in Action::\"read\", resource);", "a.cedar:1: `` is no name"),
        (
            "@id(\"a\\u{202e}b\") permit (principal, action in Action::\"read\", resource);",
            "a.cedar:1: `a\\u{202e}b`",
        ),
        (
            "permit (principal, action == Action::\"restart_service\", resource) when { context.arguments.service == 1 };",
            "a.cedar:1: ",
        ),
        (
            "permit (principal, action == Action::\"list_services\", resource) when { context.arguments has secret && context.arguments.secret == \"x\" };",
            "",
        ),
    ] {
        if wanted.is_empty() {
            // A secret argument is not there for policies: nothing can be true of it.
            let dir = folder(&[("a.cedar", text)]);
            let status = open(&settings("webapp"), Some(dir.path())).status();
            assert!(status.problem.is_none() && status.warnings.len() == 1, "{status:?}");
            continue;
        }
        let found = problem(&[("a.cedar", text)]);
        assert!(found.starts_with(wanted), "{text}: {found}");
    }
    for (text, role) in [
        ("context.approvals.hasTag(\"a lead\")", "a lead"),
        ("context.approvals.hasTag(\"lead\") && context.approvals.getTag(\"\") >= 2", ""),
        ("!(context.approvals.hasTag(\"it's\u{202e}\"))", "it's\\u{202e}"),
    ] {
        let text = format!("{PERMIT}\n@id(\"q\") forbid (principal, action, resource) when {{ {text} }};");
        let wanted = format!("b.cedar:2: `q` counts approvals of the role `{role}`, which nobody can have: ");
        let found = problem(&[("a.cedar", ""), ("b.cedar", &text)]);
        assert!(found.starts_with(&wanted), "{text}: {found}");
    }
    let two = [
        ("a.cedar", PERMIT),
        ("b.cedar", "\n@id(\"p\") permit (principal, action in Action::\"read\", resource);"),
    ];
    assert_eq!(problem(&two), "b.cedar:2: the name `p` is taken by a policy at a.cedar:1");
}

#[test]
fn the_limits_hold() {
    let large = format!("{PERMIT}//{}", "x".repeat(MAX_FILE_BYTES as usize));
    assert_eq!(
        problem(&[("large.cedar", &large)]),
        format!("`large.cedar` is larger than {MAX_FILE_BYTES} bytes")
    );
    let dir = folder(&[]);
    for i in 0..=MAX_FILES {
        std::fs::write(dir.path().join(format!("{i}.cedar")), "").unwrap();
    }
    let message = open(&settings(""), Some(dir.path())).status().problem.unwrap().message;
    assert!(message.contains("more than 1000 policy files"), "{message}");
    let dir = folder(&[]);
    std::fs::create_dir(dir.path().join("folder.cedar")).unwrap();
    let message = open(&settings(""), Some(dir.path())).status().problem.unwrap().message;
    assert_eq!(message, "`folder.cedar` is not a file");
    std::fs::write(dir.path().join("bytes.cedar"), [0xff, 0xfe]).unwrap();
    let message = open(&settings(""), Some(dir.path())).status().problem.unwrap().message;
    assert_eq!(message, "`bytes.cedar` is not UTF-8 text");
}

#[test]
fn a_folder_is_followed_as_a_mounted_config_map_has_it() {
    let dir = folder(&[]);
    let version = |name: &str, text: &str| {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name).join("site.cedar"), text).unwrap();
        let fresh = dir.path().join("..data_tmp");
        std::os::unix::fs::symlink(name, &fresh).unwrap();
        std::fs::rename(&fresh, dir.path().join("..data")).unwrap();
    };
    version("..1", PERMIT);
    std::os::unix::fs::symlink("..data/site.cedar", dir.path().join("site.cedar")).unwrap();
    let policy = open(&settings("webapp"), Some(dir.path()));
    assert_eq!(restart(&policy), "permit  p");
    version("..2", &PERMIT.replace("\"p\"", "\"q\""));
    assert_eq!(policy.reload(), Ok(true));
    assert_eq!(restart(&policy), "permit  q");
}

#[test]
fn a_set_that_is_not_valid_leaves_the_old_one_in_force() {
    let dir = folder(&[("a.cedar", PERMIT)]);
    let policy = open(&settings("webapp"), Some(dir.path()));
    let before = policy.status();
    assert_eq!(policy.reload(), Ok(false));
    assert_eq!(before.policies, 3);

    std::fs::write(dir.path().join("a.cedar"), "permit").unwrap();
    let error = policy.reload().unwrap_err();
    assert_eq!(policy.reload().unwrap_err(), error);
    let status = policy.status();
    assert_eq!(status.problem, Some(error));
    assert_eq!((status.digest, status.loaded_at), (before.digest, before.loaded_at));
    assert_eq!(restart(&policy), "permit  p");

    // Even when the folder is gone: nothing that was forbidden becomes permitted, nor the other way round.
    std::fs::remove_file(dir.path().join("a.cedar")).unwrap();
    assert!(policy.reload().is_err());
    assert_eq!(restart(&policy), "permit  p");

    std::fs::write(dir.path().join("a.cedar"), PERMIT).unwrap();
    assert_eq!(policy.reload(), Ok(false), "it is the set that is in force");
    assert_eq!(policy.status(), before);
    std::fs::write(dir.path().join("a.cedar"), PERMIT.replace("permit (", "forbid (")).unwrap();
    assert_eq!(policy.reload(), Ok(true));
    assert_eq!(restart(&policy), "deny  policy.denied  p");
    assert_ne!(policy.status().digest, before.digest);
}

#[test]
fn a_set_that_becomes_valid_ends_the_denial_of_everything() {
    let dir = folder(&[("a.cedar", "permit")]);
    let policy = open(&settings("webapp"), Some(dir.path()));
    assert_denies_everything(&policy);
    std::fs::write(dir.path().join("a.cedar"), PERMIT).unwrap();
    assert_eq!(policy.reload(), Ok(true));
    assert_eq!(restart(&policy), "permit  p");
}

#[test]
fn a_decision_is_of_one_set_while_sets_are_replaced() {
    // In either set the restart is permitted by its own policy and by no other; in a mixture it would be denied
    // or permitted by both.
    let one = "@id(\"one\") permit (principal in Role::\"dev\", action in Action::\"write\", resource);";
    let two =
        "@id(\"two\") permit (principal in Role::\"dev\", action == Action::\"restart_service\", resource);";
    let dir = folder(&[("a.cedar", one)]);
    let policy = Arc::new(open(&settings(""), Some(dir.path())));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                seen.insert(restart(&policy));
            }
            seen
        });
        for i in 0..10 {
            std::fs::write(dir.path().join("a.cedar"), if i % 2 == 0 { two } else { one }).unwrap();
            assert_eq!(policy.reload(), Ok(true));
            restart(&policy);
        }
        done.store(true, Ordering::Relaxed);
        let seen: Vec<String> = asking.join().unwrap().into_iter().collect();
        assert!(seen.iter().all(|line| line == "permit  one" || line == "permit  two"), "{seen:?}");
    });
}

#[test]
fn names_of_what_there_is_not_are_reported() {
    let text = r#"
permit (principal in Role::"nobody", action == Action::"restart_service", resource);
permit (principal in Role::"dev", action == Action::"resize_service", resource) when { context.arguments.replicas > 3 };
permit (principal in Role::"dev", action in [Action::"restart_service", Action::"drain_node"], resource);
permit (principal in Role::"dev", action in Action::"write", resource) when { resource.namespace == "shop" };
forbid (principal, action in Action::"write", resource) when { ["shop", "default"].contains(resource.namespace) };
forbid (principal, action in Action::"write", resource == Target::"kubernetes/prod/other/deployment/x");
forbid (principal, action in Action::"write", resource == Target::"webapp");
forbid (principal, action in Action::"write", resource) when { context.tool == "delete_service" };
forbid (principal, action in Action::"write", resource) unless { context.approvals.hasTag("ghost") };
forbid (principal, action in Action::"write", resource) when { false };
permit (principal in Role::"admin", action, resource);
"#;
    let dir = folder(&[("a.cedar", text)]);
    let sources = PolicySources {
        settings: settings("webapp"),
        dir: Some(dir.path().to_owned()),
        known_roles: vec![role("dev"), role("admin")],
    };
    let policy = CedarPolicy::open(sources, tools(), Arc::new(SystemClock));
    let status = policy.status();
    assert_eq!(status.problem, None);
    for wanted in [
        "a.cedar:2: nobody has the role `nobody`, as far as is configured",
        "a.cedar:3: the policy can never apply and is left out: there is no tool `resize_service`",
        "a.cedar:4: there is no tool `drain_node`",
        "a.cedar:5: the namespace `shop` is not managed here, only `default` is",
        "a.cedar:6: the namespace `shop` is not managed here, only `default` is",
        "a.cedar:7: the namespace `other` is not managed here, only `default` is",
        "a.cedar:8: `webapp` is not a target, so nothing is ever equal to it",
        "a.cedar:9: there is no tool `delete_service`",
        "a.cedar:10: nobody has the role `ghost`, as far as is configured",
        "a.cedar:12: the policy names no action, so it permits to break the glass as well",
    ] {
        assert!(
            status.warnings.iter().any(|warning| warning == wanted),
            "{wanted} is not in {:#?}",
            status.warnings
        );
    }
    assert!(
        status.warnings.iter().any(|warning| warning.starts_with("a.cedar:11: ")),
        "{:#?}",
        status.warnings
    );
    assert_eq!(status.warnings.len(), 11, "{:#?}", status.warnings);
}

#[test]
fn a_tool_that_comes_later_is_known_from_then_on() {
    let dir = folder(&[(
        "a.cedar",
        "@id(\"p\") permit (principal, action == Action::\"run_playbook\", resource)
         when { context.arguments.playbook == \"drain\" };",
    )]);
    let sources =
        PolicySources { settings: settings(""), dir: Some(dir.path().to_owned()), known_roles: vec![] };
    let all = tools();
    let few = all.iter().filter(|tool| tool.name.as_str() != "run_playbook").cloned().collect();
    let policy = CedarPolicy::open(sources, few, Arc::new(SystemClock));
    let arguments = serde_json::json!({"playbook": "drain"});
    let ask = Ask::new(&principal("eve", &[]), "run_playbook", arguments, &[support::WEBAPP]);
    assert_eq!(line(&ask.decide(&policy)), "deny  policy.denied");
    assert_eq!(policy.status().warnings.len(), 1);
    assert_eq!(policy.set_tools(all.clone()), Ok(true));
    assert_eq!(line(&ask.decide(&policy)), "permit  p");
    assert_eq!(policy.set_tools(all), Ok(false));
    assert!(
        policy.schema().contains("action \"run_playbook\"")
            || policy.schema().contains("action run_playbook")
    );
}
