//! `astradesk sandbox`

use crate::{cli, display, exit};
use astradesk_core::{Code, Error, Result};
use astradesk_sandbox::{Config, Sandbox, scenario};
use std::io::Write as _;

pub(super) async fn run(args: cli::Sandbox) -> Result<u8> {
    let objects = if args.empty { Vec::new() } else { scenario::demo() };
    let sandbox = Sandbox::start(Config { listen: args.listen, objects, ..Config::default() }).await;
    let sandbox = sandbox
        .map_err(|error| Error::new(Code::ConfigInvalid, format!("the sandbox cannot start: {error}")))?;
    // The file holds a token: for its owner only.
    crate::app::private_file(&args.kubeconfig)
        .and_then(|mut file| file.write_all(sandbox.kubeconfig().as_bytes()))
        .map_err(|error| {
            Error::new(
                Code::ConfigInvalid,
                format!("`{}` cannot be written: {error}", args.kubeconfig.display()),
            )
        })?;
    display::line(format!("sandbox at {}", sandbox.url()));
    display::line(format!("export KUBECONFIG={}", args.kubeconfig.display()));
    display::note("Ctrl-C stops it");
    super::serve::stop_signal().await;
    sandbox.shutdown().await;
    Ok(exit::DONE)
}
