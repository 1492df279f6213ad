//! `get_service_logs`: what the containers of a service have written, of all its pods.

use super::read::{Read, Reading};
use super::words::{fillers, kind_slot, list, namespace_slot, service_slot, since_slots, slot, value};
use super::{
    Subject, flag, kind_schema, namespace_schema, not_found, seconds, service_schema, since_schema, text,
    workload_target,
};
use crate::kubernetes::Cluster;
use crate::kubernetes::logs::{self, Log, Wanted};
use crate::kubernetes::scope::PATIENCE;
use astradesk_core::text::shown;
use astradesk_core::tool::{Form, Grammar, Measure, Slot};
use astradesk_core::{Arguments, Code, Effect, Error, FrozenCall, Result, Target, ToolName, ToolSpec};
use async_trait::async_trait;
use regex::{Regex, RegexBuilder};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How many lines of each container are given unless the call says otherwise.
const TAIL: usize = 50;
/// The most memory that an expression may need, in bytes.
const EXPRESSION: usize = 256 * 1024;

/// The tool `get_service_logs`.
pub(super) struct GetServiceLogs;

impl GetServiceLogs {
    /// The tool on a cluster.
    pub(super) fn new(cluster: Cluster) -> Result<Reading<Self>> {
        let spec = ToolSpec {
            name: ToolName::parse("get_service_logs")?,
            version: "1".to_owned(),
            description: "gives the newest log lines of every container of a Deployment, StatefulSet or DaemonSet, with \
                          what looks like a secret masked, and says what was left out"
                .to_owned(),
            effect: Some(Effect::Read),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["service"],
                "properties": {
                    "service": service_schema(),
                    "namespace": namespace_schema(&cluster),
                    "kind": kind_schema(),
                    "since": since_schema("lines"),
                    "tail": {
                        "type": "integer",
                        "description": format!("how many lines of each container, the newest; {TAIL} unless it is given"),
                        "minimum": 1,
                        "maximum": 1000,
                    },
                    "previous": {
                        "type": "boolean",
                        "description": "whether to give what the containers wrote before they were last restarted",
                    },
                    "matching": {
                        "type": "string",
                        "description": format!(
                            "a regular expression (RE2 syntax): only lines that match it, as they are shown, among \
                             the newest {} of each container",
                            logs::SEARCHED,
                        ),
                        "minLength": 1,
                        "maxLength": 200,
                    },
                },
            }),
            timeout: Duration::from_secs(30),
            grammar: grammar(),
        };
        Ok(Reading::new(Self, cluster, spec))
    }
}

fn grammar() -> Grammar {
    let tail = value(
        Measure::Number,
        "last, the last, tail, ostatnie, ostatnich",
        "lines of, lines, log lines, linii, linie, linijek, wierszy",
    );
    let previous = "previous, from before the restart, from before the crash, poprzednie, sprzed restartu, sprzed awarii";
    let matching = value(Measure::Word, "matching, that match, containing, pasujące do, zawierające", "");
    let named: [(&str, Form); 3] =
        [("tail", tail), ("previous", Form::Flag(list(previous))), ("matching", matching)];
    let slots: Vec<Slot> = named.into_iter().map(|(argument, form)| slot(argument, form)).collect();
    Grammar {
        phrases: list("logs, log, logs of, logs from, logs for, logi, logów, logs off"),
        nouns: Vec::new(),
        slots: [vec![service_slot(), namespace_slot(), kind_slot()], slots, since_slots()].concat(),
        fillers: fillers("from, dawaj, z, from the"),
    }
}

/// Which lines a call asks for.
fn wanted(arguments: &Arguments) -> Result<Wanted> {
    let number = arguments.get("tail").and_then(Value::as_u64).and_then(|tail| usize::try_from(tail).ok());
    Ok(Wanted {
        since: text(arguments, "since").and_then(seconds),
        tail: number.unwrap_or(TAIL),
        previous: flag(arguments, "previous"),
        matching: text(arguments, "matching").map(expression).transpose()?,
    })
}

/// An expression, which takes a time that grows no faster than what it searches.
fn expression(text: &str) -> Result<Regex> {
    let expression = RegexBuilder::new(text).size_limit(EXPRESSION).dfa_size_limit(EXPRESSION).build();
    expression.map_err(|error| {
        let why = match error {
            regex::Error::CompiledTooBig(_) => {
                "it is too large once its repetitions are written out".to_owned()
            }
            // Its last line says what is wrong; those before it draw where.
            error => shown(error.to_string().lines().last().unwrap_or_default(), 200),
        };
        let message = format!("`matching` is no regular expression that can be used: {why}");
        Error::new(Code::ToolArgumentsInvalid, message)
            .with_remedy("correct it, or put `\\` before characters that are meant as they are")
    })
}

/// Why nothing could be read at all, if that is so.
fn failed(found: &[Log]) -> Option<Error> {
    if found.iter().any(|log| log.error.is_none()) {
        return None;
    }
    let forbidden = |log: &&Log| log.error.as_ref().is_some_and(|e| e.code == Code::KubernetesForbidden);
    found.iter().find(forbidden).or_else(|| found.first()).and_then(|log| log.error.clone())
}

/// What is not there, in plain words.
fn left_out(found: &[Log], all: usize, without: usize, previous: bool) -> Vec<String> {
    let mut words = Vec::new();
    match (without, previous) {
        (0, _) => {}
        (1, false) => words.push("1 pod has no log yet".to_owned()),
        (n, false) => words.push(format!("{n} pods have no log yet")),
        (1, true) => words.push("1 pod was never restarted".to_owned()),
        (n, true) => words.push(format!("{n} pods were never restarted")),
    }
    if all > found.len() {
        words.push(format!("{} of {all} containers", all - found.len()));
    }
    let unread = found.iter().filter(|log| log.error.is_some()).count();
    if unread > 0 {
        words.push(format!("the logs of {unread} that could not be read"));
    }
    let partly = found.iter().filter(|log| log.error.is_none() && log.note.is_some()).count();
    if partly > 0 {
        words.push(format!("earlier lines of {partly}"));
    }
    words
}

fn summary(subject: &Subject, wanted: &Wanted, (lines, of): (usize, usize), left_out: &[String]) -> String {
    let lines = if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") };
    let of = if of == 1 { "1 container".to_owned() } else { format!("{of} containers") };
    let before = if wanted.previous { " from before their last restart" } else { "" };
    let matching = wanted
        .matching
        .as_ref()
        .map_or_else(String::new, |matching| format!(" that match `{}`", shown(matching.as_str(), 200)));
    let rest =
        if left_out.is_empty() { String::new() } else { format!("; left out: {}", left_out.join(", ")) };
    format!("{lines}{matching} of {of} of {subject}{before}{rest}")
}

fn row(log: &Log) -> Value {
    json!({
        "pod": log.source.pod,
        "container": log.source.container,
        "lines": log.lines,
        "note": log.note,
    })
}

#[async_trait]
impl Read for GetServiceLogs {
    async fn target(&self, cluster: &Cluster, arguments: &Arguments) -> Result<Target> {
        wanted(arguments)?;
        workload_target(cluster, arguments).await
    }

    fn told(&self, subject: &Subject) -> String {
        format!("would read the logs of {subject}")
    }

    async fn read(
        &self,
        cluster: &Cluster,
        call: &FrozenCall,
        subject: &Subject,
        _: Instant,
    ) -> Result<Value> {
        let wanted = wanted(&call.arguments)?;
        let scope = cluster.scope(&subject.namespace);
        scope.ready(PATIENCE).await?;
        let Some((_, family)) = scope.family(subject.kind, subject.name.as_str()) else {
            return Err(not_found(cluster, subject).await);
        };
        let (mut sources, without) = logs::sources(&family.pods, wanted.previous);
        let all = sources.len();
        sources.truncate(logs::CONTAINERS);
        let found = logs::read(cluster, &subject.namespace, sources, &wanted).await;
        if let Some(error) = failed(&found) {
            return Err(error);
        }
        let lines: usize = found.iter().map(|log| log.lines.len()).sum();
        let left_out = left_out(&found, all, without, wanted.previous);
        Ok(json!({
            "summary": summary(subject, &wanted, (lines, found.len()), &left_out),
            "logs": found.iter().map(row).collect::<Value>(),
            "lines": lines,
            "left_out": left_out,
            "observed_at": cluster.now().to_string(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_that_cannot_be_used_is_refused_with_why() {
        for (text, why) in [
            ("error|warn", ""),
            ("(?i)timeout after \\d+ms", ""),
            ("(", "unclosed group"),
            ("(?=x)", "look-around"),
            ("(a)\\1", "backreferences are not supported"),
            ("(((a{100}){100}){100}){100}", "too large"),
        ] {
            match expression(text) {
                Ok(_) => assert_eq!(why, "", "{text}"),
                Err(error) => {
                    assert_eq!(error.code, Code::ToolArgumentsInvalid, "{text}");
                    assert!(!why.is_empty() && error.message.contains(why), "{text}: {}", error.message);
                }
            }
        }
    }
}
