//! A set of policies that has passed every check.

use crate::index::{Index, Probe};
use crate::needs::Needs;
use crate::parse::{self, Parsed, Place};
use crate::request::Types;
use crate::scan::{self, Scan};
use crate::schema::Tools;
use crate::settings::Settings;
use crate::source::{File, PolicySources, invalid};
use crate::{builtin, lint};
use astradesk_core::canonical::Digest;
use astradesk_core::text::shown;
use astradesk_core::{Effect, Error, Principal, Result, RoleName, ToolSpec};
use cedar_policy::{ActionConstraint, Authorizer, PolicySet, Schema, ValidationMode, Validator};
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The most faults that an error lists.
const MAX_FAULTS: usize = 8;

/// A set of policies, checked against the schema, with what is needed to decide by it. It never changes.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) settings: Settings,
    pub(crate) types: Types,
    pub(crate) schema: Schema,
    pub(crate) tools: Tools,
    pub(crate) policies: PolicySet,
    pub(crate) index: Index,
    pub(crate) authorizer: Authorizer,
    /// Where each policy stands.
    pub(crate) places: HashMap<String, Place>,
    /// What any of its policies asks about a request.
    pub(crate) needs: Needs,
    /// The roles that policies name, and those of the settings.
    pub(crate) roles: BTreeSet<RoleName>,
    /// Digest of the policies, the schema and the settings.
    pub(crate) digest: Digest,
    /// What can never match, and other doubts.
    pub(crate) warnings: Vec<String>,
}

impl Set {
    /// Puts together the built-in policies and those of `files`, for calls of the tools of `specs`.
    ///
    /// # Errors
    /// `policy.set_invalid` with file and line: a policy cannot be read, has the name of another one, or does not
    /// pass the strict validation.
    pub(crate) fn compile(sources: &PolicySources, files: &[File], specs: &[Arc<ToolSpec>]) -> Result<Self> {
        let settings = &sources.settings;
        let types = Types::new().map_err(|error| invalid(format!("built-in schema: {error}")))?;
        let mut parsed = parse::built_in(&builtin::policies(settings, &types.role))?;
        for file in files {
            parsed.extend(parse::file(&file.name, &file.text)?);
        }
        let (_, places) = parse::together(&parsed)?;
        let tools = Tools::of(specs);
        let (scanned, unmatched) = scanned(parsed, &tools)?;
        let others = scanned.iter().flat_map(|(_, scan)| lint::unknown_actions(scan, &tools)).collect();
        let schema = tools.schema(&others).map_err(|error| invalid(format!("the schema: {error}")))?;

        let mut index = Index::default();
        let mut policies = PolicySet::new();
        let mut needs = Needs::default();
        for (Parsed { policy, place }, scan) in &scanned {
            policies.add(policy.clone()).map_err(|error| invalid(format!("{place}: {error}")))?;
            index.add(policy, scan).map_err(|error| invalid(format!("{place}: {error}")))?;
            needs.add(scan.needs);
        }
        let validator = Validator::new(schema);
        let validated = validator.validate(&policies, ValidationMode::Strict);
        let faults: Vec<Error> = validated
            .validation_errors()
            .take(MAX_FAULTS)
            .map(|error| fault(error, &places, files))
            .collect();
        if let Some(error) = together(faults) {
            return Err(error);
        }
        let mut warnings = lint::warnings(sources, &tools, specs, &scanned);
        warnings.extend(unmatched);
        warnings.extend(validated.validation_warnings().map(|warning| {
            let place = places.get(&warning.policy_id().to_string());
            format!(
                "{}: {}",
                place.map(ToString::to_string).unwrap_or_default(),
                shown(&warning.to_string(), 400)
            )
        }));
        warnings.sort_unstable();
        warnings.dedup();
        Ok(Self {
            digest: digest(&tools, &policies, files)?,
            roles: roles(settings, &scanned),
            settings: settings.clone(),
            schema: validator.schema().clone(),
            authorizer: Authorizer::new(),
            types,
            tools,
            policies,
            index,
            places,
            needs,
            warnings,
        })
    }

    /// Whether some policy of the files could permit the principal to use the tool on some target: one that
    /// permits, and whose keys fit them and the tool. What else it asks for is not looked at.
    pub(crate) fn may_permit(&self, principal: &Principal, tool: &str, effect: Effect) -> bool {
        if self.tools.get(tool).is_none_or(|known| known.effect != effect) {
            return false;
        }
        let id = principal.id();
        let roles = &principal.roles;
        let probe = Probe { action: tool, effect: Some(effect), principal: &id, roles, target: None };
        let mut permits = self.index.find(&probe).into_iter().flat_map(|bucket| bucket.permits.policies());
        permits.any(|policy| !policy.id().to_string().starts_with(parse::BUILTIN))
    }

    /// Whether some policy of the files permits the tool, whatever else it asks for.
    pub(crate) fn could_permit(&self, tool: &ToolSpec) -> bool {
        let is_meant = |uid: &cedar_policy::EntityUid| {
            let id = uid.id().unescaped();
            id == tool.name.as_str() || tool.effect.is_some_and(|effect| effect.as_str() == id)
        };
        let mut permits = self.policies.policies().filter(|policy| {
            policy.effect() == cedar_policy::Effect::Permit
                && !policy.id().to_string().starts_with(parse::BUILTIN)
        });
        permits.any(|policy| match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => is_meant(&uid),
            ActionConstraint::In(uids) => uids.iter().any(is_meant),
        })
    }

    /// The sentence with which a policy describes itself (`@description`).
    pub(crate) fn description(&self, policy: &str) -> Option<String> {
        let annotation = self.policies.annotation(&cedar_policy::PolicyId::new(policy), "description")?;
        Some(shown(annotation, 200)).filter(|text| !text.trim().is_empty())
    }
}

/// A policy, and what it speaks of.
type Scanned = (Parsed, Scan);

/// Looks through every policy. One that names only tools that there are not can never apply; it is left out, since
/// what it says about arguments cannot be checked. Nor is its absence noticed: such a tool cannot be called before
/// the set is put together again.
fn scanned(parsed: Vec<Parsed>, tools: &Tools) -> Result<(Vec<Scanned>, Vec<String>)> {
    let mut scanned = Vec::with_capacity(parsed.len());
    let mut unmatched = Vec::new();
    for parsed in parsed {
        let scan = scan::scan(&parsed.policy)
            .ok_or_else(|| invalid(format!("{}: the policy cannot be looked through", parsed.place)))?;
        if let Some(group) = lint::equal_to_group(&parsed.policy) {
            let text = format!(
                "{}: no call is `action == Action::\"{group}\"`, which is a group of tools",
                parsed.place
            );
            return Err(invalid(text).with_remedy(format!("write `action in Action::\"{group}\"`")));
        }
        if let Some(role) = lint::impossible_approver(&scan) {
            let (place, id) = (&parsed.place, parsed.policy.id());
            let text = format!(
                "{place}: `{id}` counts approvals of the role `{}`, which nobody can have: it is no role name",
                shown(role, 64)
            );
            return Err(invalid(text).with_remedy("write the role as tokens have it"));
        }
        let unknown = lint::unknown_actions(&scan, tools);
        let named: Vec<String> = match parsed.policy.action_constraint() {
            ActionConstraint::Any => Vec::new(),
            ActionConstraint::Eq(uid) => vec![uid.id().unescaped().to_owned()],
            ActionConstraint::In(uids) => uids.iter().map(|uid| uid.id().unescaped().to_owned()).collect(),
        };
        if !named.is_empty() && named.iter().all(|name| unknown.contains(name)) {
            let listed: Vec<String> = named.iter().map(|name| format!("`{}`", shown(name, 64))).collect();
            unmatched.push(format!(
                "{}: the policy can never apply and is left out: there is no tool {}",
                parsed.place,
                listed.join(", ")
            ));
        } else {
            scanned.push((parsed, scan));
        }
    }
    Ok((scanned, unmatched))
}

/// One fault of the validation, with file and line.
fn fault(error: &cedar_policy::ValidationError, places: &HashMap<String, Place>, files: &[File]) -> Error {
    let Some(place) = places.get(&error.policy_id().to_string()) else { return invalid(error.to_string()) };
    let text = match place {
        Place::File(name, _) => files.iter().find(|file| *file.name == **name).map(|file| file.text.as_str()),
        Place::BuiltIn => None,
    };
    parse::fault(place, text, error)
}

/// The first fault, with the others in its details.
fn together(faults: Vec<Error>) -> Option<Error> {
    let all: Vec<String> = faults.iter().map(|fault| fault.message.clone()).collect();
    let first = faults.into_iter().next()?;
    Some(if all.len() > 1 { first.with_detail("faults", all) } else { first })
}

fn roles(settings: &Settings, scanned: &[Scanned]) -> BTreeSet<RoleName> {
    let named = scanned.iter().flat_map(|(_, scan)| scan.named("Role"));
    let named = named.filter_map(|name| RoleName::parse(name).ok());
    named.chain(settings.reading_roles().cloned()).collect()
}

fn digest(tools: &Tools, policies: &PolicySet, files: &[File]) -> Result<Digest> {
    let schema = tools.digest().map_err(|error| invalid(format!("the schema: {error}")))?;
    let built_in = policies.policies().filter(|policy| policy.id().to_string().starts_with(parse::BUILTIN));
    let mut built_in: Vec<String> = built_in.map(ToString::to_string).collect();
    built_in.sort_unstable();
    let files = crate::source::digest(files).to_string();
    Ok(Digest::of_value(&json!({"schema": schema.to_string(), "builtin": built_in, "files": files})))
}
