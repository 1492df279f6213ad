//! `astradesk mcp`

use super::{Context, serve};
use crate::app::{App, local_principal};
use crate::config::Config;
use crate::exit;
use astradesk_core::{Code, Error, Principal, Result};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Who acts for the operating-system user here: nobody who can approve anything.
const ACTOR: &str = "mcp";

/// Serves the client that started this process, until it closes standard input. Standard output is the protocol's;
/// logs go to standard error.
pub(super) async fn run(context: &Context) -> Result<u8> {
    if let Some(server) = &context.server {
        let message = "`astradesk mcp` runs the Engine here; an agent speaks to a gateway without it";
        let remedy = format!("connect the agent to `{}/mcp`, with a token", server.trim_end_matches('/'));
        return Err(Error::new(Code::ConfigInvalid, message).with_remedy(remedy));
    }
    let config = context.config()?;
    serve::log(&config)?;
    let app = App::open(&config).await?;
    app.engine.tend();
    let served = answer(&config, &app).await;
    app.close(Duration::from_secs(config.server.stop_seconds)).await;
    served.map(|()| exit::DONE)
}

async fn answer(config: &Config, app: &App) -> Result<()> {
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        serve::stop_signal().await;
        stop.cancel();
    });
    let principal = Principal { actor: Some(ACTOR.to_owned()), ..local_principal(config.local_roles()) };
    let wait = Duration::from_secs(config.mcp.wait_seconds);
    astradesk_gateway::mcp::serve_stdio(app.engine.clone(), principal, wait, shutdown).await
}
