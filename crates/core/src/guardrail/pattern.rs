//! Patterns of targets: `kubernetes/prod/*/deployment/pay*`.

use crate::{Code, Error, Result, Target};
use std::fmt;
use wildmatch::WildMatch;

/// The parts of a target, between slashes; `*` stands for any characters of one part, `?` for one.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetPattern(Vec<WildMatch>);

impl TargetPattern {
    /// Reads a pattern with its five parts: system, cluster, namespace, kind and name.
    ///
    /// # Errors
    /// [`Code::ConfigInvalid`].
    pub fn parse(text: &str) -> Result<Self> {
        let parts: Vec<WildMatch> = text.split('/').map(WildMatch::new).collect();
        if parts.len() == 5 && text.split('/').all(|part| !part.is_empty()) {
            return Ok(Self(parts));
        }
        let message = format!(
            "`{text}` is not a pattern of targets, which has five parts, such as `kubernetes/prod/*/deployment/pay*`"
        );
        Err(Error::new(Code::ConfigInvalid, message))
    }

    /// Whether the target fits.
    pub fn matches(&self, target: &Target) -> bool {
        let text = target.to_string();
        let parts: Vec<&str> = text.splitn(self.0.len(), '/').collect();
        parts.len() == self.0.len() && self.0.iter().zip(parts).all(|(pattern, part)| pattern.matches(part))
    }
}

impl fmt::Display for TargetPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&parts.join("/"))
    }
}
