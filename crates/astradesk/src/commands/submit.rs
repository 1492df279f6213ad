//! `astradesk run` and `astradesk call`.

use super::Context;
use crate::cli::{self, Output};
use crate::display::{self, Live, approval};
use crate::door::{Answer, Ask, Door};
use crate::exit;
use astradesk_core::run::{OnFailure, State};
use astradesk_core::text::shown;
use astradesk_core::{Arguments, Call, Code, Error, Result, Run, ToolName};
use astradesk_runtime::engine::{Preview, Request};
use serde::Deserialize as _;
use serde_json::Value;

pub(super) async fn say(context: &Context, args: cli::Run) -> Result<u8> {
    let request = Request::Say { agent: args.agent, input: args.input.join(" ") };
    let door = context.door().await?;
    let result = submit(context, &door, request, &args.submit).await;
    door.close().await;
    result
}

pub(super) async fn call(context: &Context, args: cli::Call) -> Result<u8> {
    let tool = ToolName::parse(args.tool)?;
    let door = context.door().await?;
    let tools = if args.arguments.is_empty() { Ok(Vec::new()) } else { door.tools().await };
    let arguments = tools.and_then(|tools| {
        let schema = tools.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(tool.as_str()));
        arguments(schema.and_then(|tool| tool.get("input_schema")), &args.arguments)
    });
    let result = match arguments {
        Ok(arguments) => submit(context, &door, Request::Call(Call { tool, arguments }), &args.submit).await,
        Err(error) => Err(error),
    };
    door.close().await;
    result
}

/// Reads `key=value` by the type that the tool's schema gives the key; what the schema does not know is sent
/// as text, for the Engine to refuse.
pub(super) fn arguments(schema: Option<&Value>, pairs: &[String]) -> Result<Arguments> {
    let mut arguments = Arguments::new();
    for pair in pairs {
        let Some((key, text)) = pair.split_once('=') else {
            let message = format!("`{}` is not KEY=VALUE", shown(pair, 80));
            return Err(Error::new(Code::RequestMalformed, message)
                .with_remedy("write, for instance, `service=webapp`"));
        };
        let kind = schema.and_then(|s| s.pointer(&format!("/properties/{key}/type"))).and_then(Value::as_str);
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

async fn submit(context: &Context, door: &Door, request: Request, how: &cli::Submit) -> Result<u8> {
    let output = context.output;
    if how.no_wait {
        needs_gateway(door)?;
    }
    let ask = Ask {
        request,
        dry_run: how.dry_run,
        idempotency_key: how.idempotency_key.clone(),
        reason: how.reason.clone(),
        break_glass: how.break_glass,
    };
    let (run, replayed) = match door.submit(ask).await? {
        Answer::Preview(preview) => {
            previewed(&preview, output);
            return Ok(exit::DONE);
        }
        Answer::Run { run, replayed } => (*run, replayed),
    };
    if output == Output::Text {
        display::admitted(&run, replayed);
    }
    if run.state == State::AwaitingApproval {
        if output == Output::Text {
            approval::wanted(&run, context.server.as_deref());
        }
        if !how.wait {
            if output == Output::Json {
                display::json(&run);
            }
            return Ok(exit::state(&run.state));
        }
    } else if how.no_wait && !run.state.is_final() {
        if output == Output::Json {
            display::json(&run);
        }
        return Ok(exit::DONE);
    }
    let run = follow(door, run, output, Interrupt::Cancels).await?;
    Ok(display::outcome(&run, output))
}

/// Shows what would happen. What is not understood, from a newer gateway, is shown as it is.
fn previewed(preview: &Value, output: Output) {
    match Preview::deserialize(preview) {
        Ok(read) if output == Output::Text => {
            for part in &read.plan.understood {
                display::note(format!("understood {}", display::understood(part)));
            }
            approval::preview(&read.steps);
        }
        _ => display::json(preview),
    }
}

/// Refuses `--no-wait` without a gateway.
pub(super) fn needs_gateway(door: &Door) -> Result<()> {
    if let Door::Embedded { .. } = door {
        let message = "`--no-wait` needs a gateway: without one, the run lives and ends with this command";
        return Err(Error::new(Code::RequestMalformed, message)
            .with_remedy("give `--server`, or leave out `--no-wait`"));
    }
    Ok(())
}

/// What a first Ctrl-C does to a run that is watched; the next one leaves it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// It asks for the run to be cancelled.
    Cancels,
    /// It leaves the run alone.
    Leaves,
}

/// Watches a run until it ends.
pub(super) async fn follow(door: &Door, run: Run, output: Output, interrupt: Interrupt) -> Result<Run> {
    if run.state.is_final() {
        return Ok(run);
    }
    let mut live = Live::new(output);
    let watching = door.watch(run.id, |event| live.event(&event));
    let interrupted = async {
        tokio::signal::ctrl_c().await.ok();
        if interrupt == Interrupt::Leaves {
            return Ok(());
        }
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
