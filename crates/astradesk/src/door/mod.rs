//! One way to reach an Engine: embedded in this process, or behind a gateway.

mod govern;
mod remote;

pub use govern::EvidencePage;
pub use remote::Remote;

use crate::app::{App, local_principal};
use crate::config::Config;
use astradesk_core::run::OnFailure;
use astradesk_core::{Principal, Result, Run, RunId, Source, ToolSpec};
use astradesk_runtime::engine::{Request, Submission, Submitted};
use astradesk_runtime::port::{RunEvent, RunFilter, RunPage};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How long one request for events waits for there to be some.
const POLL: Duration = Duration::from_secs(5);
/// Between two questions about a run on which nothing happens.
const PAUSE: Duration = Duration::from_millis(100);

/// An Engine, from where the command line stands.
pub enum Door {
    /// In this process, on the caller's kubeconfig.
    Embedded {
        /// The Engine and what belongs to it.
        app: Box<App>,
        /// The operating-system user.
        principal: Principal,
    },
    /// Behind a gateway.
    Remote(Remote),
}

impl Door {
    /// The gateway at `server`, or the Engine in this process.
    pub async fn open(config: &Config, server: Option<&str>) -> Result<Self> {
        if let Some(server) = server {
            return Remote::new(server, std::env::var("ASTRADESK_TOKEN").ok()).map(Self::Remote);
        }
        let app = Box::new(App::open(config).await?);
        Ok(Self::Embedded { app, principal: local_principal(config.local_roles()) })
    }

    /// Closes what was opened. A run that is under way is handed over to the next process.
    pub async fn close(self) {
        if let Self::Embedded { app, .. } = self {
            app.close(Duration::from_secs(15)).await;
        }
    }

    /// Submits a request.
    pub async fn submit(&self, ask: Ask) -> Result<Answer> {
        match self {
            Self::Embedded { app, principal } => {
                let principal = principal.clone();
                let Ask { request, dry_run, idempotency_key, reason, break_glass } = ask;
                let (source, trace) = (Source::Cli, None);
                let submission = Submission {
                    principal,
                    source,
                    request,
                    dry_run,
                    reason,
                    break_glass,
                    trace,
                    idempotency_key,
                };
                Ok(match app.engine.submit(submission).await? {
                    Submitted::Run { run, replayed } => Answer::Run { run, replayed },
                    Submitted::Preview(preview) => Answer::Preview(json!(preview)),
                })
            }
            Self::Remote(remote) => remote.submit(ask).await,
        }
    }

    /// The run.
    pub async fn run(&self, id: RunId) -> Result<Run> {
        match self {
            Self::Embedded { app, principal } => app.engine.run(principal, id).await,
            Self::Remote(remote) => remote.run(id).await,
        }
    }

    /// Runs, newest first.
    pub async fn runs(&self, filter: RunFilter) -> Result<RunPage> {
        match self {
            Self::Embedded { app, principal } => app.engine.runs(principal, filter).await,
            Self::Remote(remote) => remote.runs(&filter).await,
        }
    }

    /// Gives every event of a run, from its first, to `on_event`, until the run has ended or rests.
    pub async fn watch(&self, id: RunId, mut on_event: impl FnMut(RunEvent)) -> Result<()> {
        let (app, principal) = match self {
            Self::Embedded { app, principal } => (app, principal),
            Self::Remote(remote) => return remote.watch(id, on_event).await,
        };
        let mut after = 0;
        loop {
            let page = app.engine.events(principal, id, after, Instant::now() + POLL).await?;
            if page.finished || !page.events.is_empty() {
                for event in page.events {
                    after = after.max(event.seq);
                    on_event(event);
                }
                if page.finished {
                    return Ok(());
                }
            } else {
                // Its process may be gone by now: then somebody has to go on with it, and this one can.
                app.engine.take_up(principal, id).await?;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Goes on with a run whose process is gone, so that there is something to watch or cancel. One that
    /// another process executes is left to that one, and a gateway takes such runs over by itself.
    pub async fn take_up(&self, id: RunId) -> Result<()> {
        match self {
            Self::Embedded { app, principal } => app.engine.take_up(principal, id).await,
            Self::Remote(_) => Ok(()),
        }
    }

    /// Asks for a run to be cancelled, and its effect to be left or undone.
    pub async fn cancel(&self, id: RunId, on_effect: OnFailure) -> Result<Run> {
        match self {
            Self::Embedded { app, principal } => app.engine.cancel(principal, id, on_effect).await,
            Self::Remote(remote) => remote.cancel(id, on_effect).await,
        }
    }

    /// The tools that may be used, as JSON.
    pub async fn tools(&self) -> Result<Vec<Value>> {
        match self {
            Self::Embedded { app, principal } => {
                let tools = app.engine.tools(principal);
                Ok(tools.iter().map(|tool| json!(ToolSpec::clone(tool.spec()))).collect())
            }
            Self::Remote(remote) => remote.tools().await,
        }
    }
}

/// A request, and how it is to go.
#[derive(Debug, Clone)]
pub struct Ask {
    /// What is asked for.
    pub request: Request,
    /// Plan, decide and preview only.
    pub dry_run: bool,
    /// Under which a repeated request finds the first one's run.
    pub idempotency_key: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Override guardrails.
    pub break_glass: bool,
}

impl Ask {
    /// The request, with nothing special about it.
    pub const fn new(request: Request) -> Self {
        Self { request, dry_run: false, idempotency_key: None, reason: None, break_glass: false }
    }
}

/// What became of a submission.
pub enum Answer {
    /// A run.
    Run {
        /// The run.
        run: Box<Run>,
        /// Whether it is an earlier request's.
        replayed: bool,
    },
    /// What would happen.
    Preview(Value),
}
