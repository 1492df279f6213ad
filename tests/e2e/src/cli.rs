//! The command line: one command, or a `serve` that stays.

use crate::client::Client;
use crate::gateway::Settings;
use crate::{PATIENCE, Place};
use serde_json::Value;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
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

fn command(place: &Place, settings: &Settings) -> Command {
    let mut command = Command::new(place.binary);
    command.env_clear().envs(settings.environment(place)).current_dir(&settings.state);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs a command with the Engine in it, to its end.
pub async fn embedded(place: &Place, settings: &Settings, arguments: &[&str]) -> Said {
    finish(command(place, settings).args(arguments)).await
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
        let mut child = command
            .args(["serve", "--dev", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
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
        let url = format!("http://{address}");
        let client = Client::new(&url, &settings.token("ada", "sre"));
        Self { client, child, log, reading }
    }

    /// Its log until now.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends SIGTERM and waits for the end: exit code and log.
    pub async fn terminate(mut self) -> (Option<i32>, String) {
        let id = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
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
