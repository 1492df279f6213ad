//! The built-in policies, as Cedar text made from the settings.

use crate::settings::Settings;
use astradesk_core::target::Kind;
use astradesk_core::{RoleName, ToolName};
use cedar_policy::{EntityId, EntityTypeName, EntityUid, Expression};
use std::fmt::Write as _;

/// The policy that permits reads.
pub(crate) const READ: &str = "builtin.read";

/// The policy that permits writes.
pub(crate) const WRITE: &str = "builtin.write";

/// The policies of `settings`. When no service or no tool is allowed there is no policy for writes at all: a set
/// without elements has no type in Cedar, and no policy is the plainest denial.
///
/// Every value in the text is written by Cedar itself, with its own escapes.
pub(crate) fn policies(settings: &Settings, role: &EntityTypeName) -> String {
    let role = |name: &RoleName| EntityUid::from_type_name_and_id(role.clone(), EntityId::new(name.as_str()));
    let roles: Vec<String> = settings.reading_roles().map(|name| role(name).to_string()).collect();
    let roles = roles.join(", ");
    let namespace = string(settings.namespace.as_str());
    let mut text = format!(
        "@id(\"{READ}\")\n\
         permit (principal, action in Action::\"read\", resource)\n\
         when {{ principal in [{roles}] && resource.namespace == {namespace} }};\n"
    );
    if !settings.allowed_services.is_empty() && !settings.allowed_tools.is_empty() {
        let tools: Vec<String> = settings.allowed_tools.iter().map(action).collect();
        let tools = tools.join(", ");
        let required = role(&settings.required_role_restart);
        let allowed = Expression::new_set(settings.allowed_services.iter().map(|name| string(name.as_str())));
        // The services are workloads: whatever else has the name of one is not on the list.
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.is_workload());
        let kinds: Vec<String> = kinds.map(|kind| string(kind.as_str()).to_string()).collect();
        let kinds = kinds.join(", ");
        // Writing to a `String` cannot fail.
        let _ = write!(
            text,
            "\n@id(\"{WRITE}\")\n\
             permit (principal in {required}, action in [{tools}], resource)\n\
             when {{ resource.namespace == {namespace} && {allowed}.contains(resource.name) && \
             [{kinds}].contains(resource.kind) }};\n"
        );
    }
    text
}

fn action(tool: &ToolName) -> String {
    format!("Action::{}", string(tool.as_str()))
}

fn string(value: &str) -> Expression {
    Expression::new_string(value.to_owned())
}
