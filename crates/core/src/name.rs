//! Validated names. Parsing is the only constructor, so a name that exists is a name that is valid.

use crate::text::{is_hidden, shown};
use crate::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! name {
    ($(#[$doc:meta])+ $name:ident, $what:literal, $valid:path, $rule:literal) => {
        $(#[$doc])+
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            #[doc = concat!("Reads ", $what, ": ", $rule, ".")]
            pub fn parse(text: impl Into<String>) -> Result<Self> {
                let text = text.into();
                if $valid(&text) {
                    return Ok(Self(text));
                }
                let shown = shown(&text, 64);
                Err(Error::new(Code::RequestMalformed, format!(concat!("`{}` is not ", $what, ": ", $rule), shown)))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// The name of a tool, such as `restart_service`.
    ToolName, "a tool name", is_identifier, "1 to 64 lower-case letters, digits and `_`, starting with a letter"
);
name!(
    /// The name of an agent, such as `ops`.
    AgentName, "an agent name", is_identifier, "1 to 64 lower-case letters, digits and `_`, starting with a letter"
);
name!(
    /// The name of a role, as a token's claim gives it.
    RoleName, "a role name", is_role, "1 to 128 printable characters without white space, quotes or backslashes"
);
name!(
    /// A name of a Kubernetes object: an RFC 1123 subdomain.
    ObjectName, "a Kubernetes name", is_subdomain,
    "1 to 253 lower-case letters, digits, `-` and `.`, starting and ending with a letter or digit"
);
name!(
    /// A name of a Kubernetes namespace: an RFC 1123 label.
    Namespace, "a namespace", is_label,
    "1 to 63 lower-case letters, digits and `-`, starting and ending with a letter or digit"
);
name!(
    /// The name under which a cluster is known here: the kubeconfig's context, or as configured.
    ClusterName, "a cluster name", is_cluster, "1 to 253 printable ASCII characters without white space, `/`, quotes or backslashes, at least one of them not a dot"
);
name!(
    /// The kind of a Kubernetes object with its API group, such as `ingress.networking.k8s.io`.
    ObjectKind, "a kind with its group", is_object_kind,
    "the kind in lower case, a dot, and its API group (`core` for the group without a name), such as \
     `ingress.networking.k8s.io`; workloads, pods, namespaces and nodes are written `deployment`, `statefulset`, `daemonset`, \
     `pod`, `namespace`, `node`"
);
name!(
    /// A system that is no Kubernetes cluster, or a kind of thing in it, such as `unleash` and `flag`.
    SystemName, "a name of a system or of a kind in it", is_system,
    "1 to 63 lower-case letters, digits and `-`, starting and ending with a letter or digit, and not `kubernetes` or `external`"
);
name!(
    /// The name of a thing in such a system.
    ExternalName, "a name in a system", is_cluster,
    "1 to 253 printable ASCII characters without white space, `/`, quotes or backslashes, at least one of them not a dot"
);

fn is_identifier(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn is_role(text: &str) -> bool {
    !text.is_empty()
        && text.chars().count() <= 128
        && !text.chars().any(|c| is_hidden(c) || c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | '`'))
}

fn is_label(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= 63
        && text.bytes().next().is_some_and(alphanumeric)
        && text.bytes().next_back().is_some_and(alphanumeric)
        && text.bytes().all(|b| alphanumeric(b) || b == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| is_label(part) || (part.len() > 63 && is_label_body(part)))
}

/// A subdomain's parts may be longer than a label's 63 characters; the whole may not exceed 253.
fn is_label_body(part: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    part.bytes().next().is_some_and(alphanumeric)
        && part.bytes().next_back().is_some_and(alphanumeric)
        && part.bytes().all(|b| alphanumeric(b) || b == b'-')
}

/// Kinds that have a short name of their own are not written with their group: one object has one name.
fn is_object_kind(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let short =
        ["deployment.apps", "statefulset.apps", "daemonset.apps", "pod.core", "namespace.core", "node.core"];
    text.split_once('.').is_some_and(|(kind, group)| {
        kind.len() <= 63
            && kind.starts_with(|c: char| c.is_ascii_lowercase())
            && kind.bytes().all(alphanumeric)
            && is_subdomain(group)
    }) && !short.contains(&text)
}

fn is_system(text: &str) -> bool {
    is_label(text) && !matches!(text, "kubernetes" | "external")
}

fn is_cluster(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'"' | b'\'' | b'\\' | b'`'))
        && text.bytes().any(|b| b != b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rule() {
        let long_label = "a".repeat(63);
        let too_long_label = "a".repeat(64);
        let too_long_name = "a".repeat(254);
        for (text, object, namespace) in [
            ("webapp", true, true),
            ("web.app-1", true, false),
            (long_label.as_str(), true, true),
            (too_long_label.as_str(), true, false),
            (too_long_name.as_str(), false, false),
            ("", false, false),
            ("-a", false, false),
            ("a-", false, false),
            ("a..b", false, false),
            ("Webapp", false, false),
            ("../etc", false, false),
            ("web app", false, false),
            ("web\u{0}", false, false),
            ("żółw", false, false),
        ] {
            assert_eq!(ObjectName::parse(text).is_ok(), object, "object {text:?}");
            assert_eq!(Namespace::parse(text).is_ok(), namespace, "namespace {text:?}");
        }
        assert!(ToolName::parse("restart_service").is_ok());
        assert!(ToolName::parse("Restart").is_err());
        assert!(RoleName::parse("sre").is_ok() && RoleName::parse("a b").is_err());
        assert!(RoleName::parse("sre\u{200b}").is_err());
        assert!(ClusterName::parse("arn:aws:eks/x").is_err() && ClusterName::parse("..").is_err());
    }

    #[test]
    fn a_refused_name_is_shown_escaped_and_cut() {
        let error = ObjectName::parse(format!("bad\u{1b}[31m{}", "x".repeat(500))).unwrap_err();
        assert!(error.message.contains("`bad\\u{1b}[31m"), "{}", error.message);
        assert!(error.message.len() < 300);
    }
}
