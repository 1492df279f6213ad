//! The real kubectl on a place, and what it prints, with what differs from run to run taken out.
//!
//! `cargo xtask test` names Debian's kubectl in [`TEST_KUBECTL`]; without one the tests that need it are skipped loudly,
//! and fail where `CI` is set. Another version may be named: the tests run, and what it prints is not compared.

use crate::place::skipped;
use crate::{PATIENCE, Place, Which};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The variable that names the kubectl to test with.
pub const TEST_KUBECTL: &str = "ASTRADESK_TEST_KUBECTL";
/// Writes the transcripts anew, on the real control plane.
const UPDATE: &str = "ASTRADESK_UPDATE_TRANSCRIPTS";
/// The version whose prints are compared.
const COMPARED: &str = "v1.20.";
/// The label of a `StatefulSet`'s first pod that only younger servers set.
const NUMBER: &str = "apps.kubernetes.io/pod-index=0";

/// A kubectl that works in the place's namespace.
pub struct Kubectl<'a> {
    place: &'a Place,
    program: PathBuf,
    home: PathBuf,
    transcript: Mutex<String>,
}

/// What a command came to.
#[derive(Debug)]
pub struct Told {
    /// Its exit code.
    pub code: i32,
    /// What it printed, and then what it complained about.
    pub text: String,
}

impl<'a> Kubectl<'a> {
    /// The kubectl to test with; says loudly when there is none, and fails where `CI` is set.
    pub fn on(place: &'a Place) -> Option<Self> {
        let named = std::env::var_os(TEST_KUBECTL).filter(|path| !path.is_empty());
        let Some(program) = named.map(PathBuf::from) else {
            skipped(&format!("no kubectl in `{TEST_KUBECTL}`; use `cargo xtask test`"));
            return None;
        };
        // Its cache of discovery is by address, and ports are used again.
        let home = place.folder("kubectl");
        Some(Self { place, program, home, transcript: Mutex::default() })
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-n", &self.place.namespace]).args(arguments.split_whitespace());
        command.env("KUBECONFIG", &self.place.kubeconfig).env("HOME", &self.home);
        command.env("KUBE_EDITOR", "sed -i s/app:1/app:9/").current_dir(&self.home);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command; the arguments are what is between spaces.
    pub async fn run(&self, arguments: &str) -> Told {
        let output = tokio::time::timeout(PATIENCE, self.command(arguments).output()).await;
        let output = output.unwrap_or_else(|_| panic!("`kubectl {arguments}` does not end")).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let told = Told {
            code: output.status.code().unwrap_or(-1),
            text: text(&output.stdout) + &without_notes(&text(&output.stderr)),
        };
        self.place.note(&format!("kubectl {arguments}"), &Value::String(told.text.clone()));
        told
    }

    /// Runs a command that must succeed; what it printed.
    pub async fn done(&self, arguments: &str) -> String {
        let told = self.run(arguments).await;
        assert_eq!(told.code, 0, "kubectl {arguments}\n{}", told.text);
        told.text
    }

    /// Runs a command that must end with this code, and takes what it printed into the transcript.
    pub async fn show(&self, code: i32, arguments: &str) -> String {
        self.show_only(code, arguments, |_| true).await
    }

    /// The same with some of the lines, as they are once what differs is taken out.
    pub async fn show_only(&self, code: i32, arguments: &str, keep: impl Fn(&str) -> bool) -> String {
        let told = self.run(arguments).await;
        assert_eq!(told.code, code, "kubectl {arguments}\n{}", told.text);
        let mut transcript = self.transcript.lock().unwrap();
        let _ = writeln!(transcript, "$ kubectl {}", self.normalised(arguments));
        let lines = told.text.lines().filter(|line| line.trim() != NUMBER);
        for line in lines.map(|line| self.normalised(line)).filter(|line| keep(line)) {
            let _ = writeln!(transcript, "{line}");
        }
        let _ = writeln!(transcript, "# {code}\n");
        told.text
    }

    /// Runs a command until it prints this.
    pub async fn until(&self, arguments: &str, wanted: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let text = self.done(arguments).await;
            if text.trim() == wanted {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "`kubectl {arguments}` still prints {text}");
        }
    }

    /// Starts a command that stays, and gives its lines.
    pub fn follow(&self, arguments: &str) -> Follow {
        let mut child = self.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Follow { child, lines, arguments: arguments.to_owned() }
    }

    /// Writes an object where a command finds it: `-f NAME`.
    pub fn write(&self, name: &str, object: &Value) {
        std::fs::write(self.home.join(name), object.to_string()).unwrap();
    }

    /// Compares the transcript with the one that is kept, which the real control plane wrote.
    pub async fn compare(&self, folder: &Path, name: &str) {
        let version = self.done("version --client").await;
        if !version.contains(COMPARED) {
            assert!(std::env::var_os("CI").is_none(), "it is to be {COMPARED}, and is {version}");
            eprintln!("not compared, since it is not {COMPARED}: {version}");
            return;
        }
        let path = folder.join(format!("{name}.txt"));
        let transcript = self.transcript.lock().unwrap().clone();
        if self.place.which == Which::Real && std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, &transcript).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        if let Some((number, (kept, now))) =
            kept.lines().zip(transcript.lines()).enumerate().find(|(_, (kept, now))| kept != now)
        {
            panic!(
                "line {} of {} is otherwise now\n  kept: {kept}\n   now: {now}\n\n{transcript}",
                number + 1,
                path.display()
            );
        }
        assert_eq!(kept, transcript, "one is longer than the other");
    }

    /// A line without what differs from run to run and from cluster to cluster: names that were made up, times, ages,
    /// addresses, versions, and how wide columns are.
    fn normalised(&self, line: &str) -> String {
        let line = line.replace(&self.place.namespace, "NAMESPACE").replace('\t', "  ");
        // Younger servers write mappings in errors as JSON.
        let line = line.replace("map[string]string{", "{");
        let line = without_dates(&line).replace(&format!("{NUMBER},"), "");
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let columns = line.trim().split("  ").map(str::trim).filter(|column| !column.is_empty());
        let columns = columns.map(|column| {
            let words: Vec<String> = column.split(' ').map(normalised_word).collect();
            words.join(" ").replace(" (AGE ago)", "")
        });
        (indent + &columns.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    }
}

/// A command that stays; dropped, it is ended.
pub struct Follow {
    child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    arguments: String,
}

impl Follow {
    /// Waits for a line, and gives it.
    pub async fn until(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let found = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if wanted(&line) {
                    return line;
                }
            }
            panic!("`kubectl {}` ended", self.arguments);
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("`kubectl {}` did not say it", self.arguments))
    }

    /// Waits until it ends; its exit code.
    pub async fn end(mut self) -> i32 {
        let ended = async {
            while self.lines.next_line().await.unwrap().is_some() {}
            self.child.wait().await.unwrap().code().unwrap_or(-1)
        };
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        ended.unwrap_or_else(|_| panic!("`kubectl {}` does not end", self.arguments))
    }
}

/// Without what the client says of itself (that it throttles, that a version is old): it depends on the server's age.
fn without_notes(complaints: &str) -> String {
    let is_note = |line: &&str| {
        let is_log = line.starts_with(['I', 'W']) && line.chars().skip(1).take(4).all(|c| c.is_ascii_digit());
        let is_of_a_version = line.starts_with("Warning: ") && line.contains(" is deprecated in ");
        !is_log && !is_of_a_version
    };
    complaints.lines().filter(is_note).flat_map(|line| [line, "\n"]).collect()
}

/// `Fri, 27 Nov 2026 12:38:04 +0000` becomes `TIME`.
fn without_dates(line: &str) -> String {
    const WEEKDAY_TO_SECOND: usize = "Fri, 27 Nov 2026 12:38:04".len();
    let mut text = line.to_owned();
    while let Some(zone) = text.find(" +0000") {
        text.replace_range(zone - WEEKDAY_TO_SECOND..zone + " +0000".len(), "TIME");
    }
    text
}

fn normalised_word(word: &str) -> String {
    if let Some((left, right)) = word.split_once('/') {
        return format!("{}/{}", normalised_word(left), normalised_word(right));
    }
    let inner = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let stands_for = if is_age(inner) {
        "AGE"
    } else if inner.split('.').count() == 4 && inner.split('.').all(|part| part.parse::<u8>().is_ok()) {
        "ADDRESS"
    } else if inner.starts_with("v1.") && inner.split('.').count() == 3 {
        "VERSION"
    } else if inner.len() == 20 && inner.ends_with('Z') && inner.contains('T') {
        "TIME"
    } else {
        return without_made_up_names(word);
    };
    word.replace(inner, stands_for)
}

fn is_age(word: &str) -> bool {
    let mut digits = false;
    let mut units = 0;
    for c in word.chars() {
        match c {
            '0'..='9' => digits = true,
            's' | 'm' | 'h' | 'd' if digits => (digits, units) = (false, units + 1),
            _ => return false,
        }
    }
    units > 0 && !digits
}

/// Names of nodes and versions of servers; and what controllers make up: five or up to ten characters of an alphabet
/// without vowels.
fn without_made_up_names(word: &str) -> String {
    const SAFE: &str = "bcdfghjklmnpqrstvwxz2456789";
    let mut text = String::new();
    for part in word.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let name = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let made_up = name.chars().all(|c| SAFE.contains(c)) && !text.is_empty();
        text += match name.len() {
            5 if made_up => "ID",
            6..=10 if made_up => "HASH",
            _ => name,
        };
        text += &part[name.len()..];
    }
    let mut text = text.replace("stand-in", "NODE");
    if let Some(node) = text.find("sandbox-node-") {
        text.replace_range(node..node + "sandbox-node-N".len(), "NODE");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_taken_out() {
        for (word, expected) in [
            ("3s", "AGE"),
            ("2m10s", "AGE"),
            ("(3s", "(AGE"),
            ("10m", "AGE"),
            ("web-54bd8cc9f4-x2x9z", "web-HASH-ID"),
            ("pod/db-0", "pod/db-0"),
            ("app=web,pod-template-hash=7dfd956778", "app=web,pod-template-hash=HASH"),
            ("10.244.0.1", "ADDRESS"),
            ("2026-11-27T12:38:05Z", "TIME"),
            ("Running", "Running"),
            ("8080/TCP", "8080/TCP"),
            ("stand-in", "NODE"),
        ] {
            assert_eq!(normalised_word(word), expected);
        }
        assert_eq!(without_dates("Started: Fri, 27 Nov 2026 12:38:04 +0000"), "Started: TIME");
        assert_eq!(without_notes("I1127 12:00:00 throttled\nIt failed\n"), "It failed\n");
    }
}
