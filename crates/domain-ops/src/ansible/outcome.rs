//! What came of a playbook, as an output or as an error.

use super::story::{Recap, Story, Told};
use astradesk_core::{Code, Error};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The most hosts that a sentence names.
const NAMED: usize = 5;
/// The most characters of what Ansible said last.
const LAST_WORDS: usize = 1000;

/// What was run, on what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) playbook: String,
    pub(crate) check: bool,
    pub(crate) hosts: Vec<String>,
}

/// How a run was stopped before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Its time was over.
    Late,
    /// Somebody cancelled it.
    Cancelled,
    /// It printed more than it may.
    Flooded,
    /// It died, and nobody knows what it was doing.
    Died,
}

impl Subject {
    /// What came of a run that has come to its end: `said` is what Ansible said last.
    ///
    /// # Errors
    /// That it failed, or hosts could not be reached; on all of them, or on some.
    pub(crate) fn judge(&self, story: &Story, said: &str) -> Result<Value, Error> {
        let on = |bad: fn(&Recap) -> bool| -> Vec<&str> {
            let hosts = story.hosts.iter().filter(|(_, recap)| bad(recap));
            hosts.map(|(host, _)| host.as_str()).collect()
        };
        let (failed, gone) = (on(|recap| recap.failed > 0), on(|recap| recap.unreachable > 0));
        let fine = on(|recap| recap.failed + recap.unreachable == 0);
        let why = |named: &[&str]| {
            let first = story.failures.iter().find(|told| named.contains(&told.host.as_str()));
            first.map_or_else(String::new, |Told { host, task, said, .. }| {
                format!("; `{task}` on `{host}`: {said}")
            })
        };
        let (code, what) = match (failed.as_slice(), gone.as_slice()) {
            _ if story.has_given_up && !story.has_ended => {
                let said = story.shown(said, LAST_WORDS);
                (Code::AnsibleFailed, format!("was given up by Ansible after {}: {said}", tasks(story)))
            }
            ([], []) if fine.is_empty() => (Code::AnsibleFailed, "acted on no host at all".to_owned()),
            ([], []) => return Ok(self.output(story)),
            ([], gone) if fine.is_empty() => {
                (Code::AnsibleUnreachable, format!("could not reach {}{}", listed(gone), why(gone)))
            }
            (failed, gone) => {
                let mut parts = Vec::new();
                if !failed.is_empty() {
                    parts.push(format!("failed on {}", listed(failed)));
                }
                if !gone.is_empty() {
                    parts.push(format!("could not reach {}", listed(gone)));
                }
                if !fine.is_empty() {
                    parts.push(format!("succeeded on {}", listed(&fine)));
                }
                let code = if fine.is_empty() { Code::AnsibleFailed } else { Code::AnsiblePartial };
                let named = if failed.is_empty() { gone } else { failed };
                (code, format!("{}{}", parts.join(", "), why(named)))
            }
        };
        Err(self.with_facts(Error::new(code, format!("{} {what}", self.what())), story))
    }

    fn output(&self, story: &Story) -> Value {
        let changed: Vec<&str> = story
            .hosts
            .iter()
            .filter(|(_, recap)| recap.changed > 0)
            .map(|(host, _)| host.as_str())
            .collect();
        let verb = if self.check { "would change" } else { "changed" };
        let summary = match (changed.as_slice(), story.hosts.len()) {
            ([], hosts) => format!("{} {verb} nothing on {}", self.what(), count(hosts, "host")),
            (changed, hosts) => {
                format!("{} {verb} {} of {}", self.what(), changed.len(), count(hosts, "host"))
            }
        };
        json!({
            "summary": format!("{summary}, in {}", tasks(story)),
            "playbook": self.playbook, "check": self.check,
            "hosts": story.hosts, "changes": story.changes, "left_out": story.left_out,
        })
    }

    /// A run that was stopped, and what had been done by then.
    pub(crate) fn stopped(&self, story: &Story, how: Stopped) -> Error {
        let (code, what) = match how {
            Stopped::Late => (Code::ToolTimedOut, "did not end in time and was killed"),
            Stopped::Cancelled => (Code::RunCancelled, "was killed, as its run was cancelled"),
            Stopped::Flooded => (Code::AnsibleFailed, "printed far too much and was killed"),
            Stopped::Died => {
                (Code::RunOutcomeUnknown, "has died half-way, and what it was doing is not known")
            }
        };
        let mut message = format!("{} {what}, after {}", self.what(), tasks(story));
        let in_progress = story.in_progress(&self.hosts);
        if let Some((task, silent)) = &in_progress {
            let _ = write!(message, "; it was in `{task}`");
            if !silent.is_empty() {
                let _ = write!(message, ", and {} had not answered", listed(silent));
            }
        }
        let mut error = self.with_facts(Error::new(code, message), story);
        if let Some((task, silent)) = in_progress {
            error = error.with_detail("in_progress", json!({"task": task, "unanswered": silent}));
        }
        if code != Code::AnsibleFailed && story.tasks > 0 {
            error = error.with_remedy(
                "look at the hosts first: what runs on them goes on there. Repeat it if its tasks may be done twice",
            );
        }
        error
    }

    fn with_facts(&self, error: Error, story: &Story) -> Error {
        let error = error
            .with_detail("playbook", self.playbook.as_str())
            .with_detail("hosts", json!(story.hosts))
            .with_detail("tasks_begun", story.tasks);
        if story.failures.is_empty() { error } else { error.with_detail("failures", json!(story.failures)) }
    }

    fn what(&self) -> String {
        let mode = if self.check { ", in check mode," } else { "" };
        format!("playbook `{}`{mode}", self.playbook)
    }
}

fn tasks(story: &Story) -> String {
    count(story.tasks, "task")
}

pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Some names, and how many there are.
pub(crate) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let some = names.iter().take(NAMED).map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>();
    match names.len().saturating_sub(NAMED) {
        0 => some.join(", "),
        more => format!("{} and {more} more", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::tests::{of, result};
    use super::*;

    fn subject() -> Subject {
        let hosts = vec!["web1".to_owned(), "web2".to_owned()];
        Subject { playbook: "deploy".to_owned(), check: false, hosts }
    }

    fn end(hosts: &[(&str, &str)]) -> Value {
        let stats = |what: &str| {
            let mut stats = json!({"ok": 1, "changed": 0, "unreachable": 0, "failures": 0, "skipped": 0, "rescued": 0, "ignored": 0});
            stats[what] = json!(1);
            stats
        };
        let hosts: serde_json::Map<String, Value> =
            hosts.iter().map(|(host, what)| ((*host).to_owned(), stats(what))).collect();
        json!({"event": "end", "hosts": hosts, "left_out": 0})
    }

    #[test]
    fn each_end_has_its_code_and_its_sentence() {
        let task = json!({"event": "task", "name": "copy"});
        let broken = result("failed", "web2", &json!({"said": "disk full"}));
        for (hosts, expected) in [
            (&[("web1", "changed"), ("web2", "ok")][..], "playbook `deploy` changed 1 of 2 hosts, in 1 task"),
            (&[("web1", "ok")], "playbook `deploy` changed nothing on 1 host, in 1 task"),
            (&[("web1", "rescued")], "playbook `deploy` changed nothing on 1 host, in 1 task"),
            (
                &[("web1", "ok"), ("web2", "failures")],
                "ansible.partial playbook `deploy` failed on `web2`, succeeded on `web1`; `copy` on `web2`: disk full",
            ),
            (
                &[("web1", "ok"), ("web2", "unreachable")],
                "ansible.partial playbook `deploy` could not reach `web2`, succeeded on `web1`; `copy` on `web2`: disk full",
            ),
            (
                &[("web1", "unreachable"), ("web2", "failures")],
                "ansible.failed playbook `deploy` failed on `web2`, could not reach `web1`; `copy` on `web2`: disk full",
            ),
            (&[("web1", "unreachable")], "ansible.unreachable playbook `deploy` could not reach `web1`"),
            (&[], "ansible.failed playbook `deploy` acted on no host at all"),
        ] {
            let told = match subject().judge(&of(&[task.clone(), broken.clone(), end(hosts)]), "") {
                Ok(output) => output["summary"].as_str().unwrap().to_owned(),
                Err(error) => format!("{} {}", error.code, error.message),
            };
            assert_eq!(told, expected);
        }
        let error =
            subject().judge(&of(&[task, json!({"event": "exit"})]), "ERROR! no such role\n").unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str()),
            (
                Code::AnsibleFailed,
                "playbook `deploy` was given up by Ansible after 1 task: ERROR! no such role"
            )
        );
    }

    #[test]
    fn what_was_stopped_says_what_had_been_done() {
        let story = of(&[
            json!({"event": "task", "name": "first"}),
            json!({"event": "task", "name": "second"}),
            result("ok", "web1", &json!({"changed": true})),
        ]);
        for (how, code) in [
            (Stopped::Late, Code::ToolTimedOut),
            (Stopped::Cancelled, Code::RunCancelled),
            (Stopped::Flooded, Code::AnsibleFailed),
            (Stopped::Died, Code::RunOutcomeUnknown),
        ] {
            let error = subject().stopped(&story, how);
            assert_eq!(error.code, code);
            let said = "after 2 tasks; it was in `second`, and `web2` had not answered";
            assert!(error.message.ends_with(said), "{}", error.message);
            assert_eq!(error.details["hosts"]["web1"]["changed"], 1);
            assert_eq!(error.details["in_progress"]["unanswered"], json!(["web2"]));
        }
    }

    #[test]
    fn names_are_listed_as_far_as_somebody_reads() {
        let names: Vec<String> = (0..7).map(|n| format!("web{n}")).collect();
        assert_eq!(listed(&names), "`web0`, `web1`, `web2`, `web3`, `web4` and 2 more");
    }
}
