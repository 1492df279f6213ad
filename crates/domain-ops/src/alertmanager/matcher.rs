//! Matchers, as a silence has them, and which labels mean a service.

use astradesk_core::text::{is_hidden, shown};
use astradesk_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The label that names an alert.
pub(crate) const ALERT_NAME: &str = "alertname";
/// The longest value of a matcher, in characters.
pub(crate) const MAX_VALUE: usize = 300;
/// The most ways in which labels mean a service.
const MOST_LABELS: usize = 16;

/// One condition on a label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Matcher {
    /// The label.
    pub(crate) name: String,
    /// Its value, or an expression.
    pub(crate) value: String,
    /// Whether the value is an expression.
    pub(crate) is_regex: bool,
    /// Whether it must match; else it must not.
    #[serde(default = "yes")]
    pub(crate) is_equal: bool,
}

const fn yes() -> bool {
    true
}

impl Matcher {
    /// That the label has this value.
    pub(crate) fn equal(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), value: value.to_owned(), is_regex: false, is_equal: true }
    }

    /// Reads `label=value`, `label!=value`, `label=~expression` or `label!~expression`.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{}` {why}", shown(text, 80));
        let at = text.find(['=', '!']).ok_or_else(|| wrong("has no `=`, `!=`, `=~` or `!~`"))?;
        let (name, rest) = text.split_at(at);
        let operators = [("=~", true, true), ("!~", true, false), ("!=", false, false), ("=", false, true)];
        let found = operators
            .iter()
            .find_map(|(sign, regex, equal)| Some((rest.strip_prefix(sign)?, *regex, *equal)));
        let (value, is_regex, is_equal) = found.ok_or_else(|| wrong("has no `=`, `!=`, `=~` or `!~`"))?;
        if !is_label(name) {
            return Err(wrong("does not begin with the name of a label"));
        }
        check_value(value).map_err(wrong)?;
        Ok(Self { name: name.to_owned(), value: value.to_owned(), is_regex, is_equal })
    }

    /// Whether it lets only alerts in that have a certain label with a certain value.
    pub(crate) const fn is_definite(&self) -> bool {
        self.is_equal && !self.is_regex
    }
}

/// As Prometheus writes it: `severity="critical"`.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (self.is_equal, self.is_regex) {
            (true, false) => "=",
            (false, false) => "!=",
            (true, true) => "=~",
            (false, true) => "!~",
        };
        let value = self.value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(f, "{}{sign}\"{value}\"", self.name)
    }
}

/// Matchers in one line, as `{alertname="Down", severity="critical"}`.
pub(crate) fn told(matchers: &[Matcher]) -> String {
    let all: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    shown(&format!("{{{}}}", all.join(", ")), 600)
}

fn is_label(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What a value may be: an empty one would mean that the label is not there.
pub(crate) fn check_value(value: &str) -> Result<(), &'static str> {
    if value.trim().is_empty() {
        return Err("has no value");
    }
    if value.chars().count() > MAX_VALUE {
        return Err("has a value of more than 300 characters");
    }
    if value.chars().any(is_hidden) {
        return Err("has a character in its value that nobody sees");
    }
    Ok(())
}

/// Labels that mean a service, together: `namespace={namespace},service={service}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceLabels(Vec<(String, String)>);

/// Reads all of them.
pub(super) fn service_labels(all: &[String]) -> Result<Vec<ServiceLabels>> {
    const KEY: &str = "alertmanager.service_labels";
    if all.is_empty() || all.len() > MOST_LABELS {
        let message = format!("`{KEY}` has {} entries, and must have 1 to {MOST_LABELS}", all.len());
        return Err(Error::new(Code::ConfigInvalid, message));
    }
    let read = |text: &String| {
        ServiceLabels::parse(text).map_err(|why| {
            Error::new(Code::ConfigInvalid, format!("`{KEY}`: `{}` {why}", shown(text, 120)))
                .with_remedy("write it as `namespace={namespace},service={service}`")
        })
    };
    all.iter().map(read).collect()
}

impl ServiceLabels {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut labels = Vec::new();
        for part in text.split(',') {
            let (name, value) = part.trim().split_once('=').ok_or("has a part without a `=`")?;
            if !is_label(name) {
                return Err("has a part that does not begin with the name of a label");
            }
            let plain = value.replace("{namespace}", "").replace("{service}", "");
            if value.is_empty() || plain.contains(['{', '}', '"', '~']) {
                return Err("has a value that is neither a text nor `{namespace}` or `{service}`");
            }
            labels.push((name.to_owned(), value.to_owned()));
        }
        if !labels.iter().any(|(_, value)| value.contains("{service}")) {
            return Err("does not say where `{service}` stands");
        }
        Ok(Self(labels))
    }

    /// The matchers for one service.
    pub(crate) fn matchers(&self, namespace: &str, service: &str) -> Vec<Matcher> {
        let fill = |text: &str| text.replace("{namespace}", namespace).replace("{service}", service);
        self.0.iter().map(|(name, value)| Matcher::equal(name, &fill(value))).collect()
    }

    /// Whether an alert's labels mean the service.
    pub(crate) fn mean(&self, labels: &BTreeMap<String, String>, namespace: &str, service: &str) -> bool {
        let matchers = self.matchers(namespace, service);
        matchers.iter().all(|matcher| labels.get(&matcher.name) == Some(&matcher.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matcher_reads_back_as_it_is_written() {
        for (text, written) in [
            ("severity=critical", r#"severity="critical""#),
            ("job!=a b", r#"job!="a b""#),
            ("pod=~web-.+", r#"pod=~"web-.+""#),
            ("pod!~a=b!c", r#"pod!~"a=b!c""#),
            (r#"x=a"b\c"#, r#"x="a\"b\\c""#),
        ] {
            assert_eq!(Matcher::parse(text).unwrap().to_string(), written, "{text}");
        }
        let long = format!("a={}", "x".repeat(301));
        for bad in [
            "",
            "severity",
            "=x",
            "severity=",
            "severity= ",
            "a-b=c",
            "a==",
            "1a=b",
            "a!b",
            "a=\u{202e}x",
            &long,
        ] {
            let read = Matcher::parse(bad);
            assert!(read.is_err() || bad == "a==", "{bad}: {read:?}");
        }
        assert_eq!(Matcher::parse("a==").unwrap().value, "=");
    }

    #[test]
    fn which_labels_mean_a_service() {
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let means = ServiceLabels::parse("namespace={namespace}, job={namespace}/{service}").unwrap();
        assert!(means.mean(
            &labels(&[("namespace", "shop"), ("job", "shop/web"), ("x", "y")]),
            "shop",
            "web"
        ));
        assert!(!means.mean(&labels(&[("namespace", "shop"), ("job", "shop/webapp")]), "shop", "web"));
        assert!(!means.mean(&labels(&[("job", "shop/web")]), "shop", "web"));
        for bad in [
            "",
            "service",
            "service=",
            "namespace={namespace}",
            "service={name}",
            "a=~{service}",
            "a b={service}",
        ] {
            assert!(ServiceLabels::parse(bad).is_err(), "{bad}");
        }
    }
}
