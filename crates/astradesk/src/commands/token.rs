//! `astradesk token`

use super::{Context, serve};
use crate::cli::{self, Output};
use crate::{app, display, exit};
use astradesk_core::{Result, RoleName, Timestamp};
use astradesk_gateway::auth::DevIssuer;
use serde_json::json;
use std::time::Duration;

pub(super) fn run(context: &Context, args: cli::Token) -> Result<u8> {
    let config = context.config()?;
    app::private_folder(&config.state_dir())?;
    let issuer = DevIssuer::from_file(&serve::dev_key(&config))?;
    let roles = args.roles.into_iter().map(RoleName::parse).collect::<Result<Vec<_>>>()?;
    let subject = args.subject.unwrap_or_else(|| app::local_principal(Vec::new()).subject);
    let ttl = Duration::from_mins(u64::from(args.minutes));
    let token = issuer.mint(&subject, &roles, ttl, Timestamp::now())?;
    match context.output {
        Output::Json => display::json(
            &json!({"token": token, "subject": subject, "roles": roles, "expires_in": ttl.as_secs()}),
        ),
        Output::Text => display::line(token),
    }
    Ok(exit::DONE)
}
