//! The command line: one command, or a `serve` that stays.

use crate::client::Client;
use crate::disk::{self, Disk};
use crate::gateway::Settings;
use crate::{PATIENCE, Place};
use astradesk_core::{RoleName, Timestamp};
use astradesk_gateway::DevIssuer;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a command said.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Said {
    /// The JSON on its standard output.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("not one JSON document ({error}): {self:?}"))
    }

    /// Checks its exit code.
    #[track_caller]
    pub fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }
}

/// What makes it serve.
const SERVE: [&str; 4] = ["serve", "--dev", "--listen", "127.0.0.1:0"];

fn command(place: &Place, settings: &Settings) -> Command {
    environment(place, settings, Command::new(place.binary))
}

/// The same with its state on a disk of its own, mounted `rw` or `ro`.
fn on_disk(place: &Place, settings: &Settings, mode: &str) -> Command {
    let mut command = environment(place, settings, disk::command(settings, mode, place.binary).into());
    command.env("ASTRADESK_STORE_PATH", disk::folder(settings));
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn environment(place: &Place, settings: &Settings, mut command: Command) -> Command {
    command.env_clear().envs(settings.environment(place)).current_dir(&settings.state);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs a command with the Engine in it, to its end.
pub async fn embedded(place: &Place, settings: &Settings, arguments: &[&str]) -> Said {
    finish(command(place, settings).args(arguments)).await
}

/// Starts a command with the Engine in it, which the test ends.
pub fn start(place: &Place, settings: &Settings, arguments: &[&str]) -> Child {
    command(place, settings).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Runs `serve` with its state on a disk that cannot be written, to its end.
pub async fn serve_read_only(place: &Place, settings: &Settings) -> Said {
    finish(on_disk(place, settings, "ro").args(SERVE)).await
}

/// Runs a command that speaks to a gateway, to its end; it knows of no cluster.
pub async fn remote(place: &Place, settings: &Settings, client: (&str, &str), arguments: &[&str]) -> Said {
    let mut command = command(place, settings);
    command.env_remove("KUBECONFIG").env("ASTRADESK_TOKEN", client.1);
    finish(command.args(["--server", client.0]).args(arguments)).await
}

async fn finish(command: &mut Command) -> Said {
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {command:?}")).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Said {
        code: output.status.code().expect("the command was ended by a signal"),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

/// `astradesk serve --dev` in a process of its own.
pub struct Serve {
    /// Speaks to it as `ada`, who has the role `sre`.
    pub client: Client,
    child: Child,
    log: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

impl Serve {
    /// Starts it on a free port and waits until it serves.
    pub async fn start(place: &Place, settings: &Settings) -> Self {
        let mut command = command(place, settings);
        command.args(SERVE);
        let (mut serve, _) = Self::spawn(command).await;
        serve.client = serve.client.with_token(Some(&settings.token("ada", "sre")));
        serve
    }

    /// Starts two on one state.
    pub async fn pair(place: &Place, settings: &Settings) -> (Self, Self) {
        (Self::start(place, settings).await, Self::start(place, settings).await)
    }

    /// Starts it with its state on a small disk of its own.
    pub async fn start_on_disk(place: &Place, settings: &Settings) -> (Self, Disk) {
        let mut command = on_disk(place, settings, "rw");
        command.args(SERVE);
        let (mut serve, process) = Self::spawn(command).await;
        let disk = Disk::of(process, settings);
        let issuer = DevIssuer::from_file(&disk.file("dev-issuer.key")).unwrap();
        let roles = [RoleName::parse("sre").unwrap()];
        let token = issuer.mint("ada", &roles, Duration::from_mins(10), Timestamp::now()).unwrap();
        serve.client = serve.client.with_token(Some(&token));
        (serve, disk)
    }

    /// Waits until it serves; its client has no token yet. Also the process.
    async fn spawn(mut command: Command) -> (Self, u32) {
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, mut address) = watch::channel(None);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = log.clone();
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let told: Value = serde_json::from_str(&line).unwrap_or_default();
                if told["fields"]["message"] == "serving" {
                    sender.send_replace(told["fields"]["address"].as_str().map(str::to_owned));
                }
                *kept.lock().unwrap() += &(line + "\n");
            }
        });
        let serving = tokio::time::timeout(PATIENCE, address.wait_for(Option::is_some)).await;
        let Some(address) = serving.ok().and_then(|found| found.ok()?.clone()) else {
            panic!("it does not serve: {}", log.lock().unwrap());
        };
        let client = Client::new(&format!("http://{address}"), "");
        let process = child.id().unwrap();
        (Self { client, child, log, reading }, process)
    }

    /// Its log until now.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Its resident memory, in KiB.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Sends SIGTERM and waits for the end: exit code and log.
    pub async fn terminate(mut self) -> (Option<i32>, String) {
        self.signal(Signal::TERM);
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it does not end: {}", self.log())).unwrap();
        self.reading.await.unwrap();
        (status.code(), self.log.lock().unwrap().clone())
    }

    /// Ends it without a warning, as a power cut would.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}
