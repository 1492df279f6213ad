//! The words of a denial. Cedar has decided when they are looked for; they only say, as far as the
//! built-in policies tell, what was missing.

use crate::builtin::{READ, WRITE};
use crate::set::Set;
use crate::settings::Settings;
use astradesk_core::decision::Reason;
use astradesk_core::name::ObjectName;
use astradesk_core::target::Kind;
use astradesk_core::text::shown;
use astradesk_core::{Code, Effect, Error, Target};
use astradesk_runtime::port::PolicyRequest;

/// The most allowed services that a denial lists.
const LISTED: usize = 50;

/// Why no policy permits the call on `target`.
pub(crate) fn not_permitted(set: &Set, request: &PolicyRequest<'_>, target: &Target) -> Error {
    let tool = &request.call.tool;
    let settings = &set.settings;
    match request.call.effect {
        // What is missing is known for the built-in policies only.
        _ if set.may_permit(request.principal, tool.as_str(), request.call.effect) => {
            let subject = shown(&request.principal.subject, 128);
            let text = format!("no policy permits `{tool}` on `{target}` to `{subject}` as things are");
            Error::new(Code::PolicyDenied, text)
        }
        Effect::Write if !settings.may_write(request.principal) => role_required(settings, request),
        Effect::Read if !settings.may_read(request.principal) => role_required(settings, request),
        Effect::Write | Effect::Read => {
            let is_write = request.call.effect == Effect::Write;
            if is_elsewhere(target, is_write) {
                let text = format!("no policy permits `{tool}` on `{target}`");
                let remedy = if target.kind() == Kind::Pod.as_str() {
                    "check the pod's name and that it belongs to a workload, or permit it with a policy of `policy.dir`"
                } else {
                    "permit it with a policy of `policy.dir`: the built-in ones are for workloads"
                };
                return Error::new(Code::PolicyDenied, text).with_remedy(remedy);
            }
            if is_write && !settings.allowed_tools.contains(tool) {
                let text = format!("`{tool}` is not in `ALLOWED_TOOLS`, and no other policy permits it");
                return Error::new(Code::PolicyToolNotAllowed, text);
            }
            let (namespace, name) = (target.namespace(), target.name());
            if namespace != settings.namespace.as_str() {
                let managed = &settings.namespace;
                let text =
                    format!("`{tool}` may act in the namespace `{managed}` only, and not in `{namespace}`");
                return Error::new(Code::PolicyNamespaceNotAllowed, text);
            }
            let mut allowed = settings.allowed_services.iter();
            if is_write && !allowed.any(|service| service.as_str() == name) {
                return target_not_allowed(settings, name);
            }
            Error::new(Code::PolicyDenied, format!("no policy permits `{tool}` on `{target}`"))
        }
        Effect::Execute => {
            let text = format!("no policy permits `{tool}`, whose effect is `execute`");
            Error::new(Code::PolicyDenied, text)
        }
    }
}

/// Whether the built-in policies say nothing of such a target. Reads are permitted of whatever is in the namespace.
fn is_elsewhere(target: &Target, is_write: bool) -> bool {
    match target {
        Target::External { .. } | Target::Node { .. } => true,
        Target::Object { .. } => is_write,
        Target::Kubernetes { kind, .. } => is_write && *kind == Kind::Pod,
    }
}

/// Why a call that names no target is denied.
pub(crate) fn no_target(request: &PolicyRequest<'_>) -> Error {
    let text = format!("`{}` names nothing that it acts on, so no policy can permit it", request.call.tool);
    Error::new(Code::PolicyDenied, text)
}

/// Why a call of a tool that the policies do not know is denied.
pub(crate) fn unknown_tool(request: &PolicyRequest<'_>) -> Error {
    let text = format!("the policies in force know no tool `{}` as it is now", request.call.tool);
    Error::new(Code::PolicyDenied, text)
}

/// Why guardrails may not be overridden.
pub(crate) fn no_break_glass(request: &PolicyRequest<'_>, target: &Target) -> Error {
    let (tool, subject) = (&request.call.tool, shown(&request.principal.subject, 128));
    let text = format!("no policy permits `{subject}` to override guardrails for `{tool}` on `{target}`");
    Error::new(Code::PolicyBreakGlassDenied, text)
}

/// Why guardrails may not be overridden where a policy forbids it.
pub(crate) fn break_glass_forbidden(request: &PolicyRequest<'_>, target: &Target, policy: &str) -> Error {
    let tool = &request.call.tool;
    let text = format!("the policy `{policy}` forbids to override guardrails for `{tool}` on `{target}`");
    Error::new(Code::PolicyBreakGlassDenied, text)
}

/// Why a policy applies.
pub(crate) fn reason(set: &Set, policy: &str) -> Reason {
    let Settings { required_role_restart: role, namespace, .. } = &set.settings;
    let text = match policy {
        READ => format!("roles that may read may read in the namespace `{namespace}`"),
        WRITE => {
            format!(
                "the role `{role}` may use the allowed tools on the allowed services of the namespace `{namespace}`"
            )
        }
        _ => set.description(policy).unwrap_or_else(|| "it applies to this call".to_owned()),
    };
    Reason { policy: policy.to_owned(), text }
}

/// Why a call that a policy forbids is denied.
pub(crate) fn forbidden(request: &PolicyRequest<'_>, target: &Target, policy: &str) -> Error {
    let text = format!("the policy `{policy}` forbids `{}` on `{target}`", request.call.tool);
    Error::new(Code::PolicyDenied, text)
}

/// Why a call is denied when `what`, such as a policy, could not be evaluated. The evaluator's own words may
/// quote what others wrote into the request or the policy, so they are not part of the answer.
pub(crate) fn evaluation_failed(request: &PolicyRequest<'_>, what: &str) -> Error {
    let text = format!("{what} cannot be evaluated for `{}`, which counts as a denial", request.call.tool);
    Error::new(Code::PolicyEvaluationFailed, text)
}

fn role_required(settings: &Settings, request: &PolicyRequest<'_>) -> Error {
    let (tool, subject) = (&request.call.tool, shown(&request.principal.subject, 128));
    let roles: Vec<String> = match request.call.effect {
        Effect::Read => settings.reading_roles().map(|role| format!("`{role}`")).collect(),
        Effect::Write | Effect::Execute => vec![format!("`{}`", settings.required_role_restart)],
    };
    let text = match roles.as_slice() {
        [role] => format!("`{tool}` needs the role {role}, which `{subject}` does not have"),
        roles => format!("`{tool}` needs one of the roles {}, and `{subject}` has none", roles.join(", ")),
    };
    Error::new(Code::PolicyRoleRequired, text)
}

/// The allowed services are listed only here, to somebody who holds the role.
fn target_not_allowed(settings: &Settings, name: &str) -> Error {
    let allowed = settings.allowed_services.iter().take(LISTED).map(ObjectName::as_str);
    let rest = if settings.allowed_services.is_empty() { ", which is empty" } else { "" };
    Error::new(Code::PolicyTargetNotAllowed, format!("`{name}` is not in `ALLOWED_SERVICES`{rest}"))
        .with_candidates(allowed)
}
