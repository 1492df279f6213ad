//! [`CedarPolicy`]: the decision.

use crate::builtin::{self, READ, SCHEMA, WRITE};
use crate::denial;
use crate::settings::Settings;
use astradesk_core::canonical::Digest;
use astradesk_core::decision::Reason;
use astradesk_core::{
    Code, Decision, Effect, Error, Principal, Result, RoleName, Target, Timestamp, ToolSpec,
};
use astradesk_runtime::port::{Clock, Explanation, Policy, PolicyRequest, PolicyStatus};
use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicySet, Request, Response,
    RestrictedExpression, Schema, ValidationMode, Validator,
};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Where policies come from.
#[derive(Debug, Clone, Default)]
pub struct PolicySources {
    /// What the built-in policies are made of.
    pub settings: Settings,
    /// The folder with policy files (`policy.dir`); none: built-in policies only.
    pub dir: Option<PathBuf>,
    /// Further roles that the issuers give (configured), for warnings about roles that nobody has. Empty: unknown.
    pub known_roles: Vec<RoleName>,
}

/// Decides by Cedar policies, which are compiled once and then only read.
#[derive(Debug)]
pub struct CedarPolicy {
    settings: Settings,
    schema: Schema,
    policies: PolicySet,
    authorizer: Authorizer,
    principal: EntityTypeName,
    role: EntityTypeName,
    target: EntityTypeName,
    loaded_at: Timestamp,
    /// The actions `read`, `write` and `execute`.
    actions: [EntityUid; 3],
}

impl CedarPolicy {
    /// Compiles the built-in policies of `settings` and validates them strictly against the schema.
    ///
    /// Fails with `config.invalid` when they do not pass, which no valid name can bring about.
    pub fn compile(settings: &Settings) -> Result<Self> {
        let role = type_name("Role")?;
        let policies = parse(&builtin::policies(settings, &role))?;
        let (schema, warnings) = Schema::from_cedarschema_str(SCHEMA).map_err(|error| invalid(&error))?;
        if let Some(warning) = warnings.into_iter().next() {
            return Err(invalid(&warning));
        }
        let validator = Validator::new(schema);
        let found = validator.validate(&policies, ValidationMode::Strict);
        if let Some(error) = found.validation_errors().next() {
            return Err(invalid(error));
        }
        Self::with(settings.clone(), validator.schema().clone(), policies, role)
    }

    /// The policies of `sources`, for calls of `tools`. A set that is not valid denies everything.
    #[expect(clippy::needless_pass_by_value, reason = "they are kept for the next reload")]
    pub fn open(sources: PolicySources, tools: Vec<Arc<ToolSpec>>, clock: Arc<dyn Clock>) -> Result<Self> {
        let _ = tools;
        Ok(Self { loaded_at: clock.now(), ..Self::compile(&sources.settings)? })
    }

    /// The policies as Cedar text, for people.
    pub fn text(&self) -> String {
        self.policies.to_cedar().unwrap_or_default()
    }

    fn with(settings: Settings, schema: Schema, policies: PolicySet, role: EntityTypeName) -> Result<Self> {
        let action = type_name("Action")?;
        let action = |effect: Effect| uid(&action, effect.as_str());
        Ok(Self {
            settings,
            schema,
            policies,
            authorizer: Authorizer::new(),
            principal: type_name("Principal")?,
            role,
            target: type_name("Target")?,
            loaded_at: Timestamp::UNIX_EPOCH,
            actions: [action(Effect::Read), action(Effect::Write), action(Effect::Execute)],
        })
    }

    /// What Cedar says of the call on one target.
    fn authorize(&self, request: &PolicyRequest<'_>, target: &Target) -> Result<Response> {
        let failed = || denial::evaluation_failed(request, "the request");
        let principal = uid(&self.principal, &request.principal.id());
        let resource = uid(&self.target, &target.to_string());
        let roles = request.principal.roles.iter().map(|role| uid(&self.role, role.as_str()));
        let Target::Kubernetes { cluster, namespace, kind, name } = target;
        let attributes = [
            ("system", target.system()),
            ("cluster", cluster.as_str()),
            ("namespace", namespace.as_str()),
            ("kind", kind.as_str()),
            ("name", name.as_str()),
        ];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), string(value)));
        let entities = [
            Entity::new_no_attrs(principal.clone(), roles.collect()),
            Entity::new_with_tags(resource.clone(), attributes, HashSet::new(), []).map_err(|_| failed())?,
        ];
        let context = Context::from_pairs([
            ("tool".to_owned(), string(request.call.tool.as_str())),
            ("source".to_owned(), string(request.source.as_str())),
            ("planner".to_owned(), string(request.planner)),
            ("dry_run".to_owned(), RestrictedExpression::new_bool(request.dry_run)),
            ("time".to_owned(), RestrictedExpression::new_long(request.now.as_second())),
        ]);
        let [read, write, execute] = &self.actions;
        let action = match request.call.effect {
            Effect::Read => read,
            Effect::Write => write,
            Effect::Execute => execute,
        };
        let context = context.map_err(|_| failed())?;
        // The shape of a request is fixed above, and every test checks it against the schema; to check it for
        // each call as well would find nothing, on the hot path. A policy that asks for what a request does not
        // have cannot be evaluated, which is a denial.
        let schema = cfg!(debug_assertions).then_some(&self.schema);
        let asked = Request::new(principal, action.clone(), resource, context, schema);
        let entities = Entities::from_entities(entities, None).map_err(|_| failed())?;
        Ok(self.authorizer.is_authorized(&asked.map_err(|_| failed())?, &self.policies, &entities))
    }

    /// The policies that permit the call on one target, or why it is denied, with those that forbid it.
    fn on_target(
        &self,
        request: &PolicyRequest<'_>,
        target: &Target,
    ) -> Result<Vec<Reason>, (Error, Vec<Reason>)> {
        let response = self.authorize(request, target).map_err(|error| (error, Vec::new()))?;
        let diagnostics = response.diagnostics();
        if let Some(error) = diagnostics.errors().next() {
            let cedar_policy::AuthorizationError::PolicyEvaluationError(error) = error;
            let policy = error.policy_id().to_string();
            let reason = Reason { text: "it cannot be evaluated".to_owned(), policy };
            let error = denial::evaluation_failed(request, &format!("the policy `{}`", reason.policy));
            return Err((error, vec![reason]));
        }
        let reasons: Vec<Reason> = diagnostics.reason().map(|policy| self.reason(policy.as_ref())).collect();
        match (response.decision(), reasons.first()) {
            (cedar_policy::Decision::Allow, _) => Ok(reasons),
            (cedar_policy::Decision::Deny, Some(first)) => {
                Err((denial::forbidden(request, target, &first.policy), reasons))
            }
            (cedar_policy::Decision::Deny, None) => {
                Err((denial::not_permitted(&self.settings, request, target), reasons))
            }
        }
    }

    fn reason(&self, policy: &str) -> Reason {
        let Settings { required_role_restart: role, namespace, .. } = &self.settings;
        let text = match policy {
            READ => format!("roles that may read may read in the namespace `{namespace}`"),
            WRITE => {
                format!("the role `{role}` may write to the allowed services of the namespace `{namespace}`")
            }
            _ => "it applies to this call".to_owned(),
        };
        Reason { policy: policy.to_owned(), text }
    }
}

impl Policy for CedarPolicy {
    fn decide(&self, request: &PolicyRequest<'_>) -> Decision {
        let mut reasons: Vec<Reason> = Vec::new();
        for target in &request.call.targets {
            match self.on_target(request, target) {
                Ok(more) => {
                    let new = more.into_iter().filter(|reason| !reasons.contains(reason)).collect::<Vec<_>>();
                    reasons.extend(new);
                }
                Err((error, reasons)) => return Decision::Deny { error, reasons },
            }
        }
        if reasons.is_empty() {
            return Decision::Deny { error: denial::no_target(request), reasons };
        }
        Decision::Permit { reasons }
    }

    fn may_break_glass(&self, request: &PolicyRequest<'_>) -> Result<Vec<Reason>, Error> {
        let text = format!("no policy permits to override guardrails for `{}`", request.call.tool);
        Err(Error::new(Code::PolicyBreakGlassDenied, text))
    }

    fn may_approve(&self, principal: &Principal, request: &PolicyRequest<'_>) -> bool {
        !matches!(self.decide(&PolicyRequest { principal, ..*request }), Decision::Deny { .. })
    }

    fn explain(&self, request: &PolicyRequest<'_>) -> Explanation {
        let decision = self.decide(request);
        Explanation { decision, policies: Vec::new(), otherwise: Vec::new(), set: self.status().digest }
    }

    fn needs_facts(&self) -> bool {
        false
    }

    fn status(&self) -> PolicyStatus {
        PolicyStatus {
            digest: Digest::of(self.text()),
            policies: self.policies.num_of_policies(),
            loaded_at: self.loaded_at,
            problem: None,
            warnings: Vec::new(),
        }
    }

    fn reload(&self) -> Result<bool, Error> {
        Ok(false)
    }

    fn may_use(&self, principal: &Principal, tool: &ToolSpec) -> bool {
        match tool.effect {
            Some(Effect::Read) => self.settings.may_read(principal),
            Some(Effect::Write) => self.settings.may_write(principal),
            Some(Effect::Execute) | None => false,
        }
    }

    fn may_see_runs_of_others(&self, principal: &Principal) -> bool {
        self.settings.may_read(principal)
    }

    fn may_read_evidence(&self, principal: &Principal) -> bool {
        self.settings.may_read(principal)
    }
}

/// Reads policies, and gives each the id that its `@id` says.
fn parse(text: &str) -> Result<PolicySet> {
    let read: PolicySet = text.parse().map_err(|error: cedar_policy::ParseErrors| invalid(&error))?;
    let mut named = PolicySet::new();
    for policy in read.policies() {
        let id = policy.annotation("id").map(cedar_policy::PolicyId::new);
        let policy = policy.new_id(id.unwrap_or_else(|| policy.id().clone()));
        named.add(policy).map_err(|error| invalid(&error))?;
    }
    Ok(named)
}

fn type_name(name: &str) -> Result<EntityTypeName> {
    name.parse().map_err(|error: cedar_policy::ParseErrors| invalid(&error))
}

fn uid(of: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.clone(), EntityId::new(id))
}

fn string(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn invalid(error: &dyn std::fmt::Display) -> Error {
    Error::new(Code::ConfigInvalid, format!("the policies are not valid: {error}"))
}

#[cfg(test)]
mod tests;
