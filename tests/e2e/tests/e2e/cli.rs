//! The command line: exit codes, JSON, the configuration, the evidence, the doctor.

use astradesk_e2e::proxy::write_kubeconfig;
use astradesk_e2e::{Gateway, Place, Settings, cli, deployment, on_both, on_real_cluster};
use serde_json::{Value, json};

on_both!(exit_codes, everything_speaks_json, the_configuration, the_evidence, the_doctor);
on_real_cluster!(the_doctor_names_missing_permissions, without_permissions_nothing_happens);

async fn exit_codes(place: &Place) {
    let workloads = [deployment("webapp", 2), deployment("broken", 2).once_restarted("image-pull")];
    place.run(&workloads.iter().collect::<Vec<_>>()).await;
    let settings = Settings::of(place, &["webapp", "broken", "ghost"]);
    let unreachable =
        Settings { kubeconfig: settings.state.join("kubeconfig"), ..Settings::of(place, &["webapp"]) };
    write_kubeconfig(&unreachable.kubeconfig, "http://127.0.0.1:1", "nowhere");
    let gateway = Gateway::start(place, Settings::of(place, &["webapp"])).await;
    let eve = gateway.settings.token("eve", "intern");
    let says = async |arguments: &'static [&'static str]| {
        let said = cli::embedded(place, &settings, arguments).await;
        (arguments, said)
    };
    // Those that need no cluster, or change nothing, at once.
    for (code, arguments, words) in [
        (0, &["--version"][..], "astradesk"),
        (0, &["--help"], "Exit codes: 0 done"),
        (0, &["run", "--dry-run", "restart webapp"], "would replace"),
        (1, &["call", "restart_service", "service=ghost"], "kubernetes.not_found"),
        (1, &["runs", "show", "00000000-0000-7000-8000-000000000000"], "run.not_found"),
        (2, &[], "Usage"),
        (2, &["restart", "webapp"], "unrecognized subcommand"),
        (2, &["run"], "required"),
        (2, &["run", "restart webapp", "--no-wait"], "--server"),
        (2, &["run", "do NOT restart webapp"], "plan.negated"),
        (2, &["call", "restart_service", "webapp"], "KEY=VALUE"),
        (2, &["call", "restart_service", "service=webapp", "timeout=soon"], "tool.arguments_invalid"),
        (2, &["runs", "show", "../x"], "is not a run's id"),
        (2, &["--server", "gopher://x", "tools"], "is not an address"),
        (3, &["call", "restart_service", "service=other"], "policy.target_not_allowed"),
        (6, &["--server", "http://127.0.0.1:1", "tools"], "server.unreachable"),
    ] {
        let (arguments, said) = says(arguments).await;
        assert_eq!(said.code, code, "{arguments:?}: {said:?}");
        assert!(said.out.contains(words) || said.err.contains(words), "{arguments:?}: {said:?}");
        assert!(!said.err.contains("panicked"), "{said:?}");
    }
    let (done, failed, nowhere, denied) = tokio::join!(
        says(&["run", "restart webapp"]),
        says(&["run", "restart broken"]),
        cli::embedded(place, &unreachable, &["run", "restart webapp"]),
        cli::remote(place, &settings, (&gateway.client.url, &eve), &["run", "restart webapp"]),
    );
    done.1.expect(0);
    assert!(done.1.out.contains("was restarted: all 2 pods are new"), "{:?}", done.1);
    failed.1.expect(1);
    assert!(failed.1.out.contains("rollout.image_pull"), "{:?}", failed.1);
    nowhere.expect(6);
    assert!(nowhere.err.contains("kubernetes.unavailable"), "{nowhere:?}");
    denied.expect(3);
    assert!(denied.err.contains("policy.role_required"), "{denied:?}");
}

async fn everything_speaks_json(place: &Place) {
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let settings = Settings::of(place, &["webapp"]);
    let before = place.state(&webapp).await;
    let says = async |arguments: &[&str]| {
        let arguments: Vec<&str> = ["-o", "json"].iter().chain(arguments).copied().collect();
        cli::embedded(place, &settings, &arguments).await
    };
    let read = says(&["call", "get_service_status", "service=webapp"]).await.expect(0).json();
    assert_eq!(read["steps"][0]["output"]["rollout"]["state"], "complete", "{read:#}");
    let id = read["id"].as_str().unwrap();
    assert_eq!(says(&["runs", "show", id]).await.expect(0).json()["state"], "succeeded");
    assert_eq!(says(&["runs"]).await.expect(0).json()["runs"][0]["id"], id);
    let preview = says(&["run", "restart", "webapp", "--dry-run"]).await.expect(0).json();
    assert_eq!(preview["steps"][0]["decision"]["decision"], "permit", "{preview:#}");
    assert_eq!(preview["steps"][0]["changes"]["pods"], 2, "{preview:#}");
    assert!(says(&["tools"]).await.expect(0).json().to_string().contains("restart_service"));
    assert!(says(&["tools", "restart_service"]).await.expect(0).json().to_string().contains("input_schema"));
    let records = says(&["audit", "tail"]).await.expect(0).json();
    let kinds: Vec<&Value> = records.as_array().unwrap().iter().map(|record| &record["kind"]).collect();
    assert_eq!(kinds, ["read.finished", "run.previewed"]);
    assert_eq!(
        says(&["config", "show"]).await.expect(0).json()["policy.allowed_services"]["value"],
        json!(["webapp"])
    );
    let denied = says(&["call", "restart_service", "service=other"]).await.expect(3).json();
    assert_eq!(denied["error"]["code"], "policy.target_not_allowed");
    assert_eq!(place.state(&webapp).await, before);
}

async fn the_configuration(place: &Place) {
    let mut settings = Settings::of(place, &["webapp"]);
    let good = cli::embedded(place, &settings, &["config", "check"]).await;
    assert!(good.expect(0).out.contains("the configuration is valid"));
    for (toml, words) in [
        ("[policy]\nallowed_service = []\n", "did you mean `policy.allowed_services`?"),
        (
            "[kubernetes]\nnamespace = \"../x\"\n[limits]\nconcurent_runs = 1\n",
            "did you mean `limits.concurrent_runs`?",
        ),
        ("[server]\nlisten = \"here\"\n", "config.invalid"),
        ("[server]\nlisten = \"0.0.0.0:1\"\n[auth]\ndev = true\n", "not loopback"),
        ("[server\n", "config.invalid"),
    ] {
        toml.clone_into(&mut settings.toml);
        let said = cli::embedded(place, &settings, &["config", "check"]).await;
        said.expect(2);
        assert!(said.err.contains(words), "{toml}: {said:?}");
        // Nothing starts with it either.
        cli::embedded(place, &settings, &["serve"]).await.expect(2);
    }
}

async fn the_evidence(place: &Place) {
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let settings = Settings::of(place, &["webapp"]);
    let gateway = Gateway::start(place, settings.clone()).await;
    gateway.client.say("restart webapp").await.expect_success();
    gateway.client.say("do not restart webapp").await.expect(422, "plan.negated");
    let token = settings.token("ada", "sre");
    let server = (&*gateway.client.url, &*token);
    let file = settings.state.join("evidence.jsonl");
    let path = file.to_str().unwrap();
    cli::remote(place, &settings, server, &["audit", "export", "--file", path]).await.expect(0);
    let export = std::fs::read_to_string(&file).unwrap();
    let records = gateway.client.evidence().await.len();
    assert_eq!(export.lines().count(), records + 1);

    let verify = async |text: &str, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let arguments: Vec<&str> =
            ["-o", "json", "audit", "verify", "--file", path].iter().chain(more).copied().collect();
        cli::embedded(place, &settings, &arguments).await
    };
    let found = verify(&export, &[]).await.expect(0).json();
    assert_eq!(
        (&found["verified"], &found["records"], &found["key_trusted"]),
        (&json!(true), &json!(records), &json!(false))
    );
    let key = found["key"].as_str().unwrap();
    assert_eq!(verify(&export, &["--key", key]).await.expect(0).json()["key_trusted"], true);

    let lines: Vec<&str> = export.lines().collect();
    let without = |index: usize| {
        let kept = lines.iter().enumerate().filter(|(i, _)| *i != index);
        kept.map(|(_, line)| *line).collect::<Vec<_>>().join("\n")
    };
    let other = "0".repeat(64);
    for (what, text, more) in [
        ("edited", export.replacen("webapp", "weblog", 1), &[][..]),
        ("first removed", without(0), &[]),
        ("one removed", without(2), &[]),
        ("last removed", without(records - 1), &[]),
        ("checkpoint removed", without(records), &[]),
        ("swapped", [&[lines[1], lines[0]], &lines[2..]].concat().join("\n"), &[]),
        ("another's key", export.clone(), &["--key", &*other]),
        ("no records", "nonsense\n".to_owned(), &[]),
    ] {
        let error = verify(&text, more).await.expect(1).json();
        assert_eq!(error["error"]["code"], "evidence.broken", "{what}");
    }

    // The present chain must hold what an export was signed for: its own does, any other was rewritten.
    std::fs::write(&file, &export).unwrap();
    cli::remote(place, &settings, server, &["audit", "verify", "--against", path]).await.expect(0);
    let rewritten = ["-o", "json", "audit", "verify", "--against", path];
    let elsewhere = Settings::of(place, &["webapp"]);
    let error = cli::embedded(place, &elsewhere, &rewritten).await.expect(1).json();
    assert_eq!(error["error"]["code"], "evidence.broken");
}

async fn the_doctor(place: &Place) {
    let settings = Settings::of(place, &["webapp"]);
    let found = cli::embedded(place, &settings, &["-o", "json", "doctor"]).await.expect(0).json();
    assert_eq!(found["sound"], true, "{found:#}");
    let said = found.to_string();
    for words in [
        "the configuration is valid",
        "may use restart_service,",
        "answers: Kubernetes v",
        "permissions are granted",
    ] {
        assert!(said.contains(words), "{words}: {found:#}");
    }
    let unreachable = Settings { kubeconfig: settings.state.join("kubeconfig"), ..settings };
    write_kubeconfig(&unreachable.kubeconfig, "http://127.0.0.1:1", "nowhere");
    let said = cli::embedded(place, &unreachable, &["doctor"]).await;
    assert!(said.expect(1).out.contains("kubernetes.unavailable"), "{said:?}");
}

/// The kubeconfig of a user without any right, which lies beside the administrator's.
fn unprivileged(place: &Place) -> Settings {
    let kubeconfig = place.kubeconfig.with_file_name("kubeconfig-astradesk");
    Settings { kubeconfig, ..Settings::of(place, &["webapp"]) }
}

async fn the_doctor_names_missing_permissions(place: &Place) {
    let settings = unprivileged(place);
    let found = cli::embedded(place, &settings, &["-o", "json", "doctor"]).await.expect(1).json();
    assert_eq!(found["sound"], false);
    let bad: Vec<&str> = found["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["status"] == "bad")
        .map(|finding| finding["what"].as_str().unwrap())
        .collect();
    for missing in ["may not patch deployments.apps", "may not watch pods", "may not list replicasets.apps"] {
        assert!(bad.iter().any(|what| what.contains(missing)), "{missing}: {bad:#?}");
    }
    let remedies = found.to_string();
    assert!(remedies.contains(&format!("by a Role in `{}`", place.namespace)), "{found:#}");
}

async fn without_permissions_nothing_happens(place: &Place) {
    let webapp = deployment("webapp", 2);
    place.run(&[&webapp]).await;
    let before = place.state(&webapp).await;
    let gateway = Gateway::start(place, unprivileged(place)).await;
    let reply = gateway.client.say("restart webapp").await;
    place.note("forbidden", &reply.body);
    reply.expect(502, "kubernetes.forbidden");
    // The first of what it lacks is named.
    assert_eq!(reply.body["details"]["verb"], "list", "{:#}", reply.body);
    assert!(reply.body["detail"].as_str().unwrap().contains(&place.namespace), "{:#}", reply.body);
    assert_eq!(place.state(&webapp).await, before);
}
