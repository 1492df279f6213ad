//! Replaces what must differ between two clusters by placeholders: the same thing has the same placeholder in all
//! replies of a script, so that who refers to whom is compared too.
//!
//! Numbered in the order in which they appear are identities (`$uid1`), versions of objects (`$version1`) and hashes
//! of templates (`$hash1`). Times, addresses, the node, versions of lists and the generated ends of names become
//! `$time`, `$ip`, `$node`, `$version` and `$random`; what has a generated name is one of many alike, and its identity
//! and version are not numbered either. Lists are put in an order that does not depend on chance.
//!
//! A cause that the real one gives twice counts once.
//!
//! Left out altogether: `managedFields` (the sandbox keeps them more simply, as its documentation says), the
//! identities of containers and images, and fields that are null, which mean the same as missing ones.

use crate::play::Reply;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Labels and fields whose value is, or ends with, the hash of a template.
const HASHES: [&str; 5] = [
    "pod-template-hash",
    "controller-revision-hash",
    "controller.kubernetes.io/hash",
    "currentRevision",
    "updateRevision",
];

/// The replies without what must differ.
pub fn normalise(replies: Vec<Reply>, node: &str) -> Vec<Reply> {
    let mut names = Names { node: node.to_owned(), ..Names::default() };
    let mut replies = replies;
    for reply in &mut replies {
        prune(&mut reply.value);
        // The order of appearance must not be that in which a server, or a library with this feature, keeps fields.
        reply.value.sort_all_objects();
        names.learn(&reply.value);
    }
    for reply in &mut replies {
        names.put_in_order(&mut reply.value);
    }
    for reply in &mut replies {
        names.number(&reply.value, "");
        names.replace(&mut reply.value, "");
    }
    replies
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("managedFields");
            fields.retain(|_, value| !value.is_null());
            if let Some(Value::String(message)) = fields.get_mut("message") {
                without_object(message);
            }
            if let Some(Value::Array(causes)) = fields.get_mut("causes") {
                causes.iter_mut().for_each(prune);
                let mut seen: Vec<Value> = Vec::new();
                causes.retain(|cause| {
                    let fresh = !seen.contains(cause);
                    seen.push(cause.clone());
                    fresh
                });
            }
            if fields.get("type").is_some_and(|kind| kind == "Progressing") {
                without_haste(fields);
            }
            if fields.get("spec").is_some_and(|spec| spec["containers"].is_array()) {
                without_kubelet(fields);
            }
            if fields.get("metadata").is_some_and(|meta| meta["labels"]["pod-template-hash"].is_string()) {
                without_steps(fields);
            }
            // The version of a list is the whole cluster's, in which others write too.
            let is_bookmark = fields.get("type").is_some_and(|kind| kind == "BOOKMARK");
            let of_all = if is_bookmark { "/object/metadata" } else { "/metadata" };
            if (is_bookmark || fields.contains_key("items"))
                && let Some(meta) = pointer_mut(fields, of_all)
            {
                meta.insert("resourceVersion".to_owned(), "$version".into());
            }
            fields.values_mut().for_each(prune);
        }
        Value::Array(entries) => entries.iter_mut().for_each(prune),
        _ => {}
    }
}

/// The object in the message about a patch that spoils it is written in the order of its type in Go, and the decoder
/// has its own words.
fn without_object(message: &mut String) {
    for start in [" \"\" is invalid: patch: Invalid value: \"", "Invalid value: \"{", "Invalid value: \"["] {
        if message.starts_with(start) {
            *message = format!("{start}$object");
        }
    }
    if let Some((start, why)) = message.split_once(" cannot be handled as a ")
        && let Some((kind, why)) = why.split_once(": ")
    {
        let why = match why.split_once(" in scheme ") {
            Some((no_kind, _)) => no_kind,
            None => "$why",
        };
        *message = format!("{start} cannot be handled as a {kind}: {why}");
    }
    if let Some((start, _)) = message.split_once("couldn't get version/kind; json parse error") {
        *message = format!("{start}$why");
    }
    for start in ["Invalid value: ", "Unsupported value: "] {
        without_values(message, start);
    }
}

/// A value that is no text and no number is written as Go writes it, in newer versions as JSON.
fn without_values(message: &mut String, start: &str) {
    let mut from = 0;
    while let Some(at) = message[from..].find(start).map(|at| from + at + start.len()) {
        let (mut depth, mut quoted, mut end) = (0_i32, false, None);
        let rest = &message[at..];
        if rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '{') {
            for (index, c) in rest.char_indices() {
                match c {
                    '"' => quoted = !quoted,
                    '{' | '(' | '[' if !quoted => depth += 1,
                    '}' | ')' | ']' if !quoted => depth -= 1,
                    ':' if depth == 0 && !quoted && rest[index..].starts_with(": ") => {
                        end = Some(at + index);
                        break;
                    }
                    _ => {}
                }
            }
        }
        if let Some(end) = end.filter(|end| message[at..*end].contains(['{', '('])) {
            message.replace_range(at..end, "$value");
        }
        from = at;
    }
}

/// Whether a rollout that goes on was last seen to begin or to advance depends on which of two writes came first.
fn without_haste(condition: &mut Map<String, Value>) {
    let reason = condition.get("reason").and_then(Value::as_str).unwrap_or_default();
    if matches!(reason, "NewReplicaSetCreated" | "FoundNewReplicaSet" | "ReplicaSetUpdated") {
        condition.insert("reason".to_owned(), "$progress".into());
        condition.insert("message".to_owned(), "$progress".into());
    }
}

/// In how many steps a rollout scaled a `ReplicaSet` depends on how fast its pods became ready.
fn without_steps(replica_set: &mut Map<String, Value>) {
    for (part, field) in [("metadata", "generation"), ("status", "observedGeneration")] {
        let part = replica_set.get_mut(part).and_then(Value::as_object_mut);
        if let Some(part) = part {
            part.remove(field);
        }
    }
}

/// What the kubelet says of a pod. The real control plane has a stand-in for it, which is not compared in everything:
/// conditions have no order, and images and containers no identity.
fn without_kubelet(pod: &mut Map<String, Value>) {
    let Some(status) = pod.get_mut("status").and_then(Value::as_object_mut) else { return };
    if let Some(Value::Array(conditions)) = status.remove("conditions") {
        let by_type = conditions
            .into_iter()
            .filter_map(|condition| Some((condition["type"].as_str()?.to_owned(), condition)));
        status.insert("conditions".to_owned(), Value::Object(by_type.collect()));
    }
    for container in status.get_mut("containerStatuses").and_then(Value::as_array_mut).into_iter().flatten() {
        let fields = container.as_object_mut();
        if let Some(fields) = fields {
            fields.retain(|field, _| !matches!(field.as_str(), "imageID" | "containerID"));
        }
    }
}

fn pointer_mut<'a>(fields: &'a mut Map<String, Value>, pointer: &str) -> Option<&'a mut Map<String, Value>> {
    let mut keys = pointer.split('/').skip(1);
    let first = fields.get_mut(keys.next()?)?.as_object_mut()?;
    keys.try_fold(first, |at, key| at.get_mut(key)?.as_object_mut())
}

#[derive(Default)]
struct Names {
    node: String,
    hashes: BTreeSet<String>,
    /// The ends of generated names, with the dash before them.
    ends: BTreeSet<String>,
    /// Identities and versions of what has a generated name.
    alike: BTreeSet<String>,
    /// How often an identity was seen: one that nothing refers to says nothing.
    seen: BTreeMap<String, usize>,
    numbers: BTreeMap<String, String>,
    counts: BTreeMap<&'static str, usize>,
}

impl Names {
    /// Notes which names, hashes and identities were made by chance.
    fn learn(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(meta) = fields.get("metadata") {
                    self.learn_object(meta);
                }
                for key in HASHES {
                    let hash = fields.get(key).and_then(Value::as_str);
                    // A StatefulSet's pods carry the whole name of their revision.
                    self.hashes.extend(hash.and_then(|hash| hash.rsplit('-').next()).map(str::to_owned));
                }
                if fields.get("kind").is_some_and(|kind| kind == "ReplicaSet") && !fields.contains_key("spec")
                {
                    let hash =
                        fields.get("name").and_then(Value::as_str).and_then(|name| name.rsplit_once('-'));
                    self.hashes.extend(hash.map(|(_, hash)| hash.to_owned()));
                }
                let message = fields.get("message").and_then(Value::as_str);
                let replica_set = message.filter(|text| text.to_lowercase().contains("replica"));
                let name = replica_set.and_then(|text| text.split('"').nth(1)?.rsplit_once('-'));
                self.hashes.extend(name.map(|(_, hash)| hash.to_owned()));
                fields.values().for_each(|value| self.learn(value));
            }
            Value::Array(entries) => entries.iter().for_each(|value| self.learn(value)),
            Value::String(text) if is_uid(text) => *self.seen.entry(text.clone()).or_default() += 1,
            _ => {}
        }
    }

    fn learn_object(&mut self, meta: &Value) {
        let (Some(name), Some(start)) = (meta["name"].as_str(), generated_from(meta)) else { return };
        if let Some(end) = name.strip_prefix(start).filter(|end| end.len() == 5) {
            self.ends.insert(format!("-{end}"));
            let made = ["uid", "resourceVersion"].into_iter().filter_map(|field| meta[field].as_str());
            self.alike.extend(made.map(str::to_owned));
        }
    }

    fn put_in_order(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::Array(items)) = fields.get_mut("items") {
                    items.sort_by_cached_key(|item| self.masked(item));
                }
                fields.values_mut().for_each(|value| self.put_in_order(value));
            }
            Value::Array(entries) => entries.iter_mut().for_each(|value| self.put_in_order(value)),
            _ => {}
        }
    }

    /// A text of the object in which nothing is by chance.
    fn masked(&self, item: &Value) -> String {
        let mut item = item.clone();
        self.replace(&mut item, "");
        item.to_string()
    }

    /// Gives numbers to what appears for the first time.
    fn number(&mut self, value: &Value, key: &str) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    self.number(value, key);
                }
            }
            Value::Array(entries) => entries.iter().for_each(|value| self.number(value, key)),
            Value::String(text) => {
                if self.alike.contains(text) || text.starts_with('$') {
                } else if is_uid(text) {
                    if self.seen.get(text).is_some_and(|count| *count > 1) {
                        self.give_number("uid", text);
                    }
                } else if key == "resourceVersion" {
                    self.give_number("version", text);
                } else if self.hashes.contains(text) {
                    self.give_number("hash", text);
                } else if let Some((_, hash)) =
                    text.rsplit_once('-').filter(|(_, hash)| self.hashes.contains(*hash))
                {
                    self.give_number("hash", hash);
                }
            }
            _ => {}
        }
    }

    fn give_number(&mut self, what: &'static str, text: &str) {
        if !self.numbers.contains_key(text) {
            let count = self.counts.entry(what).or_default();
            *count += 1;
            self.numbers.insert(text.to_owned(), format!("${what}{count}"));
        }
    }

    fn replace(&self, value: &mut Value, key: &str) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    self.replace(value, key);
                }
            }
            Value::Array(entries) => entries.iter_mut().for_each(|value| self.replace(value, key)),
            Value::String(text) => *text = self.replaced(text, key),
            _ => {}
        }
    }

    fn replaced(&self, text: &str, key: &str) -> String {
        let number = |text: &str, otherwise: &str| {
            self.numbers.get(text).cloned().unwrap_or_else(|| otherwise.to_owned())
        };
        if is_time(text) {
            return "$time".to_owned();
        }
        if is_address(text) {
            return "$ip".to_owned();
        }
        if key == "resourceVersion" && !text.is_empty() && !text.starts_with('$') {
            return number(text, "$version");
        }
        if key == "continue" && !text.is_empty() {
            return "$continue".to_owned();
        }
        let mut text = text.to_owned();
        if !self.node.is_empty() {
            text = text.replace(&self.node, "$node");
        }
        for hash in self.hashes.iter().filter(|hash| hash.len() > 3) {
            text = text.replace(hash.as_str(), &number(hash, "$hash"));
        }
        for end in &self.ends {
            text = text.replace(end.as_str(), "-$random");
        }
        without_end(&mut text);
        // Any other number that a version happens to be (`415: Unsupported Media Type`) is none.
        let of_versions = text.to_lowercase().contains("version");
        words(&text, |word| {
            if word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Some("$random".to_owned());
            }
            if is_uid(word) {
                return Some(number(word, "$uid"));
            }
            let is_version = of_versions && word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_digit());
            let known = is_version.then(|| self.numbers.get(word)).flatten();
            known.cloned().or_else(|| {
                (is_version && key == "message" && self.alike.contains(word)).then(|| "$version".to_owned())
            })
        })
    }
}

/// A pod's name in a text that comes before the pod.
fn without_end(text: &mut String) {
    let Some(at) = text.find("$hash") else { return };
    let end = &text[at + 5..];
    let end = end.trim_start_matches(|c: char| c.is_ascii_digit());
    if end.len() == 6 && end.starts_with('-') {
        text.truncate(text.len() - 5);
        *text += "$random";
    }
}

/// What a generated name begins with.
fn generated_from(meta: &Value) -> Option<&str> {
    meta["generateName"].as_str().filter(|start| !start.is_empty())
}

/// The text with some of its words (of letters, digits and dashes) replaced.
fn words(text: &str, replacement: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        out += &replacement(word).unwrap_or_else(|| word.to_owned());
        let gap = after.find(is_word).unwrap_or(after.len());
        out += &after[..gap];
        rest = &after[gap..];
    }
    out
}

fn is_uid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    text.len() >= 20
        && text.ends_with('Z')
        && bytes[4] == b'-'
        && bytes[10] == b'T'
        && bytes[13] == b':'
        && bytes[..4].iter().all(u8::is_ascii_digit)
}

fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn two_clusters_tell_the_same_story() {
        let story = |uid: &str, version: &str, hash: &str, ends: [&str; 2]| {
            let pod = |end: &str, image: &str| {
                json!({
                    "metadata": {
                        "name": format!("web-{hash}-{end}"), "generateName": format!("web-{hash}-"), "uid": format!("{}{end}00", &uid[..29]),
                        "labels": {"pod-template-hash": hash}, "ownerReferences": [{"uid": uid}], "creationTimestamp": null,
                    },
                    "spec": {"image": image},
                })
            };
            let owner = json!({"metadata": {"name": "web", "uid": uid, "resourceVersion": version}});
            let refusal =
                json!({"message": format!("version {version} of {uid} made pod web-{hash}-{}", ends[0])});
            let mut items = vec![pod(ends[0], "a"), pod(ends[1], "b")];
            items.sort_by_key(|pod| pod["metadata"]["name"].to_string());
            let list = json!({"metadata": {"resourceVersion": "999"}, "items": items});
            [owner, list, refusal].map(|value| Reply { step: String::new(), value }).to_vec()
        };
        let one = story("11111111-2222-3333-4444-555555555555", "117", "5f5d8c7b9c", ["aaaaa", "bbbbb"]);
        let other = story("66666666-7777-8888-9999-000000000000", "2041", "6b6d4", ["fffff", "ccccc"]);
        let shown = |replies: Vec<Reply>| -> Vec<Value> {
            normalise(replies, "node-1").into_iter().map(|reply| reply.value).collect()
        };
        let (one, other) = (shown(one), shown(other));
        assert_eq!(one, other);
        assert_eq!(one[2]["message"], "version $version1 of $uid1 made pod web-$hash1-$random");
        assert_eq!(one[1]["items"][0]["metadata"]["ownerReferences"][0]["uid"], "$uid1");
        assert_eq!(one[1]["metadata"]["resourceVersion"], "$version");
        let code = Names { numbers: [("415".to_owned(), "$version1".to_owned())].into(), ..Names::default() };
        assert_eq!(code.replaced("415: Unsupported Media Type", "message"), "415: Unsupported Media Type");
        assert_eq!(code.replaced("ResourceVersion: 415", "message"), "ResourceVersion: $version1");
    }

    #[test]
    fn what_is_of_another_is_not_taken_for_the_same() {
        let refers = |to: &str| {
            let value = json!([{"uid": "11111111-2222-3333-4444-555555555555"}, {"uid": "aaaaaaaa-2222-3333-4444-555555555555"}, {"owner": to}]);
            normalise(vec![Reply { step: String::new(), value }], "")[0].value.clone()
        };
        let first = refers("11111111-2222-3333-4444-555555555555");
        assert_ne!(first, refers("aaaaaaaa-2222-3333-4444-555555555555"));
        assert_eq!(first[2]["owner"], "$uid1");
    }
}
