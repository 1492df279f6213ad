//! What a manifest is refused with: the tool, the key, and what to do.

use crate::source::Source;
use crate::testing::{nowhere, pack};
use crate::{DeclaredPack, case, scaffold};
use astradesk_core::Code;
use astradesk_runtime::ToolRegistry;
use std::path::Path;

const FINE: &str =
    "effect = \"read\"\ntargets = [\"external/flags/flag/{flag}\"]\narguments.flag = { type = \"string\" }\n";
const HTTP: &str = "[tools.http]\nmethod = \"GET\"\nurl = \"https://flags.example/{flag}\"\n";

fn refusal(text: &str) -> (String, String) {
    let refused = DeclaredPack::of("test", &Source::of(text), &nowhere());
    let error = refused.err().unwrap_or_else(|| panic!("it is accepted:\n{text}"));
    assert_eq!(error.code, Code::PackInvalid, "{text}");
    assert!(error.message.starts_with("`test/pack.toml`: "), "{}", error.message);
    (error.message["`test/pack.toml`: ".len()..].to_owned(), error.remedy)
}

#[test]
fn a_pack_is_refused_with_what_is_wrong_and_what_to_do() {
    let head = "name = \"test\"\nversion = \"1\"\ndescription = \"a test\"\n";
    for (text, said) in [
        (String::new(), "it has no `name`"),
        ("name = \"test\"\nversion =".to_owned(), "line 2: "),
        (head.replace("test\"\nv", "other\"\nv"), "`name`: it is `other`, and its folder is called `test`"),
        (head.replace("\"1\"", "\"1 0\""), "`version`: it must be printable ASCII"),
        (head.replace("\"1\"", "1"), "`version`: it is no text"),
        (head.to_owned(), "it has no tool: write `[[tools]]`"),
        (format!("{head}tools = []"), "`tools`: there are 0"),
        (format!("{head}[tools]\nname = \"x\""), "`tools`: it is no list of tables"),
        (format!("{head}[[tools]]\n"), "tool 1 has no `name`"),
        (format!("{head}[[tools]]\nname = \"Bad\""), "tool `Bad`: `name`: `Bad` is not a tool name"),
        (format!("{head}when = 2026-01-01"), "`2026-01-01` is a date"),
    ] {
        let (message, _) = refusal(&text);
        assert!(message.starts_with(said), "{message}\n{text}");
    }
    let (message, remedy) = refusal(&format!("{head}toolz = 1"));
    assert_eq!(
        (message.as_str(), remedy.as_str()),
        ("it has the unknown key `toolz`", "did you mean `tools`?")
    );
}

fn refused(tool: &str) -> (String, String) {
    let refused = pack(tool);
    let error = refused.err().unwrap_or_else(|| panic!("it is accepted:\n{tool}"));
    assert_eq!(error.code, Code::PackInvalid, "{tool}");
    (error.message, error.remedy)
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn a_tool_is_refused_with_what_is_wrong() {
    let command = "[tools.command]\nargv = [\"/bin/true\"]\n";
    let patch = "effect = \"write\"\narguments.name = { type = \"string\" }\n[tools.kubernetes-patch]\napi_version = \"v1\"\nkind = \"ConfigMap\"\nnamespace = \"shop\"\nname = \"{name}\"\n";
    for (tool, said) in [
        // The tool itself.
        (format!("targets = []\n{HTTP}"), "tool `act` has no `effect`: say `read`, `write` or `execute`"),
        (format!("effect = \"delete\"\n{HTTP}"), "`effect`: it must be `read`, `write` or `execute`"),
        (FINE.to_owned(), "does nothing: add one of the tables http, command, kubernetes-patch"),
        (format!("{FINE}{HTTP}{command}"), "has several kinds, and must have one: http, command"),
        (
            format!("{FINE}timeout_seconds = 0\n{HTTP}"),
            "`timeout_seconds`: it must be a whole number from 1 to 3600",
        ),
        (format!("{FINE}timeout_seconds = \"5\"\n{HTTP}"), "`timeout_seconds`: it must be a whole number"),
        // Targets.
        (FINE.replace("[\"external/flags/flag/{flag}\"]", "[]") + HTTP, "`targets`: there are 0"),
        (
            FINE.replace("external/flags", "external/{flag}") + HTTP,
            "must be `external/SYSTEM/KIND/NAME`, with arguments in NAME only",
        ),
        (FINE.replace("external/flags/flag/", "") + HTTP, "must be `external/SYSTEM/KIND/NAME`"),
        (FINE.replace("flag/{flag}", "flag/a/{flag}") + HTTP, "must be `external/SYSTEM/KIND/NAME`"),
        (FINE.replace("external/flags/", "kubernetes/c/") + HTTP, "must be `external/SYSTEM/KIND/NAME`"),
        (
            FINE.replace("external/flags/", "external/kubernetes/") + HTTP,
            "must be `external/SYSTEM/KIND/NAME`",
        ),
        (
            FINE.replace("\"string\" }", "\"string\", default = \"x\" }") + HTTP,
            "`{flag}` is part of a target, so it must be required",
        ),
        (
            FINE.replace("\"string\" }", "\"string\", writeOnly = true }") + HTTP,
            "`{flag}` is `writeOnly` and would be seen here",
        ),
        // Arguments.
        (
            FINE.replace("arguments.flag", "arguments.Flag") + HTTP,
            "argument `Flag` must have 1 to 64 letters",
        ),
        (FINE.replace("type = \"string\"", "minLength = 1") + HTTP, "argument `flag` has no `type`"),
        (
            FINE.replace("type = \"string\"", "type = \"string\", patern = \"x\"") + HTTP,
            "argument `flag` has the unknown key `patern`: did you mean `pattern`?",
        ),
        (FINE.replace("type = \"string\"", "type = \"array\"") + HTTP, "`{flag}` cannot stand in a text"),
        (
            format!("{FINE}optional = [\"flags\"]\n{HTTP}"),
            "`optional` names `flags`, which is no argument of it",
        ),
        (
            format!("{FINE}optional = [\"flag\"]\n{HTTP}"),
            "`{flag}` may have no value: require it, or give it a `default`",
        ),
        // Words.
        (
            format!("{FINE}words = {{ phrases = [\"Look\"] }}\n{HTTP}"),
            "`phrases`: there must be 1 to 16, in lower case",
        ),
        (
            format!("{FINE}words = {{ phrases = [\"look\"] }}\n{HTTP}"),
            "no sentence could say `flag`, which is required",
        ),
        (
            format!("{FINE}words = {{ phrases = [\"look\"], after = {{ flagg = [\"at\"] }} }}\n{HTTP}"),
            "`{flagg}` is no argument of it: it has flag",
        ),
        // http.
        (format!("{FINE}[tools.http]\nurl = \"https://x/\""), "tool `act`, `http` has no `method`"),
        (format!("{FINE}[tools.http]\nmethod = \"get\"\nurl = \"https://x/\""), "`method`: it must be `GET`"),
        (FINE.replace("read", "write") + HTTP, "`method`: GET changes nothing by its definition"),
        (format!("{FINE}{HTTP}body = {{}}"), "`body`: a request with the method GET has none"),
        (
            format!("{FINE}{HTTP}headers = {{ authorization = \"Bearer 123\" }}"),
            "`headers`: a secret never stands here",
        ),
        (
            format!("{FINE}{HTTP}headers = {{ host = \"x\" }}"),
            "`headers`: `host` is no header, or one that follows",
        ),
        (format!("{FINE}{HTTP}headers = {{ \"a b\" = \"x\" }}"), "`headers`: `a b` is no header"),
        (
            format!(
                "{FINE}{}headers = {{ authorization = \"{{env:TOKEN}}\" }}",
                HTTP.replace("https", "http")
            ),
            "`url`: a secret would go over the network unencrypted",
        ),
        (
            format!("{FINE}{}", HTTP.replace("/{flag}", "/{env:TOKEN}")),
            "the secret `env:TOKEN` cannot stand here",
        ),
        (format!("{FINE}{}", HTTP.replace("/{flag}", "/{run.id}")), "the run cannot stand here"),
        (format!("{FINE}{}", HTTP.replace("/{flag}", "/{flag.name}")), "`{flag.name}` means nothing"),
        (format!("{FINE}{HTTP}output = \"name\""), "`output`: `name` is no JSON pointer"),
        (format!("{FINE}{HTTP}output = \"/a~b\""), "`output`: `/a~b` is no JSON pointer"),
        (
            format!("{FINE}{HTTP}statuses = {{ 404 = \"no.such\" }}"),
            "`statuses`: `no.such` must be one of upstream.",
        ),
        (
            format!("{FINE}{HTTP}statuses = {{ 99 = \"upstream.failed\" }}"),
            "`statuses`: `99` must be a status from 300 to 599",
        ),
        (format!("{FINE}{HTTP}success = [500]"), "`success`: it must be a list of statuses from 200 to 499"),
        (
            format!("{FINE}{HTTP}max_answer_bytes = 10000000"),
            "`max_answer_bytes`: it must be a whole number from 1 to 4194304",
        ),
        (format!("{FINE}{HTTP}answer = \"xml\""), "`answer`: it must be `json`, `text` or `none`"),
        (format!("{FINE}{HTTP}ca_file = \"/no/such/file\""), "`ca_file`: `/no/such/file` cannot be read"),
        (
            format!("{FINE}{HTTP}verify = {{ url = \"https://x/\", pointer = \"\", equals = 1 }}"),
            "`verify`: what reads has nothing to verify",
        ),
        (
            FINE.replace("read", "write")
                + &HTTP.replace("GET", "PUT")
                + "verify = { url = \"https://x/\", pointer = \"/a\" }",
            "`http`, `verify` has no `equals`",
        ),
        (
            FINE.replace("read", "write") + &HTTP.replace("GET", "PUT") + "body = { \"{flag}\" = 1 }",
            "`body`: the key `{flag}` has a brace",
        ),
        (
            FINE.replace("read", "write") + &HTTP.replace("GET", "PUT") + "body = \"{\"",
            "`body`: its text is not JSON",
        ),
        (
            FINE.replace("read", "write") + &HTTP.replace("GET", "PUT") + "body = { a = \"{env:T}\" }",
            "the secret `env:T` cannot stand here",
        ),
        // command.
        (format!("{FINE}[tools.command]\nargv = []"), "`argv`: there are 0"),
        (format!("{FINE}[tools.command]\nargv = \"ls -l\""), "`argv`: it must be a list of texts"),
        (
            format!("{FINE}[tools.command]\nargv = [\"ls\"]"),
            "`argv`: it must begin with the absolute path of the program",
        ),
        (
            format!("{FINE}[tools.command]\nargv = [\"/bin/{{flag}}\"]"),
            "`argv`: it must begin with the absolute path",
        ),
        (
            format!("{FINE}[tools.command]\nargv = [\"/bin/ls\", \"--{{flag}}\"]"),
            "`argv`: an argument would name an option",
        ),
        (
            format!("{FINE}[tools.command]\nargv = [\"/bin/ls\", \"{{env:TOKEN}}\"]"),
            "the secret `env:TOKEN` cannot stand here",
        ),
        (format!("{FINE}{command}env = {{ \"A=B\" = \"x\" }}"), "`env`: `A=B` is no name of a variable"),
        (format!("{FINE}{command}directory = \"tmp\""), "`directory`: it must be an absolute path"),
        (
            format!("{FINE}{command}exit_codes = {{ 0 = \"upstream.failed\" }}"),
            "`exit_codes`: `0` must be an exit code from 0 to 255 that is no success",
        ),
        (
            format!("{FINE}{command}expect = {{ pointer = \"/a\", equals = 1 }}"),
            "`expect`: it needs `stdout = \"json\"`",
        ),
        // kubernetes-patch.
        (patch.to_owned(), "has no `patch`"),
        (patch.replace("\"write\"", "\"read\"") + "patch = {}", "`effect`: a patch writes"),
        (
            patch.replace("effect", "targets = [\"external/a/b/c\"]\neffect") + "patch = {}",
            "`targets`: leave it out",
        ),
        (patch.replace("ConfigMap", "Namespace") + "patch = {}", "`kind`: a namespace is in no namespace"),
        (patch.replace("ConfigMap", "config map") + "patch = {}", "`kind`: it must be a kind"),
        (patch.replace("\"v1\"", "\"a/b/c d\"") + "patch = {}", "`api_version`: it must be `v1`"),
        (format!("{patch}patch = {{ status = {{}} }}"), "`patch`: it must leave `status` out"),
        (
            format!("{patch}patch.metadata.name = \"x\""),
            "of `metadata` it may have `annotations` and `labels`, and not `name`",
        ),
        (
            format!("{patch}patch.metadata.annotations.\"astradesk.dev/run\" = \"x\""),
            "`astradesk.dev/run` is AstraDesk's own",
        ),
        (format!("{patch}patch.metadata = \"{{name}}\""), "its `metadata` must be a table"),
        (format!("{patch}patch = []"), "`patch`: it must be a table"),
        (format!("{patch}patch = {{}}\nverify = [1]"), "`verify`: it has what is no table"),
    ] {
        let (message, _) = refused(&tool);
        assert!(message.contains("`test/pack.toml`: tool `act`"), "{message}");
        assert!(message.contains(said), "{message}\nis not: {said}\n{tool}");
    }
    for (tool, remedy) in [
        (format!("{FINE}timeout_secs = 5\n{HTTP}"), "did you mean `timeout_seconds`?"),
        (format!("{FINE}{HTTP}metod = \"GET\""), "did you mean `method`?"),
        (format!("{FINE}{HTTP}zzz = 1"), "its keys are method, url, headers"),
        (format!("{FINE}{command}args = []"), "did you mean `argv`?"),
        (
            format!("{patch}patch = {{}}\nverify = [{{ pointr = \"\", equals = 1 }}]"),
            "did you mean `pointer`?",
        ),
    ] {
        let said = refused(&tool).1;
        assert!(said.starts_with(remedy), "{said}\n{tool}");
    }
}

#[test]
fn a_secret_argument_of_what_is_not_a_read_does_not_register() {
    let tool = "effect = \"write\"\ntargets = [\"external/flags/flag/x\"]\narguments.key = { type = \"string\", writeOnly = true }\n\
        [tools.http]\nmethod = \"PUT\"\nurl = \"https://flags.example/x\"\nbody = { key = \"{key}\" }";
    let pack = pack(tool).unwrap();
    let error = ToolRegistry::default().register(&pack).unwrap_err();
    assert_eq!(error.code, Code::ToolDefinitionInvalid);
    // In a read, it is shown to nobody.
    let read = crate::testing::pack(&tool.replace("write\"", "read\"").replace("PUT", "POST")).unwrap();
    let plan =
        crate::testing::act(&read).plan(serde_json::json!({"key": "hunter2"}).as_object().unwrap()).unwrap();
    assert_eq!(plan["request"]["body"]["key"], "[redacted]");
}

#[test]
fn the_version_of_a_tool_changes_when_its_meaning_does() {
    let version = |tool: &str| pack(tool).unwrap().specs()[0].version.clone();
    let one = version(&format!("{FINE}{HTTP}"));
    assert!(one.starts_with("1+") && one.len() == 14, "{one}");
    assert_eq!(one, version(&format!("{FINE}{HTTP}")));
    assert_ne!(one, version(&format!("{FINE}timeout_seconds = 5\n{HTTP}")));
    let worded = format!("{FINE}words = {{ phrases = [\"look\"], after = {{ flag = [\"at\"] }} }}\n{HTTP}");
    assert_eq!(one, version(&worded), "what it is called is not what it does");
}

#[test]
fn the_scaffold_passes_its_own_check_and_cases() {
    let folder = tempfile::tempdir().unwrap();
    let made = scaffold::new(folder.path(), "my-pack").unwrap();
    let tried = case::test(&made).unwrap();
    assert_eq!((tried.failed(), tried.untried.len(), tried.cases.len()), (0, 0, 3), "{tried:?}");
    assert!(scaffold::new(folder.path(), "my-pack").unwrap_err().message.contains("cannot be made"));
    for bad in ["", "My", "../x", "a/b", "a b"] {
        assert_eq!(scaffold::new(folder.path(), bad).unwrap_err().code, Code::PackInvalid, "{bad}");
    }
}

#[test]
fn every_example_is_valid_and_its_cases_pass() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/packs");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        let tried = case::test(&path).unwrap_or_else(|error| panic!("{}: {}", path.display(), error.message));
        assert_eq!((tried.failed(), tried.untried.len()), (0, 0), "{tried:#?}");
        names.push(tried.pack);
    }
    names.sort();
    assert_eq!(names, ["ingress-maintenance", "kubernetes-mcp-server", "postgresql", "unleash"]);
}

#[test]
fn a_case_that_is_not_so_says_what_is() {
    let folder = tempfile::tempdir().unwrap();
    let made = scaffold::new(folder.path(), "p").unwrap();
    for (expect, said) in [
        ("effect = \"write\"", "its effect is `read`"),
        ("targets = [\"external/example/thing/other\"]", "it acts on `external/example/thing/lamp`"),
        (
            "preview = { request = { method = \"POST\" } }",
            "its preview has `\"GET\"` at `/request/method`, and should have `\"POST\"`",
        ),
        ("preview = { request = { bodi = 1 } }", "its preview has `null` at `/request/bodi`"),
        ("error = \"tool.arguments_invalid\"", "it is fine, and should be refused"),
    ] {
        let case = format!(
            "[[cases]]\nname = \"one\"\ntool = \"get_thing\"\narguments = {{ thing = \"lamp\" }}\nexpect = {{ {expect} }}"
        );
        std::fs::write(made.join("cases.toml"), case).unwrap();
        let tried = case::test(&made).unwrap();
        assert!(tried.failed() == 1 && tried.cases[0].faults[0].contains(said), "{tried:?}");
        assert_eq!(tried.untried.len(), 1);
    }
    for (cases, said) in [
        ("", "`cases`: there must be 1 to 1000"),
        ("[[cases]]\nname = \"x\"\ntool = \"get_thing\"", "case 1 has no `expect`"),
        ("[[cases]]\nname = \"x\"\ntool = \"get_thing\"\nexpect = {}", "is empty"),
        (
            "[[cases]]\nname = \"x\"\ntool = \"get_thing\"\nexpect = { error = \"no\" }",
            "`no` is no error code",
        ),
        ("[[cases]]\nname = \"x\"\ntoll = \"get_thing\"\nexpect = {}", "unknown key `toll`"),
    ] {
        std::fs::write(made.join("cases.toml"), cases).unwrap();
        let error = case::test(&made).unwrap_err();
        assert!(error.message.contains(said), "{}", error.message);
    }
}
