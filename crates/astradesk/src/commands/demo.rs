//! `astradesk demo`: all of it in one go, without a cluster.

use super::{audit, serve};
use crate::app::App;
use crate::cli::{self, Output};
use crate::config::{Config, Sources, load};
use crate::display::{self, Live, Mark, approval};
use crate::door::{Answer, Ask, Door, Remote};
use crate::exit;
use astradesk_core::run::State;
use astradesk_core::{Arguments, Call, Code, Error, Result, RoleName, Run, Timestamp, ToolName};
use astradesk_gateway::Gateway;
use astradesk_gateway::auth::DevIssuer;
use astradesk_runtime::engine::Request;
use astradesk_sandbox::{Sandbox, scenario};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long the demo's tokens are valid.
const TOKEN: Duration = Duration::from_hours(8);
/// What may be restarted.
const SERVICES: &str = "webapp,payments-api,search";
/// The tools that may change them.
const TOOLS: &str = "restart_service,scale_service,rollback_service,pause_rollout,resume_rollout,evict_pod";
/// What an agent asks for, a person has to approve.
const POLICY: &str = r#"@id("agents_ask_people")
@description("what an agent asks for, a person has to approve")
forbid (principal in Role::"agent", action in Action::"write", resource)
unless { context.approvals.count >= 1 };
"#;

pub(super) async fn run(args: cli::Demo) -> Result<u8> {
    serve::log_quietly();
    let folder = tempfile::tempdir().map_err(|error| cannot_start(&error))?;
    let sandbox =
        Sandbox::start(astradesk_sandbox::Config { objects: scenario::demo(), ..Default::default() })
            .await
            .map_err(|error| cannot_start(&error))?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, sandbox.kubeconfig()).map_err(|error| cannot_start(&error))?;

    let config = configuration(&args, folder.path(), &kubeconfig)?;
    let app = App::open(&config).await?;
    let issuer = DevIssuer::generate()?;
    let auth = serve::auth(&config, Some(&issuer))?;
    let gateway = Gateway::bind(serve::gateway_config(&config)?, app.engine.clone(), auth)?;
    let server = format!("http://{}", gateway.local_addr());
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(gateway.serve(shutdown.clone()));

    let shown = show(&server, &issuer, sandbox.url(), &kubeconfig).await;
    if shown.is_ok() && args.keep {
        display::title("The cluster and the gateway keep running; Ctrl-C stops them");
        serve::stop_signal().await;
    }
    shutdown.cancel();
    app.close(Duration::from_secs(10)).await;
    serving.await.map_err(|error| Error::internal(error.to_string()))?;
    sandbox.shutdown().await;
    shown
}

fn cannot_start(error: &dyn std::fmt::Display) -> Error {
    Error::new(Code::ConfigInvalid, format!("the demo cannot start: {error}"))
}

fn configuration(args: &cli::Demo, folder: &Path, kubeconfig: &Path) -> Result<Config> {
    let policies = folder.join("policies");
    std::fs::create_dir(&policies).map_err(|error| cannot_start(&error))?;
    std::fs::write(policies.join("agents.cedar"), POLICY).map_err(|error| cannot_start(&error))?;
    let environment: BTreeMap<String, String> = [
        ("ALLOWED_SERVICES", SERVICES.to_owned()),
        ("ALLOWED_TOOLS", TOOLS.to_owned()),
        ("KUBERNETES_NAMESPACE", "default".to_owned()),
        ("ASTRADESK_AUTH_DEV", "true".to_owned()),
        ("ASTRADESK_SERVER_LISTEN", args.listen.to_string()),
        ("ASTRADESK_STORE_PATH", folder.display().to_string()),
        ("ASTRADESK_POLICY_DIR", policies.display().to_string()),
        ("ASTRADESK_KUBERNETES_KUBECONFIG", kubeconfig.display().to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    // The demo is the same everywhere: neither a file nor the caller's environment changes it.
    let none = Some(folder.join("astradesk.toml"));
    std::fs::write(folder.join("astradesk.toml"), "").map_err(|error| cannot_start(&error))?;
    load(&Sources { file: none, environment, flags: Vec::new() }).map(|(config, _)| config)
}

async fn show(server: &str, issuer: &DevIssuer, cluster: &str, kubeconfig: &Path) -> Result<u8> {
    let mint = |subject: &str, roles: &[&str]| {
        let roles = roles.iter().map(|role| RoleName::parse(*role)).collect::<Result<Vec<_>>>()?;
        issuer.mint(subject, &roles, TOKEN, Timestamp::now())
    };
    let (ada, eve, bot) =
        (mint("ada", &["sre"])?, mint("eve", &["intern"])?, mint("bot", &["sre", "agent"])?);
    display::title("AstraDesk Ops: allowed, done once, verified, with evidence");
    display::line(format!("cluster     {cluster}  (embedded; KUBECONFIG={})", kubeconfig.display()));
    display::line(format!("gateway     {server}  (ALLOWED_SERVICES={SERVICES})"));
    display::line(format!("token       {ada}"));
    display::note("            ada, role sre, valid for 8 hours");
    let ada = Door::Remote(Remote::new(server, Some(ada))?);
    let eve = Door::Remote(Remote::new(server, Some(eve))?);
    let bot = Door::Remote(Remote::new(server, Some(bot))?);
    settled(&ada).await?;

    let mut as_told = true;
    display::title("1. A restart, verified   $ astradesk run \"restart webapp\"");
    as_told &= ended(&ada, "restart webapp", None).await?;
    display::title("2. Denied: not the role   $ astradesk run \"restart webapp\"   (eve, role intern)");
    as_told &= refused(&eve, "restart webapp", Code::PolicyRoleRequired).await?;
    display::title("3. Denied: not on the allowlist   $ astradesk run \"restart ledger\"");
    as_told &= refused(&ada, "restart ledger", Code::PolicyTargetNotAllowed).await?;
    display::title("4. Not understood, so not done   $ astradesk run \"do NOT restart webapp\"");
    as_told &= refused(&ada, "do NOT restart webapp", Code::PlanNegated).await?;
    display::title("5. A restart that fails, and why   $ astradesk run \"restart payments-api\"");
    as_told &= ended(&ada, "restart payments-api", Some(Code::RolloutCrashLoop)).await?;
    display::title(
        "6. An agent asks, a person approves   $ astradesk run \"restart webapp\"   (bot, roles sre, agent)",
    );
    as_told &= approved(&bot, &ada).await?;
    display::title("7. The evidence   $ astradesk audit verify");
    audit::told(&audit::verify(&ada, None, None).await?.report);
    Ok(if as_told { exit::DONE } else { exit::FAILED })
}

/// Waits until the demo's services run.
async fn settled(door: &Door) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let began = Instant::now();
    loop {
        let mut arguments = Arguments::new();
        arguments.insert("service".to_owned(), Value::from("webapp"));
        let mut ready = true;
        for service in ["webapp", "payments-api"] {
            arguments.insert("service".to_owned(), Value::from(service));
            let call = Call { tool: ToolName::parse("get_service_status")?, arguments: arguments.clone() };
            if let Answer::Run { run, .. } = door.submit(Ask::new(Request::Call(call))).await? {
                ready &=
                    json_of(&run).pointer("/steps/0/output/rollout/state") == Some(&Value::from("complete"));
            }
        }
        if ready {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::new(Code::KubernetesUnavailable, "the demo's services did not start"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn json_of(run: &Run) -> Value {
    serde_json::to_value(run).unwrap_or_default()
}

/// Runs an instruction to its end; says whether it ended as expected: well, or with this code.
async fn ended(door: &Door, input: &str, expected: Option<Code>) -> Result<bool> {
    let run = submitted(door, say(input)).await?;
    watched(door, run, expected).await
}

/// Watches a run to its end; says whether it ended as expected.
async fn watched(door: &Door, run: Run, expected: Option<Code>) -> Result<bool> {
    let began = Instant::now();
    let mut live = Live::new(Output::Text);
    door.watch(run.id, |event| live.event(&event)).await?;
    live.finish();
    let run = door.run(run.id).await?;
    display::outcome(&run, Output::Text);
    display::note(format!("  {:.1} s", began.elapsed().as_secs_f64()));
    Ok(run.state.error().map(|error| error.code) == expected && run.state.is_final())
}

async fn submitted(door: &Door, ask: Ask) -> Result<Run> {
    let Answer::Run { run, replayed } = door.submit(ask).await? else {
        return Err(Error::internal("a run was asked for and a preview was given"));
    };
    display::admitted(&run, replayed);
    Ok(*run)
}

/// An agent asks for a restart; it cannot approve that itself, and a person can, having seen it.
async fn approved(agent: &Door, person: &Door) -> Result<bool> {
    let ask = Ask { reason: Some("its memory grows since 14:02".to_owned()), ..say("restart webapp") };
    let run = submitted(agent, ask).await?;
    let Some(asked) = run.approvals.as_ref().filter(|_| run.state == State::AwaitingApproval) else {
        display::mark(Mark::Bad, "no approval was asked for");
        return Ok(false);
    };
    display::mark(Mark::Warning, approval::standing(asked));
    display::note(format!("$ astradesk approvals approve {}   (bot)", run.id));
    let own = match agent.approve(run.id, asked.digest, "I know that it is right").await {
        Ok(_) => false,
        Err(error) => {
            display::refusal(&error);
            error.code == Code::ApprovalBySelf
        }
    };
    display::note(format!("$ astradesk approvals show {}   (ada)", run.id));
    let seen = person.awaiting(run.id).await?;
    approval::story(&seen, None);
    let run = person.approve(run.id, asked.digest, "the graph says the same").await?;
    display::mark(Mark::Good, "ada approved it: “the graph says the same”");
    Ok(watched(person, run, None).await? && own)
}

/// Says an instruction that has to be refused with this code.
async fn refused(door: &Door, input: &str, expected: Code) -> Result<bool> {
    if let Err(error) = door.submit(say(input)).await {
        display::refusal(&error);
        return Ok(error.code == expected);
    }
    display::mark(Mark::Bad, "it was not refused");
    Ok(false)
}

fn say(input: &str) -> Ask {
    Ask::new(Request::Say { agent: "ops".to_owned(), input: input.to_owned() })
}
