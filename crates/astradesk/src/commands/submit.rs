//! `astradesk run` and `astradesk call`.

use super::Context;
use crate::cli::{self, Output};
use crate::display::{self, Live};
use crate::door::{Answer, Door};
use crate::exit;
use astradesk_core::run::OnFailure;
use astradesk_core::text::shown;
use astradesk_core::{Arguments, Call, Code, Error, Result, Run, ToolName};
use astradesk_runtime::engine::Request;
use serde_json::Value;

pub(super) async fn say(context: &Context, args: cli::Run) -> Result<u8> {
    let request = Request::Say { agent: args.agent, input: args.input.join(" ") };
    let door = context.door().await?;
    let result = submit(&door, request, &args.submit, context.output).await;
    door.close().await;
    result
}

pub(super) async fn call(context: &Context, args: cli::Call) -> Result<u8> {
    let tool = ToolName::parse(args.tool)?;
    let door = context.door().await?;
    let result = match arguments(&door, &tool, &args.arguments).await {
        Ok(arguments) => {
            submit(&door, Request::Call(Call { tool, arguments }), &args.submit, context.output).await
        }
        Err(error) => Err(error),
    };
    door.close().await;
    result
}

/// Reads `key=value` by the type that the tool's schema gives the key; what the schema does not know is sent
/// as text, for the Engine to refuse.
async fn arguments(door: &Door, tool: &ToolName, pairs: &[String]) -> Result<Arguments> {
    let tools = if pairs.is_empty() { Vec::new() } else { door.tools().await? };
    let schema = tools.iter().find(|t| t.get("name").and_then(Value::as_str) == Some(tool.as_str()));
    let mut arguments = Arguments::new();
    for pair in pairs {
        let Some((key, text)) = pair.split_once('=') else {
            let message = format!("`{}` is not KEY=VALUE", shown(pair, 80));
            return Err(Error::new(Code::RequestMalformed, message)
                .with_remedy("write, for instance, `service=webapp`"));
        };
        let kind = schema
            .and_then(|s| s.pointer(&format!("/input_schema/properties/{key}/type")))
            .and_then(Value::as_str);
        let parsed = match kind {
            Some("string") | None => None,
            Some(_) => serde_json::from_str(text).ok(),
        };
        let value = parsed.unwrap_or_else(|| Value::from(text));
        if arguments.insert(key.to_owned(), value).is_some() {
            let message = format!("the argument `{}` is given twice", shown(key, 80));
            return Err(Error::new(Code::RequestMalformed, message).with_remedy("give each argument once"));
        }
    }
    Ok(arguments)
}

async fn submit(door: &Door, request: Request, how: &cli::Submit, output: Output) -> Result<u8> {
    if how.no_wait && matches!(door, Door::Embedded { .. }) {
        let message = "`--no-wait` needs a gateway: without one, the run lives and ends with this command";
        return Err(Error::new(Code::RequestMalformed, message)
            .with_remedy("give `--server`, or leave out `--no-wait`"));
    }
    match door.submit(request, how.dry_run, how.idempotency_key.clone()).await? {
        Answer::Preview(preview) => {
            display::json(&preview);
            Ok(exit::DONE)
        }
        Answer::Run { run, replayed } => {
            if output == Output::Text {
                display::admitted(&run, replayed);
            }
            if how.no_wait && !run.state.is_final() {
                if output == Output::Json {
                    display::json(&run);
                }
                return Ok(exit::DONE);
            }
            let run = follow(door, *run, output).await?;
            Ok(display::outcome(&run, output))
        }
    }
}

/// Watches a run until it ends. A first Ctrl-C asks for it to be cancelled; a second leaves it alone.
pub(super) async fn follow(door: &Door, run: Run, output: Output) -> Result<Run> {
    if run.state.is_final() {
        return Ok(run);
    }
    let mut live = Live::new(output);
    let watching = door.watch(run.id, |event| live.event(&event));
    let interrupted = async {
        tokio::signal::ctrl_c().await.ok();
        let cancelled = door.cancel(run.id, OnFailure::Leave).await;
        tokio::signal::ctrl_c().await.ok();
        cancelled.map(|_| ())
    };
    let watched = tokio::select! {
        watched = watching => watched,
        left = interrupted => left,
    };
    live.finish();
    watched?;
    door.run(run.id).await
}
