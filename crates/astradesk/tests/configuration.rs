//! Guardrails and webhooks as they are configured: what is read, and what is said of what is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests: a failed unwrap is a failed test")]

use astradesk::config::{Config, PlannerKind, Sources, Webhook, load};
use astradesk_core::Result;
use std::collections::BTreeMap;

fn read(toml: &str) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("astradesk.toml");
    std::fs::write(&file, toml).unwrap();
    let environment = BTreeMap::from([("HOOK_SECRET".to_owned(), " whsec_c2VjcmV0\n".to_owned())]);
    load(&Sources { file: Some(file), environment, flags: Vec::new() }).map(|(config, _)| config)
}

#[test]
fn what_is_wrong_with_a_table_is_said_with_its_name() {
    let cases = [
        ("[[guardrails]]\ncool_down = \"1m\"", "guardrail 1 has no `name`"),
        ("[guardrails]\nname = \"a\"", "`guardrails` is no array of tables: write `[[guardrails]]`"),
        ("guardrails = [\"a\"]", "guardrail 1 is no table"),
        ("[[guardrails]]\nname = \"a\"", "guardrail `a`: it must have exactly one of `freeze`"),
        (
            "[[guardrails]]\nname = \"a\"\ncool_down = \"1m\"\ngitops = \"refuse\"",
            "guardrail `a`: it must have exactly",
        ),
        ("[[guardrails]]\nname = \"a\"\ncool_down = \"soon\"", "guardrail `a`: "),
        ("[[guardrails]]\nname = \"a\"\ncool_down = \"0s\"", "guardrail `a`: `cool_down` is `0s`"),
        ("[[guardrails]]\nname = \"a\"\ncooldown = \"1m\"", "guardrail `a` has the unknown key `cooldown`"),
        (
            "[[guardrails]]\nname = \"a\"\nmax_unavailable = \"half\"",
            "guardrail `a`: `max_unavailable` must be",
        ),
        (
            "[[guardrails]]\nname = \"a\"\nbudget = { runs = 0, per = \"1h\" }",
            "guardrail `a`: `budget.runs` must be",
        ),
        ("[[guardrails]]\nname = \"a\"\ngitops = \"maybe\"", "guardrail `a`: "),
        ("[[guardrails]]\nname = \"a\"\ntools = [\"No Tool\"]\ngitops = \"refuse\"", "guardrail `a`: "),
        (
            "[[guardrails]]\nname = \"a\"\ntargets = [\"webapp\"]\ngitops = \"refuse\"",
            "guardrail `a`: `webapp` is no pattern",
        ),
        (
            "[[guardrails]]\nname = \"a\"\nfreeze = { cron = \"0 16 * * FRI\" }",
            "guardrail `a`: `freeze` must have",
        ),
        (
            "[[guardrails]]\nname = \"a\"\nfreeze = { cron = \"0 16 * * FRI\", lasts = \"1h\", time_zone = \"Mars/Olympus\" }",
            "guardrail `a`: `freeze.time_zone` is `Mars/Olympus`",
        ),
        (
            "[[guardrails]]\nname = \"a\"\nfreeze = { from = 2026-12-27T00:00:00Z, until = 2026-12-24T00:00:00Z }",
            "guardrail `a`: `freeze.until` must be after",
        ),
        (
            "[[guardrails]]\nname = \"a\"\ngitops = \"refuse\"\n[[guardrails]]\nname = \"a\"\ngitops = \"allow\"",
            "two guardrails have the name `a`",
        ),
        ("[[webhooks]]\nurl = \"https://x.example\"", "webhook 1 has no `name`"),
        (
            "[[webhooks]]\nname = \"a b\"\nurl = \"https://x.example\"\nsecret_env = \"S\"",
            "webhook `a b`: its name",
        ),
        ("[[webhooks]]\nname = \"a\"\nurl = \"chat\"\nsecret_env = \"S\"", "webhook `a`: its `url` is not"),
        (
            "[[webhooks]]\nname = \"a\"\nurl = \"https://x.example\"",
            "webhook `a`: it must have exactly one of",
        ),
        (
            "[[webhooks]]\nname = \"a\"\nurl = \"https://u:p@x.example\"\nsecret_env = \"S\"",
            "webhook `a`: its `url` has a user or a password",
        ),
        (
            "[[webhooks]]\nname = \"a\"\nurl = \"https://x.example\"\nsecret = \"whsec_x\"",
            "webhook `a` has the unknown key `secret`",
        ),
        ("[policy]\napproval_minutes = 0", "`policy.approval_minutes` is 0"),
        ("[policy]\napproval_minutes = 10081", "`policy.approval_minutes` is 10081"),
        ("[limits]\nawaiting_approval = 0", "`limits.awaiting_approval` is 0"),
        ("[evidence]\ncheckpoint_minutes = 0", "`evidence.checkpoint_minutes` is 0"),
        (
            "[limits]\nidempotency_hours = 49\n[runs]\nkeep_days = 2",
            "`limits.idempotency_hours` is 49, and runs are kept for 2 day(s) only",
        ),
        ("[evidence]\nkeep = 3", "unknown key `evidence.keep`"),
        ("[agents.ops]\nplanner = \"llm\"", "`agents.ops.planner` is `llm`, and `llm.base_url` is empty"),
        (
            "[agents.ops]\nplanner = \"keyword_then_llm\"\n[llm]\nbase_url = \"https://x.example/v1\"",
            "`agents.ops.planner` is `keyword_then_llm`, and `llm.model` is empty",
        ),
        ("[agents.ops]\nplanner = \"magic\"", "unknown variant `magic`"),
        ("[agents.ops]\nplaner = \"llm\"", "unknown key `agents.ops.planer`"),
        ("[agents]\nops = \"llm\"", "unknown key `agents.ops`"),
        ("[agents.other]\nplanner = \"llm\"", "unknown key `agents.other`"),
        ("[llm]\nbase_url = \"http://x.example/v1\"", "`llm.base_url` is not encrypted"),
        ("[llm]\nkey = \"sk-0123456789\"", "`llm.key` is not the place of a key"),
        ("[llm]\ntimeout_seconds = 0", "`llm.timeout_seconds` is 0, and must be 1 to 300"),
        ("[llm]\nmax_steps = 17", "`llm.max_steps` is 17, and must be 1 to 16"),
        ("[llm]\ntokens_per_hour = 0", "`llm.tokens_per_hour` is 0"),
        ("[llm]\ncost_per_hour = -1.0", "`llm.cost_per_hour` is -1"),
        ("[llm]\ncost_per_hour = nan", "`llm.cost_per_hour` is NaN"),
        ("[llm]\ncost_per_hour = 1.0", "`llm.cost_per_hour` is set, and no price"),
    ];
    for (toml, said) in cases {
        refused(toml, said);
    }
}

/// Reads it, which must fail with this.
fn refused(toml: &str, said: &str) {
    let error = read(toml).map(|_| ()).expect_err(toml);
    assert_eq!(error.code.as_str(), "config.invalid", "{toml}");
    assert!(error.message.contains(said), "{toml}\n  says: {}\n  not: {said}", error.message);
    assert!(!error.message.contains('\n'), "{}", error.message);
}

#[test]
fn what_is_wrong_with_where_metrics_are_is_said() {
    for (toml, said) in [
        ("[prometheus]\nbase_url = \"http://x.example\"", "`prometheus.base_url` is not encrypted"),
        ("[prometheus]\nbearer = \"hunter2\"", "`prometheus.bearer` is not the place of a secret"),
        ("[prometheus]\nuser = \"ada\"", "has neither `bearer` alone"),
        ("[prometheus]\nname = \"a b\"", "`prometheus.name`: `a b`"),
        ("[prometheus]\ncheck_seconds = 1", "`prometheus.check_seconds` is 1, and must be 2 to 600"),
        ("[prometheus]\nmax_series = 0", "`prometheus.max_series` is 0"),
        ("[prometheus]\nquery = \"x\"", "unknown key `prometheus.query`"),
        ("[prometheus.queries]\nP = \"x\"", "`prometheus.queries`: `P` is no name of a query"),
        ("[prometheus.queries]\np = 1", "`prometheus.queries.p`: it is neither a query nor a table"),
        (
            "[prometheus.queries]\np = { query = \"x\", unit = \"percent\" }",
            "the unit `percent` is none of ratio",
        ),
        (
            "[prometheus.queries]\np = { query = \"x\", of = \"y\" }",
            "`prometheus.queries.p`: unknown field `of`",
        ),
        ("[prometheus.queries]\np = \"x{a={{ service }}}\"", "`p`: `{{ service }}` must stand in a string"),
        ("[prometheus]\ncluster_label = \"a-b\"", "`prometheus.cluster_label` is not the name of a label"),
    ] {
        refused(toml, said);
    }
}

#[test]
fn an_unknown_key_of_a_table_names_the_nearest() {
    let remedy = |toml: &str| read(toml).map(|_| ()).expect_err(toml).remedy;
    assert_eq!(remedy("[[guardrails]]\nname = \"a\"\ncooldown = \"1m\""), "did you mean `cool_down`?");
    assert_eq!(remedy("[[webhooks]]\nname = \"a\"\nsecret_envv = \"x\""), "did you mean `secret_env`?");
    assert_eq!(remedy("[policy]\ndirs = \"x\""), "did you mean `policy.dir`?");
}

#[test]
fn what_is_written_is_what_is_meant() {
    let config = read(
        "[[guardrails]]\nname = \"feast\"\nfreeze = { from = 2026-12-24T00:00:00Z, until = 2026-12-27T00:00:00Z }\n\
         [[webhooks]]\nname = \"chat\"\nurl = \"https://chat.example/hook\"\nsecret_env = \"HOOK_SECRET\"\n\
         [[webhooks]]\nname = \"mute\"\nurl = \"https://chat.example/hook\"\nsecret_env = \"NOT_SET\"\n",
    )
    .unwrap();
    let astradesk_core::guardrail::Rule::Freeze(freeze) = &config.guardrails.first().unwrap().rule else {
        unreachable!("it is a freeze");
    };
    assert!(freeze.until("2026-12-25T12:00:00Z".parse().unwrap()).is_some());
    assert!(freeze.until("2026-12-28T12:00:00Z".parse().unwrap()).is_none());
    let secrets: Vec<_> = config.webhooks.iter().map(Webhook::secret).collect();
    assert_eq!(secrets.first().unwrap().as_deref(), Ok("whsec_c2VjcmV0"));
    let missing = secrets.last().unwrap().as_ref().expect_err("it is not set");
    assert_eq!(missing.message, "webhook `mute`: `NOT_SET` is not set");
    assert!(!format!("{config:?}").contains("whsec_"), "a secret is shown");
}

#[test]
fn a_key_is_remembered_as_long_as_its_run() {
    for good in
        ["idempotency_hours = 48\n[runs]\nkeep_days = 2", "idempotency_hours = 999\n[runs]\nkeep_days = 0"]
    {
        assert!(read(&format!("[limits]\n{good}")).is_ok(), "{good}");
    }
}

/// `astradesk config check` of a file.
fn check(toml: &str, output: &str) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("astradesk.toml"), toml).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_astradesk"));
    command.args(["-o", output, "config", "check"]).current_dir(folder.path());
    let secret = format!("whsec_{}", "QUJD".repeat(8));
    let output = command.env_clear().env("HOME", folder.path()).env("HOOK_SECRET", secret).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), said)
}

#[test]
fn what_a_gateway_would_not_start_with_is_not_valid() {
    let webhook = |url: &str, secret: &str| {
        check(&format!("[[webhooks]]\nname = \"chat\"\nurl = \"{url}\"\nsecret_env = \"{secret}\""), "text")
    };
    assert_eq!(webhook("https://chat.example/hook", "HOOK_SECRET").0, 0);
    for (url, secret) in [
        ("http://chat.example/hook", "HOOK_SECRET"),
        ("https://chat.example/hook", "HOME"),
        ("https://chat.example/hook", "NOT_SET"),
    ] {
        let (code, said) = webhook(url, secret);
        assert_eq!((code, said.contains("webhook `chat`")), (2, true), "{url} {secret}: {said}");
    }
}

#[test]
fn a_guardrail_of_no_tool_is_doubtful() {
    let guardrail =
        |tool: &str| format!("[[guardrails]]\nname = \"calm\"\ntools = [\"{tool}\"]\ncool_down = \"1m\"");
    let doubt = "guardrail `calm` is for the tool `restart_servce`, which does not exist";
    let (code, said) = check(&guardrail("restart_servce"), "text");
    assert_eq!((code, said.contains(doubt)), (0, true), "{said}");
    let (code, said) = check(&guardrail("restart_servce"), "json");
    assert_eq!((code, said.contains("\"warnings\"") && said.contains(doubt)), (0, true), "{said}");
    let (code, said) = check(&guardrail("restart_service"), "text");
    assert_eq!((code, said.contains("guardrail")), (0, false), "{said}");
}

#[test]
fn a_language_model_is_configured_in_tables_of_tables_and_by_the_environment() {
    let config = read(
        "[agents.ops]\nplanner = \"keyword_then_llm\"\n[llm]\nbase_url = \"https://x.example/v1\"\nmodel = \"m\"\n\
         cost_per_hour = 2.5\nprompt_price = 0.01\nkey = \"env:LLM_KEY\"",
    )
    .unwrap();
    assert_eq!(config.agents.ops.planner, PlannerKind::KeywordThenLlm);
    let settings = config.llm.settings().unwrap().unwrap();
    assert_eq!((settings.base_url.as_str(), settings.budget.cost), ("https://x.example/v1", Some(2.5)));
    let environment = [("ASTRADESK_AGENTS_OPS_PLANNER", "keyword"), ("ASTRADESK_LLM_PROMPT_PRICE", "0.5")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let (config, _) = load(&Sources { file: None, environment, flags: Vec::new() }).unwrap();
    assert_eq!((config.agents.ops.planner, config.llm.prompt_price), (PlannerKind::Keyword, 0.5));
    assert!(config.llm.settings().unwrap().is_none());
}
