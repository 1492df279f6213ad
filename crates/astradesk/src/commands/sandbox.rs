//! `astradesk sandbox`

use crate::{cli, display, exit};
use astradesk_core::{Code, Error, Result};
use astradesk_sandbox::{Config, Sandbox, scenario};
use std::io::Write as _;
use std::path::Path;
use tokio::sync::mpsc;

/// How large a scenario's file may be, in bytes.
const FILE_LIMIT: u64 = 4 << 20;

pub(super) async fn run(args: cli::Sandbox) -> Result<u8> {
    let mut config = match &args.scenario {
        Some(file) => scenario(file)?,
        None if args.empty => Config::default(),
        None => Config { objects: scenario::demo(), ..Config::default() },
    };
    config.listen = args.listen;
    config.seed = args.seed.unwrap_or(config.seed);
    let users: Vec<String> = config.users.iter().map(|user| user.name.clone()).collect();
    let summary = format!(
        "{} objects on {} nodes, {} faults, {} things to happen",
        config.objects.len(),
        config.nodes,
        config.faults.len(),
        config.timeline.len()
    );
    let sandbox = Sandbox::start(config).await;
    let mut sandbox = sandbox.map_err(|error| invalid(format!("the sandbox cannot start: {error}")))?;
    // The file holds tokens: for its owner only.
    let written = crate::app::private_file(&args.kubeconfig)
        .and_then(|mut file| file.write_all(sandbox.kubeconfig().as_bytes()));
    written
        .map_err(|error| invalid(format!("`{}` cannot be written: {error}", args.kubeconfig.display())))?;
    display::line(format!("sandbox at {}", sandbox.url()));
    display::line(format!("export KUBECONFIG={}", args.kubeconfig.display()));
    if args.scenario.is_some() {
        display::note(summary);
    }
    if !users.is_empty() {
        display::note(format!("kubectl --context {}", users.join("|")));
    }
    display::note("Ctrl-C stops it");
    let happenings = sandbox.happenings();
    tokio::select! {
        () = super::serve::stop_signal() => {}
        () = tell(happenings) => super::serve::stop_signal().await,
    }
    sandbox.shutdown().await;
    Ok(exit::DONE)
}

/// Shows what happens, when it happens, until nothing is to happen any more.
async fn tell(happenings: Option<mpsc::Receiver<String>>) {
    let Some(mut happenings) = happenings else { return };
    while let Some(happening) = happenings.recv().await {
        display::line(happening);
    }
}

fn scenario(file: &Path) -> Result<Config> {
    let wrong = |why: String| invalid(format!("`{}`: {why}", file.display()));
    let read = || {
        let length = std::fs::metadata(file)?.len();
        if length > FILE_LIMIT {
            return Err(std::io::Error::other(format!("it is larger than {FILE_LIMIT} bytes")));
        }
        std::fs::read_to_string(file)
    };
    let text = read().map_err(|error| wrong(error.to_string()))?;
    scenario::read(&text).map_err(|error| wrong(error.to_string()))
}

fn invalid(why: String) -> Error {
    Error::new(Code::ConfigInvalid, why)
}
