//! Patterns of targets: `kubernetes/prod/*/deployment/pay*`, `kubernetes/prod/node/*`, `external/unleash/flag/*`.

use crate::name::{ClusterName, ExternalName, Namespace, ObjectKind, ObjectName, SystemName};
use crate::target::Kind;
use crate::text::shown;
use crate::{Code, Error, Result, Target};
use std::fmt;
use wildmatch::WildMatch;

/// The parts of a target, between slashes; `*` stands for any characters of one part, `?` for one.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetPattern(Vec<WildMatch>);

impl TargetPattern {
    /// Reads a pattern with the parts of a target: `kubernetes`, cluster, namespace, kind and name; `kubernetes`,
    /// cluster, `node` and name; or `external`, system, kind and name.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`]: it has other parts than these, or one that nothing can match.
    pub fn parse(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let fits = |part: &str, known: &[&str]| known.iter().any(|known| WildMatch::new(part).matches(known));
        let checks = match parts.as_slice() {
            [system, cluster, namespace, kind, name] => vec![
                (*system, "system", fits(system, &[Target::KUBERNETES])),
                (*cluster, "cluster", stands_for(cluster, |name| ClusterName::parse(name).is_ok())),
                (*namespace, "namespace", stands_for(namespace, |name| Namespace::parse(name).is_ok())),
                (*kind, "kind", fits(kind, &Kind::ALL.map(Kind::as_str)) || is_kind_with_group(kind)),
                (*name, "name", stands_for(name, |name| ObjectName::parse(name).is_ok())),
            ],
            [first, cluster, kind, name]
                if fits(first, &[Target::KUBERNETES]) && fits(kind, &[Target::NODE]) =>
            {
                vec![
                    (*cluster, "cluster", stands_for(cluster, |name| ClusterName::parse(name).is_ok())),
                    (*name, "name", stands_for(name, |name| ObjectName::parse(name).is_ok())),
                ]
            }
            [first, system, kind, name] if fits(first, &[Target::EXTERNAL]) => vec![
                (*system, "system", stands_for(system, |name| SystemName::parse(name).is_ok())),
                (*kind, "kind", stands_for(kind, |name| SystemName::parse(name).is_ok())),
                (*name, "name", stands_for(name, |name| ExternalName::parse(name).is_ok())),
            ],
            _ => {
                let shapes = "it must have five parts, or four as `kubernetes/CLUSTER/node/NAME` and `external/SYSTEM/KIND/NAME` have";
                return Err(wrong(text, shapes));
            }
        };
        match checks.into_iter().find(|(_, _, fine)| !fine) {
            Some((part, what, _)) => Err(wrong(text, &format!("`{}` is no {what}", shown(part, 64)))),
            None => Ok(Self(parts.into_iter().map(WildMatch::new).collect())),
        }
    }

    /// Whether the target fits.
    pub fn matches(&self, target: &Target) -> bool {
        let text = target.to_string();
        let parts: Vec<&str> = text.split('/').collect();
        parts.len() == self.0.len() && self.0.iter().zip(parts).all(|(pattern, part)| pattern.matches(part))
    }
}

fn is_kind_with_group(part: &str) -> bool {
    part.contains('.') && stands_for(part, |kind| ObjectKind::parse(kind).is_ok())
}

/// Whether the part is a name with something, or nothing, in the place of its wildcards.
fn stands_for(part: &str, is_name: impl Fn(&str) -> bool) -> bool {
    ["a", ""].iter().any(|any| is_name(&part.replace('?', "a").replace('*', any)))
}

fn wrong(text: &str, what: &str) -> Error {
    let message = format!(
        "`{}` is no pattern of targets, such as `kubernetes/prod/*/deployment/pay*`: {what}",
        shown(text, 200)
    );
    Error::new(Code::ConfigInvalid, message)
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&parts.join("/"))
    }
}
