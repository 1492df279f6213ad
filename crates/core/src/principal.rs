//! Who asks, and by which door they came in.

use crate::RoleName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Somebody whose identity has been proved: a person, a service or an agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Principal {
    /// The token's `sub`, or the operating-system user's name.
    pub subject: String,
    /// Who vouches for the subject: the token's `iss`, or `local`.
    pub issuer: String,
    /// The roles that the issuer gives. No role means no access.
    pub roles: BTreeSet<RoleName>,
    /// The token's `act.sub`: who acts on the subject's behalf, if somebody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}

impl Principal {
    /// Whether the principal has the role.
    pub fn has_role(&self, role: &RoleName) -> bool {
        self.roles.contains(role)
    }

    /// The identity across issuers and tokens: `issuer#subject`.
    pub fn id(&self) -> String {
        format!("{}#{}", self.issuer, self.subject)
    }
}

/// The door by which a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The HTTP API.
    Http,
    /// The command line with its embedded Engine.
    Cli,
    /// The MCP server: an agent's tool call, over HTTP or standard input.
    Mcp,
}

impl Source {
    /// The source as it is written in policies and evidence.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Cli => "cli",
            Self::Mcp => "mcp",
        }
    }
}
