//! `astradesk runs`

use super::Context;
use super::submit::{Interrupt, follow};
use crate::cli::{Output, Runs};
use crate::door::Door;
use crate::{display, exit};
use astradesk_core::run::{OnFailure, State};
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result, Run, RunId};
use astradesk_runtime::port::RunFilter;
use serde_json::json;

pub(super) async fn run(context: &Context, command: Option<Runs>) -> Result<u8> {
    let command = command.unwrap_or(Runs::List { state: None, limit: 20 });
    let door = context.door().await?;
    let result = perform(&door, command, context.output).await;
    door.close().await;
    result
}

async fn perform(door: &Door, command: Runs, output: Output) -> Result<u8> {
    match command {
        Runs::List { state, limit } => {
            let page = door.runs(RunFilter { state, limit, ..RunFilter::default() }).await?;
            if output == Output::Json {
                display::json(&json!({"runs": page.runs, "next": page.next}));
            } else if page.runs.is_empty() {
                display::note("no runs");
            } else {
                page.runs.iter().for_each(|run| display::line(row(run)));
            }
            Ok(exit::DONE)
        }
        Runs::Show { id } => {
            let run = door.run(parse(&id)?).await?;
            if output == Output::Text {
                display::admitted(&run, false);
                display::life(&run);
            }
            Ok(display::outcome(&run, output))
        }
        Runs::Watch { id } => {
            let run = door.run(parse(&id)?).await?;
            door.take_up(run.id).await?;
            if output == Output::Text {
                display::admitted(&run, false);
                if let Some(asked) = run.approvals.as_ref().filter(|_| run.state == State::AwaitingApproval) {
                    display::note(display::approval::standing(asked));
                }
            }
            let run = follow(door, run, output, Interrupt::Cancels).await?;
            Ok(display::outcome(&run, output))
        }
        Runs::Cancel { id, undo } => {
            let id = parse(&id)?;
            door.take_up(id).await?;
            let on_effect = if undo { OnFailure::Undo } else { OnFailure::Leave };
            let run = door.cancel(id, on_effect).await?;
            if output == Output::Text && !run.state.is_final() {
                display::note(format!("run {id} is being cancelled"));
            }
            let run = follow(door, run, output, Interrupt::Cancels).await?;
            let code = display::outcome(&run, output);
            Ok(if matches!(run.state, State::Cancelled) { exit::DONE } else { code })
        }
    }
}

pub(super) fn parse(id: &str) -> Result<RunId> {
    RunId::parse(id).ok_or_else(|| {
        Error::new(Code::RequestMalformed, format!("`{}` is not a run's id", shown(id, 80)))
            .with_remedy("copy the id from `astradesk runs`")
    })
}

fn row(run: &Run) -> String {
    let calls: Vec<String> = run
        .steps
        .iter()
        .map(|step| {
            if step.undoes.is_some() {
                return "undo".to_owned();
            }
            let targets: Vec<String> = step.call.targets.iter().map(ToString::to_string).collect();
            format!("{} {}", step.call.tool, targets.join(","))
        })
        .collect();
    let code = run.state.error().map(|error| format!(" {}", error.code)).unwrap_or_default();
    let at = run.created_at.strftime("%Y-%m-%d %H:%M:%S");
    format!(
        "{}  {at}  {:<10} {}{code}  {}",
        run.id,
        shown(&run.principal.subject, 200),
        run.state.name(),
        calls.join("; ")
    )
}
