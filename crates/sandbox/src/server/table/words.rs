//! What cells have in common: ages, lists, selectors.

use std::collections::BTreeMap;

use crate::json::Value;

use crate::object::{list, seconds_since, strings, text};

/// How long ago the time at this pointer was, as people say it: two units at most, and fewer the longer it is.
pub(super) fn age(object: &Value, pointer: &str) -> String {
    seconds_since(object, pointer).map_or("<unknown>".into(), |seconds| duration(seconds as i64))
}

/// `HumanDuration` of `k8s.io/apimachinery/pkg/util/duration`.
fn duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |whole: i64, unit: &str, rest: i64, of: &str| match rest {
        0 => format!("{whole}{unit}"),
        rest => format!("{whole}{unit}{rest}{of}"),
    };
    match seconds {
        ..-1 => "<invalid>".into(),
        -1..0 => "0s".into(),
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

/// The text, or what stands for none.
pub(super) fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

/// `app=web,tier=front`
pub(super) fn labels(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    or_none(&pairs.join(",")).to_owned()
}

/// A selector as one would type it, in the order of its keys.
pub(super) fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector else { return String::new() };
    let equal = strings(selector, "/matchLabels");
    let mut parts: Vec<(String, String)> =
        equal.into_iter().map(|(key, value)| (key.clone(), format!("{key}={value}"))).collect();
    for expression in list(selector, "/matchExpressions") {
        let key = text(expression, "/key");
        let mut values: Vec<&str> = list(expression, "/values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let part = match text(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        parts.push((key.to_owned(), part));
    }
    parts.sort();
    parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(",")
}

/// The names of a template's containers.
pub(super) fn names(workload: &Value) -> String {
    of_containers(workload, "/name")
}

/// The images of a template's containers.
pub(super) fn images(workload: &Value) -> String {
    of_containers(workload, "/image")
}

fn of_containers(workload: &Value, pointer: &str) -> String {
    let containers = list(workload, "/spec/template/spec/containers").iter();
    containers.map(|container| text(container, pointer)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use crate::json::json;

    use super::*;

    #[test]
    fn ages() {
        let table = [
            (-5, "<invalid>"),
            (-1, "0s"),
            (119, "119s"),
            (120, "2m"),
            (130, "2m10s"),
            (601, "10m"),
            (10_799, "179m"),
            (10_860, "3h1m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
        ];
        for (seconds, expected) in table {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn selectors() {
        let expression = |key: &str, operator: &str, values: &[&str]| json!({ "key": key, "operator": operator, "values": values });
        let all = json!({
            "matchLabels": { "m": "1" },
            "matchExpressions": [
                expression("z", "In", &["b", "a"]), expression("a", "NotIn", &["x"]), expression("b", "Exists", &[]),
                expression("c", "DoesNotExist", &[]),
            ],
        });
        assert_eq!(selector(Some(&all)), "a notin (x),b,!c,m=1,z in (a,b)");
        assert_eq!(or_none(&selector(Some(&json!({})))), "<none>");
    }
}
