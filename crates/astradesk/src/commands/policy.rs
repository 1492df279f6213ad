//! `astradesk policy`

use super::{Context, submit};
use crate::cli::{Explain, Output, Policy};
use crate::config::Config;
use crate::display::policy as show;
use crate::door::Door;
use crate::{app, display, exit};
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result, RoleName, RunId, Source, Target, ToolName};
use astradesk_policy::CedarPolicy;
use astradesk_runtime::ToolRegistry;
use astradesk_runtime::case::{Case, CaseCall, CaseOutcome, Circumstances, Person};
use astradesk_runtime::port::{Clock as _, Policy as _, SystemClock};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file with cases: what `POST /v1/policy/test` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    cases: Vec<Case>,
}

pub(super) async fn run(context: &Context, command: Policy) -> Result<u8> {
    match command {
        Policy::Check { dir } => check(context, dir),
        Policy::Test { files, dir } => test(context, &files, dir).await,
        Policy::Explain(args) => explain(context, args).await,
    }
}

/// Policies and the tools, with no cluster and no gateway behind them.
struct Offline {
    policy: Arc<CedarPolicy>,
    registry: Arc<ToolRegistry>,
    files: usize,
}

impl Offline {
    fn new(mut config: Config, dir: Option<PathBuf>) -> Result<Self> {
        if let Some(dir) = dir {
            config.policy.dir = dir;
        }
        let (registry, policy) = app::offline(&config)?;
        let files = policy_files(&config.policy.dir);
        Ok(Self { policy, registry, files })
    }

    /// Refuses to answer for policies that are not in force.
    fn sound(self) -> Result<Self> {
        match self.policy.status().problem {
            Some(problem) => Err(problem),
            None => Ok(self),
        }
    }

    fn judge(&self, cases: &[Case]) -> Vec<CaseOutcome> {
        cases.iter().map(|case| case.judge(&*self.policy, &self.registry)).collect()
    }
}

/// How many policy files a folder has.
pub(super) fn policy_files(dir: &Path) -> usize {
    cedar_files(dir).count()
}

/// Whether a policy file of a folder has this text.
pub(super) fn mention(dir: &Path, text: &str) -> bool {
    cedar_files(dir).any(|file| std::fs::read_to_string(file).is_ok_and(|policies| policies.contains(text)))
}

fn cedar_files(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "cedar"))
}

fn check(context: &Context, dir: Option<PathBuf>) -> Result<u8> {
    let Offline { policy, files, .. } = Offline::new(context.config()?, dir)?;
    let status = policy.status();
    let valid = status.problem.is_none();
    match context.output {
        Output::Json => display::json(&json!({"valid": valid, "files": files, "status": status})),
        Output::Text => show::status(&status, files),
    }
    Ok(if valid { exit::DONE } else { exit::FAILED })
}

/// A set that is not valid fails its test, as a case does.
async fn test(context: &Context, files: &[PathBuf], dir: Option<PathBuf>) -> Result<u8> {
    match judged(context, files, dir).await {
        Err(error) if error.code == Code::PolicySetInvalid => {
            display::error(&error, context.output);
            Ok(exit::FAILED)
        }
        other => other,
    }
}

async fn judged(context: &Context, files: &[PathBuf], dir: Option<PathBuf>) -> Result<u8> {
    let read: Vec<(String, Vec<Case>)> =
        files.iter().map(|file| Ok((file.display().to_string(), cases(file)?))).collect::<Result<_>>()?;
    let judge = Judge::open(context, dir).await?;
    let mut judged = Vec::with_capacity(read.len());
    for (file, cases) in read {
        match judge.judge(&cases).await {
            Ok(outcomes) => judged.push((file, outcomes)),
            Err(error) => {
                judge.close().await;
                return Err(error);
            }
        }
    }
    judge.close().await;
    let all = judged.iter().flat_map(|(_, outcomes)| outcomes);
    let failed = all.clone().filter(|outcome| outcome.passed == Some(false)).count();
    match context.output {
        Output::Json => {
            let files: Vec<Value> =
                judged.iter().map(|(file, outcomes)| json!({"file": file, "outcomes": outcomes})).collect();
            display::json(&json!({"failed": failed, "files": files}));
        }
        Output::Text => {
            for (file, outcomes) in &judged {
                show::cases(file, outcomes);
            }
            let mark = if failed == 0 { display::Mark::Good } else { display::Mark::Bad };
            display::mark(mark, format!("{} cases, {failed} failed", all.count()));
        }
    }
    Ok(if failed == 0 { exit::DONE } else { exit::FAILED })
}

/// Who answers for the policies.
enum Judge {
    /// The files of a folder.
    Offline(Box<Offline>),
    /// A gateway.
    Gateway(Door),
}

impl Judge {
    async fn open(context: &Context, dir: Option<PathBuf>) -> Result<Self> {
        match (&context.server, &dir) {
            (None, _) => Ok(Self::Offline(Box::new(Offline::new(context.config()?, dir)?.sound()?))),
            (Some(_), None) => Ok(Self::Gateway(context.door().await?)),
            (Some(_), Some(_)) => Err(Error::new(
                Code::RequestMalformed,
                "`--dir` is for policies of this machine, and `--server` for those of a gateway",
            )
            .with_remedy("leave out one of them; `ASTRADESK_SERVER` counts as `--server`")),
        }
    }

    async fn judge(&self, cases: &[Case]) -> Result<Vec<CaseOutcome>> {
        match self {
            Self::Offline(offline) => Ok(offline.judge(cases)),
            Self::Gateway(door) => door.test_policy(cases).await,
        }
    }

    /// The input schema of a tool.
    async fn schema(&self, tool: &ToolName) -> Result<Option<Value>> {
        match self {
            Self::Offline(offline) => {
                Ok(Some(offline.registry.tool(tool.as_str())?.spec().input_schema.clone()))
            }
            Self::Gateway(door) => {
                let tools = door.tools().await?;
                let of = |one: &&Value| one.get("name").and_then(Value::as_str) == Some(tool.as_str());
                Ok(tools.iter().find(of).and_then(|tool| tool.get("input_schema")).cloned())
            }
        }
    }

    async fn close(self) {
        if let Self::Gateway(door) = self {
            door.close().await;
        }
    }
}

async fn explain(context: &Context, args: Explain) -> Result<u8> {
    if let Some(run) = args.what.as_deref().and_then(RunId::parse) {
        return explain_run(context, run).await;
    }
    let judge = Judge::open(context, args.dir.clone()).await?;
    let cases = if let Some(file) = &args.case {
        cases(file)
    } else {
        case_of(context, &judge, args).await.map(|case| vec![case])
    };
    let outcomes = match cases {
        Ok(cases) => judge.judge(&cases).await,
        Err(error) => Err(error),
    };
    judge.close().await;
    let outcomes = outcomes?;
    if context.output == Output::Json {
        display::json(&json!({"outcomes": outcomes}));
        return Ok(exit::DONE);
    }
    for outcome in &outcomes {
        let Some(explanation) = &outcome.explanation else {
            let message = format!("`{}`: {}", shown(&outcome.name, 100), outcome.faults.join("; "));
            return Err(Error::new(Code::RequestMalformed, message).with_remedy("correct the call"));
        };
        show::explanation(&shown(&outcome.name, 100), explanation);
    }
    Ok(exit::DONE)
}

async fn explain_run(context: &Context, run: RunId) -> Result<u8> {
    let door = context.door().await?;
    let explained = door.explain_run(run).await;
    door.close().await;
    let explained = explained?;
    if context.output == Output::Json {
        display::json(&json!({"steps": explained}));
        return Ok(exit::DONE);
    }
    for (number, explanation) in (1..).zip(&explained) {
        show::explanation(&format!("step {number} of run {run}, by the policies of now"), explanation);
    }
    Ok(exit::DONE)
}

/// The case that the command line describes.
async fn case_of(context: &Context, judge: &Judge, args: Explain) -> Result<Case> {
    let tool = ToolName::parse(args.what.unwrap_or_default())?;
    let schema = judge.schema(&tool).await?;
    let arguments = submit::arguments(schema.as_ref(), &args.arguments)?;
    if args.targets.is_empty() {
        let message = "`--target` is missing: policy decides on what the tool would act on";
        return Err(Error::new(Code::RequestMalformed, message)
            .with_remedy("give, for instance, `--target kubernetes/prod/default/deployment/webapp`"));
    }
    let targets = args.targets.iter().map(|target| target.parse::<Target>()).collect::<Result<_>>()?;
    let local = app::local_principal(context.config()?.local_roles());
    let roles: Vec<RoleName> = args.roles.into_iter().map(RoleName::parse).collect::<Result<_>>()?;
    let nobody_named = args.subject.is_none() && roles.is_empty();
    let principal = Person {
        subject: args.subject.unwrap_or(local.subject),
        issuer: local.issuer,
        roles: if nobody_named { local.roles } else { roles.into_iter().collect() },
        actor: args.actor,
    };
    let name = format!("{tool} by {}", principal.subject);
    let call = CaseCall { tool, arguments, targets };
    let context = Circumstances { source: Source::Cli, now: SystemClock.now(), ..Circumstances::default() };
    Ok(Case { name, principal, call, context, expect: None })
}

/// The cases of a file, in YAML or JSON.
fn cases(path: &Path) -> Result<Vec<Case>> {
    let invalid = |why: String| Error::new(Code::RequestMalformed, format!("`{}`: {why}", path.display()));
    let remedy = "a file has `cases:`, a list of cases with `name`, `principal`, `call`, and if need be `context` and `expect`";
    let text = std::fs::read_to_string(path).map_err(|error| invalid(error.to_string()))?;
    let read: Result<Cases, String> = if path.extension().is_some_and(|end| end == "json") {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        serde_saphyr::from_str(&text).map_err(|error| error.to_string())
    };
    let Cases { cases } = read.map_err(|why| invalid(why).with_remedy(remedy))?;
    if cases.is_empty() {
        return Err(invalid("it has no case".to_owned()).with_remedy(remedy));
    }
    Ok(cases)
}
