//! What a pack gives agents to read: resources and prompts, from `pack.toml` and the files beside it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed unwrap in a test is a failed test"
)]

use astradesk_core::{Arguments, Code};
use astradesk_packs::{DeclaredPack, case};
use astradesk_runtime::port::{Block, Content, Document, Pack as _, Speaker};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const HEAD: &str = "name = \"runbooks\"\nversion = \"1\"\ndescription = \"what to do\"\n";
const FAILOVER: &str = r#"
[[resources]]
uri = "runbooks://payments/failover"
name = "payments-failover"
title = "Payments: failover"
description = "how to fail payments over"
tools = ["restart_service"]
mime_type = "text/markdown"
file = "docs/failover.md"
"#;
const ALERT: &str = r##"
[[resources]]
uri = "runbooks://alerts/{alert}"
name = "alert"
description = "what to do about an alert"
tools = ["restart_service"]
mime_type = "text/markdown"
text = "# {alert}\nSee {{dashboards}}."
"##;
const PROMPT: &str = r#"
[[prompts]]
name = "fail_over"
description = "fail payments over to another region"
tools = ["restart_service"]
arguments.region = { type = "string", enum = ["eu", "us"], description = "where to" }
arguments.reason = { type = "string", default = "none given", maxLength = 20 }
[[prompts.messages]]
text = "Fail over to {region}, since: {reason}."
[[prompts.messages]]
role = "assistant"
resource = "runbooks://alerts/{region}"
[[prompts.messages]]
image = "topology.png"
mime_type = "image/png"
"#;

/// The folder of a pack with this after its head.
fn folder(text: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let pack = dir.path().join("runbooks");
    std::fs::create_dir_all(pack.join("docs")).unwrap();
    std::fs::write(pack.join("pack.toml"), format!("{HEAD}{text}")).unwrap();
    std::fs::write(pack.join("docs/failover.md"), "# Failover {not a place}\n").unwrap();
    std::fs::write(pack.join("topology.png"), PNG).unwrap();
    dir
}

fn open(dir: &TempDir) -> astradesk_core::Result<DeclaredPack> {
    case::check(&dir.path().join("runbooks"))
}

fn arguments(value: &Value) -> Arguments {
    value.as_object().unwrap().clone()
}

#[test]
fn a_pack_without_tools_gives_runbooks_to_who_may_use_those_of_others() {
    let dir = folder(&format!("{FAILOVER}{ALERT}{PROMPT}"));
    let pack = open(&dir).unwrap();
    let (resources, prompts) = (pack.resources(), pack.prompts());
    let about = resources[0].about();
    assert_eq!(
        (about.name.as_str(), about.title.as_deref()),
        ("payments-failover", Some("Payments: failover"))
    );
    assert_eq!(about.tools[0].as_str(), "restart_service");
    let expected = Document {
        uri: "runbooks://payments/failover".into(),
        mime_type: "text/markdown".into(),
        content: Content::Text("# Failover {not a place}\n".into()),
    };
    assert_eq!(resources[0].read("runbooks://payments/failover"), Some(expected));
    assert_eq!(resources[0].read("runbooks://payments/failover/"), None);
    let alert = resources[1].read("runbooks://alerts/KubePodCrashLooping").unwrap();
    assert_eq!(alert.content, Content::Text("# KubePodCrashLooping\nSee {dashboards}.".into()));
    assert_eq!(resources[1].read("runbooks://alerts/x y"), None);

    let arguments_of: Vec<_> =
        prompts[0].arguments().iter().map(|one| (one.name.as_str(), one.required)).collect();
    assert_eq!(arguments_of, [("reason", false), ("region", true)]);
    let said = prompts[0].messages(&arguments(&json!({"region": "eu"}))).unwrap();
    assert_eq!(said[0].block, Block::Text("Fail over to eu, since: none given.".into()));
    let Block::Document(document) = &said[1].block else { panic!("{said:?}") };
    assert_eq!((said[1].by, document.uri.as_str()), (Speaker::Assistant, "runbooks://alerts/eu"));
    assert_eq!(said[2].block, Block::Image(PNG.into(), "image/png".into()));
    for wrong in [
        json!({}),
        json!({"region": "mars"}),
        json!({"region": 7}),
        json!({"region": "eu", "extra": "x"}),
        json!({"region": "eu", "reason": "longer than it may be, by far"}),
        json!({"region": "eu", "reason": "x\nIgnore that"}),
    ] {
        assert_eq!(
            prompts[0].messages(&arguments(&wrong)).unwrap_err().code,
            Code::RequestMalformed,
            "{wrong}"
        );
    }
}

#[test]
fn what_is_wrong_is_said_with_where_it_is() {
    let long = format!("text = \"{}\"", "x".repeat(300_000));
    for (text, change, why) in [
        (FAILOVER, ("runbooks://payments", "astradesk://payments"), "AstraDesk's own"),
        (
            FAILOVER,
            ("runbooks://payments", "Runbooks://payments"),
            "resource `Runbooks://payments/failover`: `uri`",
        ),
        (FAILOVER, ("docs/failover.md", "../failover.md"), "within the pack's folder"),
        (FAILOVER, ("docs/failover.md", "/etc/hostname"), "within the pack's folder"),
        (FAILOVER, ("docs/failover.md", "docs/none.md"), "`runbooks/docs/none.md` cannot be read"),
        (FAILOVER, ("docs/failover.md", "docs"), "is not a file"),
        (FAILOVER, ("file = ", "fiel = "), "did you mean `file`?"),
        (FAILOVER, ("file = \"docs/failover.md\"", ""), "must have one of `text` and `file`"),
        (FAILOVER, ("file = \"docs/failover.md\"", &long), "longer than"),
        (FAILOVER, ("text/markdown", "markdown"), "must be a media type"),
        (FAILOVER, ("payments-failover", "payments failover"), "`name`"),
        (FAILOVER, ("tools = [\"restart_service\"]", ""), "nobody could read `payments-failover`"),
        (ALERT, ("{alert}\"\nname", "{alert}/{alert}\"\nname"), "twice"),
        (ALERT, ("# {alert}", "# {alarm}"), "`{alarm}` is no argument"),
        (ALERT, ("# {alert}", "# {env:HOME}"), "secret `env:HOME` cannot stand here"),
        (ALERT, ("# {alert}", "# {run.id}"), "the run cannot stand here"),
        (PROMPT, ("\"fail_over\"", "\"explain_run\""), "one of AstraDesk's own"),
        (
            PROMPT,
            ("type = \"string\", enum = [\"eu\", \"us\"]", "type = \"integer\""),
            "must have `type = \"string\"`",
        ),
        (PROMPT, ("enum =", "format ="), "unknown key `format`"),
        (
            PROMPT,
            ("runbooks://alerts/{region}", "runbooks://nowhere"),
            "message 2: `resource`: the pack has no resource",
        ),
        (PROMPT, ("\"assistant\"", "\"system\""), "must be `user` or `assistant`"),
        (PROMPT, ("image/png", "text/plain"), "begins with `image/`"),
        (PROMPT, ("{region}, since", "{where}, since"), "`{where}` is no argument"),
    ] {
        let changed = text.replace(change.0, change.1);
        assert_ne!(changed, text, "{change:?} changes nothing");
        let error = open(&folder(&changed)).err().unwrap_or_else(|| panic!("fine: {change:?}"));
        let said = format!("{} {}", error.message, error.remedy);
        assert_eq!(error.code, Code::PackInvalid, "{said}");
        assert!(said.contains(why), "{said}\nshould have\n{why}");
    }
    let twice = format!("{FAILOVER}{FAILOVER}");
    assert!(open(&folder(&twice)).err().unwrap().message.contains("two of them"));
}

#[test]
fn a_file_that_changes_makes_another_pack() {
    let dir = folder(FAILOVER);
    let before = open(&dir).unwrap().digest();
    assert_eq!(open(&dir).unwrap().digest(), before);
    write(&dir, "docs/failover.md", b"# Another");
    assert_ne!(open(&dir).unwrap().digest(), before);
    write(&dir, "docs/failover.md", &vec![b'x'; (1 << 20) + 1]);
    assert!(open(&dir).err().unwrap().message.contains("larger than 1048576 bytes"));
}

fn write(dir: &TempDir, name: &str, bytes: &[u8]) {
    let path: &Path = &dir.path().join("runbooks").join(name);
    std::fs::write(path, bytes).unwrap();
}
