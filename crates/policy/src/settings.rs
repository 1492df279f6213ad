//! What the environment variables say about who may do what.

use astradesk_core::name::{Namespace, ObjectName};
use astradesk_core::{Principal, RoleName, ToolName};

/// What the built-in policies are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The role that every write needs (`REQUIRED_ROLE_RESTART`, default `sre`). It may read as well.
    pub required_role_restart: RoleName,
    /// The services that may be changed (`ALLOWED_SERVICES`). Empty, which is the default: none.
    pub allowed_services: Vec<ObjectName>,
    /// The tools that may change them (`ALLOWED_TOOLS`). By default `restart_service` alone.
    pub allowed_tools: Vec<ToolName>,
    /// The namespace that is managed (`KUBERNETES_NAMESPACE`, default `default`).
    pub namespace: Namespace,
    /// Further roles that may read; default none.
    pub read_roles: Vec<RoleName>,
}

impl Default for Settings {
    #[expect(clippy::expect_used, reason = "the defaults are constants, and a test makes them")]
    fn default() -> Self {
        Self {
            required_role_restart: RoleName::parse("sre").expect("`sre` is a role name"),
            allowed_services: Vec::new(),
            allowed_tools: vec![ToolName::parse("restart_service").expect("it is a tool name")],
            namespace: Namespace::parse("default").expect("`default` is a namespace"),
            read_roles: Vec::new(),
        }
    }
}

impl Settings {
    /// Whether the principal holds the role that writes need.
    pub(crate) fn may_write(&self, principal: &Principal) -> bool {
        principal.has_role(&self.required_role_restart)
    }

    /// Whether the principal holds a role that may read.
    pub(crate) fn may_read(&self, principal: &Principal) -> bool {
        self.reading_roles().any(|role| principal.has_role(role))
    }

    /// The roles that may read: the required one first.
    pub(crate) fn reading_roles(&self) -> impl Iterator<Item = &RoleName> {
        std::iter::once(&self.required_role_restart).chain(&self.read_roles)
    }
}
