//! `astradesk serve`

use super::Context;
use crate::app::App;
use crate::cli;
use crate::config::{Config, LogFormat, load};
use crate::{display, exit};
use astradesk_core::{Code, Error, Result};
use astradesk_gateway::auth::DevIssuer;
use astradesk_gateway::{Auth, Gateway, Webhook};
use astradesk_runtime::Engine;
use astradesk_runtime::port::{PolicyStatus, SystemClock};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

pub(super) async fn run(context: &Context, args: cli::Serve) -> Result<u8> {
    let mut sources = context.sources()?;
    sources.flags.extend(args.listen.map(|listen| ("server.listen", listen.to_string())));
    sources.flags.extend(args.dev.then(|| ("auth.dev", "true".to_owned())));
    let (config, _) = load(&sources)?;
    log(&config)?;
    let app = App::open(&config).await?;
    let served = serve(&config, &app).await;
    let clean = app.close(Duration::from_secs(config.server.stop_seconds)).await;
    served?;
    if !clean {
        tracing::warn!("some runs had not reached a safe point; the next process takes them over");
    }
    Ok(exit::DONE)
}

async fn serve(config: &Config, app: &App) -> Result<()> {
    let dev = if config.auth.dev { Some(DevIssuer::from_file(&dev_key(config))?) } else { None };
    let auth = auth(config, dev.as_ref())?;
    let gateway = Gateway::bind(gateway_config(config)?, app.engine.clone(), auth)?;
    tell_policy(&app.engine.policy_status());
    app.engine.recover();
    app.engine.tend();
    tokio::spawn(reload_on_hangup(app.engine.clone()));
    tracing::info!(address = %gateway.local_addr(), "serving");
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        stop_signal().await;
        tracing::info!("stopping");
        stop.cancel();
    });
    if !gateway.serve(shutdown).await {
        tracing::warn!("some requests were cut off");
    }
    Ok(())
}

/// Who may speak to the gateway.
pub(super) fn auth(config: &Config, dev: Option<&DevIssuer>) -> Result<Auth> {
    Auth::new(config.auth.issuers.clone(), dev, Arc::new(SystemClock)).map_err(|error| {
        if config.auth.issuers.is_empty() {
            error.with_remedy("add one under `auth.issuers`, or use `astradesk serve --dev` on loopback")
        } else {
            error
        }
    })
}

/// Says which policies are in force, and loudly that none are.
fn tell_policy(status: &PolicyStatus) {
    let PolicyStatus { digest, policies, problem, warnings, .. } = status;
    if let Some(problem) = problem.as_ref().filter(|_| *policies == 0) {
        tracing::error!(code = %problem.code, problem = %problem.message, remedy = %problem.remedy,
            "THE POLICIES ARE NOT VALID: everything is denied until they are");
    } else {
        tracing::info!(%digest, policies, "policies in force");
    }
    for warning in warnings {
        tracing::warn!(%warning, "a doubt about the policies");
    }
}

/// Loads the packs and the policies again at each SIGHUP. That they have changed is noticed without it, a little later.
async fn reload_on_hangup(engine: Engine) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        match engine.reload_packs().await {
            Ok(true) => tracing::info!("the packs have changed"),
            Ok(false) => tracing::info!("no other pack is in force"),
            Err(error) => tracing::error!(%error, "the packs could not be looked at"),
        }
        match engine.reload_policy().await {
            Ok(true) => tell_policy(&engine.policy_status()),
            Ok(false) => tracing::info!("the policies have not changed"),
            Err(error) => {
                tracing::error!(code = %error.code, problem = %error.message, remedy = %error.remedy,
                    "the policies could not be loaded; those before them stay in force");
            }
        }
    }
}

/// The webhooks, with their secrets.
pub(super) fn webhooks(config: &Config) -> Result<Vec<Webhook>> {
    let one =
        |webhook: &crate::config::Webhook| Webhook::new(&webhook.name, &webhook.url, &webhook.secret()?);
    config.webhooks.iter().map(one).collect()
}

/// The gateway's own configuration.
pub(super) fn gateway_config(config: &Config) -> Result<astradesk_gateway::Config> {
    let mut gateway = astradesk_gateway::Config {
        listen: config.server.listen,
        webhooks: webhooks(config)?,
        public_url: Some(config.server.public_url.clone()).filter(|url| !url.is_empty()),
        allowed_hosts: config.mcp.allowed_hosts.clone(),
        allowed_origins: config.mcp.allowed_origins.clone(),
        ..astradesk_gateway::Config::default()
    };
    gateway.limits.max_body_bytes = config.server.max_body_bytes;
    gateway.limits.concurrent_requests = config.server.max_concurrent_requests;
    gateway.limits.mcp_wait_seconds = config.mcp.wait_seconds;
    gateway.limits.mcp_sessions = config.mcp.sessions;
    gateway.limits.shutdown_seconds = config.server.stop_seconds;
    Ok(gateway)
}

/// The file of the development issuer's key.
pub(super) fn dev_key(config: &Config) -> PathBuf {
    config.state_dir().join("dev-issuer.key")
}

/// Waits for SIGINT or SIGTERM.
pub(super) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        tokio::signal::ctrl_c().await.ok();
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Logs as configured, on standard error.
pub(super) fn log(config: &Config) -> Result<()> {
    let filter = filter(&config.log.level)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match config.log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if started.is_err() {
        display::note("logging was set up before");
    }
    Ok(())
}

/// What is logged. The protocol's library would log whole messages, arguments and results among them: warnings are
/// all that is taken of it, whatever is configured.
fn filter(level: &str) -> Result<EnvFilter> {
    let wrong = || Error::new(Code::ConfigInvalid, format!("`log.level` is `{level}`, which is no filter"));
    let quiet = "rmcp=warn".parse().map_err(|_| Error::internal("no filter for rmcp"))?;
    Ok(EnvFilter::try_new(level).map_err(|_| wrong())?.add_directive(quiet))
}

/// Logs warnings only: for commands whose output is for a person.
pub(crate) fn log_quietly() {
    let filter = EnvFilter::try_from_env("ASTRADESK_LOG_LEVEL")
        .unwrap_or_else(|_| EnvFilter::new("error,kube_client=off"));
    // A second call finds logging set up already, which is what was wanted.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_level_makes_the_protocol_s_library_log_messages() {
        for level in ["trace", "debug,rmcp=trace", "rmcp=debug", "off"] {
            let filter = filter(level).unwrap().to_string();
            let of_rmcp: Vec<&str> = filter.split(',').filter(|part| part.starts_with("rmcp")).collect();
            assert_eq!(of_rmcp, ["rmcp=warn"], "{level}: {filter}");
        }
    }
}
