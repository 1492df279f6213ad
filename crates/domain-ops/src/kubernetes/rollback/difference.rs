//! What differs between two pod templates: as a merge patch for the API server, and in words for people. Pure.

use super::super::redact;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The most differences that are shown, and the most characters of a value.
const SHOWN: (usize, usize) = (50, 200);
/// Of what may hold a secret, that it differs is all that is shown.
const HIDDEN: &str = "[not shown]";

/// The merge patch that makes `from` what `to` is. Lists are replaced whole.
pub(crate) fn merge_patch(from: &Value, to: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (from, to) else { return to.clone() };
    let mut patch = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new {
        match old.get(name) {
            Some(known) if known == value => {}
            Some(known) => {
                patch.insert(name.clone(), merge_patch(known, value));
            }
            None => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

/// The differences, each with its place and both values, made safe to show; and how many there are.
pub(crate) fn difference(from: &Value, to: &Value) -> (Vec<Value>, usize) {
    let mut found = Vec::new();
    walk("", Some(from), Some(to), &mut found);
    let count = found.len();
    let shown = found.into_iter().take(SHOWN.0).map(|(path, before, after)| {
        json!({"path": redact::line(&path, SHOWN.1), "before": show(&path, before), "after": show(&path, after)})
    });
    (shown.collect(), count)
}

fn walk<'a>(
    path: &str,
    from: Option<&'a Value>,
    to: Option<&'a Value>,
    found: &mut Vec<(String, Option<&'a Value>, Option<&'a Value>)>,
) {
    if from == to {
        return;
    }
    let (old, new) = (parts(from), parts(to));
    match (old, new) {
        (Some(old), Some(new)) => {
            let names: BTreeSet<&String> = old.iter().chain(&new).map(|(name, _)| name).collect();
            for name in names {
                let of = |parts: &[(String, &'a Value)]| {
                    parts.iter().find(|(own, _)| own == name).map(|(_, value)| *value)
                };
                walk(&format!("{path}{name}"), of(&old), of(&new), found);
            }
        }
        _ => found.push((path.trim_start_matches('.').to_owned(), from, to)),
    }
}

/// The parts of an object, or of a list whose items have names of their own.
fn parts(value: Option<&Value>) -> Option<Vec<(String, &Value)>> {
    match value? {
        Value::Object(fields) => {
            Some(fields.iter().map(|(name, value)| (format!(".{name}"), value)).collect())
        }
        Value::Array(items) => {
            let named = items.iter().map(|item| Some((format!("[{}]", item.get("name")?.as_str()?), item)));
            let named: Vec<_> = named.collect::<Option<_>>()?;
            let distinct: BTreeSet<&String> = named.iter().map(|(name, _)| name).collect();
            (distinct.len() == named.len()).then_some(named)
        }
        _ => None,
    }
}

fn show(path: &str, value: Option<&Value>) -> Value {
    let Some(value) = value else { return Value::Null };
    // The environment, arguments and commands hold secrets more often than not.
    let last = path.rsplit('.').next().unwrap_or_default();
    if path.contains(".env") || last.starts_with("args") || last.starts_with("command") {
        return HIDDEN.into();
    }
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    // With its name, since that says whether it is a secret.
    let name = format!("{last}=");
    let line = redact::line(&format!("{name}{text}"), SHOWN.1 + name.len());
    line.strip_prefix(&name).map_or_else(|| HIDDEN.to_owned(), str::to_owned).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(image: &str, token: &str, extra: &Value) -> Value {
        let mut template = json!({
            "metadata": {"annotations": {"a": "1"}},
            "spec": {"containers": [
                {"name": "app", "image": image, "env": [{"name": "TOKEN", "value": token}], "args": [token]},
                {"name": "side", "image": "side:1"},
            ]},
        });
        for (name, value) in extra.as_object().unwrap() {
            template["spec"][name] = value.clone();
        }
        template
    }

    #[test]
    fn a_merge_patch_makes_one_the_other() {
        let (old, new) =
            (template("a:1", "x", &json!({"hostNetwork": true})), template("a:2", "y", &json!({})));
        for (from, to) in [(&old, &new), (&new, &old), (&old, &old)] {
            let mut patched = from.clone();
            merge(&mut patched, &merge_patch(from, to));
            assert_eq!(&patched, to);
        }
        assert_eq!(merge_patch(&old, &new)["spec"]["hostNetwork"], Value::Null);
        assert_eq!(merge_patch(&old, &old), json!({}));
    }

    /// As RFC 7386 has it.
    fn merge(target: &mut Value, patch: &Value) {
        let Value::Object(fields) = patch else { return *target = patch.clone() };
        for (name, value) in fields {
            if value.is_null() {
                target.as_object_mut().unwrap().remove(name);
            } else {
                merge(&mut target[name.as_str()], value);
            }
        }
    }

    #[test]
    fn each_difference_has_its_place_and_no_secret_is_shown() {
        let old = template("a:1", "hunter2", &json!({"hostNetwork": true}));
        let new = template("a:2", "hunter3", &json!({"nodeSelector": {"disk": "ssd"}}));
        let (shown, count) = difference(&old, &new);
        assert_eq!(count, 5);
        assert_eq!(
            json!(shown),
            json!([
                {"path": "spec.containers[app].args", "before": "[not shown]", "after": "[not shown]"},
                {"path": "spec.containers[app].env[TOKEN].value", "before": "[not shown]", "after": "[not shown]"},
                {"path": "spec.containers[app].image", "before": "a:1", "after": "a:2"},
                {"path": "spec.hostNetwork", "before": "true", "after": null},
                {"path": "spec.nodeSelector", "before": null, "after": "{\"disk\":\"ssd\"}"},
            ])
        );
        let (shown, _) = difference(&json!({"apiToken": "abc"}), &json!({"apiToken": "def"}));
        assert!(!json!(shown).to_string().contains("abc"), "{shown:?}");
        assert_eq!(difference(&old, &old).1, 0);
    }
}
