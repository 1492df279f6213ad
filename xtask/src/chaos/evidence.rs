//! The evidence as it was exported, and whether its chain holds: reckoned here once more.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A record.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Record {
    pub(super) seq: u64,
    pub(super) kind: String,
    pub(super) run: Option<String>,
    pub(super) data: Value,
}

impl Record {
    /// The step that it is about, from 0.
    pub(super) fn step(&self) -> u64 {
        self.data["step"].as_u64().unwrap_or(0)
    }

    /// The record in a line, for a person.
    pub(super) fn shown(&self) -> String {
        let data: String = self.data.to_string().chars().take(400).collect();
        format!("evidence {}: {} {data}", self.seq, self.kind)
    }
}

/// The records of an export, and what is wrong with it.
pub(super) fn read(export: &str) -> (Vec<Record>, Vec<String>) {
    let mut records = Vec::new();
    let mut wrong = Vec::new();
    let (mut head, mut signed) = ("0".repeat(64), None);
    for line in export.lines() {
        let line: Value = match serde_json::from_str(line) {
            Ok(line) => line,
            Err(error) => {
                wrong.push(format!("`{line}` is no JSON: {error}"));
                continue;
            }
        };
        if !line["checkpoint"].is_null() {
            signed = Some(line["checkpoint"].clone());
            continue;
        }
        let text = line["body"].as_str().unwrap_or_default();
        let body: Value = serde_json::from_str(text).unwrap_or_default();
        let hash = hex(&Sha256::digest(text));
        let seq = records.len() as u64 + 1;
        if line["seq"] != seq || body["seq"] != seq {
            wrong.push(format!("record {} stands where {seq} is expected", line["seq"]));
        }
        if line["hash"] != *hash {
            wrong.push(format!("record {seq} has not the hash that it names"));
        }
        if body["prev"] != *head {
            wrong.push(format!("record {seq} does not follow the one before it"));
        }
        head = hash;
        records.push(Record {
            seq,
            kind: body["kind"].as_str().unwrap_or_default().to_owned(),
            run: body["run"].as_str().map(str::to_owned),
            data: body["data"].clone(),
        });
    }
    match signed {
        Some(point) if point["seq"] == records.len() && point["hash"] == *head => {}
        Some(point) => wrong.push(format!("the checkpoint is of record {}, not of the last", point["seq"])),
        None => wrong.push("there is no checkpoint".to_owned()),
    }
    (records, wrong)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn export(kinds: &[&str]) -> Vec<String> {
        let mut head = "0".repeat(64);
        let mut lines = Vec::new();
        for (index, kind) in kinds.iter().enumerate() {
            let seq = index + 1;
            let body =
                json!({"seq": seq, "prev": head, "kind": kind, "run": "r", "data": {"step": 1}}).to_string();
            head = hex(&Sha256::digest(&body));
            lines.push(json!({"seq": seq, "hash": head, "body": body}).to_string());
        }
        lines.push(json!({"checkpoint": {"seq": kinds.len(), "hash": head}}).to_string());
        lines
    }

    #[test]
    fn a_whole_chain_is_read() {
        let (records, wrong) = read(&export(&["run.admitted", "step.intended"]).join("\n"));
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!((records.len(), records[1].kind.as_str(), records[1].step()), (2, "step.intended", 1));
    }

    #[test]
    fn every_break_is_found() {
        let whole = export(&["a", "b", "c"]);
        let broken = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines = whole.clone();
            change(&mut lines);
            read(&lines.join("\n")).1.join("; ")
        };
        assert!(
            broken(&|lines| lines[1] = lines[1].replace(r#"kind\":\"b"#, r#"kind\":\"x"#))
                .contains("has not the hash")
        );
        assert!(broken(&|lines| drop(lines.remove(1))).contains("does not follow"));
        assert!(broken(&|lines| drop(lines.remove(2))).contains("not of the last"));
        assert!(broken(&|lines| lines.swap(0, 1)).contains("stands where"));
        assert!(broken(&|lines| drop(lines.pop())).contains("no checkpoint"));
        assert!(broken(&|lines| lines[0].truncate(20)).contains("no JSON"));
    }
}
