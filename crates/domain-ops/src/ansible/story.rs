//! What a journal tells: how far a run of a playbook has come, and what came of it on each host.

use astradesk_core::redact;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The most failures and changes that are told, and the most characters of a name, of what is said and of a difference.
const FAILURES: usize = 20;
const CHANGES: usize = 100;
const NAME: usize = 120;
const SAID: usize = 600;
const DIFF_LINES: usize = 40;
const DIFF_BYTES: usize = 4000;

/// A line of the journal, as `journal.py` writes it.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Start { group: i32 },
    Play { name: String },
    Task { name: String },
    Result(Answer),
    End { hosts: BTreeMap<String, Stats>, left_out: u64 },
    Exit {},
}

/// What came of a task on a host.
#[derive(Debug, Deserialize)]
struct Answer {
    state: State,
    host: String,
    task: String,
    #[serde(default)]
    ignored: bool,
    #[serde(default)]
    changed: bool,
    #[serde(default)]
    said: String,
    #[serde(default)]
    diff: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Failed,
    Skipped,
    Unreachable,
}

/// What Ansible counted on a host.
#[derive(Debug, Deserialize)]
struct Stats {
    ok: u64,
    changed: u64,
    unreachable: u64,
    failures: u64,
    skipped: u64,
    rescued: u64,
    ignored: u64,
}

/// How many tasks came out how on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Recap {
    pub(crate) ok: u64,
    pub(crate) changed: u64,
    pub(crate) unreachable: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    pub(crate) rescued: u64,
    pub(crate) ignored: u64,
}

/// A task that failed, or changed something, on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Told {
    pub(crate) host: String,
    pub(crate) task: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) said: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) diff: Vec<String>,
}

/// The task in progress.
#[derive(Debug, Clone, Default, PartialEq)]
struct Current {
    name: String,
    answered: BTreeSet<String>,
    /// How many hosts answered how.
    counts: BTreeMap<&'static str, usize>,
}

/// How far a run has come.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// The process group of Ansible, once it has begun. Nothing was done before.
    pub(crate) group: Option<i32>,
    /// How many tasks have begun.
    pub(crate) tasks: usize,
    pub(crate) hosts: BTreeMap<String, Recap>,
    pub(crate) failures: Vec<Told>,
    pub(crate) changes: Vec<Told>,
    /// How many changes are not told, and results that are not in the journal.
    pub(crate) left_out: u64,
    /// Whether Ansible has come to its end, and has counted.
    pub(crate) has_ended: bool,
    /// Whether it has given up without counting.
    pub(crate) has_given_up: bool,
    current: Option<Current>,
    /// What must not be shown, wherever it stands.
    secret: Option<String>,
}

/// What to tell of a run to who watches it.
pub(crate) type Report = (String, Value);

impl Story {
    /// The story of a run that uses this secret.
    pub(crate) fn without(secret: Option<String>) -> Self {
        Self { secret, ..Self::default() }
    }

    /// Goes on with a line of the journal; one that is none is passed over.
    pub(crate) fn go_on(&mut self, line: &str) -> Vec<Report> {
        match serde_json::from_str(line) {
            Ok(Event::Start { group }) => {
                self.group = Some(group);
                Vec::new()
            }
            Ok(Event::Play { name }) => {
                let name = self.name(&name);
                vec![(format!("play `{name}`"), json!({"play": name}))]
            }
            Ok(Event::Task { name }) => self.begin(&name),
            Ok(Event::Result(answer)) => self.answer(&answer),
            Ok(Event::End { hosts, left_out }) => {
                let reports = self.finish();
                self.hosts =
                    hosts.into_iter().map(|(host, stats)| (self.name(&host), stats.into())).collect();
                (self.has_ended, self.left_out) = (true, self.left_out + left_out);
                reports.into_iter().collect()
            }
            Ok(Event::Exit {}) => {
                self.has_given_up = true;
                self.finish().into_iter().collect()
            }
            Err(_) => Vec::new(),
        }
    }

    /// The task in progress, and those of `hosts` that have not answered.
    pub(crate) fn in_progress<'a>(&self, hosts: &'a [String]) -> Option<(&str, Vec<&'a str>)> {
        let current = self.current.as_ref()?;
        let silent = hosts.iter().filter(|host| {
            let gone = self.hosts.get(*host).is_some_and(|recap| recap.failed + recap.unreachable > 0);
            !gone && !current.answered.contains(*host)
        });
        Some((&current.name, silent.map(String::as_str).collect()))
    }

    fn begin(&mut self, name: &str) -> Vec<Report> {
        let mut reports: Vec<Report> = self.finish().into_iter().collect();
        self.tasks += 1;
        let (name, number) = (self.name(name), self.tasks);
        reports.push((format!("task {number}: `{name}`"), json!({"task": name, "number": number})));
        self.current = Some(Current { name, ..Current::default() });
        reports
    }

    /// What came of the task that was in progress.
    fn finish(&mut self) -> Option<Report> {
        let current = self.current.take().filter(|current| !current.counts.is_empty())?;
        let counts = current.counts.iter().map(|(state, count)| format!("{state} on {count}"));
        let message = format!("`{}`: {}", current.name, counts.collect::<Vec<_>>().join(", "));
        Some((message, json!({"task": current.name, "hosts": current.counts})))
    }

    fn answer(&mut self, answer: &Answer) -> Vec<Report> {
        let (host, task) = (self.name(&answer.host), self.name(&answer.task));
        let recap = self.hosts.entry(host.clone()).or_default();
        let state = match answer.state {
            State::Ok if answer.changed => "changed",
            State::Ok => "ok",
            State::Skipped => "skipped",
            State::Failed | State::Unreachable if answer.ignored => "failed, and ignored",
            State::Failed => "failed",
            State::Unreachable => "unreachable",
        };
        match state {
            "changed" => (recap.ok, recap.changed) = (recap.ok + 1, recap.changed + 1),
            "ok" => recap.ok += 1,
            "skipped" => recap.skipped += 1,
            "failed" => recap.failed += 1,
            "unreachable" => recap.unreachable += 1,
            _ => (recap.ok, recap.ignored) = (recap.ok + 1, recap.ignored + 1),
        }
        if let Some(current) = &mut self.current {
            current.answered.insert(host.clone());
            *current.counts.entry(state).or_default() += 1;
        }
        let told =
            Told { said: self.shown(&answer.said, SAID), diff: self.difference(&answer.diff), host, task };
        if matches!(state, "failed" | "unreachable") {
            let Told { host, task, said, .. } = &told;
            let message = format!("`{task}` is {state} on `{host}`: {said}");
            let report = (message, json!({"task": task, "host": host, "state": state, "said": said}));
            if self.failures.len() < FAILURES {
                self.failures.push(told);
            }
            return vec![report];
        }
        if answer.changed || !told.diff.is_empty() {
            if self.changes.len() < CHANGES {
                self.changes.push(Told { said: String::new(), ..told });
            } else {
                self.left_out += 1;
            }
        }
        Vec::new()
    }

    /// A difference, without the name of the file that Ansible made for it.
    fn difference(&self, text: &str) -> Vec<String> {
        let lines = redact::log(&self.hidden(text), DIFF_LINES, DIFF_BYTES).into_iter();
        lines.filter(|line| !line.starts_with("+++ after")).collect()
    }

    fn name(&self, text: &str) -> String {
        self.shown(text, NAME)
    }

    /// Text from Ansible, in one line, without secrets.
    pub(crate) fn shown(&self, text: &str, limit: usize) -> String {
        redact::line(&self.hidden(text), limit)
    }

    fn hidden(&self, text: &str) -> String {
        match &self.secret {
            Some(secret) => text.replace(secret.as_str(), "[secret]"),
            None => text.to_owned(),
        }
    }
}

impl From<Stats> for Recap {
    fn from(stats: Stats) -> Self {
        let Stats { ok, changed, unreachable, failures, skipped, rescued, ignored } = stats;
        Self { ok, changed, unreachable, failed: failures, skipped, rescued, ignored }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The story of a journal.
    pub(crate) fn of(lines: &[Value]) -> Story {
        let mut story = Story::without(Some("hunter2".to_owned()));
        for line in lines {
            story.go_on(&line.to_string());
        }
        story
    }

    pub(crate) fn result(state: &str, host: &str, more: &Value) -> Value {
        let mut line = json!({"event": "result", "state": state, "host": host, "task": "copy"});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    }

    #[test]
    fn a_story_counts_tells_and_shows_no_secret() {
        let mut story = Story::without(Some("hunter2".to_owned()));
        let mut reports = Vec::new();
        for line in [
            json!({"event": "start", "group": 7}),
            json!({"event": "play", "name": "all of it"}),
            json!({"event": "task", "name": "copy"}),
            result(
                "ok",
                "web1",
                &json!({"changed": true, "diff": "--- before: /etc/a\n+++ after: /tmp/b\n-a\n+password=x\n"}),
            ),
            result("failed", "web2", &json!({"said": "it is hunter2, token=abc\u{1b}[31m"})),
            result("failed", "web3", &json!({"said": "whatever", "ignored": true})),
            result("unreachable", "db1", &json!({"said": "no route"})),
            json!({"event": "unheard of"}),
            json!({"event": "task", "name": "next"}),
        ] {
            reports.extend(story.go_on(&line.to_string()).into_iter().map(|(message, _)| message));
        }
        assert!(story.go_on("{\"event\": \"ta").is_empty(), "a line that was cut");
        assert_eq!(
            reports,
            [
                "play `all of it`",
                "task 1: `copy`",
                "`copy` is failed on `web2`: it is [secret], token=[redacted]",
                "`copy` is unreachable on `db1`: no route",
                "`copy`: changed on 1, failed on 1, failed, and ignored on 1, unreachable on 1",
                "task 2: `next`",
            ]
        );
        assert_eq!((story.group, story.tasks, story.has_ended), (Some(7), 2, false));
        assert_eq!(story.changes[0].diff, ["--- before: /etc/a", "-a", "+password=[redacted]"]);
        assert_eq!(story.hosts["web3"], Recap { ok: 1, ignored: 1, ..Recap::default() });
        let hosts = ["web1", "web2", "web3", "db1"].map(str::to_owned);
        assert_eq!(story.in_progress(&hosts), Some(("next", vec!["web1", "web3"])));
        let stats = json!({"ok": 2, "changed": 1, "unreachable": 0, "failures": 0, "skipped": 0, "rescued": 1, "ignored": 0});
        story.go_on(&json!({"event": "end", "hosts": {"web1": stats}, "left_out": 3}).to_string());
        assert_eq!((story.has_ended, story.left_out, story.hosts["web1"].rescued), (true, 3, 1));
    }

    #[test]
    fn what_is_told_is_bounded() {
        let mut story = Story::without(None);
        for _ in 0..200 {
            story.go_on(&result("ok", "web1", &json!({"changed": true})).to_string());
            story.go_on(&result("failed", "web1", &json!({"said": "x".repeat(5000)})).to_string());
        }
        assert_eq!((story.changes.len(), story.left_out, story.failures.len()), (100, 100, 20));
        assert!(story.failures[0].said.chars().count() <= 600);
    }
}
