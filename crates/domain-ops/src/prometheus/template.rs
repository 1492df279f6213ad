//! Queries with places for values: `{{ service }}` in a quoted string, `{{ window }}` where a duration stands.
//!
//! A value is a value: in a string it is escaped as PromQL escapes, so that it can end no string and add no matcher, and
//! a place where it could mean anything else is refused when the configuration is read.

use astradesk_core::name::{ClusterName, Namespace, ObjectName};
use astradesk_core::target::Kind;
use astradesk_core::text::shown;
use astradesk_core::{Error, FrozenCall, Result, Target};
use std::fmt::Write as _;
use std::time::Duration;

/// The longest query, in bytes, before and after its values are put in.
pub const MAX_QUERY: usize = 4096;
/// The longest name of a workload whose pods begin with the whole of it: a pod's name is cut at 58 characters before its
/// random end, and a ReplicaSet has 11 of its own.
const WHOLE_NAME: usize = 46;

/// What a query is about.
#[derive(Debug, Clone)]
pub struct Place {
    cluster: ClusterName,
    namespace: Namespace,
    kind: Kind,
    service: ObjectName,
}

impl Place {
    /// The one workload of a call.
    pub(crate) fn of(call: &FrozenCall) -> Result<Self> {
        match call.targets.as_slice() {
            [Target::Kubernetes { cluster, namespace, kind, name }] => Ok(Self {
                cluster: cluster.clone(),
                namespace: namespace.clone(),
                kind: *kind,
                service: name.clone(),
            }),
            _ => Err(Error::internal("a query is about one workload")),
        }
    }

    fn value(&self, variable: Variable) -> String {
        match variable {
            Variable::Cluster => self.cluster.to_string(),
            Variable::Namespace => self.namespace.to_string(),
            Variable::Kind => self.kind.to_string(),
            Variable::Service => self.service.to_string(),
            Variable::Pods => self.pods(),
        }
    }

    /// A regular expression for the names of its pods. Names have no other character that means something in one than
    /// dots.
    fn pods(&self) -> String {
        let name = self.service.as_str();
        if name.len() > WHOLE_NAME {
            let begin: String = name.chars().take(WHOLE_NAME).collect();
            return format!("{}.*", begin.replace('.', "\\."));
        }
        let end = match self.kind {
            Kind::Deployment => "[a-z0-9]{1,10}-[a-z0-9]{5}",
            Kind::StatefulSet => "[0-9]+",
            Kind::DaemonSet => "[a-z0-9]{5}",
            Kind::Pod => return name.replace('.', "\\."),
            Kind::Workload | Kind::Namespace => ".+",
        };
        format!("{}-{end}", name.replace('.', "\\."))
    }
}

/// A query with places for values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// In a string that this character ends.
    Quoted(Variable, char),
    Window,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variable {
    Cluster,
    Namespace,
    Kind,
    Service,
    Pods,
}

impl Variable {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "cluster" => Self::Cluster,
            "namespace" => Self::Namespace,
            "kind" => Self::Kind,
            "service" => Self::Service,
            "pods" => Self::Pods,
            _ => return None,
        })
    }
}

/// Where in a query a character stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    Expression,
    String(char),
    Comment,
}

impl Template {
    /// Reads a query.
    ///
    /// # Errors
    /// Which place is none, and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_QUERY {
            return Err(format!("it has {} bytes, and may have {MAX_QUERY}", text.len()));
        }
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut within = Within::Expression;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if let Some(behind) = rest.strip_prefix("{{") {
                let (name, behind) = behind.split_once("}}").ok_or("`{{` is not closed by `}}`")?;
                let piece = place(name.trim(), within)?;
                pieces.extend([Piece::Text(std::mem::take(&mut plain)), piece]);
                rest = behind;
                continue;
            }
            plain.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            within = match (within, c) {
                (Within::Expression, '"' | '\'' | '`') => Within::String(c),
                (Within::Expression, '#') => Within::Comment,
                (Within::Comment, '\n') => Within::Expression,
                (Within::String(end), c) if c == end => Within::Expression,
                (Within::String('"' | '\''), '\\') => {
                    if let Some(escaped) = rest.chars().next() {
                        plain.push(escaped);
                        rest = rest.get(escaped.len_utf8()..).unwrap_or_default();
                    }
                    within
                }
                _ => within,
            };
        }
        if let Within::String(end) = within {
            return Err(format!("a string that begins with {end} does not end"));
        }
        pieces.push(Piece::Text(plain));
        Ok(Self { pieces, text: text.to_owned() })
    }

    /// The query as it is configured.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it asks about one cluster.
    pub(crate) fn tells_cluster(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Quoted(Variable::Cluster, _)))
    }

    /// The query about `place`, looking back so far.
    pub(crate) fn fill(&self, place: &Place, window: Duration) -> String {
        let mut query = String::with_capacity(self.text.len() + 64);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => query.push_str(text),
                Piece::Quoted(variable, end) => escaped(&place.value(*variable), *end, &mut query),
                // Writing to a `String` cannot fail.
                Piece::Window => _ = write!(query, "{}s", window.as_secs().max(1)),
            }
        }
        query
    }
}

fn place(name: &str, within: Within) -> Result<Piece, String> {
    let written = format!("`{{{{ {} }}}}`", shown(name, 32));
    match (Variable::parse(name), within) {
        (Some(variable), Within::String(end @ ('"' | '\''))) => Ok(Piece::Quoted(variable, end)),
        (Some(_), _) => Err(format!("{written} must stand in a string in quotes, `\"` or `'`")),
        (None, Within::Expression) if name == "window" => Ok(Piece::Window),
        (None, _) if name == "window" => {
            Err(format!("{written} must stand outside of strings: `[{{{{ window }}}}]`"))
        }
        (None, _) => Err(format!("{written} is none of cluster, namespace, kind, service, pods, window")),
    }
}

/// A value as PromQL writes it in a string.
fn escaped(value: &str, end: char, query: &mut String) {
    for c in value.chars() {
        match c {
            '\n' => query.push_str("\\n"),
            c if c == '\\' || c == end => query.extend(['\\', c]),
            c => query.push(c),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn of(target: &str) -> Place {
        let Target::Kubernetes { cluster, namespace, kind, name } = target.parse().unwrap() else {
            unreachable!()
        };
        Place { cluster, namespace, kind, service: name }
    }

    #[test]
    fn values_are_put_in_their_places_and_nowhere_else() {
        let webapp = of("kubernetes/prod/shop/deployment/web.app");
        let fill = |text: &str| Template::parse(text).map(|t| t.fill(&webapp, Duration::from_mins(5)));
        for (template, expected) in [
            ("up", "up"),
            (
                r#"x{namespace="{{ namespace }}",service='{{service}}'}[{{ window }}]"#,
                r#"x{namespace="shop",service='web.app'}[300s]"#,
            ),
            (r#"x{pod=~"{{ pods }}"}"#, r#"x{pod=~"web\\.app-[a-z0-9]{1,10}-[a-z0-9]{5}"}"#),
            (r#"x{a="{{ cluster }}/{{ kind }}"} # "it's"#, r#"x{a="prod/deployment"} # "it's"#),
            (r#"x{a="\"{{ service }}\\"}"#, r#"x{a="\"web.app\\"}"#),
            ("x{a=`\\`}[{{ window }}]", "x{a=`\\`}[300s]"),
        ] {
            assert_eq!(fill(template).as_deref(), Ok(expected), "{template}");
        }
        for (template, why) in [
            ("x{service={{ service }}}", "must stand in a string"),
            ("{{ service }}_total", "must stand in a string"),
            ("x{a=`{{ service }}`}", "must stand in a string"),
            ("x # {{ service }}", "must stand in a string"),
            (r#"x{a="{{ window }}"}"#, "must stand outside"),
            (r#"x{a="{{ secret }}"}"#, "is none of"),
            (r#"x{a="{{ service"}"#, "not closed"),
            (r#"x{a="b}"#, "does not end"),
            (r#"x{a="\"}"#, "does not end"),
        ] {
            let error = fill(template).unwrap_err();
            assert!(error.contains(why), "{template}: {error}");
        }
        assert!(fill(&"x".repeat(MAX_QUERY + 1)).unwrap_err().contains("bytes"));
    }

    #[test]
    fn a_value_cannot_leave_its_string() {
        for (value, end, expected) in [
            (r#"a"} or up{x=""#, '"', r#"a\"} or up{x=\""#),
            (r"a\", '"', r"a\\"),
            ("a\nb", '"', r"a\nb"),
            ("it's", '\'', r"it\'s"),
            ("it's", '"', "it's"),
        ] {
            let mut query = String::new();
            escaped(value, end, &mut query);
            assert_eq!(query, expected, "{value}");
        }
    }

    #[test]
    fn pods_are_found_by_how_their_controller_names_them() {
        for (target, pods) in [
            ("statefulset/db", "db-[0-9]+"),
            ("daemonset/agent", "agent-[a-z0-9]{5}"),
            ("workload/any", "any-.+"),
        ] {
            assert_eq!(of(&format!("kubernetes/c/n/{target}")).pods(), pods);
        }
        let long = "a".repeat(60);
        let pods = of(&format!("kubernetes/c/n/deployment/{long}")).pods();
        assert_eq!(pods, format!("{}.*", "a".repeat(WHOLE_NAME)));
    }
}
