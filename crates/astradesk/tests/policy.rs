//! `astradesk policy`, without a cluster and without a gateway: exit codes and what is said.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a failed unwrap is a failed test")]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

const GOOD: &str = r#"@id("two_people")
forbid (principal, action in Action::"write", resource)
unless { context.approvals.hasTag("sre") && context.approvals.getTag("sre") >= 1 };
"#;

const CASES: &str = r"cases:
  - name: a restart needs somebody else
    principal: { subject: ada, roles: [sre] }
    call:
      tool: restart_service
      arguments: { service: webapp }
      targets: [kubernetes/prod/default/deployment/webapp]
    expect:
      decision: needs_approval
      policies: [two_people]
      approvals: { count: 1, roles: { sre: 1 } }
  - name: an intern may not
    principal: { subject: eve, roles: [intern] }
    call:
      tool: restart_service
      arguments: { service: webapp }
      targets: [kubernetes/prod/default/deployment/webapp]
    expect: { decision: deny }
";

fn folder(policy: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    std::fs::write(folder.path().join("policies/prod.cedar"), policy).unwrap();
    std::fs::write(folder.path().join("cases.yaml"), CASES).unwrap();
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_astradesk"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("ALLOWED_SERVICES", "webapp")
        .env("ASTRADESK_POLICY_DIR", "policies")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    (status.code().unwrap(), said)
}

#[test]
fn a_sound_set_is_counted_and_an_unsound_one_is_named_with_its_line() {
    let sound = folder(GOOD);
    let (code, said) = run(sound.path(), &["policy", "check"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("3 policies") && said.contains("1 file(s)"), "{said}");

    let unsound = folder("// a comment\npermit (principal, action, resource) when { principal.nonsense };\n");
    for arguments in [&["policy", "check"][..], &["policy", "check", "policies"]] {
        let (code, said) = run(unsound.path(), arguments);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("policy.set_invalid") && said.contains("prod.cedar:2"), "{said}");
    }
    let (code, said) = run(unsound.path(), &["policy", "test", "cases.yaml"]);
    assert_eq!((code, said.contains("policy.set_invalid")), (1, true), "{said}");
}

#[test]
fn what_can_never_match_is_a_warning() {
    let folder = folder(&GOOD.replace("resource)", "resource)\nwhen { context.tool == \"restart_servce\" }"));
    let (code, said) = run(folder.path(), &["policy", "check"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("restart_servce"), "{said}");
}

#[test]
fn cases_that_fail_are_told_with_what_is_wrong() {
    let folder = folder(GOOD);
    let (code, said) = run(folder.path(), &["policy", "test", "cases.yaml"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("2 cases, 0 failed"), "{said}");

    std::fs::write(folder.path().join("policies/prod.cedar"), "").unwrap();
    let (code, said) = run(folder.path(), &["policy", "test", "cases.yaml"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("2 cases, 1 failed"), "{said}");
    assert!(said.contains("policy says permit, and should say needs_approval"), "{said}");
    let (code, said) = run(folder.path(), &["-o", "json", "policy", "test", "cases.yaml"]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &told["failed"]), (1, &1.into()), "{said}");
}

#[test]
fn the_same_cases_are_read_as_json() {
    let folder = folder(GOOD);
    let cases = serde_json::json!({"cases": [{
        "name": "reads are free", "principal": {"subject": "ada", "roles": ["sre"]},
        "call": {"tool": "list_services", "targets": ["kubernetes/prod/default/namespace/default"]},
        "expect": {"decision": "permit"},
    }]});
    std::fs::write(folder.path().join("cases.json"), cases.to_string()).unwrap();
    let (code, said) = run(folder.path(), &["policy", "test", "cases.json", "cases.yaml"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("3 cases, 0 failed"), "{said}");
}

#[test]
fn a_file_that_is_no_list_of_cases_is_a_usage_error() {
    let folder = folder(GOOD);
    for (text, said_of_it) in [
        ("nothing", "wrong.yaml"),
        ("cases: []", "it has no case"),
        ("cases:\n  - name: x\n    principle: y", "principle"),
    ] {
        std::fs::write(folder.path().join("wrong.yaml"), text).unwrap();
        let (code, said) = run(folder.path(), &["policy", "test", "wrong.yaml"]);
        assert_eq!(code, 2, "{text}: {said}");
        assert!(said.contains(said_of_it), "{text}: {said}");
    }
}

#[test]
fn a_call_is_explained_before_anybody_makes_it() {
    let folder = folder(GOOD);
    let target = "kubernetes/prod/default/deployment/webapp";
    let call = ["policy", "explain", "restart_service", "service=webapp", "--target", target];
    let (code, said) = run(folder.path(), &[&call[..], &["--as", "ada", "--role", "sre"]].concat());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("needs approval") && said.contains("two_people"), "{said}");
    assert!(said.contains("prod.cedar:1"), "{said}");
    let (code, said) = run(folder.path(), &[&call[..], &["--as", "eve", "--role", "intern"]].concat());
    assert_eq!((code, said.contains("policy.denied")), (0, true), "{said}");
    let (code, said) = run(folder.path(), &["policy", "explain", "restart_service", "service=webapp"]);
    assert_eq!((code, said.contains("`--target` is missing")), (2, true), "{said}");
}
