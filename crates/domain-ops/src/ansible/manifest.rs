//! What stands beside a playbook: `restart-nginx.toml` beside `restart-nginx.yml`, read strictly.

use astradesk_core::Arguments;
use astradesk_core::text::shown;
use astradesk_runtime::schema::Schema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// How long a playbook may take unless its manifest says otherwise, and at most.
const TIME_LIMIT: (Duration, Duration) = (Duration::from_mins(10), Duration::from_hours(24));
/// The most characters of a description.
const DESCRIPTION: usize = 300;
/// The most hosts and groups that a manifest names, and the most variables.
const MOST: usize = 64;

/// What a playbook may be run on, and with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    /// One sentence.
    pub(crate) description: String,
    /// The hosts and groups of the inventory that it may be run on.
    pub(crate) hosts: Vec<String>,
    /// The longest that it may take.
    pub(crate) time_limit: Duration,
    /// Whether it changes nothing in check mode.
    pub(crate) check: bool,
    /// JSON Schema of its variables.
    pub(crate) vars: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    description: String,
    hosts: Vec<String>,
    time_limit: Option<String>,
    #[serde(default)]
    check: bool,
    #[serde(default)]
    vars: Map<String, Value>,
    #[serde(default)]
    optional: Vec<String>,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// What is wrong with it: the end of a sentence that begins with what it is called.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| {
            let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            format!("is not right: {}", shown(&message, 200))
        })?;
        let Written { description, hosts, time_limit, check, vars, optional } = written;
        if description.trim().is_empty() || shown(&description, DESCRIPTION) != description {
            return Err(format!("needs a `description` of 1 to {DESCRIPTION} characters in one line"));
        }
        if hosts.is_empty() || hosts.len() > MOST {
            return Err(format!("must name 1 to {MOST} hosts or groups in `hosts`"));
        }
        if let Some(bad) = hosts.iter().find(|name| !is_host(name)) {
            return Err(format!("has `{}` in `hosts`, which is no name of a host or group", shown(bad, 80)));
        }
        let time_limit = match time_limit {
            None => TIME_LIMIT.0,
            Some(text) => duration(&text).ok_or_else(|| {
                format!("has the `time_limit` `{}`, and it must be `1s` to `24h`", shown(&text, 20))
            })?,
        };
        let vars = schema(&vars, &optional)?;
        Ok(Self { description, hosts, time_limit, check, vars })
    }

    /// What is wrong with these variables, if something is.
    pub(crate) fn faults(&self, vars: &Arguments) -> Vec<String> {
        match Schema::compile(&self.vars) {
            Ok(schema) => schema.faults(vars),
            Err(why) => vec![format!("the manifest {why}")],
        }
    }
}

/// Whether a text is the name of one host or group, and no pattern of several.
pub(crate) fn is_host(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=253).contains(&text.len())
        && text.bytes().all(inner)
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn schema(vars: &Map<String, Value>, optional: &[String]) -> Result<Value, String> {
    if vars.len() > MOST {
        return Err(format!("has {} variables, and may have {MOST}", vars.len()));
    }
    if let Some(unknown) = optional.iter().find(|name| !vars.contains_key(*name)) {
        return Err(format!(
            "names `{}` in `optional`, which is no variable of its `vars`",
            shown(unknown, 80)
        ));
    }
    for (name, schema) in vars {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !plain || !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.starts_with("ansible_") {
            return Err(format!(
                "has the variable `{}`: a name must have letters, digits and `_`, begin with a lower-case letter, and not \
                 with `ansible_`, as what says how a host is reached",
                shown(name, 80)
            ));
        }
        if schema.get("type").and_then(Value::as_str).is_none() {
            return Err(format!("does not say the `type` of its variable `{name}`"));
        }
        if schema.get("writeOnly").is_some() {
            return Err(format!(
                "says `writeOnly` of its variable `{name}`: arguments are kept with their run, so put what is secret into a vault"
            ));
        }
    }
    let required: Vec<&String> = vars.keys().filter(|name| !optional.contains(name)).collect();
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": required, "properties": vars,
    });
    Schema::compile(&schema).map_err(|why| format!("{why} (of its `vars`)"))?;
    Ok(schema)
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let seconds = plain.then(|| number.parse::<u64>().ok()).flatten()?.checked_mul(unit)?;
    (1..=TIME_LIMIT.1.as_secs()).contains(&seconds).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_what_a_playbook_may_be_run_on_and_with() {
        let text = "description = \"restarts nginx\"\nhosts = [\"web\"]\ntime_limit = \"2m\"\ncheck = true\noptional = [\"grace\"]\n\
                    [vars]\ngrace = { type = \"integer\", maximum = 60 }\nreason = { type = \"string\" }";
        let read = Manifest::read(text).unwrap();
        assert_eq!((read.time_limit, read.check), (Duration::from_mins(2), true));
        for (vars, fine) in [
            (json!({"reason": "x"}), true),
            (json!({"reason": "x", "grace": 5}), true),
            (json!({"grace": 5}), false),
            (json!({"reason": "x", "grace": 61}), false),
            (json!({"reason": "x", "other": 1}), false),
        ] {
            assert_eq!(read.faults(vars.as_object().unwrap()).is_empty(), fine, "{vars}");
        }
        let plain = Manifest::read("description = \"x\"\nhosts = [\"web\", \"db1.example.com\"]").unwrap();
        assert_eq!((plain.time_limit, plain.check), (Duration::from_mins(10), false));
        assert!(!plain.faults(json!({"any": 1}).as_object().unwrap()).is_empty());
    }

    #[test]
    fn what_is_wrong_with_a_manifest_is_said() {
        let with = |more: &str| format!("description = \"x\"\nhosts = [\"web\"]\n{more}");
        for (text, why) in [
            (String::new(), "description"),
            ("description = \"x\"".to_owned(), "hosts"),
            ("description = \" \"\nhosts = [\"web\"]".to_owned(), "description"),
            ("description = \"a\\nb\"\nhosts = [\"web\"]".to_owned(), "one line"),
            ("description = \"x\"\nhosts = []".to_owned(), "1 to 64"),
            ("description = \"x\"\nhosts = [\"web*\"]".to_owned(), "`web*`"),
            ("description = \"x\"\nhosts = [\"@file\"]".to_owned(), "`@file`"),
            (with("host = 1"), "unknown field `host`"),
            (with("time_limit = \"25h\""), "`24h`"),
            (with("time_limit = \"+5s\""), "`24h`"),
            (with("optional = [\"x\"]"), "`optional`"),
            (with("vars.ansible_host = { type = \"string\" }"), "`ansible_`"),
            (with("vars.a-b = { type = \"string\" }"), "a-b"),
            (with("vars.a = { }"), "`type`"),
            (with("vars.a = { type = \"nonsense\" }"), "not valid"),
            (with("vars.a = { type = \"string\", writeOnly = true }"), "vault"),
        ] {
            let said = Manifest::read(&text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
